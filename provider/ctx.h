/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's context: one per library context that activates it.
 *
 * Made in OSSL_provider_init(), which only reads parameters. The core context
 * (modules, tokens) is made at the first use that needs a token. Nothing in it
 * changes after that; any thread may use it.
 */
#ifndef PROV_CTX_H
#define PROV_CTX_H

#include <openssl/crypto.h>
#include <openssl/types.h>

#include "provider/compat.h"
#include "provider/conf.h"
#include "src/module/context.h"

/* The upcalls that are used; NULL where the core has none. */
struct prov_core {
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
};

struct prov_ctx {
    struct prov_core core;
    unsigned int core_major, core_minor;    /* of the running libcrypto */
    OSSL_LIB_CTX *libctx;       /* private: default provider, no settings */
    struct prov_conf conf;      /* as read at init; judged at first use */
    unsigned char secret[32];   /* random, of this context; forks share it */
    struct hsm_lock lock;
    struct hsm_context *hsm;    /* (lock) NULL until a token is needed */
};

/* The core's context, made now if need be. Raises, and is NULL, when a
 * setting is wrong or memory is short. Borrowed: lives as long as ctx. */
struct hsm_context *prov_ctx_hsm(struct prov_ctx *ctx);

/* entry.c makes and frees it. */
struct prov_ctx *prov_ctx_new(const OSSL_CORE_HANDLE *handle,
                              const OSSL_DISPATCH *in);
void prov_ctx_free(struct prov_ctx *ctx);

#endif
