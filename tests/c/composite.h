/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composite signature algorithms (OpenSSL 3.4 and newer) for test programs:
 * the four who have one key, and signing and verifying in each way that there
 * is. For one file of a program.
 */
#ifndef TESTS_COMPOSITE_H
#define TESTS_COMPOSITE_H

#include <openssl/opensslv.h>

#include "tests/c/tap.h"

#if !OPENSSL_VERSION_PREREQ(3, 4)

TAP_SKIPPED("composite signature algorithms come with OpenSSL 3.4, this was "
            "built with " OPENSSL_VERSION_TEXT)

#else
# define HAS_COMPOSITES

# include "tests/c/both_ways.h"
# include "tests/c/calls.h"

# define OURS "provider=pkcs11"
# define NAMES_MAX 32

static struct place token;      /* by us, the token's key */
static struct place software;   /* by us, a key in software */
static struct place theirs;     /* by the default provider, the same key */
static struct place public;     /* by the default provider, the public half */

static struct {
    size_t n;
    char name[NAMES_MAX][32];
} names;

static inline bool is_rsa(void)
{
    return !EVP_PKEY_is_a(public.key, "EC");
}

static inline void add_name(EVP_SIGNATURE *algorithm, void *arg)
{
    const char *name = EVP_SIGNATURE_get0_name(algorithm);
    const char *prefix = is_rsa() ? "RSA-" : "ECDSA-";

    (void)arg;
    if (strncmp(name, prefix, strlen(prefix)) == 0
        && names.n < NAMES_MAX) {
        snprintf(names.name[names.n++], sizeof(names.name[0]), "%s", name);
    }
}

/* The calls that the token was asked for since. */
static inline long long calls_after(const struct calls *before)
{
    struct calls now;

    calls_read(&now);
    return calls_total(&now) - calls_total(before);
}

/* It was refused, by us, who say why. */
static inline bool is_told(bool result)
{
    bool told = !result && ERR_peek_error() != 0;

    ERR_clear_error();
    return told;
}

enum way {
    WAY_DIGEST,                 /* it is made elsewhere */
    WAY_WHOLE,                  /* the message at once */
    WAY_PIECES,                 /* an octet, nothing, the rest */
    N_WAYS
};

static const char *const way_names[] = { "a digest", "a message", "pieces" };

typedef int start_fn(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algorithm,
                     const OSSL_PARAM params[]);

static start_fn *const sign_starts[] = {
    EVP_PKEY_sign_init_ex2, EVP_PKEY_sign_message_init,
    EVP_PKEY_sign_message_init
};
static start_fn *const verify_starts[] = {
    EVP_PKEY_verify_init_ex2, EVP_PKEY_verify_message_init,
    EVP_PKEY_verify_message_init
};

/* What the start answers; *out is NULL unless it is 1. */
static inline int start(const struct place *at, const char *name,
                        start_fn *how, const OSSL_PARAM params[],
                        EVP_PKEY_CTX **out)
{
    EVP_SIGNATURE *algorithm = EVP_SIGNATURE_fetch(at->libctx, name,
                                                   at->query);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(at->libctx, at->key,
                                                   at->query);
    int result = algorithm != NULL && ctx != NULL
                 ? how(ctx, algorithm, params) : -99;

    EVP_SIGNATURE_free(algorithm);
    if (result != 1) {
        EVP_PKEY_CTX_free(ctx);
        ctx = NULL;
    }
    *out = ctx;
    return result;
}

static inline EVP_PKEY_CTX *started(const struct place *at, const char *name,
                                    start_fn *how)
{
    EVP_PKEY_CTX *ctx = NULL;

    (void)start(at, name, how, NULL, &ctx);
    return ctx;
}

/* RSA-SHA2-256 → SHA2-256 */
static inline const char *hash_of(const char *name)
{
    return strchr(name, '-') + 1;
}

static inline bool digest(const char *name, const void *what,
                          struct octets *out)
{
    unsigned int n = 0;
    EVP_MD *md = EVP_MD_fetch(NULL, hash_of(name), DEFAULT);
    bool good = md != NULL
                && EVP_Digest(what, sizeof(message), out->p, &n, md, NULL) > 0;

    out->len = n;
    EVP_MD_free(md);
    return good;
}

static inline bool sign_pieces(EVP_PKEY_CTX *ctx, const unsigned char *what,
                               struct octets *sig)
{
    return EVP_PKEY_sign_message_update(ctx, what, 1) == 1
           && EVP_PKEY_sign_message_update(ctx, NULL, 0) == 1
           && EVP_PKEY_sign_message_update(ctx, what + 1,
                                           sizeof(message) - 1) == 1
           && EVP_PKEY_sign_message_final(ctx, sig->p, &sig->len) == 1;
}

static inline bool compose(const struct place *at, const char *name,
                           enum way way, struct octets *sig)
{
    EVP_PKEY_CTX *ctx = started(at, name, sign_starts[way]);
    struct octets hash = { .len = 0 };
    bool good = false;

    sig->len = sizeof(sig->p);
    if (way == WAY_PIECES) {
        good = ctx != NULL && sign_pieces(ctx, message, sig);
    } else if (way == WAY_WHOLE) {
        good = ctx != NULL && EVP_PKEY_sign(ctx, sig->p, &sig->len, message,
                                            sizeof(message)) == 1;
    } else {
        good = ctx != NULL && digest(name, message, &hash)
               && EVP_PKEY_sign(ctx, sig->p, &sig->len, hash.p, hash.len) == 1;
    }
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static inline bool verify_pieces(EVP_PKEY_CTX *ctx, const unsigned char *what,
                                 const struct octets *sig)
{
    return EVP_PKEY_verify_message_update(ctx, what, 1) == 1
           && EVP_PKEY_CTX_set_signature(ctx, sig->p, sig->len) == 1
           && EVP_PKEY_verify_message_update(ctx, what + 1,
                                             sizeof(message) - 1) == 1
           && EVP_PKEY_verify_message_final(ctx) == 1;
}

static inline bool takes(const struct place *at, const char *name,
                         enum way way, const struct octets *sig,
                         const unsigned char *what)
{
    EVP_PKEY_CTX *ctx = started(at, name, verify_starts[way]);
    struct octets hash = { .len = 0 };
    bool good = false;

    if (way == WAY_PIECES) {
        good = ctx != NULL && verify_pieces(ctx, what, sig);
    } else if (way == WAY_WHOLE) {
        good = ctx != NULL && EVP_PKEY_verify(ctx, sig->p, sig->len, what,
                                              sizeof(message)) == 1;
    } else {
        good = ctx != NULL && digest(name, what, &hash)
               && EVP_PKEY_verify(ctx, sig->p, sig->len, hash.p,
                                  hash.len) == 1;
    }
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* A session is open, and what is looked up once has been. */
static inline void warm_up(void)
{
    const struct manner m = { .md = "SHA2-256" };
    struct octets sig = { .len = 0 };

    (void)sign_message(&token, &m, &sig);
    (void)sign_message(&token, &m, &sig);
    ERR_clear_error();
}

/* usage: PROGRAM MODE URI FILE. False: nothing can be done. */
static inline bool composite_load(struct twins *t, int argc, char **argv)
{
    if (argc != 4 || !twins_load(t, argv[2], argv[3])) {
        return false;
    }
    token = (struct place){ NULL, t->token, OURS };
    theirs = (struct place){ t->libctx, t->software, NULL };
    public = (struct place){ NULL, t->public, DEFAULT };
    software = (struct place){ NULL, key_of_file(argv[3], NULL), OURS };
    is_str(owner_of(t->token), "pkcs11", "the key is the token's");
    EVP_SIGNATURE_do_all_provided(t->libctx, add_name, NULL);
    warm_up();
    return true;
}

static inline void composite_free(struct twins *t)
{
    EVP_PKEY_free(software.key);
    twins_free(t);
}

#endif
#endif
