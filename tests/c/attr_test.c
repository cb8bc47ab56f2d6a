/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes and searches, with a module that is a few functions here.
 */
#include <string.h>

#include "src/module/quirk.h"
#include "src/object/attr.h"
#include "src/object/find.h"
#include "tests/c/tap.h"

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))
#define is_num(got, want, ...) \
    is_int((long long)(got), (long long)(want), __VA_ARGS__)
#define BYTES_OF(array) hsm_bytes_of(array, sizeof(array))

/* ---- The module ---- */

/* What it does with a value that does not fit, and other bad manners. */
enum manner {
    TELLS_NOTHING,              /* length -1, as the specification says */
    LEAVES_LENGTH,              /* length as it was given */
    STOPS,                      /* at the first that does not fit */
    IGNORES_ROOM,               /* writes all the same */
    OVERSTATES,                 /* length beyond the room, CKR_OK */
    BOASTS,                     /* lengths of 2 MiB */
    NEVER_FITS,
    BREAKS                      /* CKR_DEVICE_ERROR */
};

static struct {
    enum manner manner;
    size_t label_bytes;
    unsigned int calls;
    size_t objects, next;       /* of a search */
    unsigned int inits, finals;
    CK_RV init_rv, find_rv, final_rv;
    CK_ULONG excess;            /* objects reported beyond what was asked */
} fake;

static unsigned char fake_label[10000];
static const CK_ULONG fake_class = CKO_PRIVATE_KEY;
static const CK_BBOOL fake_sign = CK_TRUE;
static const unsigned char fake_id[] = { 0, 1, 2, 3, 4 };

static struct hsm_bytes fake_value(CK_ATTRIBUTE_TYPE type)
{
    switch (type) {
    case CKA_CLASS:
        return hsm_bytes_of(&fake_class, sizeof(fake_class));
    case CKA_SIGN:
        return hsm_bytes_of(&fake_sign, sizeof(fake_sign));
    case CKA_ID:
        return BYTES_OF(fake_id);
    case CKA_LABEL:
        return hsm_bytes_of(fake_label, fake.label_bytes);
    case CKA_APPLICATION:
        return hsm_bytes_of("", 0);
    default:
        return hsm_bytes_of(NULL, 0);
    }
}

static CK_RV fake_one(CK_ATTRIBUTE *a)
{
    struct hsm_bytes v = fake_value(a->type);

    if (v.p == NULL) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_ATTRIBUTE_SENSITIVE;
    }
    if (a->pValue == NULL) {
        a->ulValueLen = fake.manner == BOASTS ? 2UL << 20 : v.len;
        return CKR_OK;
    }
    if ((a->ulValueLen < v.len && fake.manner != IGNORES_ROOM)
        || fake.manner == NEVER_FITS) {
        if (fake.manner == TELLS_NOTHING) {
            a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        }
        return CKR_BUFFER_TOO_SMALL;
    }
    memcpy(a->pValue, v.p, v.len);
    a->ulValueLen = fake.manner == OVERSTATES ? a->ulValueLen + 1 : v.len;
    return CKR_OK;
}

static CK_RV fake_get(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h,
                      CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV all = CKR_OK;

    (void)s;
    (void)h;
    fake.calls++;
    if (fake.manner == BREAKS) {
        return CKR_DEVICE_ERROR;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        CK_RV rv = fake_one(&a[i]);

        if (rv == CKR_BUFFER_TOO_SMALL && fake.manner == STOPS) {
            return rv;
        }
        all = rv == CKR_OK || all == CKR_BUFFER_TOO_SMALL ? all : rv;
    }
    return all;
}

static CK_RV fake_find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    (void)a;
    (void)n;
    fake.inits++;
    fake.next = 0;
    return fake.init_rv;
}

static CK_RV fake_find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *h,
                       CK_ULONG max, CK_ULONG *n)
{
    CK_ULONG i = 0;

    (void)s;
    fake.calls++;
    if (fake.find_rv != CKR_OK) {
        return fake.find_rv;
    }
    while (i < max && fake.next < fake.objects) {
        h[i++] = ++fake.next;
    }
    *n = i + fake.excess;
    return CKR_OK;
}

static CK_RV fake_find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    fake.finals++;
    return fake.final_rv;
}

static CK_FUNCTION_LIST fake_list = {
    .C_GetAttributeValue = fake_get,
    .C_FindObjectsInit = fake_find_init,
    .C_FindObjects = fake_find,
    .C_FindObjectsFinal = fake_find_final
};

static struct hsm_quirk fake_quirk = { .name = "fake" };
static struct hsm_library fake_library = {
    .f = &fake_list, .quirk = &fake_quirk, .ready_in = 1
};
static struct hsm_token fake_token = { .lib = &fake_library };

/* ---- Attributes ---- */

static void attrs_by_value(void)
{
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    struct hsm_bytes v = { NULL, 0 };
    CK_ULONG u = 7;

    ok(hsm_ok(hsm_attrs_add_bool(&as, CKA_SIGN, true))
       && hsm_ok(hsm_attrs_add_ulong(&as, CKA_CLASS, CKO_SECRET_KEY))
       && hsm_ok(hsm_attrs_add(&as, CKA_ID, BYTES_OF(fake_id)))
       && hsm_ok(hsm_attrs_add(&as, CKA_LABEL, hsm_bytes_of(NULL, 0))),
       "attributes are added");
    is_num(as.n, 4, "four of them");
    ok(hsm_attrs_get(&as, CKA_ID, &v)
       && hsm_bytes_equal(v, BYTES_OF(fake_id)), "bytes come back");
    ok(hsm_attrs_get_ulong(&as, CKA_CLASS, &u) && u == CKO_SECRET_KEY,
       "a CK_ULONG comes back");
    ok(!hsm_attrs_get_ulong(&as, CKA_ID, &u) && u == CKO_SECRET_KEY,
       "bytes are no CK_ULONG, and the output stays");
    ok(hsm_attrs_get_bool(&as, CKA_SIGN, false), "a CK_BBOOL comes back");
    ok(hsm_attrs_get_bool(&as, CKA_WRAP, true)
       && !hsm_attrs_get_bool(&as, CKA_ID, false),
       "otherwise, where there is none");
    ok(!hsm_attrs_has(&as, CKA_LABEL) && !hsm_attrs_has(&as, CKA_VALUE)
       && hsm_attrs_has(&as, CKA_ID), "an empty value is none");
    ok(hsm_attrs_get(&as, CKA_ID, &v)
       && hsm_ok(hsm_attrs_add(&as, CKA_ID, hsm_bytes_of(v.p + 1, 2)))
       && hsm_attrs_get(&as, CKA_ID, &v) && v.len == 2 && v.p[0] == 1,
       "a value is replaced, even by a part of itself");
    is_num(as.n, 4, "still four of them");
    for (CK_ULONG i = 4; i < HSM_ATTRS_MAX; i++) {
        if (!hsm_ok(hsm_attrs_add_bool(&as, 0x10000 + i, true))) {
            break;
        }
    }
    is_num(as.n, HSM_ATTRS_MAX, "room for so many");
    is_num(hsm_attrs_add_bool(&as, CKA_TOKEN, true).rv, CKR_ARGUMENTS_BAD,
           "and no more");
    ok(hsm_ok(hsm_attrs_add_bool(&as, CKA_SIGN, false)),
       "but replacing works in a full set");
}

static const struct read_case {
    const char *name;
    enum manner manner;
    bool lengths_first;
    size_t label_bytes;
    CK_RV rv;
    unsigned int calls;
} read_cases[] = {
    { "all fits", TELLS_NOTHING, false, 100, CKR_OK, 1 },
    { "fits exactly", TELLS_NOTHING, false, 8192, CKR_OK, 1 },
    { "too long, length -1", TELLS_NOTHING, false, 10000, CKR_OK, 3 },
    { "too long, length as given", LEAVES_LENGTH, false, 10000, CKR_OK, 3 },
    { "too long, stopped there", STOPS, false, 8193, CKR_OK, 3 },
    { "room is ignored", IGNORES_ROOM, true, 10000, CKR_OK, 2 },
    { "lengths first", TELLS_NOTHING, true, 3, CKR_OK, 2 },
    { "more than the room", OVERSTATES, false, 100, HSM_E_BAD_DATA, 1 },
    { "lengths of 2 MiB", BOASTS, true, 100, HSM_E_BAD_DATA, 1 },
    { "2 MiB after too short", BOASTS, false, 10000, HSM_E_BAD_DATA, 2 },
    { "never fits", NEVER_FITS, false, 100, CKR_BUFFER_TOO_SMALL, 3 },
    { "breaks", BREAKS, false, 100, CKR_DEVICE_ERROR, 1 },
};

static bool read_is_right(const struct hsm_attrs *as, size_t label_bytes)
{
    struct hsm_bytes id, label;
    CK_ULONG class = 0;

    return as->n == 6
        && hsm_attrs_get_ulong(as, CKA_CLASS, &class)
        && class == CKO_PRIVATE_KEY
        && hsm_attrs_get(as, CKA_ID, &id)
        && hsm_bytes_equal(id, BYTES_OF(fake_id))
        && hsm_attrs_get(as, CKA_LABEL, &label)
        && hsm_bytes_equal(label, hsm_bytes_of(fake_label, label_bytes))
        && hsm_attrs_get_bool(as, CKA_SIGN, false)
        && !hsm_attrs_has(as, CKA_MODULUS)
        && !hsm_attrs_has(as, CKA_APPLICATION);
}

static void attrs_from_module(const struct read_case *c)
{
    static const CK_ATTRIBUTE_TYPE types[] = {
        CKA_MODULUS, CKA_LABEL, CKA_CLASS, CKA_APPLICATION, CKA_ID, CKA_SIGN
    };
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    struct hsm_session s = { .tok = &fake_token };
    hsm_rc rc;

    memset(&fake, 0, sizeof(fake));
    fake.manner = c->manner;
    fake.label_bytes = c->label_bytes;
    fake_quirk.lengths_first = c->lengths_first;
    rc = hsm_attrs_read(&s, 1, types, N_OF(types), &as);
    is_num(rc.rv, c->rv, "%s: result", c->name);
    is_num(fake.calls, c->calls, "%s: calls", c->name);
    if (c->rv == CKR_OK) {
        ok(read_is_right(&as, c->label_bytes), "%s: values", c->name);
    } else {
        is_num(as.n, 0, "%s: nothing in the set", c->name);
    }
}

/* ---- Searches ---- */

static const struct find_case {
    const char *name;
    size_t objects, limit;
    CK_RV init_rv, find_rv, final_rv;
    CK_ULONG excess;
    CK_RV rv;
    size_t found;
    unsigned int calls;         /* of C_FindObjects */
    bool dirty;
} find_cases[] = {
    { "none", 0, 0, 0, 0, 0, 0, CKR_OK, 0, 1, false },
    { "63", 63, 0, 0, 0, 0, 0, CKR_OK, 63, 1, false },
    { "64", 64, 0, 0, 0, 0, 0, CKR_OK, 64, 2, false },
    { "200", 200, 0, 0, 0, 0, 0, CKR_OK, 200, 4, false },
    { "1 of 200", 200, 1, 0, 0, 0, 0, CKR_OK, 1, 1, false },
    { "100 of 200", 200, 100, 0, 0, 0, 0, CKR_OK, 100, 2, false },
    { "2 of 1", 1, 2, 0, 0, 0, 0, CKR_OK, 1, 1, false },
    { "too many", 200, 0, 0, 0, 0, 1, HSM_E_BAD_DATA, 0, 1, true },
    { "init fails", 3, 0, CKR_HOST_MEMORY, 0, 0, 0, CKR_HOST_MEMORY, 0, 0,
      false },
    { "search under way", 3, 0, CKR_OPERATION_ACTIVE, 0, 0, 0,
      CKR_OPERATION_ACTIVE, 0, 0, true },
    { "search fails", 3, 0, 0, CKR_DEVICE_ERROR, 0, 0, CKR_DEVICE_ERROR, 0,
      1, true },
    { "end fails", 3, 0, 0, 0, CKR_DEVICE_ERROR, 0, CKR_OK, 3, 1, true },
};

static void search(const struct find_case *c)
{
    hsm_auto(hsm_handles) hs = HSM_HANDLES_INIT;
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    struct hsm_session s = { .tok = &fake_token };
    size_t in_order = 0;

    memset(&fake, 0, sizeof(fake));
    fake.objects = c->objects;
    fake.init_rv = c->init_rv;
    fake.find_rv = c->find_rv;
    fake.final_rv = c->final_rv;
    fake.excess = c->excess;
    is_num(hsm_find(&s, &tmpl, c->limit, &hs).rv, c->rv, "find %s: result",
           c->name);
    is_num(hs.n, c->found, "find %s: number", c->name);
    while (in_order < hs.n && hs.h[in_order] == in_order + 1) {
        in_order++;
    }
    is_num(in_order, c->found, "find %s: handles", c->name);
    is_num(fake.calls, c->calls, "find %s: calls", c->name);
    is_num(fake.finals, c->init_rv == CKR_OK, "find %s: ended", c->name);
    is_num(s.dirty, c->dirty, "find %s: session", c->name);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(fake_label); i++) {
        fake_label[i] = (unsigned char)(i * 7 + 1);
    }
    attrs_by_value();
    for (size_t i = 0; i < N_OF(read_cases); i++) {
        attrs_from_module(&read_cases[i]);
    }
    for (size_t i = 0; i < N_OF(find_cases); i++) {
        search(&find_cases[i]);
    }
    return tap_done();
}
