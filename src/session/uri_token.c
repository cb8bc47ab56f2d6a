/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/uri_part.h"

#include <stdlib.h>
#include <string.h>

#define URI_SCHEME "pkcs11:"
#define URI_SCHEME_LEN (sizeof(URI_SCHEME) - 1)
#define URI_MAX_BYTES 65536u
#define URI_SHOWN_MAX 32

/* The sizes are those of CK_TOKEN_INFO, CK_INFO and CK_SLOT_INFO. */
#define ROW(attr, name, kind, place, max) \
    [HSM_URI_##attr] = { name, HSM_URI_IS_##kind, HSM_URI_IN_##place, max }

static const struct hsm_uri_row rows[HSM_URI_N] = {
    ROW(TOKEN, "token", TEXT, PATH, 32),
    ROW(MANUFACTURER, "manufacturer", TEXT, PATH, 32),
    ROW(SERIAL, "serial", TEXT, PATH, 16),
    ROW(MODEL, "model", TEXT, PATH, 16),
    ROW(LIBRARY_MANUFACTURER, "library-manufacturer", TEXT, PATH, 32),
    ROW(LIBRARY_DESCRIPTION, "library-description", TEXT, PATH, 32),
    ROW(LIBRARY_VERSION, "library-version", VERSION, PATH, 0),
    ROW(SLOT_DESCRIPTION, "slot-description", TEXT, PATH, 64),
    ROW(SLOT_MANUFACTURER, "slot-manufacturer", TEXT, PATH, 32),
    ROW(SLOT_ID, "slot-id", NUMBER, PATH, 0),
    ROW(OBJECT, "object", TEXT, PATH, 0),
    ROW(ID, "id", BYTES, PATH, 0),
    ROW(TYPE, "type", TYPE, PATH, 0),
    ROW(PIN_VALUE, "pin-value", TEXT, BOTH, HSM_SECRET_MAX),
    ROW(PIN_SOURCE, "pin-source", TEXT, BOTH, 0),
    ROW(MODULE_NAME, "module-name", TEXT, QUERY, 0),
    ROW(MODULE_PATH, "module-path", FILE, QUERY, 0),
    ROW(PUBLIC_KEY, "x-public-key", KEY, QUERY, 0),
};

#define bad(...) hsm_fail(HSM_E_URI, "hsm_uri_parse", __VA_ARGS__)

/* Characters by range: <ctype.h> would ask the application's locale. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* [RFC 7512, 2.3] pk11-v-attr-nm-char */
static bool is_name_char(char c)
{
    return is_letter(c) || is_digit(c) || c == '-' || c == '_';
}

static bool begins_with_scheme(const char *text)
{
    size_t i;

    for (i = 0; i < URI_SCHEME_LEN; i++) {
        char c = text[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char)(c + ('a' - 'A'));
        }
        if (c != URI_SCHEME[i]) {
            return false;
        }
    }
    return true;
}

static bool is_vendor_name(const char *name, size_t len)
{
    size_t i;

    if (len < 3 || name[0] != 'x' || name[1] != '-') {
        return false;
    }
    for (i = 2; i < len; i++) {
        if (!is_name_char(name[i])) {
            return false;
        }
    }
    return true;
}

static bool find_attr(const char *name, size_t len, enum hsm_uri_attr *out)
{
    size_t i;

    for (i = 0; i < HSM_URI_N; i++) {
        if (strlen(rows[i].name) == len
                && memcmp(rows[i].name, name, len) == 0) {
            *out = (enum hsm_uri_attr)i;
            return true;
        }
    }
    if (is_vendor_name(name, len)) {
        *out = HSM_URI_VENDOR;
        return true;
    }
    return false;
}

/* A name that nobody knows may be the rest of a PIN with a bare separator in
 * it, or a PIN whose "=" was forgotten: that is not repeated in an error. */
static bool may_be_shown(const struct hsm_uri_parts *before, const char *name,
                         size_t len, bool has_equals)
{
    enum hsm_uri_attr known;

    if (find_attr(name, len, &known)) {
        return true;
    }
    if (before->n > 0
            && before->part[before->n - 1].attr == HSM_URI_PIN_VALUE) {
        return false;
    }
    return is_letter(name[0])
           && (has_equals || strncmp(name, "pin", 3) != 0);
}

static hsm_rc refuse_name(const struct hsm_uri_parts *before,
                          const char *name, size_t len)
{
    bool has_equals = memchr(name, '=', len) != NULL;
    size_t shown = 0;

    if (len == 0) {
        return bad("attribute %zu is empty: a separator too many",
                   before->n + 1);
    }
    if (!may_be_shown(before, name, len, has_equals)) {
        return bad("attribute %zu %s (not shown, it may be part of a PIN; \";\""
                   " and \"&\" in a PIN are written %%3B and %%26)",
                   before->n + 1,
                   has_equals ? "is unknown" : "has no \"=\"");
    }
    while (shown < len && shown < URI_SHOWN_MAX
            && is_name_char(name[shown])) {
        shown++;
    }
    if (!has_equals) {
        return bad("attribute \"%.*s\" has no \"=\"", (int)shown, name);
    }
    return bad("attribute \"%.*s\" is unknown; only names that begin with"
               " \"x-\" are free", (int)shown, name);
}

static hsm_rc check_place(const struct hsm_uri_row *row, bool in_query)
{
    if (row->place == HSM_URI_IN_PATH && in_query) {
        return bad("attribute \"%s\" belongs before the \"?\"", row->name);
    }
    if (row->place == HSM_URI_IN_QUERY && !in_query) {
        return bad("attribute \"%s\" belongs behind the \"?\"", row->name);
    }
    return HSM_OK;
}

static hsm_rc check_repeated(const struct hsm_uri_parts *before,
                             enum hsm_uri_attr attr)
{
    bool is_pin = attr == HSM_URI_PIN_VALUE || attr == HSM_URI_PIN_SOURCE;
    size_t i;

    for (i = 0; i < before->n; i++) {
        enum hsm_uri_attr other = before->part[i].attr;

        if (other == attr) {
            return bad("attribute \"%s\" is given twice", rows[attr].name);
        }
        if (is_pin && (other == HSM_URI_PIN_VALUE
                       || other == HSM_URI_PIN_SOURCE)) {
            return bad("attributes \"pin-value\" and \"pin-source\" exclude"
                       " each other");
        }
    }
    return HSM_OK;
}

static hsm_rc take_part(const char *text, size_t len, bool in_query,
                        struct hsm_uri_parts *parts)
{
    const char *equals = memchr(text, '=', len);
    struct hsm_uri_part part = { HSM_URI_VENDOR, in_query, text, len };

    if (equals == NULL
            || !find_attr(text, (size_t)(equals - text), &part.attr)) {
        return refuse_name(parts, text, len);
    }
    if (part.attr != HSM_URI_VENDOR) {
        TRY(check_place(&rows[part.attr], in_query));
        TRY(check_repeated(parts, part.attr));
        part.in_query = rows[part.attr].place != HSM_URI_IN_PATH;
    }
    parts->part[parts->n++] = part;
    return HSM_OK;
}

/* One side of the "?". Both may be empty [RFC 7512, 2.3]. */
static hsm_rc split_side(struct hsm_bytes side, char separator, bool in_query,
                         struct hsm_uri_parts *parts)
{
    const char *p = (const char *)side.p;
    size_t left = side.len;

    if (side.len == 0) {
        return HSM_OK;
    }
    for (;;) {
        const char *next = memchr(p, separator, left);
        size_t len = next == NULL ? left : (size_t)(next - p);

        TRY(take_part(p, len, in_query, parts));
        if (next == NULL) {
            return HSM_OK;
        }
        p = next + 1;
        left -= len + 1;
    }
}

static size_t count_separators(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += *text == ';' || *text == '&' || *text == '?';
    }
    return n;
}

void hsm_uri_parts_clear(struct hsm_uri_parts *p)
{
    hsm_wipe(p->part, p->n * sizeof(*p->part));
    free(p->part);
    p->part = NULL;
    p->n = 0;
}

hsm_rc hsm_uri_split(const char *text, struct hsm_uri_parts *out)
{
    hsm_auto(hsm_uri_parts) parts = HSM_URI_PARTS_INIT;
    const char *path, *end, *query;

    if (text == NULL || !begins_with_scheme(text)) {
        return bad("the scheme is not \"" URI_SCHEME "\"");
    }
    if (strlen(text) > URI_MAX_BYTES) {
        return bad("the URI is longer than 64 KiB");
    }
    path = text + URI_SCHEME_LEN;
    end = path + strlen(path);
    query = strchr(path, '?');
    parts.part = hsm_zalloc((count_separators(path) + 1)
                            * sizeof(*parts.part));
    if (parts.part == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_uri_parse");
    }
    TRY(split_side(hsm_bytes_of(path,
                                (size_t)((query ? query : end) - path)),
                   ';', false, &parts));
    if (query != NULL) {
        query++;
        TRY(split_side(hsm_bytes_of(query, (size_t)(end - query)), '&', true,
                       &parts));
    }
    *out = parts;
    parts = (struct hsm_uri_parts)HSM_URI_PARTS_INIT;
    return HSM_OK;
}

const struct hsm_uri_row *hsm_uri_row(enum hsm_uri_attr attr)
{
    return &rows[attr];
}
