/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: cofactor_ssl URI CONF
 *
 * ECDH by a token's key on a curve with a cofactor, with peers of every order,
 * against the default provider on the peer's side. All is done in a library
 * context that CONF configures; the default one has the provider null, and so
 * neither hashes nor random numbers: nothing may reach for it. Prints TAP.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>

#include "tests/c/twins.h"

#define MAX 256

struct curve {
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *null;        /* of the default library context */
    EVP_PKEY *token;
    EC_GROUP *group;
    BN_CTX *bn;
    BIGNUM *secret;             /* of the peer */
    EC_POINT *ours;             /* the token's point */
    char name[64];
};

static EC_POINT *point_in(const struct curve *c, EVP_PKEY *key)
{
    EC_POINT *point = EC_POINT_new(c->group);
    unsigned char raw[MAX];
    size_t n = 0;

    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                                        raw, sizeof(raw), &n) <= 0
        || !EC_POINT_oct2point(c->group, point, raw, n, c->bn)) {
        EC_POINT_free(point);
        return NULL;
    }
    return point;
}

/* A point whose order divides the cofactor, and is not 1. */
static EC_POINT *low_order(const struct curve *c)
{
    EC_POINT *low = EC_POINT_new(c->group), *p = EC_POINT_new(c->group);
    BIGNUM *x = BN_new();
    int i;

    for (i = 1; i < 1000; i++) {
        BN_set_word(x, (BN_ULONG)i);
        if (EC_POINT_set_compressed_coordinates(c->group, p, x, 0, c->bn)
            && EC_POINT_mul(c->group, low, NULL, p,
                            EC_GROUP_get0_order(c->group), c->bn)
            && !EC_POINT_is_at_infinity(c->group, low)) {
            break;
        }
    }
    ok(i < 1000, "%s: a point of low order", c->name);
    ERR_clear_error();
    BN_free(x);
    EC_POINT_free(p);
    return low;
}

static EVP_PKEY *public_key(struct curve *c, const EC_POINT *point)
{
    unsigned char raw[MAX];
    size_t n = EC_POINT_point2oct(c->group, point,
                                  POINT_CONVERSION_UNCOMPRESSED, raw,
                                  sizeof(raw), c->bn);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, c->name,
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, raw, n),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(c->libctx, "EC", DEFAULT);
    EVP_PKEY *key = NULL;

    if (EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        ERR_print_errors_fp(stderr);
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* By the token, the peer unchecked: the length of the secret, or 0. */
static size_t derive(struct curve *c, const EC_POINT *point, int cofactor,
                     unsigned char out[MAX])
{
    EVP_PKEY *peer = public_key(c, point);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->libctx, c->token, NULL);
    size_t n = MAX;

    if (EVP_PKEY_derive_init(ctx) <= 0
        || EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, cofactor) <= 0) {
        ERR_print_errors_fp(stderr);
        n = 0;
    }
    if (n > 0) {
        ok(EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0,
           "the peer is taken");
    }
    if (n > 0 && EVP_PKEY_derive(ctx, out, &n) <= 0) {
        n = 0;
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    return n;
}

/* The x of f · point, in as many octets. */
static void is_x_of(const struct curve *c, const unsigned char *got, size_t n,
                    const BIGNUM *f, const char *what)
{
    EC_POINT *p = EC_POINT_new(c->group);
    BIGNUM *x = BN_new();
    unsigned char wanted[MAX] = { 0 };

    ok(n > 0 && EC_POINT_mul(c->group, p, NULL, c->ours, f, c->bn)
       && EC_POINT_get_affine_coordinates(c->group, p, x, NULL, c->bn)
       && BN_bn2binpad(x, wanted, (int)n) == (int)n, "%s: agreed", what);
    is_bytes(got, n, wanted, n, "%s: the same", what);
    BN_free(x);
    EC_POINT_free(p);
}

static void agrees(struct curve *c)
{
    EC_POINT *peer = EC_POINT_new(c->group);
    BIGNUM *f = BN_new();
    unsigned char out[MAX];
    size_t n;

    EC_POINT_mul(c->group, peer, c->secret, NULL, NULL, c->bn);
    n = derive(c, peer, 0, out);
    is_x_of(c, out, n, c->secret, "without the cofactor");
    BN_mul(f, c->secret, EC_GROUP_get0_cofactor(c->group), c->bn);
    n = derive(c, peer, 1, out);
    is_x_of(c, out, n, f, "with the cofactor");
    ok(is_quiet(), "quietly");
    BN_free(f);
    EC_POINT_free(peer);
}

/* Whoever checks a peer refuses it. */
static void refused(struct curve *c, const EC_POINT *point)
{
    EVP_PKEY *peer = public_key(c, point);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(c->libctx, c->token, NULL);

    ok(EVP_PKEY_derive_init(ctx) > 0
       && EVP_PKEY_derive_set_peer_ex(ctx, peer, 1) <= 0,
       "it is refused where it is checked");
    ok(ERR_GET_REASON(ERR_peek_error()) == EC_R_WRONG_ORDER,
       "as one of the wrong order");
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

/* The cofactor takes the low part away. */
static void composite(struct curve *c, const EC_POINT *low)
{
    EC_POINT *peer = EC_POINT_new(c->group);
    BIGNUM *f = BN_new();
    unsigned char out[MAX];
    size_t n;

    EC_POINT_mul(c->group, peer, c->secret, NULL, NULL, c->bn);
    EC_POINT_add(c->group, peer, peer, low, c->bn);
    BN_mul(f, c->secret, EC_GROUP_get0_cofactor(c->group), c->bn);
    n = derive(c, peer, 1, out);
    is_x_of(c, out, n, f, "a peer of composite order");
    ok(is_quiet(), "quietly");
    refused(c, peer);
    BN_free(f);
    EC_POINT_free(peer);
}

static void nothing(struct curve *c, const EC_POINT *low)
{
    unsigned char out[MAX];

    ok(derive(c, low, 1, out) == 0, "a peer of low order is refused");
    ok(ERR_GET_REASON(ERR_peek_error()) == EC_R_POINT_AT_INFINITY,
       "with the cofactor: it comes to nothing");
    ERR_clear_error();
    refused(c, low);
}

static bool set_up(struct curve *c, char **argv)
{
    c->libctx = OSSL_LIB_CTX_new();
    c->null = OSSL_PROVIDER_load(NULL, "null");
    if (c->null == NULL || !OSSL_LIB_CTX_load_config(c->libctx, argv[2])) {
        return false;
    }
    c->token = stored_key(c->libctx, argv[1], NULL, NULL);
    if (c->token == NULL
        || EVP_PKEY_get_group_name(c->token, c->name, sizeof(c->name), NULL)
           <= 0) {
        return false;
    }
    c->bn = BN_CTX_new_ex(c->libctx);
    c->group = EC_GROUP_new_by_curve_name_ex(c->libctx, NULL,
                                             OBJ_txt2nid(c->name));
    c->ours = c->group != NULL ? point_in(c, c->token) : NULL;
    c->secret = BN_new();
    return c->ours != NULL && BN_set_word(c->secret, 0x31415927);
}

int main(int argc, char **argv)
{
    struct curve c = { .libctx = NULL };
    EC_POINT *low;

    if (argc != 3) {
        return 2;
    }
    if (!set_up(&c, argv)) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    is_str(owner_of(c.token), "pkcs11", "the key is the token's");
    low = low_order(&c);
    agrees(&c);
    composite(&c, low);
    nothing(&c, low);
    EC_POINT_free(low);
    EC_POINT_free(c.ours);
    BN_free(c.secret);
    EC_GROUP_free(c.group);
    BN_CTX_free(c.bn);
    EVP_PKEY_free(c.token);
    OSSL_LIB_CTX_free(c.libctx);
    OSSL_PROVIDER_unload(c.null);
    return tap_done();
}
