/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: dhkem_ssl all|refused|denied|curve|other|absent|unasked
 *                  URI FILE URI FILE
 *        dhkem_ssl vector URI FILE URI FILE IKME ENC SECRET
 *        dhkem_ssl times N open|auth|seal URI FILE URI FILE
 *        dhkem_ssl software FILE FILE
 *
 * DHKEM: encapsulation with EC keys of a token, the recipient's and the
 * sender's, against the same keys of the default provider (FILE). Refused: the
 * token does not work; denied: the recipient's key must not do this, nor the
 * sender's; curve: DHKEM does not have it; other: the sender's is not the
 * recipient's; absent: libcrypto has no such thing for EC keys. Prints TAP, and
 * how often the token agreed on a secret.
 */
#include <stdlib.h>

#include "tests/c/dhkem.h"

static unsigned int by_token;   /* agreements */

/* ---- both ways ---- */

static const struct {
    const char *name;
    bool auth;
} senders[] = { { "anybody", false }, { "a sender", true } };
#define SENDERS (sizeof(senders) / sizeof(senders[0]))

/* By the default provider alone, in a library context of its own. */
static struct how theirs(const struct pair *p, bool auth)
{
    struct how h = { p->r.libctx, p->r.software, NULL,
                     auth ? p->s.software : NULL, KIND, NULL };

    return h;
}

static struct how tokens(const struct pair *p, bool auth)
{
    struct how h = { NULL, p->r.token, NULL, auth ? p->s.public : NULL, KIND,
                     NULL };

    return h;
}

static bool sealed_by(const struct how *h, struct octets *in,
                      struct octets *secret, const char *what)
{
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(h, true, &result);
    bool good = ok(seal(ctx, in, secret) == 1, "%s: encapsulated", what);

    EVP_PKEY_CTX_free(ctx);
    return good;
}

static void opens(EVP_PKEY_CTX *ctx, const struct octets *in,
                  const struct octets *want, const char *what)
{
    struct octets got;

    ok(unseal(ctx, in, &got) == 1 && is_quiet(), "%s: decapsulated", what);
    is_bytes(got.p, got.len, want->p, want->len, "%s: the secret", what);
    ok(got.p[got.len] == 'o', "%s: and no more", what);
}

static void token_opens(const struct pair *p, bool auth, const char *who)
{
    struct how from = theirs(p, auth), by = tokens(p, auth);
    struct octets in = { .len = 0 }, secret = in;
    int result = 0;
    EVP_PKEY_CTX *ctx, *copy;
    size_t n = 0;

    if (!sealed_by(&from, &in, &secret, who)) {
        return;
    }
    ctx = operation(&by, false, &result);
    ok(is_ours(ctx) && is_quiet(), "%s: the token's key is ours to use", who);
    ok(EVP_PKEY_decapsulate(ctx, NULL, &n, in.p, in.len) == 1
       && n == secret.len, "%s: the size of the secret", who);
    opens(ctx, &in, &secret, who);
    copy = copy_of(ctx);
    EVP_PKEY_CTX_free(ctx);
    ok(is_ours(copy), "%s: a copy", who);
    opens(copy, &in, &secret, "copy");
    EVP_PKEY_CTX_free(copy);
    by.kind = NULL;
    ctx = operation(&by, false, &result);
    ok(EVP_PKEY_CTX_set_kem_op(ctx, KIND) > 0, "%s: kind set later", who);
    opens(ctx, &in, &secret, "kind set later");
    EVP_PKEY_CTX_free(ctx);
    by_token += 3 * (auth ? 2 : 1);
}

/* What ours has made the default provider opens. */
static void they_open(const struct pair *p, const struct octets *in,
                      const struct octets *want, bool auth, const char *what)
{
    struct how h = theirs(p, auth);
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(&h, false, &result);

    opens(ctx, in, want, what);
    EVP_PKEY_CTX_free(ctx);
}

/* By our algorithm, with h's keys, whose private halves are p's. */
static void ours_seals(const struct pair *p, const struct how *h,
                       const char *what)
{
    struct octets in = { .len = 0 }, again = in, secret = in, other = in;
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(h, true, &result), *copy;
    size_t n = 0, m = 0;

    ok(is_ours(ctx), "%s: ours", what);
    ok(EVP_PKEY_encapsulate(ctx, NULL, &n, NULL, &m) == 1, "%s: sizes", what);
    ok(seal(ctx, &in, &secret) == 1 && in.len == n && secret.len == m
       && in.p[n] == 'o' && secret.p[m] == 'o' && is_quiet(),
       "%s: encapsulated", what);
    they_open(p, &in, &secret, h->auth != NULL, what);
    copy = copy_of(ctx);
    ok(is_ours(copy) && seal(copy, &again, &other) == 1,
       "%s: by a copy", what);
    ok(memcmp(again.p, in.p, n) != 0 && memcmp(other.p, secret.p, m) != 0,
       "%s: another secret each time", what);
    they_open(p, &again, &other, h->auth != NULL, what);
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    by_token += h->auth == p->s.token ? 2 : 0;
}

/* Every mixture of keys on the token and in software. */
static void mixtures(const struct pair *p)
{
    EVP_PKEY *r_keys[] = { p->r.token, p->r.public };
    EVP_PKEY *s_keys[] = { NULL, p->s.token, p->s.software };
    static const char *const r_names[] = { "to the token", "to a public key" };
    static const char *const s_names[] = { "", ", from the token",
                                           ", from a key in software" };
    char what[80];
    struct how h = { NULL, NULL, OURS, NULL, KIND, NULL };
    size_t i, k;

    for (i = 0; i < 2; i++) {
        for (k = 0; k < 3; k++) {
            h.key = r_keys[i];
            h.auth = s_keys[k];
            snprintf(what, sizeof(what), "%s%s", r_names[i], s_names[k]);
            ours_seals(p, &h, what);
        }
    }
}

/* Both halves of it in software, by our algorithm. */
static void software(const struct pair *p, bool auth, const char *who)
{
    struct how from = theirs(p, auth);
    struct how by = { NULL, p->r.software, OURS, auth ? p->s.software : NULL,
                      KIND, NULL };
    struct octets in = { .len = 0 }, secret = in, got = in;
    int result = 0;
    EVP_PKEY_CTX *ctx, *copy;

    ours_seals(p, &by, who);
    if (sealed_by(&from, &in, &secret, who)) {
        ctx = operation(&by, false, &result);
        ok(is_ours(ctx), "%s, software: decapsulated by us", who);
        opens(ctx, &in, &secret, who);
        copy = copy_of(ctx);
        opens(copy, &in, &secret, "a copy in software");
        in.len--;
        ok(unseal(copy, &in, &got) <= 0, "%s, software: short", who);
        ERR_clear_error();
        EVP_PKEY_CTX_free(copy);
        EVP_PKEY_CTX_free(ctx);
    }
}

/* ---- refusals ---- */

static void refuses(EVP_PKEY_CTX *ctx, const struct octets *in, size_t room,
                    const char *what)
{
    struct octets got = { .len = room };
    int result;

    ERR_clear_error();
    memset(got.p, 'o', sizeof(got.p));
    result = EVP_PKEY_decapsulate(ctx, got.p, &got.len, in->p, in->len);
    ok(result <= 0 && is_told(), "%s: refused, with an error", what);
    ok(got.p[0] == 'o' && got.len == room, "%s: nothing is given", what);
}

static void bad_points(EVP_PKEY_CTX *ctx, struct octets in, size_t n)
{
    size_t half = in.len / 2;

    refuses(ctx, &in, n - 1, "an octet too little of room");
    refuses(ctx, &in, 0, "no room");
    in.len--;
    refuses(ctx, &in, n, "short");
    in.len += 2;
    in.p[in.len - 1] = 0;
    refuses(ctx, &in, n, "long");
    in.len = half + 1;
    in.p[0] = 0x02;
    refuses(ctx, &in, n, "compressed");
    in.len = 1;
    in.p[0] = 0;
    refuses(ctx, &in, n, "infinity");
    in.len = 2 * half + 1;
    refuses(ctx, &in, n, "infinity, at length");
    in.p[0] = 0x04;
    in.p[in.len - 1] ^= 1;
    refuses(ctx, &in, n, "not on the curve");
    memset(in.p + 1, 0, in.len - 1);
    refuses(ctx, &in, n, "zeros");
    memset(in.p + 1, 0xff, in.len - 1);
    refuses(ctx, &in, n, "beyond the field");
}

static void refusals(const struct pair *p)
{
    struct how from = theirs(p, false), by = tokens(p, false);
    struct octets in = { .len = 0 }, secret = in;
    int result = 0;
    EVP_PKEY_CTX *ctx;

    if (!sealed_by(&from, &in, &secret, "refusals")) {
        return;
    }
    ctx = operation(&by, false, &result);
    bad_points(ctx, in, secret.len);
    /* Hybrid, as libcrypto reads it: the first octet is in the secret. */
    in.p[0] = (unsigned char)(0x06 | (in.p[in.len - 1] & 1));
    from.auth = NULL;
    EVP_PKEY_CTX_free(ctx);
    ctx = operation(&from, false, &result);
    if (unseal(ctx, &in, &secret) == 1) {
        EVP_PKEY_CTX_free(ctx);
        ctx = operation(&by, false, &result);
        opens(ctx, &in, &secret, "hybrid, as the default provider");
        by_token++;
    }
    EVP_PKEY_CTX_free(ctx);
    by.kind = "no-such-kind";
    ok(operation(&by, false, &result) == NULL && result == 0
       && is_told(), "another kind: refused, with an error");
}

/* The sender is another, or is not expected: other secrets. */
static void sender_matters(const struct pair *p)
{
    struct how from = theirs(p, true), by = tokens(p, true);
    struct octets in = { .len = 0 }, secret = in, got = in;
    int result = 0;
    EVP_PKEY_CTX *ctx;

    if (!sealed_by(&from, &in, &secret, "sender")) {
        return;
    }
    by.auth = p->r.public;
    ctx = operation(&by, false, &result);
    ok(unseal(ctx, &in, &got) == 1
       && memcmp(got.p, secret.p, secret.len) != 0,
       "another sender: another secret");
    EVP_PKEY_CTX_free(ctx);
    by.auth = NULL;
    ctx = operation(&by, false, &result);
    ok(unseal(ctx, &in, &got) == 1
       && memcmp(got.p, secret.p, secret.len) != 0,
       "nobody is expected: another secret");
    EVP_PKEY_CTX_free(ctx);
    by_token += 3;
}

/* As the default provider answers: an error or its one kind. */
static void without_kind(const struct pair *p)
{
    struct how from = theirs(p, false), by = tokens(p, false);
    struct octets in = { .len = 0 }, secret = in, got = in;
    int result = 0, want = 0, has = 0;
    EVP_PKEY_CTX *ctx;

    if (!sealed_by(&from, &in, &secret, "no kind")) {
        return;
    }
    from.kind = by.kind = NULL;
    ctx = operation(&from, false, &result);
    want = unseal(ctx, &in, &got);
    EVP_PKEY_CTX_free(ctx);
    ctx = operation(&by, false, &result);
    has = unseal(ctx, &in, &got);
    ok(has == want, "no kind: %d, as the default provider", has);
    ok(has <= 0 || memcmp(got.p, secret.p, secret.len) == 0,
       "no kind: and its secret");
    by_token += has > 0 ? 1 : 0;
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
}

/* The sender's key needs its private half, and enough to make another of. */
static void bad_senders(const struct pair *p)
{
    static const struct octets little = { .len = 16 };
    struct how h = { NULL, p->r.public, OURS, p->s.public, KIND, NULL };
    struct octets in = { .len = 0 }, secret = in;
    int result = 0;
    EVP_PKEY_CTX *ctx;

    ok(operation(&h, true, &result) == NULL && is_told(),
       "a sender without a private key: refused, with an error");
    h.auth = p->s.token;
    h.ikme = &little;
    ctx = operation(&h, true, &result);
    ok(seal(ctx, &in, &secret) <= 0 && is_told()
       && in.p[0] == 'o' && secret.p[0] == 'o',
       "too little for an ephemeral key: refused, with an error");
    EVP_PKEY_CTX_free(ctx);
}

static void rooms(const struct pair *p)
{
    struct how h = { NULL, p->r.public, OURS, p->s.token, KIND, NULL };
    struct octets in = { .len = 0 }, secret = in;
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(&h, true, &result);
    size_t n = 0, m = 0, less;

    ok(EVP_PKEY_encapsulate(ctx, NULL, &n, NULL, &m) == 1, "rooms");
    memset(in.p, 'o', sizeof(in.p));
    less = n - 1;
    ok(EVP_PKEY_encapsulate(ctx, in.p, &less, secret.p, &m) <= 0
       && less == n - 1 && in.p[0] == 'o' && is_told(),
       "too little room for what is sent");
    less = m - 1;
    ok(EVP_PKEY_encapsulate(ctx, in.p, &n, secret.p, &less) <= 0
       && less == m - 1 && in.p[0] == 'o' && is_told(),
       "too little room for the secret");
    EVP_PKEY_CTX_free(ctx);
}

static void parameters(const struct pair *p)
{
    EVP_KEM *kem = EVP_KEM_fetch(NULL, "EC", OURS);
    struct how h = tokens(p, false);
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(&h, false, &result);
    static const char *const names[] = { OSSL_KEM_PARAM_OPERATION,
                                         OSSL_KEM_PARAM_IKME };

    for (int i = 0; ok(kem != NULL && ctx != NULL, "lists") && i < 2; i++) {
        ok(OSSL_PARAM_locate_const(EVP_KEM_settable_ctx_params(kem), names[i])
           != NULL && OSSL_PARAM_locate_const(
               EVP_PKEY_CTX_settable_params(ctx), names[i]) != NULL,
           "%s is in both lists", names[i]);
    }
    ok(EVP_PKEY_CTX_set_kem_op(ctx, "no-such-kind") <= 0
       && is_told(), "another kind, later: refused");
    EVP_PKEY_CTX_free(ctx);
    EVP_KEM_free(kem);
}

static void all(const struct pair *p)
{
    for (size_t i = 0; i < SENDERS; i++) {
        token_opens(p, senders[i].auth, senders[i].name);
    }
    mixtures(p);
    refusals(p);
    sender_matters(p);
    without_kind(p);
    bad_senders(p);
    rooms(p);
    parameters(p);
}

/* ---- other modes; errors go to standard error, where the recipe reads ---- */

static void refused(const struct pair *p)
{
    struct how from = theirs(p, false), by = tokens(p, false);
    struct how seals = { NULL, p->r.public, OURS, p->s.token, KIND, NULL };
    struct octets in = { .len = 0 }, secret = in, got = in;
    int result = 0;
    EVP_PKEY_CTX *ctx;

    if (sealed_by(&from, &in, &secret, "refused")) {
        ctx = operation(&by, false, &result);
        ok(unseal(ctx, &in, &got) <= 0 && got.p[0] == 'o' && !is_quiet(),
           "refused: the recipient, nothing is given");
        EVP_PKEY_CTX_free(ctx);
    }
    ctx = operation(&seals, true, &result);
    ok(seal(ctx, &in, &got) <= 0 && in.p[0] == 'o' && got.p[0] == 'o'
       && !is_quiet(), "refused: the sender, nothing is given");
    EVP_PKEY_CTX_free(ctx);
}

static void not_begun(const struct how *h, bool seals, int want,
                      const char *what)
{
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(h, seals, &result);

    ok(ctx == NULL && result == want && !is_quiet(), "%s: %d, and says why",
       what, result);
    EVP_PKEY_CTX_free(ctx);
}

static void denied(const struct pair *p)
{
    struct how opens_it = tokens(p, false), knows = tokens(p, true);
    struct how seals = { NULL, p->r.public, OURS, p->s.token, KIND, NULL };

    not_begun(&opens_it, false, 0, "denied: the recipient");
    not_begun(&knows, false, 0, "denied: knowing the sender");
    not_begun(&seals, true, 0, "denied: the sender");
}

/* libcrypto's own answer, and words for it. */
static void curve(const struct pair *p)
{
    struct how by = tokens(p, false);
    struct how seals = { NULL, p->r.public, OURS, p->s.token, KIND, NULL };
    struct how plain = { NULL, p->r.software, OURS, NULL, KIND, NULL };

    not_begun(&by, false, -2, "curve: the recipient");
    not_begun(&seals, true, -2, "curve: the sender");
    not_begun(&plain, true, -2, "curve: in software");
    not_begun(&plain, false, -2, "curve: in software, decapsulating");
}

static void other(const struct pair *p)
{
    struct how by = tokens(p, true);
    struct how seals = { NULL, p->r.public, OURS, p->s.token, KIND, NULL };
    struct how plain = { NULL, p->r.software, OURS, p->s.software, KIND,
                         NULL };

    not_begun(&by, false, 0, "other: the recipient");
    not_begun(&seals, true, 0, "other: the sender");
    not_begun(&plain, true, 0, "other: in software");
}

static void absent(const struct pair *p)
{
    EVP_KEM *kem = EVP_KEM_fetch(NULL, "EC", NULL);
    EVP_PKEY *keys[] = { p->r.token, p->r.software };
    EVP_PKEY_CTX *ctx;

    ok(kem == NULL, "absent: not offered");
    for (int i = 0; i < 2; i++) {
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, keys[i], NULL);
        is_int(EVP_PKEY_decapsulate_init(ctx, NULL), -2,
               "absent: as without us");
        EVP_PKEY_CTX_free(ctx);
    }
    ERR_clear_error();
    EVP_KEM_free(kem);
}

/* Whose encapsulation libcrypto takes for a sender on the token is a matter of
 * the order of providers, unless it is told. */
static void unasked(const struct pair *p)
{
    struct how h = { NULL, p->r.public, NULL, p->s.token, KIND, NULL };
    int result = 0;
    EVP_PKEY_CTX *ctx = operation(&h, true, &result);

    ok(ctx == NULL ? !is_quiet() : is_quiet() && is_ours(ctx),
       "unasked: it can, or says that it cannot");
    printf("# unasked: %s\n", ctx != NULL ? "ours" : "refused");
    EVP_PKEY_CTX_free(ctx);
}

static bool read_hex(const char *text, struct octets *out)
{
    return OPENSSL_hexstr2buf_ex(out->p, sizeof(out->p), &out->len, text, '\0')
           == 1;
}

/* Both sides by the token; without a sender encapsulating is software's. The
 * sender is not known where its FILE is the recipient's. */
static void vector(const struct pair *p, char **hex, bool auth)
{
    struct octets ikme = { .len = 0 }, enc = ikme, secret = ikme, out, got;
    struct how by = tokens(p, auth);
    struct how seals = { NULL, p->r.token, OURS, auth ? p->s.token : NULL,
                         KIND, &ikme };
    int result = 0;
    EVP_PKEY_CTX *ctx, *copy;

    if (!ok(read_hex(hex[0], &ikme) && read_hex(hex[1], &enc)
            && read_hex(hex[2], &secret), "a vector")) {
        return;
    }
    ctx = operation(&by, false, &result);
    opens(ctx, &enc, &secret, "vector");
    EVP_PKEY_CTX_free(ctx);
    ctx = operation(&seals, true, &result);
    copy = copy_of(ctx);
    ok(seal(copy, &out, &got) == 1 && is_quiet(), "vector: encapsulated");
    is_bytes(out.p, out.len, enc.p, enc.len, "vector: what is sent");
    is_bytes(got.p, got.len, secret.p, secret.len, "vector: its secret");
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    by_token += auth ? 3 : 1;
}

/* n times each, so that the recipe can tell what once takes. */
static void times(const struct pair *p, long n, bool seals, bool auth)
{
    struct how from = theirs(p, auth), by = tokens(p, auth);
    struct octets in = { .len = 0 }, secret = in, got = in;
    int result = 0;
    EVP_PKEY_CTX *ctx;

    if (!sealed_by(&from, &in, &secret, "times")) {
        return;
    }
    if (seals) {
        by.query = OURS;
        by.auth = p->s.token;
    }
    ctx = operation(&by, seals, &result);
    for (; n > 0; n--) {
        ok(seals ? seal(ctx, &in, &got) == 1 : unseal(ctx, &in, &got) == 1,
           "times: %ld to go", n - 1);
    }
    EVP_PKEY_CTX_free(ctx);
}

static const struct {
    const char *name;
    void (*run)(const struct pair *p);
} modes[] = {
    { "all", all }, { "refused", refused }, { "denied", denied },
    { "curve", curve }, { "other", other }, { "absent", absent },
    { "unasked", unasked }
};

static void run_mode(const struct pair *p, const char *mode)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run(p);
        }
    }
}

static int run_software(char **files)
{
    struct pair p = { .r = { .libctx = OSSL_LIB_CTX_new() } };

    p.r.software = key_of_file(files[0], p.r.libctx);
    p.s.software = key_of_file(files[1], p.r.libctx);
    for (size_t i = 0; i < SENDERS; i++) {
        software(&p, senders[i].auth, senders[i].name);
    }
    pair_free(&p);
    return tap_done();
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    char **keys = argv + 2;
    struct pair p;

    if (strcmp(mode, "software") == 0 && argc == 4) {
        return run_software(keys);
    }
    keys += strcmp(mode, "times") == 0 ? 2 : 0;
    if (argc < 6 || keys + 4 > argv + argc || !pair_load(&p, keys)) {
        return 1;
    }
    run_mode(&p, mode);
    if (strcmp(mode, "vector") == 0 && argc == 9) {
        vector(&p, argv + 6, strcmp(argv[3], argv[5]) != 0);
    }
    if (strcmp(mode, "times") == 0) {
        times(&p, strtol(argv[2], NULL, 10), strcmp(argv[3], "seal") == 0,
              strcmp(argv[3], "open") != 0);
    }
    pair_free(&p);
    printf("# by the token: %u\n", by_token);
    return tap_done();
}
