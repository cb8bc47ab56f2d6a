/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/dhkem_suite.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "provider/err.h"

static const struct prov_dhkem_suite suites[] = {
    { "prime256v1", "SHA2-256", 0x0010, 32, 32 },
    { "secp384r1",  "SHA2-384", 0x0011, 48, 48 },
    { "secp521r1",  "SHA2-512", 0x0012, 66, 64 },
};

const struct prov_dhkem_suite *prov_dhkem_suite_of(const EVP_PKEY *key)
{
    char name[64] = "";
    size_t i = 0;

    if (EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) <= 0) {
        return NULL;
    }
    for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        if (strcmp(name, suites[i].group) == 0) {
            return &suites[i];
        }
    }
    return NULL;
}

/* "HPKE-v1" ‖ suite_id ‖ label ‖ content */
static hsm_rc put_labeled(struct hsm_buf *out,
                          const struct prov_dhkem_suite *suite,
                          const char *label, struct hsm_bytes content)
{
    static const char head[] = "HPKE-v1" "KEM";
    const unsigned char id[] = { (unsigned char)(suite->id >> 8),
                                 (unsigned char)(suite->id & 0xff) };

    TRY(hsm_buf_append(out, head, sizeof(head) - 1));
    TRY(hsm_buf_append(out, id, sizeof(id)));
    TRY(hsm_buf_append(out, label, strlen(label)));
    return hsm_buf_append(out, content.p, content.len);
}

/* One half of HKDF, extracting without a salt. */
static int hkdf(const struct prov_ctx *ctx,
                const struct prov_dhkem_suite *suite, int mode,
                OSSL_PARAM *key_and_info, unsigned char *out)
{
    union {
        const char *c;
        char *p;
    } md = { .c = suite->md };
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md.p, 0),
        key_and_info[0], key_and_info[1],
        OSSL_PARAM_construct_end()
    };
    EVP_KDF *kdf = EVP_KDF_fetch(ctx->libctx, "HKDF", NULL);
    EVP_KDF_CTX *kctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    int ok = kctx != NULL
             && EVP_KDF_derive(kctx, out, suite->secret_bytes, params) > 0;

    EVP_KDF_CTX_free(kctx);
    EVP_KDF_free(kdf);
    return ok;
}

static int extract(const struct prov_ctx *ctx,
                   const struct prov_dhkem_suite *suite, struct hsm_bytes dh,
                   unsigned char *prk)
{
    hsm_auto(hsm_buf) ikm = HSM_BUF_INIT;
    OSSL_PARAM params[2];

    if (!prov_result(ctx, put_labeled(&ikm, suite, "eae_prk", dh))) {
        return 0;
    }
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm.p,
                                                  ikm.len);
    params[1] = OSSL_PARAM_construct_end();
    return hkdf(ctx, suite, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, params, prk);
}

static int expand(const struct prov_ctx *ctx,
                  const struct prov_dhkem_suite *suite, unsigned char *prk,
                  struct hsm_bytes context, unsigned char *secret)
{
    const unsigned char length[] = { 0, (unsigned char)suite->secret_bytes };
    hsm_auto(hsm_buf) info = HSM_BUF_INIT;
    OSSL_PARAM params[2];

    if (!prov_result(ctx, hsm_buf_append(&info, length, sizeof(length)))
        || !prov_result(ctx, put_labeled(&info, suite, "shared_secret",
                                         context))) {
        return 0;
    }
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, prk,
                                                  suite->secret_bytes);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.p,
                                                  info.len);
    return hkdf(ctx, suite, EVP_KDF_HKDF_MODE_EXPAND_ONLY, params, secret);
}

int prov_dhkem_secret(const struct prov_ctx *ctx,
                      const struct prov_dhkem_suite *suite,
                      struct hsm_bytes dh, struct hsm_bytes context,
                      unsigned char *secret)
{
    unsigned char prk[PROV_DHKEM_SECRET_MAX];
    int ok = extract(ctx, suite, dh, prk)
             && expand(ctx, suite, prk, context, secret);

    OPENSSL_cleanse(prk, sizeof(prk));
    return ok;
}
