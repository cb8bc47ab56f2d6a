/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/uri_part.h"

#include <limits.h>
#include <string.h>

#include "src/session/uri.h"

#define URI_SHOWN_MAX 32

#define bad(...) hsm_fail(HSM_E_URI, "hsm_uri_parse", __VA_ARGS__)

/* How much of a part's text is its name. */
static size_t name_len(const struct hsm_uri_part *part)
{
    const char *equals = memchr(part->text, '=', part->len);

    return (size_t)(equals - part->text);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* p11-kit and others drop bare blanks silently, so that "My Key" would be
 * "MyKey": they are refused, and so is what a query must not hold bare. */
static hsm_rc refuse_char(const struct hsm_uri_part *part, char c)
{
    int len = (int)name_len(part);

    if (c == '%') {
        return bad("attribute \"%.*s\": a %% is not followed by two hex"
                   " digits", len, part->text);
    }
    if (c == ';') {
        return bad("attribute \"%.*s\" holds a bare \";\": behind the \"?\""
                   " attributes are separated by \"&\"", len, part->text);
    }
    return bad("attribute \"%.*s\" holds a bare blank or control character;"
               " a space is written %%20", len, part->text);
}

static bool is_bare_allowed(const struct hsm_uri_part *part, char c)
{
    unsigned char u = (unsigned char)c;

    return u > ' ' && u != 0x7f && (c != ';' || !part->in_query);
}

static hsm_rc decode(const struct hsm_uri_part *part, struct hsm_buf *out)
{
    size_t i = name_len(part) + 1;

    TRY(hsm_buf_reserve(out, part->len - i + 1));
    while (i < part->len) {
        char c = part->text[i++];

        if (c == '%') {
            int hi = i < part->len ? hex_digit(part->text[i]) : -1;
            int lo = i + 1 < part->len ? hex_digit(part->text[i + 1]) : -1;

            if (hi < 0 || lo < 0) {
                return refuse_char(part, c);
            }
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (!is_bare_allowed(part, c)) {
            return refuse_char(part, c);
        }
        out->p[out->len++] = (unsigned char)c;
    }
    out->p[out->len] = '\0';
    return HSM_OK;
}

/* Length of the UTF-8 sequence at p [RFC 3629, 4], 0 for none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len, i;

    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0) {
        low = 0xa0;
    } else if (p[0] == 0xed) {
        high = 0x9f;
    } else if (p[0] == 0xf0) {
        low = 0x90;
    } else if (p[0] == 0xf4) {
        high = 0x8f;
    }
    if (left < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}

static bool is_utf8(struct hsm_bytes value)
{
    size_t i = 0;

    while (i < value.len) {
        size_t n = utf8_len(value.p + i, value.len - i);

        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

static bool has_nul(struct hsm_bytes value)
{
    return value.len > 0 && memchr(value.p, '\0', value.len) != NULL;
}

bool hsm_uri_is_text(struct hsm_bytes value)
{
    return !has_nul(value) && is_utf8(value);
}

static hsm_rc check_text(const struct hsm_uri_row *row, struct hsm_bytes value)
{
    if (has_nul(value)) {
        return bad("attribute \"%s\" holds %%00", row->name);
    }
    if (!is_utf8(value)) {
        return bad("attribute \"%s\" is not UTF-8", row->name);
    }
    if (row->max_bytes > 0 && value.len > row->max_bytes) {
        return bad("attribute \"%s\" is longer than %zu bytes", row->name,
                   row->max_bytes);
    }
    if (row->kind == HSM_URI_IS_FILE && (value.len == 0 || value.p[0] != '/')) {
        return bad("attribute \"%s\" is not an absolute file name",
                   row->name);
    }
    return HSM_OK;
}

/* A decimal number up to max from *p on, which moves behind it. */
static bool read_number(const char **p, const char *end, unsigned long max)
{
    const char *start = *p;
    unsigned long n = 0;

    while (*p < end && is_digit(**p)) {
        unsigned long digit = (unsigned long)(**p - '0');

        if (n > (max - digit) / 10) {
            return false;
        }
        n = n * 10 + digit;
        (*p)++;
    }
    return *p > start;
}

static hsm_rc check_number(const struct hsm_uri_row *row,
                           struct hsm_bytes value)
{
    const char *p = (const char *)value.p;
    const char *end = p + value.len;

    if (!read_number(&p, end, ULONG_MAX) || p != end) {
        return bad("attribute \"%s\" is not a number of a slot", row->name);
    }
    return HSM_OK;
}

/* "major" or "major.minor"; p11-kit keeps 255 for "none". */
static hsm_rc check_version(const struct hsm_uri_row *row,
                            struct hsm_bytes value)
{
    const char *p = (const char *)value.p;
    const char *end = p + value.len;
    bool good = read_number(&p, end, 254);

    if (good && p < end && *p == '.') {
        p++;
        good = read_number(&p, end, 254);
    }
    if (!good || p != end) {
        return bad("attribute \"%s\" is not a version like 2 or 2.40, each"
                   " part at most 254", row->name);
    }
    return HSM_OK;
}

unsigned int hsm_uri_want_of(struct hsm_bytes type)
{
    static const struct {
        const char *name;
        unsigned int want;
    } types[] = {
        { "private", HSM_WANT_PRIVATE },
        { "public", HSM_WANT_PUBLIC },
        { "cert", HSM_WANT_CERT },
        { "secret-key", HSM_WANT_SECRET },
        { "data", HSM_WANT_DATA },
    };
    size_t i;

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (hsm_bytes_equal(type, hsm_bytes_of(types[i].name,
                                               strlen(types[i].name)))) {
            return types[i].want;
        }
    }
    return 0;
}

static hsm_rc check_type(const struct hsm_uri_row *row, struct hsm_bytes value)
{
    int shown = value.len < URI_SHOWN_MAX ? (int)value.len : URI_SHOWN_MAX;

    if (hsm_uri_want_of(value) == 0) {
        return bad("attribute \"%s\" is \"%.*s\", not private, public, cert,"
                   " secret-key or data", row->name, shown,
                   (const char *)value.p);
    }
    return HSM_OK;
}

static int base64url_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* [RFC 4648, 5] without padding; exactly one text stands for each value. In
 * place: the result is never longer. */
static hsm_rc decode_public_key(const struct hsm_uri_row *row,
                                struct hsm_buf *b)
{
    unsigned int bits = 0, n_bits = 0;
    size_t i, len = 0;

    if (b->len == 0 || b->len % 4 == 1) {
        return bad("attribute \"%s\" is empty or cut off", row->name);
    }
    for (i = 0; i < b->len; i++) {
        int digit = base64url_digit(b->p[i]);

        if (digit < 0) {
            return bad("attribute \"%s\" is not base64url without padding",
                       row->name);
        }
        bits = (bits << 6 | (unsigned int)digit) & 0xffffu;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            b->p[len++] = (unsigned char)(bits >> n_bits & 0xffu);
        }
    }
    if ((bits & ((1u << n_bits) - 1u)) != 0) {
        return bad("attribute \"%s\" ends with bits that are not zero",
                   row->name);
    }
    b->len = len;
    b->p[len] = '\0';
    return HSM_OK;
}

static hsm_rc check_value(const struct hsm_uri_row *row, struct hsm_bytes bare,
                          struct hsm_buf *value)
{
    switch (row->kind) {
    case HSM_URI_IS_TEXT:
    case HSM_URI_IS_FILE:
        return check_text(row, hsm_buf_bytes(value));
    case HSM_URI_IS_KEY:
        return decode_public_key(row, value);
    case HSM_URI_IS_NUMBER:
        return check_number(row, bare);
    case HSM_URI_IS_VERSION:
        return check_version(row, bare);
    case HSM_URI_IS_TYPE:
        return check_type(row, bare);
    case HSM_URI_IS_BYTES:
        break;
    }
    return HSM_OK;
}

hsm_rc hsm_uri_value(const struct hsm_uri_part *part, struct hsm_buf *out)
{
    hsm_auto(hsm_buf) value = HSM_BUF_INIT;
    size_t start = name_len(part) + 1;

    TRY(decode(part, &value));
    if (part->attr < HSM_URI_N) {
        TRY(check_value(hsm_uri_row(part->attr),
                        hsm_bytes_of(part->text + start, part->len - start),
                        &value));
    }
    *out = value;
    value = (struct hsm_buf)HSM_BUF_INIT;
    return HSM_OK;
}
