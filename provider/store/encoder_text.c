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

static OSSL_FUNC_encoder_encode_fn text_encode;
static int text_encode(void *vctx, OSSL_CORE_BIO *cout, const void *vkey,
                       const OSSL_PARAM abstract[], int selection,
                       OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    const struct prov_ctx *ctx = vctx;
    const struct prov_key *key = vkey;
    hsm_auto(hsm_buf) uri = HSM_BUF_INIT;
    BIO *out;
    int ok;

    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    if (abstract != NULL || !prov_encoder_accepts(ctx, key)
        || !prov_result(ctx, hsm_key_uri(key->token, &uri))) {
        return 0;
    }
    out = BIO_new_from_core_bio(ctx->libctx, cout);
    ok = out != NULL && write_text(out, key, (const char *)uri.p) > 0;
    BIO_free(out);
    return ok;
}

#define ENTRY(number, function) { (number), (void (*)(void))(function) }
const OSSL_DISPATCH prov_encoder_text_functions[] = {
    ENTRY(OSSL_FUNC_ENCODER_NEWCTX, prov_encoder_newctx),
    ENTRY(OSSL_FUNC_ENCODER_FREECTX, prov_encoder_freectx),
    ENTRY(OSSL_FUNC_ENCODER_DOES_SELECTION, prov_encoder_does_selection),
    ENTRY(OSSL_FUNC_ENCODER_ENCODE, text_encode),
    OSSL_DISPATCH_END
};
