/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private key for people: that it is on a token, its URI, and its public
 * half in the words of the default provider.
 */
#include "provider/store/encoder.h"

#include <openssl/evp.h>

#include "provider/err.h"

static int write_text(BIO *out, const struct prov_key *key, const char *uri)
{
    if (key->soft != NULL
        && BIO_printf(out, "Private-Key: (%d bit, on a PKCS#11 token)\n",
                      EVP_PKEY_get_bits(key->soft)) <= 0) {
        return 0;
    }
    if (key->soft == NULL
        && BIO_puts(out, "Private-Key: (on a PKCS#11 token)\n") <= 0) {
        return 0;
    }
    if (BIO_printf(out, "URI: %s\n", uri) <= 0) {
        return 0;
    }
    return key->soft == NULL || EVP_PKEY_print_public(out, key->soft, 0, NULL);
}

/* Parameters alone are asked of us too: the default provider's encoder cannot
 * import an RSA key of nothing else. */
static OSSL_FUNC_encoder_does_selection_fn text_does_selection;
static int text_does_selection(void *provctx, int selection)
{
    return prov_encoder_does_selection(provctx, selection)
           || (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0;
}

/* libcrypto has raised what is the matter. */
static int with_bio(const struct prov_ctx *ctx, OSSL_CORE_BIO *cout,
                    const struct prov_key *key, const char *uri)
{
    BIO *out = BIO_new_from_core_bio(ctx->libctx, cout);
    int ok = out != NULL
             && (uri != NULL ? write_text(out, key, uri)
                             : EVP_PKEY_print_params(out, key->soft, 0, NULL));

    BIO_free(out);
    return ok > 0;
}

static OSSL_FUNC_encoder_encode_fn text_encode;
static int text_encode(void *vctx, OSSL_CORE_BIO *cout, const void *vkey,
                       const OSSL_PARAM abstract[], int selection,
                       OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    const struct prov_ctx *ctx = vctx;
    const struct prov_key *key = vkey;
    hsm_auto(hsm_buf) uri = HSM_BUF_INIT;

    (void)pw_cb;
    (void)pw_cbarg;
    if (abstract != NULL || key == NULL) {
        return 0;
    }
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {
        return key->soft != NULL && with_bio(ctx, cout, key, NULL);
    }
    return prov_encoder_accepts(ctx, key)
           && prov_result(ctx, hsm_key_uri(key->token, &uri))
           && with_bio(ctx, cout, key, (const char *)uri.p);
}

#define ENTRY(number, function) { (number), (void (*)(void))(function) }
const OSSL_DISPATCH prov_encoder_text_functions[] = {
    ENTRY(OSSL_FUNC_ENCODER_NEWCTX, prov_encoder_newctx),
    ENTRY(OSSL_FUNC_ENCODER_FREECTX, prov_encoder_freectx),
    ENTRY(OSSL_FUNC_ENCODER_DOES_SELECTION, text_does_selection),
    ENTRY(OSSL_FUNC_ENCODER_ENCODE, text_encode),
    OSSL_DISPATCH_END
};
