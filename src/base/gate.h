/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate that every call into a PKCS#11 module passes.
 *
 * Modules hang or crash when the process forks or exits while another thread
 * is inside them. So each thread has a mark that says "inside a module", and
 * which; fork and exit close the gate, wait (with a deadline) until all other
 * marks are down, and go on. The end of a module closes it for calls of this
 * module, and waits for those. Passing an open gate costs two atomic stores and
 * two atomic loads on entry, one store on exit.
 *
 * The same mark tells our own entry points that a module has called back into
 * them through libcrypto: hsm_gate_is_inside().
 *
 * Around a call errno is kept, and where the library is remote, SIGPIPE is
 * kept from the application.
 */
#ifndef HSM_BASE_GATE_H
#define HSM_BASE_GATE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "src/base/result.h"
#include "src/base/sync.h"

/* For a module that is to have one call at a time. The lock is not held over
 * the call, so a fork does not wait for it; in a child it is nobody's turn.
 * A thread that ends inside a call gives its turn back; threads that wait for
 * theirs are not inside. */
struct hsm_gate_turn {
    struct hsm_lock lock;
    struct hsm_claim taken;     /* (lock) */
};

/* What a module's calls need; embedded in struct hsm_library. */
struct hsm_gate_use {
    bool is_special;            /* one of the following is set */
    bool guard_sigpipe;
    struct hsm_gate_turn *turn; /* NULL: calls may overlap */
    unsigned int limit_ms;      /* of a call; 0: none. See timed.h */
    const CK_FUNCTION_LIST *real;   /* the module's own; NULL without limit */
    const atomic_uint *generation;  /* counts its starts; with a limit */
    atomic_uint shut_in;        /* fork epoch + 1: for this module alone */
    _Atomic(pthread_t) shutter; /* by whom */
};

/* What is put back when the call returns. */
struct hsm_gate_frame {
    const char *name;
    int saved_errno;
    void (*after)(void);
    bool entered;
    bool pipe_guarded;
    bool pipe_was_pending;
    unsigned long long started_ns;      /* only when calls are logged */
    sigset_t old_mask;
};

/*
 * Registers the fork handlers, once per process. Called before anything that
 * must survive a fork; cheap afterwards.
 */
void hsm_gate_setup(void);
/* Registers the exit handler: to be called after the first C_Initialize of each
 * module that was loaded, so that it runs before the module's own handlers.
 * The first of them to run does the work. */
void hsm_gate_setup_exit(void (*closing)(void));

/* Called around every call into a module, in the thread that has to make it,
 * also where a worker makes it for that thread (timed.h); set once, before the
 * first. They must not fail, nor call a module. */
void hsm_gate_around(void (*before)(void), void (*after)(void));

bool hsm_gate_is_inside(void);
bool hsm_gate_is_dead(void);

/* Enter and leave by hsm_call() only. False: dead or re-entered, not inside. */
bool hsm_gate_enter(const struct hsm_gate_use *use, struct hsm_gate_frame *f);
hsm_rc hsm_gate_leave(struct hsm_gate_frame *f, CK_RV rv);

/* What the call that this thread is in the middle of needs: for timed.c, whose
 * functions are called instead of the module's. */
const struct hsm_gate_use *hsm_gate_use_now(void);

/*
 * A thread that makes calls for others (worker.c) does not pass the gate: the
 * one it works for has. It has a mark of its own, which stays up when the other
 * one gives up waiting. NULL on memory failure. A mark given up counts, but is
 * not waited for as long. Resuming waits until the gate is open; false: it will
 * not be, and no call may follow the one that has come back.
 */
struct hsm_gate_mark;
struct hsm_gate_mark *hsm_gate_work_mark(void);
void hsm_gate_work_begin(struct hsm_gate_mark *m,
                         const struct hsm_gate_use *use);
void hsm_gate_work_give_up(struct hsm_gate_mark *m);
bool hsm_gate_work_resume(struct hsm_gate_mark *m);
void hsm_gate_work_end(struct hsm_gate_mark *m);

/*
 * Shuts the gate for all threads but this one, and waits for those inside, at
 * most deadline_ms. False: some thread is still inside (logged). Must be
 * followed by hsm_gate_open(). Not while this thread is inside.
 */
bool hsm_gate_shut(unsigned int deadline_ms);
void hsm_gate_open(void);
/* The same for the calls of one module; by one thread at a time. */
bool hsm_gate_shut_one(struct hsm_gate_use *use, unsigned int deadline_ms);
void hsm_gate_open_one(struct hsm_gate_use *use);

/*
 * The one way into a module: hsm_call(lib, C_Sign, (h, data, n, sig, &len)).
 * lib is a struct hsm_library *. Yields an hsm_rc named after the function.
 */
#define hsm_call(lib, fn, args) \
    hsm_gate_call_(lib, true, fn, args)
/* is_valid is looked at inside the gate, where no module can be started anew:
 * what was a session's handle before may be another's after that. */
#define hsm_gate_call_(lib, is_valid, fn, args) \
    __extension__({ \
        struct hsm_gate_frame frame_; \
        CK_RV rv_ = CKR_OK; \
        frame_.name = #fn; \
        if (hsm_gate_enter(&(lib)->gate, &frame_)) { \
            rv_ = !(is_valid) ? CKR_SESSION_HANDLE_INVALID \
                : (lib)->f->fn != NULL ? (lib)->f->fn args \
                                       : CKR_FUNCTION_NOT_SUPPORTED; \
        } \
        hsm_gate_leave(&frame_, rv_); \
    })

#endif
