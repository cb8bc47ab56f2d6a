/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/soft.h"

#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/compat.h"
#include "provider/err.h"

EVP_PKEY_CTX *prov_soft_new(const struct prov_ctx *ctx, EVP_PKEY *key,
                            prov_soft_init_fn *init,
                            const OSSL_PARAM params[])
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(ctx->libctx, key, NULL);

    if (pctx != NULL && init(pctx, params) <= 0) {
        EVP_PKEY_CTX_free(pctx);
        return NULL;
    }
    return pctx;
}

int prov_soft_done(int result)
{
    if (result <= 0) {
        prov_drop_bare_failure();
    }
    return result;
}

static int no_operation(void)
{
    return prov_raise_prov(PROV_R_NOT_INSTANTIATED,
                           "the operation was not initialised");
}

int prov_soft_set(EVP_PKEY_CTX *pctx, const OSSL_PARAM params[])
{
    if (params == NULL || params[0].key == NULL) {
        return 1;
    }
    if (pctx == NULL) {
        return no_operation();
    }
    return EVP_PKEY_CTX_set_params(pctx, params) > 0;
}

int prov_soft_get(EVP_PKEY_CTX *pctx, OSSL_PARAM params[])
{
    if (params == NULL || params[0].key == NULL) {
        return 1;
    }
    if (pctx == NULL) {
        return no_operation();
    }
    return EVP_PKEY_CTX_get_params(pctx, params) > 0;
}

/* The lists outlive the method: they are constants of its implementation. */
#define LISTS(method, NAME) \
    static const OSSL_PARAM *method##_list(const struct prov_ctx *ctx, \
                                           const char *name, bool settable) \
    { \
        EVP_##NAME *m = EVP_##NAME##_fetch(ctx->libctx, name, NULL); \
        const OSSL_PARAM *list = NULL; \
        \
        if (m != NULL) { \
            list = settable ? EVP_##NAME##_settable_ctx_params(m) \
                            : EVP_##NAME##_gettable_ctx_params(m); \
            EVP_##NAME##_free(m); \
        } \
        return list; \
    }

LISTS(signature, SIGNATURE)
LISTS(keyexch, KEYEXCH)
LISTS(cipher, ASYM_CIPHER)
LISTS(kem, KEM)

typedef const OSSL_PARAM *list_fn(const struct prov_ctx *ctx, const char *name,
                                  bool settable);

static list_fn *const lists[] = {
    [PROV_SOFT_SIGNATURE] = signature_list,
    [PROV_SOFT_KEYEXCH] = keyexch_list,
    [PROV_SOFT_CIPHER] = cipher_list,
    [PROV_SOFT_KEM] = kem_list
};

const OSSL_PARAM *prov_soft_gettable(const struct prov_ctx *ctx,
                                     const EVP_PKEY_CTX *pctx,
                                     enum prov_soft_kind kind,
                                     const char *name)
{
    return pctx != NULL ? EVP_PKEY_CTX_gettable_params(pctx)
                        : lists[kind](ctx, name, false);
}

const OSSL_PARAM *prov_soft_settable(const struct prov_ctx *ctx,
                                     const EVP_PKEY_CTX *pctx,
                                     enum prov_soft_kind kind,
                                     const char *name)
{
    return pctx != NULL ? EVP_PKEY_CTX_settable_params(pctx)
                        : lists[kind](ctx, name, true);
}
