/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call into a module that may outlive its caller: everything it points to
 * is the job's own, copied when the job is made, and what the module wrote is
 * copied back only by hsm_job_deliver(), in the caller's thread, when the call
 * has returned. A job whose caller is gone is wiped and freed as it is.
 *
 * Not thread safe: a job belongs to one thread at a time (see worker.h).
 */
#ifndef HSM_BASE_JOB_H
#define HSM_BASE_JOB_H

#include "src/base/buf.h"
#include "src/base/cryptoki.h"
#include "src/base/gate.h"

#define HSM_JOB_ARGS 8

union hsm_arg {
    CK_ULONG u;
    void *p;
};

/* What a call that nobody waits for any more leaves behind. */
enum hsm_job_role {
    HSM_JOB_OTHER,              /* nothing */
    HSM_JOB_SESSION,            /* a[0] is a session, which it is using */
    HSM_JOB_PAIR,               /* likewise; a[6], a[7] may become keys */
    HSM_JOB_OPEN,               /* a[4] may become a session */
    HSM_JOB_CLOSE,              /* a[0] is a session, gone when it returns */
    HSM_JOB_START,              /* a module that is initialised for nobody */
    HSM_JOB_END                 /* nothing, but it is no time to start it */
};

struct hsm_job_row {
    const char *name;           /* of the function */
    enum hsm_job_role role;
    CK_RV (*run)(const CK_FUNCTION_LIST *f, union hsm_arg *a);
};

struct hsm_job {
    const struct hsm_job_row *row;
    const CK_FUNCTION_LIST *real;           /* the module's own functions */
    const atomic_uint *generation;          /* of the module now … */
    unsigned int made_in;       /* … and when the job was made */
    union hsm_arg a[HSM_JOB_ARGS];
    CK_RV rv;                   /* CKR_HOST_MEMORY: something was not kept */
    struct hsm_job_block *blocks;
    struct hsm_job_back *backs;
    struct hsm_secret *secret;
    const void *who;            /* see hsm_worker_for() */
    bool alone;                 /* likewise */
    const struct hsm_gate_use *use;         /* of the caller */
    /* worker.c's, of jobs whose callers are gone */
    bool returned;
    bool disowned;
    struct hsm_job *next;
};

/* For a module with a limit. NULL on memory failure. */
struct hsm_job *hsm_job_new(const struct hsm_job_row *row,
                            const struct hsm_gate_use *use);
/* Wipes. NULL is allowed. */
void hsm_job_free(struct hsm_job *j);

/* Each sets argument i. NULL pointers stay NULL. */
void hsm_job_value(struct hsm_job *j, size_t i, CK_ULONG value);
void hsm_job_in(struct hsm_job *j, size_t i, const void *p, size_t size);
/* A PIN, in locked memory. */
void hsm_job_pin(struct hsm_job *j, size_t i, const void *p, size_t len);
/* A thing of a fixed size that the call fills in. */
void hsm_job_result(struct hsm_job *j, size_t i, void *p, size_t size);
/* A buffer and (argument i + 1) its length in units, which the call changes. */
void hsm_job_out(struct hsm_job *j, size_t i, void *p, CK_ULONG *len,
                 size_t unit);
/* With the parameters, and what those of the kinds that we use point to. */
void hsm_job_mechanism(struct hsm_job *j, size_t i, const CK_MECHANISM *m);
/* A template with its values; argument i + 1 is n. */
void hsm_job_template(struct hsm_job *j, size_t i, const CK_ATTRIBUTE *as,
                      CK_ULONG n);
/* Likewise, for values that the call fills in. */
void hsm_job_attributes(struct hsm_job *j, size_t i, CK_ATTRIBUTE *as,
                        CK_ULONG n);

/* Copies to the caller what the call has written, never more than there was
 * room for; lengths are what the module said. */
void hsm_job_deliver(const struct hsm_job *j);

#endif
