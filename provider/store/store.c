/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader of pkcs11: URIs. The token is searched at the first load, when it
 * is known what is expected, and what is found is handed out one by one:
 * private keys, public keys, certificates.
 *
 * Opening succeeds also for a wrong URI, and the first load says what is wrong
 * with it: libcrypto tries the "file" scheme before ours, and when opening
 * fails, what it shows is that there is no file of that name.
 *
 * The end is always reached. A load that fails is not yet the end, or libcrypto
 * would not count it as an error; the next one is. That there was nothing more
 * is only known when it was looked for: such a load hands nothing out, and is
 * none that failed.
 */
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/store.h>

#include "provider/err.h"
#include "provider/prompt.h"
#include "provider/query.h"
#include "provider/store/delete.h"
#include "provider/store/offer.h"
#include "provider/store/source.h"
#include "src/object/object.h"

#define KINDS (HSM_WANT_PRIVATE | HSM_WANT_PUBLIC | HSM_WANT_CERT)

struct prov_store {
    struct prov_ctx *ctx;
    char *text;                 /* as given */
    struct hsm_uri *uri;        /* NULL: text is none */
    int expect;                 /* OSSL_STORE_INFO_…, 0: anything */
    bool checked;               /* the URI was, and the source knows it */
    bool failed;
    bool ended;
    struct prov_source source;
};

/* What may be handed out for each expectation; none for those left out. */
static unsigned int kinds_expected(int expect)
{
    static const struct {
        int expect;
        unsigned int kinds;
    } rows[] = {
        { 0, KINDS },
        { OSSL_STORE_INFO_PKEY, HSM_WANT_PRIVATE },
        { OSSL_STORE_INFO_PUBKEY, HSM_WANT_PUBLIC },
        { OSSL_STORE_INFO_CERT, HSM_WANT_CERT },
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].expect == expect) {
            return rows[i].kinds;
        }
    }
    return 0;
}

/* The public half of a private key is a public key, too. */
static bool wants_public_halves(const struct prov_store *s)
{
    return s->expect == OSSL_STORE_INFO_PUBKEY
           && (hsm_uri_want(s->uri)
               & (HSM_WANT_PRIVATE | HSM_WANT_PUBLIC)) != 0;
}

static unsigned int wanted(const struct prov_store *s)
{
    if (wants_public_halves(s)) {
        return HSM_WANT_PUBLIC;
    }
    return hsm_uri_want(s->uri) & kinds_expected(s->expect);
}

/* The URI's type= names other kinds of objects than the ones expected. */
static bool is_contradiction(const struct prov_store *s)
{
    return s->uri != NULL && (hsm_uri_want(s->uri) & KINDS) != 0
           && wanted(s) == 0;
}

/* That is no failure of a search, nor where what is expected, a revocation
 * list for example, is never here. */
static bool is_pointless(const struct prov_store *s)
{
    return is_contradiction(s)
           && (s->source.find.kind != PROV_FIND_ALL
               || kinds_expected(s->expect) == 0);
}

static OSSL_FUNC_store_close_fn store_close;
static int store_close(void *loaderctx)
{
    struct prov_store *s = loaderctx;

    if (s != NULL) {
        prov_source_clear(&s->source);
        hsm_uri_put(s->uri);
        hsm_strfree(s->text);
        OPENSSL_free(s);
    }
    return 1;
}

static OSSL_FUNC_store_open_fn store_open;
static void *store_open(void *provctx, const char *uri)
{
    struct prov_ctx *ctx = provctx;
    struct prov_store *s = OPENSSL_zalloc(sizeof(*s));
    char *text = hsm_strdup(uri);

    if (s == NULL || text == NULL) {
        OPENSSL_free(s);
        hsm_strfree(text);
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "no memory for a store");
        return NULL;
    }
    s->ctx = ctx;
    s->text = text;
    if (!hsm_ok(hsm_uri_parse(text, &s->uri))) {
        s->uri = NULL;
    }
    return s;
}

static OSSL_FUNC_store_settable_ctx_params_fn store_settable_ctx_params;
static const OSSL_PARAM *store_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_ISSUER, NULL, 0),
        OSSL_PARAM_BN(OSSL_STORE_PARAM_SERIAL, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_FINGERPRINT, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_INPUT_TYPE, NULL, 0),
        OSSL_PARAM_END
    };

    (void)provctx;
    return settable;
}

/* Properties are about algorithms, the input type about files. */
static OSSL_FUNC_store_set_ctx_params_fn store_set_ctx_params;
static int store_set_ctx_params(void *loaderctx, const OSSL_PARAM params[])
{
    struct prov_store *s = loaderctx;
    const OSSL_PARAM *p;

    if (params == NULL) {
        return 1;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
    return (p == NULL || OSSL_PARAM_get_int(p, &s->expect))
           && prov_find_set(&s->source.find, s->ctx, params);
}

/*
 * Who expects a key and names an object takes the first that comes, which may
 * be another one next time. Who names none wants to see all there are.
 */
static bool wants_one_key(const struct prov_store *s)
{
    struct hsm_bytes name;

    return (s->expect == OSSL_STORE_INFO_PKEY
            || s->expect == OSSL_STORE_INFO_PUBKEY)
           && (hsm_uri_id(s->uri, &name) || hsm_uri_label(s->uri, &name));
}

static hsm_rc check_uri(struct prov_store *s)
{
    if (s->uri == NULL) {
        return hsm_uri_parse(s->text, &s->uri);
    }
    if ((hsm_uri_want(s->uri) & KINDS) == 0) {
        return hsm_fail(HSM_E_URI, __func__, "\"%s\": the store has private "
                        "keys, public keys and certificates only",
                        hsm_uri_for_people(s->uri));
    }
    return HSM_OK;
}

static const char *kind_name(unsigned int kinds)
{
    return kinds == HSM_WANT_PRIVATE ? "private keys"
        : kinds == HSM_WANT_PUBLIC ? "public keys" : "certificates";
}

/*
 * A public key is looked for all the same, and that it is not there is the
 * better reason: OpenSSL's command, from 3.2 on, expects a private key when it
 * got no public one, and shows only what is wrong then.
 */
static hsm_rc contradict(const struct prov_store *s, struct hsm_context *hsm)
{
    unsigned int want = hsm_uri_want(s->uri) & KINDS;

    if (want == HSM_WANT_PUBLIC && s->expect == OSSL_STORE_INFO_PKEY) {
        struct hsm_items items = HSM_ITEMS_INIT;
        struct hsm_cred cred = { .uri = s->uri };
        hsm_rc rc;

        ERR_set_mark();
        rc = hsm_load(hsm, s->uri, want, &cred, &items);
        ERR_pop_to_mark();
        hsm_items_clear(&items);
        TRY(rc);
    }
    return hsm_fail(HSM_E_URI, "OSSL_STORE_expect", "%s names %s by type=, "
                    "and only %s are expected here; leave type= out, or "
                    "correct it", hsm_uri_for_people(s->uri), kind_name(want),
                    kind_name(kinds_expected(s->expect)));
}

static hsm_rc check_once(struct prov_store *s)
{
    if (s->checked) {
        return HSM_OK;
    }
    TRY(check_uri(s));
    s->checked = true;
    s->source.ctx = s->ctx;
    s->source.uri = s->uri;
    s->source.public_halves = wants_public_halves(s);
    s->source.want = wanted(s);
    s->source.one_key = wants_one_key(s);
    return HSM_OK;
}

static hsm_rc next_item(struct prov_store *s, struct hsm_context *hsm,
                        struct prov_prompt *prompt,
                        const struct hsm_item **out)
{
    struct hsm_cred cred = { .uri = s->uri };
    hsm_rc rc;

    if (is_contradiction(s)) {
        return contradict(s, hsm);
    }
    if ((wanted(s) & HSM_WANT_PRIVATE) != 0) {
        prov_prompt_cred(prompt, &cred);
    }
    /* A module that uses libcrypto leaves errors of its own. */
    ERR_set_mark();
    rc = prov_source_next(&s->source, hsm, &cred, out);
    ERR_pop_to_mark();
    return rc;
}

/* The URI's x-public-key; without one *out stays empty. */
static hsm_rc read_claim(const struct prov_store *s, struct hsm_context *hsm,
                         struct hsm_public *out)
{
    struct hsm_bytes spki = hsm_uri_public_key(s->uri);

    if (spki.len == 0) {
        return HSM_OK;
    }
    TRY(hsm_public_from_spki(spki, out));
    return hsm_public_name_curve(hsm, out);
}

/* A key that is handed out has the public half that the URI claims, or one
 * that is not known here: the first private operation compares then. */
static hsm_rc check_claim(const struct prov_store *s,
                          const struct hsm_item *item,
                          const struct hsm_public *claim)
{
    const struct hsm_public *pub;

    if (item == NULL || item->kind == HSM_WANT_CERT || claim->kt == NULL) {
        return HSM_OK;
    }
    pub = item->kind == HSM_WANT_PRIVATE ? hsm_key_public(item->key)
                                         : &item->pub;
    if (pub->kt == NULL || hsm_public_equal(claim, pub)) {
        return HSM_OK;
    }
    return hsm_fail(HSM_E_OTHER_KEY, "OSSL_STORE_load", "the key that %s names "
                    "has another public key than x-public-key of this URI; "
                    "leave that out, or correct it",
                    hsm_uri_for_people(s->uri));
}

static struct prov_key *private_key(const struct prov_store *s,
                                    const struct hsm_item *item,
                                    const struct hsm_public *claim)
{
    hsm_autop(hsm_key) claimed = NULL;

    if (claim->kt == NULL || hsm_key_public(item->key)->kt != NULL) {
        return prov_key_from_token(s->ctx, item->key);
    }
    if (!prov_result(s->ctx, hsm_key_from_reference(
            hsm_key_context(item->key), s->uri, claim, &claimed))) {
        return NULL;
    }
    return prov_key_from_token(s->ctx, claimed);
}

static int hand_out(const struct prov_store *s, const struct hsm_item *item,
                    const struct hsm_public *claim, OSSL_CALLBACK *cb,
                    void *cbarg)
{
    struct prov_key *key;

    if (item->kind == HSM_WANT_CERT) {
        return prov_offer_cert(hsm_buf_bytes(&item->cert), cb, cbarg);
    }
    if (item->kind == HSM_WANT_PRIVATE) {
        key = private_key(s, item, claim);
    } else {
        key = prov_key_from_public(s->ctx, &item->pub);
    }
    return key != NULL && prov_offer_key(key, cb, cbarg);
}

static OSSL_FUNC_store_load_fn store_load;
static int store_load(void *loaderctx, OSSL_CALLBACK *object_cb,
                      void *object_cbarg, OSSL_PASSPHRASE_CALLBACK *pw_cb,
                      void *pw_cbarg)
{
    struct prov_store *s = loaderctx;
    struct prov_prompt prompt = { pw_cb, pw_cbarg };

    hsm_auto(hsm_public) claim = HSM_PUBLIC_INIT;
    const struct hsm_item *item = NULL;
    struct hsm_context *hsm;

    s->ended = s->failed || is_pointless(s);
    if (s->ended) {
        return 0;
    }
    s->failed = true;
    if (!prov_result(s->ctx, check_once(s))) {
        return 0;
    }
    hsm = prov_ctx_hsm(s->ctx);
    if (hsm == NULL || !prov_result(s->ctx, read_claim(s, hsm, &claim))
        || !prov_result(s->ctx, next_item(s, hsm, &prompt, &item))
        || !prov_result(s->ctx, check_claim(s, item, &claim))) {
        return 0;
    }
    s->failed = false;
    s->ended = item == NULL;
    return item == NULL || hand_out(s, item, &claim, object_cb, object_cbarg);
}

static OSSL_FUNC_store_eof_fn store_eof;
static int store_eof(void *loaderctx)
{
    const struct prov_store *s = loaderctx;

    return is_pointless(s) || s->ended || prov_source_is_empty(&s->source);
}

#define ENTRY(number, function) { (number), (void (*)(void))(function) }
static const OSSL_DISPATCH store_functions[] = {
    ENTRY(OSSL_FUNC_STORE_OPEN, store_open),
    ENTRY(OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, store_settable_ctx_params),
    ENTRY(OSSL_FUNC_STORE_SET_CTX_PARAMS, store_set_ctx_params),
    ENTRY(OSSL_FUNC_STORE_LOAD, store_load),
    ENTRY(OSSL_FUNC_STORE_EOF, store_eof),
    ENTRY(OSSL_FUNC_STORE_CLOSE, store_close),
    ENTRY(OSSL_FUNC_STORE_EXPORT_OBJECT, prov_offer_export),
    ENTRY(OSSL_FUNC_STORE_DELETE, prov_store_delete),
    OSSL_DISPATCH_END
};

const OSSL_ALGORITHM prov_store_algorithms[] = {
    { "pkcs11", PROV_PROPS, store_functions,
      "Keys and certificates named by pkcs11: URIs [RFC 7512]" },
    { NULL, NULL, NULL, NULL }
};
