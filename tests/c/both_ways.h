/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing and verifying in one go, for the programs that hold a token's keys
 * against the default provider's: parameters by row, verdicts compared.
 */
#ifndef TESTS_BOTH_WAYS_H
#define TESTS_BOTH_WAYS_H

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "tests/c/twins.h"

#define SIG_MAX 1024

static const char *const hash_rows[] = {
    "SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512", "SHA2-512/224",
    "SHA2-512/256", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512", "MD5",
    "MD5-SHA1", "RIPEMD-160", "SM3", "SHAKE-256", "BLAKE2B-512",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

struct octets {
    unsigned char p[SIG_MAX];
    size_t len;
};

/* What is signed, and what is not. */
static const unsigned char message[] = "what was said";
static const unsigned char another[] = "what was sait";

/* An operation's parameters, as text: "" or NULL is not set. */
struct manner {
    const char *md;
    const char *pad;            /* RSA only, from here on */
    const char *salt;           /* of PSS */
    const char *mgf1;
};

static inline size_t manner_params(const struct manner *m, OSSL_PARAM *p)
{
    const struct {
        const char *name, *value;
    } rows[] = {
        { OSSL_SIGNATURE_PARAM_PAD_MODE, m->pad },
        { OSSL_SIGNATURE_PARAM_PSS_SALTLEN, m->salt },
        { OSSL_SIGNATURE_PARAM_MGF1_DIGEST, m->mgf1 },
    };
    size_t i, n = 0;

    for (i = 0; i < N_OF(rows); i++) {
        if (rows[i].value != NULL && rows[i].value[0] != '\0') {
            p[n++] = OSSL_PARAM_construct_utf8_string(
                rows[i].name, (char *)(uintptr_t)rows[i].value, 0);
        }
    }
    p[n] = OSSL_PARAM_construct_end();
    return n;
}

/* Where the key is: the token's in the default library context, others in
 * their own. */
struct place {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    const char *query;
};

/* The message is hashed and signed. Parameters come when the digest is known:
 * X9.31 wants it so. */
static inline bool sign_message(const struct place *at, const struct manner *m,
                                struct octets *sig)
{
    OSSL_PARAM params[4];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t n = manner_params(m, params);
    bool good;

    sig->len = sizeof(sig->p);
    good = EVP_DigestSignInit_ex(ctx, &pctx, m->md, at->libctx, at->query,
                                 at->key, NULL) > 0
           && (n == 0 || EVP_PKEY_CTX_set_params(pctx, params) > 0)
           && EVP_DigestSign(ctx, sig->p, &sig->len, message,
                             sizeof(message)) > 0;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* 1, or 0 or less: refused. */
static inline bool verifies(const struct place *at, const struct manner *m,
                            const struct octets *sig, const void *what)
{
    OSSL_PARAM params[4];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t n = manner_params(m, params);
    bool good;

    good = EVP_DigestVerifyInit_ex(ctx, &pctx, m->md, at->libctx, at->query,
                                   at->key, NULL) > 0
           && (n == 0 || EVP_PKEY_CTX_set_params(pctx, params) > 0)
           && EVP_DigestVerify(ctx, sig->p, sig->len, what,
                               sizeof(message)) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

/* Both judge, and agree; what they have to say is wanted. */
static inline void judged(const struct place *ours, const struct place *theirs,
                          const struct manner *m, const struct octets *sig,
                          bool wanted, const char *what)
{
    bool a = verifies(ours, m, sig, message);
    bool b = verifies(theirs, m, sig, message);

    ok(a == wanted && b == wanted, "%s: %s", what,
       wanted ? "verified by both" : "refused by both");
}

#endif
