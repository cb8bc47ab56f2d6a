/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts many private keys into a token, in one process:
 *
 *     import_key MODULE TOKEN PIN <KEYS
 *
 * KEYS has a key a line: DER (PKCS#8, or the old form of RSA and EC) in base64.
 * For each a line comes back: the CKA_ID in hex, the kind of key, and its
 * SubjectPublicKeyInfo in base64; or "-" and why it is not in the token. A key
 * becomes a private and a public object, with the usage that its type has.
 * No private half of a key is printed.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tests/c/bare_token.h"

#define ATTRS_MAX 20
#define VALUE_BYTES 16384

struct filling {
    CK_ATTRIBUTE attr[ATTRS_MAX];
    CK_ULONG n;
    unsigned char bytes[VALUE_BYTES];
    size_t used;
};

struct token {
    struct bare_token bare;
    unsigned int count;         /* keys so far: the next CKA_ID */
};

struct number {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    bool private;
};

static const struct number rsa_numbers[] = {
    { CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N, false },
    { CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E, false },
    { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D, true },
    { CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1, true },
    { CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2, true },
    { CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1, true },
    { CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2, true },
    { CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, true }
};

static bool add(struct filling *t, CK_ATTRIBUTE_TYPE type, const void *p,
                size_t len)
{
    if (t->n == ATTRS_MAX || len > sizeof(t->bytes) - t->used) {
        return false;
    }
    memcpy(t->bytes + t->used, p, len);
    t->attr[t->n++] = (CK_ATTRIBUTE){ type, t->bytes + t->used, len };
    t->used += len;
    return true;
}

static bool add_bool(struct filling *t, CK_ATTRIBUTE_TYPE type, bool value)
{
    const CK_BBOOL byte = value ? CK_TRUE : CK_FALSE;

    return add(t, type, &byte, sizeof(byte));
}

static bool add_ulong(struct filling *t, CK_ATTRIBUTE_TYPE type,
                      CK_ULONG value)
{
    return add(t, type, &value, sizeof(value));
}

static bool add_number(struct filling *t, CK_ATTRIBUTE_TYPE type,
                       const EVP_PKEY *key, const char *name)
{
    unsigned char bytes[VALUE_BYTES];
    BIGNUM *n = NULL;
    bool good;

    if (!EVP_PKEY_get_bn_param(key, name, &n)) {
        return false;
    }
    good = BN_num_bytes(n) <= (int)sizeof(bytes)
        && add(t, type, bytes, (size_t)BN_bn2bin(n, bytes));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    BN_clear_free(n);
    return good;
}

static bool add_rsa(struct filling *t, const EVP_PKEY *key, bool private)
{
    for (size_t i = 0; i < sizeof(rsa_numbers) / sizeof(rsa_numbers[0]); i++) {
        const struct number *n = &rsa_numbers[i];

        if ((private || !n->private) && !add_number(t, n->type, key, n->name)) {
            return false;
        }
    }
    return add_bool(t, private ? CKA_DECRYPT : CKA_ENCRYPT, true)
        && add_bool(t, private ? CKA_SIGN : CKA_VERIFY, true);
}

/* [PKCS#11 2.40, 2.3.3] CKA_EC_POINT is an OCTET STRING in DER. */
static bool add_point(struct filling *t, EVP_PKEY *key)
{
    unsigned char raw[512];
    size_t len = 0;
    ASN1_OCTET_STRING *string = ASN1_OCTET_STRING_new();
    unsigned char *der = NULL;
    int der_len = 0;
    bool good;

    good = string != NULL
        && EVP_PKEY_set_utf8_string_param(
               key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
               OSSL_PKEY_EC_POINT_CONVERSION_FORMAT_UNCOMPRESSED)
        && EVP_PKEY_get_octet_string_param(
               key, OSSL_PKEY_PARAM_PUB_KEY, raw, sizeof(raw), &len)
        && ASN1_OCTET_STRING_set(string, raw, (int)len)
        && (der_len = i2d_ASN1_OCTET_STRING(string, &der)) > 0
        && add(t, CKA_EC_POINT, der, (size_t)der_len);
    OPENSSL_free(der);
    ASN1_OCTET_STRING_free(string);
    return good;
}

static bool add_ec(struct filling *t, EVP_PKEY *key, bool private)
{
    unsigned char *der = NULL;
    const int len = i2d_KeyParams(key, &der);
    const bool good = len > 0 && add(t, CKA_EC_PARAMS, der, (size_t)len);

    OPENSSL_free(der);
    if (!good) {
        return false;
    }
    if (!private) {
        return add_point(t, key) && add_bool(t, CKA_VERIFY, true);
    }
    return add_number(t, CKA_VALUE, key, OSSL_PKEY_PARAM_PRIV_KEY)
        && add_bool(t, CKA_SIGN, true) && add_bool(t, CKA_DERIVE, true);
}

static bool is_rsa(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS");
}

static bool fill(struct filling *t, EVP_PKEY *key, const unsigned char id[2],
                 bool private)
{
    const bool rsa = is_rsa(key);

    memset(t, 0, sizeof(*t));
    return add_ulong(t, CKA_CLASS, private ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY)
        && add_ulong(t, CKA_KEY_TYPE, rsa ? CKK_RSA : CKK_EC)
        && add(t, CKA_ID, id, 2) && add_bool(t, CKA_TOKEN, true)
        && add_bool(t, CKA_PRIVATE, private)
        && (rsa ? add_rsa(t, key, private) : add_ec(t, key, private));
}

/* NULL, or what went wrong. */
static const char *create(struct token *tok, EVP_PKEY *key,
                          const unsigned char id[2])
{
    static const bool halves[] = { true, false };
    const char *wrong = NULL;

    for (size_t i = 0; i < 2 && wrong == NULL; i++) {
        struct filling t;
        CK_OBJECT_HANDLE object;

        if (!fill(&t, key, id, halves[i])) {
            wrong = "odd";
        } else if (tok->bare.f->C_CreateObject(tok->bare.session, t.attr, t.n,
                                               &object) != CKR_OK) {
            wrong = "refused by the token";
        }
        OPENSSL_cleanse(&t, sizeof(t));
    }
    return wrong;
}

/* "RSA 2048", "EC prime256v1", "X25519". False: a key that is no business of
 * ours, not of RSA, or not on a named curve. */
static bool name_kind(const EVP_PKEY *key, char *out, size_t size)
{
    const char *type = EVP_PKEY_get0_type_name(key);
    char group[80];

    if (is_rsa(key)) {
        (void)snprintf(out, size, "%s %d", type, EVP_PKEY_get_bits(key));
    } else if (!EVP_PKEY_is_a(key, "EC")) {
        (void)snprintf(out, size, "%s", type);
    } else if (EVP_PKEY_get_utf8_string_param(
                   key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                   NULL)) {
        (void)snprintf(out, size, "EC %s", group);
    } else {
        (void)snprintf(out, size, "EC on a curve without a name");
        return false;
    }
    return is_rsa(key) || EVP_PKEY_is_a(key, "EC");
}

/* The public half as the file has it, which says how its point is written. */
static char *public_text(const EVP_PKEY *key)
{
    unsigned char *der = NULL;
    const int len = i2d_PUBKEY(key, &der);
    char *text = NULL;

    if (len > 0) {
        text = OPENSSL_malloc(4 * (((size_t)len + 2) / 3) + 1);
    }
    if (text != NULL) {
        (void)EVP_EncodeBlock((unsigned char *)text, der, len);
    }
    OPENSSL_free(der);
    return text;
}

static void move(struct token *tok, EVP_PKEY *key)
{
    const unsigned char id[2] = { (unsigned char)(tok->count >> 8),
                                  (unsigned char)tok->count };
    char *text = public_text(key);
    const char *wrong = "not for this token";
    char kind[100];
    const bool ours = name_kind(key, kind, sizeof(kind));

    tok->count++;
    if (text == NULL) {
        wrong = "without a public half";
    } else if (ours) {
        wrong = create(tok, key, id);
    }
    if (wrong != NULL) {
        printf("-\t%s, %s\n", kind, wrong);
    } else {
        printf("%02x%02x\t%s\t%s\n", id[0], id[1], kind, text);
    }
    OPENSSL_free(text);
}

/* A line's key, or NULL. The line is overwritten. */
static EVP_PKEY *read_key(char *line)
{
    const size_t len = strcspn(line, "\r\n");
    unsigned char *der = OPENSSL_zalloc(len + 1);
    const unsigned char *p = der;
    EVP_PKEY *key = NULL;
    int n;

    line[len] = '\0';
    n = der == NULL ? -1
        : EVP_DecodeBlock(der, (const unsigned char *)line, (int)len);
    if (n > 0) {
        key = d2i_AutoPrivateKey(NULL, &p, n);
    }
    OPENSSL_clear_free(der, len + 1);
    OPENSSL_cleanse(line, len);
    return key;
}

int main(int argc, char *argv[])
{
    struct token tok = { .count = 1 };
    char *line = NULL;
    size_t size = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: import_key MODULE TOKEN PIN <KEYS\n");
        return 2;
    }
    if (!bare_open(&tok.bare, argv + 1, CKF_RW_SESSION)) {
        return 1;
    }
    while (getline(&line, &size, stdin) > 0) {
        EVP_PKEY *key = read_key(line);

        if (key == NULL) {
            printf("-\tunreadable\n");
            continue;
        }
        move(&tok, key);
        EVP_PKEY_free(key);
    }
    free(line);
    (void)tok.bare.f->C_Finalize(NULL);
    return 0;
}
