/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DER reader and what is read with it: elements lie inside their input and
 * one behind the other, and what is written is what was read.
 */
#include "src/base/der.h"
#include "src/object/cert.h"
#include "src/object/spki.h"
#include "tests/fuzz/fuzz.h"

static bool is_inside(struct hsm_bytes part, struct hsm_bytes whole)
{
    return part.p >= whole.p && part.p + part.len <= whole.p + whole.len;
}

/* The element whole is what its writer makes of tag and content. */
static void check_writer(unsigned int tag, struct hsm_bytes content,
                         struct hsm_bytes whole)
{
    hsm_auto(hsm_buf) again = HSM_BUF_INIT;
    hsm_auto(hsm_buf) value = HSM_BUF_INIT;
    struct hsm_bytes in = whole, number, octets;

    fuzz_check(hsm_ok(hsm_der_put(&again, tag, content)));
    fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&again), whole));
    if (hsm_der_get_uint(&in, &number)) {
        fuzz_check(tag == HSM_DER_INTEGER && in.len == 0 && number.len > 0);
        fuzz_check(hsm_ok(hsm_der_put_uint(&value, number)));
        fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&value), whole));
    } else if (hsm_der_get_bits(&in, &octets)) {
        fuzz_check(tag == HSM_DER_BIT_STRING && in.len == 0);
        fuzz_check(hsm_ok(hsm_der_put_bits(&value, octets)));
        fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&value), whole));
    } else {
        fuzz_check(in.p == whole.p && in.len == whole.len);
    }
}

/* Each element of in, and those in it, as deep as they go. */
static void walk(struct hsm_bytes in, unsigned int depth)
{
    struct hsm_bytes at = in, content, whole, got;
    unsigned int tag = 0;

    while (depth < 64 && hsm_der_next(&at, &tag, &content, &whole)) {
        fuzz_check(is_inside(whole, in) && is_inside(content, whole));
        fuzz_check(at.p == whole.p + whole.len);
        fuzz_check(content.p + content.len == whole.p + whole.len);
        fuzz_check(hsm_der_peek(whole, tag) && !hsm_der_peek(whole, tag ^ 1u));
        fuzz_check(hsm_der_only(whole, tag, &got) && got.p == content.p);
        check_writer(tag, content, whole);
        if ((tag & 0x20u) != 0) {
            walk(content, depth + 1);
        }
    }
}

static void check_signature(struct hsm_bytes in)
{
    size_t half = fuzz_byte(&in) % 67 + 1;
    unsigned char rs[134];
    hsm_auto(hsm_buf) der = HSM_BUF_INIT;
    hsm_rc rc = hsm_der_to_rs(in, half, rs);

    if (hsm_ok(rc)) {
        fuzz_check(hsm_ok(hsm_der_from_rs(hsm_bytes_of(rs, 2 * half), &der)));
        fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&der), in));
        return;
    }
    fuzz_check(fuzz_is_clean(rc, HSM_E_BAD_DATA, 0));
    if (in.len > 0 && in.len % 2 == 0 && in.len <= sizeof(rs)
        && hsm_ok(hsm_der_from_rs(in, &der))) {
        fuzz_check(hsm_ok(hsm_der_to_rs(hsm_buf_bytes(&der), in.len / 2, rs)));
        fuzz_check(memcmp(rs, in.p, in.len) == 0);
    }
}

static void check_spki(struct hsm_bytes in)
{
    hsm_auto(hsm_public) pub = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) copy = HSM_PUBLIC_INIT;
    hsm_rc rc = hsm_public_from_spki(in, &pub);

    if (!hsm_ok(rc)) {
        fuzz_check(fuzz_is_clean(rc, HSM_E_BAD_DATA,
                                 CKR_KEY_TYPE_INCONSISTENT));
        return;
    }
    fuzz_check(pub.kt != NULL);
    fuzz_check(hsm_bytes_equal(hsm_buf_bytes(&pub.spki), in));
    fuzz_check(hsm_public_equal(&pub, &pub));
    fuzz_check(hsm_ok(hsm_public_copy(&pub, &copy)));
    fuzz_check(hsm_public_equal(&pub, &copy));
}

static void check_certificate(struct hsm_bytes in)
{
    struct hsm_cert_view v;
    hsm_rc rc = hsm_cert_read(in, &v);

    if (!hsm_ok(rc)) {
        fuzz_check(fuzz_is_clean(rc, HSM_E_BAD_DATA, 0));
        return;
    }
    fuzz_check(is_inside(v.serial, in) && is_inside(v.issuer, in)
               && is_inside(v.subject, in) && is_inside(v.spki, in));
    fuzz_check(hsm_der_peek(v.spki, HSM_DER_SEQUENCE));
    check_spki(v.spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hsm_bytes in = hsm_bytes_of(data, size);

    walk(in, 0);
    check_signature(in);
    check_spki(in);
    check_certificate(in);
    return 0;
}
