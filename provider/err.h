/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only bridge from results of the core to OpenSSL's error queue and its
 * 0/1. An error is raised once, where a dispatch function ends.
 */
#ifndef PROV_ERR_H
#define PROV_ERR_H

#include <openssl/core.h>

#include "provider/ctx.h"
#include "src/base/result.h"

/*
 * 1 for HSM_OK. Otherwise raises one entry (what failed, the CKR_ name, where,
 * the words, and the advice of the value's row) and gives 0.
 */
#define prov_result(ctx, rc) \
    prov_result_at((ctx), (rc), __FILE__, __LINE__, __func__)
int prov_result_at(const struct prov_ctx *ctx, hsm_rc rc, const char *file,
                   int line, const char *func);

/* Raises the reason of a CKR_ or HSM_E_ value with words of its own. Is 0. */
#define prov_raise(ctx, rv, ...) \
    prov_raise_at((ctx), (rv), __FILE__, __LINE__, __func__, __VA_ARGS__)
int prov_raise_at(const struct prov_ctx *ctx, CK_RV rv, const char *file,
                  int line, const char *func, const char *fmt, ...)
    HSM_PRINTF(6, 7);

/* Errors for which OpenSSL has a reason of its own, and tests look for it:
 * prov_raise_prov(PROV_R_INVALID_DIGEST, "…"). Is 0. */
#define prov_raise_prov(reason, ...) \
    (ERR_raise_data(ERR_LIB_PROV, (reason), __VA_ARGS__), 0)

/* For OSSL_FUNC_PROVIDER_GET_REASON_STRINGS. */
const OSSL_ITEM *prov_reason_strings(void *provctx);

#endif
