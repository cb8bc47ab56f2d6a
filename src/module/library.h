/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loaded PKCS#11 module, and the process-wide registry of them.
 *
 * One file is one library, however many contexts use it: C_Initialize belongs
 * to the process. (A bare name, which dlopen seeks, is another one than a path
 * to the same file: the second of them finds the module initialised.)
 * Libraries and their tokens are never freed, so pointers to them stay good; a
 * library that nobody uses any more is finalised and can be used again. Nothing
 * here loads or calls a module before hsm_library_ready().
 */
#ifndef HSM_MODULE_LIBRARY_H
#define HSM_MODULE_LIBRARY_H

#include <stdatomic.h>

#include "src/base/buf.h"
#include "src/base/gate.h"
#include "src/base/sync.h"

struct hsm_token;
struct hsm_quirk;

struct hsm_library {
    char *name;                 /* for people: p11-kit's or the setting's */
    char *path;                 /* as configured; dlopen's argument */
    char *init_args;            /* CK_C_INITIALIZE_ARGS.pReserved, or NULL */
    CK_FUNCTION_LIST *f;        /* NULL until loaded; timed or its own */
    CK_FUNCTION_LIST timed;     /* see base/timed.h */
    CK_INFO info;               /* valid when ready */
    struct hsm_gate_use gate;
    struct hsm_gate_turn turn;  /* used where a quirk row asks for it */
    const struct hsm_quirk *quirk;          /* never NULL once ready */
    struct hsm_lock lock;       /* guards all below, and the tokens' slots */
    /* "In which process": fork epoch + 1; 0: in none. */
    unsigned int loaded_in;
    unsigned int ours_in;       /* our C_Initialize succeeded */
    unsigned int begun_in;      /* our first C_Initialize for these users */
    hsm_deadline_ms fresh_until;            /* that was not long ago */
    unsigned int exit_in;       /* (starting) our exit handler is there */
    atomic_uint ready_in;
    atomic_uint generation;     /* counts lives: what a start made void */
    bool close_at_exit;         /* setting or quirk: close idle sessions */
    struct hsm_claim starting;  /* loading, C_Initialize or recovery */
    atomic_uint users;          /* contexts; written with the lock */
    atomic_uint lives;          /* likewise: how often they became the first */
    hsm_deadline_ms next_restart;           /* not before, while it answers */
    unsigned int scans;         /* of the slots, begun so far */
    unsigned int blanks;        /* tokens that it saw, not initialised */
    hsm_rc slot_failure;        /* of a slot, in the scan that ended last */
    hsm_deadline_ms missed_until;   /* a token was sought long, not found */
    struct hsm_token *tokens;   /* list; entries are never removed */
    struct hsm_library *next;   /* registry, in order of registration */
};

enum hsm_tristate { HSM_AUTO, HSM_YES, HSM_NO };

/* How a library is started; see context.h. */
struct hsm_library_hooks {
    void (*before_load)(void *arg);         /* before its code runs, or NULL */
    hsm_rc (*before_init)(void *arg);       /* before C_Initialize, or NULL */
    void *arg;
    unsigned int wait_ms;       /* for another thread that is starting it */
    unsigned int call_timeout_ms;   /* 0: none; who loads it first decides */
    enum hsm_tristate remote;   /* guard SIGPIPE; auto: by quirk */
    enum hsm_tristate close_at_exit;        /* auto: when it is remote */
};

/*
 * The library of this file (made and entered if new; a relative name is found
 * as dlopen does). init_args or name may be NULL. Counts one user more.
 * HSM_E_SETTING when the same file is known with other init_args.
 */
HSM_CHECKED hsm_rc hsm_library_use(const char *name, const char *path,
                                   const char *init_args,
                                   struct hsm_library **out);
/* One user less; the last one finalises what we initialised, unless the
 * process is ending or this is another process than the one that did. PINs
 * that opened its tokens are wiped in any case. */
void hsm_library_release(struct hsm_library *lib);

/*
 * Loads the file and initialises the module, where that has not been done in
 * this process. HSM_E_MODULE with the reason (not found,
 * not readable by this user, not a module), C_Initialize's failure, or
 * HSM_E_TIMEOUT when another thread takes too long over it.
 */
HSM_CHECKED hsm_rc hsm_library_ready(struct hsm_library *lib,
                                     const struct hsm_library_hooks *hooks);
/* Ready in this process, without doing anything for it. */
bool hsm_library_is_ready(const struct hsm_library *lib);
/* A thread of this process is about to make it ready. */
bool hsm_library_is_starting(struct hsm_library *lib);
/* Initialised by us, in this process. */
bool hsm_library_is_ours(struct hsm_library *lib);

/*
 * The connection behind this library was lost, or somebody finalised it:
 * starts it anew, unless that has happened since generation. Finalises first
 * only what we initialised in this process. One thread works, others wait.
 */
HSM_CHECKED hsm_rc hsm_library_restart(struct hsm_library *lib,
                                       unsigned int generation,
                                       const struct hsm_library_hooks *hooks);
/* Does not change where a module of somebody else's was up all the time. */
unsigned int hsm_library_generation(const struct hsm_library *lib);
/* At that time (hsm_now_ms()) our first C_Initialize in this process was not
 * long ago, or still to come: what the module does not show it may have missed
 * then, and hardly anybody else can have begun to use it. */
bool hsm_library_is_fresh(struct hsm_library *lib, uint64_t at);
/* A call of that generation said that the module is not initialised: nothing
 * of it is left, whoever initialises the module next. */
void hsm_library_down(struct hsm_library *lib, unsigned int generation);

/* What is done with each library when the process ends; set by the pool. */
void hsm_library_at_exit(void (*closing)(struct hsm_library *lib));

#endif
