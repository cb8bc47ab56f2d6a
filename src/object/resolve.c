/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a key's reference to its token, and from its token to its handle.
 */
#include "src/base/log.h"
#include "src/object/key_private.h"
#include "src/object/load.h"
#include "src/object/object.h"

/* What was found may be the key: it says so, or it cannot be asked. */
static bool may_be(const struct hsm_public *want, const struct hsm_public *got)
{
    return want->kt == NULL || got->kt == NULL || hsm_public_equal(want, got);
}

static hsm_rc other_key(const struct hsm_key *k)
{
    return hsm_fail(HSM_E_OTHER_KEY, "hsm_key_resolve",
                    "the key that %s names has another public key than the "
                    "one it was loaded with", hsm_key_name(k));
}

/* Moves what was learnt of the private object into the key. */
static void adopt(struct hsm_key *k, struct hsm_key *found)
{
    hsm_lock(&k->lock);
    if (k->tok == NULL) {
        struct hsm_buf none = HSM_BUF_INIT;

        k->h = found->h;
        k->epoch = found->epoch;
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

    hsm_key_cred(k, &own);
    TRY(hsm_load(k->ctx, k->uri, HSM_WANT_PRIVATE,
                 cred != NULL ? cred : &own, &items));
    for (size_t i = 0; i < items.n; i++) {
        struct hsm_key *one = items.v[i].key;

        if (hsm_public_equal(&k->pub, hsm_key_public(one))) {
            adopt(k, one);
            return HSM_OK;      /* surely; another may only be unknown */
        }
        if (found == NULL && may_be(&k->pub, hsm_key_public(one))) {
            found = one;
        }
    }
    if (found == NULL) {
        return other_key(k);
    }
    adopt(k, found);
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

/* Looks for the private object by what it is remembered by. */
static hsm_rc find_again(struct hsm_key *k, struct hsm_session *s,
                         CK_OBJECT_HANDLE *out)
{
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = {
        .ctx = k->ctx,
        .id = hsm_buf_bytes(&k->id),
        .label = hsm_buf_bytes(&k->label),
        .cls = HSM_ANY_CLASS,
    };
    bool seen = false;
    bool found = false;

    if (search.id.len == 0 && search.label.len == 0) {
        search.cls = CKO_PRIVATE_KEY;
    }
    TRY(hsm_objects_look(s, &search, &objects));
    for (size_t i = 0; i < objects.n; i++) {
        const struct hsm_object *o = &objects.v[i];

        if (o->cls != CKO_PRIVATE_KEY) {
            continue;
        }
        seen = true;
        TRY(hsm_objects_complete(s, &objects, i));
        if (!may_be(&k->pub, &o->pub)) {
            continue;
        }
        *out = o->h;
        found = true;
        if (o->pub.kt != NULL) {
            return HSM_OK;      /* surely; another may only be unknown */
        }
    }
    if (found || seen) {
        return found ? HSM_OK : other_key(k);
    }
    hsm_lock(&k->lock);
    s->missing = k->home == NULL;
    hsm_unlock(&k->lock);
    return hsm_fail(HSM_E_NO_KEY, "C_FindObjects",
                    "the key %s is no longer on its token", hsm_key_name(k));
}

hsm_rc hsm_key_stored_handle(struct hsm_key *k, struct hsm_session *s,
                             CK_OBJECT_HANDLE *out)
{
    CK_OBJECT_HANDLE h = 0;
    bool known;

    hsm_lock(&k->lock);
    known = k->epoch != 0 && k->epoch == s->epoch;
    h = k->h;
    hsm_unlock(&k->lock);
    if (!known) {
        TRY(find_again(k, s, &h));
        hsm_lock(&k->lock);
        k->h = h;
        k->epoch = s->epoch;
        hsm_unlock(&k->lock);
    }
    *out = h;
    return HSM_OK;
}

hsm_rc hsm_key_handle(struct hsm_key *k, struct hsm_session *s,
                      CK_OBJECT_HANDLE *out)
{
    CK_OBJECT_HANDLE stored = 0;
    hsm_rc rc;

    if (hsm_key_copy_look(k, s, out)) {
        return HSM_OK;
    }
    rc = hsm_key_stored_handle(k, s, &stored);
    if (hsm_ok(rc)) {
        *out = hsm_key_copy_make(k, s, stored);
    }
    return rc;
}
