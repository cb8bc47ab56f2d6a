/* SPDX-License-Identifier: Apache-2.0 */
/* For targets that go by way of libcrypto. */
#ifndef TESTS_FUZZ_CONTEXT_H
#define TESTS_FUZZ_CONTEXT_H

#include <openssl/provider.h>

#include "tests/fuzz/fuzz.h"

extern OSSL_provider_init_fn OSSL_provider_init;

/* One context with us and the default provider, and no module to ask. */
static inline OSSL_LIB_CTX *fuzz_context(void)
{
    static OSSL_LIB_CTX *ctx;

    if (ctx == NULL) {
        setenv("PKCS11_PROVIDER_MODULE", "/nonexistent/module.so", 1);
        ctx = OSSL_LIB_CTX_new();
        fuzz_check(ctx != NULL
                   && OSSL_PROVIDER_add_builtin(ctx, "pkcs11",
                                                OSSL_provider_init)
                   && OSSL_PROVIDER_load(ctx, "pkcs11") != NULL
                   && OSSL_PROVIDER_load(ctx, "default") != NULL);
    }
    return ctx;
}

#endif
