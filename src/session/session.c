/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/session.h"

#include <stdlib.h>

#include "src/base/worker.h"
#include "src/session/sessions.h"

hsm_rc hsm_session_open(struct hsm_token *tok, enum hsm_session_kind kind,
                        struct hsm_session **out)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION
        | (kind == HSM_RW ? CKF_RW_SESSION : 0);
    struct hsm_session *s = hsm_zalloc(sizeof(*s));
    hsm_rc rc;

    if (s == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "C_OpenSession");
    }
    s->tok = tok;
    s->rw = kind == HSM_RW;
    /* What the epoch belongs to. In any other life of the module, what is known
     * of the token is not true of the session: it is not opened then. */
    hsm_lock(&tok->lock);
    s->generation = tok->generation;
    s->fork_epoch = tok->fork_epoch;
    s->epoch = hsm_token_epoch(tok);
    hsm_unlock(&tok->lock);
    s->slot = hsm_token_slot(tok);
    atomic_init(&s->closed, false);
    rc = hsm_session_call(s, C_OpenSession,
                          (s->slot, flags, NULL, NULL, &s->h));
    if (!hsm_ok(rc)) {
        free(s);
        return rc;
    }
    *out = s;
    return HSM_OK;
}

hsm_rc hsm_session_confirm(struct hsm_session *s)
{
    hsm_rc rc = hsm_token_refresh_in(s->tok, s->slot);

    if (!hsm_session_is_alive(s)) {
        /* In the module's new life its slots may have other numbers. */
        return hsm_fail_rv(CKR_SESSION_HANDLE_INVALID, "C_GetTokenInfo");
    }
    if (hsm_ok(rc)) {
        s->confirmed = true;
    } else if (rc.rv == HSM_E_NO_TOKEN) {
        s->elsewhere = true;
        s->dirty = true;
        hsm_token_miss(s->tok, s->slot, s->epoch);
    }
    return rc;
}

void hsm_session_free(struct hsm_session *s)
{
    while (s->left != NULL) {
        struct hsm_leftover *next = s->left->next;

        free(s->left);
        s->left = next;
    }
    free(s);
}

bool hsm_session_is_current(const struct hsm_session *s)
{
    return s->epoch == hsm_token_epoch(s->tok)
        && s->fork_epoch == hsm_fork_epoch();
}

static struct hsm_worker_session named(const struct hsm_session *s)
{
    return (struct hsm_worker_session){ s->tok->lib->gate.real, s->h,
                                        s->generation };
}

/* The thread of a call that timed out is still using it, and closes it. Also
 * asked for one of the module's former life, which it may keep waiting. */
static bool is_left_behind(const struct hsm_session *s)
{
    const struct hsm_worker_session name = named(s);

    return name.real != NULL && s->fork_epoch == hsm_fork_epoch()
        && hsm_worker_disown(&name);
}

bool hsm_session_has_timed_out(const struct hsm_session *s)
{
    const struct hsm_worker_session name = named(s);

    return name.real != NULL && hsm_session_is_alive(s)
        && hsm_worker_has(&name);
}

/* What another process opened, or the module's former life, is not ours to
 * close; its handle may by now be somebody else's. */
static void close_handle(struct hsm_session *s)
{
    struct hsm_words words;
    hsm_rc rc;

    if (is_left_behind(s) || !hsm_session_is_alive(s)) {
        return;
    }
    hsm_words_keep(&words);
    rc = hsm_session_call(s, C_CloseSession, (s->h));
    (void)rc;                   /* it is gone either way */
    hsm_words_put_back(&words);
}

void hsm_session_close(struct hsm_session *s)
{
    struct hsm_token *tok = s->tok;
    bool is_home;

    /* Before its objects are gone, whose handles may then be those of other
     * ones. Meanwhile it is a home of ours, or the last key would free it. */
    hsm_lock(&tok->lock);
    atomic_store(&s->closed, true);
    s->homes++;
    if (hsm_session_is_current(s)) {
        tok->pool.keys -= s->keys;
    }
    s->keys = 0;
    hsm_unlock(&tok->lock);
    close_handle(s);
    hsm_lock(&tok->lock);
    is_home = --s->homes > 0;
    hsm_unlock(&tok->lock);
    if (!is_home) {
        hsm_session_free(s);
    }
}

void hsm_session_home_get(struct hsm_session *s, enum hsm_tenant what)
{
    hsm_lock(&s->tok->lock);
    s->homes++;
    if (what == HSM_TENANT_KEY) {
        s->keys++;
        s->tok->pool.keys += hsm_session_is_current(s) ? 1 : 0;
    }
    hsm_unlock(&s->tok->lock);
}

bool hsm_session_home_stands(const struct hsm_session *s)
{
    return !atomic_load(&s->closed) && hsm_session_is_current(s)
        && hsm_session_is_alive(s);
}

void hsm_session_leave(struct hsm_session *home, CK_OBJECT_HANDLE h)
{
    struct hsm_leftover *one = hsm_zalloc(sizeof(*one));

    if (one == NULL) {
        return;
    }
    one->h = h;
    hsm_lock(&home->tok->lock);
    one->next = home->left;
    home->left = one;
    hsm_unlock(&home->tok->lock);
}

static struct hsm_leftover *pop_left(struct hsm_session *s)
{
    struct hsm_leftover *one;

    hsm_lock(&s->tok->lock);
    one = s->left;
    if (one != NULL) {
        s->left = one->next;
    }
    hsm_unlock(&s->tok->lock);
    return one;
}

void hsm_session_tidy(struct hsm_session *s)
{
    struct hsm_leftover *one = pop_left(s);

    while (one != NULL) {
        /* Of a former epoch, its handle may be another object's by now. */
        if (hsm_session_is_current(s)) {
            hsm_rc rc = hsm_session_call(s, C_DestroyObject, (s->h, one->h));

            (void)rc;           /* it goes with the session */
            hsm_detail_clear();
        }
        free(one);
        one = pop_left(s);
    }
}
