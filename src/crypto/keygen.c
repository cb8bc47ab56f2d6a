/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/keygen.h"

#include <stdlib.h>
#include <sys/random.h>

#include "src/base/der.h"
#include "src/crypto/asked.h"
#include "src/crypto/ladder.h"
#include "src/crypto/mech.h"
#include "src/object/object.h"
#include "src/session/run.h"
#include "src/session/select.h"

#define RANDOM_ID_BYTES 16

struct gen {
    struct hsm_context *ctx;
    struct hsm_uri *uri;
    const struct hsm_keygen *spec;
    struct hsm_buf id;
    bool id_is_given;           /* not ours, by chance */
    struct hsm_bytes label;
    struct hsm_key *key;
};

unsigned int hsm_keygen_usage(const struct hsm_keygen *spec)
{
    if (spec->usage != 0) {
        return spec->usage;
    }
    return spec->kt->ckk == CKK_RSA ? HSM_USE_SIGN | HSM_USE_DECRYPT
                                    : HSM_USE_SIGN | HSM_USE_DERIVE;
}

/* CKA_ID, CKA_LABEL and CKA_TOKEN stand in both templates. */
static hsm_rc add_common(const struct gen *g, struct hsm_attrs *as)
{
    TRY(hsm_attrs_add_bool(as, CKA_TOKEN, !g->spec->session_object));
    TRY(hsm_attrs_add(as, CKA_ID, hsm_buf_bytes(&g->id)));
    return g->label.len > 0 ? hsm_attrs_add(as, CKA_LABEL, g->label) : HSM_OK;
}

static hsm_rc add_parameters(const struct gen *g, struct hsm_attrs *as)
{
    static const unsigned char f4[] = { 1, 0, 1 };
    const struct hsm_keygen *spec = g->spec;
    hsm_auto(hsm_buf) params = HSM_BUF_INIT;

    if (spec->kt->ckk == CKK_RSA) {
        TRY(hsm_attrs_add_ulong(as, CKA_MODULUS_BITS, spec->bits));
        return hsm_attrs_add(as, CKA_PUBLIC_EXPONENT,
                             spec->exponent.len > 0
                             ? spec->exponent : hsm_bytes_of(f4, sizeof(f4)));
    }
    TRY(hsm_der_put(&params, HSM_DER_OID,
                    hsm_bytes_of(spec->curve->oid, spec->curve->oid_len)));
    return hsm_attrs_add(as, CKA_EC_PARAMS, hsm_buf_bytes(&params));
}

static hsm_rc public_template(const struct gen *g, struct hsm_attrs *as)
{
    unsigned int usage = hsm_keygen_usage(g->spec);

    TRY(add_common(g, as));
    TRY(add_parameters(g, as));
    TRY(hsm_attrs_add_bool(as, CKA_PRIVATE, false));
    TRY(hsm_attrs_add_bool(as, CKA_VERIFY, (usage & HSM_USE_SIGN) != 0));
    if (g->spec->kt->ckk == CKK_RSA) {
        TRY(hsm_attrs_add_bool(as, CKA_ENCRYPT,
                               (usage & HSM_USE_DECRYPT) != 0));
        TRY(hsm_attrs_add_bool(as, CKA_WRAP, (usage & HSM_USE_WRAP) != 0));
    }
    return hsm_asked_add(&g->spec->pub_asked, as);
}

static hsm_rc private_template(const struct gen *g, struct hsm_attrs *as)
{
    unsigned int usage = hsm_keygen_usage(g->spec);

    TRY(add_common(g, as));
    TRY(hsm_attrs_add_bool(as, CKA_PRIVATE, true));
    TRY(hsm_attrs_add_bool(as, CKA_SENSITIVE, true));
    TRY(hsm_attrs_add_bool(as, CKA_EXTRACTABLE, false));
    TRY(hsm_attrs_add_bool(as, CKA_SIGN, (usage & HSM_USE_SIGN) != 0));
    TRY(hsm_attrs_add_bool(as, CKA_DERIVE, (usage & HSM_USE_DERIVE) != 0));
    if (g->spec->kt->ckk == CKK_RSA) {
        TRY(hsm_attrs_add_bool(as, CKA_DECRYPT,
                               (usage & HSM_USE_DECRYPT) != 0));
        TRY(hsm_attrs_add_bool(as, CKA_UNWRAP, (usage & HSM_USE_WRAP) != 0));
    }
    return hsm_asked_add(&g->spec->priv_asked, as);
}

/* A key of that name is there already: a second would make both useless. */
static hsm_rc refuse_double(struct gen *g, struct hsm_session *s)
{
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = {
        .cls = CKO_PRIVATE_KEY,
    };

    /* Where there is an id it tells keys of one label apart. */
    if (g->id_is_given) {
        search.id = hsm_buf_bytes(&g->id);
    } else {
        search.label = g->label;
    }
    if (search.id.len == 0 && search.label.len == 0) {
        return HSM_OK;
    }
    TRY(hsm_objects_look(s, &search, &objects));
    if (objects.n > 0) {
        return hsm_fail(HSM_E_PARAMETER, "hsm_keygen_pair",
                        "token \"%s\" already has a private key with that "
                        "%s; say another", s->tok->id.label,
                        g->id_is_given ? "id" : "label");
    }
    return HSM_OK;
}

/* The descriptor of what was just made. */
static hsm_rc describe(struct gen *g, struct hsm_session *s,
                       CK_OBJECT_HANDLE pub, CK_OBJECT_HANDLE priv)
{
    hsm_auto(hsm_attrs) pub_attrs = HSM_ATTRS_INIT;
    hsm_auto(hsm_attrs) priv_attrs = HSM_ATTRS_INIT;
    hsm_auto(hsm_public) half = HSM_PUBLIC_INIT;
    const struct hsm_key_origin from = {
        .ctx = g->ctx, .uri = g->uri, .tok = s->tok, .epoch = s->epoch,
        .reissued = atomic_load(&s->tok->reissued), .h = priv,
        .attrs = &priv_attrs, .pub = &half,
    };

    TRY(hsm_asked_read(g->spec, s, pub, false, &pub_attrs));
    TRY(hsm_asked_read(g->spec, s, priv, true, &priv_attrs));
    TRY(hsm_asked_is_kept(g->spec, &pub_attrs, false, s->tok));
    TRY(hsm_asked_is_kept(g->spec, &priv_attrs, true, s->tok));
    TRY(hsm_public_from_attrs(&pub_attrs, &half));
    TRY(hsm_public_name_curve(g->ctx, &half));
    TRY(hsm_key_from_object(&from, &g->key));
    if (g->spec->session_object) {
        hsm_key_live_in(g->key, s);
    }
    return HSM_OK;
}

static bool destroy(struct hsm_session *s, CK_OBJECT_HANDLE h)
{
    return hsm_ok(hsm_session_call(s, C_DestroyObject, (s->h, h)));
}

/* The pair is there and cannot be used, for this reason: away with it. It is
 * not made again: who makes keys is told. */
static hsm_rc take_back(struct hsm_session *s, CK_OBJECT_HANDLE pub,
                        CK_OBJECT_HANDLE priv, hsm_rc why)
{
    struct hsm_words words;
    bool gone;

    hsm_words_keep(&words);
    gone = destroy(s, pub);
    gone = destroy(s, priv) && gone;
    hsm_token_reissued(s->tok);
    if (!gone) {
        return hsm_fail(HSM_E_BAD_DATA, why.at,
                        "the key pair was made, could not be read (%s%s%s), "
                        "and could not be deleted again; delete it by the "
                        "token's own tool", hsm_ckr_row(why.rv)->name,
                        words.detail[0] != '\0' ? ": " : "", words.detail);
    }
    hsm_words_put_back(&words);
    return why;
}

/* Who asked for the key may still think better of it. */
static hsm_rc ask_to_begin(const struct hsm_keygen *spec)
{
    if (spec->begin != NULL && !spec->begin(spec->begin_arg)) {
        return hsm_fail(HSM_E_CANCELLED, "hsm_keygen_pair",
                        "the application's callback cancelled it before the "
                        "token began");
    }
    return HSM_OK;
}

/* hsm_run_fn */
static hsm_rc generate(struct hsm_session *s, void *arg)
{
    struct gen *g = arg;
    hsm_auto(hsm_attrs) pub_tmpl = HSM_ATTRS_INIT;
    hsm_auto(hsm_attrs) priv_tmpl = HSM_ATTRS_INIT;
    CK_MECHANISM mech = { g->spec->kt->generate, NULL, 0 };
    CK_OBJECT_HANDLE h[2] = { 0, 0 };   /* public, private */
    hsm_rc rc;

    TRY(refuse_double(g, s));
    TRY(public_template(g, &pub_tmpl));
    TRY(private_template(g, &priv_tmpl));
    TRY(ask_to_begin(g->spec));
    s->acting = true;
    rc = hsm_ladder_generate(s, &mech, &pub_tmpl, &priv_tmpl, h);
    hsm_token_gave_handles(s->tok);
    TRY(hsm_asked_blame(g->spec, rc));
    s->acted = true;
    rc = describe(g, s, h[0], h[1]);
    return hsm_ok(rc) ? rc : take_back(s, h[0], h[1], rc);
}

static hsm_rc choose_id(struct gen *g)
{
    unsigned char random_id[RANDOM_ID_BYTES];
    struct hsm_bytes id = g->spec->id;

    g->id_is_given = id.len > 0
        || (hsm_uri_id(g->uri, &id) && id.len > 0);
    if (g->id_is_given) {
        return hsm_buf_set(&g->id, id);
    }
    if (getrandom(random_id, sizeof(random_id), 0)
        != (ssize_t)sizeof(random_id)) {
        return hsm_fail(CKR_RANDOM_NO_RNG, "getrandom",
                        "the system gives no random bytes for CKA_ID");
    }
    return hsm_buf_set(&g->id, hsm_bytes_of(random_id, sizeof(random_id)));
}

static hsm_rc one_token(struct gen *g, struct hsm_token **tok)
{
    struct hsm_tokens tokens = { .n = 0 };

    TRY(hsm_select_tokens(g->ctx, g->uri, &tokens));
    if (tokens.n > 1) {
        return hsm_fail(HSM_E_SEVERAL, "hsm_keygen_pair",
                        "%s matches %zu tokens (\"%s\", \"%s\"%s); a key is "
                        "made on one: add token= or serial=",
                        hsm_uri_for_people(g->uri), tokens.n,
                        tokens.tok[0]->id.label, tokens.tok[1]->id.label,
                        tokens.n > 2 ? ", …" : "");
    }
    *tok = tokens.tok[0];
    return HSM_OK;
}

/* hsm_run_fn. Before a PIN is asked for. */
static hsm_rc check_offer(struct hsm_session *s, void *arg)
{
    const struct hsm_keygen *spec = ((struct gen *)arg)->spec;
    struct hsm_token *tok = s->tok;
    bool offers = false;
    char name[24];

    TRY(hsm_token_offers(tok, spec->kt->generate, &offers));
    if (!offers) {
        return hsm_fail(HSM_E_NO_MECHANISM, "C_GenerateKeyPair",
                        "token \"%s\" does not offer %s", tok->id.label,
                        hsm_mech_name(spec->kt->generate, name));
    }
    return hsm_asked_is_offered(spec, tok);
}

/* With a session that generating takes as well, so it costs none. */
static hsm_rc check_and_generate(const struct hsm_run *run, struct gen *g)
{
    struct hsm_run check = *run;

    check.login = false;
    check.once = false;
    TRY(hsm_run(&check, check_offer, g));
    TRY(choose_id(g));
    return hsm_run(run, generate, g);
}

hsm_rc hsm_keygen_pair(struct hsm_context *ctx, struct hsm_uri *uri,
                       const struct hsm_keygen *spec,
                       const struct hsm_cred *cred, struct hsm_key **out)
{
    struct gen g = {
        .ctx = ctx, .uri = uri, .spec = spec, .id = HSM_BUF_INIT,
    };
    struct hsm_cred full = cred != NULL ? *cred : (struct hsm_cred){ 0 };
    struct hsm_run run = {
        .ctx = ctx, .cred = &full, .kind = HSM_RW, .login = true,
        .once = true,
    };
    hsm_rc rc;

    if ((hsm_uri_want(uri) & HSM_WANT_PRIVATE) == 0) {
        return hsm_fail(HSM_E_PARAMETER, __func__,
                        "%s does not name a private key; leave type= out",
                        hsm_uri_for_people(uri));
    }
    if (full.uri == NULL) {
        full.uri = uri;
    }
    g.label = spec->label;
    if (g.label.len == 0) {
        (void)hsm_uri_label(uri, &g.label);
    }
    TRY(one_token(&g, &run.tok));
    rc = check_and_generate(&run, &g);
    hsm_buf_clear(&g.id);
    if (hsm_ok(rc)) {
        *out = g.key;
    }
    return hsm_blame(rc, "%s", hsm_uri_for_people(uri));
}
