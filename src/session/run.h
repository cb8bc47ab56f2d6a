/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that needs a session: the one place that takes it, logs in, gives it
 * back, recovers from a stale world, and retries.
 */
#ifndef HSM_SESSION_RUN_H
#define HSM_SESSION_RUN_H

#include "src/session/login.h"
#include "src/session/session.h"

struct hsm_run {
    struct hsm_context *ctx;
    struct hsm_token *tok;
    const struct hsm_cred *cred;            /* or NULL */
    enum hsm_session_kind kind;
    bool login;                 /* log in first */
    bool once;                  /* what fn does must not be done twice */
};

/* What is to be done. May be called again, when it failed with a STALE class:
 * then with another session, or after a login, or with a restarted module. It
 * sets s->acting when its searches are over and the act itself begins, and
 * s->acted when the token has done it; s->missing when what was on the token
 * before is not found there; login.c sets s->at_stake. */
typedef hsm_rc (*hsm_run_fn)(struct hsm_session *s, void *arg);

/*
 * Runs fn. A failure of a STALE class is repaired and tried once more (logins
 * and searches a few times, with pauses, on tokens where those are known to
 * disturb each other); any other is returned, with the token's name as where.
 * With once, an act is repeated only if the token did not even begin it.
 * Nothing is where a PIN that may be wrong may have been counted as a try.
 */
HSM_CHECKED hsm_rc hsm_run(const struct hsm_run *run, hsm_run_fn fn,
                           void *arg);

#endif
