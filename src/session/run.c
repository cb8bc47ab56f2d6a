/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/run.h"

#include <unistd.h>

#include "src/base/log.h"
#include "src/module/quirk.h"

/* Tries in all; more than two only where a quirk row says so. */
#define TRIES 2u
#define TRIES_WITH_RACE 6u

static hsm_rc try_once(const struct hsm_run *run, hsm_run_fn fn, void *arg,
                       unsigned int *epoch)
{
    hsm_autop(hsm_session) s = NULL;

    *epoch = hsm_token_epoch(run->tok);
    TRY(hsm_pool_take(run->ctx, run->tok, run->kind, &s));
    *epoch = s->epoch;
    if (run->login) {
        hsm_rc rc = hsm_login_ensure(run->ctx, s, run->cred);

        if (!hsm_ok(rc)) {
            /* A session that cannot even log in is not worth keeping. */
            s->dirty = hsm_class_of(rc) == HSM_CLASS_STALE_SESSION;
            return rc;
        }
    }
    return fn(s, arg);
}

/* Makes void what belongs to the epoch that failed, once. */
static void void_epoch(struct hsm_token *tok, unsigned int epoch)
{
    hsm_lock(&tok->lock);
    if (hsm_token_epoch(tok) == epoch) {
        hsm_token_void_locked(tok);
    }
    hsm_unlock(&tok->lock);
}

static hsm_rc recover_library(const struct hsm_run *run, hsm_rc rc,
                              unsigned int generation)
{
    struct hsm_library *lib = run->tok->lib;

    if (rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED || lib->gate.guard_sigpipe) {
        return hsm_context_restart(run->ctx, lib, generation);
    }
    return hsm_token_confirm(run->tok);
}

static bool has_race(const struct hsm_run *run)
{
    const struct hsm_quirk *quirk = run->tok->lib->quirk;

    return quirk != NULL && quirk->login_race;
}

/* Repairs what a stale failure tells of. False: there is nothing to repair. */
static bool recover(const struct hsm_run *run, hsm_rc rc, unsigned int epoch,
                    unsigned int generation)
{
    switch (hsm_class_of(rc)) {
    case HSM_CLASS_STALE_OBJECT:
        return true;            /* fn has doubted its handle itself */
    case HSM_CLASS_STALE_SESSION:
        if (rc.rv == CKR_USER_NOT_LOGGED_IN) {
            hsm_login_doubt(run->tok, epoch);
        } else if (rc.rv == CKR_SESSION_HANDLE_INVALID
                   || rc.rv == CKR_SESSION_CLOSED) {
            void_epoch(run->tok, epoch);
        }
        return true;
    case HSM_CLASS_STALE_LIBRARY:
        void_epoch(run->tok, epoch);
        return hsm_ok(recover_library(run, rc, generation));
    default:
        /* While others log in, a search may find nothing. */
        return rc.rv == HSM_E_NO_KEY && has_race(run);
    }
}

hsm_rc hsm_run(const struct hsm_run *run, hsm_run_fn fn, void *arg)
{
    unsigned int generation = hsm_library_generation(run->tok->lib);
    unsigned int tries = has_race(run) ? TRIES_WITH_RACE : TRIES;
    unsigned int epoch = 0;
    hsm_rc rc = try_once(run, fn, arg, &epoch);

    for (unsigned int i = 1; i < tries && !hsm_ok(rc); i++) {
        if (!recover(run, rc, epoch, generation)) {
            break;
        }
        hsm_log(HSM_LOG_INFO, "token %s: trying again after %s from %s",
                run->tok->id.label, hsm_ckr_row(rc.rv)->name, rc.at);
        if (i > 1) {
            hsm_pause_ms(2 * i + (unsigned int)getpid() % 7u);
        }
        generation = hsm_library_generation(run->tok->lib);
        rc = try_once(run, fn, arg, &epoch);
    }
    return hsm_blame(rc, "token \"%s\"", run->tok->id.label);
}
