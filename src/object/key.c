/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/key.h"

#include <stdlib.h>
#include <string.h>

#include "src/object/key_private.h"

static const CK_ATTRIBUTE_TYPE types[] = {
    CKA_CLASS, CKA_KEY_TYPE, CKA_ID, CKA_LABEL,
    CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT,
    CKA_PUBLIC_KEY_INFO,
    CKA_SIGN, CKA_DECRYPT, CKA_DERIVE,
    CKA_ALWAYS_AUTHENTICATE, CKA_ALLOWED_MECHANISMS,
    CKA_TOKEN, CKA_COPYABLE,
};

const CK_ATTRIBUTE_TYPE *hsm_key_attr_types(size_t *n)
{
    *n = sizeof(types) / sizeof(types[0]);
    return types;
}

static struct hsm_key *new_key(struct hsm_context *ctx, struct hsm_uri *uri)
{
    struct hsm_key *k = hsm_zalloc(sizeof(*k));

    if (k == NULL) {
        return NULL;
    }
    atomic_init(&k->refs, 1u);
    atomic_init(&k->reissued, 0u);
    k->ctx = hsm_context_get(ctx);
    k->uri = hsm_uri_get(uri);
    k->usage = (struct hsm_key_usage){ true, true, true, false };
    hsm_lock_init(&k->lock);
    return k;
}

struct hsm_key *hsm_key_get(struct hsm_key *k)
{
    (void)atomic_fetch_add(&k->refs, 1u);
    return k;
}

void hsm_key_put(struct hsm_key *k)
{
    if (k == NULL || atomic_fetch_sub(&k->refs, 1u) != 1u) {
        return;
    }
    hsm_key_copy_end(k);
    hsm_lock_destroy(&k->lock);
    hsm_public_clear(&k->pub);
    hsm_secret_free(k->pin);
    hsm_buf_clear(&k->id);
    hsm_buf_clear(&k->label);
    free(k->allowed);
    hsm_uri_put(k->uri);
    hsm_context_put(k->ctx);
    free(k);
}

void hsm_key_putp(struct hsm_key **k)
{
    hsm_key_put(*k);
    *k = NULL;
}

hsm_rc hsm_key_from_reference(struct hsm_context *ctx, struct hsm_uri *uri,
                              const struct hsm_public *pub,
                              struct hsm_key **out)
{
    hsm_autop(hsm_key) k = NULL;

    if ((hsm_uri_want(uri) & HSM_WANT_PRIVATE) == 0) {
        return hsm_fail(HSM_E_URI, __func__,
                        "the reference %s does not name a private key",
                        hsm_uri_for_people(uri));
    }
    k = new_key(ctx, uri);
    if (k == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    TRY(hsm_public_copy(pub, &k->pub));
    *out = k;
    k = NULL;
    return HSM_OK;
}

static bool has_pin_setting(const struct hsm_context *ctx)
{
    const struct hsm_settings *s = hsm_context_settings(ctx);

    for (size_t i = 0; i < s->n_modules; i++) {
        if (s->module[i].pin != NULL) {
            return true;
        }
    }
    return false;
}

hsm_rc hsm_key_ask_pin(struct hsm_key *k, const struct hsm_cred *cred)
{
    const struct hsm_cred at_hand = { .uri = k->uri };
    const char *label = hsm_uri_token_label(k->uri);
    hsm_rc rc;

    if (cred->prompt == NULL || hsm_pin_is_at_hand(&at_hand)
        || has_pin_setting(k->ctx)) {
        return HSM_OK;
    }
    rc = hsm_pin_ask(cred, label != NULL ? label : "", &k->pin);
    hsm_secret_keep(k->pin);
    return rc.rv == HSM_E_NO_PIN ? HSM_OK : rc;
}

/* CKA_ALLOWED_MECHANISMS, an array of CK_MECHANISM_TYPE. */
static hsm_rc copy_allowed(struct hsm_key *k, const struct hsm_attrs *attrs)
{
    struct hsm_bytes list;

    if (!hsm_attrs_get(attrs, CKA_ALLOWED_MECHANISMS, &list)
        || list.len < sizeof(*k->allowed)) {
        return HSM_OK;
    }
    k->allowed = malloc(list.len);
    if (k->allowed == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    memcpy(k->allowed, list.p, list.len);
    k->n_allowed = list.len / sizeof(*k->allowed);
    return HSM_OK;
}

static hsm_rc copy_value(const struct hsm_attrs *attrs, CK_ATTRIBUTE_TYPE type,
                         struct hsm_buf *out)
{
    struct hsm_bytes value;

    return hsm_attrs_get(attrs, type, &value) ? hsm_buf_set(out, value)
                                              : HSM_OK;
}

hsm_rc hsm_key_from_object(const struct hsm_key_origin *from,
                           struct hsm_key **out)
{
    hsm_autop(hsm_key) k = new_key(from->ctx, from->uri);
    const struct hsm_attrs *as = from->attrs;
    CK_ULONG ckk = 0;

    if (k == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    TRY(hsm_public_copy(from->pub, &k->pub));
    TRY(copy_value(as, CKA_ID, &k->id));
    TRY(copy_value(as, CKA_LABEL, &k->label));
    TRY(copy_allowed(k, as));
    k->usage.sign = hsm_attrs_get_bool(as, CKA_SIGN, true);
    k->usage.decrypt = hsm_attrs_get_bool(as, CKA_DECRYPT, true);
    k->usage.derive = hsm_attrs_get_bool(as, CKA_DERIVE, true);
    k->usage.always_authenticate =
        hsm_attrs_get_bool(as, CKA_ALWAYS_AUTHENTICATE, false);
    k->copyable = !k->usage.always_authenticate
        && hsm_attrs_get_bool(as, CKA_TOKEN, false)
        && hsm_attrs_get_bool(as, CKA_COPYABLE, true);
    if (hsm_attrs_get_ulong(as, CKA_KEY_TYPE, &ckk)) {
        k->kt = hsm_keytype_of(ckk);
    }
    k->tok = from->tok;
    k->h = from->h;
    k->found = 1;
    atomic_init(&k->reissued, from->reissued);
    k->epoch = from->epoch;
    *out = k;
    k = NULL;
    return HSM_OK;
}

const struct hsm_public *hsm_key_public(const struct hsm_key *k)
{
    return &k->pub;
}

struct hsm_context *hsm_key_context(const struct hsm_key *k)
{
    return k->ctx;
}

struct hsm_key_usage hsm_key_usage(struct hsm_key *k)
{
    struct hsm_key_usage usage;

    hsm_lock(&k->lock);
    usage = k->usage;
    hsm_unlock(&k->lock);
    return usage;
}

bool hsm_key_allows(struct hsm_key *k, CK_MECHANISM_TYPE type)
{
    bool allowed;

    hsm_lock(&k->lock);
    allowed = k->n_allowed == 0;
    for (size_t i = 0; i < k->n_allowed && !allowed; i++) {
        allowed = k->allowed[i] == type;
    }
    hsm_unlock(&k->lock);
    return allowed;
}

bool hsm_key_avoids(struct hsm_key *k, const struct hsm_mark *mark)
{
    const struct hsm_avoided *a = &k->avoided;
    bool avoids = false;

    hsm_lock(&k->lock);
    if (k->tok != NULL && a->epoch == hsm_token_epoch(k->tok)) {
        for (unsigned int i = 0; i < a->n && i < HSM_AVOIDED_MAX; i++) {
            avoids = avoids
                || memcmp(&a->mark[i], mark, sizeof(*mark)) == 0;
        }
    }
    hsm_unlock(&k->lock);
    return avoids;
}

void hsm_key_avoid(struct hsm_key *k, const struct hsm_mark *mark)
{
    struct hsm_avoided *a = &k->avoided;

    if (hsm_key_avoids(k, mark)) {
        return;
    }
    hsm_lock(&k->lock);
    if (k->tok != NULL && a->epoch != hsm_token_epoch(k->tok)) {
        a->epoch = hsm_token_epoch(k->tok);
        a->n = 0;
    }
    a->mark[a->n++ % HSM_AVOIDED_MAX] = *mark;
    hsm_unlock(&k->lock);
}

const char *hsm_key_name(const struct hsm_key *k)
{
    return hsm_uri_for_people(k->uri);
}

struct hsm_token *hsm_key_token(struct hsm_key *k)
{
    struct hsm_token *tok;

    hsm_lock(&k->lock);
    tok = k->tok;
    hsm_unlock(&k->lock);
    return tok;
}

void hsm_key_doubt(struct hsm_key *k, CK_OBJECT_HANDLE h)
{
    if (hsm_key_copy_doubt(k, h)) {
        return;
    }
    hsm_lock(&k->lock);
    if (k->h == h) {
        k->epoch = 0;
    }
    hsm_unlock(&k->lock);
}

bool hsm_key_is_unsure(struct hsm_key *k, unsigned int *found)
{
    bool unsure;

    hsm_lock(&k->lock);
    unsure = k->unsure;
    *found = k->found;
    hsm_unlock(&k->lock);
    return unsure;
}

void hsm_key_settle(struct hsm_key *k, unsigned int found, bool is_it)
{
    hsm_lock(&k->lock);
    if (k->found == found && is_it) {
        k->unsure = false;
    } else if (k->found == found) {
        k->epoch = 0;
    }
    hsm_unlock(&k->lock);
}

void hsm_key_cred(const struct hsm_key *k, struct hsm_cred *out)
{
    *out = (struct hsm_cred){ .known = k->pin, .uri = k->uri };
}

/* pin-source of the original, which is no secret, goes into references. */
static hsm_rc add_pin_source(const struct hsm_key *k, struct hsm_buf *out)
{
    static const char name[] = "pin-source=";
    const char *before = strchr(hsm_uri_for_reference(k->uri), '?');

    while (before != NULL) {
        const char *attr = before + 1;
        size_t len = strcspn(attr, "&");

        if (strncmp(attr, name, strlen(name)) == 0) {
            return hsm_buf_printf(out, "?%.*s", (int)len, attr);
        }
        before = attr[len] == '&' ? attr + len : NULL;
    }
    return HSM_OK;
}

hsm_rc hsm_key_uri(struct hsm_key *k, struct hsm_buf *out)
{
    struct hsm_token *tok = hsm_key_token(k);
    CK_TOKEN_INFO info;

    if (tok == NULL) {
        return hsm_buf_printf(out, "%s", hsm_uri_for_reference(k->uri));
    }
    hsm_token_info(tok, &info);
    /* id and label do not change once the token is known. */
    TRY(hsm_uri_compose(&info, hsm_buf_bytes(&k->id),
                        hsm_buf_bytes(&k->label), "private", out));
    return add_pin_source(k, out);
}
