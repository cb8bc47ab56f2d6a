/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys to references. Whatever structure an application asks for,
 * encrypted or not, it gets the same reference: there is nothing in it to
 * encrypt. A key stored on a token can always be written, for it exists by
 * then, and the application would lose it.
 */
#include "provider/store/encoder.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "provider/err.h"
#include "provider/keymgmt/softkey.h"
#include "provider/query.h"
#include "provider/store/reference.h"

void *prov_encoder_newctx(void *provctx)
{
    return provctx;
}

void prov_encoder_freectx(void *ctx)
{
    (void)ctx;
}

int prov_encoder_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

/* libcrypto asks one encoder after the other for the same key: it is said
 * once. */
static int refuse(const struct prov_ctx *ctx, const char *words)
{
    const char *last = NULL;
    int flags = 0;

    if (ERR_peek_last_error_all(NULL, NULL, NULL, &last, &flags) != 0
        && (flags & ERR_TXT_STRING) != 0 && last != NULL
        && strncmp(last, words, strlen(words)) == 0) {
        return 0;
    }
    return prov_raise(ctx, HSM_E_KEY_USE, "%s", words);
}

int prov_encoder_accepts(const struct prov_ctx *ctx,
                         const struct prov_key *key)
{
    if (prov_key_is_on_token(key) && !key->is_session) {
        return 1;
    }
    if (prov_key_is_on_token(key)) {
        return refuse(ctx, "this key is a session object and ends with this "
                      "process; leave pkcs11_storage:session out to keep it");
    }
    if (key == NULL || !key->has_private) {
        return refuse(ctx, "this key has no private half");
    }
    return refuse(ctx, "this key is not in a token; say -pkeyopt pkcs11_uri:… "
                  "to create it there, or drop provider=pkcs11");
}

/* The token does not know that an RSA key is for PSS only: the software half
 * does, and goes first. */
static hsm_rc public_of(const struct prov_key *key, struct hsm_buf *spki)
{
    TRY(prov_softkey_spki(key->soft, spki));
    if (spki->len > 0) {
        return HSM_OK;
    }
    return hsm_buf_set(spki, hsm_buf_bytes(&hsm_key_public(key->token)->spki));
}

static hsm_rc reference_of(const struct prov_ctx *ctx,
                           const struct prov_key *key, struct hsm_buf *der)
{
    hsm_auto(hsm_buf) known = HSM_BUF_INIT, uri = HSM_BUF_INIT;
    hsm_auto(hsm_buf) spki = HSM_BUF_INIT, whole = HSM_BUF_INIT;

    TRY(hsm_key_uri(key->token, &known));
    TRY(hsm_uri_with_absolute_pin((const char *)known.p, &uri));
    if (prov_conf_reference_has_public(&ctx->conf)) {
        TRY(public_of(key, &spki));
    }
    if (spki.len == 0) {
        return prov_reference_encode((const char *)uri.p, der);
    }
    TRY(hsm_uri_with_public_key((const char *)uri.p, hsm_buf_bytes(&spki),
                                &whole));
    return prov_reference_encode((const char *)whole.p, der);
}

typedef int write_fn(BIO *out, const struct hsm_buf *der);

static int write_pem(BIO *out, const struct hsm_buf *der)
{
    return PEM_write_bio(out, PROV_REFERENCE_LABEL, "", der->p,
                         (long)der->len) > 0;
}

static int write_der(BIO *out, const struct hsm_buf *der)
{
    size_t n = 0;

    return BIO_write_ex(out, der->p, der->len, &n) == 1 && n == der->len;
}

/* libcrypto has raised why the output cannot be written to. */
static int encode(const struct prov_ctx *ctx, OSSL_CORE_BIO *cout,
                  const struct prov_key *key, write_fn *write)
{
    hsm_auto(hsm_buf) der = HSM_BUF_INIT;
    BIO *out;
    int ok;

    if (!prov_encoder_accepts(ctx, key)
        || !prov_result(ctx, reference_of(ctx, key, &der))) {
        return 0;
    }
    out = BIO_new_from_core_bio(ctx->libctx, cout);
    ok = out != NULL && write(out, &der);
    BIO_free(out);
    return ok;
}

static OSSL_FUNC_encoder_encode_fn pem_encode;
static int pem_encode(void *ctx, OSSL_CORE_BIO *out, const void *key,
                      const OSSL_PARAM abstract[], int selection,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    return abstract == NULL && encode(ctx, out, key, write_pem);
}

static OSSL_FUNC_encoder_encode_fn der_encode;
static int der_encode(void *ctx, OSSL_CORE_BIO *out, const void *key,
                      const OSSL_PARAM abstract[], int selection,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    return abstract == NULL && encode(ctx, out, key, write_der);
}

/* Microsoft's formats hold numbers, and nothing that could name a key. */
static OSSL_FUNC_encoder_encode_fn numbers_encode;
static int numbers_encode(void *ctx, OSSL_CORE_BIO *out, const void *key,
                          const OSSL_PARAM abstract[], int selection,
                          OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    (void)out;
    (void)selection;
    (void)pw_cb;
    (void)pw_cbarg;
    return abstract == NULL && prov_encoder_accepts(ctx, key)
           && refuse(ctx, "a key on a token is written as a reference only; "
                     "say -outform PEM or DER");
}

#define ENTRY(number, function) { (number), (void (*)(void))(function) }
#define FUNCTIONS(encode) { \
    ENTRY(OSSL_FUNC_ENCODER_NEWCTX, prov_encoder_newctx), \
    ENTRY(OSSL_FUNC_ENCODER_FREECTX, prov_encoder_freectx), \
    ENTRY(OSSL_FUNC_ENCODER_DOES_SELECTION, prov_encoder_does_selection), \
    ENTRY(OSSL_FUNC_ENCODER_ENCODE, encode), \
    OSSL_DISPATCH_END \
}

static const OSSL_DISPATCH pem_functions[] = FUNCTIONS(pem_encode);
static const OSSL_DISPATCH der_functions[] = FUNCTIONS(der_encode);
static const OSSL_DISPATCH numbers_functions[] = FUNCTIONS(numbers_encode);

#define ABOUT "Reference to a key on a token"
#define STRUCTURE(type, structure) \
    { type, PROV_PROPS ",output=pem,structure=" structure, pem_functions, \
      ABOUT }, \
    { type, PROV_PROPS ",output=der,structure=" structure, der_functions, \
      ABOUT },
#define KEY(type) \
    STRUCTURE(type, "PrivateKeyInfo") \
    STRUCTURE(type, "EncryptedPrivateKeyInfo") \
    STRUCTURE(type, "type-specific") \
    { type, PROV_PROPS ",output=text", prov_encoder_text_functions, \
      "Description of a key on a token" },

const OSSL_ALGORITHM prov_encoder_algorithms[] = {
    KEY("RSA")
    STRUCTURE("RSA", "pkcs1")
    { "RSA", PROV_PROPS ",output=msblob", numbers_functions, ABOUT },
    { "RSA", PROV_PROPS ",output=pvk", numbers_functions, ABOUT },
    KEY("RSA-PSS")
    KEY("EC")
    { NULL, NULL, NULL, NULL }
};
