/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the private library context, with every parameter handed
 * through both ways: what does the work for keys that are not on a token, and
 * what judges and remembers parameters for keys that are.
 *
 * They are plain EVP_PKEY_CTX. Errors are the inner implementation's own.
 */
#ifndef PROV_SOFT_H
#define PROV_SOFT_H

#include <openssl/evp.h>

#include "provider/ctx.h"

/* EVP_PKEY_sign_init_ex and its like. */
typedef int prov_soft_init_fn(EVP_PKEY_CTX *pctx, const OSSL_PARAM params[]);

/* An initialised operation with this key; NULL and raised on failure. */
EVP_PKEY_CTX *prov_soft_new(const struct prov_ctx *ctx, EVP_PKEY *key,
                            prov_soft_init_fn *init,
                            const OSSL_PARAM params[]);

/* What an operation came to, as it is; that it failed is said once. */
int prov_soft_done(int result);

/* 1 or 0. Without an operation there is nothing to set or get: 0 and raised,
 * but for an absent list. */
int prov_soft_set(EVP_PKEY_CTX *pctx, const OSSL_PARAM params[]);
int prov_soft_get(EVP_PKEY_CTX *pctx, OSSL_PARAM params[]);

/*
 * The lists of parameters of an operation; where there is none yet (pctx is
 * NULL), those of the algorithm of that name. Static, or NULL.
 */
enum prov_soft_kind {
    PROV_SOFT_SIGNATURE,
    PROV_SOFT_KEYEXCH,
    PROV_SOFT_CIPHER,
    PROV_SOFT_KEM
};

const OSSL_PARAM *prov_soft_gettable(const struct prov_ctx *ctx,
                                     const EVP_PKEY_CTX *pctx,
                                     enum prov_soft_kind kind,
                                     const char *name);
const OSSL_PARAM *prov_soft_settable(const struct prov_ctx *ctx,
                                     const EVP_PKEY_CTX *pctx,
                                     enum prov_soft_kind kind,
                                     const char *name);

#endif
