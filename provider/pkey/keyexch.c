/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key agreement. The private library context does all of it for software
 * keys. For a key on a token it holds the public half: it judges and
 * remembers parameters and the peer, knows the size of the secret, and the
 * token derives.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/key.h"
#include "provider/query.h"
#include "provider/soft.h"
#include "src/crypto/derive.h"

#define NAME "ECDH"

/* Octets of the secret of the largest curve, and more. */
#define SECRET_MAX 128

struct kex {
    struct prov_ctx *prov;
    struct prov_key *key;       /* NULL before init */
    struct prov_key *peer;      /* of a token key */
    EVP_PKEY_CTX *pctx;         /* NULL before init */
};

static OSSL_FUNC_keyexch_newctx_fn kex_new;
static OSSL_FUNC_keyexch_freectx_fn kex_free;
static OSSL_FUNC_keyexch_dupctx_fn kex_dup;
static OSSL_FUNC_keyexch_init_fn kex_init;
static OSSL_FUNC_keyexch_set_peer_fn kex_set_peer;
static OSSL_FUNC_keyexch_derive_fn kex_derive;
static OSSL_FUNC_keyexch_set_ctx_params_fn kex_set_ctx_params;
static OSSL_FUNC_keyexch_settable_ctx_params_fn kex_settable;
static OSSL_FUNC_keyexch_get_ctx_params_fn kex_get_ctx_params;
static OSSL_FUNC_keyexch_gettable_ctx_params_fn kex_gettable;

static void *kex_new(void *provctx)
{
    struct kex *k = OPENSSL_zalloc(sizeof(*k));

    if (k == NULL) {
        ERR_raise(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    k->prov = provctx;
    return k;
}

static void kex_free(void *vctx)
{
    struct kex *k = vctx;

    if (k == NULL) {
        return;
    }
    EVP_PKEY_CTX_free(k->pctx);
    prov_key_put(k->peer);
    prov_key_put(k->key);
    OPENSSL_free(k);
}

static void *kex_dup(void *vctx)
{
    const struct kex *src = vctx;
    struct kex *dst = OPENSSL_malloc(sizeof(*dst));

    if (dst == NULL) {
        ERR_raise(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    *dst = *src;
    dst->key = src->key != NULL ? prov_key_get(src->key) : NULL;
    dst->peer = src->peer != NULL ? prov_key_get(src->peer) : NULL;
    dst->pctx = src->pctx != NULL ? EVP_PKEY_CTX_dup(src->pctx) : NULL;
    if (src->pctx != NULL && dst->pctx == NULL) {
        kex_free(dst);
        return NULL;
    }
    return dst;
}

/* A token's secret is handed out as it is. */
static int refuse_kdf(const struct kex *k)
{
    char kdf[64] = "";
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf,
                                         sizeof(kdf)),
        OSSL_PARAM_construct_end()
    };

    if (!prov_key_is_on_token(k->key)) {
        return 1;
    }
    if (!prov_soft_get(k->pctx, ask)) {
        return 0;
    }
    if (kdf[0] != '\0') {
        return prov_raise_prov(PROV_R_NOT_SUPPORTED, "%s=%s: with a key in a "
                               "token only the plain secret can be derived",
                               OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf);
    }
    return 1;
}

static int kex_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct kex *k = vctx;

    if (k == NULL || !prov_soft_set(k->pctx, params)) {
        return 0;
    }
    return k->key == NULL || refuse_kdf(k);
}

static int kex_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct kex *k = vctx;
    struct prov_key *key = vkey;

    if (key == NULL || key->soft == NULL) {
        return prov_raise_prov(PROV_R_NO_KEY_SET, "no key to derive with");
    }
    if (prov_key_is_on_token(key) && !hsm_key_usage(key->token).derive) {
        return prov_raise(k->prov, HSM_E_KEY_USE, "%s: the token does not "
                          "permit this key to derive (CKA_DERIVE)",
                          hsm_key_name(key->token));
    }
    prov_key_get(key);
    prov_key_put(k->key);
    k->key = key;
    prov_key_putp(&k->peer);
    EVP_PKEY_CTX_free(k->pctx);
    k->pctx = prov_soft_new(k->prov, key->soft, EVP_PKEY_derive_init_ex,
                            params);
    return k->pctx != NULL && refuse_kdf(k);
}

/* A token may not check that the peer's point is on the curve: it is done
 * here, whatever the caller has checked. */
static int kex_set_peer(void *vctx, void *vpeer)
{
    struct kex *k = vctx;
    struct prov_key *peer = vpeer;
    bool on_token = prov_key_is_on_token(k->key);

    if (k->pctx == NULL || peer == NULL || peer->soft == NULL) {
        return prov_raise_prov(PROV_R_MISSING_KEY, "no peer's public key");
    }
    if (EVP_PKEY_derive_set_peer_ex(k->pctx, peer->soft, on_token) <= 0) {
        return 0;
    }
    if (on_token) {
        prov_key_get(peer);
        prov_key_put(k->peer);
        k->peer = peer;
    }
    return 1;
}

/* 04 ‖ x ‖ y, each of half octets, whatever form the peer's key prefers. */
static int uncompressed(EVP_PKEY *peer, size_t half, unsigned char *point)
{
    BIGNUM *x = NULL, *y = NULL;
    int n = (int)half;
    bool ok = EVP_PKEY_get_bn_param(peer, OSSL_PKEY_PARAM_EC_PUB_X, &x) > 0
              && EVP_PKEY_get_bn_param(peer, OSSL_PKEY_PARAM_EC_PUB_Y, &y) > 0
              && BN_bn2binpad(x, point + 1, n) == n
              && BN_bn2binpad(y, point + 1 + half, n) == n;

    point[0] = 0x04;
    BN_free(x);
    BN_free(y);
    return ok;
}

/* By the parameter, else by the key; it makes no difference where the
 * cofactor is 1, and not every token knows that. */
static bool wants_cofactor(const struct kex *k)
{
    int mode = 0;
    bool wants = false;
    BIGNUM *cofactor = NULL;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE,
                                 &mode),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(k->pctx, ask) || mode != 1) {
        return false;
    }
    wants = EVP_PKEY_get_bn_param(k->key->soft, OSSL_PKEY_PARAM_EC_COFACTOR,
                                  &cofactor) > 0 && !BN_is_one(cofactor);
    BN_free(cofactor);
    return wants;
}

/* size: octets of the secret. As libcrypto has it, a smaller buffer receives
 * the first part. */
static int derive_on_token(const struct kex *k, size_t size,
                           unsigned char *secret, size_t *len)
{
    unsigned char point[1 + 2 * SECRET_MAX], whole[SECRET_MAX];
    size_t n = size;
    int ok = 0;

    if (k->peer == NULL || size > SECRET_MAX
        || !uncompressed(k->peer->soft, size, point)) {
        return prov_raise_prov(PROV_R_MISSING_KEY, "no peer's public key");
    }
    ok = prov_result(k->prov,
                     hsm_derive_ecdh(k->key->token, wants_cofactor(k),
                                     hsm_bytes_of(point, 1 + 2 * size),
                                     whole, &n));
    if (ok && n != size) {
        ok = prov_raise(k->prov, HSM_E_BAD_DATA, "the secret has %zu octets "
                        "instead of %zu", n, size);
    }
    if (ok) {
        *len = *len < size ? *len : size;
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
    int ok = 0;

    if (secret == NULL || !prov_key_is_on_token(k->key)) {
        ok = EVP_PKEY_derive(k->pctx, secret, &n);
    } else {
        size_t size = 0;

        ok = refuse_kdf(k) && EVP_PKEY_derive(k->pctx, NULL, &size) > 0
             && derive_on_token(k, size, secret, &n);
    }
    if (ok > 0) {
        *len = n;
    }
    return ok;
}

static int kex_get_ctx_params(void *vctx, OSSL_PARAM params[])
{
    const struct kex *k = vctx;

    return k != NULL && prov_soft_get(k->pctx, params);
}

static const OSSL_PARAM *kex_gettable(void *vctx, void *provctx)
{
    const struct kex *k = vctx;

    return prov_soft_gettable(provctx, k != NULL ? k->pctx : NULL,
                              PROV_SOFT_KEYEXCH, NAME);
}

static const OSSL_PARAM *kex_settable(void *vctx, void *provctx)
{
    const struct kex *k = vctx;

    return prov_soft_settable(provctx, k != NULL ? k->pctx : NULL,
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
    ENTRY(SET_CTX_PARAMS, kex_set_ctx_params),
    ENTRY(SETTABLE_CTX_PARAMS, kex_settable),
    ENTRY(GET_CTX_PARAMS, kex_get_ctx_params),
    ENTRY(GETTABLE_CTX_PARAMS, kex_gettable),
    { 0, NULL }
};

const OSSL_ALGORITHM prov_keyexch_algorithms[] = {
    { NAME, PROV_PROPS, functions, NAME " key agreement" },
    { NULL, NULL, NULL, NULL }
};
