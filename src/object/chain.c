/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/chain.h"

#include "src/object/cert.h"
#include "src/object/object.h"
#include "src/session/run.h"
#include "src/session/select.h"

struct chain {
    struct hsm_cert_view of;    /* the certificate whose issuer is sought */
    struct hsm_buf *out;
};

bool hsm_chain_is_leaf(struct hsm_bytes cert)
{
    struct hsm_cert_view v;

    if (!hsm_ok(hsm_cert_read(cert, &v))) {
        hsm_detail_clear();
        return false;
    }
    return !v.is_ca;
}

/* Its subject is the name, and its key, as far as both tell, the right one. */
static bool may_be_issuer(const struct hsm_cert_view *of,
                          const struct hsm_object *o, bool *surely)
{
    struct hsm_cert_view v;

    *surely = false;
    if (o->cert.len == 0 || !hsm_ok(hsm_cert_read(hsm_buf_bytes(&o->cert), &v))
        || !hsm_bytes_equal(v.subject, of->issuer)) {
        return false;
    }
    if (of->issuer_key_id.len == 0 || v.key_id.len == 0) {
        return true;
    }
    *surely = hsm_bytes_equal(of->issuer_key_id, v.key_id);
    return *surely;
}

/* hsm_run_fn */
static hsm_rc look(struct hsm_session *s, void *arg)
{
    struct chain *c = arg;
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    const struct hsm_search search = {
        .subject = c->of.issuer, .cls = CKO_CERTIFICATE,
    };
    bool surely = false;

    TRY(hsm_objects_look(s, &search, &objects));
    for (size_t i = 0; i < objects.n && !surely; i++) {
        bool known = c->out->len > 0;

        if (may_be_issuer(&c->of, &objects.v[i], &surely)
            && (surely || !known)) {
            TRY(hsm_buf_set(c->out, hsm_buf_bytes(&objects.v[i].cert)));
        }
    }
    return HSM_OK;
}

hsm_rc hsm_chain_issuer(struct hsm_context *ctx, struct hsm_uri *uri,
                        struct hsm_bytes der, struct hsm_buf *out)
{
    struct hsm_tokens tokens = { .n = 0 };
    struct chain c = { .out = out };

    TRY(hsm_cert_read(der, &c.of));
    if (hsm_bytes_equal(c.of.subject, c.of.issuer)) {
        return HSM_OK;
    }
    TRY(hsm_select_tokens(ctx, uri, &tokens));
    for (size_t i = 0; i < tokens.n && out->len == 0; i++) {
        const struct hsm_run run = {
            .ctx = ctx, .tok = tokens.tok[i], .kind = HSM_RO,
        };

        TRY(hsm_run(&run, look, &c));
    }
    return HSM_OK;
}
