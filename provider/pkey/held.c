/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/held.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/err.h"

void *prov_held_new(struct prov_ctx *prov, size_t size)
{
    struct prov_held *h = OPENSSL_zalloc(size);

    if (h == NULL) {
        (void)prov_raise_bare(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    h->prov = prov;
    return h;
}

void prov_held_clear(struct prov_held *h)
{
    EVP_PKEY_CTX_free(h->pctx);
    prov_key_put(h->key);
}

void *prov_held_dup(const struct prov_held *src, size_t size)
{
    struct prov_held *dst = OPENSSL_malloc(size);

    if (dst == NULL) {
        (void)prov_raise_bare(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    memcpy(dst, src, size);
    dst->key = src->key != NULL ? prov_key_get(src->key) : NULL;
    dst->pctx = src->pctx != NULL ? EVP_PKEY_CTX_dup(src->pctx) : NULL;
    if (src->pctx != NULL && dst->pctx == NULL) {
        prov_held_clear(dst);
        OPENSSL_free(dst);
        return NULL;
    }
    return dst;
}

int prov_held_begin(struct prov_held *h, struct prov_key *key,
                    prov_soft_init_fn *how, const OSSL_PARAM params[],
                    const char *purpose)
{
    if (key == NULL || key->soft == NULL) {
        return prov_raise_prov(PROV_R_NO_KEY_SET, "no key to %s", purpose);
    }
    prov_key_get(key);
    prov_key_put(h->key);
    h->key = key;
    EVP_PKEY_CTX_free(h->pctx);
    h->pctx = prov_soft_new(h->prov, key->soft, how, params);
    return h->pctx != NULL;
}

int prov_held_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct prov_held *h = vctx;

    return h != NULL && prov_soft_set(h->pctx, params);
}

int prov_held_get_ctx_params(void *vctx, OSSL_PARAM params[])
{
    const struct prov_held *h = vctx;

    return h != NULL && prov_soft_get(h->pctx, params);
}
