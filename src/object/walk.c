/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/walk.h"

#include <stdlib.h>

#include "src/base/log.h"
#include "src/object/find.h"
#include "src/object/index.h"
#include "src/object/load_private.h"
#include "src/session/run.h"
#include "src/session/select.h"

/* In the order in which they come. */
static const struct {
    enum hsm_want kind;
    CK_OBJECT_CLASS cls;
} kinds[] = {
    { HSM_WANT_PRIVATE, CKO_PRIVATE_KEY },
    { HSM_WANT_PUBLIC, CKO_PUBLIC_KEY },
    { HSM_WANT_CERT, CKO_CERTIFICATE },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* For so many keys something is searched for; then an index is made. */
#define SEARCHES_MAX 8

struct hsm_walk {
    struct hsm_load load;
    size_t kind;                /* which of kinds it is at */
    bool is_found;              /* handles are those of that kind */
    unsigned int epoch;         /* of the token, in which they were found */
    struct hsm_handles handles;
    size_t next;                /* of these */
    size_t n_given;
    unsigned int n_searches;
    struct hsm_index index;     /* of that epoch */
};

static bool is_wanted(const struct hsm_walk *w)
{
    return (w->load.want & (unsigned int)kinds[w->kind].kind) != 0;
}

static void next_kind(struct hsm_walk *w)
{
    hsm_handles_clear(&w->handles);
    w->is_found = false;
    w->next = 0;
    w->kind++;
}

/* The handles of this kind. Where the world has changed since, those of now:
 * it goes on at the same place. */
static hsm_rc find(struct hsm_walk *w, struct hsm_session *s)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    hsm_auto(hsm_handles) found = HSM_HANDLES_INIT;

    if (w->is_found && w->epoch == s->epoch) {
        return HSM_OK;
    }
    TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, kinds[w->kind].cls));
    TRY(hsm_find(s, &tmpl, 0, &found));
    TRY(hsm_handles_unique(&found));
    /* What cannot be found may only be hidden: hsm_run() knows where. */
    if (found.n == 0 && w->load.logged_in
        && kinds[w->kind].kind == HSM_WANT_PRIVATE) {
        return hsm_fail_rv(HSM_E_NO_KEY, "C_FindObjects");
    }
    hsm_handles_clear(&w->handles);
    hsm_index_clear(&w->index);
    w->handles = found;
    found = (struct hsm_handles)HSM_HANDLES_INIT;
    w->epoch = s->epoch;
    w->is_found = true;
    return HSM_OK;
}

/* The public half of the private key, where it does not tell it itself, and
 * what its certificate restricts it to. */
static hsm_rc complete(struct hsm_walk *w, struct hsm_session *s,
                       struct hsm_objects *one)
{
    bool is_known = one->v[0].pub.kt != NULL;

    if (is_known && !hsm_object_may_be_restricted(&one->v[0])) {
        return HSM_OK;
    }
    if (w->n_searches++ >= SEARCHES_MAX) {
        return hsm_index_complete(&w->index, s, one);
    }
    return is_known ? hsm_objects_look_restriction(s, one, 0)
                    : hsm_objects_complete(s, one, 0);
}

static hsm_rc read_one(struct hsm_session *s, struct hsm_context *ctx,
                       CK_OBJECT_HANDLE h, struct hsm_objects *out)
{
    out->v = calloc(1, sizeof(*out->v));
    if (out->v == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_walk_next");
    }
    out->n = 1;
    out->ctx = ctx;
    return hsm_object_read(s, ctx, h, &out->v[0]);
}

/* One that vanished meanwhile, or is nothing that can be used, adds none. */
static hsm_rc take(struct hsm_walk *w, struct hsm_session *s,
                   CK_OBJECT_HANDLE h)
{
    hsm_auto(hsm_objects) one = HSM_OBJECTS_INIT;
    hsm_rc rc = read_one(s, w->load.ctx, h, &one);

    if (hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT) {
        hsm_detail_clear();
        return HSM_OK;
    }
    TRY(rc);
    if (hsm_attrs_of_copy(&one.v[0].attrs)
        || hsm_load_kind_of(&one.v[0]) != (unsigned int)kinds[w->kind].kind) {
        return HSM_OK;
    }
    if (kinds[w->kind].kind == HSM_WANT_PRIVATE) {
        TRY(complete(w, s, &one));
    }
    return hsm_load_item(&w->load, &one.v[0], kinds[w->kind].kind, s->epoch);
}

/* hsm_run_fn */
static hsm_rc step(struct hsm_session *s, void *arg)
{
    struct hsm_walk *w = arg;

    TRY(find(w, s));
    while (w->load.out->n == 0 && w->next < w->handles.n) {
        hsm_rc rc = take(w, s, w->handles.h[w->next]);

        if (!hsm_ok(rc)) {
            hsm_items_clear(w->load.out);
        }
        if (rc.rv == HSM_E_BAD_DATA) {
            hsm_log(HSM_LOG_WARN, "an object is left out: %s", hsm_detail());
            rc = HSM_OK;
        }
        TRY(rc);
        w->next++;
    }
    return HSM_OK;
}

static hsm_rc run(struct hsm_walk *w)
{
    const struct hsm_run run = {
        .ctx = w->load.ctx, .tok = w->load.tok, .cred = w->load.cred,
        .kind = HSM_RO, .login = w->load.logged_in,
    };
    hsm_rc rc = hsm_run(&run, step, w);

    if (rc.rv == HSM_E_NO_KEY) {
        hsm_detail_clear();
        return HSM_OK;
    }
    return rc;
}

hsm_rc hsm_walk_next(struct hsm_walk *w, const struct hsm_cred *cred,
                     struct hsm_items *out)
{
    struct hsm_cred full = cred != NULL ? *cred : (struct hsm_cred){ 0 };
    hsm_rc rc = HSM_OK;

    if (full.uri == NULL) {
        full.uri = w->load.uri;
    }
    if (full.setting == NULL) {
        full.setting = hsm_context_pin(w->load.ctx, w->load.tok->lib);
    }
    w->load.cred = &full;
    w->load.out = out;
    while (hsm_ok(rc) && out->n == 0 && w->kind < N_KINDS) {
        rc = is_wanted(w) ? run(w) : HSM_OK;
        if (hsm_ok(rc) && out->n == 0) {
            next_kind(w);
        }
    }
    w->load.cred = NULL;
    w->load.out = NULL;
    w->n_given += out->n;
    return hsm_blame(rc, "%s", hsm_uri_for_people(w->load.uri));
}

size_t hsm_walk_given(const struct hsm_walk *w)
{
    return w->n_given;
}

static bool names_object(const struct hsm_uri *uri)
{
    struct hsm_bytes name;

    return hsm_uri_id(uri, &name) || hsm_uri_label(uri, &name);
}

hsm_rc hsm_walk_new(struct hsm_context *ctx, struct hsm_uri *uri,
                    unsigned int want, struct hsm_walk **out)
{
    enum hsm_login_behavior behavior = hsm_context_settings(ctx)->login;
    struct hsm_tokens tokens = { .n = 0 };
    struct hsm_walk *w;

    *out = NULL;
    want &= hsm_uri_want(uri);
    if (want == HSM_WANT_PUBLIC || names_object(uri)) {
        return HSM_OK;
    }
    TRY(hsm_blame(hsm_select_tokens(ctx, uri, &tokens), "%s",
                  hsm_uri_for_people(uri)));
    if (tokens.n != 1) {
        return HSM_OK;
    }
    w = hsm_zalloc(sizeof(*w));
    if (w == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    w->load.ctx = hsm_context_get(ctx);
    w->load.uri = hsm_uri_get(uri);
    w->load.want = want;
    w->load.tok = tokens.tok[0];
    w->load.logged_in = behavior == HSM_LOGIN_ALWAYS
        || (behavior == HSM_LOGIN_AUTO && (want & HSM_WANT_PRIVATE) != 0);
    *out = w;
    return HSM_OK;
}

void hsm_walk_free(struct hsm_walk *w)
{
    if (w != NULL) {
        hsm_handles_clear(&w->handles);
        hsm_index_clear(&w->index);
        hsm_uri_put(w->load.uri);
        hsm_context_put(w->load.ctx);
        free(w);
    }
}
