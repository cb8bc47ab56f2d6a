/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a key in a session object, for tokens that read their storage at
 * every use of a key that is stored.
 *
 * It belongs to one key and to one session, its home, and is found by nobody:
 * it has a label of its own, and no CKA_ID. Where it cannot be had, or does
 * not serve, the stored key does as before.
 */
#include "src/object/key_private.h"

#include "src/base/gate.h"
#include "src/base/log.h"
#include "src/module/quirk.h"

/* What copies are called, so that searches can leave them out. */
static const unsigned char copy_label[] = "copy of a key, by its user";

bool hsm_attrs_of_copy(const struct hsm_attrs *as)
{
    struct hsm_bytes label;

    return !hsm_attrs_get_bool(as, CKA_TOKEN, true)
        && hsm_attrs_get(as, CKA_LABEL, &label)
        && hsm_bytes_equal(label, hsm_bytes_of(copy_label,
                                               sizeof(copy_label) - 1));
}

bool hsm_key_copy_look(struct hsm_key *k, const struct hsm_session *s,
                       CK_OBJECT_HANDLE *out)
{
    const struct hsm_session *home;
    bool stands;

    hsm_lock(&k->lock);
    home = k->copy.home;
    stands = home != NULL && home->epoch == s->epoch
        && hsm_session_home_stands(home);
    if (stands) {
        *out = k->copy.h;
    }
    hsm_unlock(&k->lock);
    return stands;
}

/* The right to make a copy, where there is to be one: of what may be another
 * key there is none, since nobody asks what a copy is of. */
static bool claim(struct hsm_key *k, const struct hsm_session *s)
{
    enum hsm_tristate setting = hsm_context_settings(k->ctx)->cache_keys;
    bool claimed;

    if (setting == HSM_NO
        || (setting == HSM_AUTO && !s->tok->lib->quirk->slow_storage)) {
        return false;
    }
    hsm_lock(&k->lock);
    claimed = k->copyable && !k->copy.useless && !k->unsure
        && k->copy.refused_in != s->epoch && hsm_claim_take(&k->copy.making);
    hsm_unlock(&k->lock);
    return claimed;
}

static hsm_rc make(struct hsm_session *s, CK_OBJECT_HANDLE stored,
                   CK_OBJECT_HANDLE *out)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;

    TRY(hsm_attrs_add_bool(&tmpl, CKA_TOKEN, false));
    TRY(hsm_attrs_add(&tmpl, CKA_ID, hsm_bytes_of(NULL, 0)));
    TRY(hsm_attrs_add(&tmpl, CKA_LABEL,
                      hsm_bytes_of(copy_label, sizeof(copy_label) - 1)));
    return hsm_session_call(s, C_CopyObject,
                    (s->h, stored, tmpl.a, tmpl.n, out));
}

/* What was made in session s, or why not. */
static void note(struct hsm_key *k, struct hsm_session *s, hsm_rc rc,
                 CK_OBJECT_HANDLE h)
{
    struct hsm_session *before = NULL;

    if (hsm_ok(rc)) {
        hsm_session_home_get(s, HSM_TENANT_COPY);
    }
    hsm_lock(&k->lock);
    if (hsm_ok(rc)) {
        before = k->copy.home;
        k->copy.home = s;
        k->copy.h = h;
    } else {
        k->copy.refused_in = s->epoch;
    }
    hsm_unlock(&k->lock);
    hsm_session_home_put(before, HSM_TENANT_COPY);
}

CK_OBJECT_HANDLE hsm_key_copy_make(struct hsm_key *k, struct hsm_session *s,
                                   CK_OBJECT_HANDLE stored)
{
    CK_OBJECT_HANDLE h = 0;
    hsm_rc rc;

    if (!claim(k, s)) {
        return stored;
    }
    hsm_session_tidy(s);
    (void)atomic_fetch_add(&s->tok->copies_begun, 1u);
    rc = make(s, stored, &h);
    (void)atomic_fetch_add(&s->tok->copies_ended, 1u);
    hsm_token_gave_handles(s->tok);
    note(k, s, rc, h);
    hsm_claim_drop(&k->copy.making, &k->lock);
    if (!hsm_ok(rc)) {
        hsm_log(HSM_LOG_INFO, "%s: no copy of the key is made (%s)",
                hsm_key_name(k), hsm_ckr_row(rc.rv)->name);
        hsm_detail_clear();
        return stored;
    }
    return h;
}

bool hsm_key_copy_is(struct hsm_key *k, CK_OBJECT_HANDLE h)
{
    bool is;

    hsm_lock(&k->lock);
    is = k->copy.home != NULL && k->copy.h == h;
    hsm_unlock(&k->lock);
    return is;
}

/* Its home may go. False: it is not there any more. */
static bool forget(struct hsm_key *k, CK_OBJECT_HANDLE h, bool useless)
{
    struct hsm_session *home = NULL;

    hsm_lock(&k->lock);
    if (k->copy.home != NULL && k->copy.h == h) {
        home = k->copy.home;
        k->copy.home = NULL;
        k->copy.useless = useless;
    }
    hsm_unlock(&k->lock);
    hsm_session_home_put(home, HSM_TENANT_COPY);
    return home != NULL;
}

bool hsm_key_copy_doubt(struct hsm_key *k, CK_OBJECT_HANDLE h)
{
    return forget(k, h, false);
}

/* C_DestroyObject. If it fails, it goes with its home at the latest. */
static void destroy(struct hsm_session *s, CK_OBJECT_HANDLE h)
{
    hsm_rc rc = hsm_session_call(s, C_DestroyObject, (s->h, h));

    (void)rc;
    hsm_detail_clear();
}

void hsm_key_copy_useless(struct hsm_key *k, struct hsm_session *s,
                          CK_OBJECT_HANDLE h)
{
    if (forget(k, h, true)) {
        destroy(s, h);
        hsm_log(HSM_LOG_INFO, "%s: a copy of the key does not serve",
                hsm_key_name(k));
    }
}

/* Freeing a key waits for nobody: while all sessions are in use, the copy is
 * left in its home. */
static void destroy_last(struct hsm_key *k)
{
    hsm_autop(hsm_session) s = NULL;

    if (hsm_gate_is_dead() || hsm_gate_is_inside()
        || !hsm_session_home_stands(k->copy.home)) {
        return;
    }
    s = hsm_pool_take_idle(k->tok);
    if (s == NULL) {
        hsm_session_leave(k->copy.home, k->copy.h);
        return;
    }
    hsm_session_tidy(s);
    if (s->epoch == k->copy.home->epoch
        && hsm_session_home_stands(k->copy.home)) {
        destroy(s, k->copy.h);
    }
}

void hsm_key_copy_end(struct hsm_key *k)
{
    if (k->copy.home != NULL) {
        destroy_last(k);
        hsm_session_home_put(k->copy.home, HSM_TENANT_COPY);
    }
    hsm_session_home_put(k->home, HSM_TENANT_KEY);
}

void hsm_key_live_in(struct hsm_key *k, struct hsm_session *s)
{
    hsm_session_home_get(s, HSM_TENANT_KEY);
    k->home = s;
}
