/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the URI: its attributes as they are written (uri_token.c), their
 * values (uri_value.c), the parsed whole (uri.c), and texts made of attributes
 * (uri_write.c). Nobody else includes this.
 */
#ifndef HSM_SESSION_URI_PART_H
#define HSM_SESSION_URI_PART_H

#include "src/base/buf.h"

/* The attributes of RFC 7512, and our own. */
enum hsm_uri_attr {
    HSM_URI_TOKEN,
    HSM_URI_MANUFACTURER,
    HSM_URI_SERIAL,
    HSM_URI_MODEL,
    HSM_URI_LIBRARY_MANUFACTURER,
    HSM_URI_LIBRARY_DESCRIPTION,
    HSM_URI_LIBRARY_VERSION,
    HSM_URI_SLOT_DESCRIPTION,
    HSM_URI_SLOT_MANUFACTURER,
    HSM_URI_SLOT_ID,
    HSM_URI_OBJECT,
    HSM_URI_ID,
    HSM_URI_TYPE,
    HSM_URI_PIN_VALUE,
    HSM_URI_PIN_SOURCE,
    HSM_URI_MODULE_NAME,
    HSM_URI_MODULE_PATH,
    HSM_URI_PUBLIC_KEY,
    HSM_URI_N,
    HSM_URI_VENDOR = HSM_URI_N      /* x-…, passed over */
};

/* One attribute as written. Points into the text that was split. */
struct hsm_uri_part {
    enum hsm_uri_attr attr;
    bool in_query;                  /* where it belongs, not where it stood */
    const char *text;               /* "name=value" */
    size_t len;
};

struct hsm_uri_parts {
    struct hsm_uri_part *part;
    size_t n;
};

#define HSM_URI_PARTS_INIT { NULL, 0 }

/* How a value is checked. The last three take no percent-encoding. */
enum hsm_uri_kind {
    HSM_URI_IS_TEXT,
    HSM_URI_IS_FILE,                /* an absolute name */
    HSM_URI_IS_BYTES,
    HSM_URI_IS_KEY,
    HSM_URI_IS_NUMBER,
    HSM_URI_IS_VERSION,
    HSM_URI_IS_TYPE
};

enum hsm_uri_place { HSM_URI_IN_PATH, HSM_URI_IN_QUERY, HSM_URI_IN_BOTH };

struct hsm_uri_row {
    const char *name;
    enum hsm_uri_kind kind;
    enum hsm_uri_place place;
    size_t max_bytes;               /* of text; 0: no limit */
};

/* Not for HSM_URI_VENDOR. */
const struct hsm_uri_row *hsm_uri_row(enum hsm_uri_attr attr);

void hsm_uri_parts_clear(struct hsm_uri_parts *p);

/* Scheme, names, places, repetitions; values are not looked at. HSM_E_URI. */
HSM_CHECKED hsm_rc hsm_uri_split(const char *text, struct hsm_uri_parts *out);
/*
 * The value, decoded and checked; for x-public-key the DER. A NUL stands
 * behind it, not counted. out must be empty. HSM_E_URI.
 */
HSM_CHECKED hsm_rc hsm_uri_value(const struct hsm_uri_part *part,
                                 struct hsm_buf *out);
/* enum hsm_want of a type's name, 0 for one that is none. */
unsigned int hsm_uri_want_of(struct hsm_bytes type);
/* UTF-8 without NUL: what a text attribute can carry. */
bool hsm_uri_is_text(struct hsm_bytes value);

/* Chooses attributes for a text. */
typedef bool (*hsm_uri_pick)(const struct hsm_uri_part *part);

bool hsm_uri_pick_for_people(const struct hsm_uri_part *part);
bool hsm_uri_pick_for_reference(const struct hsm_uri_part *part);
/* What p11-kit compares with modules, slots and tokens. */
bool hsm_uri_pick_for_match(const struct hsm_uri_part *part);

/* "pkcs11:" and the chosen attributes, each where it belongs. */
HSM_CHECKED hsm_rc hsm_uri_write(const struct hsm_uri_parts *parts,
                                 hsm_uri_pick pick, struct hsm_buf *out);

#endif
