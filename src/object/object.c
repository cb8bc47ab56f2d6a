/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/object.h"

#include <stdlib.h>

#include "src/base/log.h"
#include "src/object/cert.h"
#include "src/object/find.h"
#include "src/object/key.h"

/* Searches that met a copy while it was made. */
#define HALF_MADE_TRIES 8u

void hsm_object_clear(struct hsm_object *o)
{
    hsm_attrs_clear(&o->attrs);
    hsm_public_clear(&o->pub);
    hsm_buf_clear(&o->cert);
}

void hsm_objects_clear(struct hsm_objects *objects)
{
    for (size_t i = 0; i < objects->n; i++) {
        hsm_object_clear(&objects->v[i]);
    }
    free(objects->v);
    objects->v = NULL;
    objects->n = 0;
}

const char *hsm_object_type(const struct hsm_object *o)
{
    return o->cls == CKO_PRIVATE_KEY ? "private"
        : o->cls == CKO_PUBLIC_KEY ? "public"
        : o->cls == CKO_CERTIFICATE ? "cert" : NULL;
}

bool hsm_search_by(struct hsm_search *search, const struct hsm_uri *uri)
{
    search->no_id = hsm_uri_id(uri, &search->id) && search->id.len == 0;
    search->no_label = hsm_uri_label(uri, &search->label)
        && search->label.len == 0;
    return search->id.len > 0 || search->label.len > 0;
}

static bool has_none(const struct hsm_object *o, CK_ATTRIBUTE_TYPE type)
{
    struct hsm_bytes have;

    return !hsm_attrs_get(&o->attrs, type, &have) || have.len == 0;
}

/* A value of the object equals one that is asked for (empty: any). */
static bool fits(const struct hsm_object *o, CK_ATTRIBUTE_TYPE type,
                 struct hsm_bytes want)
{
    struct hsm_bytes have = { NULL, 0 };

    if (want.len == 0) {
        return true;
    }
    return hsm_attrs_get(&o->attrs, type, &have)
        && hsm_bytes_equal(have, want);
}

hsm_rc hsm_public_name_curve(struct hsm_context *ctx, struct hsm_public *p)
{
    const struct hsm_hooks *hooks = ctx != NULL ? hsm_context_hooks(ctx)
                                                : NULL;
    hsm_auto(hsm_buf) oid = HSM_BUF_INIT;
    const struct hsm_curve *curve;

    if (p->kt == NULL || p->kt->ckk != CKK_EC || p->curve != NULL
        || hooks == NULL || hooks->name_curve == NULL) {
        return HSM_OK;
    }
    TRY(hooks->name_curve(hooks->arg, hsm_buf_bytes(&p->params), &oid));
    curve = hsm_curve_by_oid(hsm_buf_bytes(&oid));
    return curve != NULL ? hsm_public_set_curve(p, curve) : HSM_OK;
}

/* A certificate's own bytes, and the public key in it. One that is broken
 * stays without them: libcrypto would end a walk through the store there. */
static hsm_rc read_certificate(struct hsm_session *s, struct hsm_object *o)
{
    static const CK_ATTRIBUTE_TYPE value[] = { CKA_VALUE };
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    struct hsm_bytes der;
    struct hsm_cert_view view;

    TRY(hsm_attrs_read(s, o->h, value, 1, &as));
    if (!hsm_attrs_get(&as, CKA_VALUE, &der)) {
        return HSM_OK;
    }
    if (!hsm_ok(hsm_cert_read(der, &view))) {
        hsm_log(HSM_LOG_WARN, "a certificate is left out: %s", hsm_detail());
        return HSM_OK;
    }
    if (!hsm_ok(hsm_public_from_spki(view.spki, &o->pub))) {
        hsm_public_clear(&o->pub);
    }
    return hsm_buf_set(&o->cert, der);
}

static hsm_rc read_object(struct hsm_session *s, CK_OBJECT_HANDLE h,
                          struct hsm_object *o)
{
    size_t n = 0;
    const CK_ATTRIBUTE_TYPE *types = hsm_key_attr_types(&n);
    CK_ULONG cls = HSM_ANY_CLASS;

    *o = (struct hsm_object){
        .h = h, .cls = HSM_ANY_CLASS,
        .reissued = atomic_load(&s->tok->reissued),
    };

    TRY(hsm_attrs_read(s, o->h, types, n, &o->attrs));
    if (hsm_attrs_get_ulong(&o->attrs, CKA_CLASS, &cls)) {
        o->cls = cls;
    }
    if (o->cls == CKO_CERTIFICATE) {
        return read_certificate(s, o);
    }
    if (o->cls == CKO_PRIVATE_KEY || o->cls == CKO_PUBLIC_KEY) {
        if (!hsm_ok(hsm_public_from_attrs(&o->attrs, &o->pub))) {
            hsm_public_clear(&o->pub);
        }
    }
    return HSM_OK;
}

hsm_rc hsm_object_read(struct hsm_session *s, struct hsm_context *ctx,
                       CK_OBJECT_HANDLE h, struct hsm_object *o)
{
    TRY(read_object(s, h, o));
    if (!hsm_ok(hsm_public_name_curve(ctx, &o->pub))) {
        hsm_public_clear(&o->pub);
    }
    return HSM_OK;
}

/* One search: by name, else by id, else by label, else by class. By an id it
 * finds both halves and certificates, but where one class is asked for. */
static hsm_rc find(struct hsm_session *s, const struct hsm_search *search,
                   struct hsm_handles *out)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;

    if (search->subject.len > 0 || search->issuer.len > 0) {
        bool by_subject = search->subject.len > 0;

        TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, CKO_CERTIFICATE));
        TRY(hsm_attrs_add(&tmpl, by_subject ? CKA_SUBJECT : CKA_ISSUER,
                          by_subject ? search->subject : search->issuer));
    } else if (search->id.len > 0) {
        TRY(hsm_attrs_add(&tmpl, CKA_ID, search->id));
        if (search->with_cls) {
            TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, search->cls));
        }
    } else if (search->label.len > 0) {
        TRY(hsm_attrs_add(&tmpl, CKA_LABEL, search->label));
    } else if (search->cls != HSM_ANY_CLASS) {
        TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, search->cls));
    }
    return hsm_find(s, &tmpl, search->limit, out);
}

/* What the search did not ask the token for. The id it did, and objects need
 * not tell it then, but where it searched by a name. */
static bool passes(const struct hsm_object *o, const struct hsm_search *search)
{
    bool by_name = search->subject.len > 0 || search->issuer.len > 0;

    return !hsm_attrs_of_copy(&o->attrs)
        && fits(o, CKA_LABEL, search->label)
        && (!search->no_id || has_none(o, CKA_ID))
        && (!search->no_label || has_none(o, CKA_LABEL))
        && (!by_name || fits(o, CKA_ID, search->id))
        && (search->cls == HSM_ANY_CLASS || o->cls == search->cls);
}

static hsm_rc look(struct hsm_session *s, const struct hsm_search *search,
                   struct hsm_objects *out)
{
    hsm_auto(hsm_handles) handles = HSM_HANDLES_INIT;

    TRY(find(s, search, &handles));
    out->n = 0;
    out->ctx = search->ctx;
    out->v = calloc(handles.n + 1, sizeof(*out->v));
    if (out->v == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    for (size_t i = 0; i < handles.n; i++) {
        struct hsm_object *o = &out->v[out->n];
        hsm_rc rc;

        rc = hsm_object_read(s, search->ctx, handles.h[i], o);
        /* One that vanished meanwhile does not spoil the search. */
        if (!hsm_ok(rc) && hsm_class_of(rc) != HSM_CLASS_STALE_OBJECT) {
            hsm_object_clear(o);
            hsm_objects_clear(out);
            return rc;
        }
        if (hsm_ok(rc) && passes(o, search)) {
            out->n++;
        } else {
            hsm_object_clear(o);
        }
    }
    return HSM_OK;
}

/* CKR_ATTRIBUTE_VALUE_INVALID is no answer to C_GetAttributeValue [PKCS#11
 * 2.40, 5.7.5]: SoftHSM says it of what has no type yet. */
static bool may_be_half_made(hsm_rc rc, const struct hsm_objects *objects)
{
    size_t n = 0;

    for (size_t i = 0; hsm_ok(rc) && i < objects->n; i++) {
        n += objects->v[i].cls == CKO_PRIVATE_KEY ? 1 : 0;
    }
    return n > 1 || rc.rv == CKR_ATTRIBUTE_VALUE_INVALID;
}

/*
 * A token may let a search find a copy that another thread is making before it
 * has lost its original's label and id (SoftHSM does): so it looks as if there
 * were two keys of that name, or something that cannot be read.
 */
hsm_rc hsm_objects_look(struct hsm_session *s, const struct hsm_search *search,
                        struct hsm_objects *out)
{
    struct hsm_token *tok = s->tok;
    unsigned int ended = atomic_load(&tok->copies_ended);
    unsigned int tries = 1;
    hsm_rc rc = look(s, search, out);

    while (tries < HALF_MADE_TRIES && may_be_half_made(rc, out)
           && atomic_load(&tok->copies_begun) != ended) {
        hsm_objects_clear(out);
        hsm_pause_ms(tries++);
        ended = atomic_load(&tok->copies_ended);
        rc = look(s, search, out);
    }
    return rc;
}

static bool is_same_keytype(const struct hsm_object *private_key,
                            const struct hsm_object *o)
{
    CK_ULONG ckk = 0;

    return o->pub.kt != NULL
        && hsm_attrs_get_ulong(&private_key->attrs, CKA_KEY_TYPE, &ckk)
        && o->pub.kt->ckk == ckk;
}

/* By its id it is the half of another private key among the objects: keys may
 * share a label. */
static bool is_of_another(const struct hsm_objects *objects,
                          const struct hsm_object *private_key,
                          const struct hsm_object *o)
{
    struct hsm_bytes id;
    bool another = false;

    if (!hsm_attrs_get(&o->attrs, CKA_ID, &id) || id.len == 0
        || fits(private_key, CKA_ID, id)) {
        return false;
    }
    for (size_t i = 0; i < objects->n && !another; i++) {
        another = objects->v[i].cls == CKO_PRIVATE_KEY
            && fits(&objects->v[i], CKA_ID, id);
    }
    return another;
}

/*
 * Among the objects, those of the key's type that know a public key and share
 * a value with the private key. True when there is one, or all are the same
 * key; *found is it.
 */
static bool find_half(const struct hsm_objects *objects,
                      const struct hsm_object *private_key,
                      CK_ATTRIBUTE_TYPE by, const struct hsm_public **found)
{
    struct hsm_bytes value;
    const struct hsm_public *half = NULL;

    if (!hsm_attrs_get(&private_key->attrs, by, &value) || value.len == 0) {
        return false;
    }
    for (size_t i = 0; i < objects->n; i++) {
        const struct hsm_object *o = &objects->v[i];

        if (o->cls == CKO_PRIVATE_KEY || !fits(o, by, value)
            || !is_same_keytype(private_key, o)
            || is_of_another(objects, private_key, o)) {
            continue;
        }
        if (half != NULL && !hsm_public_equal(half, &o->pub)) {
            return false;       /* not to be guessed */
        }
        half = &o->pub;
    }
    *found = half;
    return half != NULL;
}

/*
 * That an RSA key is for PSS only a token cannot say, but the key's certificate
 * does: where one was found with it that does, and none that does not, it is
 * its public half that counts. NULL: there is no such.
 */
static const struct hsm_public *
find_restriction(const struct hsm_objects *objects,
                 const struct hsm_public *numbers)
{
    const struct hsm_public *found = NULL;

    for (size_t i = 0; i < objects->n; i++) {
        const struct hsm_object *o = &objects->v[i];

        if (o->cls != CKO_CERTIFICATE || o->pub.kt == NULL
            || !hsm_public_equal(numbers, &o->pub)) {
            continue;
        }
        if (!o->pub.pss_only) {
            return NULL;
        }
        found = &o->pub;
    }
    return found;
}

static hsm_rc restrict_key(const struct hsm_objects *objects,
                           struct hsm_public *pub)
{
    const struct hsm_public *found = find_restriction(objects, pub);

    return found != NULL ? hsm_public_copy(found, pub) : HSM_OK;
}

/* A half that only shares the label, and has an id of its own: the token may
 * have another private key of that id, whatever it is called. */
static hsm_rc is_owned(struct hsm_session *s, const struct hsm_objects *objects,
                       const struct hsm_object *private_key,
                       const struct hsm_public *half, bool *owned)
{
    hsm_auto(hsm_objects) owners = HSM_OBJECTS_INIT;
    struct hsm_search search = {
        .ctx = objects->ctx, .cls = CKO_PRIVATE_KEY, .with_cls = true
    };

    for (size_t i = 0; i < objects->n && search.id.len == 0; i++) {
        if (&objects->v[i].pub == half) {
            (void)hsm_attrs_get(&objects->v[i].attrs, CKA_ID, &search.id);
        }
    }
    *owned = false;
    if (search.id.len > 0 && !fits(private_key, CKA_ID, search.id)) {
        TRY(hsm_objects_look(s, &search, &owners));
        *owned = owners.n > 0;
    }
    return HSM_OK;
}

/* The half that is among the objects, if there is one. */
static hsm_rc take_half(struct hsm_session *s,
                        const struct hsm_objects *objects,
                        struct hsm_object *o, CK_ATTRIBUTE_TYPE by)
{
    const struct hsm_public *half = NULL;
    bool owned = false;

    if (!find_half(objects, o, by, &half)) {
        return HSM_OK;
    }
    if (by == CKA_LABEL) {
        TRY(is_owned(s, objects, o, half, &owned));
    }
    return owned ? HSM_OK : hsm_public_copy(half, &o->pub);
}

/* Searches the token for objects that share a value with the private key. */
static hsm_rc search_half(struct hsm_session *s, struct hsm_context *ctx,
                          struct hsm_object *o, CK_ATTRIBUTE_TYPE by)
{
    hsm_auto(hsm_objects) others = HSM_OBJECTS_INIT;
    struct hsm_search search = { .ctx = ctx, .cls = HSM_ANY_CLASS };
    struct hsm_bytes value;

    if (!hsm_attrs_get(&o->attrs, by, &value) || value.len == 0) {
        return HSM_OK;
    }
    if (by == CKA_ID) {
        search.id = value;
    } else {
        search.label = value;
    }
    TRY(hsm_objects_look(s, &search, &others));
    TRY(take_half(s, &others, o, by));
    return o->pub.kt != NULL ? restrict_key(&others, &o->pub) : HSM_OK;
}

bool hsm_objects_match(struct hsm_objects *objects, size_t i)
{
    struct hsm_object *o = &objects->v[i];
    const struct hsm_public *half = NULL;

    return o->pub.kt != NULL
        || ((find_half(objects, o, CKA_ID, &half)
             || find_half(objects, o, CKA_LABEL, &half))
            && hsm_ok(hsm_public_copy(half, &o->pub)));
}

static hsm_rc find_public(struct hsm_session *s, struct hsm_objects *objects,
                          size_t i)
{
    static const CK_ATTRIBUTE_TYPE by[] = { CKA_ID, CKA_LABEL };
    struct hsm_object *o = &objects->v[i];

    for (size_t n = 0; n < sizeof(by) / sizeof(by[0]); n++) {
        if (o->pub.kt == NULL) {
            TRY(take_half(s, objects, o, by[n]));
        }
        if (o->pub.kt == NULL) {
            TRY(search_half(s, objects->ctx, o, by[n]));
        }
    }
    return HSM_OK;
}

hsm_rc hsm_objects_complete(struct hsm_session *s, struct hsm_objects *objects,
                            size_t i)
{
    TRY(find_public(s, objects, i));
    return hsm_objects_restrict(objects, i);
}

bool hsm_object_may_be_restricted(const struct hsm_object *o)
{
    return o->pub.kt != NULL && o->pub.kt->ckk == CKK_RSA && !o->pub.pss_only;
}

hsm_rc hsm_objects_restrict(struct hsm_objects *objects, size_t i)
{
    return restrict_key(objects, &objects->v[i].pub);
}

hsm_rc hsm_objects_look_restriction(struct hsm_session *s,
                                    struct hsm_objects *objects, size_t i)
{
    struct hsm_object *o = &objects->v[i];
    hsm_auto(hsm_objects) certs = HSM_OBJECTS_INIT;
    struct hsm_search search = {
        .ctx = objects->ctx, .cls = CKO_CERTIFICATE, .with_cls = true
    };

    if (!hsm_attrs_get(&o->attrs, CKA_ID, &search.id) || search.id.len == 0) {
        return HSM_OK;
    }
    TRY(hsm_objects_look(s, &search, &certs));
    return restrict_key(&certs, &o->pub);
}
