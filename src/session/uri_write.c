/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/uri_part.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/session/uri.h"

#define URI_START "pkcs11:"

static const char hex[] = "0123456789ABCDEF";

bool hsm_uri_pick_for_people(const struct hsm_uri_part *part)
{
    return part->attr == HSM_URI_MODULE_NAME
           || (!part->in_query && part->attr != HSM_URI_VENDOR);
}

bool hsm_uri_pick_for_reference(const struct hsm_uri_part *part)
{
    return part->attr != HSM_URI_PIN_VALUE
           && part->attr != HSM_URI_PUBLIC_KEY;
}

bool hsm_uri_pick_for_match(const struct hsm_uri_part *part)
{
    return part->attr <= HSM_URI_SLOT_MANUFACTURER;
}

/* Before each attribute of a side: its separator, or what opens the side. */
static hsm_rc write_side(const struct hsm_uri_parts *parts, hsm_uri_pick pick,
                         bool query, struct hsm_buf *out)
{
    const char *opening = query ? "?" : "";
    size_t i;

    for (i = 0; i < parts->n; i++) {
        const struct hsm_uri_part *part = &parts->part[i];

        if (part->in_query != query || !pick(part)) {
            continue;
        }
        TRY(hsm_buf_append(out, opening, strlen(opening)));
        TRY(hsm_buf_append(out, part->text, part->len));
        opening = query ? "&" : ";";
    }
    return HSM_OK;
}

/* A NUL behind the text, not counted. */
static hsm_rc end_text(struct hsm_buf *out)
{
    TRY(hsm_buf_append(out, "", 1));
    out->len--;
    return HSM_OK;
}

hsm_rc hsm_uri_write(const struct hsm_uri_parts *parts, hsm_uri_pick pick,
                     struct hsm_buf *out)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    TRY(hsm_buf_printf(&text, URI_START));
    TRY(write_side(parts, pick, false, &text));
    TRY(write_side(parts, pick, true, &text));
    TRY(end_text(&text));
    hsm_buf_clear(out);
    *out = text;
    text = (struct hsm_buf)HSM_BUF_INIT;
    return HSM_OK;
}

/* unreserved [RFC 3986, 2.3] and pk11-path-res-avail [RFC 7512, 2.3] */
static bool stays_bare(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c != '\0' && strchr("-._~:[]@!$'()*+,=&", c) != NULL);
}

static hsm_rc put_value(struct hsm_buf *out, struct hsm_bytes value,
                        bool all_encoded)
{
    size_t i;

    for (i = 0; i < value.len; i++) {
        unsigned char c = value.p[i];
        char triple[3] = { '%', hex[c >> 4], hex[c & 15] };

        if (!all_encoded && stays_bare(c)) {
            TRY(hsm_buf_append(out, &c, 1));
        } else {
            TRY(hsm_buf_append(out, triple, sizeof(triple)));
        }
    }
    return HSM_OK;
}

/* An empty value is left out, and so is what a URI cannot say: a label that
 * is not UTF-8 or has a NUL in it would not be accepted when it comes back. */
static hsm_rc put_attr(struct hsm_buf *out, enum hsm_uri_attr attr,
                       struct hsm_bytes value)
{
    const struct hsm_uri_row *row = hsm_uri_row(attr);
    bool is_bytes = row->kind == HSM_URI_IS_BYTES;
    const char *separator = out->len == strlen(URI_START) ? "" : ";";

    if (value.len == 0 || (!is_bytes && !hsm_uri_is_text(value))) {
        return HSM_OK;
    }
    TRY(hsm_buf_printf(out, "%s%s=", separator, row->name));
    return put_value(out, value, is_bytes);
}

/* A field of CK_TOKEN_INFO: padded with blanks, by some with NULs. */
static struct hsm_bytes field(const CK_UTF8CHAR *p, size_t size)
{
    const CK_UTF8CHAR *nul = memchr(p, '\0', size);
    size_t len = nul != NULL ? (size_t)(nul - p) : size;

    while (len > 0 && p[len - 1] == ' ') {
        len--;
    }
    return hsm_bytes_of(p, len);
}

static hsm_rc put_token(struct hsm_buf *out, const CK_TOKEN_INFO *token)
{
    TRY(put_attr(out, HSM_URI_MODEL,
                 field(token->model, sizeof(token->model))));
    TRY(put_attr(out, HSM_URI_MANUFACTURER,
                 field(token->manufacturerID,
                       sizeof(token->manufacturerID))));
    TRY(put_attr(out, HSM_URI_SERIAL,
                 field(token->serialNumber, sizeof(token->serialNumber))));
    return put_attr(out, HSM_URI_TOKEN,
                    field(token->label, sizeof(token->label)));
}

hsm_rc hsm_uri_compose(const CK_TOKEN_INFO *token, struct hsm_bytes id,
                       struct hsm_bytes label, const char *type,
                       struct hsm_buf *out)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    TRY(hsm_buf_printf(&text, URI_START));
    TRY(put_token(&text, token));
    TRY(put_attr(&text, HSM_URI_ID, id));
    TRY(put_attr(&text, HSM_URI_OBJECT, label));
    if (type != NULL) {
        TRY(put_attr(&text, HSM_URI_TYPE,
                     hsm_bytes_of(type, strlen(type))));
    }
    TRY(end_text(&text));
    hsm_buf_clear(out);
    *out = text;
    text = (struct hsm_buf)HSM_BUF_INIT;
    return HSM_OK;
}

/* [RFC 4648, 5] without padding. */
static hsm_rc put_base64url(struct hsm_buf *out, struct hsm_bytes in)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned int bits = 0, n_bits = 0;
    size_t i;

    for (i = 0; i < in.len; i++) {
        bits = (bits << 8 | in.p[i]) & 0xffffu;
        n_bits += 8;
        while (n_bits >= 6) {
            n_bits -= 6;
            TRY(hsm_buf_append(out, &digits[bits >> n_bits & 63u], 1));
        }
    }
    if (n_bits > 0) {
        TRY(hsm_buf_append(out, &digits[bits << (6 - n_bits) & 63u], 1));
    }
    return HSM_OK;
}

hsm_rc hsm_uri_with_public_key(const char *text, struct hsm_bytes spki,
                               struct hsm_buf *out)
{
    hsm_auto(hsm_buf) result = HSM_BUF_INIT;
    hsm_autop(hsm_uri) u = NULL;
    const char *rest;

    if (spki.len == 0) {
        return hsm_fail(CKR_ARGUMENTS_BAD, "hsm_uri_with_public_key",
                        "there is no public key to add to the URI");
    }
    TRY(hsm_uri_parse(text, &u));
    rest = hsm_uri_for_reference(u);
    TRY(hsm_buf_printf(&result, "%s%cx-public-key=", rest,
                       strchr(rest, '?') != NULL ? '&' : '?'));
    TRY(put_base64url(&result, spki));
    TRY(end_text(&result));
    hsm_buf_clear(out);
    *out = result;
    result = (struct hsm_buf)HSM_BUF_INIT;
    return HSM_OK;
}

/* "file:" and a name that does not begin with "/". False: no such source. */
static bool relative_file(const char *source, const char **name)
{
    static const char scheme[] = "file:";
    size_t n = strlen(scheme);

    if (source == NULL || strncmp(source, scheme, n) != 0
        || source[n] == '/' || source[n] == '\0') {
        return false;
    }
    *name = source + n;
    return true;
}

/* "pin-source=file:…" with everything encoded that means something there. */
static hsm_rc put_pin_file(struct hsm_buf *out, const char *folder,
                           const char *name)
{
    hsm_auto(hsm_buf) path = HSM_BUF_INIT;
    size_t i;

    TRY(hsm_buf_printf(&path, "%s%s%s", folder,
                       folder[strlen(folder) - 1] == '/' ? "" : "/", name));
    TRY(hsm_buf_printf(out, "pin-source=file:"));
    for (i = 0; i < path.len; i++) {
        if (path.p[i] == '/') {
            TRY(hsm_buf_append(out, "/", 1));
        } else {
            TRY(put_value(out, hsm_bytes_of(path.p + i, 1),
                          path.p[i] == '&'));
        }
    }
    return HSM_OK;
}

static hsm_rc replace_pin_source(const char *text, struct hsm_bytes with,
                                 struct hsm_buf *out)
{
    hsm_auto(hsm_uri_parts) parts = HSM_URI_PARTS_INIT;
    size_t i;

    TRY(hsm_uri_split(text, &parts));
    for (i = 0; i < parts.n; i++) {
        if (parts.part[i].attr == HSM_URI_PIN_SOURCE) {
            parts.part[i].text = (const char *)with.p;
            parts.part[i].len = with.len;
        }
    }
    return hsm_uri_write(&parts, hsm_uri_pick_for_reference, out);
}

hsm_rc hsm_uri_with_absolute_pin(const char *text, struct hsm_buf *out)
{
    hsm_auto(hsm_buf) attr = HSM_BUF_INIT;
    hsm_autop(hsm_uri) u = NULL;
    const char *name = NULL;
    char *folder;
    hsm_rc rc;

    TRY(hsm_uri_parse(text, &u));
    if (!relative_file(hsm_uri_pin_source(u), &name)) {
        hsm_buf_clear(out);
        return hsm_buf_printf(out, "%s", hsm_uri_for_reference(u));
    }
    folder = getcwd(NULL, 0);
    if (folder == NULL) {
        return hsm_fail(HSM_E_PIN_SOURCE, "getcwd", "pin-source of %s is "
                        "file:%s, and this folder has no name: %m; give the "
                        "file's absolute name", hsm_uri_for_people(u), name);
    }
    rc = put_pin_file(&attr, folder, name);
    free(folder);
    TRY(rc);
    return replace_pin_source(text, hsm_buf_bytes(&attr), out);
}
