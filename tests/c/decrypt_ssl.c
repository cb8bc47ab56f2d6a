/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: decrypt_ssl URI FILE
 *
 * RSA decryption by a token's key, against the same key of the default
 * provider (FILE), where the command line has no words for it: TLS padding,
 * implicit rejection, buffers, parameters, copies. Prints TAP.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "tests/c/twins.h"

#define MAX 1024
#define PREMASTER 48
#define IMPLICIT "implicit-rejection"    /* no name for it before 3.2 */

struct octets {
    unsigned char p[MAX];
    size_t len;
};

static size_t key_bytes;

/* ---- encodings of our choice ---- */

/* Raw RSA with the public half, which has to be below the modulus. */
static bool seal(const struct twins *t, const struct octets *em,
                 struct octets *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, t->public, DEFAULT);
    bool good;

    out->len = sizeof(out->p);
    good = ctx != NULL && EVP_PKEY_encrypt_init(ctx) > 0
           && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) > 0
           && EVP_PKEY_encrypt(ctx, out->p, &out->len, em->p, em->len) > 0;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* 00 type 5a… 00 message */
static void encode(struct octets *em, int type, const void *message,
                   size_t len)
{
    em->len = key_bytes;
    memset(em->p, 0x5a, em->len);
    em->p[0] = 0;
    em->p[1] = (unsigned char)type;
    em->p[em->len - len - 1] = 0;
    memcpy(em->p + em->len - len, message, len);
}

static void sealed(const struct twins *t, int type, const void *message,
                   size_t len, struct octets *out)
{
    struct octets em;

    encode(&em, type, message, len);
    ok(seal(t, &em, out), "encrypted: type %d, %zu octets", type, len);
}

static EVP_PKEY_CTX *context(const struct twins *t, bool token, int padding)
{
    EVP_PKEY_CTX *ctx =
        token ? EVP_PKEY_CTX_new_from_pkey(NULL, t->token, NULL)
              : EVP_PKEY_CTX_new_from_pkey(t->libctx, t->software, NULL);

    if (ctx == NULL || EVP_PKEY_decrypt_init(ctx) <= 0
        || EVP_PKEY_CTX_set_rsa_padding(ctx, padding) <= 0) {
        ERR_print_errors_fp(stderr);
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int decrypt(EVP_PKEY_CTX *ctx, const struct octets *in,
                   struct octets *out)
{
    out->len = sizeof(out->p);
    memset(out->p, 'o', sizeof(out->p));
    return EVP_PKEY_decrypt(ctx, out->p, &out->len, in->p, in->len);
}

static int set_uint(EVP_PKEY_CTX *ctx, const char *name, unsigned int value)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(name, &value), OSSL_PARAM_construct_end()
    };

    return EVP_PKEY_CTX_set_params(ctx, params);
}

/* ---- TLS ---- */

static EVP_PKEY_CTX *tls_context(const struct twins *t, bool token)
{
    EVP_PKEY_CTX *ctx = context(t, token, RSA_PKCS1_WITH_TLS_PADDING);

    if (ctx != NULL
        && set_uint(ctx, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
                    0x0303) <= 0) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* Always 48 octets and no error: of the message, or random. */
static void tls_case(const struct twins *t, const char *what,
                     const struct octets *in, const unsigned char *want)
{
    struct octets out = { .len = 0 }, again = { .len = 0 };
    EVP_PKEY_CTX *ctx = tls_context(t, true);

    ok(ctx != NULL && decrypt(ctx, in, &out) == 1 && out.len == PREMASTER,
       "TLS, %s: 48 octets", what);
    ok(ctx != NULL && decrypt(ctx, in, &again) == 1 && again.len == PREMASTER
       && is_quiet(), "TLS, %s: again, and quietly", what);
    if (want != NULL) {
        is_bytes(out.p, out.len, want, PREMASTER, "TLS, %s: they are", what);
    } else {
        ok(memcmp(out.p, again.p, PREMASTER) != 0, "TLS, %s: random", what);
    }
    ok(out.p[PREMASTER] == 'o', "TLS, %s: and no more", what);
    EVP_PKEY_CTX_free(ctx);
}

static void tls(const struct twins *t)
{
    unsigned char secret[PREMASTER + 1] = { 3, 3, 'p', 'r', 'e', 0, 1, 2 };
    struct octets in, out;
    EVP_PKEY_CTX *ctx;

    sealed(t, 2, secret, PREMASTER, &in);
    tls_case(t, "as it should be", &in, secret);
    sealed(t, 1, secret, PREMASTER, &in);
    tls_case(t, "another type", &in, NULL);
    sealed(t, 2, secret, PREMASTER - 1, &in);
    tls_case(t, "47 octets", &in, NULL);
    sealed(t, 2, secret, PREMASTER + 1, &in);
    tls_case(t, "49 octets", &in, NULL);
    sealed(t, 2, secret, 0, &in);
    tls_case(t, "nothing", &in, NULL);
    secret[1] = 1;
    sealed(t, 2, secret, PREMASTER, &in);
    tls_case(t, "another version", &in, NULL);
    ctx = tls_context(t, true);
    ok(ctx != NULL
       && set_uint(ctx, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION,
                   0x0301) == 1
       && decrypt(ctx, &in, &out) == 1 && out.len == PREMASTER
       && memcmp(out.p, secret, PREMASTER) == 0,
       "TLS: the version that was agreed on is as good");
    out.len = 0;
    ok(EVP_PKEY_decrypt(ctx, NULL, &out.len, in.p, in.len) == 1
       && out.len == PREMASTER, "TLS: the size is 48");
    out.len = PREMASTER - 1;
    ok(EVP_PKEY_decrypt(ctx, out.p, &out.len, in.p, in.len) <= 0,
       "TLS: 47 octets of room are refused");
    EVP_PKEY_CTX_free(ctx);
    ctx = context(t, true, RSA_PKCS1_WITH_TLS_PADDING);
    ok(ctx != NULL && decrypt(ctx, &in, &out) <= 0,
       "TLS: refused without a version");
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

/* ---- implicit rejection ---- */

static bool child_agrees(EVP_PKEY_CTX *ctx, const struct octets *in,
                         const struct octets *want)
{
    struct octets out;
    int status = 1;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(decrypt(ctx, in, &out) == 1 && out.len == want->len
              && memcmp(out.p, want->p, out.len) == 0 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* A wrong padding that gives some octets: what has none, which is so once in
 * 246 times, cannot tell what it was made of. */
static void seal_rejected(const struct twins *t, const char *message,
                          struct octets *bad)
{
    EVP_PKEY_CTX *ctx = context(t, true, RSA_PKCS1_PADDING);
    struct octets out = { .len = 0 };
    size_t n = strlen(message);

    for (; n > 0 && out.len < 16; n--) {
        sealed(t, 1, message, n, bad);
        if (set_uint(ctx, IMPLICIT, 1) != 1 || decrypt(ctx, bad, &out) != 1) {
            break;
        }
    }
    ok(out.len >= 16, "which is rejected by %zu octets", out.len);
    EVP_PKEY_CTX_free(ctx);
}

static void rejection(const struct twins *t)
{
    struct octets bad, other, out, again, short_in;
    EVP_PKEY_CTX *ctx = context(t, true, RSA_PKCS1_PADDING);
    EVP_PKEY_CTX *soft = context(t, false, RSA_PKCS1_PADDING);
    size_t same = 0;

    seal_rejected(t, "a message", &bad);
    seal_rejected(t, "a massage", &other);
    ok(decrypt(ctx, &bad, &out) == decrypt(soft, &bad, &again),
       "wrong padding: as the default provider");
    ok(set_uint(ctx, IMPLICIT, 1) == 1
       && decrypt(ctx, &bad, &out) == 1 && out.len <= key_bytes - 11,
       "wrong padding is no error, if so wanted");
    ERR_clear_error();
    ok(decrypt(ctx, &bad, &again) == 1 && again.len == out.len
       && memcmp(again.p, out.p, out.len) == 0 && is_quiet(),
       "the same each time, and quietly");
    ok(child_agrees(ctx, &bad, &out), "and in a forked process");
    same = out.len;
    ok(decrypt(ctx, &other, &again) == 1
       && (again.len != same || memcmp(again.p, out.p, same) != 0),
       "another for another ciphertext");
    ok(set_uint(ctx, IMPLICIT, 0) == 1
       && decrypt(ctx, &bad, &out) <= 0 && out.p[0] == 'o',
       "or it is an error, which gives nothing out");
    ERR_clear_error();
    sealed(t, 2, "message", 7, &bad);
    ok(set_uint(ctx, IMPLICIT, 1) == 1
       && decrypt(ctx, &bad, &out) == 1 && out.len == 7
       && memcmp(out.p, "message", 7) == 0, "right padding is right");
    /* A short ciphertext is a small number. */
    memset(short_in.p, 0, sizeof(short_in.p));
    short_in.len = 1;
    short_in.p[0] = 1;
    ok(decrypt(ctx, &short_in, &out) == 1, "a short ciphertext is taken");
    EVP_PKEY_CTX_free(soft);
    EVP_PKEY_CTX_free(ctx);
}

/* ---- sizes ---- */

static void same_result(const struct twins *t, const char *what, int padding,
                        const struct octets *in, size_t room)
{
    unsigned char one[MAX], two[MAX];
    size_t n = room, m = room;
    EVP_PKEY_CTX *ours = context(t, true, padding);
    EVP_PKEY_CTX *theirs = context(t, false, padding);
    int got = EVP_PKEY_decrypt(ours, one, &n, in->p, in->len);
    int want = EVP_PKEY_decrypt(theirs, two, &m, in->p, in->len);

    ok((got > 0) == (want > 0), "%s: %d, as the default provider (%d)", what,
       got, want);
    if (got > 0) {
        is_bytes(one, n, two, m, "%s: the same octets", what);
    }
    n = m = 0;
    got = EVP_PKEY_decrypt(ours, NULL, &n, in->p, in->len);
    want = EVP_PKEY_decrypt(theirs, NULL, &m, in->p, in->len);
    ok(got == want && n == m, "%s: size", what);
    EVP_PKEY_CTX_free(theirs);
    EVP_PKEY_CTX_free(ours);
    ERR_clear_error();
}

static void sizes(const struct twins *t)
{
    struct octets em, in;

    sealed(t, 2, "message", 7, &in);
    same_result(t, "room enough", RSA_PKCS1_PADDING, &in, key_bytes);
    same_result(t, "an octet less", RSA_PKCS1_PADDING, &in, key_bytes - 1);
    same_result(t, "room for the message", RSA_PKCS1_PADDING, &in, 7);
    same_result(t, "none", RSA_NO_PADDING, &in, key_bytes);
    same_result(t, "none, in less room", RSA_NO_PADDING, &in, key_bytes - 1);
    in.len++;
    same_result(t, "too long", RSA_NO_PADDING, &in, key_bytes);
    /* Raw RSA of 0 … 0 1 is itself, and of a small number without its zeros
     * what it was with them. */
    memset(em.p, 0, sizeof(em.p));
    em.len = key_bytes;
    em.p[key_bytes - 1] = 1;
    same_result(t, "one", RSA_NO_PADDING, &em, key_bytes);
    em.p[0] = 2;
    em.len = 3;
    same_result(t, "a short number", RSA_NO_PADDING, &em, key_bytes);
    memset(em.p, 0xff, key_bytes);
    em.len = key_bytes;
    same_result(t, "above the modulus", RSA_NO_PADDING, &em, key_bytes);
}

/* ---- parameters ---- */

static void check_parameters(EVP_PKEY_CTX *ctx, const char *what)
{
    char md[64] = "", mgf1[64] = "";
    unsigned char *label = NULL;
    int pad = 0, n = EVP_PKEY_CTX_get0_rsa_oaep_label(ctx, &label);

    ok(EVP_PKEY_CTX_get_rsa_padding(ctx, &pad) > 0
       && pad == RSA_PKCS1_OAEP_PADDING, "%s: the padding", what);
    ok(EVP_PKEY_CTX_get_rsa_oaep_md_name(ctx, md, sizeof(md)) > 0, "%s: md",
       what);
    is_str(md, "SHA2-384", "%s: the digest", what);
    ok(EVP_PKEY_CTX_get_rsa_mgf1_md_name(ctx, mgf1, sizeof(mgf1)) > 0,
       "%s: mgf1", what);
    is_str(mgf1, "SHA1", "%s: the mask", what);
    ok(n == 5 && memcmp(label, "label", 5) == 0, "%s: the label", what);
}

static void parameters(const struct twins *t)
{
    char md[64] = "";
    EVP_PKEY_CTX *copy, *ctx = context(t, true, RSA_PKCS1_OAEP_PADDING);
    EVP_PKEY_CTX *e = EVP_PKEY_CTX_new_from_pkey(NULL, t->public, DEFAULT);
    struct octets in, out;

    ok(EVP_PKEY_CTX_get_rsa_oaep_md_name(ctx, md, sizeof(md)) > 0
       && strcmp(md, "SHA1") == 0, "OAEP: SHA1 unless another is set");
    in.len = sizeof(in.p);
    ok(EVP_PKEY_encrypt_init(e) > 0
       && EVP_PKEY_CTX_set_rsa_padding(e, RSA_PKCS1_OAEP_PADDING) > 0
       && EVP_PKEY_CTX_set_rsa_oaep_md_name(e, "SHA384", NULL) > 0
       && EVP_PKEY_CTX_set_rsa_mgf1_md_name(e, "SHA1", NULL) > 0
       && EVP_PKEY_CTX_set0_rsa_oaep_label(e, OPENSSL_strdup("label"), 5) > 0
       && EVP_PKEY_encrypt(e, in.p, &in.len, (const unsigned char *)"hi", 2)
          > 0, "OAEP with all parameters");
    ok(decrypt(ctx, &in, &out) <= 0 && out.p[0] == 'o',
       "OAEP: not with other parameters");
    ERR_clear_error();
    ok(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, "SHA384", NULL) > 0
       && EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, "SHA1", NULL) > 0
       && EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup("label"), 5)
          > 0, "OAEP: they are set");
    check_parameters(ctx, "OAEP");
    copy = EVP_PKEY_CTX_dup(ctx);
    ok(copy != NULL, "OAEP: a copy");
    EVP_PKEY_CTX_free(ctx);
    check_parameters(copy, "OAEP, copied");
    ok(decrypt(copy, &in, &out) == 1 && out.len == 2
       && memcmp(out.p, "hi", 2) == 0 && is_quiet(), "OAEP: the message");
    ok(EVP_PKEY_CTX_set_rsa_oaep_md_name(copy, "none such", NULL) <= 0,
       "OAEP: no such digest");
    ERR_clear_error();
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(e);
}

int main(int argc, char **argv)
{
    struct twins t;

    if (argc != 3 || !twins_load(&t, argv[1], argv[2])) {
        return 1;
    }
    key_bytes = (size_t)EVP_PKEY_get_size(t.software);
    is_str(owner_of(t.token), "pkcs11", "the key is the token's");
    tls(&t);
    rejection(&t);
    sizes(&t);
    parameters(&t);
    twins_free(&t);
    return tap_done();
}
