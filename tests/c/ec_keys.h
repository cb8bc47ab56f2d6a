/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EC keys by parameters: generated, or public ones of a point.
 */
#ifndef TESTS_EC_KEYS_H
#define TESTS_EC_KEYS_H

#include "tests/c/both_ways.h"

/* By an algorithm of that query. NULL: it cannot be made. */
static inline EVP_PKEY *generate(OSSL_LIB_CTX *libctx, const char *query,
                                 OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", query);
    EVP_PKEY *key = NULL;

    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) <= 0
        || EVP_PKEY_CTX_set_params(ctx, params) <= 0
        || EVP_PKEY_generate(ctx, &key) <= 0) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Its point, in any form that the key writes. */
static inline void point_of(EVP_PKEY *key, struct octets *point)
{
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY,
                                        point->p, sizeof(point->p),
                                        &point->len) <= 0) {
        point->len = 0;
    }
}

/* A public key of this point. NULL: it cannot be one. */
static inline EVP_PKEY *key_at(const char *query, const char *name,
                               struct octets *point)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point->p,
                                          point->len),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", query);
    EVP_PKEY *key = NULL;

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return key;
}

#endif
