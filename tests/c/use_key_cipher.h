/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of use_key.c that keep nothing of what they get: for who looks at what
 * is left in memory.
 */
#ifndef TESTS_USE_KEY_CIPHER_H
#define TESTS_USE_KEY_CIPHER_H

#include <openssl/crypto.h>

#include "tests/c/use_key.h"

/* To work with the first key, as it was loaded; NULL: there is none. */
static EVP_PKEY_CTX *first_key(const struct worker *w)
{
    return w->n_keys > 0
        ? EVP_PKEY_CTX_new_from_pkey(w->ctx, w->key[0].own, NULL) : NULL;
}

/* With its public half. */
static bool step_encrypt(struct worker *w, const struct step *s)
{
    unsigned char out[SIGNATURE_MAX];
    EVP_PKEY_CTX *ctx = first_key(w);
    bool good = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1;

    for (unsigned int i = 0; good && i < number(s->arg, 0, 1); i++) {
        size_t n = sizeof(out);

        good = EVP_PKEY_encrypt(ctx, out, &n, (const unsigned char *)"text",
                                4) == 1
               && n == (size_t)EVP_PKEY_get_size(w->key[0].own);
    }
    EVP_PKEY_CTX_free(ctx);
    return good || fail("encryption failed", "");
}

/* What is in a file, at most size octets; 0 where it cannot be read. */
static size_t contents(const char *name, unsigned char *out, size_t size)
{
    FILE *in = fopen(name, "rb");
    size_t n = in != NULL ? fread(out, 1, size, in) : 0;

    if (in != NULL) {
        fclose(in);
    }
    return n;
}

/* Of "oaep:FILE" or "pkcs1:FILE" the plaintext, which nobody keeps. */
static bool step_open(struct worker *w, const struct step *s)
{
    unsigned char in[SIGNATURE_MAX], out[SIGNATURE_MAX];
    size_t n = sizeof(out);
    const char *name = strchr(s->arg, ':');
    int padding = s->arg[0] == 'o' ? RSA_PKCS1_OAEP_PADDING
                                   : RSA_PKCS1_PADDING;
    size_t len = name != NULL ? contents(name + 1, in, sizeof(in)) : 0;
    EVP_PKEY_CTX *ctx = first_key(w);
    bool good = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1
                && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1
                && EVP_PKEY_decrypt(ctx, out, &n, in, len) == 1 && n > 0;

    OPENSSL_cleanse(out, sizeof(out));
    EVP_PKEY_CTX_free(ctx);
    return good || fail("not opened:", s->arg);
}

/* The secret that is encapsulated in a file, which nobody keeps. */
static bool step_unseal(struct worker *w, const struct step *s)
{
    unsigned char in[SIGNATURE_MAX], secret[SIGNATURE_MAX];
    size_t n = sizeof(secret), len = contents(s->arg, in, sizeof(in));
    EVP_PKEY_CTX *ctx = first_key(w);
    bool good = ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1
                && EVP_PKEY_CTX_set_kem_op(ctx,
                       EVP_PKEY_is_a(w->key[0].own, "EC") ? "DHKEM"
                                                          : "RSASVE") == 1
                && EVP_PKEY_decapsulate(ctx, secret, &n, in, len) == 1
                && n > 0;

    OPENSSL_cleanse(secret, sizeof(secret));
    EVP_PKEY_CTX_free(ctx);
    return good || fail("no secret in", s->arg);
}

static bool step_decrypting(struct worker *w, const struct step *s)
{
    w->decrypting = first_key(w);
    return (w->decrypting != NULL
            && EVP_PKEY_decrypt_init(w->decrypting) == 1)
        || fail("nothing to decrypt with", s->arg);
}

/* More than the modulus, so often: refused each time. Then it is freed. */
static bool step_junk(struct worker *w, const struct step *s)
{
    unsigned char in[SIGNATURE_MAX], out[SIGNATURE_MAX];
    bool good = w->decrypting != NULL;

    memset(in, 0xff, sizeof(in));
    for (unsigned int i = 0; good && i < number(s->arg, 0, 1); i++) {
        size_t n = sizeof(out);

        good = EVP_PKEY_decrypt(w->decrypting, out, &n, in, 256) <= 0;
    }
    EVP_PKEY_CTX_free(w->decrypting);
    w->decrypting = NULL;
    return good || fail("junk was decrypted", s->arg);
}

/* The secret shared with the public key in a file, which nobody keeps. */
static bool step_agree(struct worker *w, const struct step *s)
{
    unsigned char secret[SIGNATURE_MAX];
    size_t len = sizeof(secret);
    BIO *in = BIO_new_file(s->arg, "r");
    EVP_PKEY *peer = in != NULL
        ? PEM_read_bio_PUBKEY_ex(in, NULL, NULL, NULL, w->ctx, NULL) : NULL;
    bool good = peer != NULL && w->n_keys > 0
                && agree(w->ctx, w->key[0].own, peer, secret, &len);

    OPENSSL_cleanse(secret, sizeof(secret));
    EVP_PKEY_free(peer);
    BIO_free(in);
    return good || fail("no agreement with", s->arg);
}

#endif
