/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDSA signatures that are none: the numbers of a good one, encoded as DER
 * does not have it. For one file of a program.
 */
#ifndef TESTS_SPOILED_H
#define TESTS_SPOILED_H

#include <openssl/ec.h>

#include "tests/c/both_ways.h"

struct numbers {
    unsigned char r[160], s[160];       /* INTEGER's content */
    size_t r_len, s_len;
};

static size_t put_integer(unsigned char *out, const unsigned char *p,
                          size_t len)
{
    size_t n = 0;

    out[n++] = 0x02;
    if (len >= 0x80) {
        out[n++] = 0x81;
    }
    out[n++] = (unsigned char)len;
    memcpy(out + n, p, len);
    return n + len;
}

static void encode(const struct numbers *n, struct octets *out)
{
    unsigned char body[SIG_MAX];
    size_t len = put_integer(body, n->r, n->r_len);

    len += put_integer(body + len, n->s, n->s_len);
    out->len = 0;
    out->p[out->len++] = 0x30;
    if (len >= 0x80) {
        out->p[out->len++] = 0x81;
    }
    out->p[out->len++] = (unsigned char)len;
    memcpy(out->p + out->len, body, len);
    out->len += len;
}

static size_t content(const BIGNUM *bn, unsigned char *out)
{
    out[0] = 0;
    if (BN_is_zero(bn)) {
        return 1;
    }
    if (BN_num_bits(bn) % 8 == 0) {
        return 1 + (size_t)BN_bn2bin(bn, out + 1);
    }
    return (size_t)BN_bn2bin(bn, out);
}

static bool decode(const struct octets *sig, BIGNUM **r, BIGNUM **s)
{
    const unsigned char *p = sig->p;
    ECDSA_SIG *both = d2i_ECDSA_SIG(NULL, &p, (long)sig->len);

    *r = both != NULL ? BN_dup(ECDSA_SIG_get0_r(both)) : NULL;
    *s = both != NULL ? BN_dup(ECDSA_SIG_get0_s(both)) : NULL;
    ECDSA_SIG_free(both);
    return *r != NULL && *s != NULL;
}

/* A zero more than DER has: of r, of s. */
static void pad_r(struct numbers *n, struct octets *out)
{
    memmove(n->r + 1, n->r, n->r_len++);
    n->r[0] = 0;
    encode(n, out);
}

static void pad_s(struct numbers *n, struct octets *out)
{
    memmove(n->s + 1, n->s, n->s_len++);
    n->s[0] = 0;
    encode(n, out);
}

static void negative(struct numbers *n, struct octets *out)
{
    n->r[0] ^= 0x80;
    encode(n, out);
}

static void behind(struct numbers *n, struct octets *out)
{
    encode(n, out);
    out->p[out->len++] = 0;
}

static void inside(struct numbers *n, struct octets *out)
{
    encode(n, out);
    out->p[out->len++] = 0;
    out->p[out->p[1] == 0x81 ? 2 : 1]++;
}

/* One octet of length more than needed. */
static void long_form(struct numbers *n, struct octets *out)
{
    size_t at = 1;

    encode(n, out);
    if (out->p[1] == 0x81) {
        out->p[at++] = 0x82;
        memmove(out->p + at + 1, out->p + at, out->len++ - at);
        out->p[at] = 0;
    } else {
        memmove(out->p + at + 1, out->p + at, out->len++ - at);
        out->p[at] = 0x81;
    }
}

static void indefinite(struct numbers *n, struct octets *out)
{
    size_t head;

    encode(n, out);
    head = out->p[1] == 0x81 ? 3 : 2;
    memmove(out->p + 2, out->p + head, out->len - head);
    out->len -= head - 2;
    out->p[1] = 0x80;
    out->p[out->len++] = 0;
    out->p[out->len++] = 0;
}

static void bare(struct numbers *n, struct octets *out)
{
    memcpy(out->p, n->r, n->r_len);
    memcpy(out->p + n->r_len, n->s, n->s_len);
    out->len = n->r_len + n->s_len;
}

static void cut_off(struct numbers *n, struct octets *out)
{
    encode(n, out);
    out->len--;
}

static void exchanged(struct numbers *n, struct octets *out)
{
    struct numbers other = { .r_len = n->s_len, .s_len = n->r_len };

    memcpy(other.r, n->s, n->s_len);
    memcpy(other.s, n->r, n->r_len);
    encode(&other, out);
}

static void tagged(struct numbers *n, struct octets *out)
{
    encode(n, out);
    out->p[0] = 0x31;
}

static void nothing(struct numbers *n, struct octets *out)
{
    (void)n;
    out->len = 0;
}

static const struct {
    const char *what;
    void (*make)(struct numbers *n, struct octets *out);
} encodings[] = {
    { "a zero before r", pad_r }, { "a zero before s", pad_s },
    { "a negative r", negative }, { "an octet behind", behind },
    { "an octet inside", inside }, { "a longer length", long_form },
    { "no definite length", indefinite }, { "r and s alone", bare },
    { "an octet less", cut_off }, { "r and s exchanged", exchanged },
    { "a SET", tagged }, { "nothing", nothing },
};

#endif
