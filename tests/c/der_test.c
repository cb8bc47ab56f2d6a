/* SPDX-License-Identifier: Apache-2.0 */
/* DER: what is refused, what is written, and ECDSA signatures in both forms. */
#include <stdlib.h>

#include "src/base/buf.h"
#include "src/base/der.h"
#include "src/base/result.h"
#include "tests/c/tap.h"

/* A string literal's bytes, its NUL left out. */
#define LIT(s) { (const unsigned char *)(s), sizeof(s) - 1 }
#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))

/* --- elements --- */

struct element_case {
    const char *what;
    struct hsm_bytes der;
    bool good;
    size_t content_len;
};

static const struct element_case element_cases[] = {
    { "empty input", { NULL, 0 }, false, 0 },
    { "tag alone", LIT("\x04"), false, 0 },
    { "empty content", LIT("\x04\x00"), true, 0 },
    { "one octet", LIT("\x04\x01\xaa"), true, 1 },
    { "content cut short", LIT("\x04\x02\xaa"), false, 0 },
    { "indefinite length", LIT("\x24\x80\x04\x01\xaa\x00\x00"), false, 0 },
    { "long form of a short length", LIT("\x04\x81\x01\xaa"), false, 0 },
    { "long form of 0", LIT("\x04\x81\x00"), false, 0 },
    { "length with a leading zero", LIT("\x04\x82\x00\x01\xaa"), false, 0 },
    { "length octets cut short", LIT("\x04\x82\x01"), false, 0 },
    { "length octets missing", LIT("\x04\x81"), false, 0 },
    { "2^32 - 1 octets", LIT("\x04\x84\xff\xff\xff\xff\xaa"), false, 0 },
    { "2^64 - 1 octets",
      LIT("\x04\x88\xff\xff\xff\xff\xff\xff\xff\xff\xaa"), false, 0 },
    { "nine length octets",
      LIT("\x04\x89\x01\x00\x00\x00\x00\x00\x00\x00\x00\xaa"), false, 0 },
    { "127 length octets", LIT("\x04\xff\x01\x01"), false, 0 },
    { "end-of-contents mark", LIT("\x00\x00"), false, 0 },
    { "tag of several octets", LIT("\x1f\x81\x01\x00"), false, 0 },
    { "context tag, several octets", LIT("\xbf\x81\x01\x00"), false, 0 },
};

static void test_elements(void)
{
    static const unsigned char mark[] = "mark";

    for (size_t i = 0; i < LEN_OF(element_cases); i++) {
        const struct element_case *c = &element_cases[i];
        struct hsm_bytes in = c->der;
        struct hsm_bytes content = hsm_bytes_of(mark, 4);
        struct hsm_bytes whole = hsm_bytes_of(mark, 4);
        unsigned int tag = 0x1234;
        bool good = hsm_der_next(&in, &tag, &content, &whole);
        bool right;

        if (c->good) {
            right = good && in.len == 0 && tag == c->der.p[0] &&
                    content.len == c->content_len &&
                    hsm_bytes_equal(whole, c->der);
        } else {
            right = !good && in.p == c->der.p && in.len == c->der.len &&
                    tag == 0x1234 && content.p == mark && whole.p == mark;
        }
        ok(right, "element: %s", c->what);
    }
}

/* Lengths around every change of form, written and read again. */
static void test_lengths(void)
{
    static const size_t lengths[] = { 0, 1, 127, 128, 255, 256, 65535, 65536,
                                      70000 };
    static const size_t headers[] = { 2, 2, 2, 3, 3, 4, 4, 5, 5 };
    unsigned char *zeros = hsm_zalloc(70000);

    for (size_t i = 0; i < LEN_OF(lengths); i++) {
        hsm_auto(hsm_buf) out = HSM_BUF_INIT;
        struct hsm_bytes content = { NULL, 0 };
        bool put = hsm_ok(hsm_der_put(&out, HSM_DER_OCTETS,
                                      hsm_bytes_of(zeros, lengths[i])));

        ok(put && out.len == lengths[i] + headers[i] &&
           hsm_der_only(hsm_buf_bytes(&out), HSM_DER_OCTETS, &content) &&
           content.len == lengths[i], "length %zu", lengths[i]);
        out.len--;
        ok(!hsm_der_only(hsm_buf_bytes(&out), HSM_DER_OCTETS, &content),
           "length %zu, the last octet missing", lengths[i]);
    }
    free(zeros);
}

struct uint_case {
    const char *what;
    struct hsm_bytes der;
    struct hsm_bytes magnitude;     /* p NULL: refused */
};

static const struct uint_case uint_cases[] = {
    { "0", LIT("\x02\x01\x00"), LIT("\x00") },
    { "1", LIT("\x02\x01\x01"), LIT("\x01") },
    { "127", LIT("\x02\x01\x7f"), LIT("\x7f") },
    { "128", LIT("\x02\x02\x00\x80"), LIT("\x80") },
    { "256", LIT("\x02\x02\x01\x00"), LIT("\x01\x00") },
    { "-1", LIT("\x02\x01\xff"), { NULL, 0 } },
    { "-128", LIT("\x02\x01\x80"), { NULL, 0 } },
    { "no octet", LIT("\x02\x00"), { NULL, 0 } },
    { "0, padded", LIT("\x02\x02\x00\x00"), { NULL, 0 } },
    { "1, padded", LIT("\x02\x02\x00\x01"), { NULL, 0 } },
    { "128, padded twice", LIT("\x02\x03\x00\x00\x80"), { NULL, 0 } },
    { "-1, padded", LIT("\x02\x02\xff\xff"), { NULL, 0 } },
    { "cut short", LIT("\x02\x02\x01"), { NULL, 0 } },
    { "another tag", LIT("\x04\x01\x01"), { NULL, 0 } },
    { "nothing", { NULL, 0 }, { NULL, 0 } },
};

static void test_uints(void)
{
    for (size_t i = 0; i < LEN_OF(uint_cases); i++) {
        const struct uint_case *c = &uint_cases[i];
        hsm_auto(hsm_buf) out = HSM_BUF_INIT;
        struct hsm_bytes in = c->der;
        struct hsm_bytes n = { NULL, 0 };
        bool good = hsm_der_get_uint(&in, &n);

        if (c->magnitude.p == NULL) {
            ok(!good && in.p == c->der.p && in.len == c->der.len &&
               n.p == NULL, "INTEGER refused: %s", c->what);
            continue;
        }
        ok(good && in.len == 0 && hsm_bytes_equal(n, c->magnitude),
           "INTEGER %s is read", c->what);
        ok(hsm_ok(hsm_der_put_uint(&out, n)) &&
           hsm_bytes_equal(hsm_buf_bytes(&out), c->der),
           "INTEGER %s is written", c->what);
    }
}

static void test_uint_writing(void)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;

    ok(hsm_ok(hsm_der_put_uint(&out, hsm_bytes_of(NULL, 0))) &&
       hsm_ok(hsm_der_put_uint(&out, hsm_bytes_of("\0\0", 2))) &&
       hsm_ok(hsm_der_put_uint(&out, hsm_bytes_of("\0\0\x01", 3))) &&
       hsm_ok(hsm_der_put_uint(&out, hsm_bytes_of("\0\xff", 2))),
       "magnitudes with leading zeros are written");
    is_bytes(out.p, out.len, "\x02\x01\0\x02\x01\0\x02\x01\x01\x02\x02\0\xff",
             13, "… without them, one behind the other");
}

static void test_bits(void)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    struct hsm_bytes in = LIT("\x03\x03\x00\xaa\xbb");
    struct hsm_bytes unused = LIT("\x03\x02\x01\xaa");
    struct hsm_bytes none = LIT("\x03\x00");
    struct hsm_bytes empty = LIT("\x03\x01\x00");
    struct hsm_bytes bits = { NULL, 0 };

    ok(!hsm_der_get_bits(&unused, &bits) && unused.len == 4 && bits.p == NULL,
       "BIT STRING with unused bits is refused");
    ok(!hsm_der_get_bits(&none, &bits) && none.len == 2,
       "BIT STRING without the count of unused bits is refused");
    ok(hsm_der_get_bits(&empty, &bits) && bits.len == 0,
       "empty BIT STRING");
    ok(hsm_der_get_bits(&in, &bits) && in.len == 0 && bits.len == 2 &&
       bits.p[0] == 0xaa, "BIT STRING is read");
    ok(hsm_ok(hsm_der_put_bits(&out, bits)), "BIT STRING is written");
    is_bytes(out.p, out.len, "\x03\x03\0\xaa\xbb", 5, "… the same");
}

static void test_cursor(void)
{
    struct hsm_bytes in = LIT("\x30\x05\x02\x01\x07\x05\x00\x04\x00");
    struct hsm_bytes content = { NULL, 0 };
    struct hsm_bytes whole = { NULL, 0 };
    struct hsm_bytes start = in;

    ok(!hsm_der_only(in, HSM_DER_SEQUENCE, &content) && content.p == NULL,
       "only: something stands behind the element");
    ok(!hsm_der_get(&in, HSM_DER_SET, &content) && in.p == start.p,
       "get: another tag, and the cursor stays");
    ok(hsm_der_get_whole(&in, HSM_DER_SEQUENCE, &whole) &&
       whole.p == start.p && whole.len == 7 && in.len == 2,
       "get_whole: with the header");
    ok(hsm_der_peek(in, HSM_DER_OCTETS) && !hsm_der_peek(in, HSM_DER_NULL) &&
       in.len == 2, "peek reads nothing");
    ok(hsm_der_get(&in, HSM_DER_OCTETS, &content) && in.len == 0,
       "get: the next element");
    ok(!hsm_der_peek(in, HSM_DER_OCTETS) &&
       !hsm_der_get(&in, HSM_DER_OCTETS, &content), "nothing is left");
    ok(hsm_der_get(&start, HSM_DER_SEQUENCE, &start) && start.len == 5 &&
       hsm_der_peek(start, HSM_DER_INTEGER), "get goes inside in place");
}

/* --- ECDSA signatures --- */

static const size_t halves[] = { 32, 48, 66 };

/* Halves with this many leading zeros, then first, then 0x11 … */
static void fill_half(unsigned char *half, size_t len, size_t zeros,
                      unsigned char first)
{
    memset(half, 0x11, len);
    memset(half, 0, zeros);
    if (zeros < len) {
        half[zeros] = first;
    }
}

static void check_rs(size_t half, size_t zeros, unsigned char first)
{
    unsigned char rs[132], back[132];
    hsm_auto(hsm_buf) der = HSM_BUF_INIT;

    fill_half(rs, half, zeros, first);
    fill_half(rs + half, half, half - zeros, (unsigned char)~first);
    memset(back, 0xee, sizeof(back));
    ok(hsm_ok(hsm_der_from_rs(hsm_bytes_of(rs, 2 * half), &der)) &&
       hsm_ok(hsm_der_to_rs(hsm_buf_bytes(&der), half, back)) &&
       memcmp(rs, back, 2 * half) == 0,
       "r, s of %zu bytes, %zu leading zeros, then %02x", half, zeros, first);
}

static void test_rs(void)
{
    for (size_t i = 0; i < LEN_OF(halves); i++) {
        size_t half = halves[i];

        check_rs(half, 0, 0x7f);
        check_rs(half, 0, 0x80);
        check_rs(half, 1, 0x7f);
        check_rs(half, 1, 0x80);
        check_rs(half, half / 2, 0xff);
        check_rs(half, half - 1, 0x01);
        check_rs(half, half, 0);
    }
}

static void test_rs_exact(void)
{
    unsigned char rs[132];
    hsm_auto(hsm_buf) der = HSM_BUF_INIT;

    memset(rs, 0xff, sizeof(rs));
    ok(hsm_ok(hsm_der_from_rs(hsm_bytes_of(rs, 132), &der)) &&
       der.len == 3 + 2 * (2 + 67) && memcmp(der.p, "\x30\x81\x8a\x02\x43\0",
                                             6) == 0,
       "the largest P-521 signature needs a long length");
    hsm_buf_clear(&der);
    memset(rs, 0, sizeof(rs));
    rs[1] = 0x80;
    ok(hsm_ok(hsm_der_from_rs(hsm_bytes_of(rs, 4), &der)), "a tiny one");
    is_bytes(der.p, der.len, "\x30\x07\x02\x02\0\x80\x02\x01\0", 9,
             "… has these bytes");
    is_int((long long)hsm_der_from_rs(hsm_bytes_of(rs, 63), &der).rv,
           (long long)HSM_E_BAD_DATA, "an odd length is refused");
    is_int((long long)hsm_der_from_rs(hsm_bytes_of(rs, 0), &der).rv,
           (long long)HSM_E_BAD_DATA, "no length is refused");
    is_int((long long)der.len, 9, "… and nothing was appended");
}

struct sig_case {
    const char *what;
    struct hsm_bytes der;
};

/* For halves of two bytes. */
static const struct sig_case bad_sigs[] = {
    { "nothing", { NULL, 0 } },
    { "no SEQUENCE", LIT("\x31\x06\x02\x01\x01\x02\x01\x01") },
    { "trailing byte", LIT("\x30\x06\x02\x01\x01\x02\x01\x01\x00") },
    { "third number", LIT("\x30\x09\x02\x01\x01\x02\x01\x01\x02\x01\x01") },
    { "trailing byte inside", LIT("\x30\x07\x02\x01\x01\x02\x01\x01\x00") },
    { "no s", LIT("\x30\x03\x02\x01\x01") },
    { "padded r", LIT("\x30\x07\x02\x02\x00\x01\x02\x01\x01") },
    { "padded s", LIT("\x30\x07\x02\x01\x01\x02\x02\x00\x01") },
    { "negative r", LIT("\x30\x06\x02\x01\xff\x02\x01\x01") },
    { "negative s", LIT("\x30\x06\x02\x01\x01\x02\x01\x80") },
    { "long form", LIT("\x30\x81\x06\x02\x01\x01\x02\x01\x01") },
    { "long form of r", LIT("\x30\x07\x02\x81\x01\x01\x02\x01\x01") },
    { "indefinite", LIT("\x30\x80\x02\x01\x01\x02\x01\x01\x00\x00") },
    { "cut short", LIT("\x30\x06\x02\x01\x01\x02\x01") },
    { "huge", LIT("\x30\x84\x7f\xff\xff\xff\x02\x01\x01\x02\x01\x01") },
    { "r of three bytes", LIT("\x30\x08\x02\x03\x01\0\0\x02\x01\x01") },
    { "s of three bytes", LIT("\x30\x09\x02\x01\x01\x02\x04\0\xff\0\0") },
};

static void test_bad_sigs(void)
{
    static const struct hsm_bytes fits =
        LIT("\x30\x08\x02\x03\0\xff\xff\x02\x01\x01");
    unsigned char rs[4];

    for (size_t i = 0; i < LEN_OF(bad_sigs); i++) {
        hsm_rc rc;

        memset(rs, 0xee, sizeof(rs));
        rc = hsm_der_to_rs(bad_sigs[i].der, 2, rs);
        ok(rc.rv == HSM_E_BAD_DATA && hsm_detail()[0] != '\0' &&
           memcmp(rs, "\xee\xee\xee\xee", 4) == 0,
           "signature refused: %s", bad_sigs[i].what);
    }
    ok(hsm_ok(hsm_der_to_rs(fits, 2, rs)) &&
       memcmp(rs, "\xff\xff\0\x01", 4) == 0,
       "a number that just fits, with its sign octet");
}

int main(void)
{
    test_elements();
    test_lengths();
    test_uints();
    test_uint_writing();
    test_bits();
    test_cursor();
    test_rs();
    test_rs_exact();
    test_bad_sigs();
    return tap_done();
}
