/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: contexts_ssl URI FILE
 *
 * Contexts of a token's key behave as the default provider's: every row of
 * calls below is made with the key by its URI and with the same key from FILE,
 * and has the same answers, one by one: success or failure, lengths, and what a
 * signature signs. Ours leave no error when they succeed, and raise one where
 * the default provider's do. Prints TAP.
 */
#include <stdlib.h>

#include <openssl/params.h>
#include <openssl/rsa.h>

#include "tests/c/contexts_rows.h"
#include "tests/c/twins.h"

#define SIG_MAX   1024
#define TRACE_MAX 1200

/* What the calls of a row work on. */
struct state {
    const struct twins *t;
    EVP_PKEY *key;              /* of one of the twins */
    OSSL_LIB_CTX *libctx;       /* its */
    EVP_MD_CTX *md, *md2;
    EVP_PKEY_CTX *ctx, *ctx2;
    unsigned char sig[SIG_MAX];
    size_t sig_len;
    char trace[TRACE_MAX];      /* the answers */
    char silent[TRACE_MAX];     /* the failures without an error */
    size_t calls;
};

static const unsigned char piece[] = { 'p', 'i', 'e', 'c', 'e' };
static const unsigned char hash[64] = { 0x5a, 0xa5, 1, 2, 3 };

static void say(struct state *s, const char *what)
{
    size_t n = strlen(s->trace);

    snprintf(s->trace + n, sizeof(s->trace) - n, "%s ", what);
}

static bool say_ok(struct state *s, int result)
{
    bool good = result > 0, told = ERR_peek_error() != 0;

    say(s, good ? "yes" : "no");
    if (good && told && s->key == s->t->token) {
        ERR_print_errors_fp(stderr);
        say(s, "(with errors)");
    }
    ERR_clear_error();
    s->silent[s->calls++] = good || told ? '.' : 's';
    return good;
}

static void say_size(struct state *s, int result, size_t n)
{
    char text[32];

    if (say_ok(s, result)) {
        snprintf(text, sizeof(text), "%zu", n);
        say(s, text);
    }
}

/* ---- what a signature signs ---- */

static bool verifies_pieces(const struct state *s, const char *md, int padding,
                            int n)
{
    EVP_MD_CTX *v = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool good = v != NULL
                && EVP_DigestVerifyInit_ex(v, &pctx, md, NULL, DEFAULT,
                                           s->t->public, NULL) > 0
                && (padding == 0
                    || EVP_PKEY_CTX_set_rsa_padding(pctx, padding) > 0);

    while (good && n-- > 0) {
        good = EVP_DigestVerifyUpdate(v, piece, sizeof(piece)) > 0;
    }
    good = good && EVP_DigestVerifyFinal(v, s->sig, s->sig_len) > 0;
    EVP_MD_CTX_free(v);
    return good;
}

static bool verifies_hash(const struct state *s, const char *md, int padding,
                          size_t n)
{
    EVP_PKEY_CTX *v = EVP_PKEY_CTX_new_from_pkey(NULL, s->t->public, DEFAULT);
    bool good = v != NULL && EVP_PKEY_verify_init(v) > 0
                && (padding == 0
                    || EVP_PKEY_CTX_set_rsa_padding(v, padding) > 0)
                && (md == NULL || EVP_PKEY_CTX_set_signature_md(
                        v, EVP_get_digestbyname(md)) > 0)
                && EVP_PKEY_verify(v, s->sig, s->sig_len, hash, n) > 0;

    EVP_PKEY_CTX_free(v);
    return good;
}

/* What is signed with this padding and digest, if it is: "SHA256/1:2" is two
 * pieces, "hash32/SHA256/1" a hash of 32 octets. */
static void look(const struct state *s, int padding, const char *md,
                 char text[64])
{
    static const size_t lengths[] = { 32, 64, 20 };
    const char *hash_md = padding != 0 ? md : NULL;
    size_t i;
    int n;

    for (n = 0; n < 6 && md != NULL; n++) {
        if (verifies_pieces(s, md, padding, n)) {
            snprintf(text, 64, "%s/%d:%d", md, padding, n);
        }
    }
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        if (verifies_hash(s, hash_md, padding, lengths[i])) {
            snprintf(text, 64, "hash%zu/%s/%d", lengths[i],
                     hash_md != NULL ? hash_md : "-", padding);
        }
    }
}

static void say_signed(struct state *s)
{
    static const char *const digests[] = { "SHA1", "SHA256", "SHA512", NULL };
    bool rsa = !EVP_PKEY_is_a(s->t->public, "EC");
    char text[64] = "signs-nothing-known";
    size_t i;

    for (i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        look(s, rsa ? RSA_PKCS1_PADDING : 0, digests[i], text);
        if (rsa) {
            look(s, RSA_PKCS1_PSS_PADDING, digests[i], text);
        }
    }
    ERR_clear_error();
    say(s, text);
}

/* ---- the calls ---- */

static void md_init(struct state *s, const char *md)
{
    say_ok(s, EVP_DigestSignInit_ex(s->md, NULL, md, s->libctx, NULL, s->key,
                                    NULL));
}

static void md_again(struct state *s, const char *md)
{
    say_ok(s, EVP_DigestSignInit_ex(s->md, NULL, md, s->libctx, NULL, NULL,
                                    NULL));
}

static void md_verify_init(struct state *s, const char *md)
{
    say_ok(s, EVP_DigestVerifyInit_ex(s->md, NULL, md, s->libctx, NULL, s->key,
                                      NULL));
}

static void md_verify_again(struct state *s, const char *md)
{
    say_ok(s, EVP_DigestVerifyInit_ex(s->md, NULL, md, s->libctx, NULL, NULL,
                                      NULL));
}

static void md_update(struct state *s, const char *arg)
{
    (void)arg;
    say_ok(s, EVP_DigestSignUpdate(s->md, piece, sizeof(piece)));
}

static void md_verify_update(struct state *s, const char *arg)
{
    (void)arg;
    say_ok(s, EVP_DigestVerifyUpdate(s->md, piece, sizeof(piece)));
}

static void md_size(struct state *s, const char *arg)
{
    size_t n = 0;
    int result = EVP_DigestSignFinal(s->md, NULL, &n);

    (void)arg;
    say_size(s, result, n);
}

static void md_final(struct state *s, const char *arg)
{
    (void)arg;
    s->sig_len = sizeof(s->sig);
    if (say_ok(s, EVP_DigestSignFinal(s->md, s->sig, &s->sig_len))) {
        say_signed(s);
    }
}

/* A buffer that is one octet short, and what is behind it. */
static void md_short(struct state *s, const char *arg)
{
    size_t n = (size_t)EVP_PKEY_get_size(s->key) - 1;

    (void)arg;
    memset(s->sig, 0xee, sizeof(s->sig));
    say_ok(s, EVP_DigestSignFinal(s->md, s->sig, &n));
    if (s->sig[EVP_PKEY_get_size(s->key) - 1] != 0xee) {
        say(s, "overrun");
    }
}

static void md_once(struct state *s, const char *arg)
{
    (void)arg;
    s->sig_len = sizeof(s->sig);
    if (say_ok(s, EVP_DigestSign(s->md, s->sig, &s->sig_len, piece,
                                 sizeof(piece)))) {
        say_signed(s);
    }
}

static void md_once_size(struct state *s, const char *arg)
{
    size_t n = 0;
    int result = EVP_DigestSign(s->md, NULL, &n, piece, sizeof(piece));

    (void)arg;
    say_size(s, result, n);
}

static void md_verify(struct state *s, const char *arg)
{
    (void)arg;
    say_ok(s, EVP_DigestVerifyFinal(s->md, s->sig, s->sig_len));
}

/* The next calls use the copy. */
static void md_copy(struct state *s, const char *arg)
{
    EVP_MD_CTX *original = s->md;

    (void)arg;
    EVP_MD_CTX_free(s->md2);
    s->md = EVP_MD_CTX_new();
    s->md2 = original;
    say_ok(s, EVP_MD_CTX_copy_ex(s->md, original));
}

static void md_swap(struct state *s, const char *arg)
{
    EVP_MD_CTX *other = s->md2;

    (void)arg;
    s->md2 = s->md;
    s->md = other;
}

static void md_drop(struct state *s, const char *arg)
{
    (void)arg;
    EVP_MD_CTX_free(s->md2);
    s->md2 = NULL;
}

static void md_padding(struct state *s, const char *mode)
{
    EVP_PKEY_CTX *pctx = EVP_MD_CTX_get_pkey_ctx(s->md);

    say_ok(s, pctx != NULL
              && EVP_PKEY_CTX_ctrl_str(pctx, "rsa_padding_mode", mode) > 0);
}

/* The AlgorithmIdentifier that X.509 writes. */
static void say_id(struct state *s, EVP_PKEY_CTX *ctx)
{
    unsigned char der[256];
    char text[2 * sizeof(der) + 1] = "";
    OSSL_PARAM ask[] = {
        OSSL_PARAM_octet_string("algorithm-id", der, sizeof(der)),
        OSSL_PARAM_END
    };
    size_t i;

    if (say_ok(s, ctx != NULL && EVP_PKEY_CTX_get_params(ctx, ask) > 0)) {
        for (i = 0; i < ask[0].return_size && i < sizeof(der); i++) {
            snprintf(text + 2 * i, 3, "%02x", der[i]);
        }
        say(s, text);
    }
}

static void md_id(struct state *s, const char *arg)
{
    (void)arg;
    say_id(s, EVP_MD_CTX_get_pkey_ctx(s->md));
}

typedef int init_fn(EVP_PKEY_CTX *);

static void start(struct state *s, init_fn *init)
{
    if (s->ctx == NULL) {
        s->ctx = EVP_PKEY_CTX_new_from_pkey(s->libctx, s->key, NULL);
    }
    say_ok(s, init(s->ctx));
}

static void sign_init(struct state *s, const char *arg)
{
    (void)arg;
    start(s, EVP_PKEY_sign_init);
}

static void verify_init(struct state *s, const char *arg)
{
    (void)arg;
    start(s, EVP_PKEY_verify_init);
}

static void recover_init(struct state *s, const char *arg)
{
    (void)arg;
    start(s, EVP_PKEY_verify_recover_init);
}

/* "name:value" as the command line gives it. */
static void set(struct state *s, const char *arg)
{
    char name[64];
    size_t n = strcspn(arg, "=");

    snprintf(name, sizeof(name), "%.*s", (int)n, arg);
    say_ok(s, EVP_PKEY_CTX_ctrl_str(s->ctx, name, arg + n + 1));
}

static void sign_size(struct state *s, const char *arg)
{
    size_t n = 0;
    int result = EVP_PKEY_sign(s->ctx, NULL, &n, hash, 32);

    (void)arg;
    say_size(s, result, n);
}

static void sign(struct state *s, const char *arg)
{
    size_t n = (size_t)strtoul(arg, NULL, 10);

    s->sig_len = sizeof(s->sig);
    if (say_ok(s, EVP_PKEY_sign(s->ctx, s->sig, &s->sig_len, hash, n))) {
        say_signed(s);
    }
}

static void sign_short(struct state *s, const char *arg)
{
    size_t n = (size_t)EVP_PKEY_get_size(s->key) - 1;

    (void)arg;
    say_ok(s, EVP_PKEY_sign(s->ctx, s->sig, &n, hash, 32));
}

static void verify(struct state *s, const char *arg)
{
    say_ok(s, EVP_PKEY_verify(s->ctx, s->sig, s->sig_len, hash,
                              (size_t)strtoul(arg, NULL, 10)));
}

static void recover(struct state *s, const char *arg)
{
    unsigned char out[SIG_MAX];
    size_t n = sizeof(out);
    int result = EVP_PKEY_verify_recover(s->ctx, out, &n, s->sig, s->sig_len);

    (void)arg;
    say_size(s, result, n);
}

static void copy(struct state *s, const char *arg)
{
    EVP_PKEY_CTX *original = s->ctx;

    (void)arg;
    EVP_PKEY_CTX_free(s->ctx2);
    s->ctx = EVP_PKEY_CTX_dup(original);
    s->ctx2 = original;
    say_ok(s, s->ctx != NULL);
}

static void drop(struct state *s, const char *arg)
{
    (void)arg;
    EVP_PKEY_CTX_free(s->ctx2);
    s->ctx2 = NULL;
}

static void id(struct state *s, const char *arg)
{
    (void)arg;
    say_id(s, s->ctx);
}

/* ---- playing rows ---- */

static const struct {
    const char *word;
    void (*call)(struct state *s, const char *arg);
} words[] = {
    { "init", md_init }, { "again", md_again }, { "update", md_update },
    { "size", md_size }, { "final", md_final }, { "short", md_short },
    { "once", md_once }, { "once-size", md_once_size },
    { "verify-init", md_verify_init }, { "verify-again", md_verify_again },
    { "verify-update", md_verify_update }, { "verify-final", md_verify },
    { "copy", md_copy }, { "swap", md_swap }, { "drop", md_drop },
    { "padding", md_padding }, { "id", md_id },
    { "sign-init", sign_init }, { "sign-size", sign_size }, { "sign", sign },
    { "sign-short", sign_short }, { "check-init", verify_init },
    { "check", verify }, { "recover-init", recover_init },
    { "recover", recover }, { "set", set }, { "dup", copy },
    { "dup-drop", drop }, { "sign-id", id }
};

static void call(struct state *s, const char *word, size_t len)
{
    const char *colon = memchr(word, ':', len);
    size_t i, n = colon != NULL ? (size_t)(colon - word) : len;
    char arg[64] = "";
    bool known = false;

    if (colon != NULL) {
        snprintf(arg, sizeof(arg), "%.*s", (int)(len - n - 1), colon + 1);
    }
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == n
            && strncmp(words[i].word, word, n) == 0) {
            known = true;
            words[i].call(s, colon != NULL ? arg : NULL);
        }
    }
    if (!known) {
        say(s, "unknown-word");
        ok(false, "%.*s is a word", (int)n, word);
    }
}

static void play(struct state *s, const char *row)
{
    const char *p;
    size_t n;

    s->md = EVP_MD_CTX_new();
    for (p = row; *p != '\0'; p += n, p += strspn(p, " ")) {
        n = strcspn(p, " ");
        call(s, p, n);
    }
    EVP_MD_CTX_free(s->md);
    EVP_MD_CTX_free(s->md2);
    EVP_PKEY_CTX_free(s->ctx);
    EVP_PKEY_CTX_free(s->ctx2);
}

static bool tells_as_much(const struct state *ours, const struct state *theirs)
{
    size_t i;

    for (i = 0; i < ours->calls && i < theirs->calls; i++) {
        if (ours->silent[i] == 's' && theirs->silent[i] != 's') {
            diag("call %zu fails without an error", i + 1);
            return false;
        }
    }
    return true;
}

static void compare(const struct twins *t, const char *const *rows)
{
    for (; *rows != NULL; rows++) {
        struct state soft = { .t = t, .key = t->software,
                              .libctx = t->libctx };
        struct state token = { .t = t, .key = t->token };

        play(&soft, *rows);
        play(&token, *rows);
        is_str(token.trace, soft.trace, "%s", *rows);
        ok(tells_as_much(&token, &soft), "%s: failures are told", *rows);
    }
}

static const char *const *rows_of(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "EC") ? ec_rows
        : EVP_PKEY_is_a(key, "RSA-PSS") ? pss_rows : rsa_rows;
}

int main(int argc, char *argv[])
{
    struct twins t = { 0 };

    if (argc != 3 || !ok(twins_load(&t, argv[1], argv[2]), "keys")) {
        return tap_done();
    }
    is_str(owner_of(t.token), "pkcs11", "the token's key is ours");
    if (!EVP_PKEY_is_a(t.token, "RSA-PSS")) {
        compare(&t, any_rows);
    }
    compare(&t, rows_of(t.token));
    twins_free(&t);
    return tap_done();
}
