/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/run.h"

#include "src/base/log.h"
#include "src/module/quirk.h"

/* Tries in all; more than two only where a quirk row says so. */
#define TRIES 2u
#define TRIES_WITH_RACE 6u
/* A token is there as a rule, a key that is sought may well not be. */
#define TRIES_FOR_TOKEN 12u
/* When a race of logins is no explanation any more. */
#define TRIES_BEFORE_RESTART 3u
/* Between two starts of a module for a key that is missing, or of one that does
 * answer. */
#define RESTART_PAUSE_MS 1000u

/* What an attempt was made with, and how far it came. */
struct attempt {
    unsigned int epoch;         /* of the token */
    unsigned int generation;    /* of the library */
    bool logging_in;            /* failed there */
    bool logged_out;            /* by somebody else, meanwhile */
    bool acting;                /* login and searches were over */
    bool acted;                 /* what failed came after the act */
    bool missing;               /* what was there before */
    bool at_stake;              /* a PIN would be sent again on a guess */
    unsigned int tries;         /* this one included */
};

/* Whoever is let in is logged in where that is due, and the session is one of
 * the token's, as a login that was sent a PIN has found out already. */
static hsm_rc enter(const struct hsm_run *run, struct attempt *a,
                    struct hsm_session *s)
{
    hsm_rc rc = HSM_OK;

    a->epoch = s->epoch;
    a->generation = s->generation;
    if (run->login) {
        rc = hsm_login_ensure(run->ctx, s, run->cred);
    }
    a->logging_in = !hsm_ok(rc);
    a->at_stake = a->logging_in && s->at_stake;
    if (!hsm_ok(rc)) {
        /* A session that cannot even log in is not worth keeping. */
        s->dirty = s->dirty || hsm_class_of(rc) == HSM_CLASS_STALE_SESSION
            || rc.rv == HSM_E_CALL_TIMEOUT;
        return rc;
    }
    return hsm_session_confirm_once(s);
}

static hsm_rc try_once(const struct hsm_run *run, hsm_run_fn fn, void *arg,
                       struct attempt *a)
{
    hsm_autop(hsm_session) s = NULL;
    hsm_rc rc;

    a->epoch = hsm_token_epoch(run->tok);
    a->generation = hsm_library_generation(run->tok->lib);
    a->logging_in = false;
    a->logged_out = false;
    a->acting = false;
    a->acted = false;
    a->missing = false;
    a->at_stake = false;
    a->tries++;
    TRY(hsm_pool_take(run->ctx, run->tok, run->kind, &s));
    rc = enter(run, a, s);
    if (s->elsewhere) {
        /* It may be in another slot by now, where it is sought. */
        hsm_session_putp(&s);
        TRY(hsm_pool_take(run->ctx, run->tok, run->kind, &s));
        rc = enter(run, a, s);
    }
    TRY(rc);
    rc = fn(s, arg);
    a->acting = s->acting;
    a->acted = s->acted;
    if (hsm_ok(rc)) {
        return rc;
    }
    a->missing = s->missing;
    a->at_stake = s->at_stake;
    s->dirty = s->dirty || rc.rv == HSM_E_CALL_TIMEOUT;
    /* What cannot be found may only be hidden. */
    a->logged_out = run->login
        && (rc.rv == HSM_E_NO_KEY
            || hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT)
        && hsm_login_is_lost(s);
    return rc;
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

/* The token is where it was. Another thread may just be starting the module
 * anew, which is waited for: until then it would say nothing. */
static hsm_rc confirm(const struct hsm_run *run)
{
    TRY(hsm_context_ready(run->ctx, run->tok->lib));
    return hsm_token_confirm(run->tok);
}

/*
 * One operation may fail for a device's own reasons, always, while others go
 * on. Where the token answers, its connection is there: a start, which ends all
 * of them, is tried once in a while, for some answer what they know by heart.
 */
static bool is_spared(const struct hsm_run *run, hsm_rc rc)
{
    struct hsm_library *lib = run->tok->lib;
    bool early;

    /* Of the others it is known what is lost. */
    if (hsm_class_of(rc) != HSM_CLASS_STALE_LIBRARY
        || rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED
        || !lib->gate.guard_sigpipe) {
        return false;
    }
    hsm_lock(&lib->lock);
    early = hsm_now_ms() < lib->next_restart;
    hsm_unlock(&lib->lock);
    if (early && hsm_library_is_ready(lib)
        && hsm_ok(hsm_token_refresh(run->tok))) {
        return true;
    }
    hsm_lock(&lib->lock);
    lib->next_restart = hsm_deadline(RESTART_PAUSE_MS);
    hsm_unlock(&lib->lock);
    return false;
}

static hsm_rc recover_library(const struct hsm_run *run, hsm_rc rc,
                              unsigned int generation)
{
    struct hsm_library *lib = run->tok->lib;

    if (rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED) {
        hsm_library_down(lib, generation);
    }
    if (is_spared(run, rc)) {
        return HSM_OK;
    }
    if (rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED
        || rc.rv == CKR_USER_PIN_NOT_INITIALIZED
        || rc.rv == CKR_GENERAL_ERROR || lib->gate.guard_sigpipe) {
        TRY(hsm_context_restart(run->ctx, lib, generation));
        /* In another life of the module the pool confirms it. */
        return hsm_library_generation(lib) != generation ? HSM_OK
                                                         : confirm(run);
    }
    return confirm(run);
}

/* The token said so before it began to do anything. Not CKR_SESSION_CLOSED:
 * that is of one that was closed meanwhile [PKCS#11 2.40, 5.1.2]. */
static bool was_not_begun(hsm_rc rc)
{
    return rc.rv == CKR_SESSION_HANDLE_INVALID
        || rc.rv == CKR_USER_NOT_LOGGED_IN || rc.rv == CKR_OPERATION_ACTIVE
        || rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* It is not found, and that need not mean that it is not there. */
static bool may_be_left_out(const struct hsm_run *run)
{
    return run->tok->lib->quirk->start_race
        || hsm_token_has_login_race(run->tok);
}

/* SoftHSM reads what a PIN is compared with when it is started, and finds
 * nothing while another process logs in. */
static bool is_unread(const struct hsm_run *run, hsm_rc rc)
{
    CK_TOKEN_INFO info;

    hsm_token_info(run->tok, &info);
    return rc.rv == CKR_USER_PIN_NOT_INITIALIZED
        && (info.flags & CKF_USER_PIN_INITIALIZED) != 0
        && hsm_token_has_login_race(run->tok);
}

/* After so many tries, this failure allows another one. */
static bool may_repeat(const struct hsm_run *run, const struct attempt *a,
                       hsm_rc rc, unsigned int tries)
{
    if (!a->acting && ((rc.rv == HSM_E_NO_TOKEN && may_be_left_out(run))
                       || is_unread(run, rc))) {
        return tries < TRIES_FOR_TOKEN;
    }
    /* Others are starting the module anew, and it was down just then. */
    if (!a->acting && rc.rv == CKR_CRYPTOKI_NOT_INITIALIZED) {
        return tries < TRIES_WITH_RACE;
    }
    if (!a->acting && hsm_token_has_login_race(run->tok)) {
        return tries < TRIES_WITH_RACE;
    }
    return tries < TRIES
        && (!run->once || !a->acting || (!a->acted && was_not_begun(rc)));
}

/* A remote module may say only this when its connection is lost. */
static bool is_cut_off(const struct hsm_run *run, hsm_rc rc)
{
    return rc.rv == CKR_GENERAL_ERROR && run->tok->lib->gate.guard_sigpipe
        && !hsm_ok(hsm_token_refresh(run->tok));
}

/* Or the half of it: then every login only fails. */
static bool is_half_read(const struct hsm_run *run, hsm_rc rc,
                         const struct attempt *a)
{
    struct hsm_library *lib = run->tok->lib;

    return is_unread(run, rc)
        || (rc.rv == CKR_GENERAL_ERROR && a->logging_in
            && a->tries >= TRIES_BEFORE_RESTART
            && hsm_token_has_login_race(run->tok)
            && hsm_library_is_ours(lib) && !hsm_pool_has_keys(lib));
}

/* By another thread, since this attempt began. */
static bool was_started_anew(const struct hsm_run *run, const struct attempt *a)
{
    struct hsm_library *lib = run->tok->lib;

    return hsm_ok(hsm_context_ready(run->ctx, lib))
        && hsm_library_generation(lib) != a->generation;
}

/* A token that is missed is there after another start, as a rule; where that
 * may not be, somebody uses the module, and looking again is enough. */
static bool find_left_out(const struct hsm_run *run, const struct attempt *a)
{
    struct hsm_library *lib = run->tok->lib;
    bool may = hsm_pool_may_restart(lib);
    hsm_rc rc = HSM_OK;

    if (may) {
        rc = hsm_context_restart(run->ctx, lib, a->generation);
    }
    if (lib->gate.guard_sigpipe) {
        return may ? hsm_ok(rc) : was_started_anew(run, a);
    }
    return may_be_left_out(run) && rc.rv != HSM_E_DEAD;
}

static bool may_restart_for_key(struct hsm_token *tok)
{
    bool may;

    hsm_lock(&tok->lock);
    may = hsm_now_ms() >= tok->next_restart;
    if (may) {
        tok->next_restart = hsm_deadline(RESTART_PAUSE_MS);
    }
    hsm_unlock(&tok->lock);
    return may;
}

/* While others log in to SoftHSM, a search may find nothing. It also keeps in
 * mind that its files were away: then it must be started anew. */
static bool look_again(const struct hsm_run *run, const struct attempt *a)
{
    struct hsm_library *lib = run->tok->lib;

    if (!hsm_token_has_login_race(run->tok)) {
        return false;
    }
    if (a->missing && a->tries == TRIES_BEFORE_RESTART
        && hsm_library_is_ours(lib) && !hsm_pool_has_keys(lib)
        && may_restart_for_key(run->tok)) {
        void_epoch(run->tok, a->epoch);
        (void)hsm_ok(hsm_context_restart(run->ctx, lib, a->generation));
    }
    return true;
}

/* Repairs what a stale failure tells of. False: there is nothing to repair. */
static bool recover(const struct hsm_run *run, hsm_rc rc,
                    const struct attempt *a)
{
    enum hsm_class cls = hsm_class_of(rc);

    if (a->logged_out) {
        void_epoch(run->tok, a->epoch);
        return true;
    }
    if (rc.rv == HSM_E_NO_TOKEN) {
        return find_left_out(run, a);
    }
    if (is_cut_off(run, rc) || is_half_read(run, rc, a)) {
        cls = HSM_CLASS_STALE_LIBRARY;
    }
    switch (cls) {
    case HSM_CLASS_STALE_OBJECT:
        return true;            /* fn has doubted its handle itself */
    case HSM_CLASS_STALE_SESSION:
        /* Sessions go when the token is taken out [PKCS#11 2.40, 5.6]: the PIN
         * is not for one that was put in instead. */
        if (rc.rv == CKR_SESSION_HANDLE_INVALID
            || rc.rv == CKR_SESSION_CLOSED) {
            void_epoch(run->tok, a->epoch);
            return hsm_ok(confirm(run));
        }
        /* Somebody logged the token out: handles went with the login. */
        if (rc.rv == CKR_USER_NOT_LOGGED_IN) {
            void_epoch(run->tok, a->epoch);
        }
        /* It may mean anything: the PIN is not sent again on a guess. */
        return !a->logging_in || rc.rv != CKR_GENERAL_ERROR
            || hsm_token_has_login_race(run->tok);
    case HSM_CLASS_STALE_LIBRARY:
        void_epoch(run->tok, a->epoch);
        return hsm_ok(recover_library(run, rc, a->generation));
    default:
        return rc.rv == HSM_E_NO_KEY && look_again(run, a);
    }
}

hsm_rc hsm_run(const struct hsm_run *run, hsm_run_fn fn, void *arg)
{
    struct attempt a = { .tries = 0 };
    hsm_rc rc = try_once(run, fn, arg, &a);

    for (unsigned int i = 1; !hsm_ok(rc) && may_repeat(run, &a, rc, i); i++) {
        if (i > 1) {
            hsm_pause_apart(i);
        }
        /* What was lost is made good in any case, for who comes next. */
        if (!recover(run, rc, &a) || a.at_stake) {
            break;
        }
        hsm_log(HSM_LOG_INFO, "token %s: trying again after %s from %s",
                run->tok->id.label, hsm_ckr_row(rc.rv)->name, rc.at);
        rc = try_once(run, fn, arg, &a);
    }
    return hsm_blame(rc, "token \"%s\"", run->tok->id.label);
}
