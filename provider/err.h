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

/* Where something is raised. */
struct prov_place {
    const char *file;
    int line;
    const char *func;
};

#define PROV_HERE (&(const struct prov_place){ __FILE__, __LINE__, __func__ })

/*
 * 1 for HSM_OK. Otherwise raises one entry (what failed, the CKR_ name, where,
 * the words, and the advice of the value's row) and gives 0.
 */
#define prov_result(ctx, rc) prov_result_at((ctx), (rc), PROV_HERE)
int prov_result_at(const struct prov_ctx *ctx, hsm_rc rc,
                   const struct prov_place *at);

/* Raises the reason of a CKR_ or HSM_E_ value with words of its own. Is 0. */
#define prov_raise(ctx, rv, ...) \
    prov_raise_at((ctx), (rv), PROV_HERE, __VA_ARGS__)
int prov_raise_at(const struct prov_ctx *ctx, CK_RV rv,
                  const struct prov_place *at, const char *fmt, ...)
    HSM_PRINTF(4, 5);

/*
 * Errors for which OpenSSL has a reason of its own, and tests look for it, with
 * words: prov_raise_prov(PROV_R_INVALID_DIGEST, "…"), and without, where the
 * reason says it all. Is 0. The log has the reason's name as it is written here
 * (libcrypto's texts are gone after OPENSSL_cleanup()).
 */
#define prov_raise_prov(reason, ...) \
    prov_raise_lib_at(&(const struct prov_reason){ ERR_LIB_PROV, (reason), \
                      #reason }, PROV_HERE, __VA_ARGS__)
#define prov_raise_lib(lib, reason, ...) \
    prov_raise_lib_at(&(const struct prov_reason){ (lib), (reason), #reason }, \
                      PROV_HERE, __VA_ARGS__)
#define prov_raise_bare(lib, reason) \
    prov_raise_bare_at(&(const struct prov_reason){ (lib), (reason), \
                       #reason }, PROV_HERE)
struct prov_reason {
    int lib;
    int reason;
    const char *name;
};
int prov_raise_lib_at(const struct prov_reason *why,
                      const struct prov_place *at, const char *fmt, ...)
    HSM_PRINTF(3, 4);
int prov_raise_bare_at(const struct prov_reason *why,
                       const struct prov_place *at);

/* Makes the reasons known to libcrypto; before anything is raised. */
void prov_err_setup(void);

#endif
