/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/attr.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/gate.h"
#include "src/module/quirk.h"

/* What is offered to a module before it said how much it wants to write. */
#define ROOM_USUAL ((CK_ULONG)8 * 1024)
#define ROOM_VALUE ((CK_ULONG)16 * 1024)        /* certificates */
/* More than this is no attribute of a key or certificate. */
#define LENGTH_MAX ((CK_ULONG)1024 * 1024)
/* Modules store through CK_ULONG pointers: every value begins aligned. */
#define ALIGN_MASK ((CK_ULONG)15)

static const CK_ATTRIBUTE_TYPE bool_types[] = {
    CKA_TOKEN, CKA_PRIVATE, CKA_TRUSTED, CKA_SENSITIVE, CKA_ENCRYPT,
    CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_SIGN_RECOVER,
    CKA_VERIFY, CKA_VERIFY_RECOVER, CKA_DERIVE, CKA_EXTRACTABLE, CKA_LOCAL,
    CKA_NEVER_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_MODIFIABLE,
    CKA_COPYABLE, CKA_DESTROYABLE, CKA_ALWAYS_AUTHENTICATE,
    CKA_WRAP_WITH_TRUSTED
};

static const CK_ATTRIBUTE_TYPE ulong_types[] = {
    CKA_CLASS, CKA_CERTIFICATE_TYPE, CKA_CERTIFICATE_CATEGORY, CKA_KEY_TYPE,
    CKA_MODULUS_BITS, CKA_VALUE_LEN, CKA_KEY_GEN_MECHANISM
};

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

/* Attributes that are being read, and what was given for each. */
struct reading {
    CK_ATTRIBUTE a[HSM_ATTRS_MAX];
    CK_ULONG room[HSM_ATTRS_MAX];
    CK_ULONG n;
};

/* The block behind a reading: may hold the value of an extractable key. */
struct block {
    unsigned char *p;
    size_t len;
};

static void block_clear(struct block *b)
{
    hsm_wipe(b->p, b->len);
    free(b->p);
    b->p = NULL;
    b->len = 0;
}

static void value_clear(CK_ATTRIBUTE *a)
{
    if (a->pValue != NULL) {
        hsm_wipe(a->pValue, a->ulValueLen);
        free(a->pValue);
    }
    a->pValue = NULL;
    a->ulValueLen = 0;
}

static const CK_ATTRIBUTE *lookup(const struct hsm_attrs *as,
                                  CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < as->n; i++) {
        if (as->a[i].type == type) {
            return &as->a[i];
        }
    }
    return NULL;
}

/* The place of this type: where it is, or a new and empty one. */
static hsm_rc place_of(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                       CK_ATTRIBUTE **out)
{
    for (CK_ULONG i = 0; i < as->n; i++) {
        if (as->a[i].type == type) {
            *out = &as->a[i];
            return HSM_OK;
        }
    }
    if (as->n >= HSM_ATTRS_MAX) {
        return hsm_fail(CKR_ARGUMENTS_BAD, "hsm_attrs_add",
                        "more than %d attributes", HSM_ATTRS_MAX);
    }
    *out = &as->a[as->n];
    (*out)->type = type;
    (*out)->pValue = NULL;
    (*out)->ulValueLen = 0;
    as->n++;
    return HSM_OK;
}

hsm_rc hsm_attrs_add(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                     struct hsm_bytes value)
{
    CK_ATTRIBUTE *a = NULL;
    void *copy = NULL;
    hsm_rc rc;

    if (value.len > 0) {
        copy = malloc(value.len);
        if (copy == NULL) {
            return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_attrs_add");
        }
        memcpy(copy, value.p, value.len);
    }
    rc = place_of(as, type, &a);
    if (!hsm_ok(rc)) {
        hsm_wipe(copy, value.len);
        free(copy);
        return rc;
    }
    value_clear(a);
    a->pValue = copy;
    a->ulValueLen = (CK_ULONG)value.len;
    return HSM_OK;
}

hsm_rc hsm_attrs_add_bool(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                          bool value)
{
    CK_BBOOL b = value ? CK_TRUE : CK_FALSE;

    return hsm_attrs_add(as, type, hsm_bytes_of(&b, sizeof(b)));
}

hsm_rc hsm_attrs_add_ulong(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                           CK_ULONG value)
{
    return hsm_attrs_add(as, type, hsm_bytes_of(&value, sizeof(value)));
}

bool hsm_attrs_remove(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < as->n; i++) {
        if (as->a[i].type == type) {
            value_clear(&as->a[i]);
            as->n--;
            memmove(&as->a[i], &as->a[i + 1],
                    (as->n - i) * sizeof(as->a[i]));
            return true;
        }
    }
    return false;
}

void hsm_attrs_clear(struct hsm_attrs *as)
{
    for (CK_ULONG i = 0; i < as->n; i++) {
        value_clear(&as->a[i]);
    }
    as->n = 0;
}

bool hsm_attrs_has(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type)
{
    const CK_ATTRIBUTE *a = lookup(as, type);

    return a != NULL && a->pValue != NULL;
}

bool hsm_attrs_get(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                   struct hsm_bytes *out)
{
    const CK_ATTRIBUTE *a = lookup(as, type);

    if (a == NULL || a->pValue == NULL) {
        return false;
    }
    *out = hsm_bytes_of(a->pValue, a->ulValueLen);
    return true;
}

bool hsm_attrs_get_ulong(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                         CK_ULONG *out)
{
    struct hsm_bytes v;

    if (!hsm_attrs_get(as, type, &v) || v.len != sizeof(*out)) {
        return false;
    }
    memcpy(out, v.p, sizeof(*out));
    return true;
}

bool hsm_attrs_get_bool(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                        bool otherwise)
{
    struct hsm_bytes v;

    if (!hsm_attrs_get(as, type, &v) || v.len != sizeof(CK_BBOOL)) {
        return otherwise;
    }
    return v.p[0] != CK_FALSE;
}

static bool is_among(CK_ATTRIBUTE_TYPE type, const CK_ATTRIBUTE_TYPE *types,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (types[i] == type) {
            return true;
        }
    }
    return false;
}

static CK_ULONG usual_room(CK_ATTRIBUTE_TYPE type)
{
    if (is_among(type, bool_types, N_OF(bool_types))) {
        return sizeof(CK_BBOOL);
    }
    if (is_among(type, ulong_types, N_OF(ulong_types))) {
        return sizeof(CK_ULONG);
    }
    return type == CKA_VALUE ? ROOM_VALUE : ROOM_USUAL;
}

static void want(struct reading *r, CK_ATTRIBUTE_TYPE type, CK_ULONG room)
{
    r->a[r->n].type = type;
    r->a[r->n].pValue = NULL;
    r->a[r->n].ulValueLen = 0;
    r->room[r->n] = room;
    r->n++;
}

/* All lengths are still those of the room: nothing was written. */
static bool is_untouched(const struct reading *r)
{
    CK_ULONG i = 0;

    while (i < r->n && r->a[i].ulValueLen == r->room[i]) {
        i++;
    }
    return i == r->n;
}

/*
 * One C_GetAttributeValue. What some attributes cannot tell is no failure:
 * their lengths say so [PKCS#11 2.40, 5.7.5]. Where none does, the call has
 * failed whatever it says, and what is in the room is no value.
 */
static hsm_rc ask(struct hsm_session *s, CK_OBJECT_HANDLE h,
                  struct reading *r, bool *too_small)
{
    hsm_rc rc = hsm_session_call(s, C_GetAttributeValue,
                         (s->h, h, r->a, r->n));

    *too_small = rc.rv == CKR_BUFFER_TOO_SMALL;
    if (*too_small || ((rc.rv == CKR_ATTRIBUTE_SENSITIVE
                        || rc.rv == CKR_ATTRIBUTE_TYPE_INVALID)
                       && !is_untouched(r))) {
        hsm_detail_clear();
        return HSM_OK;
    }
    return rc;
}

static hsm_rc bad_length(const CK_ATTRIBUTE *a, CK_ULONG room)
{
    return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                    "attribute 0x%lx: the module reports %lu bytes, "
                    "%lu were possible", a->type, a->ulValueLen, room);
}

/* Asks for lengths, and keeps only the attributes that have a value. */
static hsm_rc learn_rooms(struct hsm_session *s, CK_OBJECT_HANDLE h,
                          struct reading *r)
{
    struct reading told = { .n = 0 };
    bool ignored = false;

    for (CK_ULONG i = 0; i < r->n; i++) {
        r->a[i].pValue = NULL;
        r->a[i].ulValueLen = 0;
    }
    TRY(ask(s, h, r, &ignored));
    for (CK_ULONG i = 0; i < r->n; i++) {
        CK_ULONG len = r->a[i].ulValueLen;

        if (len == 0 || len == CK_UNAVAILABLE_INFORMATION) {
            continue;
        }
        if (len > LENGTH_MAX) {
            return bad_length(&r->a[i], LENGTH_MAX);
        }
        want(&told, r->a[i].type, len);
    }
    *r = told;
    return HSM_OK;
}

static hsm_rc give_room(struct reading *r, struct block *b)
{
    size_t total = 0;

    for (CK_ULONG i = 0; i < r->n; i++) {
        total += (r->room[i] + ALIGN_MASK) & ~ALIGN_MASK;
    }
    b->p = hsm_zalloc(total);
    if (b->p == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_attrs_read");
    }
    b->len = total;
    total = 0;
    for (CK_ULONG i = 0; i < r->n; i++) {
        r->a[i].pValue = b->p + total;
        r->a[i].ulValueLen = r->room[i];
        total += (r->room[i] + ALIGN_MASK) & ~ALIGN_MASK;
    }
    return HSM_OK;
}

/*
 * Reads, keeps what came, and notes in again what did not fit. A module may
 * have stopped at the first value that did not, or leave lengths as they
 * were: after CKR_BUFFER_TOO_SMALL only a length below the room is a value.
 */
static hsm_rc fetch(struct hsm_session *s, CK_OBJECT_HANDLE h,
                    struct reading *r, struct hsm_attrs *set,
                    struct reading *again)
{
    __attribute__((cleanup(block_clear))) struct block b = { NULL, 0 };
    bool too_small = false;

    if (r->n == 0) {
        return HSM_OK;
    }
    TRY(give_room(r, &b));
    TRY(ask(s, h, r, &too_small));
    for (CK_ULONG i = 0; i < r->n; i++) {
        const CK_ATTRIBUTE *a = &r->a[i];

        if (too_small && a->ulValueLen >= r->room[i]) {
            want(again, a->type, 0);
            continue;
        }
        if (a->ulValueLen == CK_UNAVAILABLE_INFORMATION) {
            continue;
        }
        if (a->ulValueLen > r->room[i]) {
            return bad_length(a, r->room[i]);
        }
        TRY(hsm_attrs_add(set, a->type,
                          hsm_bytes_of(a->pValue, a->ulValueLen)));
    }
    return HSM_OK;
}

static hsm_rc read_all(struct hsm_session *s, CK_OBJECT_HANDLE h,
                       struct reading *r, struct hsm_attrs *set)
{
    struct reading again = { .n = 0 };
    struct reading left = { .n = 0 };

    if (s->tok->lib->quirk->lengths_first) {
        TRY(learn_rooms(s, h, r));
    }
    TRY(fetch(s, h, r, set, &again));
    if (again.n == 0) {
        return HSM_OK;
    }
    TRY(learn_rooms(s, h, &again));
    TRY(fetch(s, h, &again, set, &left));
    if (left.n != 0) {
        return hsm_fail(CKR_BUFFER_TOO_SMALL, "C_GetAttributeValue",
                        "%lu attributes, 0x%lx the first, do not fit into "
                        "the bytes that the module asked for", left.n,
                        left.a[0].type);
    }
    return HSM_OK;
}

hsm_rc hsm_attrs_read(struct hsm_session *s, CK_OBJECT_HANDLE h,
                      const CK_ATTRIBUTE_TYPE *types, size_t n,
                      struct hsm_attrs *out)
{
    hsm_auto(hsm_attrs) set = HSM_ATTRS_INIT;
    struct reading r = { .n = 0 };

    if (n > HSM_ATTRS_MAX) {
        return hsm_fail(CKR_ARGUMENTS_BAD, "hsm_attrs_read",
                        "more than %d attributes", HSM_ATTRS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(hsm_attrs_add(&set, types[i], hsm_bytes_of(NULL, 0)));
        want(&r, types[i], usual_room(types[i]));
    }
    TRY(read_all(s, h, &r, &set));
    *out = set;
    set.n = 0;
    return HSM_OK;
}
