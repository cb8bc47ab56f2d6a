/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/near.h"

#include <ctype.h>
#include <string.h>

#include "src/session/uri.h"

/* Longer ones are no slip of who meant bytes. */
#define HEX_MAX_DIGITS 40u

/* How close two labels are, in percent: what they have in common at both
 * ends, in whatever case. */
static unsigned int likeness(struct hsm_bytes a, struct hsm_bytes b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    size_t head = 0, tail = 0;

    if (least == 0) {
        return 0;
    }
    while (head < least && tolower(a.p[head]) == tolower(b.p[head])) {
        head++;
    }
    while (tail < least - head && tolower(a.p[a.len - 1 - tail])
                                  == tolower(b.p[b.len - 1 - tail])) {
        tail++;
    }
    return (unsigned int)(200 * (head + tail) / (a.len + b.len));
}

static unsigned int digit(unsigned char c)
{
    return (unsigned int)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
}

/* The bytes that are meant by hexadecimal digits: one, or an even number of
 * them. How many bytes; 0: it is something else. */
static size_t bytes_meant(struct hsm_bytes text,
                          unsigned char out[HEX_MAX_DIGITS / 2])
{
    size_t n = 0;

    if (text.len == 0 || text.len > HEX_MAX_DIGITS
        || (text.len > 1 && text.len % 2 != 0)) {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned int value = isxdigit(text.p[i]) ? digit(text.p[i]) : 16u;

        if (value > 15u) {
            return 0;
        }
        if (i % 2 == 0) {
            out[n++] = (unsigned char)value;
        } else {
            out[n - 1] = (unsigned char)(out[n - 1] << 4 | value);
        }
    }
    return n;
}

/* The right id beside a wrong label counts most, then the right label. */
static unsigned int score(const struct hsm_uri *uri,
                          const struct hsm_object *o)
{
    unsigned char meant[HEX_MAX_DIGITS / 2];
    struct hsm_bytes asked, has;
    unsigned int points = 0;

    if (hsm_uri_id(uri, &asked) && hsm_attrs_get(&o->attrs, CKA_ID, &has)) {
        struct hsm_bytes other = { meant, bytes_meant(asked, meant) };

        if (has.len > 0 && (hsm_bytes_equal(has, asked)
                            || hsm_bytes_equal(has, other))) {
            points += 200;
        }
    }
    if (hsm_uri_label(uri, &asked)
        && hsm_attrs_get(&o->attrs, CKA_LABEL, &has)) {
        points += likeness(has, asked);
    }
    return points;
}

void hsm_near_sort(const struct hsm_uri *uri, struct hsm_objects *objects)
{
    for (size_t i = 1; i < objects->n; i++) {
        struct hsm_object o = objects->v[i];
        unsigned int points = score(uri, &o);
        size_t at = i;

        while (at > 0 && score(uri, &objects->v[at - 1]) < points) {
            objects->v[at] = objects->v[at - 1];
            at--;
        }
        objects->v[at] = o;
    }
}

void hsm_near_id_hint(const struct hsm_uri *uri, struct hsm_buf *out)
{
    unsigned char meant[HEX_MAX_DIGITS / 2];
    struct hsm_bytes id;
    size_t n = hsm_uri_id(uri, &id) ? bytes_meant(id, meant) : 0;
    hsm_rc rc = HSM_OK;

    if (n > 0) {
        rc = hsm_buf_printf(out, "; id= takes bytes as %%XX: id=");
    }
    for (size_t i = 0; i < n && hsm_ok(rc); i++) {
        rc = hsm_buf_printf(out, "%%%02X", meant[i]);
    }
}
