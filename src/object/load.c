/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/load.h"

#include <stdlib.h>
#include <string.h>

#include "src/object/load_private.h"
#include "src/object/near.h"
#include "src/session/run.h"
#include "src/session/select.h"

/* How many near misses or candidates an error names, and in how much text:
 * a URI that is cut off is of no use. */
#define NAMED_MAX 5u
#define NAMED_BYTES_MAX 700u
/* Among how many objects the near misses are looked for: a call for each. */
#define NEAR_MAX 64u

static void clear_item(struct hsm_item *item)
{
    hsm_key_put(item->key);
    hsm_public_clear(&item->pub);
    hsm_buf_clear(&item->cert);
    free(item->uri);
}

void hsm_items_cut(struct hsm_items *items, size_t n)
{
    while (items->n > n) {
        clear_item(&items->v[--items->n]);
    }
}

void hsm_items_clear(struct hsm_items *items)
{
    hsm_items_cut(items, 0);
    free(items->v);
    items->v = NULL;
}

/* Room for one more, cleared. NULL: no memory. */
static struct hsm_item *add_item(struct hsm_items *items, enum hsm_want kind)
{
    struct hsm_item *grown =
        realloc(items->v, (items->n + 1) * sizeof(*items->v));

    if (grown == NULL) {
        return NULL;
    }
    items->v = grown;
    grown += items->n++;
    *grown = (struct hsm_item){ .kind = kind };
    return grown;
}

hsm_rc hsm_items_add_cert(struct hsm_items *items, struct hsm_bytes der)
{
    struct hsm_item *item = add_item(items, HSM_WANT_CERT);

    return item != NULL ? hsm_buf_set(&item->cert, der)
                        : hsm_fail_rv(CKR_HOST_MEMORY, __func__);
}

hsm_rc hsm_load_compose(const struct hsm_load *l, const struct hsm_object *o,
                      char **out)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    struct hsm_bytes id = { NULL, 0 };
    struct hsm_bytes label = { NULL, 0 };
    CK_TOKEN_INFO info;

    (void)hsm_attrs_get(&o->attrs, CKA_ID, &id);
    (void)hsm_attrs_get(&o->attrs, CKA_LABEL, &label);
    hsm_token_info(l->tok, &info);
    TRY(hsm_uri_compose(&info, id, label, hsm_object_type(o), &text));
    *out = hsm_strdup((const char *)text.p);
    return *out != NULL ? HSM_OK : hsm_fail_rv(CKR_HOST_MEMORY, __func__);
}

hsm_rc hsm_load_item(struct hsm_load *l, const struct hsm_object *o,
                        enum hsm_want kind, unsigned int epoch)
{
    struct hsm_item *item = add_item(l->out, kind);
    const struct hsm_key_origin from = {
        .ctx = l->ctx, .uri = l->uri, .tok = l->tok, .epoch = epoch,
        .reissued = o->reissued, .h = o->h, .attrs = &o->attrs,
        .pub = &o->pub,
    };

    if (item == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    TRY(hsm_load_compose(l, o, &item->uri));
    if (kind == HSM_WANT_PRIVATE) {
        return hsm_key_from_object(&from, &item->key);
    }
    if (kind == HSM_WANT_PUBLIC) {
        return hsm_public_copy(&o->pub, &item->pub);
    }
    return hsm_buf_set(&item->cert, hsm_buf_bytes(&o->cert));
}

/* What an object is good for here; 0: nothing. */
unsigned int hsm_load_kind_of(const struct hsm_object *o)
{
    CK_ULONG ckk = 0;

    if (o->cls == CKO_PRIVATE_KEY
        && hsm_attrs_get_ulong(&o->attrs, CKA_KEY_TYPE, &ckk)
        && hsm_keytype_of(ckk) != NULL) {
        return HSM_WANT_PRIVATE;
    }
    if (o->cls == CKO_PUBLIC_KEY && o->pub.kt != NULL) {
        return HSM_WANT_PUBLIC;
    }
    return o->cls == CKO_CERTIFICATE && o->cert.len > 0 ? HSM_WANT_CERT : 0;
}

static hsm_rc complete(const struct hsm_load *l, struct hsm_session *s,
                       struct hsm_objects *objects, size_t i)
{
    TRY(hsm_objects_complete(s, objects, i));
    return l->keys_only && hsm_object_may_be_restricted(&objects->v[i])
        ? hsm_objects_look_restriction(s, objects, i) : HSM_OK;
}

static hsm_rc take_kind(struct hsm_load *l, struct hsm_session *s,
                        struct hsm_objects *objects, enum hsm_want kind)
{
    for (size_t i = 0; i < objects->n; i++) {
        if (hsm_load_kind_of(&objects->v[i]) != (unsigned int)kind) {
            continue;
        }
        if (kind == HSM_WANT_PRIVATE) {
            TRY(complete(l, s, objects, i));
        }
        TRY(hsm_load_item(l, &objects->v[i], kind, s->epoch));
    }
    return HSM_OK;
}

/* A public key was asked for and no such object is there: a certificate has
 * one, or the private key knows its own. */
static hsm_rc take_public_elsewhere(struct hsm_load *l, struct hsm_session *s,
                                    struct hsm_objects *objects)
{
    for (size_t i = 0; i < objects->n; i++) {
        struct hsm_object *o = &objects->v[i];

        if (o->cls == CKO_PRIVATE_KEY) {
            TRY(hsm_objects_complete(s, objects, i));
        }
        if (o->pub.kt != NULL) {
            return hsm_load_item(l, o, HSM_WANT_PUBLIC, s->epoch);
        }
    }
    return HSM_OK;
}

/* Everything that the search found, in a stable order. */
static hsm_rc take_all(struct hsm_load *l, struct hsm_session *s,
                       struct hsm_objects *objects)
{
    size_t before = l->out->n;

    if ((l->want & HSM_WANT_PRIVATE) != 0) {
        TRY(take_kind(l, s, objects, HSM_WANT_PRIVATE));
    }
    if ((l->want & HSM_WANT_PUBLIC) != 0) {
        TRY(take_kind(l, s, objects, HSM_WANT_PUBLIC));
    }
    if (l->want == HSM_WANT_PUBLIC && l->out->n == before) {
        TRY(take_public_elsewhere(l, s, objects));
    }
    if ((l->want & HSM_WANT_CERT) != 0) {
        TRY(take_kind(l, s, objects, HSM_WANT_CERT));
    }
    return HSM_OK;
}

/* Only one class is wanted, and nothing else names the object. */
static CK_OBJECT_CLASS class_of(const struct hsm_load *l)
{
    return l->want == HSM_WANT_PRIVATE ? CKO_PRIVATE_KEY
        : l->want == HSM_WANT_CERT ? CKO_CERTIFICATE : HSM_ANY_CLASS;
}

static size_t count_broken(const struct hsm_objects *objects)
{
    size_t n = 0;

    for (size_t i = 0; i < objects->n; i++) {
        n += objects->v[i].cls == CKO_CERTIFICATE
            && objects->v[i].cert.len == 0 ? 1 : 0;
    }
    return n;
}

/* hsm_run_fn: looks at one token. */
static hsm_rc look(struct hsm_session *s, void *arg)
{
    struct hsm_load *l = arg;
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = { .ctx = l->ctx, .cls = HSM_ANY_CLASS };
    size_t before = l->out->n;
    bool by_name = hsm_search_by(&search, l->uri);
    hsm_rc rc;

    if (l->by != NULL) {
        search.subject = l->by->subject;
        search.issuer = l->by->issuer;
    }
    if (l->by != NULL && search.label.len == 0 && l->by->label.len > 0) {
        search.label = l->by->label;
        by_name = true;
    }
    if (!by_name) {
        search.cls = class_of(l);
    }
    l->keys_only = search.cls == CKO_PRIVATE_KEY;
    TRY(hsm_objects_look(s, &search, &objects));
    rc = take_all(l, s, &objects);
    l->n_seen = objects.n;
    l->n_broken = count_broken(&objects);
    if (hsm_ok(rc) && l->logged_in && l->out->n == before
        && (l->want & HSM_WANT_PRIVATE) != 0) {
        rc = hsm_fail_rv(HSM_E_NO_KEY, "C_FindObjects");
    }
    if (!hsm_ok(rc)) {
        hsm_items_cut(l->out, before);
    }
    return rc;
}

static hsm_rc look_at(struct hsm_load *l, struct hsm_token *tok, bool login)
{
    const struct hsm_run run = {
        .ctx = l->ctx, .tok = tok, .cred = l->cred, .kind = HSM_RO,
        .login = login,
    };
    hsm_rc rc;

    l->tok = tok;
    l->logged_in = login;
    l->n_seen = 0;
    rc = hsm_run(&run, look, l);
    return rc.rv == HSM_E_NO_KEY ? HSM_OK : rc;
}

/* Among what a near miss is looked for. */
static CK_OBJECT_CLASS near_class(const struct hsm_load *l)
{
    return l->want == HSM_WANT_CERT ? CKO_CERTIFICATE
        : l->logged_in && l->want != HSM_WANT_PUBLIC ? CKO_PRIVATE_KEY
        : CKO_PUBLIC_KEY;
}

/* hsm_run_fn: names what comes nearest on the token, for an error. */
static hsm_rc name_keys(struct hsm_session *s, void *arg)
{
    struct hsm_load *l = arg;
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = { .cls = near_class(l), .limit = NEAR_MAX };

    TRY(hsm_objects_look(s, &search, &objects));
    hsm_near_sort(l->uri, &objects);
    for (size_t i = 0; i < objects.n && i < NAMED_MAX; i++) {
        struct hsm_item *item = add_item(l->out, HSM_WANT_DATA);

        if (item == NULL) {
            return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
        }
        TRY(hsm_load_compose(l, &objects.v[i], &item->uri));
    }
    return HSM_OK;
}

/* Fewer words when memory is short. */
static void list_uri(struct hsm_buf *text, const char *uri)
{
    bool fits = text->len == 0 || text->len + strlen(uri) < NAMED_BYTES_MAX;
    hsm_rc rc = hsm_buf_printf(text, "%s%s", text->len > 0 ? " " : "",
                               fits ? uri : "…");

    (void)rc;
}

static void list_items(const struct hsm_items *items, struct hsm_buf *text)
{
    for (size_t i = 0; i < items->n && i < NAMED_MAX; i++) {
        list_uri(text, items->v[i].uri);
    }
}

/* Nothing comes near because nothing is there. */
static void say_none(const struct hsm_load *l, struct hsm_buf *text)
{
    CK_OBJECT_CLASS cls = near_class(l);
    hsm_rc rc = hsm_buf_printf(text, "; there is no %s on it%s",
                               cls == CKO_CERTIFICATE ? "certificate"
                               : cls == CKO_PRIVATE_KEY ? "private key"
                               : "public key",
                               l->logged_in || cls == CKO_CERTIFICATE
                               ? "; store one, or name another token"
                               : " that is seen without a login");

    (void)rc;                   /* fewer words when memory is short */
}

/* What is near, or that there is nothing, where that can be found out. */
static void list_near(struct hsm_load *l, struct hsm_token *tok,
                      struct hsm_buf *text)
{
    hsm_auto(hsm_items) near = HSM_ITEMS_INIT;
    struct hsm_items *out = l->out;
    const struct hsm_run run = { .ctx = l->ctx, .tok = tok, .kind = HSM_RO };
    hsm_rc rc;

    l->out = &near;
    rc = hsm_run(&run, name_keys, l);
    l->out = out;
    if (near.n > 0) {
        rc = hsm_buf_printf(text, "; there is");
        (void)rc;               /* fewer words when memory is short */
        list_items(&near, text);
    } else if (hsm_ok(rc)) {
        say_none(l, text);
    }
}

static hsm_rc no_such(struct hsm_load *l, const struct hsm_tokens *tokens)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    if (l->n_broken > 0 && (l->want & HSM_WANT_CERT) != 0) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "what %s names on token \"%s\" is not an X.509 "
                        "certificate; store it anew",
                        hsm_uri_for_people(l->uri), tokens->tok[0]->id.label);
    }
    if (tokens->n == 1) {
        list_near(l, tokens->tok[0], &text);
    }
    hsm_near_id_hint(l->uri, &text);
    return hsm_fail(HSM_E_NO_KEY, "C_FindObjects",
                    "no %s matches %s on token \"%s\"%s%s",
                    l->want == HSM_WANT_PRIVATE ? "private key"
                    : l->want == HSM_WANT_PUBLIC ? "public key"
                    : l->want == HSM_WANT_CERT ? "certificate" : "object",
                    hsm_uri_for_people(l->uri), tokens->tok[0]->id.label,
                    tokens->n > 1 ? " (and others)" : "",
                    text.len > 0 ? (const char *)text.p : "");
}

static hsm_rc name_one_token(const struct hsm_tokens *tokens,
                             const struct hsm_uri *uri)
{
    static const struct hsm_bytes none = { NULL, 0 };
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    for (size_t i = 0; i < tokens->n && i < NAMED_MAX; i++) {
        hsm_auto(hsm_buf) one = HSM_BUF_INIT;
        CK_TOKEN_INFO info;

        hsm_token_info(tokens->tok[i], &info);
        TRY(hsm_uri_compose(&info, none, none, NULL, &one));
        list_uri(&text, (const char *)one.p);
    }
    return hsm_fail(HSM_E_SEVERAL, "C_GetSlotList",
                    "%s may be on any of %zu tokens, and a PIN goes only to "
                    "the one that is named: %s", hsm_uri_for_people(uri),
                    tokens->n, (const char *)text.p);
}

static bool needs_login(struct hsm_token *tok)
{
    CK_TOKEN_INFO info;

    hsm_token_info(tok, &info);
    return (info.flags & CKF_LOGIN_REQUIRED) != 0;
}

/* It would be sent its module's setting, and no other one of these would be
 * sent the same: the PIN cannot go astray. */
static bool has_pin_of_its_own(const struct hsm_load *l,
                               const struct hsm_tokens *tokens,
                               const struct hsm_token *tok)
{
    const char *pin = hsm_context_pin(l->ctx, tok->lib);
    bool own = pin != NULL && !hsm_pin_is_at_hand(l->cred);

    for (size_t i = 0; i < tokens->n; i++) {
        struct hsm_token *other = tokens->tok[i];

        own = own && (other == tok || !needs_login(other)
                      || hsm_context_pin(l->ctx, other->lib) != pin);
    }
    return own;
}

/*
 * Private keys, and several tokens match: all are looked at without a login.
 * What is seen there says nothing of where a PIN belongs: anybody may have put
 * an object of that name on a token of theirs. So it goes to the only one that
 * wants a PIN, or to the one whose module has one for it alone.
 */
static hsm_rc load_from_several(struct hsm_load *l,
                                const struct hsm_tokens *tokens)
{
    struct hsm_token *likely = NULL;
    struct hsm_token *closed = NULL;
    size_t n_likely = 0;
    size_t n_closed = 0;

    for (size_t i = 0; i < tokens->n; i++) {
        size_t before = l->out->n;

        TRY(look_at(l, tokens->tok[i], !needs_login(tokens->tok[i])));
        if (!needs_login(tokens->tok[i])) {
            continue;
        }
        n_closed++;
        closed = tokens->tok[i];
        if (l->n_seen > 0) {
            hsm_items_cut(l->out, before);
            likely = tokens->tok[i];
            n_likely++;
        }
    }
    if (l->out->n > 0 && n_likely == 0) {
        return HSM_OK;
    }
    if (n_closed == 1) {
        return look_at(l, closed, true);
    }
    if (n_likely == 1 && has_pin_of_its_own(l, tokens, likely)) {
        TRY(look_at(l, likely, true));
    }
    return l->out->n > 0 ? HSM_OK : name_one_token(tokens, l->uri);
}

static hsm_rc load_from(struct hsm_load *l, const struct hsm_tokens *tokens)
{
    enum hsm_login_behavior behavior = hsm_context_settings(l->ctx)->login;
    bool login = behavior == HSM_LOGIN_ALWAYS
        || (behavior == HSM_LOGIN_AUTO && (l->want & HSM_WANT_PRIVATE) != 0);

    if (login && tokens->n > 1) {
        return load_from_several(l, tokens);
    }
    for (size_t i = 0; i < tokens->n; i++) {
        TRY(look_at(l, tokens->tok[i], login));
    }
    /* Public objects may be hidden too. */
    if (l->out->n == 0 && !login && behavior == HSM_LOGIN_AUTO
        && tokens->n == 1 && hsm_pin_is_at_hand(l->cred)) {
        TRY(look_at(l, tokens->tok[0], true));
    }
    return HSM_OK;
}

static hsm_rc load(struct hsm_load *l, const struct hsm_cred *cred)
{
    struct hsm_tokens tokens = { .n = 0 };
    struct hsm_cred full = cred != NULL ? *cred : (struct hsm_cred){ 0 };
    hsm_rc rc;

    if (full.uri == NULL && !full.not_of_uri) {
        full.uri = l->uri;
    }
    TRY(hsm_select_tokens(l->ctx, l->uri, &tokens));
    /* Of several, each may have a module and so a setting of its own: who logs
     * in knows which. */
    if (full.setting == NULL && tokens.n == 1) {
        full.setting = hsm_context_pin(l->ctx, tokens.tok[0]->lib);
    }
    l->cred = &full;
    rc = load_from(l, &tokens);
    l->cred = NULL;
    if (hsm_ok(rc) && l->out->n == 0 && l->by == NULL) {
        rc = no_such(l, &tokens);
    }
    if (!hsm_ok(rc)) {
        hsm_items_clear(l->out);
    }
    return hsm_blame(rc, "%s", hsm_uri_for_people(l->uri));
}

hsm_rc hsm_load(struct hsm_context *ctx, struct hsm_uri *uri,
                unsigned int want, const struct hsm_cred *cred,
                struct hsm_items *out)
{
    struct hsm_load l = {
        .ctx = ctx, .uri = uri, .want = want & hsm_uri_want(uri), .out = out,
    };

    return load(&l, cred);
}

hsm_rc hsm_load_by(struct hsm_context *ctx, struct hsm_uri *uri,
                   unsigned int want, const struct hsm_cred *cred,
                   const struct hsm_by *by, struct hsm_items *out)
{
    struct hsm_load l = {
        .ctx = ctx, .uri = uri, .want = want & hsm_uri_want(uri), .by = by,
        .out = out,
    };
    bool is_cert = by->subject.len > 0 || by->issuer.len > 0;
    struct hsm_bytes label;

    if (is_cert) {
        l.want &= HSM_WANT_CERT;
    }
    /* Nothing has both labels. */
    if (l.want == 0 || (by->label.len > 0 && hsm_uri_label(uri, &label)
                        && !hsm_bytes_equal(label, by->label))) {
        return HSM_OK;
    }
    return load(&l, cred);
}

static const struct hsm_public *public_of(const struct hsm_item *item)
{
    return item->kind == HSM_WANT_PRIVATE ? hsm_key_public(item->key)
                                          : &item->pub;
}

hsm_rc hsm_items_check_one(const struct hsm_items *items,
                           const struct hsm_uri *uri)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    for (size_t i = 1; items->v != NULL && i < items->n; i++) {
        const struct hsm_public *first = public_of(&items->v[0]);
        const struct hsm_public *other = public_of(&items->v[i]);

        if (first->kt == NULL || !hsm_public_equal(first, other)) {
            list_items(items, &text);
            return hsm_fail(HSM_E_SEVERAL, "C_FindObjects",
                            "%zu %s keys match %s: %s", items->n,
                            items->v[0].kind == HSM_WANT_PRIVATE
                            ? "private" : "public",
                            hsm_uri_for_people(uri), (const char *)text.p);
        }
    }
    return HSM_OK;
}

hsm_rc hsm_load_key(struct hsm_context *ctx, struct hsm_uri *uri,
                    const struct hsm_cred *cred, struct hsm_key **out)
{
    hsm_auto(hsm_items) items = HSM_ITEMS_INIT;

    TRY(hsm_load(ctx, uri, HSM_WANT_PRIVATE, cred, &items));
    TRY(hsm_items_check_one(&items, uri));
    if (items.v == NULL) {
        return hsm_fail_rv(HSM_E_NO_KEY, "C_FindObjects");
    }
    *out = items.v[0].key;
    items.v[0].key = NULL;
    return HSM_OK;
}
