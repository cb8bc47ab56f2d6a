/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/ctx.h"

#include <stdlib.h>
#include <sys/random.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "provider/conf_table.h"
#include "provider/err.h"
#include "provider/keymgmt/curve.h"
#include "src/base/buf.h"
#include "src/base/log.h"

/*
 * The default provider, where we have loaded it for a module's sake. It stays
 * for good: the module may use it until the process ends. Kept here so that it
 * does not look lost.
 */
static OSSL_PROVIDER *_Atomic lent_default;

/* What a module in this process finds when it hashes by libcrypto. */
static bool process_can_hash(void)
{
    EVP_MD *md;

    ERR_set_mark();
    md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    ERR_pop_to_mark();
    EVP_MD_free(md);
    return md != NULL;
}

/* A provider named null says that the application wants nothing there. */
static void lend_default(void)
{
    OSSL_PROVIDER *loaded;

    if (OSSL_PROVIDER_available(NULL, "null")) {
        return;
    }
    ERR_set_mark();
    loaded = OSSL_PROVIDER_try_load(NULL, "default", 1);
    ERR_pop_to_mark();
    if (loaded != NULL) {
        lent_default = loaded;
        hsm_log(HSM_LOG_INFO, "loaded OpenSSL's default provider: the "
                "process had no SHA2-256 for PKCS#11 modules");
    }
}

/* Without a hash SoftHSM, for one, answers CKR_PIN_INCORRECT to a right PIN;
 * a module that is known to be in another process does not care. */
static hsm_rc before_init(void *arg)
{
    const struct prov_ctx *ctx = arg;

    if (process_can_hash()) {
        return HSM_OK;
    }
    if (prov_conf_load_default(&ctx->conf)) {
        lend_default();
    }
    if (process_can_hash() || prov_conf_is_remote(&ctx->conf)) {
        return HSM_OK;
    }
    return hsm_fail(HSM_E_NO_DEFAULT, "before_init",
                    "the default library context offers no SHA2-256, so that "
                    "a PKCS#11 module could not check a PIN; activate the "
                    "default provider in openssl.cnf, by \"-provider "
                    "default\", or allow %s",
                    prov_settings[PROV_SET_LOAD_DEFAULT].name);
}

static bool refusal_counts(void *arg)
{
    (void)arg;
    return process_can_hash();
}

static hsm_rc open_log(const struct prov_conf *c)
{
    if (c->env_debug != NULL) {
        return hsm_blame(hsm_log_open(c->env_debug), "PKCS11_PROVIDER_DEBUG");
    }
    if (c->value[PROV_SET_LOG] != NULL) {
        return hsm_blame(hsm_log_open(c->value[PROV_SET_LOG]), "%s",
                         prov_settings[PROV_SET_LOG].name);
    }
    return HSM_OK;
}

static hsm_rc make_from(struct prov_ctx *ctx, struct hsm_settings *settings,
                        struct hsm_context **out)
{
    const struct hsm_hooks hooks = {
        .before_init = before_init, .refusal_counts = refusal_counts,
        .name_curve = prov_curve_name, .arg = ctx
    };

    TRY(prov_conf_judge(&ctx->conf, settings));
    TRY(open_log(&ctx->conf));
    return hsm_context_new(settings, &hooks, out);
}

static hsm_rc make_hsm(struct prov_ctx *ctx, struct hsm_context **out)
{
    struct hsm_settings settings;
    hsm_rc rc;

    hsm_settings_init(&settings);
    rc = make_from(ctx, &settings, out);
    hsm_settings_clear(&settings);
    return rc;
}

static void drop_hsm(struct hsm_context *hsm)
{
    if (hsm != NULL) {
        hsm_context_close(hsm);
        hsm_context_put(hsm);
    }
}

/* Two threads may both make one, for no lock is held meanwhile; the first to
 * come back wins. A failure is not remembered: it is raised every time. */
struct hsm_context *prov_ctx_hsm(struct prov_ctx *ctx)
{
    struct hsm_context *made = NULL;
    struct hsm_context *hsm;

    hsm_lock(&ctx->lock);
    hsm = ctx->hsm;
    hsm_unlock(&ctx->lock);
    if (hsm != NULL) {
        return hsm;
    }
    if (!prov_result(ctx, make_hsm(ctx, &made))) {
        return NULL;
    }
    hsm_lock(&ctx->lock);
    if (ctx->hsm == NULL) {
        ctx->hsm = made;
        made = NULL;
    }
    hsm = ctx->hsm;
    hsm_unlock(&ctx->lock);
    drop_hsm(made);
    return hsm;
}

static void find_upcalls(struct prov_core *core, const OSSL_DISPATCH *in)
{
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            core->get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            core->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            core->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            core->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        default:
            break;
        }
    }
}

/*
 * With another major version there are two libcryptos in the process, and what
 * one makes the other cannot use. A core that does not tell is believed.
 */
static bool core_fits(struct prov_ctx *ctx)
{
    char *version = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_CORE_VERSION, &version, 0),
        OSSL_PARAM_END
    };

    ctx->core_major = PROV_OPENSSL_MAJOR;
    if (ctx->core.get_params == NULL
        || !ctx->core.get_params(ctx->core.handle, params)
        || !prov_version_parse(version, &ctx->core_major, &ctx->core_minor)) {
        return true;
    }
    if (ctx->core_major == PROV_OPENSSL_MAJOR) {
        return true;
    }
    return prov_raise(ctx, CKR_GENERAL_ERROR,
                      "this module was built for OpenSSL %d, but OpenSSL %s "
                      "loads it; install the one that was built for it",
                      PROV_OPENSSL_MAJOR, version);
}

struct prov_ctx *prov_ctx_new(const OSSL_CORE_HANDLE *handle,
                              const OSSL_DISPATCH *in)
{
    struct prov_ctx *ctx = hsm_zalloc(sizeof(*ctx));

    if (ctx == NULL) {
        return NULL;
    }
    ctx->core.handle = handle;
    find_upcalls(&ctx->core, in);
    hsm_lock_init(&ctx->lock);
    if (!core_fits(ctx)) {
        prov_ctx_free(ctx);
        return NULL;
    }
    /* Now, so that processes forked later agree on it. Up to 256 octets come
     * whole, or not at all. */
    if (getrandom(ctx->secret, sizeof(ctx->secret), 0)
        != (ssize_t)sizeof(ctx->secret)) {
        (void)prov_raise(ctx, CKR_RANDOM_NO_RNG, "getrandom");
        prov_ctx_free(ctx);
        return NULL;
    }
    /* It never reads the system's configuration, and its default provider
     * comes as the fallback, at the first fetch. */
    ctx->libctx = OSSL_LIB_CTX_new_from_dispatch(handle, in);
    if (ctx->libctx == NULL
        || !prov_conf_read(&ctx->conf, handle, ctx->core.get_params)) {
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "no memory for the provider");
        prov_ctx_free(ctx);
        return NULL;
    }
    return ctx;
}

/* May run when the process is nearly over: nothing here but the core calls a
 * module, and the core knows. */
void prov_ctx_free(struct prov_ctx *ctx)
{
    if (ctx == NULL) {
        return;
    }
    drop_hsm(ctx->hsm);
    prov_conf_clear(&ctx->conf);
    OSSL_LIB_CTX_free(ctx->libctx);
    hsm_lock_destroy(&ctx->lock);
    hsm_wipe(ctx->secret, sizeof(ctx->secret));
    free(ctx);
}
