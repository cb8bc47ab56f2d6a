/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/query.h"

#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>

/*
 * TLS groups, for an OpenSSL that counts a group only when it is offered by
 * the provider whose key type wins. Our software keys are the private library
 * context's, so what it can do we can: its own list is passed on, cut down to
 * the key types that we have. So the numbers are right for every build of
 * OpenSSL, also for one that leaves curves out.
 */
struct relay {
    OSSL_CALLBACK *cb;
    void *arg;
    const char *capability;
    int good;
};

static bool names_have(const char *names, const char *name)
{
    size_t len = strlen(name);
    size_t n;

    for (; *names != '\0'; names += n + (names[n] == ':')) {
        n = strcspn(names, ":");
        if (n == len && strncasecmp(names, name, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_our_key_type(const char *name)
{
    const OSSL_ALGORITHM *a;

    for (a = prov_keymgmt_algorithms; a->algorithm_names != NULL; a++) {
        if (names_have(a->algorithm_names, name)) {
            return true;
        }
    }
    return false;
}

static int relay_group(const OSSL_PARAM params[], void *arg)
{
    struct relay *r = arg;
    const OSSL_PARAM *p;
    const char *type = NULL;

    p = OSSL_PARAM_locate_const(params, OSSL_CAPABILITY_TLS_GROUP_ALG);
    if (p == NULL || !OSSL_PARAM_get_utf8_string_ptr(p, &type)
        || !is_our_key_type(type)) {
        return 1;
    }
    r->good = r->cb(params, r->arg);
    return r->good;
}

static int relay_provider(OSSL_PROVIDER *provider, void *arg)
{
    struct relay *r = arg;

    (void)OSSL_PROVIDER_get_capabilities(provider, r->capability, relay_group,
                                         r);
    return r->good;
}

/* 0 makes SSL_CTX_new() fail: only for what the caller itself refuses. */
int prov_get_capabilities(void *provctx, const char *capability,
                          OSSL_CALLBACK *cb, void *arg)
{
    const struct prov_ctx *ctx = provctx;
    struct relay r = { cb, arg, capability, 1 };

    if (strcasecmp(capability, "TLS-GROUP") != 0
        || !prov_core_needs_tls_groups(ctx->core_minor, ctx->core_major)) {
        return 1;
    }
    (void)OSSL_PROVIDER_do_all(ctx->libctx, relay_provider, &r);
    return r.good;
}
