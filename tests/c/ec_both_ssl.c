/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: ec_both_ssl TOKEN
 *
 * Every curve that libcrypto knows: keys are made in the token (its label), as
 * session objects, and held against the default provider both ways: ECDSA,
 * ECDH, the forms of a public key, and what both have to refuse. Prints TAP.
 */
#include <openssl/ec.h>

#include "tests/c/ec_keys.h"
#include "tests/c/spoiled.h"

#define CURVES_MAX 128

static OSSL_LIB_CTX *others;    /* the default provider's keys live there */
static char *token_label;

/* One curve: the token's key, and others' on the same curve. */
struct curve {
    const char *name;
    size_t order_bytes, field_bytes;
    EC_GROUP *group;
    EVP_PKEY *token;
    EVP_PKEY *public;           /* the token's, with the default provider */
    EVP_PKEY *peer;             /* the default provider's, in others */
    EVP_PKEY *imported;         /* the public half of peer, with ours */
};

/* ---- keys ---- */

static EVP_PKEY *on_token(const char *name)
{
    char session[] = "session";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)name, 0),
        OSSL_PARAM_construct_utf8_string("pkcs11_token", token_label, 0),
        OSSL_PARAM_construct_utf8_string("pkcs11_storage", session, 0),
        OSSL_PARAM_construct_end()
    };

    return generate(NULL, "provider=pkcs11", params);
}

static EVP_PKEY *in_software(const char *name)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)name, 0),
        OSSL_PARAM_construct_end()
    };

    return generate(others, NULL, params);
}

static void free_curve(struct curve *c)
{
    EVP_PKEY_free(c->imported);
    EVP_PKEY_free(c->peer);
    EVP_PKEY_free(c->public);
    EVP_PKEY_free(c->token);
    EC_GROUP_free(c->group);
}

/* One error, ours, of some words. That a token does not take a curve is shown:
 * the recipe knows how many it takes. */
static void refused(const char *name)
{
    const char *said = NULL;
    unsigned long first = ERR_peek_error_all(NULL, NULL, NULL, &said, NULL);

    ok(first != 0 && first == ERR_peek_last_error() && said != NULL
       && strlen(said) > 20, "%s: no such key is made, and it is said why",
       name);
    diag("%s: %s", name, said != NULL ? said : "(no word)");
    ERR_clear_error();
}

/* False: there is nothing to do with it. */
static bool make_curve(const char *name, int nid, struct curve *c)
{
    struct octets point = { .len = 0 };

    memset(c, 0, sizeof(*c));
    c->name = name;
    c->token = on_token(name);
    if (c->token == NULL) {
        refused(name);
        return false;
    }
    c->group = EC_GROUP_new_by_curve_name(nid);
    c->order_bytes = ((size_t)EC_GROUP_order_bits(c->group) + 7) / 8;
    c->field_bytes = ((size_t)EC_GROUP_get_degree(c->group) + 7) / 8;
    c->public = public_half(c->token);
    c->peer = in_software(name);
    point_of(c->peer, &point);
    c->imported = key_at("provider=pkcs11", name, &point);
    return ok(c->public != NULL && c->peer != NULL && c->imported != NULL
              && is_quiet() && strcmp(owner_of(c->token), "pkcs11") == 0
              && strcmp(owner_of(c->imported), "pkcs11") == 0,
              "%s: keys on every side", name);
}

/* ---- signatures ---- */

static void both_sign(const struct curve *c, const char *md)
{
    const struct place token = { NULL, c->token, NULL };
    const struct place public = { NULL, c->public, DEFAULT };
    const struct place peer = { others, c->peer, NULL };
    const struct place imported = { NULL, c->imported, "?provider=pkcs11" };
    const struct manner m = { md, NULL, NULL, NULL };
    struct octets ours = { .len = 0 }, theirs = { .len = 0 };
    bool b = sign_message(&peer, &m, &theirs), a;

    ERR_clear_error();
    a = sign_message(&token, &m, &ours);
    if (!ok(a == b, "%s: %s %s", c->name, md, b ? "signs" : "is refused")
        || !a) {
        ok(a || ERR_peek_error() != 0, "%s: %s with an error", c->name, md);
        ERR_print_errors_fp(stderr);
        return;
    }
    ok(is_quiet() && verifies(&public, &m, &ours, message)
       && verifies(&token, &m, &ours, message),
       "%s: %s by the token, verified by both", c->name, md);
    ok(verifies(&imported, &m, &theirs, message)
       && verifies(&peer, &m, &theirs, message),
       "%s: %s by default, verified by both", c->name, md);
    ok(!verifies(&public, &m, &ours, another)
       && !verifies(&token, &m, &ours, another)
       && !verifies(&imported, &m, &theirs, another)
       && !verifies(&imported, &m, &ours, message),
       "%s: %s: another message, another key", c->name, md);
}

/* ---- signatures that are none ---- */

/* Numbers out of range: of r, of s. */
static void out_of_range(const struct curve *c, const struct octets *good)
{
    static const char *const what[] = { "0", "n", "n more", "2^n" };
    const BIGNUM *order = EC_GROUP_get0_order(c->group);
    BIGNUM *rs[2] = { NULL, NULL }, *bad = BN_new();
    struct place token = { NULL, c->token, NULL };
    struct place public = { NULL, c->public, DEFAULT };
    struct manner m = { "SHA2-256", NULL, NULL, NULL };
    size_t i;

    for (i = 0; decode(good, &rs[0], &rs[1]) && i < 2 * N_OF(what); i++) {
        const BIGNUM *own = rs[i % 2], *other = rs[1 - i % 2];
        struct numbers n;
        struct octets sig;
        char line[64];

        BN_zero(bad);
        if (i / 2 == 1) {
            BN_copy(bad, order);
        } else if (i / 2 == 2) {
            BN_add(bad, own, order);
        } else if (i / 2 == 3) {
            BN_set_bit(bad, BN_num_bits(order));
        }
        n.r_len = content(i % 2 == 0 ? bad : other, n.r);
        n.s_len = content(i % 2 == 0 ? other : bad, n.s);
        encode(&n, &sig);
        snprintf(line, sizeof(line), "%s: %s = %s", c->name,
                 i % 2 == 0 ? "r" : "s", what[i / 2]);
        judged(&token, &public, &m, &sig, false, line);
        BN_free(rs[0]);
        BN_free(rs[1]);
        rs[0] = rs[1] = NULL;
    }
    BN_free(rs[0]);
    BN_free(rs[1]);
    BN_free(bad);
}

static void refuse_signatures(const struct curve *c)
{
    struct place token = { NULL, c->token, NULL };
    struct place public = { NULL, c->public, DEFAULT };
    struct manner m = { "SHA2-256", NULL, NULL, NULL };
    struct octets good = { .len = 0 }, bad = { .len = 0 };
    BIGNUM *r = NULL, *s = NULL;
    size_t i;

    if (!ok(sign_message(&token, &m, &good) && decode(&good, &r, &s),
            "%s: a signature to spoil", c->name)) {
        return;
    }
    for (i = 0; i < N_OF(encodings); i++) {
        struct numbers n;
        char line[64];

        n.r_len = content(r, n.r);
        n.s_len = content(s, n.s);
        encodings[i].make(&n, &bad);
        snprintf(line, sizeof(line), "%s: %s", c->name, encodings[i].what);
        judged(&token, &public, &m, &bad, false, line);
    }
    BN_free(r);
    BN_free(s);
    out_of_range(c, &good);
    judged(&token, &public, &m, &good, true, c->name);
}

/* ---- agreement ---- */

struct agreement {
    int cofactor;               /* -1: the key's */
    const char *md;             /* of X9.63's function; NULL: plain */
};

static bool derive(const struct place *at, EVP_PKEY *peer,
                   const struct agreement *a, struct octets *out)
{
    char kdf[] = "X963KDF";
    size_t wanted = 41;
    int cofactor = a->cofactor;
    OSSL_PARAM params[5], *p = params;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(at->libctx, at->key,
                                                   at->query);
    bool good;

    *p++ = OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE,
                                    &cofactor);
    if (a->md != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE,
                                                kdf, 0);
        *p++ = OSSL_PARAM_construct_utf8_string(
            OSSL_EXCHANGE_PARAM_KDF_DIGEST, (char *)(uintptr_t)a->md, 0);
        *p++ = OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN,
                                           &wanted);
    }
    *p = OSSL_PARAM_construct_end();
    out->len = sizeof(out->p);
    good = ctx != NULL && EVP_PKEY_derive_init_ex(ctx, params) > 0
           && EVP_PKEY_derive_set_peer(ctx, peer) > 0
           && EVP_PKEY_derive(ctx, out->p, &out->len) > 0;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* Where the order is shorter than a coordinate some tokens give too little: one
 * error says so. */
static bool is_cut_off(const struct curve *c)
{
    const char *data = NULL;
    bool said = ERR_peek_error_all(NULL, NULL, NULL, &data, NULL) != 0
                && data != NULL && strstr(data, "cuts the shared") != NULL
                && ERR_peek_error() == ERR_peek_last_error();

    ERR_clear_error();
    return c->order_bytes < c->field_bytes && said;
}

static void agree(const struct curve *c)
{
    static const struct agreement rows[] = {
        { 0, NULL }, { 1, NULL }, { -1, NULL }, { 0, "SHA1" },
        { 1, "SHA2-384" }, { 0, "SHA3-256" },
    };
    const struct place token = { NULL, c->token, NULL };
    const struct place peer = { others, c->peer, NULL };
    EVP_PKEY *half = public_half(c->peer);
    size_t i;

    for (i = 0; i < N_OF(rows); i++) {
        struct octets ours = { .len = 0 }, theirs = { .len = 0 };

        if (!derive(&token, half, &rows[i], &ours)) {
            ok(is_cut_off(c), "%s: the token cuts the secret, refused",
               c->name);
            continue;
        }
        ok(is_quiet() && derive(&peer, c->public, &rows[i], &theirs)
           && ours.len == theirs.len
           && ours.len == (rows[i].md != NULL ? 41 : c->field_bytes)
           && memcmp(ours.p, theirs.p, ours.len) == 0,
           "%s: both agree, cofactor %d, %s", c->name, rows[i].cofactor,
           rows[i].md != NULL ? rows[i].md : "plain");
    }
    EVP_PKEY_free(half);
}

/* Whatever was checked of it: 1 and 0. Raised somewhere on the way. */
static void refuse_peer(const struct curve *c, EVP_PKEY *bad,
                        const char *what)
{
    int checks;

    for (checks = 0; checks < 2; checks++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, c->token, NULL);
        struct octets out = { .len = sizeof(out.p) };

        ok(bad == NULL
           || EVP_PKEY_derive_init(ctx) <= 0
           || EVP_PKEY_derive_set_peer_ex(ctx, bad, checks) <= 0
           || EVP_PKEY_derive(ctx, out.p, &out.len) <= 0,
           "%s: %s is no peer", c->name, what);
        EVP_PKEY_CTX_free(ctx);
        ERR_clear_error();
    }
}

/* Of every second x there is no y on the curve, but one on its twist. */
static bool find_twisted(const struct curve *c, struct octets *point)
{
    EVP_PKEY *key = NULL;
    unsigned int tries = 0;

    point_of(c->public, point);
    point->len = 1 + c->field_bytes;
    point->p[0] = 2;
    do {
        EVP_PKEY_free(key);
        point->p[point->len - 1]++;
        key = key_at(DEFAULT, c->name, point);
    } while (key != NULL && ++tries < 255);
    EVP_PKEY_free(key);
    return tries < 255;
}

/* A point of another curve of that size: the next one in the list. */
static void refuse_peers(const struct curve *c, const char *next)
{
    static const char *const queries[] = { DEFAULT, "provider=pkcs11" };
    EVP_PKEY *foreign = in_software(next);
    struct octets beside, other = { .len = 0 }, infinity = { { 0 }, 1 };
    struct octets twisted;
    const struct {
        struct octets *at;
        const char *what;
    } points[] = {
        { &beside, "a point beside the curve" },
        { &other, "another curve's point" },
        { &twisted, "a point of the twist" },
        { &infinity, "infinity" },
    };

    point_of(c->public, &beside);
    beside.p[beside.len - 1] ^= 1;
    point_of(foreign, &other);
    refuse_peer(c, foreign, next);
    ok(find_twisted(c, &twisted), "%s: an x of the twist", c->name);
    for (size_t i = 0; i < N_OF(queries); i++) {
        for (size_t k = 0; k < N_OF(points); k++) {
            EVP_PKEY *bad = key_at(queries[i], c->name, points[k].at);

            refuse_peer(c, bad, points[k].what);
            EVP_PKEY_free(bad);
        }
    }
    EVP_PKEY_free(foreign);
}

/* ---- the forms of a public key ---- */

static size_t spki(EVP_PKEY *key, struct octets *out)
{
    unsigned char *p = out->p;
    int n = i2d_PUBKEY(key, NULL);

    out->len = 0;
    if (n > 0 && (size_t)n <= sizeof(out->p)) {
        out->len = (size_t)i2d_PUBKEY(key, &p);
    }
    return out->len;
}

static void same_form(const struct curve *c, const char *name,
                      const char *value)
{
    struct octets ours = { .len = 0 }, theirs = { .len = 0 };
    char told[32] = "";
    EVP_PKEY *copy = EVP_PKEY_dup(c->token);

    ok(EVP_PKEY_set_utf8_string_param(c->token, name, value) > 0
       && EVP_PKEY_set_utf8_string_param(c->public, name, value) > 0
       && is_quiet(), "%s: %s = %s can be set", c->name, name, value);
    if (strcmp(name, OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE) != 0) {
        ok(EVP_PKEY_get_utf8_string_param(c->token, name, told, sizeof(told),
                                          NULL) > 0
           && strcmp(told, value) == 0, "%s: and is told", c->name);
    }
    ok(spki(c->token, &ours) > 0 && spki(c->public, &theirs) == ours.len
       && memcmp(ours.p, theirs.p, ours.len) == 0,
       "%s: written as default does, %zu octets", c->name, ours.len);
    ok(EVP_PKEY_eq(c->token, c->public) == 1
       && EVP_PKEY_eq(copy, c->token) == 1, "%s: and the same key", c->name);
    ok(EVP_PKEY_get_utf8_string_param(copy, name, told, sizeof(told), NULL)
       <= 0 || strcmp(told, value) != 0, "%s: a copy keeps its own",
       c->name);
    EVP_PKEY_free(copy);
    ERR_clear_error();
}

static void refuse_form(const struct curve *c, const char *name,
                        const char *value)
{
    ok(EVP_PKEY_set_utf8_string_param(c->token, name, value) <= 0
       && EVP_PKEY_set_utf8_string_param(c->public, name, value) <= 0,
       "%s: %s = %s is refused by both", c->name, name, value);
    ERR_clear_error();
}

/* Like another key, whose parameters may be spelt out. */
static void like_another(const struct curve *c)
{
    char session[] = "session", group[64] = "";
    OSSL_PARAM set[] = {
        OSSL_PARAM_construct_utf8_string("pkcs11_token", token_label, 0),
        OSSL_PARAM_construct_utf8_string("pkcs11_storage", session, 0),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY_CTX *from = EVP_PKEY_CTX_new_from_name(NULL, "EC",
                                                    "provider=pkcs11");
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *model = NULL, *key = NULL;
    OSSL_PARAM *params = NULL;

    ok(EVP_PKEY_todata(c->public, EVP_PKEY_KEY_PARAMETERS, &params) > 0
       && EVP_PKEY_fromdata_init(from) > 0
       && EVP_PKEY_fromdata(from, &model, EVP_PKEY_KEY_PARAMETERS, params) > 0
       && (ctx = EVP_PKEY_CTX_new_from_pkey(NULL, model, NULL)) != NULL
       && EVP_PKEY_keygen_init(ctx) > 0 && EVP_PKEY_CTX_set_params(ctx, set) > 0
       && EVP_PKEY_generate(ctx, &key) > 0 && is_quiet()
       && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) > 0
       && strcmp(group, c->name) == 0, "%s: made like another", c->name);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(model);
    EVP_PKEY_CTX_free(from);
    OSSL_PARAM_free(params);
}

static void forms(const struct curve *c)
{
    static const char point[] = OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT;
    static const char encoding[] = OSSL_PKEY_PARAM_EC_ENCODING;
    static const char check[] = OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE;
    struct octets other;

    same_form(c, point, "compressed");
    both_sign(c, "SHA2-256");
    agree(c);
    same_form(c, point, "hybrid");
    same_form(c, point, "uncompressed");
    same_form(c, encoding, "explicit");
    like_another(c);
    same_form(c, encoding, "named_curve");
    same_form(c, check, "named-nist");
    same_form(c, check, "default");
    refuse_form(c, point, "short");
    refuse_form(c, encoding, "implicit");
    refuse_form(c, check, "none");
    point_of(c->peer, &other);
    ok(EVP_PKEY_set_octet_string_param(c->token,
                                       OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                                       other.p, other.len) <= 0
       && EVP_PKEY_eq(c->token, c->public) == 1,
       "%s: another point cannot be set", c->name);
    ERR_clear_error();
}

/* ---- all curves ---- */

static void do_curve(const struct curve *c, const char *next)
{
    struct octets ours = { .len = 0 }, theirs = { .len = 0 };
    char group[64] = "";
    size_t i;

    ok(EVP_PKEY_get_group_name(c->token, group, sizeof(group), NULL) > 0
       && strcmp(group, c->name) == 0
       && EVP_PKEY_get_bits(c->token) == EVP_PKEY_get_bits(c->peer)
       && EVP_PKEY_get_size(c->token) == EVP_PKEY_get_size(c->peer)
       && spki(c->token, &ours) == spki(c->public, &theirs)
       && memcmp(ours.p, theirs.p, ours.len) == 0,
       "%s: says of itself what it is", c->name);
    both_sign(c, "SHA2-256");
    both_sign(c, "SHA2-512");           /* longer than most orders */
    refuse_signatures(c);
    agree(c);
    refuse_peers(c, next);
    if (strcmp(c->name, "prime256v1") == 0
        || strcmp(c->name, "sect283k1") == 0) {
        for (i = 0; i < N_OF(hash_rows); i++) {
            both_sign(c, hash_rows[i]);
        }
    }
    if (c->field_bytes == 32 || c->field_bytes == 36) {
        forms(c);
    }
}

/* Some stand in the list twice, under WTLS's name too. */
static bool is_same(const EC_GROUP *one, const EC_GROUP *two)
{
    BIGNUM *a = BN_new(), *b = BN_new(), *a2 = BN_new(), *b2 = BN_new();
    bool same = EC_GROUP_get_curve(one, NULL, a, b, NULL) > 0
                && EC_GROUP_get_curve(two, NULL, a2, b2, NULL) > 0
                && BN_cmp(a, a2) == 0 && BN_cmp(b, b2) == 0;

    BN_free(b2);
    BN_free(a2);
    BN_free(b);
    BN_free(a);
    return same;
}

/* Another curve, of the same field where the list has one: behind each of
 * Brainpool's is its twist. */
static const char *neighbour(const EC_builtin_curve *all, size_t n, size_t i)
{
    EC_GROUP *own = EC_GROUP_new_by_curve_name(all[i].nid);
    const char *name = NULL;
    size_t k;

    for (k = 1; k < n && name == NULL; k++) {
        EC_GROUP *g = EC_GROUP_new_by_curve_name(all[(i + k) % n].nid);

        if (EC_GROUP_get_degree(g) == EC_GROUP_get_degree(own)
            && EC_GROUP_get_field_type(g) == EC_GROUP_get_field_type(own)
            && all[(i + k) % n].nid != NID_sm2 && !is_same(g, own)) {
            name = OBJ_nid2sn(all[(i + k) % n].nid);
        }
        EC_GROUP_free(g);
    }
    EC_GROUP_free(own);
    return name != NULL ? name
           : all[i].nid == NID_X9_62_prime256v1 ? "secp384r1" : "prime256v1";
}

int main(int argc, char **argv)
{
    EC_builtin_curve all[CURVES_MAX];
    size_t i, n = EC_get_builtin_curves(all, CURVES_MAX);

    if (argc != 2) {
        return 2;
    }
    token_label = argv[1];
    others = OSSL_LIB_CTX_new();
    for (i = 0; i < n && i < CURVES_MAX; i++) {
        struct curve c;

        if (make_curve(OBJ_nid2sn(all[i].nid), all[i].nid, &c)) {
            do_curve(&c, neighbour(all, n, i));
        }
        free_curve(&c);
    }
    OSSL_LIB_CTX_free(others);
    return tap_done();
}
