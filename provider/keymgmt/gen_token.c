/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a key on a token: where, and what the key is afterwards.
 */
#include <string.h>

#include <openssl/err.h>

#include "provider/err.h"
#include "provider/keymgmt/gen_private.h"

/* pkcs11_token:LABEL is short for a URI, which messages show. */
static hsm_rc uri_of_label(const char *label, struct hsm_uri **out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-._~";
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    const unsigned char *p = (const unsigned char *)label;

    TRY(hsm_buf_printf(&text, "pkcs11:token="));
    for (; *p != '\0'; p++) {
        TRY(hsm_buf_printf(&text, strchr(plain, *p) != NULL ? "%c" : "%%%02X",
                           *p));
    }
    return hsm_uri_parse((const char *)text.p, out);
}

/* Where no token is named, the only one there is has to do. */
static int read_uri(const struct prov_gen *gen, struct hsm_uri **out)
{
    const char *uri = gen->in.own[PROV_GEN_URI];
    const char *token = gen->in.own[PROV_GEN_TOKEN];
    hsm_rc rc;

    if (uri != NULL && token != NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s and %s are both given; say one of them",
                          prov_gen_rows[PROV_GEN_URI].name,
                          prov_gen_rows[PROV_GEN_TOKEN].name);
    }
    rc = token != NULL ? uri_of_label(token, out)
                       : hsm_uri_parse(uri != NULL ? uri : "pkcs11:", out);
    return prov_result(gen->ctx, rc);
}

/* Tokens know nothing of RSA-PSS keys: what came back says RSA. */
static bool settle_type(const struct prov_gen *gen, struct prov_key *key)
{
    EVP_PKEY *soft;

    if (key->type == gen->type) {
        return true;
    }
    if (key->soft != NULL) {
        soft = prov_gen_restrict(gen, key->soft);
        if (soft == NULL) {
            return false;
        }
        EVP_PKEY_free(key->soft);
        key->soft = soft;
    }
    key->type = gen->type;
    return true;
}

/* Between what was judged and the token. */
static bool is_wanted(void *arg)
{
    return prov_gen_tell(arg, 0, 1);
}

static int make(struct prov_gen *gen, struct hsm_uri *uri,
                const struct hsm_keygen *spec, struct hsm_key **out)
{
    const struct hsm_cred cred = { .uri = uri };
    struct hsm_context *hsm = prov_ctx_hsm(gen->ctx);

    return hsm != NULL
           && prov_result(gen->ctx,
                          hsm_keygen_pair(hsm, uri, spec, &cred, out));
}

/* The application is told twice that nothing has begun: before the token is
 * touched, and before it makes the pair. Then that it is made. */
struct prov_key *prov_gen_on_token(struct prov_gen *gen)
{
    hsm_autop(hsm_uri) uri = NULL;
    hsm_autop(hsm_key) token = NULL;
    hsm_auto(prov_gen_spec) spec = PROV_GEN_SPEC_INIT;
    struct prov_key *key;

    if (!read_uri(gen, &uri) || !prov_gen_read(gen, uri, &spec)) {
        return NULL;
    }
    if (!prov_gen_tell(gen, 0, 0)) {
        (void)prov_raise(gen->ctx, HSM_E_CANCELLED,
                         "the application's callback cancelled it before the "
                         "token was touched");
        return NULL;
    }
    spec.core.begin = is_wanted;
    spec.core.begin_arg = gen;
    if (!make(gen, uri, &spec.core, &token)) {
        return NULL;
    }
    (void)prov_gen_tell(gen, 3, 0);
    key = prov_key_from_token(gen->ctx, token);
    if (key != NULL
        && (!settle_type(gen, key)
            || !prov_curve_set_manner(key->soft, &gen->in.manner))) {
        prov_key_putp(&key);
    }
    if (key != NULL) {
        key->is_session = spec.core.session_object;
    }
    return key;
}
