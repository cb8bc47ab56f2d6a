/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key twice: on a token, by URI, and in software, from a file, in a library
 * context that has the default provider only.
 */
#ifndef TESTS_TWINS_H
#define TESTS_TWINS_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include "tests/c/stored_key.h"
#include "tests/c/tap.h"

#define DEFAULT "provider=default"

struct twins {
    OSSL_LIB_CTX *libctx;       /* of software; the token's is the default */
    EVP_PKEY *token, *software;
    EVP_PKEY *public;           /* the default provider's, where token is */
};

static inline EVP_PKEY *key_of_uri(const char *uri)
{
    return stored_key(NULL, uri, NULL, NULL);
}

static inline EVP_PKEY *key_of_file(const char *path, OSSL_LIB_CTX *libctx)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in == NULL ? NULL
        : PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, libctx, NULL);

    BIO_free(in);
    return key;
}

/* The public half of any key, as a key of the default provider. */
static inline EVP_PKEY *public_half(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    const unsigned char *p = der;
    EVP_PKEY *public = n <= 0 ? NULL
        : d2i_PUBKEY_ex(NULL, &p, n, NULL, DEFAULT);

    OPENSSL_free(der);
    return public;
}

static inline void twins_free(struct twins *t)
{
    EVP_PKEY_free(t->public);
    EVP_PKEY_free(t->token);
    EVP_PKEY_free(t->software);
    OSSL_LIB_CTX_free(t->libctx);
}

static inline bool twins_load(struct twins *t, const char *uri,
                              const char *file)
{
    t->libctx = OSSL_LIB_CTX_new();
    t->token = key_of_uri(uri);
    t->software = t->libctx != NULL ? key_of_file(file, t->libctx) : NULL;
    t->public = t->software != NULL ? public_half(t->software) : NULL;
    if (t->public == NULL || t->token == NULL) {
        ERR_print_errors_fp(stderr);
        twins_free(t);
        return false;
    }
    return true;
}

static inline const char *owner_of(const EVP_PKEY *key)
{
    const OSSL_PROVIDER *p = EVP_PKEY_get0_provider(key);

    return p != NULL ? OSSL_PROVIDER_get0_name(p) : "none";
}

/* No error is left on the queue. What there was is shown, and taken off. */
static inline bool is_quiet(void)
{
    bool quiet = ERR_peek_error() == 0;

    ERR_print_errors_fp(stderr);
    return quiet;
}

#endif
