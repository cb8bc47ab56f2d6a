/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/softkey.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/x509.h>

/* Functions that only read parameters take them without const. */
static OSSL_PARAM *unconst(const OSSL_PARAM params[])
{
    return (OSSL_PARAM *)(uintptr_t)params;
}

EVP_PKEY *prov_softkey_from_params(const struct prov_ctx *ctx, const char *type,
                                   int selection, const OSSL_PARAM params[])
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_name(ctx->libctx, type, NULL);
    EVP_PKEY *soft = NULL;

    if (pctx == NULL) {
        return NULL;
    }
    if (EVP_PKEY_fromdata_init(pctx) <= 0
        || EVP_PKEY_fromdata(pctx, &soft, selection, unconst(params)) <= 0) {
        EVP_PKEY_free(soft);
        soft = NULL;
    }
    EVP_PKEY_CTX_free(pctx);
    return soft;
}

EVP_PKEY *prov_softkey_from_spki(const struct prov_ctx *ctx,
                                 struct hsm_bytes spki)
{
    const unsigned char *p = spki.p;
    EVP_PKEY *soft;

    if (spki.len == 0 || spki.len > LONG_MAX) {
        return NULL;
    }
    soft = d2i_PUBKEY_ex(NULL, &p, (long)spki.len, ctx->libctx, NULL);
    if (soft != NULL && p != spki.p + spki.len) {
        EVP_PKEY_free(soft);
        soft = NULL;
    }
    return soft;
}

EVP_PKEY *prov_softkey_part(const struct prov_ctx *ctx, const char *type,
                            const EVP_PKEY *soft, int selection)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *part;

    if (EVP_PKEY_todata(soft, selection, &params) <= 0) {
        return NULL;
    }
    part = prov_softkey_from_params(ctx, type, selection, params);
    OSSL_PARAM_free(params);
    return part;
}

/*
 * Asks for sizes only. A name that the key's type does not know, or has no
 * value for, is left unmodified.
 */
static bool tells_any(const EVP_PKEY *soft, OSSL_PARAM query[])
{
    size_t i;
    bool told = false;

    if (soft == NULL) {
        return false;
    }
    OSSL_PARAM_set_all_unmodified(query);
    ERR_set_mark();
    if (EVP_PKEY_get_params(soft, query) > 0) {
        for (i = 0; query[i].key != NULL; i++) {
            told = told || OSSL_PARAM_modified(&query[i]);
        }
    }
    ERR_pop_to_mark();
    return told;
}

bool prov_softkey_has_domain(const EVP_PKEY *soft)
{
    return soft != NULL && !EVP_PKEY_missing_parameters(soft);
}

bool prov_softkey_has_public(const EVP_PKEY *soft)
{
    OSSL_PARAM query[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END
    };

    return tells_any(soft, query);
}

bool prov_softkey_has_private(const EVP_PKEY *soft)
{
    OSSL_PARAM query[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_END
    };

    return tells_any(soft, query);
}

static bool is_private_name(const char *name)
{
    static const char *const prefixes[] = {
        "rsa-factor", "rsa-exponent", "rsa-coefficient"
    };
    size_t i;

    if (strcmp(name, OSSL_PKEY_PARAM_RSA_D) == 0
        || strcmp(name, OSSL_PKEY_PARAM_PRIV_KEY) == 0) {
        return true;
    }
    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* The number of public names among the params; *n is that of all. */
static size_t count_public(const OSSL_PARAM params[], size_t *n)
{
    size_t n_public = 0;

    for (*n = 0; params[*n].key != NULL; (*n)++) {
        n_public += is_private_name(params[*n].key) ? 0 : 1;
    }
    return n_public;
}

int prov_softkey_get_params(const EVP_PKEY *soft, OSSL_PARAM params[])
{
    size_t n, i, j = 0, n_public = count_public(params, &n);
    OSSL_PARAM *open;
    int ok;

    if (n_public == n) {
        return EVP_PKEY_get_params(soft, params) > 0;
    }
    open = OPENSSL_zalloc((n_public + 1) * sizeof(*open));
    if (open == NULL) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (!is_private_name(params[i].key)) {
            open[j++] = params[i];
        }
    }
    ok = EVP_PKEY_get_params(soft, open) > 0;
    for (i = 0, j = 0; i < n; i++) {
        if (!is_private_name(params[i].key)) {
            params[i] = open[j++];
        }
    }
    OPENSSL_free(open);
    return ok;
}

hsm_rc prov_softkey_spki(const EVP_PKEY *soft, struct hsm_buf *out)
{
    unsigned char *der = NULL;
    int n = -1;
    hsm_rc rc = HSM_OK;

    if (prov_softkey_has_public(soft)) {
        ERR_set_mark();
        n = i2d_PUBKEY((EVP_PKEY *)(uintptr_t)soft, &der);
        ERR_pop_to_mark();
    }
    if (n > 0) {
        rc = hsm_buf_set(out, hsm_bytes_of(der, (size_t)n));
    }
    OPENSSL_free(der);
    return rc;
}

int prov_softkey_set_params(EVP_PKEY *soft, const OSSL_PARAM params[])
{
    return EVP_PKEY_set_params(soft, unconst(params)) > 0;
}

static bool check_key(EVP_PKEY_CTX *pctx, int selection, bool quick)
{
    switch (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) {
    case OSSL_KEYMGMT_SELECT_KEYPAIR:
        return EVP_PKEY_pairwise_check(pctx) > 0;
    case OSSL_KEYMGMT_SELECT_PRIVATE_KEY:
        return EVP_PKEY_private_check(pctx) > 0;
    case OSSL_KEYMGMT_SELECT_PUBLIC_KEY:
        return (quick ? EVP_PKEY_public_check_quick(pctx)
                      : EVP_PKEY_public_check(pctx)) > 0;
    default:
        return true;
    }
}

int prov_softkey_check(const struct prov_ctx *ctx, EVP_PKEY *soft,
                       int selection, bool quick)
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(ctx->libctx, soft, NULL);
    bool ok = pctx != NULL;

    if (ok && (selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0) {
        ok = (quick ? EVP_PKEY_param_check_quick(pctx)
                    : EVP_PKEY_param_check(pctx)) > 0;
    }
    ok = ok && check_key(pctx, selection, quick);
    EVP_PKEY_CTX_free(pctx);
    return ok;
}
