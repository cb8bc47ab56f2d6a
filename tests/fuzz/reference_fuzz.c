/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References in PEM and DER: a reader takes one after the other out of
 * anything, each is its own encoding, and libcrypto's decoder may try too. It
 * has no module to ask: none is configured.
 */
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "provider/store/reference.h"
#include "src/base/der.h"
#include "tests/fuzz/context.h"

typedef hsm_rc read_fn(BIO *in, struct hsm_buf *der);

/* Accepted is what we would write, byte for byte. */
static void check_der(struct hsm_bytes der)
{
    hsm_autop(hsm_uri) u = NULL;
    hsm_auto(hsm_buf) again = HSM_BUF_INIT;
    hsm_rc rc = prov_reference_decode(der, &u);
    struct hsm_bytes seq, version, uri;
    char *text;

    if (!hsm_ok(rc)) {
        fuzz_check(u == NULL && (rc.rv == HSM_E_END
                   || fuzz_is_clean(rc, HSM_E_BAD_DATA, HSM_E_URI)));
        fuzz_check(rc.rv == HSM_E_END || hsm_detail()[0] != '\0');
        return;
    }
    fuzz_check(hsm_der_only(der, HSM_DER_SEQUENCE, &seq)
               && hsm_der_get(&seq, HSM_DER_VISIBLE, &version)
               && hsm_der_only(seq, HSM_DER_UTF8, &uri));
    text = fuzz_text(uri);
    fuzz_check(hsm_ok(prov_reference_encode(text, &again)));
    fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&again), der));
    free(text);
}

/* Until the input is at its end: each read takes something. */
static void check_stream(struct hsm_bytes in, read_fn *read)
{
    BIO *bio = BIO_new_mem_buf(in.len > 0 ? (const void *)in.p : "",
                               (int)in.len);
    size_t left = in.len + 1;

    fuzz_check(bio != NULL);
    while (BIO_ctrl_pending(bio) > 0 && BIO_ctrl_pending(bio) < left) {
        hsm_auto(hsm_buf) der = HSM_BUF_INIT;
        hsm_rc rc;

        left = BIO_ctrl_pending(bio);
        rc = read(bio, &der);
        if (hsm_ok(rc)) {
            check_der(hsm_buf_bytes(&der));
        } else {
            fuzz_check(rc.rv == HSM_E_END
                       || fuzz_is_clean(rc, HSM_E_BAD_DATA, 0));
        }
    }
    BIO_free(bio);
}

/* A key comes out where a public half is in the reference, which may be of a
 * kind that only the token knows. */
static void check_decoder(const uint8_t *data, size_t size)
{
    static OSSL_DECODER_CTX *d;
    static EVP_PKEY *key;
    OSSL_PARAM *secret = NULL;

    if (d == NULL) {
        d = OSSL_DECODER_CTX_new_for_pkey(&key, NULL, NULL, NULL, 0,
                                          fuzz_context(), "provider=pkcs11");
    }
    fuzz_check(d != NULL && key == NULL);
    if (OSSL_DECODER_from_data(d, &data, &size)) {
        fuzz_check(key != NULL && EVP_PKEY_get_bits(key) >= 0);
        fuzz_check(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &secret) != 1);
    }
    EVP_PKEY_free(key);
    key = NULL;
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hsm_bytes in = hsm_bytes_of(data, size);

    check_der(in);
    check_stream(in, prov_reference_read_pem);
    check_stream(in, prov_reference_read_der);
    if (size > 0) {
        check_decoder(data, size);
    }
    return 0;
}
