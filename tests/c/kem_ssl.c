/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: kem_ssl all|once|refused|denied|blocked URI FILE
 *
 * RSA key encapsulation with a token's key, against the same key of the default
 * provider (FILE). Refused: the token has no raw RSA; denied: the key must not
 * do this; blocked: the provider does not offer it. Prints TAP, and how often
 * the token decapsulated.
 */
#include <dlfcn.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "tests/c/twins.h"

#define MAX 1024
#define KIND OSSL_KEM_PARAM_OPERATION_RSASVE
#define OURS "provider=pkcs11"

struct octets {
    unsigned char p[MAX];
    size_t len;
};

static size_t key_bytes;
static unsigned int by_token;   /* decapsulations */

typedef int init_fn(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]);

/* kind: NULL leaves it out. */
static EVP_PKEY_CTX *context(OSSL_LIB_CTX *libctx, EVP_PKEY *key,
                             const char *query, init_fn *init,
                             const char *kind)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, query);

    if (ctx == NULL || init(ctx, NULL) <= 0
        || (kind != NULL && EVP_PKEY_CTX_set_kem_op(ctx, kind) <= 0)) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static EVP_PKEY_CTX *token_context(const struct twins *t, const char *kind)
{
    return context(NULL, t->token, NULL, EVP_PKEY_decapsulate_init, kind);
}

static bool encapsulate(EVP_PKEY_CTX *ctx, struct octets *out,
                        struct octets *secret)
{
    out->len = sizeof(out->p);
    secret->len = sizeof(secret->p);
    return ctx != NULL
           && EVP_PKEY_encapsulate(ctx, out->p, &out->len, secret->p,
                                   &secret->len) > 0;
}

static int decapsulate(EVP_PKEY_CTX *ctx, const struct octets *in,
                       struct octets *secret)
{
    secret->len = sizeof(secret->p);
    memset(secret->p, 'o', sizeof(secret->p));
    return ctx == NULL ? 0
        : EVP_PKEY_decapsulate(ctx, secret->p, &secret->len, in->p, in->len);
}

/* By the default provider, with the public key. */
static bool sealed(const struct twins *t, struct octets *out,
                   struct octets *secret)
{
    EVP_PKEY_CTX *ctx = context(NULL, t->public, DEFAULT,
                                EVP_PKEY_encapsulate_init, KIND);
    bool good = encapsulate(ctx, out, secret);

    EVP_PKEY_CTX_free(ctx);
    return ok(good && out->len == key_bytes && secret->len == key_bytes,
              "the default provider encapsulates");
}

static bool is_ours(const EVP_PKEY_CTX *ctx)
{
    const OSSL_PROVIDER *p = ctx != NULL ? EVP_PKEY_CTX_get0_provider(ctx)
                                         : NULL;

    return p != NULL && strcmp(OSSL_PROVIDER_get0_name(p), "pkcs11") == 0;
}

static void token_gives(EVP_PKEY_CTX *ctx, const struct octets *in,
                        const struct octets *want, const char *what)
{
    struct octets got;
    int result = decapsulate(ctx, in, &got);

    by_token += result > 0 ? 1 : 0;
    ok(result == 1 && is_quiet(), "%s: decapsulated", what);
    is_bytes(got.p, got.len, want->p, want->len, "%s: the secret", what);
    ok(got.p[key_bytes] == 'o', "%s: and no more", what);
}

static void token_refuses(EVP_PKEY_CTX *ctx, const struct octets *in,
                          size_t room, const char *what)
{
    struct octets got = { .len = room };
    int result;

    memset(got.p, 'o', sizeof(got.p));
    result = EVP_PKEY_decapsulate(ctx, got.p, &got.len, in->p, in->len);
    ok(result <= 0 && ERR_peek_error() != 0, "%s: refused, with an error",
       what);
    ok(got.p[0] == 'o' && got.len == room, "%s: nothing is given", what);
    ERR_clear_error();
}

/* ---- both ways ---- */

static void token_decapsulates(const struct twins *t)
{
    struct octets in, secret;
    EVP_PKEY_CTX *copy, *ctx = token_context(t, KIND);
    size_t n = 0;

    if (!sealed(t, &in, &secret)
        || !ok(is_ours(ctx), "the token's key decapsulates by us")) {
        EVP_PKEY_CTX_free(ctx);
        return;
    }
    ok(EVP_PKEY_decapsulate(ctx, NULL, &n, in.p, in.len) == 1
       && n == key_bytes, "the size of the secret");
    token_gives(ctx, &in, &secret, "token");
    token_gives(ctx, &in, &secret, "token, again");
    copy = EVP_PKEY_CTX_dup(ctx);
    EVP_PKEY_CTX_free(ctx);
    ok(is_ours(copy), "a copy");
    token_gives(copy, &in, &secret, "copy");
    /* 0 … 0 1 is its own encapsulation: zeros in front stay. */
    memset(in.p, 0, sizeof(in.p));
    in.p[key_bytes - 1] = 1;
    token_gives(copy, &in, &in, "one");
    EVP_PKEY_CTX_free(copy);
}

/* With our algorithm, the key of the token or one in software. */
static void ours_encapsulates(const struct twins *t, EVP_PKEY *key,
                              const char *what)
{
    struct octets in = { .len = 0 }, secret = in, got = in;
    EVP_PKEY_CTX *ours = context(NULL, key, OURS, EVP_PKEY_encapsulate_init,
                                 KIND);
    EVP_PKEY_CTX *theirs = context(t->libctx, t->software, NULL,
                                   EVP_PKEY_decapsulate_init, KIND);
    size_t n = 0, m = 0;

    ok(is_ours(ours) && theirs != NULL, "%s: encapsulates by us", what);
    ok(EVP_PKEY_encapsulate(ours, NULL, &n, NULL, &m) == 1 && n == key_bytes
       && m == key_bytes, "%s: sizes", what);
    ok(encapsulate(ours, &in, &secret) && in.len == key_bytes
       && secret.len == key_bytes && is_quiet(), "%s: encapsulated", what);
    ok(decapsulate(theirs, &in, &got) == 1, "%s: decapsulated in software",
       what);
    is_bytes(got.p, got.len, secret.p, secret.len, "%s: the secret", what);
    ok(encapsulate(ours, &in, &got) && memcmp(got.p, secret.p, got.len) != 0,
       "%s: another secret each time", what);
    EVP_PKEY_CTX_free(theirs);
    EVP_PKEY_CTX_free(ours);
}

/* A key that is on no token, by our algorithm. */
static void software(const struct twins *t, EVP_PKEY *key)
{
    struct octets in = { .len = 0 }, secret = in, got = in;
    EVP_PKEY_CTX *ctx = context(NULL, key, OURS, EVP_PKEY_decapsulate_init,
                                KIND);

    ok(is_ours(ctx) && sealed(t, &in, &secret)
       && decapsulate(ctx, &in, &got) == 1, "software: decapsulated by us");
    is_bytes(got.p, got.len, secret.p, secret.len, "software: the secret");
    in.len--;
    ok(decapsulate(ctx, &in, &got) <= 0, "software: too short is refused");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

/* ---- refusals ---- */

static void refusals(const struct twins *t)
{
    struct octets in, secret;
    EVP_PKEY_CTX *ctx = token_context(t, KIND);

    if (!sealed(t, &in, &secret) || !ok(is_ours(ctx), "refusals: by us")) {
        EVP_PKEY_CTX_free(ctx);
        return;
    }
    token_refuses(ctx, &in, key_bytes - 1, "an octet too little of room");
    token_refuses(ctx, &in, 0, "no room");
    in.len--;
    token_refuses(ctx, &in, key_bytes, "short");
    in.len += 2;
    in.p[key_bytes] = 0;
    token_refuses(ctx, &in, sizeof(secret.p), "long");
    in.len = key_bytes;
    memset(in.p, 0xff, key_bytes);
    token_refuses(ctx, &in, key_bytes, "above the modulus");
    ok(EVP_PKEY_CTX_set_kem_op(ctx, "no-such-kind") <= 0,
       "another kind: refused");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

/* The modulus itself, and the greatest number below it. */
static void about_the_modulus(const struct twins *t)
{
    struct octets in = { .len = key_bytes };
    EVP_PKEY_CTX *ctx = token_context(t, KIND);
    BIGNUM *n = NULL;

    ok(EVP_PKEY_get_bn_param(t->public, OSSL_PKEY_PARAM_RSA_N, &n) > 0
       && BN_bn2binpad(n, in.p, (int)key_bytes) == (int)key_bytes
       && is_ours(ctx), "the modulus");
    token_refuses(ctx, &in, key_bytes, "the modulus");
    in.p[key_bytes - 1]--;      /* it is odd; -1 is its own encapsulation */
    token_gives(ctx, &in, &in, "the modulus less one");
    BN_free(n);
    EVP_PKEY_CTX_free(ctx);
}

/* An error of OpenSSL 3.0, the default of later ones: as there. */
static void without_kind(const struct twins *t)
{
    struct octets in = { .len = 0 }, secret = in, got = in;
    EVP_PKEY_CTX *ours = token_context(t, NULL);
    EVP_PKEY_CTX *theirs = context(t->libctx, t->software, NULL,
                                   EVP_PKEY_decapsulate_init, NULL);
    size_t n = 0, m = 0;
    int got_size, want_size;

    ok(ours != NULL && theirs != NULL && sealed(t, &in, &secret), "no kind");
    got_size = EVP_PKEY_decapsulate(ours, NULL, &n, in.p, in.len);
    want_size = EVP_PKEY_decapsulate(theirs, NULL, &m, in.p, in.len);
    ok(got_size == want_size && n == m, "no kind: %d, as the default provider",
       got_size);
    ERR_clear_error();
    if (want_size > 0) {
        token_gives(ours, &in, &secret, "no kind");
    } else {
        token_refuses(ours, &in, key_bytes, "no kind");
    }
    ok(EVP_PKEY_CTX_set_kem_op(ours, KIND) > 0, "no kind: set later");
    token_gives(ours, &in, &secret, "no kind, set later");
    EVP_PKEY_CTX_free(theirs);
    EVP_PKEY_CTX_free(ours);
    theirs = context(t->libctx, t->public, NULL, EVP_PKEY_encapsulate_init,
                     NULL);
    ours = context(NULL, t->token, OURS, EVP_PKEY_encapsulate_init, NULL);
    ok(is_ours(ours)
       && encapsulate(ours, &in, &got) == encapsulate(theirs, &in, &got),
       "no kind: encapsulating as the default provider");
    EVP_PKEY_CTX_free(theirs);
    EVP_PKEY_CTX_free(ours);
    ERR_clear_error();
}

/* What the operation can be told; before one there is a list, too. */
static void parameters(const struct twins *t)
{
    EVP_KEM *kem = EVP_KEM_fetch(NULL, "RSA", OURS);
    EVP_PKEY_CTX *ctx = token_context(t, NULL);
    char kind[] = "RSASVE", wrong[] = "RSA";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KEM_PARAM_OPERATION, kind, 0),
        OSSL_PARAM_construct_end()
    };

    ok(kem != NULL
       && OSSL_PARAM_locate_const(EVP_KEM_settable_ctx_params(kem),
                                  OSSL_KEM_PARAM_OPERATION) != NULL,
       "the algorithm's list");
    ok(ctx != NULL
       && OSSL_PARAM_locate_const(EVP_PKEY_CTX_settable_params(ctx),
                                  OSSL_KEM_PARAM_OPERATION) != NULL,
       "the operation's list");
    ok(EVP_PKEY_decapsulate_init(ctx, params) == 1 && is_quiet(),
       "with the kind from the beginning");
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KEM_PARAM_OPERATION,
                                                 wrong, 0);
    ok(EVP_PKEY_decapsulate_init(ctx, params) <= 0,
       "not with another kind from the beginning");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_KEM_free(kem);
}

typedef int auth_init_fn(EVP_PKEY_CTX *ctx, EVP_PKEY *auth,
                         const OSSL_PARAM params[]);

/* The sender is authenticated by no kind that RSA has: libcrypto from 3.2 on
 * asks, and is answered as by the default provider. */
static void with_sender(const struct twins *t)
{
    auth_init_fn *init = NULL;
    EVP_PKEY_CTX *ours, *theirs;
    int result;

    *(void **)&init = dlsym(RTLD_DEFAULT, "EVP_PKEY_auth_decapsulate_init");
    if (init == NULL) {
        printf("# this libcrypto knows of no senders\n");
        return;
    }
    ours = EVP_PKEY_CTX_new_from_pkey(NULL, t->token, NULL);
    theirs = EVP_PKEY_CTX_new_from_pkey(t->libctx, t->software, NULL);
    result = init(ours, t->public, NULL);
    ok(result <= 0 && ERR_peek_error() != 0
       && result == init(theirs, t->software, NULL),
       "with a sender: %d, as the default provider", result);
    ERR_clear_error();
    EVP_PKEY_CTX_free(theirs);
    EVP_PKEY_CTX_free(ours);
}

static void all(const struct twins *t, const char *file)
{
    EVP_PKEY *plain = key_of_file(file, NULL);

    token_decapsulates(t);
    ours_encapsulates(t, t->token, "the token's key");
    ours_encapsulates(t, plain, "a key in software");
    software(t, plain);
    refusals(t);
    about_the_modulus(t);
    without_kind(t);
    parameters(t);
    with_sender(t);
    EVP_PKEY_free(plain);
}

/* With a key that is in the token only, as long as FILE's. */
static void once(const struct twins *t)
{
    struct octets in, secret;
    struct twins single = { .public = public_half(t->token) };
    EVP_PKEY_CTX *ctx = token_context(t, KIND);

    if (ok(is_ours(ctx), "once: by us") && sealed(&single, &in, &secret)) {
        token_gives(ctx, &in, &secret, "once");
    }
    EVP_PKEY_free(single.public);
    EVP_PKEY_CTX_free(ctx);
}

/* The error goes to standard error, where the recipe reads it. */
static void refused(const struct twins *t)
{
    struct octets in = { .len = 0 }, secret = in, got = in;
    EVP_PKEY_CTX *ctx = token_context(t, KIND);

    ok(is_ours(ctx) && sealed(t, &in, &secret)
       && decapsulate(ctx, &in, &got) <= 0 && got.p[0] == 'o',
       "no raw RSA: refused");
    ok(!is_quiet(), "no raw RSA: and said why");
    EVP_PKEY_CTX_free(ctx);
}

static void denied(const struct twins *t)
{
    EVP_PKEY_CTX *ctx = token_context(t, NULL);

    ok(ctx == NULL, "denied: from the beginning");
    ok(!is_quiet(), "denied: and said why");
    EVP_PKEY_CTX_free(ctx);
}

static void blocked(const struct twins *t)
{
    EVP_KEM *kem = EVP_KEM_fetch(NULL, "RSA", OURS);
    EVP_PKEY_CTX *ctx = token_context(t, KIND);

    ok(kem == NULL && ctx == NULL, "blocked: not offered");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_KEM_free(kem);
}

static const struct {
    const char *name;
    void (*run)(const struct twins *t);
} modes[] = {
    { "once", once },
    { "refused", refused },
    { "denied", denied },
    { "blocked", blocked }
};

int main(int argc, char **argv)
{
    struct twins t;
    size_t i;

    if (argc != 4 || !twins_load(&t, argv[2], argv[3])) {
        return 1;
    }
    key_bytes = (size_t)EVP_PKEY_get_size(t.software);
    is_str(owner_of(t.token), "pkcs11", "the key is the token's");
    if (strcmp(argv[1], "all") == 0) {
        all(&t, argv[3]);
    }
    for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run(&t);
        }
    }
    twins_free(&t);
    printf("# by the token: %u\n", by_token);
    return tap_done();
}
