/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to keys: from PEM to DER, and from DER to a key.
 *
 * Decoders see whatever anybody parses. What is not a reference is passed over
 * after a look at its first line or bytes, and is no error ("empty handed").
 *
 * A reference that carries the public key needs no token. For another one the
 * token is searched by the decoder that sees it first ("DER", which also
 * unwraps PEM): that logs in, and tells the type, so that not every key type's
 * decoder has to search.
 */
#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "provider/prompt.h"
#include "provider/query.h"
#include "provider/store/offer.h"
#include "provider/store/public.h"
#include "provider/store/reference.h"
#include "src/object/object.h"

#define SELECT_PRIVATE OSSL_KEYMGMT_SELECT_PRIVATE_KEY
#define SELECT_KEYPAIR OSSL_KEYMGMT_SELECT_KEYPAIR

struct prov_decoder {
    struct prov_ctx *ctx;
    bool wants_public;          /* the caller reads public keys */
    bool wants_other;           /* the caller reads no keys at all */
};

/* One call of a decoder, and what it found. */
struct call {
    struct prov_ctx *ctx;
    bool public_only;
    struct prov_prompt prompt;
    struct hsm_buf der;         /* the reference */
    struct hsm_uri *uri;
};

static void call_clear(struct call *c)
{
    hsm_buf_clear(&c->der);
    hsm_uri_put(c->uri);
}
#define call_auto __attribute__((cleanup(call_clear))) struct call

/* --- life --- */

static OSSL_FUNC_decoder_newctx_fn decoder_newctx;
static void *decoder_newctx(void *provctx)
{
    struct prov_decoder *d = OPENSSL_zalloc(sizeof(*d));

    if (d != NULL) {
        d->ctx = provctx;
    }
    return d;
}

static OSSL_FUNC_decoder_freectx_fn decoder_freectx;
static void decoder_freectx(void *vctx)
{
    OPENSSL_free(vctx);
}

/* The outermost structure that the caller reads says what it is after. */
static OSSL_FUNC_decoder_set_ctx_params_fn decoder_set_ctx_params;
static int decoder_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct prov_decoder *d = vctx;
    const OSSL_PARAM *p = NULL;
    const char *name = NULL;

    if (params != NULL) {
        p = OSSL_PARAM_locate_const(params, OSSL_OBJECT_PARAM_DATA_STRUCTURE);
    }
    if (p == NULL) {
        return 1;
    }
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name) || name == NULL) {
        return 0;
    }
    d->wants_public = OPENSSL_strcasecmp(name, "SubjectPublicKeyInfo") == 0;
    d->wants_other = OPENSSL_strcasecmp(name, "Certificate") == 0
                     || OPENSSL_strcasecmp(name, "CertificateList") == 0;
    return 1;
}

static OSSL_FUNC_decoder_settable_ctx_params_fn decoder_settable_ctx_params;
static const OSSL_PARAM *decoder_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, NULL, 0),
        OSSL_PARAM_END
    };

    (void)provctx;
    return settable;
}

/* Parameters alone are not read from a reference. */
static OSSL_FUNC_decoder_does_selection_fn decoder_does_selection;
static int decoder_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return selection == 0 || (selection & SELECT_KEYPAIR) != 0;
}

/* --- reading --- */

typedef hsm_rc read_fn(BIO *in, struct hsm_buf *der);

/*
 * The reference that comes next in the input: 1 with c->uri, or without it
 * when something else comes; 0 with an error raised when it is broken.
 */
static int read_next(struct call *c, OSSL_CORE_BIO *in, read_fn *read)
{
    BIO *bio = BIO_new_from_core_bio(c->ctx->libctx, in);
    hsm_rc rc;

    if (bio == NULL) {
        return prov_raise(c->ctx, CKR_HOST_MEMORY, "no memory for a BIO");
    }
    rc = read(bio, &c->der);
    BIO_free(bio);
    if (rc.rv == HSM_E_END) {
        return 1;
    }
    if (hsm_ok(rc)) {
        rc = prov_reference_decode(hsm_buf_bytes(&c->der), &c->uri);
    }
    return prov_result(c->ctx, rc);
}

/* --- making keys --- */

/* Errors that a module leaves, when it uses libcrypto, are taken off. */
static hsm_rc search(struct call *c, struct hsm_context *hsm,
                     struct hsm_items *items, struct hsm_key **key)
{
    struct hsm_cred cred = { .uri = c->uri };
    hsm_rc rc;

    ERR_set_mark();
    if (c->public_only) {
        rc = prov_public_find(hsm, c->uri, true, items);
    } else {
        prov_prompt_cred(&c->prompt, &cred);
        rc = hsm_load_key(hsm, c->uri, &cred, key);
    }
    ERR_pop_to_mark();
    return rc;
}

static struct prov_key *key_by_search(struct call *c, struct hsm_context *hsm)
{
    hsm_auto(hsm_items) items = HSM_ITEMS_INIT;
    hsm_autop(hsm_key) token_key = NULL;

    if (!prov_result(c->ctx, search(c, hsm, &items, &token_key))) {
        return NULL;
    }
    if (c->public_only) {
        return prov_key_from_public(c->ctx, &items.v[0].pub);
    }
    return prov_key_from_token(c->ctx, token_key);
}

static struct prov_key *key_by_public(struct call *c, struct hsm_context *hsm,
                                      struct hsm_bytes spki)
{
    hsm_auto(hsm_public) pub = HSM_PUBLIC_INIT;
    hsm_autop(hsm_key) token_key = NULL;
    hsm_rc rc = hsm_public_from_spki(spki, &pub);

    if (hsm_ok(rc) && c->public_only) {
        return prov_key_from_public(c->ctx, &pub);
    }
    if (hsm_ok(rc)) {
        rc = hsm_public_name_curve(hsm, &pub);
    }
    if (hsm_ok(rc)) {
        rc = hsm_key_from_reference(hsm, c->uri, &pub, &token_key);
    }
    if (!prov_result(c->ctx, rc)) {
        return NULL;
    }
    return prov_key_from_token(c->ctx, token_key);
}

/* NULL with an error raised. */
static struct prov_key *make_key(struct call *c)
{
    struct hsm_bytes spki = hsm_uri_public_key(c->uri);
    struct hsm_context *hsm = prov_ctx_hsm(c->ctx);

    if (hsm == NULL) {
        return NULL;
    }
    return spki.len > 0 ? key_by_public(c, hsm, spki) : key_by_search(c, hsm);
}

/*
 * A key that was not searched on the token has had no login, and nobody can be
 * asked later. Not before the key is the one to hand out: every decoder on the
 * way would ask.
 */
static int ask_pin(struct call *c, struct prov_key *key)
{
    struct hsm_cred cred = { .uri = c->uri };

    if (key->token == NULL || hsm_uri_public_key(c->uri).len == 0) {
        return 1;
    }
    prov_prompt_cred(&c->prompt, &cred);
    return prov_result(c->ctx, hsm_key_ask_pin(key->token, &cred));
}

/*
 * Hands the reference to the decoder of its type. The key is made here to
 * learn that, and because what fails here is told: behind the "file" store,
 * libcrypto drops the errors of later decoders.
 */
static int hand_on(struct call *c, OSSL_CALLBACK *cb, void *cbarg)
{
    struct prov_key *key = make_key(c);
    const char *type;

    if (key == NULL) {
        return 0;
    }
    type = key->type->name;
    prov_key_put(key);
    return prov_offer_der(hsm_buf_bytes(&c->der), PROV_REFERENCE_STRUCTURE,
                          type, cb, cbarg);
}

/* --- dispatch --- */

static struct call call_of(const struct prov_decoder *d, int selection,
                           OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    bool public_only = selection != 0 && (selection & SELECT_PRIVATE) == 0;

    return (struct call){
        .ctx = d->ctx,
        .public_only = public_only || d->wants_public,
        .prompt = { pw_cb, pw_cbarg },
        .der = HSM_BUF_INIT,
    };
}

static OSSL_FUNC_decoder_decode_fn pem_decode;
static int pem_decode(void *vctx, OSSL_CORE_BIO *in, int selection,
                      OSSL_CALLBACK *cb, void *cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    const struct prov_decoder *d = vctx;
    call_auto c = call_of(d, selection, pw_cb, pw_cbarg);

    if (!read_next(&c, in, prov_reference_read_pem)) {
        return 0;
    }
    if (c.uri == NULL || d->wants_other
        || !decoder_does_selection(d->ctx, selection)) {
        return 1;
    }
    return hand_on(&c, cb, cbarg);
}

/* DER to DER, for a reference that lacks its public key. */
static OSSL_FUNC_decoder_decode_fn der_decode;
static int der_decode(void *vctx, OSSL_CORE_BIO *in, int selection,
                      OSSL_CALLBACK *cb, void *cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    const struct prov_decoder *d = vctx;
    call_auto c = call_of(d, selection, pw_cb, pw_cbarg);

    if (!read_next(&c, in, prov_reference_read_der)) {
        return 0;
    }
    if (c.uri == NULL || hsm_uri_public_key(c.uri).len > 0
        || !decoder_does_selection(d->ctx, selection)) {
        return 1;
    }
    return hand_on(&c, cb, cbarg);
}

static int key_decode(struct call *c, const char *name, OSSL_CORE_BIO *in,
                      OSSL_CALLBACK *cb, void *cbarg)
{
    struct prov_key *key;

    if (!read_next(c, in, prov_reference_read_der)) {
        return 0;
    }
    if (c->uri == NULL) {
        return 1;
    }
    key = make_key(c);
    if (key == NULL) {
        return 0;
    }
    if (key->type != prov_keytype_by_name(name)) {
        prov_key_put(key);
        return 1;
    }
    if (!ask_pin(c, key)) {
        prov_key_put(key);
        return 0;
    }
    return prov_offer_key(key, cb, cbarg);
}

#define ENTRY(number, function) { (number), (void (*)(void))(function) }
#define FUNCTIONS(decode) { \
    ENTRY(OSSL_FUNC_DECODER_NEWCTX, decoder_newctx), \
    ENTRY(OSSL_FUNC_DECODER_FREECTX, decoder_freectx), \
    ENTRY(OSSL_FUNC_DECODER_SETTABLE_CTX_PARAMS, \
          decoder_settable_ctx_params), \
    ENTRY(OSSL_FUNC_DECODER_SET_CTX_PARAMS, decoder_set_ctx_params), \
    ENTRY(OSSL_FUNC_DECODER_DOES_SELECTION, decoder_does_selection), \
    ENTRY(OSSL_FUNC_DECODER_DECODE, decode), \
    ENTRY(OSSL_FUNC_DECODER_EXPORT_OBJECT, prov_offer_export), \
    OSSL_DISPATCH_END \
}

static const OSSL_DISPATCH pem_functions[] = FUNCTIONS(pem_decode);
static const OSSL_DISPATCH der_functions[] = FUNCTIONS(der_decode);

/* libcrypto does not say which of its algorithms it calls. */
#define KEY_ROWS(X) \
    X(rsa, "RSA") \
    X(rsapss, "RSA-PSS") \
    X(ec, "EC")

#define KEY_DECODER(id, name) \
    static OSSL_FUNC_decoder_decode_fn id##_decode; \
    static int id##_decode(void *vctx, OSSL_CORE_BIO *in, int selection, \
                           OSSL_CALLBACK *cb, void *cbarg, \
                           OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg) \
    { \
        call_auto c = call_of(vctx, selection, pw_cb, pw_cbarg); \
        return key_decode(&c, (name), in, cb, cbarg); \
    } \
    static const OSSL_DISPATCH id##_functions[] = FUNCTIONS(id##_decode);
KEY_ROWS(KEY_DECODER)

#define DER_PROPS PROV_PROPS ",input=der,structure=" PROV_REFERENCE_STRUCTURE
#define KEY_ALGORITHM(id, name) \
    { name, DER_PROPS, id##_functions, "Reference to a key on a token" },
const OSSL_ALGORITHM prov_decoder_algorithms[] = {
    { "DER", PROV_PROPS ",input=pem", pem_functions,
      "Reference to a key on a token, in PEM" },
    { "DER", DER_PROPS, der_functions,
      "Reference to a key on a token, without its public key" },
    KEY_ROWS(KEY_ALGORITHM)
    { NULL, NULL, NULL, NULL }
};
