/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/erase.h"

#include <stdlib.h>

#include "src/object/load_private.h"
#include "src/session/run.h"
#include "src/session/select.h"

#define NAMED_BYTES_MAX 700u

struct erase {
    struct hsm_load load;       /* for names only */
    struct hsm_search search;
};

/* The object is of a kind that the URI's type= allows. */
static bool is_meant(const struct erase *e, const struct hsm_object *o)
{
    static const struct {
        CK_OBJECT_CLASS cls;
        enum hsm_want kind;
    } rows[] = {
        { CKO_PRIVATE_KEY, HSM_WANT_PRIVATE },
        { CKO_PUBLIC_KEY, HSM_WANT_PUBLIC },
        { CKO_CERTIFICATE, HSM_WANT_CERT },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].cls == o->cls) {
            return (e->load.want & (unsigned int)rows[i].kind) != 0;
        }
    }
    return false;
}

static hsm_rc several(const struct erase *e, const struct hsm_objects *objects,
                      size_t n)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    for (size_t i = 0; i < objects->n && text.len < NAMED_BYTES_MAX; i++) {
        char *uri = NULL;
        hsm_rc rc = HSM_OK;

        if (is_meant(e, &objects->v[i])) {
            TRY(hsm_load_compose(&e->load, &objects->v[i], &uri));
            rc = hsm_buf_printf(&text, "%s%s", text.len > 0 ? " " : "", uri);
            free(uri);
        }
        TRY(rc);
    }
    return hsm_fail(HSM_E_SEVERAL, "hsm_erase",
                    "%zu objects match %s and none was deleted; name one of "
                    "them: %s", n, hsm_uri_for_people(e->load.uri),
                    (const char *)text.p);
}

static hsm_rc may_be_destroyed(const struct erase *e, struct hsm_session *s,
                               CK_OBJECT_HANDLE h)
{
    static const CK_ATTRIBUTE_TYPE type[] = { CKA_DESTROYABLE };
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;

    TRY(hsm_attrs_read(s, h, type, 1, &as));
    if (!hsm_attrs_get_bool(&as, CKA_DESTROYABLE, true)) {
        return hsm_fail(CKR_ACTION_PROHIBITED, "hsm_erase",
                        "%s has CKA_DESTROYABLE false: it stays as long as "
                        "its token is not initialised anew",
                        hsm_uri_for_people(e->load.uri));
    }
    return HSM_OK;
}

/* hsm_run_fn */
static hsm_rc erase(struct hsm_session *s, void *arg)
{
    struct erase *e = arg;
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    CK_OBJECT_HANDLE h = 0;
    size_t n = 0;
    hsm_rc rc;

    TRY(hsm_objects_look(s, &e->search, &objects));
    for (size_t i = 0; i < objects.n; i++) {
        /* Some tokens list an object twice. */
        if (is_meant(e, &objects.v[i]) && (n == 0 || objects.v[i].h != h)) {
            h = objects.v[i].h;
            n++;
        }
    }
    if (n > 1) {
        return several(e, &objects, n);
    }
    if (n == 0) {
        return hsm_fail(HSM_E_NO_KEY, "hsm_erase",
                        "no object matches %s on token \"%s\"; nothing was "
                        "deleted", hsm_uri_for_people(e->load.uri),
                        s->tok->id.label);
    }
    TRY(may_be_destroyed(e, s, h));
    s->acting = true;
    rc = hsm_session_call(s, C_DestroyObject, (s->h, h));
    hsm_token_reissued(s->tok);
    return rc;
}

/* The object is on one token, and that can be written to. */
static hsm_rc choose_token(struct erase *e)
{
    struct hsm_tokens tokens = { .n = 0 };
    CK_TOKEN_INFO info;

    TRY(hsm_select_tokens(e->load.ctx, e->load.uri, &tokens));
    if (tokens.n > 1) {
        return hsm_fail(HSM_E_SEVERAL, "hsm_erase",
                        "%s may be on any of %zu tokens (\"%s\", \"%s\"%s) "
                        "and nothing was deleted; add token= or serial=",
                        hsm_uri_for_people(e->load.uri), tokens.n,
                        tokens.tok[0]->id.label, tokens.tok[1]->id.label,
                        tokens.n > 2 ? ", …" : "");
    }
    e->load.tok = tokens.tok[0];
    hsm_token_info(e->load.tok, &info);
    if ((info.flags & CKF_WRITE_PROTECTED) != 0) {
        return hsm_fail_rv(CKR_TOKEN_WRITE_PROTECTED, "hsm_erase");
    }
    return HSM_OK;
}

hsm_rc hsm_erase(struct hsm_context *ctx, struct hsm_uri *uri,
                 const struct hsm_cred *cred)
{
    struct hsm_cred full = cred != NULL ? *cred : (struct hsm_cred){ 0 };
    struct erase e = {
        .load = { .ctx = ctx, .uri = uri, .want = hsm_uri_want(uri) },
        .search = { .cls = HSM_ANY_CLASS },
    };
    struct hsm_run run = {
        .ctx = ctx, .cred = &full, .kind = HSM_RW, .once = true,
        .login = hsm_context_settings(ctx)->login != HSM_LOGIN_NEVER,
    };

    if (!hsm_search_by(&e.search, uri)) {
        return hsm_fail(HSM_E_URI, __func__,
                        "%s names no object, and nothing was deleted; say its "
                        "id or object, and its type",
                        hsm_uri_for_people(uri));
    }
    full.uri = full.uri != NULL ? full.uri : uri;
    TRY(hsm_blame(choose_token(&e), "%s", hsm_uri_for_people(uri)));
    run.tok = e.load.tok;
    return hsm_blame(hsm_run(&run, erase, &e), "%s", hsm_uri_for_people(uri));
}
