/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encapsulation with EC keys, for programs that try it: the recipient's key and
 * the sender's, both twice.
 */
#ifndef TESTS_DHKEM_H
#define TESTS_DHKEM_H

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

/* An older header lacks names, and the functions for a sender. */
#include "provider/compat.h"
#include "tests/c/twins.h"

#define OURS "provider=pkcs11"
#define KIND OSSL_KEM_PARAM_OPERATION_DHKEM

struct pair {
    struct twins r, s;          /* recipient, sender */
};

struct octets {
    unsigned char p[256];
    size_t len;
};

/* How an operation begins. */
struct how {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    const char *query;
    EVP_PKEY *auth;             /* NULL: the sender is not known */
    const char *kind;           /* NULL: not said */
    const struct octets *ikme;  /* likewise */
};

static inline bool pair_load(struct pair *p, char **uris_and_files)
{
    char **a = uris_and_files;

    if (!twins_load(&p->r, a[0], a[1])) {
        return false;
    }
    if (!twins_load(&p->s, a[2], a[3])) {
        twins_free(&p->r);
        return false;
    }
    return true;
}

static inline void pair_free(struct pair *p)
{
    twins_free(&p->s);
    twins_free(&p->r);
}

/* The kind comes with all its room, as from those who have it in an array. */
static inline int begin(EVP_PKEY_CTX *ctx, const struct how *h, bool seals)
{
    char kind[64] = "";
    unsigned char ikme[sizeof(h->ikme->p)];
    OSSL_PARAM params[3], *p = params;

    if (h->kind != NULL) {
        snprintf(kind, sizeof(kind), "%s", h->kind);
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KEM_PARAM_OPERATION,
                                                kind, sizeof(kind));
    }
    if (h->ikme != NULL) {
        memcpy(ikme, h->ikme->p, h->ikme->len);
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KEM_PARAM_IKME, ikme,
                                                 h->ikme->len);
    }
    *p = OSSL_PARAM_construct_end();
    if (h->auth == NULL) {
        return seals ? EVP_PKEY_encapsulate_init(ctx, params)
                     : EVP_PKEY_decapsulate_init(ctx, params);
    }
    return seals ? EVP_PKEY_auth_encapsulate_init(ctx, h->auth, params)
                 : EVP_PKEY_auth_decapsulate_init(ctx, h->auth, params);
}

/* result: libcrypto's answer. NULL: refused. */
static inline EVP_PKEY_CTX *operation(const struct how *h, bool seals,
                                      int *result)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(h->libctx, h->key,
                                                   h->query);

    *result = ctx != NULL ? begin(ctx, h, seals) : 0;
    if (*result <= 0) {
        EVP_PKEY_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

/* There is one error, whatever EVP adds to it. The queue is emptied. */
static inline bool is_told(void)
{
    unsigned long e;
    int n = 0;

    while ((e = ERR_get_error()) != 0) {
        n += ERR_GET_LIB(e) != ERR_LIB_EVP ? 1 : 0;
    }
    return n == 1;
}

static inline EVP_PKEY_CTX *copy_of(EVP_PKEY_CTX *ctx)
{
    return ctx != NULL ? EVP_PKEY_CTX_dup(ctx) : NULL;
}

static inline bool is_ours(const EVP_PKEY_CTX *ctx)
{
    const OSSL_PROVIDER *p = ctx != NULL ? EVP_PKEY_CTX_get0_provider(ctx)
                                         : NULL;

    return p != NULL && strcmp(OSSL_PROVIDER_get0_name(p), "pkcs11") == 0;
}

/* With room for as much as there may be; behind the secret all is 'o'. */
static inline int seal(EVP_PKEY_CTX *ctx, struct octets *out,
                       struct octets *secret)
{
    out->len = sizeof(out->p);
    secret->len = sizeof(secret->p);
    memset(out->p, 'o', sizeof(out->p));
    memset(secret->p, 'o', sizeof(secret->p));
    return ctx == NULL ? 0
        : EVP_PKEY_encapsulate(ctx, out->p, &out->len, secret->p,
                               &secret->len);
}

static inline int unseal(EVP_PKEY_CTX *ctx, const struct octets *in,
                         struct octets *secret)
{
    secret->len = sizeof(secret->p);
    memset(secret->p, 'o', sizeof(secret->p));
    return ctx == NULL ? 0
        : EVP_PKEY_decapsulate(ctx, secret->p, &secret->len, in->p, in->len);
}

#endif
