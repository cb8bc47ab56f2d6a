/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/c/fault_steps.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "tests/c/agree.h"
#include "tests/c/stored_key.h"

/* What P11::Fault puts into the token. */
#define WALK_PRIVATE 2
#define WALK_PUBLIC 2
#define WALK_CERT 1

#define MESSAGE_BYTES sizeof(((struct fault_known *)NULL)->message)

/* ---- steps ---- */

bool fault_is_same(EVP_PKEY *own, EVP_PKEY *public)
{
    unsigned char *a = NULL, *b = NULL;
    int a_len = i2d_PUBKEY(own, &a), b_len = i2d_PUBKEY(public, &b);
    bool same = a_len > 0 && a_len == b_len
        && memcmp(a, b, (size_t)a_len) == 0;

    OPENSSL_free(a);
    OPENSSL_free(b);
    return same;
}

bool fault_load(struct fault_run *r, int which)
{
    const struct fault_known *k = r->known;

    if (r->key[which] == NULL) {
        r->key[which] = stored_key(r->ctx, k->key_uri[which], NULL, NULL);
    }
    if (r->key[which] != NULL && !r->may_differ
        && !fault_is_same(r->key[which], k->public_key[which])) {
        r->wrong = "another public key";
    }
    return r->key[which] != NULL;
}

static bool step_load_rsa(struct fault_run *r)
{
    return fault_load(r, KEY_RSA);
}

static bool step_load_ec(struct fault_run *r)
{
    return fault_load(r, KEY_EC);
}

static bool digest_sign(EVP_PKEY *k, OSSL_LIB_CTX *where, unsigned char *sig,
                        size_t *len, bool sign)
{
    static const unsigned char data[] = "what is signed";
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = false;

    if (sign) {
        good = EVP_DigestSignInit_ex(c, NULL, "SHA256", where, NULL, k, NULL)
                == 1
            && EVP_DigestSign(c, sig, len, data, sizeof(data)) == 1;
    } else {
        good = EVP_DigestVerifyInit_ex(c, NULL, "SHA256", where, NULL, k,
                                       NULL)
                == 1
            && EVP_DigestVerify(c, sig, *len, data, sizeof(data)) == 1;
    }
    EVP_MD_CTX_free(c);
    return good;
}

bool fault_sign(struct fault_run *r, int which)
{
    const struct fault_known *k = r->known;
    unsigned char sig[1024];
    size_t len = sizeof(sig);

    if (!digest_sign(r->key[which], r->ctx, sig, &len, true)) {
        return false;
    }
    if (!(which == KEY_MADE && r->may_differ)
        && !digest_sign(k->public_key[which], k->judge, sig, &len, false)) {
        r->wrong = "a wrong signature";
    }
    return true;
}

static bool step_sign_rsa(struct fault_run *r)
{
    return fault_sign(r, KEY_RSA);
}

static bool step_sign_ec(struct fault_run *r)
{
    return fault_sign(r, KEY_EC);
}

static bool step_derive(struct fault_run *r)
{
    unsigned char z[64];
    size_t len = sizeof(z);

    if (!agree(r->ctx, r->key[KEY_EC], r->known->peer, z, &len)) {
        return false;
    }
    if (len != r->known->secret_len
        || memcmp(z, r->known->secret, len) != 0) {
        r->wrong = "a wrong secret";
    }
    return true;
}

static bool encrypt_rsa(const struct fault_known *k, int padding,
                        unsigned char *out, size_t *len)
{
    EVP_PKEY_CTX *c =
        EVP_PKEY_CTX_new_from_pkey(k->judge, k->public_key[KEY_RSA], NULL);
    bool good = c != NULL && EVP_PKEY_encrypt_init(c) == 1
        && EVP_PKEY_CTX_set_rsa_padding(c, padding) == 1
        && EVP_PKEY_encrypt(c, out, len, k->message, MESSAGE_BYTES) == 1;

    EVP_PKEY_CTX_free(c);
    return good;
}

static bool decrypt_rsa(struct fault_run *r, int padding,
                        const unsigned char *in, size_t in_len)
{
    EVP_PKEY_CTX *c =
        EVP_PKEY_CTX_new_from_pkey(r->ctx, r->key[KEY_RSA], NULL);
    unsigned char out[512];
    size_t len = sizeof(out);
    bool good = c != NULL && EVP_PKEY_decrypt_init(c) == 1
        && EVP_PKEY_CTX_set_rsa_padding(c, padding) == 1
        && EVP_PKEY_decrypt(c, out, &len, in, in_len) == 1;

    EVP_PKEY_CTX_free(c);
    if (!good) {
        return false;
    }
    if (len != MESSAGE_BYTES || memcmp(out, r->known->message, len) != 0) {
        r->wrong = "a wrong message";
    }
    return true;
}

static bool step_decrypt_oaep(struct fault_run *r)
{
    return decrypt_rsa(r, RSA_PKCS1_OAEP_PADDING, r->known->oaep,
                       r->known->oaep_len);
}

static bool step_decrypt_pkcs1(struct fault_run *r)
{
    bool done = decrypt_rsa(r, RSA_PKCS1_PADDING, r->known->pkcs1,
                            r->known->pkcs1_len);

    /* Padding that is wrong is not told, where OpenSSL does not either. */
    r->wrong = r->may_differ ? NULL : r->wrong;
    return done;
}

bool fault_generate(struct fault_run *r, const char *type, const char *name,
                    int number, char *text)
{
    struct fault_known *k = r->known;
    OSSL_PARAM params[3];
    EVP_PKEY_CTX *c =
        EVP_PKEY_CTX_new_from_name(r->ctx, type, "provider=pkcs11");
    unsigned char *der = NULL;
    const unsigned char *at;
    int len;

    r->n_attempts++;
    snprintf(r->made_uri, sizeof(r->made_uri), "%s;object=made-%u-%d",
             k->token_uri, r->n_attempts, (int)getpid());
    params[0] = number > 0 ? OSSL_PARAM_construct_int(name, &number)
                           : OSSL_PARAM_construct_utf8_string(name, text, 0);
    params[1] = OSSL_PARAM_construct_utf8_string("pkcs11_uri", r->made_uri, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (c == NULL || EVP_PKEY_keygen_init(c) != 1
        || EVP_PKEY_CTX_set_params(c, params) != 1
        || EVP_PKEY_generate(c, &r->key[KEY_MADE]) != 1) {
        r->key[KEY_MADE] = NULL;
    }
    EVP_PKEY_CTX_free(c);
    if (r->key[KEY_MADE] == NULL) {
        return false;
    }
    r->n_made++;
    ERR_set_mark(); /* what this says of a lie is no matter */
    len = i2d_PUBKEY(r->key[KEY_MADE], &der);
    at = der;
    k->public_key[KEY_MADE] = d2i_PUBKEY_ex(NULL, &at, len, k->judge, NULL);
    OPENSSL_free(der);
    ERR_pop_to_mark();
    if (k->public_key[KEY_MADE] == NULL && !r->may_differ) {
        r->wrong = "a key without a public half";
    }
    return true;
}

static bool step_generate(struct fault_run *r)
{
    char group[] = "P-256";

    return fault_generate(r, "EC", OSSL_PKEY_PARAM_GROUP_NAME, 0, group);
}

static bool step_sign_made(struct fault_run *r)
{
    return fault_sign(r, KEY_MADE);
}

/* A walk that ends early says so. */
static bool step_walk(struct fault_run *r)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(r->known->token_uri, r->ctx,
                                               NULL, NULL, NULL, NULL, NULL,
                                               NULL);
    int n[OSSL_STORE_INFO_CRL + 1] = { 0 };
    bool good = store != NULL;

    while (good && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL) {
            good = !OSSL_STORE_error(store);
            continue;
        }
        n[OSSL_STORE_INFO_get_type(info)]++;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    if (good && !r->may_miss
        && (n[OSSL_STORE_INFO_PKEY] < WALK_PRIVATE + (int)r->n_made
            || n[OSSL_STORE_INFO_PUBKEY] < WALK_PUBLIC + (int)r->n_made
            || n[OSSL_STORE_INFO_CERT] != WALK_CERT)) {
        r->wrong = "a walk that misses objects";
    }
    return good;
}

static bool step_free(struct fault_run *r)
{
    fault_free(r);
    return true;
}

/* ---- all of them ---- */

static const struct fault_step steps[] = {
    { "load RSA", step_load_rsa, N_KEYS, false, false },
    { "sign RSA", step_sign_rsa, KEY_RSA, false, false },
    { "load EC", step_load_ec, N_KEYS, false, false },
    { "sign EC", step_sign_ec, KEY_EC, false, false },
    { "derive", step_derive, KEY_EC, false, false },
    { "decrypt OAEP", step_decrypt_oaep, KEY_RSA, false, false },
    { "decrypt PKCS#1", step_decrypt_pkcs1, KEY_RSA, false, false },
    { "generate", step_generate, N_KEYS, true, false },
    { "sign made", step_sign_made, KEY_MADE, false, false },
    { "walk", step_walk, N_KEYS, false, false },
    { "decrypt again", step_decrypt_oaep, KEY_RSA, false, false },
    { "derive again", step_derive, KEY_EC, false, false },
    { "sign RSA again", step_sign_rsa, KEY_RSA, false, false },
    { "sign EC again", step_sign_ec, KEY_EC, false, false },
    { "free", step_free, N_KEYS, false, false },
};

const struct fault_scenario fault_use = {
    "use", steps, sizeof(steps) / sizeof(steps[0])
};

bool fault_know(struct fault_known *known)
{
    known->peer = EVP_PKEY_Q_keygen(known->judge, NULL, "EC", "P-256");
    known->secret_len = sizeof(known->secret);
    known->oaep_len = sizeof(known->oaep);
    known->pkcs1_len = sizeof(known->pkcs1);
    memset(known->message, 'm', sizeof(known->message));
    return known->peer != NULL
        && agree(known->judge, known->peer, known->public_key[KEY_EC],
                 known->secret, &known->secret_len)
        && encrypt_rsa(known, RSA_PKCS1_OAEP_PADDING, known->oaep,
                       &known->oaep_len)
        && encrypt_rsa(known, RSA_PKCS1_PADDING, known->pkcs1,
                       &known->pkcs1_len);
}

void fault_free(struct fault_run *r)
{
    for (int i = 0; i < N_KEYS; i++) {
        EVP_PKEY_free(r->key[i]);
        r->key[i] = NULL;
    }
}
