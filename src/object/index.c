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
};

void hsm_index_clear(struct hsm_index *index)
{
    free(index->v);
    index->v = NULL;
    index->n = 0;
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
                  CK_OBJECT_HANDLE h)
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
        h, hash_of(&as, CKA_ID), hash_of(&as, CKA_LABEL),
    };
    return HSM_OK;
}

static hsm_rc add_class(struct hsm_index *index, struct hsm_session *s,
                        CK_OBJECT_CLASS cls)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    hsm_auto(hsm_handles) found = HSM_HANDLES_INIT;
    struct hsm_index_entry *grown;

    TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, cls));
    TRY(hsm_find(s, &tmpl, 0, &found));
    if (found.n == 0) {
        return HSM_OK;
    }
    grown = realloc(index->v, (index->n + found.n) * sizeof(*index->v));
    if (grown == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_index_build");
    }
    index->v = grown;
    for (size_t i = 0; i < found.n; i++) {
        TRY(add(index, s, found.h[i]));
    }
    return HSM_OK;
}

hsm_rc hsm_index_build(struct hsm_session *s, struct hsm_index *out)
{
    hsm_auto(hsm_index) index = HSM_INDEX_INIT;

    TRY(add_class(&index, s, CKO_PUBLIC_KEY));
    TRY(add_class(&index, s, CKO_CERTIFICATE));
    *out = index;
    index = (struct hsm_index)HSM_INDEX_INIT;
    return HSM_OK;
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

hsm_rc hsm_index_complete(const struct hsm_index *index,
                          struct hsm_session *s, struct hsm_objects *objects)
{
    uint32_t id = hash_of(&objects->v[0].attrs, CKA_ID);
    uint32_t label = hash_of(&objects->v[0].attrs, CKA_LABEL);

    for (int by = 0; by < 2 && !hsm_objects_match(objects, 0); by++) {
        uint32_t want = by == 0 ? id : label;
        size_t n = 0;

        for (size_t i = 0; i < index->n && want != 0 && n < CANDIDATES_MAX;
             i++) {
            uint32_t has = by == 0 ? index->v[i].id : index->v[i].label;

            if (has == want) {
                TRY(add_candidate(s, index->v[i].h, objects));
                n++;
            }
        }
    }
    (void)hsm_objects_match(objects, 0);
    return HSM_OK;
}
