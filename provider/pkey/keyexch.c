/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key agreement. The private library context does all of it for software
 * keys. For a key on a token it holds the public half: it judges and
 * remembers parameters and the peer, knows the size of the result, and the
 * token derives the plain secret. What belongs to it, the cofactor before and
 * the key derivation function behind, is done here: few tokens can.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/key.h"
#include "provider/pkey/ecdh.h"
#include "provider/pkey/held.h"
#include "provider/query.h"
#include "provider/soft.h"

#define NAME "ECDH"

struct kex {
    struct prov_held h;
    struct prov_key *peer;      /* of a token key */
};

static OSSL_FUNC_keyexch_newctx_fn kex_new;
static OSSL_FUNC_keyexch_freectx_fn kex_free;
static OSSL_FUNC_keyexch_dupctx_fn kex_dup;
static OSSL_FUNC_keyexch_init_fn kex_init;
static OSSL_FUNC_keyexch_set_peer_fn kex_set_peer;
static OSSL_FUNC_keyexch_derive_fn kex_derive;
static OSSL_FUNC_keyexch_settable_ctx_params_fn kex_settable;
static OSSL_FUNC_keyexch_gettable_ctx_params_fn kex_gettable;

static void *kex_new(void *provctx)
{
    return prov_held_new(provctx, sizeof(struct kex));
}

static void kex_free(void *vctx)
{
    struct kex *k = vctx;

    if (k == NULL) {
        return;
    }
    prov_held_clear(&k->h);
    prov_key_put(k->peer);
    OPENSSL_free(k);
}

static void *kex_dup(void *vctx)
{
    const struct kex *src = vctx;
    struct kex *dst = prov_held_dup(&src->h, sizeof(*src));

    if (dst != NULL && dst->peer != NULL) {
        prov_key_get(dst->peer);
    }
    return dst;
}

static int kex_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct kex *k = vctx;
    struct prov_key *key = vkey;

    if (prov_key_is_on_token(key) && !prov_ecdh_may(key)) {
        return 0;
    }
    prov_key_putp(&k->peer);
    return prov_held_begin(&k->h, key, EVP_PKEY_derive_init_ex, params,
                           "derive with");
}

static int kex_set_peer(void *vctx, void *vpeer)
{
    struct kex *k = vctx;
    struct prov_key *peer = vpeer;
    bool on_token = prov_key_is_on_token(k->h.key);

    if (k->h.pctx == NULL || peer == NULL || peer->soft == NULL) {
        return prov_raise_prov(PROV_R_MISSING_KEY, "no peer's public key");
    }
    if (on_token && !prov_ecdh_check_peer(k->h.prov, peer->soft)) {
        return 0;
    }
    if (EVP_PKEY_derive_set_peer_ex(k->h.pctx, peer->soft, false) <= 0) {
        return 0;
    }
    if (on_token) {
        prov_key_get(peer);
        prov_key_put(k->peer);
        k->peer = peer;
    }
    return 1;
}

/* By the parameter, else by the key. */
static bool wants_cofactor(const struct kex *k)
{
    int mode = 0;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE,
                                 &mode),
        OSSL_PARAM_construct_end()
    };

    return prov_soft_get(k->h.pctx, ask) && mode == 1;
}

/* point = cofactor · point. At infinity there is nothing to agree on. */
static int multiply(OSSL_LIB_CTX *libctx, const EC_GROUP *group,
                    unsigned char *point, size_t len)
{
    BN_CTX *bn = BN_CTX_new_ex(libctx);     /* its random numbers blind */
    EC_POINT *q = EC_POINT_new(group), *hq = EC_POINT_new(group);
    int ok = bn != NULL && q != NULL && hq != NULL
             && EC_POINT_oct2point(group, q, point, len, bn)
             && EC_POINT_mul(group, hq, NULL, q, EC_GROUP_get0_cofactor(group),
                             bn);

    if (ok && EC_POINT_is_at_infinity(group, hq)) {
        ok = prov_raise_lib(ERR_LIB_EC, EC_R_POINT_AT_INFINITY, "the peer's "
                            "public key is of no use with the cofactor");
    }
    ok = ok && EC_POINT_point2oct(group, hq, POINT_CONVERSION_UNCOMPRESSED,
                                  point, len, bn) == len;
    EC_POINT_free(hq);
    EC_POINT_free(q);
    BN_CTX_free(bn);
    return ok;
}

/*
 * Of curves with a cofactor h: d · (h · Q) is h · d · Q, so the peer's point
 * takes it in, and the token need not know of it.
 */
static int with_cofactor(const struct kex *k, unsigned char *point, size_t len)
{
    char name[64] = "";
    EC_GROUP *group = NULL;
    int ok = 0;

    if (!wants_cofactor(k)) {
        return 1;
    }
    if (EVP_PKEY_get_group_name(k->h.key->soft, name, sizeof(name), NULL) > 0) {
        group = EC_GROUP_new_by_curve_name_ex(k->h.prov->libctx, NULL,
                                              OBJ_txt2nid(name));
    }
    if (group == NULL) {
        return prov_raise_prov(PROV_R_INVALID_CURVE, "%s: the cofactor needs a "
                               "named curve", hsm_key_name(k->h.key->token));
    }
    ok = BN_is_one(EC_GROUP_get0_cofactor(group))
         || multiply(k->h.prov->libctx, group, point, len);
    EC_GROUP_free(group);
    return ok;
}

/* The plain secret, of as many octets as a coordinate. */
static int derive_plain(const struct kex *k, unsigned char *whole,
                        size_t *len)
{
    unsigned char point[PROV_ECDH_POINT_MAX];
    size_t size = prov_ecdh_size(k->h.key);

    if (size == 0) {
        return 0;
    }
    if (k->peer == NULL || !prov_ecdh_point(k->peer->soft, size, point)) {
        return prov_raise_prov(PROV_R_MISSING_KEY, "no peer's public key");
    }
    if (!with_cofactor(k, point, PROV_ECDH_POINT(size))
        || !prov_ecdh_on_token(k->h.key, point, whole)) {
        return 0;
    }
    *len = size;
    return 1;
}

/* A function that makes a key of the secret, as the shadow's parameters say:
 * none, or X9.63's, the only one that libcrypto has here. */
struct kdf {
    char name[64];              /* "": none */
    char md[64];
    size_t out_len;
    struct hsm_bytes ukm;       /* the shadow's own */
};

static int get_kdf(const struct kex *k, struct kdf *kdf)
{
    void *ukm = NULL;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE,
                                         kdf->name, sizeof(kdf->name)),
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST,
                                         kdf->md, sizeof(kdf->md)),
        OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN,
                                    &kdf->out_len),
        OSSL_PARAM_construct_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, &ukm, 0),
        OSSL_PARAM_construct_end()
    };

    memset(kdf, 0, sizeof(*kdf));
    if (!prov_soft_get(k->h.pctx, ask)) {
        return 0;
    }
    kdf->ukm = hsm_bytes_of(ukm, ukm != NULL ? ask[3].return_size : 0);
    if (kdf->name[0] != '\0' && kdf->md[0] == '\0') {
        return prov_raise_prov(PROV_R_MISSING_MESSAGE_DIGEST, "%s=%s needs %s",
                               OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf->name,
                               OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    }
    return 1;
}

static int run_kdf(const struct kex *k, struct kdf *kdf, unsigned char *whole,
                   size_t len, unsigned char *out)
{
    union {
        const unsigned char *c;
        unsigned char *p;
    } ukm = { .c = kdf->ukm.p };
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, kdf->md, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, whole, len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, ukm.p,
                                          kdf->ukm.len),
        OSSL_PARAM_construct_end()
    };
    EVP_KDF *fetched = EVP_KDF_fetch(k->h.prov->libctx, kdf->name, NULL);
    EVP_KDF_CTX *ctx = fetched != NULL ? EVP_KDF_CTX_new(fetched) : NULL;
    int ok = ctx != NULL && EVP_KDF_derive(ctx, out, kdf->out_len, params) > 0;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(fetched);
    return ok;
}

/* *len: the room, then what was written. As libcrypto has it, too small a
 * buffer receives the first part of a plain secret, and nothing of a key. In
 * none there is no part: who forgot to set a length must not take what is in
 * the buffer for a secret. */
static int derive_on_token(const struct kex *k, unsigned char *secret,
                           size_t *len)
{
    unsigned char whole[PROV_ECDH_MAX];
    struct kdf kdf;
    size_t n = 0;
    int ok = 0;

    if (!get_kdf(k, &kdf)) {
        return 0;
    }
    if (*len == 0 || (kdf.name[0] != '\0' && *len < kdf.out_len)) {
        return prov_raise_prov(PROV_R_OUTPUT_BUFFER_TOO_SMALL, "is %zu, should "
                               "be at least %zu", *len,
                               kdf.name[0] != '\0' ? kdf.out_len : 1);
    }
    if (!derive_plain(k, whole, &n)) {
        return 0;
    }
    if (kdf.name[0] != '\0') {
        ok = run_kdf(k, &kdf, whole, n, secret);
        *len = kdf.out_len;
    } else {
        ok = 1;
        *len = *len < n ? *len : n;
        memcpy(secret, whole, *len);
    }
    OPENSSL_cleanse(whole, sizeof(whole));
    return ok;
}

static int kex_derive(void *vctx, unsigned char *secret, size_t *len,
                      size_t room)
{
    struct kex *k = vctx;
    size_t n = room;
    int ok = secret != NULL && prov_key_is_on_token(k->h.key)
             ? derive_on_token(k, secret, &n)
             : EVP_PKEY_derive(k->h.pctx, secret, &n);

    if (ok > 0) {
        *len = n;
    }
    return ok;
}

static const OSSL_PARAM *kex_gettable(void *vctx, void *provctx)
{
    const struct kex *k = vctx;

    return prov_soft_gettable(provctx, k != NULL ? k->h.pctx : NULL,
                              PROV_SOFT_KEYEXCH, NAME);
}

static const OSSL_PARAM *kex_settable(void *vctx, void *provctx)
{
    const struct kex *k = vctx;

    return prov_soft_settable(provctx, k != NULL ? k->h.pctx : NULL,
                              PROV_SOFT_KEYEXCH, NAME);
}

#define ENTRY(name, fn) { OSSL_FUNC_KEYEXCH_##name, (void (*)(void))(fn) }

static const OSSL_DISPATCH functions[] = {
    ENTRY(NEWCTX, kex_new),
    ENTRY(FREECTX, kex_free),
    ENTRY(DUPCTX, kex_dup),
    ENTRY(INIT, kex_init),
    ENTRY(SET_PEER, kex_set_peer),
    ENTRY(DERIVE, kex_derive),
    ENTRY(SET_CTX_PARAMS, prov_held_set_ctx_params),
    ENTRY(SETTABLE_CTX_PARAMS, kex_settable),
    ENTRY(GET_CTX_PARAMS, prov_held_get_ctx_params),
    ENTRY(GETTABLE_CTX_PARAMS, kex_gettable),
    { 0, NULL }
};

const OSSL_ALGORITHM prov_keyexch_algorithms[] = {
    { NAME, PROV_PROPS, functions, NAME " key agreement" },
    { NULL, NULL, NULL, NULL }
};
