/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OSSL_PARAM sets, as an application might give them: to key generation, to
 * keys made of them, to signatures, decryption and key agreement. Nothing may
 * crash, what fails says why, and what is asked for fits its buffer. There is
 * no token: keys are software's, by way of us.
 *
 * One byte chooses the operation; then each parameter has a byte for its name,
 * one for its type, one for its length, and its value.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include "tests/fuzz/context.h"

#define PARAMS_MAX 12
#define PROPERTIES "provider=pkcs11"

static const char *const names[] = {
    "pkcs11_uri",
    "pkcs11_token",
    "pkcs11_key_usage",
    "pkcs11_storage",
    OSSL_PKEY_PARAM_GROUP_NAME,
    OSSL_PKEY_PARAM_EC_ENCODING,
    OSSL_PKEY_PARAM_RSA_BITS,
    "rsa_keygen_bits",
    OSSL_PKEY_PARAM_RSA_PRIMES,
    OSSL_PKEY_PARAM_RSA_E,
    OSSL_PKEY_PARAM_RSA_N,
    OSSL_PKEY_PARAM_RSA_D,
    OSSL_PKEY_PARAM_RSA_DIGEST,
    OSSL_PKEY_PARAM_RSA_MGF1_DIGEST,
    OSSL_PKEY_PARAM_RSA_PSS_SALTLEN,
    OSSL_PKEY_PARAM_PUB_KEY,
    OSSL_PKEY_PARAM_PRIV_KEY,
    OSSL_SIGNATURE_PARAM_DIGEST,
    OSSL_SIGNATURE_PARAM_PAD_MODE,
    OSSL_SIGNATURE_PARAM_PSS_SALTLEN,
    OSSL_SIGNATURE_PARAM_MGF1_DIGEST,
    OSSL_SIGNATURE_PARAM_ALGORITHM_ID,
    OSSL_SIGNATURE_PARAM_DIGEST_SIZE,
    OSSL_SIGNATURE_PARAM_PROPERTIES,
    OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST,
    OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL,
    OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
    OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION,
    OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE,
    OSSL_EXCHANGE_PARAM_KDF_TYPE,
    OSSL_EXCHANGE_PARAM_KDF_DIGEST,
    OSSL_EXCHANGE_PARAM_KDF_OUTLEN,
    OSSL_EXCHANGE_PARAM_KDF_UKM,
    OSSL_EXCHANGE_PARAM_PAD,
    OSSL_PKEY_PARAM_BITS,
    OSSL_PKEY_PARAM_SECURITY_BITS,
    OSSL_PKEY_PARAM_MAX_SIZE,
    OSSL_PKEY_PARAM_DEFAULT_DIGEST,
    OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
    OSSL_PKEY_PARAM_EC_PUB_X,
    OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
    "no-such-parameter",
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static OSSL_LIB_CTX *ctx;
static EVP_PKEY *rsa, *ec;

/* Values that are kept as long as the set. */
struct set {
    OSSL_PARAM params[PARAMS_MAX + 1];
    char *value[PARAMS_MAX];
    const void *pointer[PARAMS_MAX];
    size_t n;
};

/* A key of software that came to us by import. */
static EVP_PKEY *imported(const char *type, const char *option)
{
    EVP_PKEY *plain = strcmp(type, "RSA") == 0
        ? EVP_PKEY_Q_keygen(ctx, "provider=default", type, (size_t)2048)
        : EVP_PKEY_Q_keygen(ctx, "provider=default", type, option);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(ctx, type, PROPERTIES);
    OSSL_PARAM *all = NULL;
    EVP_PKEY *key = NULL;

    fuzz_check(plain != NULL && c != NULL);
    fuzz_check(EVP_PKEY_todata(plain, EVP_PKEY_KEYPAIR, &all) == 1);
    fuzz_check(EVP_PKEY_fromdata_init(c) == 1);
    fuzz_check(EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, all) == 1);
    OSSL_PARAM_free(all);
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(plain);
    return key;
}

static void set_up(void)
{
    if (ctx != NULL) {
        return;
    }
    ctx = fuzz_context();
    rsa = imported("RSA", NULL);
    ec = imported("EC", "P-256");
}

/* Whatever its type says, the value has as many bytes as it says, and a text
 * its NUL behind them, as libcrypto's own constructors have it. */
static void read_set(struct hsm_bytes *in, struct set *s)
{
    static const unsigned int types[] = {
        OSSL_PARAM_UTF8_STRING, OSSL_PARAM_INTEGER,
        OSSL_PARAM_UNSIGNED_INTEGER, OSSL_PARAM_OCTET_STRING,
        OSSL_PARAM_UTF8_PTR, OSSL_PARAM_OCTET_PTR, OSSL_PARAM_REAL
    };

    while (in->len > 2 && s->n < PARAMS_MAX) {
        const char *name = names[fuzz_byte(in) % N_NAMES];
        unsigned int type = types[fuzz_byte(in) % 7];
        struct hsm_bytes v = fuzz_take(in, fuzz_byte(in));
        OSSL_PARAM *p = &s->params[s->n];
        bool is_pointer = type == OSSL_PARAM_UTF8_PTR
            || type == OSSL_PARAM_OCTET_PTR;

        s->value[s->n] = fuzz_text(v);
        s->pointer[s->n] = s->value[s->n];
        p->key = name;
        p->data_type = type;
        p->data = is_pointer ? (void *)&s->pointer[s->n] : s->value[s->n];
        p->data_size = type == OSSL_PARAM_REAL ? v.len & 8u : v.len;
        p->return_size = OSSL_PARAM_UNMODIFIED;
        s->n++;
    }
    s->params[s->n] = OSSL_PARAM_construct_end();
}

static void clear_set(struct set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->value[i]);
    }
}

/* ---- operations ---- */

/* Software keys are not made: that takes too long, and is not ours. */
static void try_generate(const char *type, struct set *s)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(ctx, type, PROPERTIES);
    EVP_PKEY *key = NULL;

    fuzz_check(c != NULL && EVP_PKEY_keygen_init(c) == 1);
    ERR_clear_error();
    if (EVP_PKEY_CTX_set_params(c, s->params) != 1) {
        fuzz_check(ERR_peek_error() != 0);
    } else if (OSSL_PARAM_locate(s->params, "pkcs11_uri") != NULL
               || OSSL_PARAM_locate(s->params, "pkcs11_token") != NULL) {
        ERR_clear_error();
        fuzz_check(EVP_PKEY_generate(c, &key) != 1 && key == NULL);
        fuzz_check(ERR_peek_error() != 0);
    }
    EVP_PKEY_CTX_free(c);
}

static void try_import(const char *type, struct set *s)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(ctx, type, PROPERTIES);
    EVP_PKEY *key = NULL;

    fuzz_check(c != NULL && EVP_PKEY_fromdata_init(c) == 1);
    if (EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, s->params) == 1) {
        EVP_PKEY *copy = EVP_PKEY_dup(key);

        (void)EVP_PKEY_get_bits(key);
        /* Those that have no public half are not equal. */
        fuzz_check(copy == NULL || i2d_PUBKEY(key, NULL) <= 0
                   || EVP_PKEY_eq(copy, key) == 1);
        EVP_PKEY_free(copy);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(c);
}

static void try_sign(EVP_PKEY *key, struct set *s)
{
    static const unsigned char data[32] = { 1 };
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pc = NULL;
    unsigned char sig[256];
    size_t len = sizeof(sig);

    fuzz_check(c != NULL
               && EVP_DigestSignInit_ex(c, &pc, "SHA256", ctx, PROPERTIES, key,
                                        NULL)
                   == 1);
    (void)EVP_PKEY_CTX_set_params(pc, s->params);
    (void)EVP_PKEY_CTX_get_params(pc, s->params);
    if (EVP_DigestSign(c, sig, &len, data, sizeof(data)) == 1) {
        fuzz_check(len <= sizeof(sig));
    }
    EVP_MD_CTX_free(c);
}

static void try_decrypt(struct set *s)
{
    static const unsigned char data[256] = { 0 };
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(ctx, rsa, PROPERTIES);
    unsigned char out[256];
    size_t len = sizeof(out);

    fuzz_check(c != NULL && EVP_PKEY_decrypt_init(c) == 1);
    (void)EVP_PKEY_CTX_set_params(c, s->params);
    (void)EVP_PKEY_CTX_get_params(c, s->params);
    (void)EVP_PKEY_decrypt(c, out, &len, data, sizeof(data));
    EVP_PKEY_CTX_free(c);
}

static void try_derive(struct set *s)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(ctx, ec, PROPERTIES);
    unsigned char out[512];
    size_t len = sizeof(out);

    fuzz_check(c != NULL && EVP_PKEY_derive_init(c) == 1);
    (void)EVP_PKEY_CTX_set_params(c, s->params);
    (void)EVP_PKEY_CTX_get_params(c, s->params);
    if (EVP_PKEY_derive_set_peer(c, ec) == 1) {
        (void)EVP_PKEY_derive(c, out, &len);
    }
    EVP_PKEY_CTX_free(c);
}

static void try_key(EVP_PKEY *key, struct set *s)
{
    EVP_PKEY *copy = EVP_PKEY_dup(key);

    (void)EVP_PKEY_get_params(key, s->params);
    fuzz_check(copy != NULL);
    (void)EVP_PKEY_set_params(copy, s->params);
    EVP_PKEY_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hsm_bytes in = hsm_bytes_of(data, size);
    unsigned int which = fuzz_byte(&in) % 10;
    struct set s = { .n = 0 };

    set_up();
    read_set(&in, &s);
    switch (which) {
    case 0:
    case 1:
    case 2:
        try_generate(which == 0 ? "EC" : which == 1 ? "RSA"
                                                    : "RSA-PSS",
                     &s);
        break;
    case 3:
    case 4:
        try_import(which == 3 ? "EC" : "RSA", &s);
        break;
    case 5:
    case 6:
        try_sign(which == 5 ? ec : rsa, &s);
        break;
    case 7:
        try_decrypt(&s);
        break;
    case 8:
        try_derive(&s);
        break;
    default:
        try_key(size % 2 == 0 ? ec : rsa, &s);
        break;
    }
    clear_set(&s);
    ERR_clear_error();
    return 0;
}
