/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a module says of an object: its attributes as the input has them, with
 * lengths and results that may be lies. It never writes more than it has room
 * for: a module that does cannot be survived.
 *
 * For each attribute that is asked for, in turn: a byte that says how it is
 * told, one for its length, and its value.
 */
#include "src/module/quirk.h"
#include "src/object/attr.h"
#include "src/object/find.h"
#include "src/object/key.h"
#include "src/object/spki.h"
#include "tests/fuzz/fuzz.h"

enum manner { TOLD = 0, MISSING = 11, SENSITIVE, HUGE_LENGTH, ONE_MORE, FAILS };

static struct hsm_bytes script;

static CK_RV tell(CK_ATTRIBUTE *a)
{
    unsigned int how = fuzz_byte(&script) % 16;
    struct hsm_bytes v = fuzz_take(&script, fuzz_byte(&script));
    CK_ULONG room = a->ulValueLen;

    if (how == MISSING || how == SENSITIVE) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return how == MISSING ? CKR_ATTRIBUTE_TYPE_INVALID
                              : CKR_ATTRIBUTE_SENSITIVE;
    }
    if (how == FAILS) {
        return CKR_BUFFER_TOO_SMALL;
    }
    a->ulValueLen = how == HUGE_LENGTH ? (CK_ULONG)1 << (v.len % 64)
        : how == ONE_MORE ? room + 1 : v.len;
    if (a->pValue != NULL && how <= TOLD + 10 && v.len <= room && v.len > 0) {
        memcpy(a->pValue, v.p, v.len);
    } else if (a->pValue != NULL && v.len > room) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_BUFFER_TOO_SMALL;
    }
    return CKR_OK;
}

static CK_RV get_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h,
                            CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV all = CKR_OK;

    (void)s;
    (void)h;
    for (CK_ULONG i = 0; i < n; i++) {
        CK_RV rv = tell(&a[i]);

        all = rv != CKR_OK ? rv : all;
    }
    return all;
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *a, CK_ULONG n)
{
    (void)s;
    (void)a;
    (void)n;
    return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *h, CK_ULONG max,
                  CK_ULONG *n)
{
    unsigned int count = fuzz_byte(&script);

    (void)s;
    for (CK_ULONG i = 0; i < max && i < count; i++) {
        h[i] = fuzz_byte(&script);
    }
    /* Two more are lies. */
    *n = count > 250 ? (CK_ULONG)1 << 62 : count < max + 2 ? count : max;
    return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE s)
{
    (void)s;
    return CKR_OK;
}

static CK_FUNCTION_LIST functions = {
    .C_GetAttributeValue = get_attributes,
    .C_FindObjectsInit = find_init,
    .C_FindObjects = find,
    .C_FindObjectsFinal = find_final
};
static struct hsm_quirk quirk = { .name = "fuzz" };
static struct hsm_library library = {
    .f = &functions, .quirk = &quirk, .ready_in = 1
};
static struct hsm_token token = { .lib = &library };

static struct hsm_context *context(void)
{
    static struct hsm_context *ctx;
    struct hsm_settings settings;

    if (ctx == NULL) {
        hsm_settings_init(&settings);
        fuzz_check(hsm_ok(hsm_context_new(&settings, NULL, &ctx)));
    }
    return ctx;
}

static void check_key(const struct hsm_attrs *as,
                      const struct hsm_public *pub)
{
    hsm_autop(hsm_uri) u = NULL;
    hsm_autop(hsm_key) key = NULL;
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    struct hsm_key_origin from = {
        .ctx = context(), .tok = &token, .h = 1, .attrs = as, .pub = pub
    };

    fuzz_check(hsm_ok(hsm_uri_parse("pkcs11:object=it", &u)));
    from.uri = u;
    fuzz_check(hsm_ok(hsm_key_from_object(&from, &key)));
    (void)hsm_key_allows(key, CKM_ECDSA);
    (void)hsm_key_usage(key);
    if (hsm_ok(hsm_key_uri(key, &text))) {
        hsm_autop(hsm_uri) again = NULL;

        fuzz_check(hsm_ok(hsm_uri_parse((const char *)text.p, &again)));
    }
}

static void check_public(const struct hsm_attrs *as)
{
    hsm_auto(hsm_public) pub = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) again = HSM_PUBLIC_INIT;
    hsm_rc rc = hsm_public_from_attrs(as, &pub);

    if (hsm_ok(rc)) {
        /* What is made of it says the same. */
        fuzz_check(pub.kt != NULL && pub.spki.len > 0);
        fuzz_check(hsm_ok(hsm_public_from_spki(hsm_buf_bytes(&pub.spki),
                                               &again)));
        fuzz_check(hsm_public_equal(&pub, &again));
    }
    check_key(as, &pub);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = 0;
    const CK_ATTRIBUTE_TYPE *types = hsm_key_attr_types(&n);
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    hsm_auto(hsm_handles) found = HSM_HANDLES_INIT;
    struct hsm_session s = { .tok = &token };
    hsm_rc rc;

    script = hsm_bytes_of(data, size);
    quirk.lengths_first = (fuzz_byte(&script) & 1u) != 0;
    rc = hsm_attrs_read(&s, 1, types, n, &as);
    if (hsm_ok(rc)) {
        fuzz_check(as.n == n);
        check_public(&as);
    } else {
        fuzz_check(as.n == 0);
        fuzz_check(fuzz_is_clean(rc, HSM_E_BAD_DATA, CKR_BUFFER_TOO_SMALL));
    }
    rc = hsm_find(&s, &tmpl, 0, &found);
    fuzz_check(hsm_ok(rc) || fuzz_is_clean(rc, HSM_E_BAD_DATA, 0));
    return 0;
}
