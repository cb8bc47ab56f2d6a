/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/login.h"

#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/worker.h"

/* Processes that log in to SoftHSM at the same moment disturb each other. */
#define RACE_ATTEMPTS 8
/* Between looks at the lock that an untried PIN of the token's holds. */
#define TRYLOCK_PAUSE_MS 5u

static hsm_rc login_now(struct hsm_session *s, CK_USER_TYPE user,
                        struct hsm_secret *pin)
{
    union {
        char *text;
        CK_UTF8CHAR *utf8;
    } u = { .text = pin != NULL ? pin->text : NULL };

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

/* The token's flags allow one more try of a PIN that may be wrong. */
static hsm_rc check_tries(struct hsm_context *ctx, struct hsm_token *tok)
{
    CK_TOKEN_INFO info;

    TRY(hsm_token_refresh(tok));
    hsm_token_info(tok, &info);
    if ((info.flags & CKF_USER_PIN_LOCKED) != 0) {
        return hsm_fail(CKR_PIN_LOCKED, "C_Login",
                        "the PIN of token \"%s\" is locked and was not sent",
                        tok->id.label);
    }
    if ((info.flags & CKF_USER_PIN_FINAL_TRY) != 0
        && !hsm_context_settings(ctx)->final_try) {
        return hsm_fail(HSM_E_PIN_FINAL, "C_Login",
                        "token \"%s\" grants one last try before it locks, "
                        "so the PIN was not sent", tok->id.label);
    }
    return HSM_OK;
}

/* hsm_worker_late_fn: what the token said of a PIN after all. */
static void note_late(const void *who, const struct hsm_secret *pin, CK_RV rv)
{
    const hsm_rc rc = { rv, "C_Login" };

    if (pin != NULL && (hsm_ok(rc) || is_refusal(rc))) {
        hsm_pin_page_note(who, pin,
                          hsm_ok(rc) ? HSM_PIN_ACCEPTED : HSM_PIN_REFUSED);
    }
}

/* Until the token has said something of it, it is not sent once more. */
static hsm_rc send_untried(struct hsm_context *ctx, struct hsm_session *s,
                           CK_USER_TYPE user, struct hsm_secret *pin)
{
    const struct hsm_hooks *hooks = hsm_context_hooks(ctx);
    bool counts;
    hsm_rc rc;

    if (s->tok->lib->gate.real == NULL) {
        return send_pin(ctx, s, user, pin);     /* it is never late */
    }
    counts = hooks->refusal_counts == NULL
        || hooks->refusal_counts(hooks->arg);
    hsm_worker_for(counts ? &s->tok->id : NULL, note_late);
    rc = send_pin(ctx, s, user, pin);
    hsm_worker_for(NULL, note_late);
    return rc;
}

/* One process of the tree tries a PIN that none has tried; others wait. */
static hsm_rc try_untried(struct hsm_context *ctx, struct hsm_session *s,
                          CK_USER_TYPE user, struct hsm_secret *pin)
{
    hsm_deadline_ms deadline =
        hsm_deadline(hsm_context_settings(ctx)->wait_ms);
    enum hsm_pin_fame fame;
    hsm_rc rc;

    while (!hsm_pin_page_trylock(&s->tok->id)) {
        if (hsm_now_ms() >= deadline) {
            return hsm_fail(HSM_E_TIMEOUT, "C_Login",
                            "another process has been logging in to token "
                            "\"%s\" for too long", s->tok->id.label);
        }
        hsm_pause_ms(TRYLOCK_PAUSE_MS);
    }
    fame = hsm_pin_page_look(&s->tok->id, pin);
    if (fame == HSM_PIN_REFUSED) {
        rc = refused_before(s->tok);
    } else {
        rc = fame == HSM_PIN_UNTRIED ? check_tries(ctx, s->tok) : HSM_OK;
        if (hsm_ok(rc)) {
            rc = send_untried(ctx, s, user, pin);
        }
    }
    hsm_pin_page_unlock(&s->tok->id);
    return rc;
}

static hsm_rc try_pin(struct hsm_context *ctx, struct hsm_session *s,
                      CK_USER_TYPE user, struct hsm_secret *pin)
{
    switch (hsm_pin_page_look(&s->tok->id, pin)) {
    case HSM_PIN_REFUSED:
        return refused_before(s->tok);
    case HSM_PIN_ACCEPTED:
        return send_pin(ctx, s, user, pin);
    default:
        return try_untried(ctx, s, user, pin);
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

/* The PIN to use: the one that opened the token, else from its sources. */
static hsm_rc pick_pin(struct hsm_context *ctx, struct hsm_token *tok,
                       const struct hsm_cred *cred, struct hsm_secret **out)
{
    struct hsm_cred c = { .uri = NULL };
    struct hsm_secret *pin = NULL;

    pin = remembered_pin(tok);
    if (pin == NULL) {
        if (cred != NULL) {
            c = *cred;
        }
        if (c.setting == NULL) {
            c.setting = hsm_context_pin(ctx, tok->lib);
        }
        TRY(hsm_pin_find(&c, &tok->id, &pin));
    }
    if (pin == NULL) {
        return hsm_fail(HSM_E_NO_PIN, "C_Login",
                        "token \"%s\" wants a PIN and none was given",
                        tok->id.label);
    }
    *out = pin;
    return HSM_OK;
}

/* Keeps the PIN that was accepted; takes it over. */
static void keep_pin(struct hsm_context *ctx, struct hsm_token *tok,
                     struct hsm_secret *pin)
{
    struct hsm_secret *old = pin;

    if (hsm_context_settings(ctx)->cache_pins) {
        hsm_lock(&tok->lock);
        old = tok->login.pin;
        tok->login.pin = pin;
        hsm_unlock(&tok->lock);
    }
    hsm_secret_free(old);
}

static hsm_rc login_as(struct hsm_context *ctx, struct hsm_session *s,
                       CK_USER_TYPE user, const struct hsm_cred *cred)
{
    struct hsm_secret *pin = NULL;
    CK_TOKEN_INFO info;
    hsm_rc rc;

    hsm_token_info(s->tok, &info);
    if ((info.flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0) {
        return login_now(s, user, NULL);
    }
    TRY(pick_pin(ctx, s->tok, cred, &pin));
    rc = try_pin(ctx, s, user, pin);
    if (hsm_ok(rc)) {
        keep_pin(ctx, s->tok, pin);
        return rc;
    }
    hsm_secret_free(pin);
    if (hsm_class_of(rc) == HSM_CLASS_AUTH) {
        hsm_token_forget_pin(s->tok);
    }
    return rc;
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
