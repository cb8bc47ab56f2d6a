/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/login.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/log.h"
#include "src/base/worker.h"

/* Processes that log in to SoftHSM at the same moment disturb each other. */
#define RACE_ATTEMPTS 8
/* Between looks at the lock that is held while a PIN is tried. */
#define TRYLOCK_PAUSE_MS 2u
/* An operation's PIN is known to be right for so long: it does not wait for
 * the logins of others. */
#define OPERATION_FRESH_MS 1000u

/* The one place that sends a PIN: to the token it is for, or not at all. */
static hsm_rc login_now(struct hsm_session *s, CK_USER_TYPE user,
                        struct hsm_secret *pin)
{
    union {
        char *text;
        CK_UTF8CHAR *utf8;
    } u = { .text = pin != NULL ? pin->text : NULL };

    TRY(hsm_session_confirm_once(s));
    return hsm_session_call(s, C_Login,
                    (s->h, user, u.utf8, pin != NULL ? pin->len : 0));
}

static bool is_refusal(hsm_rc rc)
{
    return rc.rv == CKR_PIN_INCORRECT || rc.rv == CKR_PIN_INVALID
        || rc.rv == CKR_PIN_LEN_RANGE;
}

/* A failure that says nothing of the PIN, on a token where such happens. */
static bool is_race(const struct hsm_session *s, hsm_rc rc)
{
    return hsm_token_has_login_race(s->tok)
        && (rc.rv == CKR_GENERAL_ERROR || rc.rv == CKR_FUNCTION_FAILED);
}

/* The call may have been executed, though it says nothing of the PIN. */
static bool may_have_counted(const struct hsm_session *s, hsm_rc rc)
{
    return rc.rv == CKR_DEVICE_ERROR || rc.rv == CKR_DEVICE_REMOVED
        || rc.rv == CKR_SESSION_CLOSED
        || (rc.rv == CKR_GENERAL_ERROR && !is_race(s, rc));
}

/* C_Login, and what it says of the PIN is noted. */
static hsm_rc send_pin(struct hsm_context *ctx, struct hsm_session *s,
                       CK_USER_TYPE user, struct hsm_secret *pin)
{
    const struct hsm_hooks *hooks = hsm_context_hooks(ctx);
    hsm_rc rc = login_now(s, user, pin);

    for (unsigned int i = 1; i < RACE_ATTEMPTS && is_race(s, rc); i++) {
        hsm_pause_apart(i);
        rc = login_now(s, user, pin);
    }
    if (hsm_ok(rc)) {
        hsm_pin_page_note(&s->tok->id, pin, HSM_PIN_ACCEPTED);
    } else if (is_refusal(rc)) {
        if (hooks->refusal_counts == NULL
            || hooks->refusal_counts(hooks->arg)) {
            hsm_pin_page_note(&s->tok->id, pin, HSM_PIN_REFUSED);
        }
    }
    return rc;
}

static hsm_rc refused_before(const struct hsm_token *tok)
{
    return hsm_fail(HSM_E_PIN_REFUSED, "C_Login",
                    "token \"%s\" refused this PIN before", tok->id.label);
}

static bool is_locked(const CK_TOKEN_INFO *info)
{
    return (info->flags & CKF_USER_PIN_LOCKED) != 0;
}

static bool is_last_try(struct hsm_context *ctx, const CK_TOKEN_INFO *info)
{
    return (info->flags & CKF_USER_PIN_FINAL_TRY) != 0
        && !hsm_context_settings(ctx)->final_try;
}

/* The token's flags allow one more try of a PIN that may be wrong. */
static hsm_rc check_tries(struct hsm_context *ctx, struct hsm_session *s)
{
    struct hsm_token *tok = s->tok;
    CK_TOKEN_INFO info;

    TRY(hsm_session_confirm(s));
    hsm_token_info(tok, &info);
    if (is_locked(&info)) {
        return hsm_fail(CKR_PIN_LOCKED, "C_Login",
                        "the PIN of token \"%s\" is locked and was not sent",
                        tok->id.label);
    }
    if (is_last_try(ctx, &info)) {
        return hsm_fail(HSM_E_PIN_FINAL, "C_Login",
                        "token \"%s\" grants one last try before it locks, "
                        "so the PIN was not sent", tok->id.label);
    }
    return HSM_OK;
}

/* Of one that was accepted before, what was read last says enough: the token
 * is asked only where that was no good news, or was read before this session
 * was opened: it may be another token's. */
static hsm_rc check_tries_again(struct hsm_context *ctx,
                                struct hsm_session *s)
{
    CK_TOKEN_INFO info;

    hsm_token_info(s->tok, &info);
    return !s->confirmed || is_locked(&info) || is_last_try(ctx, &info)
        ? check_tries(ctx, s) : HSM_OK;
}

/* hsm_worker_late_fn: what the token said of a PIN after all. */
static void note_late(const void *who, const struct hsm_secret *pin, CK_RV rv)
{
    const hsm_rc rc = { rv, "C_Login" };

    if (pin != NULL) {
        hsm_pin_page_note(who, pin, hsm_ok(rc) ? HSM_PIN_ACCEPTED
                          : is_refusal(rc) ? HSM_PIN_REFUSED
                          : HSM_PIN_UNTRIED);
    }
}

/* Until the token has said something of it, it is not sent once more, by
 * whichever process; one that was accepted before, not for a while. */
static hsm_rc send_in_turn(struct hsm_context *ctx, struct hsm_session *s,
                           CK_USER_TYPE user, struct hsm_secret *pin,
                           bool untried)
{
    const struct hsm_hooks *hooks = hsm_context_hooks(ctx);
    hsm_rc rc;

    if (s->tok->lib->gate.real == NULL      /* it is never late */
        || (hooks->refusal_counts != NULL
            && !hooks->refusal_counts(hooks->arg))) {
        return send_pin(ctx, s, user, pin);
    }
    hsm_pin_page_note(&s->tok->id, pin, HSM_PIN_SENT);
    hsm_worker_for(&s->tok->id, note_late, untried);
    rc = send_pin(ctx, s, user, pin);
    hsm_worker_for(NULL, note_late, false);
    if (!hsm_ok(rc) && !is_refusal(rc) && !hsm_worker_left_behind()) {
        hsm_pin_page_note(&s->tok->id, pin, HSM_PIN_UNTRIED);
    }
    return rc;
}

/* It is our turn, and nothing speaks against it. */
static hsm_rc try_in_turn(struct hsm_context *ctx, struct hsm_session *s,
                          CK_USER_TYPE user, struct hsm_secret *pin)
{
    struct hsm_token *tok = s->tok;
    enum hsm_pin_fame fame = hsm_pin_page_look(&tok->id, pin, 0);
    hsm_rc rc;

    switch (fame) {
    case HSM_PIN_REFUSED:
        return refused_before(tok);
    case HSM_PIN_SENT:
        return hsm_fail(HSM_E_CALL_TIMEOUT, "C_Login", "token \"%s\" has "
                        "this PIN and has not answered yet, so it was not "
                        "sent again", tok->id.label);
    case HSM_PIN_UNTRIED:
        rc = check_tries(ctx, s);
        break;
    default:
        rc = check_tries_again(ctx, s);
        break;
    }
    TRY(rc);
    rc = send_in_turn(ctx, s, user, pin, fame == HSM_PIN_UNTRIED);
    s->at_stake = fame == HSM_PIN_UNTRIED && may_have_counted(s, rc);
    return rc;
}

/* How a PIN may be sent: not at all, or with the lock, or without it. */
enum turn { TURN_REFUSED, TURN_OURS, TURN_FREE, TURN_NEVER };

/*
 * Waits for the lock, or until it is not needed. A PIN that was accepted a
 * while ago may have been changed since: of all that log in with it at once,
 * one finds out. FRESH: others have just done so.
 */
static enum turn wait_for_turn(struct hsm_context *ctx,
                               const struct hsm_identity *id,
                               const struct hsm_secret *pin,
                               hsm_deadline_ms since)
{
    hsm_deadline_ms deadline =
        hsm_deadline(hsm_context_settings(ctx)->wait_ms);
    hsm_deadline_ms patience = hsm_deadline(HSM_PIN_PATIENCE_MS);
    enum hsm_pin_fame fame = hsm_pin_page_look(id, pin, since);

    while (fame != HSM_PIN_REFUSED && fame != HSM_PIN_FRESH
           && !hsm_pin_page_trylock(id)) {
        hsm_deadline_ms now = hsm_now_ms();

        if (fame == HSM_PIN_ACCEPTED
                && (now >= patience || now >= deadline)) {
            return TURN_FREE;
        }
        if (now >= deadline) {
            return TURN_NEVER;
        }
        hsm_pause_ms(TRYLOCK_PAUSE_MS);
        fame = hsm_pin_page_look(id, pin, since);
    }
    return fame == HSM_PIN_REFUSED ? TURN_REFUSED
        : fame == HSM_PIN_FRESH ? TURN_FREE : TURN_OURS;
}

static hsm_rc try_pin(struct hsm_context *ctx, struct hsm_session *s,
                      CK_USER_TYPE user, struct hsm_secret *pin)
{
    hsm_deadline_ms now = hsm_now_ms();
    hsm_deadline_ms since = user != CKU_CONTEXT_SPECIFIC ? now
        : now > OPERATION_FRESH_MS ? now - OPERATION_FRESH_MS : 0;
    hsm_rc rc;

    switch (wait_for_turn(ctx, &s->tok->id, pin, since)) {
    case TURN_REFUSED:
        return refused_before(s->tok);
    case TURN_FREE:
        return send_pin(ctx, s, user, pin);
    case TURN_NEVER:
        return hsm_fail(HSM_E_TIMEOUT, "C_Login",
                        "another process has been logging in to token \"%s\" "
                        "for too long", s->tok->id.label);
    default:
        rc = try_in_turn(ctx, s, user, pin);
        hsm_pin_page_unlock(&s->tok->id);
        return rc;
    }
}

/* A copy of the PIN that opened the token before, or NULL. */
static struct hsm_secret *remembered_pin(struct hsm_token *tok)
{
    /* Made before the lock is held: the secrets have a lock of their own. */
    struct hsm_secret *pin = hsm_secret_new("", 0);
    bool known;

    hsm_lock(&tok->lock);
    known = pin != NULL && tok->login.pin != NULL;
    if (known) {
        *pin = *tok->login.pin;
    }
    hsm_unlock(&tok->lock);
    if (!known) {
        hsm_secret_free(pin);
        pin = NULL;
    }
    return pin;
}

/* The PIN as its sources have it now. NULL: none has one. */
static hsm_rc find_pin(struct hsm_context *ctx, struct hsm_token *tok,
                       const struct hsm_cred *cred, struct hsm_secret **out)
{
    struct hsm_cred c = { .uri = NULL };

    if (cred != NULL) {
        c = *cred;
    }
    if (c.setting == NULL) {
        c.setting = hsm_context_pin(ctx, tok->lib);
    }
    return hsm_pin_find(&c, &tok->id, out);
}

static hsm_rc no_pin(const struct hsm_token *tok)
{
    return hsm_fail(HSM_E_NO_PIN, "C_Login",
                    "token \"%s\" wants a PIN and none was given",
                    tok->id.label);
}

/* Takes the PIN over. */
static hsm_rc login_by(struct hsm_context *ctx, struct hsm_session *s,
                       CK_USER_TYPE user, struct hsm_secret *pin)
{
    hsm_rc rc = try_pin(ctx, s, user, pin);

    if (hsm_ok(rc) && hsm_context_settings(ctx)->cache_pins) {
        hsm_token_keep_pin(s->tok, pin);
    } else {
        hsm_secret_free(pin);
    }
    return rc;
}

static bool is_same(const struct hsm_secret *a, const struct hsm_secret *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* Another thread may keep the new one by now. */
static void forget_pin(struct hsm_token *tok, const struct hsm_secret *refused)
{
    struct hsm_secret *kept = NULL;

    hsm_lock(&tok->lock);
    if (tok->login.pin != NULL && is_same(tok->login.pin, refused)) {
        kept = tok->login.pin;
        tok->login.pin = NULL;
    }
    hsm_unlock(&tok->lock);
    hsm_secret_free(kept);      /* which takes a lock of its own */
}

static hsm_rc login_as(struct hsm_context *ctx, struct hsm_session *s,
                       CK_USER_TYPE user, const struct hsm_cred *cred)
{
    struct hsm_secret *pin = NULL;
    hsm_autop(hsm_secret) old = NULL;
    CK_TOKEN_INFO info;
    hsm_rc rc = HSM_OK;

    hsm_token_info(s->tok, &info);
    if ((info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
        return login_now(s, user, NULL);
    }
    old = remembered_pin(s->tok);
    if (old != NULL) {
        rc = try_pin(ctx, s, user, old);
        if (!is_refusal(rc) && rc.rv != HSM_E_PIN_REFUSED) {
            return rc;
        }
        forget_pin(s->tok, old);
    }
    TRY(find_pin(ctx, s->tok, cred, &pin));
    if (pin == NULL && old == NULL) {
        return no_pin(s->tok);
    }
    /* It was changed, and its source says to what. */
    if (pin == NULL || (old != NULL && is_same(pin, old))) {
        hsm_secret_free(pin);
        return rc;
    }
    return login_by(ctx, s, user, pin);
}

static bool is_logged_in(struct hsm_session *s, bool otherwise)
{
    CK_SESSION_INFO info = { .state = 0 };
    hsm_rc rc = hsm_session_call(s, C_GetSessionInfo, (s->h, &info));

    if (!hsm_ok(rc)) {
        return otherwise;
    }
    return info.state == CKS_RO_USER_FUNCTIONS
        || info.state == CKS_RW_USER_FUNCTIONS;
}

/* Somebody else (or the parent process) may have logged this module in. */
static bool session_says_logged_in(struct hsm_session *s)
{
    return !hsm_library_is_ours(s->tok->lib) && is_logged_in(s, false);
}

/* The right to log in. False with HSM_OK: it is done. */
static hsm_rc claim(struct hsm_context *ctx, struct hsm_session *s,
                    bool *claimed)
{
    hsm_deadline_ms deadline =
        hsm_deadline(hsm_context_settings(ctx)->wait_ms);
    struct hsm_token *tok = s->tok;
    bool in_time = true;

    *claimed = false;
    hsm_lock(&tok->lock);
    while (in_time && !*claimed && !tok->login.logged_in) {
        *claimed = hsm_claim_take(&tok->login.claim);
        in_time = *claimed || hsm_wait(&tok->lock, deadline);
    }
    hsm_unlock(&tok->lock);
    if (!in_time) {
        return hsm_fail(HSM_E_TIMEOUT, "C_Login",
                        "another thread has been logging in to token \"%s\" "
                        "for too long", tok->id.label);
    }
    return HSM_OK;
}

hsm_rc hsm_login_ensure(struct hsm_context *ctx, struct hsm_session *s,
                        const struct hsm_cred *cred)
{
    struct hsm_token *tok = s->tok;
    CK_TOKEN_INFO info;
    bool claimed;
    hsm_rc rc = HSM_OK;

    TRY(claim(ctx, s, &claimed));
    if (!claimed) {
        return HSM_OK;
    }
    hsm_token_info(tok, &info);
    if ((info.flags & CKF_LOGIN_REQUIRED) != 0
        && !session_says_logged_in(s)) {
        rc = login_as(ctx, s, CKU_USER, cred);
    }
    if (rc.rv == CKR_USER_ALREADY_LOGGED_IN) {
        rc = HSM_OK;
    }
    hsm_lock(&tok->lock);
    if (hsm_ok(rc) && s->epoch == hsm_token_epoch(tok)) {
        tok->login.logged_in = true;
    }
    hsm_unlock(&tok->lock);
    hsm_claim_drop(&tok->login.claim, &tok->lock);
    return rc;
}

bool hsm_login_is_lost(struct hsm_session *s)
{
    CK_TOKEN_INFO info;

    hsm_token_info(s->tok, &info);
    return (info.flags & CKF_LOGIN_REQUIRED) != 0 && !is_logged_in(s, true);
}

hsm_rc hsm_login_for_operation(struct hsm_context *ctx, struct hsm_session *s,
                               const struct hsm_cred *cred)
{
    hsm_rc rc = login_as(ctx, s, CKU_CONTEXT_SPECIFIC, cred);

    /* Tokens that store the attribute without honouring it say these. */
    if (rc.rv == CKR_USER_ALREADY_LOGGED_IN
        || rc.rv == CKR_USER_TYPE_INVALID) {
        return HSM_OK;
    }
    return rc;
}
