/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/key.h"

#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "provider/keymgmt/curve.h"
#include "provider/keymgmt/keymgmt.h"
#include "provider/keymgmt/softkey.h"
#include "provider/signature/fresh.h"

/* A curve's name is shorter than that ("brainpoolP512t1"). */
#define GROUP_NAME_MAX 63

struct prov_key *prov_key_new(struct prov_ctx *ctx,
                              const struct prov_keytype *type)
{
    struct prov_key *key = OPENSSL_zalloc(sizeof(*key));

    if (key == NULL) {
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "no memory for a %s key",
                         type->name);
        return NULL;
    }
    atomic_init(&key->refs, 1);
    key->ctx = ctx;
    key->type = type;
    return key;
}

struct prov_key *prov_key_get(struct prov_key *key)
{
    if (key != NULL) {
        (void)atomic_fetch_add(&key->refs, 1);
    }
    return key;
}

void prov_key_put(struct prov_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->refs, 1) != 1) {
        return;
    }
    prov_fresh_free(atomic_load(&key->fresh));
    EVP_PKEY_free(key->soft);
    hsm_key_put(key->token);
    OPENSSL_free(key);
}

void prov_key_putp(struct prov_key **key)
{
    prov_key_put(*key);
    *key = NULL;
}

/* Domain parameters alone: what is known of an EC key whose point is not. */
static EVP_PKEY *soft_from_curve(const struct prov_ctx *ctx, const char *type,
                                 const struct hsm_curve *curve)
{
    char group[GROUP_NAME_MAX + 1] = "";
    size_t n = strcspn(curve->names, ":");
    OSSL_PARAM params[2];

    if (n > GROUP_NAME_MAX) {
        return NULL;
    }
    memcpy(group, curve->names, n);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 group, 0);
    params[1] = OSSL_PARAM_construct_end();
    return prov_softkey_from_params(ctx, type, EVP_PKEY_KEY_PARAMETERS, params);
}

/*
 * The public half in software, or as much of it as is known; NULL when that is
 * nothing, or nothing that this libcrypto understands. Raises nothing.
 */
static EVP_PKEY *soft_of_public(const struct prov_ctx *ctx,
                                const struct hsm_public *pub)
{
    EVP_PKEY *soft;

    ERR_set_mark();
    soft = prov_softkey_from_spki(ctx, hsm_buf_bytes(&pub->spki));
    if (soft != NULL && pub->point.len > 0
        && pub->point.p[0] != POINT_CONVERSION_UNCOMPRESSED) {
        (void)prov_curve_keep_form(soft);
    }
    if (soft == NULL && pub->kt != NULL && pub->curve != NULL) {
        soft = soft_from_curve(ctx, pub->kt->name, pub->curve);
    }
    ERR_pop_to_mark();
    return soft;
}

static const struct prov_keytype *type_of(const EVP_PKEY *soft,
                                          const struct hsm_public *pub)
{
    const struct prov_keytype *const *rows = prov_keytypes();

    for (; soft != NULL && *rows != NULL; rows++) {
        if (EVP_PKEY_is_a(soft, (*rows)->name)) {
            return *rows;
        }
    }
    if (soft == NULL && pub->kt != NULL) {
        return prov_keytype_by_name(pub->kt->name);
    }
    return NULL;
}

/* Takes soft over, also when it fails. */
static struct prov_key *key_of_soft(struct prov_ctx *ctx, EVP_PKEY *soft,
                                    const struct hsm_public *pub)
{
    const struct prov_keytype *type = type_of(soft, pub);
    struct prov_key *key = NULL;

    if (type == NULL) {
        (void)prov_raise(ctx, CKR_KEY_TYPE_INCONSISTENT,
                         "keys of type %s are not supported",
                         pub->kt != NULL ? pub->kt->name : "(unknown)");
    } else {
        key = prov_key_new(ctx, type);
    }
    if (key == NULL) {
        EVP_PKEY_free(soft);
        return NULL;
    }
    key->soft = soft;
    return key;
}

/* The object itself, not the URI that it was found by: of a whole list of keys
 * that is the same for each. */
static struct prov_key *no_public(const struct prov_ctx *ctx,
                                  struct hsm_key *token)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    hsm_autop(hsm_uri) uri = NULL;
    struct hsm_bytes name;
    const char *why = "";

    if (!hsm_ok(hsm_key_uri(token, &text))
        || !hsm_ok(hsm_uri_parse((const char *)text.p, &uri))) {
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "%s", hsm_key_name(token));
        return NULL;
    }
    if (!hsm_uri_id(uri, &name)) {
        why = hsm_uri_label(uri, &name)
            ? "; it has no CKA_ID: give it one, and the same to its public "
              "key or certificate"
            : "; it has no CKA_ID and no label: give it a CKA_ID, and the "
              "same to its public key or certificate";
    }
    (void)prov_raise(ctx, HSM_E_NO_PUBLIC, "%s: no RSA or EC public key is "
                     "found for it%s", hsm_uri_for_people(uri), why);
    return NULL;
}

struct prov_key *prov_key_from_token(struct prov_ctx *ctx,
                                     struct hsm_key *token)
{
    const struct hsm_public *pub = hsm_key_public(token);
    struct prov_key *key;

    if (pub->kt == NULL) {
        return no_public(ctx, token);
    }
    if (pub->params.len > 0 && pub->curve == NULL) {
        (void)prov_raise(ctx, CKR_CURVE_NOT_SUPPORTED, "%s: its CKA_EC_PARAMS "
                         "are not those of a named curve; keys on tokens are "
                         "served on named curves only", hsm_key_name(token));
        return NULL;
    }
    key = key_of_soft(ctx, soft_of_public(ctx, pub), pub);
    if (key != NULL) {
        key->token = hsm_key_get(token);
        key->has_private = true;
    }
    return key;
}

struct prov_key *prov_key_from_public(struct prov_ctx *ctx,
                                      const struct hsm_public *pub)
{
    EVP_PKEY *soft = soft_of_public(ctx, pub);

    if (!prov_softkey_has_public(soft)) {
        EVP_PKEY_free(soft);
        (void)prov_raise(ctx, HSM_E_NO_PUBLIC,
                         "this public key cannot be read by libcrypto");
        return NULL;
    }
    return key_of_soft(ctx, soft, pub);
}
