/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/keymgmt.h"

#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "provider/keymgmt/softkey.h"

#define SELECT_PRIVATE OSSL_KEYMGMT_SELECT_PRIVATE_KEY
#define SELECT_PUBLIC  OSSL_KEYMGMT_SELECT_PUBLIC_KEY
#define SELECT_KEYPAIR OSSL_KEYMGMT_SELECT_KEYPAIR
#define SELECT_DOMAIN  OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS
#define SELECT_PARAMS  OSSL_KEYMGMT_SELECT_ALL_PARAMETERS

void prov_keymgmt_free(void *keydata)
{
    prov_key_put(keydata);
}

/* The reference is where the one who offers the key keeps its pointer: clearing
 * that tells him that the key was taken. */
struct prov_key *prov_keymgmt_load(const struct prov_keytype *type,
                                   const void *reference, size_t size)
{
    struct prov_key **place = (struct prov_key **)(uintptr_t)reference;
    struct prov_key *key;

    if (place == NULL || size != sizeof(void *) || *place == NULL
        || (*place)->type != type) {
        return NULL;
    }
    key = *place;
    *place = NULL;
    return key;
}

int prov_keymgmt_get_params(void *keydata, OSSL_PARAM params[])
{
    const struct prov_key *key = keydata;

    if (key == NULL) {
        return 0;
    }
    if (key->soft == NULL || params == NULL) {
        return 1;
    }
    return prov_softkey_get_params(key->soft, params);
}

/*
 * How a key is written, checked and agreed with: what may be set of a key on a
 * token too, for it is the software half that it concerns.
 */
static bool is_manner(const char *name)
{
    static const char *const names[] = {
        OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
        OSSL_PKEY_PARAM_EC_ENCODING,
        OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE,
        OSSL_PKEY_PARAM_EC_INCLUDE_PUBLIC,
        OSSL_PKEY_PARAM_USE_COFACTOR_ECDH,
    };
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The first that concerns the key itself; NULL: none does. A name that keys
 * of the type do not know is passed over, as everywhere. */
static const char *changes_key(const struct prov_key *key,
                               const OSSL_PARAM params[])
{
    const OSSL_PARAM *parts = key->type->types(SELECT_KEYPAIR | SELECT_PARAMS);
    const OSSL_PARAM *more = prov_keymgmt_settable(key->ctx, key->type);

    for (; params->key != NULL; params++) {
        if (!is_manner(params->key)
            && (OSSL_PARAM_locate_const(parts, params->key) != NULL
                || OSSL_PARAM_locate_const(more, params->key) != NULL)) {
            return params->key;
        }
    }
    return NULL;
}

int prov_keymgmt_set_params(void *keydata, const OSSL_PARAM params[])
{
    struct prov_key *key = keydata;
    const char *name = NULL;

    if (key == NULL) {
        return 0;
    }
    if (params == NULL || params[0].key == NULL) {
        return 1;
    }
    if (key->token != NULL) {
        name = changes_key(key, params);
    }
    if (name != NULL) {
        return prov_raise(key->ctx, HSM_E_KEY_USE,
                          "\"%s\" of a key on a token cannot be changed; leave"
                          " it out", name);
    }
    if (key->soft == NULL) {
        return prov_raise(key->ctx, HSM_E_SETTING,
                          "\"%s\" cannot be set: the key is empty",
                          params[0].key);
    }
    return prov_softkey_set_params(key->soft, params);
}

/* Other parameters than those of the domain are optional in every type. */
int prov_keymgmt_has(const void *keydata, int selection)
{
    const struct prov_key *key = keydata;

    if (key == NULL) {
        return 0;
    }
    if ((selection & SELECT_PRIVATE) != 0 && !key->has_private) {
        return 0;
    }
    if ((selection & SELECT_DOMAIN) != 0
        && !prov_softkey_has_domain(key->soft)) {
        return 0;
    }
    return (selection & SELECT_PUBLIC) == 0
           || prov_softkey_has_public(key->soft);
}

int prov_keymgmt_validate(const void *keydata, int selection, int checktype)
{
    const struct prov_key *key = keydata;
    bool quick = checktype == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK;

    if (key == NULL) {
        return 0;
    }
    if (key->token != NULL) {
        selection &= ~SELECT_PRIVATE;
    }
    if ((selection & (SELECT_KEYPAIR | SELECT_DOMAIN)) == 0) {
        return 1;
    }
    return key->soft != NULL
           && prov_softkey_check(key->ctx, key->soft, selection, quick);
}

/* Equal public halves are one key: private ones are never compared where
 * public ones are there. */
int prov_keymgmt_match(const void *keydata1, const void *keydata2,
                       int selection)
{
    const struct prov_key *a = keydata1, *b = keydata2;
    int same = 1;

    if (a == NULL || b == NULL) {
        return 0;
    }
    if (a == b || (selection & (SELECT_KEYPAIR | SELECT_PARAMS)) == 0) {
        return 1;
    }
    if (a->soft == NULL || b->soft == NULL) {
        return a->token != NULL && a->token == b->token;
    }
    ERR_set_mark();
    if ((selection & SELECT_KEYPAIR) != 0) {
        same = EVP_PKEY_eq(a->soft, b->soft);
    } else {
        same = EVP_PKEY_parameters_eq(a->soft, b->soft);
    }
    ERR_pop_to_mark();
    return same == 1;
}

/* Never over what is there: a key that was handed out does not change. */
int prov_keymgmt_import(void *keydata, int selection,
                        const OSSL_PARAM params[])
{
    struct prov_key *key = keydata;

    if (key == NULL || key->token != NULL || key->soft != NULL) {
        return 0;
    }
    key->soft = prov_softkey_from_params(key->ctx, key->type->name, selection,
                                         params);
    key->has_private = prov_softkey_has_private(key->soft);
    return key->soft != NULL;
}

/*
 * Of what has no list nothing is exported: the default provider's text encoder,
 * for one, takes an RSA key of parameters alone and dies of it.
 *
 * libcrypto asks for everything to see whether another provider could do the
 * work. A key with a private half has to refuse that, without an error, or the
 * other one would be chosen and fail later. A public key says yes: the work
 * then is the other provider's.
 */
int prov_keymgmt_export(void *keydata, int selection, OSSL_CALLBACK *cb,
                        void *cbarg)
{
    const struct prov_key *key = keydata;

    if (key == NULL || key->soft == NULL
        || key->type->types(selection) == NULL) {
        return 0;
    }
    if ((selection & SELECT_PRIVATE) != 0
        && (key->has_private || (selection & SELECT_PUBLIC) == 0)) {
        return 0;
    }
    return EVP_PKEY_export(key->soft, selection & ~SELECT_PRIVATE, cb,
                           cbarg) > 0;
}

/* A copy's software half is its own, for its parameters may be set; the key
 * on the token is the same. */
static struct prov_key *copy_all(const struct prov_key *from)
{
    struct prov_key *key = prov_key_new(from->ctx, from->type);

    if (key == NULL) {
        return NULL;
    }
    key->soft = from->soft != NULL ? EVP_PKEY_dup(from->soft) : NULL;
    key->token = from->token != NULL ? hsm_key_get(from->token) : NULL;
    key->has_private = from->has_private;
    key->is_session = from->is_session;
    if (from->soft != NULL && key->soft == NULL) {
        prov_key_putp(&key);
    }
    return key;
}

void *prov_keymgmt_dup(const void *keydata_from, int selection)
{
    const struct prov_key *from = keydata_from;
    struct prov_key *key;

    if (from == NULL) {
        return NULL;
    }
    if ((selection & SELECT_PRIVATE) != 0) {
        return copy_all(from);
    }
    key = prov_key_new(from->ctx, from->type);
    if (key == NULL || from->soft == NULL) {
        return key;
    }
    key->soft = prov_softkey_part(from->ctx, from->type->name, from->soft,
                                  selection);
    if (key->soft == NULL) {
        prov_key_putp(&key);
    }
    return key;
}

const char *prov_keymgmt_operation(const struct prov_keytype *type,
                                   int operation_id)
{
    if (operation_id == OSSL_OP_SIGNATURE || type->agreement == NULL) {
        return type->operation;
    }
    return operation_id == OSSL_OP_KEYEXCH ? type->agreement : NULL;
}

/* The lists are static in libcrypto, and outlive what they are asked from. */
static const OSSL_PARAM *list_of(const struct prov_ctx *ctx,
                                 const struct prov_keytype *type,
                                 const OSSL_PARAM *(*ask)(const EVP_KEYMGMT *))
{
    EVP_KEYMGMT *km = EVP_KEYMGMT_fetch(ctx->libctx, type->name, NULL);
    const OSSL_PARAM *list = km != NULL ? ask(km) : NULL;

    EVP_KEYMGMT_free(km);
    return list;
}

const OSSL_PARAM *prov_keymgmt_gettable(const struct prov_ctx *ctx,
                                        const struct prov_keytype *type)
{
    return list_of(ctx, type, EVP_KEYMGMT_gettable_params);
}

const OSSL_PARAM *prov_keymgmt_settable(const struct prov_ctx *ctx,
                                        const struct prov_keytype *type)
{
    return list_of(ctx, type, EVP_KEYMGMT_settable_params);
}
