/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one symbol that the module exports, and the provider's own functions.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/compat.h"
#include "provider/ctx.h"
#include "provider/err.h"
#include "provider/query.h"
#include "src/base/gate.h"
#include "src/session/pin.h"

#ifndef PACKAGE_VERSION
# define PACKAGE_VERSION "unknown"
#endif

static OSSL_FUNC_provider_teardown_fn teardown;
static OSSL_FUNC_provider_gettable_params_fn gettable_params;
static OSSL_FUNC_provider_get_params_fn get_params;

static void teardown(void *provctx)
{
    prov_ctx_free(provctx);
}

static const OSSL_PARAM *gettable_params(void *provctx)
{
    static const OSSL_PARAM list[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END
    };

    (void)provctx;
    return list;
}

static int get_params(void *provctx, OSSL_PARAM params[])
{
    static const struct {
        const char *name;
        const char *value;
    } texts[] = {
        { OSSL_PROV_PARAM_NAME, "PKCS#11 provider for OpenSSL" },
        { OSSL_PROV_PARAM_VERSION, PACKAGE_VERSION },
        { OSSL_PROV_PARAM_BUILDINFO,
          PACKAGE_VERSION " for OpenSSL " OPENSSL_FULL_VERSION_STR }
    };
    OSSL_PARAM *p;
    size_t i;

    (void)provctx;
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        p = OSSL_PARAM_locate(params, texts[i].name);
        if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, texts[i].value)) {
            return 0;
        }
    }
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    return p == NULL || OSSL_PARAM_set_int(p, 1);
}

static const OSSL_DISPATCH functions[] = {
    { OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown },
    { OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable_params },
    { OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get_params },
    { OSSL_FUNC_PROVIDER_QUERY_OPERATION,
      (void (*)(void))prov_query_operation },
    { OSSL_FUNC_PROVIDER_GET_CAPABILITIES,
      (void (*)(void))prov_get_capabilities },
    OSSL_DISPATCH_END
};

/* What a module leaves on the error queue, when it uses libcrypto itself, is
 * not the application's. */
static void before_call(void)
{
    (void)ERR_set_mark();
}

static void after_call(void)
{
    (void)ERR_pop_to_mark();
}

/*
 * libcrypto holds locks here, and may be in the middle of reading its
 * configuration: nothing is fetched, loaded or started. What is set up must
 * exist before the application forks.
 */
__attribute__((visibility("default")))
int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                       const OSSL_DISPATCH **out, void **provctx)
{
    struct prov_ctx *ctx = NULL;

    prov_err_setup();
    ctx = prov_ctx_new(handle, in);
    if (ctx == NULL) {
        return 0;
    }
    hsm_gate_setup();
    hsm_gate_around(before_call, after_call);
    hsm_pin_page_setup();
    *out = functions;
    *provctx = ctx;
    return 1;
}
