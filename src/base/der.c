/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/der.h"

#include <stdint.h>
#include <string.h>

#define LOW_TAG_MASK 0x1fu          /* all ones: the tag goes on behind it */
#define HEADER_MAX (2 + sizeof(size_t))

/* --- reading --- */

/*
 * The length octets at the beginning of in [X.690, 8.1.3 and 10.1]: definite,
 * and as short as they can be. Advances in.
 */
static bool read_length(struct hsm_bytes *in, size_t *len)
{
    size_t n_octets;
    size_t value = 0;

    if (in->len == 0) {
        return false;
    }
    if (in->p[0] < 0x80u) {
        *len = in->p[0];
        *in = hsm_bytes_of(in->p + 1, in->len - 1);
        return true;
    }
    n_octets = in->p[0] & 0x7fu;
    if (n_octets == 0 || n_octets > sizeof(value) || n_octets >= in->len) {
        return false;
    }
    for (size_t i = 1; i <= n_octets; i++) {
        value = value << 8 | in->p[i];
    }
    if (in->p[1] == 0 || value < 0x80u) {
        return false;
    }
    *len = value;
    *in = hsm_bytes_of(in->p + 1 + n_octets, in->len - 1 - n_octets);
    return true;
}

bool hsm_der_next(struct hsm_bytes *in, unsigned int *tag,
                  struct hsm_bytes *content, struct hsm_bytes *whole)
{
    struct hsm_bytes start = *in;
    struct hsm_bytes rest;
    size_t len = 0;

    /* Tag 0 is the end-of-contents mark of indefinite lengths. */
    if (start.len == 0 || start.p[0] == 0 ||
        (start.p[0] & LOW_TAG_MASK) == LOW_TAG_MASK) {
        return false;
    }
    rest = hsm_bytes_of(start.p + 1, start.len - 1);
    if (!read_length(&rest, &len) || len > rest.len) {
        return false;
    }
    /* The cursor first: content may be the same variable, to go inside. */
    *in = hsm_bytes_of(rest.p + len, rest.len - len);
    *tag = start.p[0];
    *content = hsm_bytes_of(rest.p, len);
    *whole = hsm_bytes_of(start.p, (size_t)(rest.p - start.p) + len);
    return true;
}

bool hsm_der_peek(struct hsm_bytes in, unsigned int tag)
{
    return in.len > 0 && in.p[0] == tag;
}

bool hsm_der_get(struct hsm_bytes *in, unsigned int tag,
                 struct hsm_bytes *content)
{
    struct hsm_bytes whole;
    unsigned int found;

    return hsm_der_peek(*in, tag) && hsm_der_next(in, &found, content, &whole);
}

bool hsm_der_get_whole(struct hsm_bytes *in, unsigned int tag,
                       struct hsm_bytes *whole)
{
    struct hsm_bytes content;
    unsigned int found;

    return hsm_der_peek(*in, tag) && hsm_der_next(in, &found, &content, whole);
}

bool hsm_der_get_uint(struct hsm_bytes *in, struct hsm_bytes *magnitude)
{
    struct hsm_bytes rest = *in;
    struct hsm_bytes n;

    if (!hsm_der_get(&rest, HSM_DER_INTEGER, &n) || n.len == 0 ||
        (n.p[0] & 0x80u) != 0) {
        return false;
    }
    if (n.len > 1 && n.p[0] == 0) {
        /* A zero octet is there to keep a high bit from being a sign. */
        if ((n.p[1] & 0x80u) == 0) {
            return false;
        }
        n = hsm_bytes_of(n.p + 1, n.len - 1);
    }
    *in = rest;
    *magnitude = n;
    return true;
}

bool hsm_der_get_bits(struct hsm_bytes *in, struct hsm_bytes *octets)
{
    struct hsm_bytes rest = *in;
    struct hsm_bytes bits;

    if (!hsm_der_get(&rest, HSM_DER_BIT_STRING, &bits) || bits.len == 0 ||
        bits.p[0] != 0) {
        return false;
    }
    *in = rest;
    *octets = hsm_bytes_of(bits.p + 1, bits.len - 1);
    return true;
}

bool hsm_der_only(struct hsm_bytes in, unsigned int tag,
                  struct hsm_bytes *content)
{
    struct hsm_bytes inside;

    if (!hsm_der_get(&in, tag, &inside) || in.len != 0) {
        return false;
    }
    *content = inside;
    return true;
}

/* --- writing --- */

/*
 * Appends tag and length, and makes room for the content, so that nothing can
 * fail half-way and leave a header without its content.
 */
static hsm_rc put_header(struct hsm_buf *out, unsigned int tag, size_t len)
{
    unsigned char header[HEADER_MAX];
    size_t n_octets = 0;
    size_t n = 0;

    header[n++] = (unsigned char)tag;
    if (len < 0x80u) {
        header[n++] = (unsigned char)len;
    } else {
        while (n_octets < sizeof(len) && len >> (8 * n_octets) != 0) {
            n_octets++;
        }
        header[n++] = (unsigned char)(0x80u | n_octets);
        while (n_octets > 0) {
            n_octets--;
            header[n++] = (unsigned char)(len >> (8 * n_octets));
        }
    }
    if (len > SIZE_MAX - n - out->len) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_der_put");
    }
    TRY(hsm_buf_reserve(out, out->len + n + len));
    return hsm_buf_append(out, header, n);
}

hsm_rc hsm_der_put(struct hsm_buf *out, unsigned int tag,
                   struct hsm_bytes content)
{
    TRY(put_header(out, tag, content.len));
    return hsm_buf_append(out, content.p, content.len);
}

/* Content that begins with a zero octet: a sign, or no unused bits. */
static hsm_rc put_with_zero(struct hsm_buf *out, unsigned int tag,
                            struct hsm_bytes rest)
{
    static const unsigned char zero;

    TRY(put_header(out, tag, rest.len + 1));
    TRY(hsm_buf_append(out, &zero, 1));
    return hsm_buf_append(out, rest.p, rest.len);
}

hsm_rc hsm_der_put_uint(struct hsm_buf *out, struct hsm_bytes magnitude)
{
    struct hsm_bytes n = hsm_bytes_strip(magnitude);

    if (n.len == 0 || (n.p[0] & 0x80u) != 0) {
        return put_with_zero(out, HSM_DER_INTEGER, n);
    }
    return hsm_der_put(out, HSM_DER_INTEGER, n);
}

hsm_rc hsm_der_put_bits(struct hsm_buf *out, struct hsm_bytes octets)
{
    return put_with_zero(out, HSM_DER_BIT_STRING, octets);
}

/* --- ECDSA signatures --- */

hsm_rc hsm_der_from_rs(struct hsm_bytes rs, struct hsm_buf *out)
{
    hsm_auto(hsm_buf) pair = HSM_BUF_INIT;
    size_t half = rs.len / 2;

    if (rs.len == 0 || rs.len % 2 != 0) {
        return hsm_fail(HSM_E_BAD_DATA, "hsm_der_from_rs",
                        "an ECDSA signature has %zu bytes, no two halves",
                        rs.len);
    }
    TRY(hsm_der_put_uint(&pair, hsm_bytes_of(rs.p, half)));
    TRY(hsm_der_put_uint(&pair, hsm_bytes_of(rs.p + half, half)));
    return hsm_der_put(out, HSM_DER_SEQUENCE, hsm_buf_bytes(&pair));
}

static void put_right(unsigned char *half, size_t half_bytes,
                      struct hsm_bytes number)
{
    memset(half, 0, half_bytes - number.len);
    memcpy(half + half_bytes - number.len, number.p, number.len);
}

hsm_rc hsm_der_to_rs(struct hsm_bytes der, size_t half_bytes,
                     unsigned char *rs)
{
    struct hsm_bytes pair;
    struct hsm_bytes r;
    struct hsm_bytes s;

    if (!hsm_der_only(der, HSM_DER_SEQUENCE, &pair) ||
        !hsm_der_get_uint(&pair, &r) || !hsm_der_get_uint(&pair, &s) ||
        pair.len != 0) {
        return hsm_fail(HSM_E_BAD_DATA, "hsm_der_to_rs",
                        "not the DER form of an ECDSA signature");
    }
    if (r.len > half_bytes || s.len > half_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, "hsm_der_to_rs",
                        "r or s of an ECDSA signature exceeds %zu bytes",
                        half_bytes);
    }
    put_right(rs, half_bytes, r);
    put_right(rs + half_bytes, half_bytes, s);
    return HSM_OK;
}
