/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a key's reference to its token, and from its token to its handle.
 */
#include "src/base/log.h"
#include "src/object/key_private.h"
#include "src/object/load.h"
#include "src/object/object.h"

/* How it is with a private object that a name has led to. */
enum likeness { ANOTHER, PERHAPS, LIKELY, SURELY };

static enum likeness compare(const struct hsm_key *k,
                             const struct hsm_public *has,
                             const struct hsm_keytype *kt)
{
    const struct hsm_public *want = &k->pub;

    if (want->kt != NULL && has->kt != NULL) {
        return hsm_public_equal(want, has) ? SURELY : ANOTHER;
    }
    return want->kt == NULL || kt == NULL || kt->ckk == want->kt->ckk
        ? PERHAPS : ANOTHER;
}

hsm_rc hsm_key_other(const struct hsm_key *k)
{
    return hsm_fail(HSM_E_OTHER_KEY, "hsm_key_resolve",
                    "the key that %s names has another public key than the "
                    "one it was loaded with", hsm_key_name(k));
}

/* Any of them may be the key, and any may be another one. */
static hsm_rc several(const struct hsm_key *k)
{
    return hsm_fail(HSM_E_SEVERAL, "hsm_key_resolve",
                    "several private keys match %s, and of none the token "
                    "shows the public half: which of them is meant cannot be "
                    "told; put the public keys on the token, too, or give "
                    "each key an id of its own", hsm_key_name(k));
}

/* Moves what was learnt of the private object into the key. */
static void adopt(struct hsm_key *k, struct hsm_key *found, bool unsure)
{
    hsm_lock(&k->lock);
    if (k->tok == NULL) {
        struct hsm_buf none = HSM_BUF_INIT;

        k->h = found->h;
        k->epoch = found->epoch;
        k->found++;
        atomic_store(&k->reissued, atomic_load(&found->reissued));
        k->unsure = unsure && k->pub.kt != NULL;
        k->kt = found->kt;
        k->usage = found->usage;
        k->id = found->id;
        k->label = found->label;
        k->allowed = found->allowed;
        k->n_allowed = found->n_allowed;
        k->copyable = found->copyable;
        found->id = none;
        found->label = none;
        found->allowed = NULL;
        k->tok = found->tok;
    }
    hsm_unlock(&k->lock);
}

static hsm_rc find_token(struct hsm_key *k, const struct hsm_cred *cred)
{
    hsm_auto(hsm_items) items = HSM_ITEMS_INIT;
    struct hsm_key *found = NULL;
    struct hsm_cred own;
    bool one = true;

    hsm_key_cred(k, &own);
    TRY(hsm_load(k->ctx, k->uri, HSM_WANT_PRIVATE,
                 cred != NULL ? cred : &own, &items));
    for (size_t i = 0; i < items.n; i++) {
        struct hsm_key *key = items.v[i].key;
        enum likeness like = compare(k, hsm_key_public(key), key->kt);

        if (like == SURELY) {
            adopt(k, key, false);
            return HSM_OK;      /* others may only be unknown */
        }
        if (like == PERHAPS) {
            /* Some tokens list an object twice. */
            one = found == NULL
                || (one && found->tok == key->tok && found->h == key->h);
            found = found == NULL ? key : found;
        }
    }
    if (found == NULL || !one) {
        return found == NULL ? hsm_key_other(k) : several(k);
    }
    adopt(k, found, true);
    return HSM_OK;
}

/* The right to find the token. False with HSM_OK: it is known. */
static hsm_rc claim(struct hsm_key *k, bool *claimed)
{
    unsigned int wait_ms = hsm_context_settings(k->ctx)->wait_ms;
    hsm_deadline_ms deadline = hsm_deadline(wait_ms);
    bool in_time = true;

    *claimed = false;
    hsm_lock(&k->lock);
    while (in_time && k->tok == NULL && !*claimed) {
        *claimed = hsm_claim_take(&k->resolving);
        in_time = *claimed || hsm_wait(&k->lock, deadline);
    }
    hsm_unlock(&k->lock);
    if (!in_time) {
        return hsm_fail(HSM_E_TIMEOUT, "hsm_key_resolve",
                        "another thread has been looking for %s for %u ms",
                        hsm_key_name(k), wait_ms);
    }
    return HSM_OK;
}

hsm_rc hsm_key_resolve(struct hsm_key *k, const struct hsm_cred *cred)
{
    bool claimed;
    hsm_rc rc;

    TRY(claim(k, &claimed));
    if (!claimed) {
        return HSM_OK;
    }
    rc = find_token(k, cred);
    hsm_claim_drop(&k->resolving, &k->lock);
    return rc;
}

/* What there is of the key on its token. */
struct finding {
    CK_OBJECT_HANDLE h;
    unsigned int reissued;      /* see hsm_token_reissued() */
    enum likeness like;         /* ANOTHER: none was found */
    bool seen;                  /* private keys of that name are there */
    bool several;               /* any of which may be the key */
};

static enum likeness compare_object(const struct hsm_key *k,
                                    const struct hsm_object *o)
{
    CK_ULONG ckk = 0;

    return o->cls != CKO_PRIVATE_KEY ? ANOTHER
        : compare(k, &o->pub, hsm_attrs_get_ulong(&o->attrs, CKA_KEY_TYPE, &ckk)
                  ? hsm_keytype_of(ckk) : NULL);
}

/* The object has what the key had, or as little. */
static bool is_named_so(const struct hsm_object *o, CK_ATTRIBUTE_TYPE type,
                        const struct hsm_buf *had)
{
    struct hsm_bytes has = { NULL, 0 };

    (void)hsm_attrs_get(&o->attrs, type, &has);
    return hsm_bytes_equal(has, hsm_buf_bytes(had));
}

static hsm_rc look_at(const struct hsm_key *k, struct hsm_session *s,
                      struct hsm_objects *objects, size_t i, struct finding *f)
{
    struct hsm_object *o = &objects->v[i];
    enum likeness like;

    if (o->cls != CKO_PRIVATE_KEY) {
        return HSM_OK;
    }
    f->seen = true;
    TRY(hsm_objects_complete(s, objects, i));
    like = compare_object(k, o);
    if (like == PERHAPS && is_named_so(o, CKA_LABEL, &k->label)) {
        like = LIKELY;
    }
    if (like > f->like) {
        f->like = like;
        f->h = o->h;
        f->reissued = o->reissued;
        f->several = false;
    } else if (like != ANOTHER && like == f->like && o->h != f->h) {
        f->several = true;
    }
    return HSM_OK;
}

/* Looks for the private object by what it is remembered by: its id, whatever
 * it is called now, or else its label. */
static hsm_rc find_again(struct hsm_key *k, struct hsm_session *s,
                         struct finding *f)
{
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = {
        .ctx = k->ctx,
        .id = hsm_buf_bytes(&k->id),
        .cls = HSM_ANY_CLASS,
    };

    if (search.id.len == 0) {
        search.label = hsm_buf_bytes(&k->label);
    }
    if (search.id.len == 0 && search.label.len == 0) {
        search.cls = CKO_PRIVATE_KEY;
    }
    TRY(hsm_objects_look(s, &search, &objects));
    for (size_t i = 0; i < objects.n && f->like != SURELY; i++) {
        TRY(look_at(k, s, &objects, i, f));
    }
    if (f->like != ANOTHER) {
        return f->several ? several(k) : HSM_OK;
    }
    if (f->seen) {
        return hsm_key_other(k);
    }
    hsm_lock(&k->lock);
    s->missing = k->home == NULL;
    hsm_unlock(&k->lock);
    return hsm_fail(HSM_E_NO_KEY, "C_FindObjects",
                    "the key %s is no longer on its token", hsm_key_name(k));
}

/* Handles may be those of other objects by now: is this one still the key's?
 * What does not show its public half has to prove itself again. 1 call. */
static hsm_rc ask_again(const struct hsm_key *k, struct hsm_session *s,
                        struct finding *f, bool *is_it)
{
    struct hsm_object o;
    hsm_rc rc = hsm_object_read(s, k->ctx, f->h, &o);

    if (hsm_ok(rc)) {
        f->like = compare_object(k, &o);
        f->reissued = o.reissued;
        *is_it = f->like == SURELY
            || (f->like == PERHAPS && is_named_so(&o, CKA_ID, &k->id)
                && is_named_so(&o, CKA_LABEL, &k->label));
    }
    hsm_object_clear(&o);
    if (hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT) {
        hsm_detail_clear();
        return HSM_OK;
    }
    return rc;
}

static bool is_behind(struct hsm_key *k, const struct hsm_session *s)
{
    return atomic_load(&k->reissued) != atomic_load(&s->tok->reissued);
}

static void remember(struct hsm_key *k, const struct hsm_session *s,
                     const struct finding *f)
{
    hsm_lock(&k->lock);
    k->h = f->h;
    k->epoch = s->epoch;
    k->found++;
    atomic_store(&k->reissued, f->reissued);
    k->unsure = f->like != SURELY && k->pub.kt != NULL;
    hsm_unlock(&k->lock);
}

hsm_rc hsm_key_stored_handle(struct hsm_key *k, struct hsm_session *s,
                             CK_OBJECT_HANDLE *out)
{
    struct finding f = { .like = ANOTHER };
    bool known, behind;

    hsm_lock(&k->lock);
    known = k->epoch != 0 && k->epoch == s->epoch;
    f.h = k->h;
    behind = is_behind(k, s);   /* with this handle, not with the next one */
    hsm_unlock(&k->lock);
    if (known && !behind) {
        *out = f.h;
        return HSM_OK;
    }
    if (known) {
        known = false;
        TRY(ask_again(k, s, &f, &known));
    }
    if (!known) {
        f = (struct finding){ .like = ANOTHER };
        TRY(find_again(k, s, &f));
    }
    remember(k, s, &f);
    *out = f.h;
    return HSM_OK;
}

hsm_rc hsm_key_handle(struct hsm_key *k, struct hsm_session *s,
                      CK_OBJECT_HANDLE *out)
{
    CK_OBJECT_HANDLE stored = 0;
    bool behind = is_behind(k, s);

    if (!behind && hsm_key_copy_look(k, s, out)) {
        return HSM_OK;
    }
    /* A copy does not outlive the key, as far as we know. */
    TRY(hsm_key_stored_handle(k, s, &stored));
    if (!behind || !hsm_key_copy_look(k, s, out)) {
        *out = hsm_key_copy_make(k, s, stored);
    }
    return HSM_OK;
}
