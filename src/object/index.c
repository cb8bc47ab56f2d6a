/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/index.h"

#include <stdint.h>
#include <stdlib.h>

#include "src/object/find.h"

/* Objects of one id or label that are looked at. */
#define CANDIDATES_MAX 16
#define FNV_START 0x811c9dc5u
#define FNV_PRIME 0x01000193u

/* Hashes only say which objects to read; 0: there is no value. */
struct hsm_index_entry {
    CK_OBJECT_HANDLE h;
    uint32_t id, label;
    CK_OBJECT_CLASS cls;
};

void hsm_index_clear(struct hsm_index *index)
{
    free(index->v);
    *index = (struct hsm_index)HSM_INDEX_INIT;
}

static uint32_t hash_of(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type)
{
    struct hsm_bytes value;
    uint32_t hash = FNV_START;

    if (!hsm_attrs_get(as, type, &value) || value.len == 0) {
        return 0;
    }
    for (size_t i = 0; i < value.len; i++) {
        hash = (hash ^ value.p[i]) * FNV_PRIME;
    }
    return hash != 0 ? hash : 1;
}

/* One that vanished meanwhile is none. */
static hsm_rc add(struct hsm_index *index, struct hsm_session *s,
                  CK_OBJECT_HANDLE h, CK_OBJECT_CLASS cls)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_ID, CKA_LABEL };
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    hsm_rc rc = hsm_attrs_read(s, h, types, 2, &as);

    if (hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT) {
        hsm_detail_clear();
        return HSM_OK;
    }
    TRY(rc);
    index->v[index->n++] = (struct hsm_index_entry){
        h, hash_of(&as, CKA_ID), hash_of(&as, CKA_LABEL), cls
    };
    return HSM_OK;
}

/* is_there: whether they all are in the index already. */
static hsm_rc add_class(struct hsm_index *index, struct hsm_session *s,
                        CK_OBJECT_CLASS cls, bool *is_there)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    hsm_auto(hsm_handles) found = HSM_HANDLES_INIT;
    struct hsm_index_entry *grown = NULL;
    size_t before = index->n;
    hsm_rc rc = HSM_OK;

    if (*is_there) {
        return HSM_OK;
    }
    TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, cls));
    TRY(hsm_find(s, &tmpl, 0, &found));
    grown = realloc(index->v, (index->n + found.n + 1) * sizeof(*index->v));
    if (grown == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_index_complete");
    }
    index->v = grown;
    for (size_t i = 0; hsm_ok(rc) && i < found.n; i++) {
        rc = add(index, s, found.h[i], cls);
    }
    if (!hsm_ok(rc)) {
        index->n = before;
    }
    *is_there = hsm_ok(rc);
    return rc;
}

static hsm_rc add_candidate(struct hsm_session *s, CK_OBJECT_HANDLE h,
                            struct hsm_objects *objects)
{
    struct hsm_object *grown =
        realloc(objects->v, (objects->n + 1) * sizeof(*grown));
    hsm_rc rc;

    if (grown == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_index_complete");
    }
    objects->v = grown;
    rc = hsm_object_read(s, objects->ctx, h, &grown[objects->n++]);
    if (hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT) {
        hsm_detail_clear();
        return HSM_OK;          /* nothing is known of it */
    }
    return rc;
}

/* Those that have the same id as the key: the first of them. */
static hsm_rc add_by_id(const struct hsm_index *index, struct hsm_session *s,
                        struct hsm_objects *objects)
{
    bool certs_only = objects->v[0].pub.kt != NULL;
    uint32_t want = hash_of(&objects->v[0].attrs, CKA_ID);
    size_t n = 0;

    for (size_t i = 0; i < index->n && want != 0 && n < CANDIDATES_MAX; i++) {
        const struct hsm_index_entry *e = &index->v[i];

        if (e->id == want
            && (e->cls == CKO_CERTIFICATE
                || (e->cls == CKO_PUBLIC_KEY && !certs_only))) {
            TRY(add_candidate(s, e->h, objects));
            n++;
        }
    }
    return HSM_OK;
}

/* A private key has that id, and so the half that has it, too. */
static bool is_of_another(const struct hsm_index *index, uint32_t id)
{
    bool another = false;

    for (size_t i = 0; i < index->n && !another; i++) {
        another = index->v[i].cls == CKO_PRIVATE_KEY && index->v[i].id == id;
    }
    return another;
}

/* Likewise, of the same label: none of another private key, whose ids are only
 * looked at where there is a half with some other id than this key's. */
static hsm_rc add_by_label(struct hsm_index *index, struct hsm_session *s,
                           struct hsm_objects *objects)
{
    uint32_t want = hash_of(&objects->v[0].attrs, CKA_LABEL);
    uint32_t own = hash_of(&objects->v[0].attrs, CKA_ID);
    size_t n = 0;

    for (size_t i = 0; i < index->n && want != 0 && n < CANDIDATES_MAX; i++) {
        const struct hsm_index_entry e = index->v[i];

        if (e.label != want || e.cls == CKO_PRIVATE_KEY) {
            continue;
        }
        if (e.id != 0 && e.id != own) {
            TRY(add_class(index, s, CKO_PRIVATE_KEY, &index->has_private));
        }
        if (e.id == 0 || e.id == own || !is_of_another(index, e.id)) {
            TRY(add_candidate(s, e.h, objects));
            n++;
        }
    }
    return HSM_OK;
}

hsm_rc hsm_index_complete(struct hsm_index *index, struct hsm_session *s,
                          struct hsm_objects *objects)
{
    bool known = objects->v[0].pub.kt != NULL;

    if (!known) {
        TRY(add_class(index, s, CKO_PUBLIC_KEY, &index->has_public));
    }
    TRY(add_class(index, s, CKO_CERTIFICATE, &index->has_certs));
    TRY(add_by_id(index, s, objects));
    if (!hsm_objects_match(objects, 0)) {
        TRY(add_by_label(index, s, objects));
        (void)hsm_objects_match(objects, 0);
    }
    return hsm_objects_restrict(objects, 0);
}
