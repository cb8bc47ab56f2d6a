/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: agree_ssl URI
 *
 * ECDH by a token's key, against the default provider on the peer's side:
 * peers of every kind, the cofactor, the key derivation function of X9.63,
 * buffers, copies. Prints TAP.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "tests/c/twins.h"

#define MAX 1024

struct sides {
    OSSL_LIB_CTX *libctx;       /* of the peers; the token's is the default */
    EVP_PKEY *token;
    EVP_PKEY *public;           /* its public half, where the peers are */
};

static EVP_PKEY_CTX *context(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    if (ctx == NULL || EVP_PKEY_derive_init(ctx) <= 0) {
        ERR_print_errors_fp(stderr);
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* The public half in another library context. */
static EVP_PKEY *public_in(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key, &der);
    const unsigned char *p = der;
    EVP_PKEY *public = n > 0 ? d2i_PUBKEY_ex(NULL, &p, n, libctx, NULL) : NULL;

    OPENSSL_free(der);
    return public;
}

struct kdf {
    const char *name;           /* NULL: the plain secret */
    const char *md;
    size_t out_len;
    const char *ukm;
    int cofactor;               /* -1, 0 or 1; -2: not set */
    size_t room;                /* 0: as much as there is */
};
#define NO_ROOM (MAX + 1)

static int set_kdf(EVP_PKEY_CTX *ctx, const struct kdf *k)
{
    unsigned char *ukm = NULL;

    if (k->cofactor != -2
        && EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, k->cofactor) <= 0) {
        return 0;
    }
    if (k->name == NULL) {
        return 1;
    }
    ukm = k->ukm != NULL
          ? (unsigned char *)OPENSSL_strdup(k->ukm) : NULL;
    return EVP_PKEY_CTX_set_ecdh_kdf_type(ctx, EVP_PKEY_ECDH_KDF_X9_63) > 0
           && (k->md == NULL
               || EVP_PKEY_CTX_set_ecdh_kdf_md(
                      ctx, EVP_get_digestbyname(k->md)) > 0)
           && (k->out_len == 0
               || EVP_PKEY_CTX_set_ecdh_kdf_outlen(ctx, (int)k->out_len) > 0)
           && (ukm == NULL
               || EVP_PKEY_CTX_set0_ecdh_kdf_ukm(ctx, ukm,
                                                 (int)strlen(k->ukm)) > 0);
}

/* By own, which is where libctx is, with the public half of other. Done by a
 * copy of the context. */
static int derive(OSSL_LIB_CTX *libctx, EVP_PKEY *own, EVP_PKEY *other,
                  const struct kdf *k, unsigned char *out, size_t *len)
{
    EVP_PKEY *peer = public_in(libctx, other);
    EVP_PKEY_CTX *ctx = context(libctx, own), *copy = NULL;
    int good = ctx != NULL && peer != NULL && set_kdf(ctx, k) > 0
               && EVP_PKEY_derive_set_peer(ctx, peer) > 0;

    copy = good ? EVP_PKEY_CTX_dup(ctx) : NULL;
    EVP_PKEY_CTX_free(ctx);
    *len = k->room == NO_ROOM ? 0 : k->room != 0 ? k->room : MAX;
    good = copy != NULL ? EVP_PKEY_derive(copy, out, len) : 0;
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_free(peer);
    return good;
}

static void same(const struct sides *t, const char *what, const struct kdf *k,
                 EVP_PKEY *peer, bool wanted)
{
    unsigned char ours[MAX] = { 0 }, theirs[MAX] = { 0 };
    size_t n = 0, m = 0;
    int want = derive(t->libctx, peer, t->public, k, theirs, &m);
    int got;

    ERR_clear_error();
    got = derive(NULL, t->token, peer, k, ours, &n);
    ok((got > 0) == wanted && (want > 0) == wanted, "%s: %s", what,
       wanted ? "agreed" : "refused");
    if (got > 0 && want > 0) {
        is_bytes(ours, n, theirs, m, "%s: the same", what);
        ok(is_quiet(), "%s: quietly", what);
    }
    ERR_clear_error();
}

static EVP_PKEY *generate(const struct sides *t)
{
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(t->libctx, t->public, NULL);
    EVP_PKEY *key = NULL;

    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) <= 0
        || EVP_PKEY_generate(ctx, &key) <= 0) {
        ERR_print_errors_fp(stderr);
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Every parameter of the function, and without it. */
static const struct {
    const char *what;
    struct kdf kdf;
    bool good;
} rows[] = {
    { "plain", { NULL, NULL, 0, NULL, -2, 0 }, true },
    { "plain, no cofactor", { NULL, NULL, 0, NULL, 0, 0 }, true },
    { "plain, cofactor", { NULL, NULL, 0, NULL, 1, 0 }, true },
    { "plain, the key's cofactor", { NULL, NULL, 0, NULL, -1, 0 }, true },
    { "no such cofactor mode", { NULL, NULL, 0, NULL, 2, 0 }, false },
    { "plain, in 8 octets", { NULL, NULL, 0, NULL, -2, 8 }, true },
    { "plain, in none", { NULL, NULL, 0, NULL, -2, NO_ROOM }, false },
    { "and in none", { "X963KDF", "SHA256", 24, NULL, -2, NO_ROOM }, false },
    { "SHA1, 16", { "X963KDF", "SHA1", 16, NULL, -2, 0 }, true },
    { "SHA1, 20", { "X963KDF", "SHA1", 20, NULL, -2, 0 }, true },
    { "SHA256, 24", { "X963KDF", "SHA256", 24, "ukm", -2, 0 }, true },
    { "SHA512, 300", { "X963KDF", "SHA512", 300, "u", 1, 0 }, true },
    { "SHA3-256, 1", { "X963KDF", "SHA3-256", 1, "ukm", 0, 0 }, true },
    { "exact room", { "X963KDF", "SHA256", 24, "ukm", -2, 24 }, true },
    { "an octet less", { "X963KDF", "SHA256", 24, "ukm", -2, 23 }, false },
    { "no length", { "X963KDF", "SHA256", 0, "ukm", -2, 0 }, false },
    { "no digest", { "X963KDF", NULL, 24, "ukm", -2, 0 }, false },
};

static void kdfs(const struct sides *t)
{
    EVP_PKEY *peer = generate(t);
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        same(t, rows[i].what, &rows[i].kdf, peer, rows[i].good);
    }
    EVP_PKEY_free(peer);
}

static void sizes(const struct sides *t)
{
    struct kdf k = { "X963KDF", "SHA256", 77, NULL, -2, 0 };
    EVP_PKEY *made = generate(t), *peer = public_in(NULL, made);
    EVP_PKEY_CTX *ctx = context(NULL, t->token);
    size_t n = 0, half = ((size_t)EVP_PKEY_get_bits(t->public) + 7) / 8;
    int out_len = 0;

    ok(EVP_PKEY_derive(ctx, NULL, &n) <= 0, "no size without a peer");
    ERR_clear_error();
    ok(EVP_PKEY_derive_set_peer(ctx, peer) > 0
       && EVP_PKEY_derive(ctx, NULL, &n) > 0
       && (n == half || n == half + 1), "the size of the plain secret: %zu",
       n);
    ok(set_kdf(ctx, &k) > 0 && EVP_PKEY_derive(ctx, NULL, &n) > 0 && n == 77,
       "and of a key made of it");
    ok(EVP_PKEY_CTX_get_ecdh_kdf_type(ctx) == EVP_PKEY_ECDH_KDF_X9_63
       && EVP_PKEY_CTX_get_ecdh_kdf_outlen(ctx, &out_len) > 0 && out_len == 77,
       "the function can be asked for");
    ok(EVP_PKEY_CTX_get_ecdh_cofactor_mode(ctx) == 0, "and the cofactor");
    ok(is_quiet(), "quietly");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(made);
}

/* ---- peers ---- */

static size_t point_of(EVP_PKEY *key, unsigned char *out, size_t room)
{
    size_t n = 0;

    return EVP_PKEY_get_octet_string_param(
               key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out, room, &n) > 0
           ? n : 0;
}

/*
 * A point 04 x… may look like the DER of an OCTET STRING, its second octet
 * being the length of what follows: some tokens take it for that.
 */
static void ambiguous(const struct sides *t)
{
    static const struct kdf plain = { NULL, NULL, 0, NULL, -2, 0 };
    unsigned char point[MAX];
    EVP_PKEY *peer = NULL;
    size_t n = point_of(t->public, point, sizeof(point));
    char group[64] = "";
    int tries = 0;

    EVP_PKEY_get_group_name(t->public, group, sizeof(group), NULL);
    /* The first octets of its coordinates are only a few bits. */
    if (n < 3 || n - 2 > 0x7f || strncmp(group, "sect", 4) == 0) {
        skip("no point on %s can be taken for DER", group);
        return;
    }
    do {
        EVP_PKEY_free(peer);
        peer = generate(t);
        n = peer != NULL ? point_of(peer, point, sizeof(point)) : 0;
    } while (n > 2 && point[1] != n - 2 && ++tries < 8192);
    ok(n > 2 && point[1] == n - 2, "a peer that looks like DER, after %d",
       tries);
    same(t, "such a peer", &plain, peer, true);
    EVP_PKEY_free(peer);
}

/* The peer's key with point p: NULL where it is none. */
static EVP_PKEY *peer_at(char *group, unsigned char *p, size_t n)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, p, n),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* Refused, whatever has been checked: by whom is all the same. */
static void refused(const struct sides *t, const char *what, EVP_PKEY *peer,
                    int checked)
{
    EVP_PKEY_CTX *ctx = context(NULL, t->token);
    unsigned char out[MAX];
    size_t n = sizeof(out);

    ok(peer == NULL || EVP_PKEY_derive_set_peer_ex(ctx, peer, checked) <= 0
       || EVP_PKEY_derive(ctx, out, &n) <= 0, "%s is refused", what);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

static void peers(const struct sides *t)
{
    unsigned char infinity[1] = { 0 };
    unsigned char point[MAX];
    char group[64] = "";
    size_t n = point_of(t->public, point, sizeof(point));
    EVP_PKEY *peer, *p256 = EVP_EC_gen("P-256"), *p384 = EVP_EC_gen("P-384");
    int checked;

    EVP_PKEY_get_group_name(t->public, group, sizeof(group), NULL);
    for (checked = 0; checked < 2; checked++) {
        peer = peer_at(group, infinity, sizeof(infinity));
        refused(t, "infinity", peer, checked);
        EVP_PKEY_free(peer);
        point[n - 1] ^= 1;
        peer = peer_at(group, point, n);
        refused(t, "a point beside the curve", peer, checked);
        EVP_PKEY_free(peer);
        point[n - 1] ^= 1;
        peer = strcmp(group, "prime256v1") == 0 ? p384 : p256;
        refused(t, "a point of another curve", peer, checked);
    }
    EVP_PKEY_free(p384);
    EVP_PKEY_free(p256);
}

/* A peer whose key is written in short is the same peer. */
static void compressed(const struct sides *t)
{
    static const struct kdf plain = { NULL, NULL, 0, NULL, -2, 0 };
    EVP_PKEY *peer = generate(t);

    ok(EVP_PKEY_set_utf8_string_param(
           peer, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed") > 0,
       "a compressed peer");
    same(t, "a compressed peer", &plain, peer, true);
    EVP_PKEY_free(peer);
}

int main(int argc, char **argv)
{
    struct sides t;

    if (argc != 2) {
        return 2;
    }
    t.libctx = OSSL_LIB_CTX_new();
    t.token = key_of_uri(argv[1]);
    t.public = t.token != NULL ? public_in(t.libctx, t.token) : NULL;
    if (t.public == NULL) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    is_str(owner_of(t.token), "pkcs11", "the key is the token's");
    kdfs(&t);
    sizes(&t);
    ambiguous(&t);
    compressed(&t);
    peers(&t);
    EVP_PKEY_free(t.public);
    EVP_PKEY_free(t.token);
    OSSL_LIB_CTX_free(t.libctx);
    return tap_done();
}
