/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: composite_ssl MODE URI FILE
 *
 * Composite signature algorithms with a token's key (URI) against the same key
 * of the default provider (FILE): all of those that the default provider has
 * for this type of key. The modes are in a table at the end. Prints TAP; what
 * refuses says why on standard error, for the recipe.
 */
#include "tests/c/composite.h"

#ifdef HAS_COMPOSITES

/* ---- both ways ---- */

static void token_signs(const char *name, enum way way, struct octets *sig)
{
    const struct manner m = { .md = hash_of(name) };
    struct octets same = { .len = 0 };
    struct calls before, after;
    bool good;

    calls_read(&before);
    good = compose(&token, name, way, sig);
    calls_read(&after);
    ok(good && is_quiet(), "%s: the token signs %s", name, way_names[way]);
    calls_since(&after, &before);
    ok(calls_total(&after) == 2 && calls_of(&after, "C_SignInit") == 1
       && calls_of(&after, "C_Sign") == 1, "… in two calls");
    ok(verifies(&public, &m, sig, message)
       && !verifies(&public, &m, sig, another),
       "… and the default provider verifies, by %s", m.md);
    if (is_rsa() && compose(&theirs, name, way, &same)) {
        is_bytes(sig->p, sig->len, same.p, same.len, "… the same");
    }
}

static void all_take(const char *name, const struct octets *sig, bool wanted,
                     const char *what)
{
    static const struct place *const places[] = {
        &token, &software, &theirs, &public
    };
    struct calls before;
    size_t i;

    calls_read(&before);
    for (i = 0; i < N_OF(places) * N_WAYS; i++) {
        enum way way = (enum way)(i % N_WAYS);
        bool good = takes(places[i / N_WAYS], name, way, sig, message);

        ok(good == wanted && (!good || is_quiet())
           && (good || i / N_WAYS > 1 || ERR_peek_error() != 0),
           "%s: %s, as %s, by %zu: %s", name, what, way_names[way],
           i / N_WAYS, wanted ? "verified" : "refused");
        ERR_clear_error();
        ok(!takes(places[i / N_WAYS], name, way, sig, another),
           "… and no other message");
        ERR_clear_error();
    }
    ok(calls_after(&before) == 0, "… without a call");
}

static void both_ways(const char *name)
{
    struct octets sig = { .len = 0 }, mine = { .len = 0 };
    struct calls before;
    int way;

    for (way = 0; way < N_WAYS; way++) {
        token_signs(name, way, &sig);
        calls_read(&before);
        ok(compose(&software, name, way, &mine) && is_quiet()
           && calls_after(&before) == 0
           && takes(&public, name, WAY_WHOLE, &mine, message),
           "%s: a key in software signs %s", name, way_names[way]);
    }
    all_take(name, &sig, true, "the token's signature");
    ok(compose(&theirs, name, WAY_DIGEST, &sig), "%s: signed elsewhere", name);
    all_take(name, &sig, true, "the default provider's signature");
    sig.p[sig.len - 1] ^= 1;
    all_take(name, &sig, false, "a changed bit");
    sig.p[sig.len - 1] ^= 1;
    sig.len--;
    all_take(name, &sig, false, "an octet less");
}

static bool recovers(EVP_PKEY_CTX *ctx, const struct octets *sig, size_t room,
                     struct octets *out)
{
    out->len = room;
    return ctx != NULL && EVP_PKEY_verify_recover(ctx, out->p, &out->len,
                                                  sig->p, sig->len) == 1;
}

/* As the default provider's, which does not know how long SM3 is. */
static void recover(const char *name)
{
    struct octets sig = { .len = 0 }, hash = sig, out = sig, bad;
    EVP_PKEY_CTX *ctx = NULL, *other = NULL;
    int got = start(&token, name, EVP_PKEY_verify_recover_init_ex2, NULL, &ctx);
    int want = start(&theirs, name, EVP_PKEY_verify_recover_init_ex2, NULL,
                     &other);
    bool known = compose(&theirs, name, WAY_WHOLE, &sig)
                 && recovers(other, &sig, sizeof(out.p), &out);

    ok(got == want && known == (is_rsa() && strcmp(name, "RSA-SM3") != 0),
       "%s: recovering: %d", name, want);
    ERR_clear_error();
    ok(recovers(ctx, &sig, sizeof(out.p), &out) == known
       && (!known || (is_quiet() && digest(name, message, &hash)
                      && out.len == hash.len
                      && memcmp(out.p, hash.p, hash.len) == 0)),
       "… %s", known ? "the digest" : "refused");
    ERR_clear_error();
    bad = sig;
    bad.p[bad.len - 1] ^= 1;
    if (ctx != NULL) {
        ok(is_told(recovers(ctx, &bad, sizeof(out.p), &out)),
           "… not if it was changed");
        ok(is_told(recovers(ctx, &sig, hash.len - 1, &out)),
           "… nor more than there is room for");
    }
    EVP_PKEY_CTX_free(other);
    EVP_PKEY_CTX_free(ctx);
}

/* ---- refusals ---- */

static void lengths(const char *name)
{
    EVP_PKEY_CTX *ctx = started(&token, name, EVP_PKEY_sign_init_ex2);
    struct octets hash, sig = { .len = 0 };
    struct calls before;
    size_t lens[4], size = 0, i;

    if (!ok(ctx != NULL && digest(name, message, &hash), "%s: begun", name)) {
        EVP_PKEY_CTX_free(ctx);
        return;
    }
    calls_read(&before);
    lens[0] = hash.len - 1;
    lens[1] = hash.len + 1;
    lens[2] = 0;
    lens[3] = 200;
    for (i = 0; i < N_OF(lens); i++) {
        sig.len = sizeof(sig.p);
        ok(is_told(EVP_PKEY_sign(ctx, sig.p, &sig.len, hash.p, lens[i]) > 0),
           "%s: a digest of %zu octets is none", name, lens[i]);
    }
    ok(EVP_PKEY_sign(ctx, NULL, &size, hash.p, hash.len) == 1
       && (int)size == EVP_PKEY_get_size(token.key), "%s: the size", name);
    sig.len = size - 1;
    ok(is_told(EVP_PKEY_sign(ctx, sig.p, &sig.len, hash.p, hash.len) > 0)
       && calls_after(&before) == 0, "%s: too little room", name);
    sig.len = size;
    ok(EVP_PKEY_sign(ctx, sig.p, &sig.len, hash.p, hash.len) == 1
       && takes(&public, name, WAY_DIGEST, &sig, message), "%s: then it does",
       name);
    EVP_PKEY_CTX_free(ctx);
}

/* ---- modes ---- */

static void all(void)
{
    size_t i;

    ok(names.n == (is_rsa() ? 13 : 9), "%zu algorithms", names.n);
    for (i = 0; i < names.n; i++) {
        both_ways(names.name[i]);
        recover(names.name[i]);
        lengths(names.name[i]);
    }
}

/* Whose algorithm an application gets that asks for none's. */
static void preferred(void)
{
    const struct place any = { NULL, token.key, NULL };
    struct octets sig = { .len = 0 };
    size_t i;

    for (i = 0; i < names.n; i++) {
        ok(compose(&any, names.name[i], WAY_PIECES, &sig) && is_quiet()
           && takes(&public, names.name[i], WAY_WHOLE, &sig, message)
           && takes(&any, names.name[i], WAY_WHOLE, &sig, message),
           "%s: preferred", names.name[i]);
    }
}

/* The key is RSA-PSS's, or one that must not sign: not from the beginning. */
static void refused(void)
{
    struct calls before;
    size_t i;

    calls_read(&before);
    for (i = 0; i < names.n * N_WAYS; i++) {
        EVP_PKEY_CTX *ctx = NULL;
        int got = start(&token, names.name[i / N_WAYS],
                        sign_starts[i % N_WAYS], NULL, &ctx);

        ok(got <= 0, "%s: %s: refused", names.name[i / N_WAYS],
           way_names[i % N_WAYS]);
        ok(!is_quiet(), "… and says why");
    }
    ok(calls_after(&before) == 0, "… without a call");
}

/* The token hashes by itself: with SHA2-256, and only messages. */
static void hashing(void)
{
    const char *name = is_rsa() ? "RSA-SHA2-256" : "ECDSA-SHA2-256";
    const char *other = is_rsa() ? "RSA-SHA2-384" : "ECDSA-SHA2-384";
    struct octets sig = { .len = 0 };

    public.key = public_half(token.key);        /* FILE has another key */
    token_signs(name, WAY_WHOLE, &sig);
    token_signs(name, WAY_PIECES, &sig);
    EVP_PKEY_free(public.key);
    ok(!compose(&token, name, WAY_DIGEST, &sig), "%s: a digest is refused",
       name);
    ok(!is_quiet(), "… and says why");
    ok(!compose(&token, other, WAY_WHOLE, &sig), "%s is refused", other);
    ok(!is_quiet(), "… and says why");
}

static void blocked(void)
{
    size_t i;

    for (i = 0; i < names.n; i++) {
        EVP_SIGNATURE *got = EVP_SIGNATURE_fetch(NULL, names.name[i], OURS);

        ok(got == NULL, "%s: not offered", names.name[i]);
        EVP_SIGNATURE_free(got);
    }
    ERR_clear_error();
}

static const struct {
    const char *name;
    void (*run)(void);
} modes[] = {
    { "all", all },
    { "preferred", preferred },
    { "refused", refused },
    { "hashing", hashing },
    { "blocked", blocked },
};

int main(int argc, char **argv)
{
    struct twins t;
    size_t i;

    if (!composite_load(&t, argc, argv)) {
        return 1;
    }
    for (i = 0; i < N_OF(modes); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].run();
        }
    }
    composite_free(&t);
    return tap_done();
}

#endif
