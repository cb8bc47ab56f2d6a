/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pkcs11: URIs [RFC 7512]. A tokenizer of ours first refuses what p11-kit's
 * parser would let pass; p11-kit then parses and matches tokens and modules.
 *
 * A parsed URI never changes and is reference counted. Of its text it keeps two
 * forms, for people and for references: the PIN is in neither.
 */
#ifndef HSM_SESSION_URI_H
#define HSM_SESSION_URI_H

#include "src/base/buf.h"

struct hsm_uri;

/* What a URI's type= asks for; several are possible where none is given. */
enum hsm_want {
    HSM_WANT_PRIVATE = 1,
    HSM_WANT_PUBLIC = 2,
    HSM_WANT_CERT = 4,
    HSM_WANT_SECRET = 8,
    HSM_WANT_DATA = 16,
    HSM_WANT_ANY = 31
};

/*
 * HSM_E_URI naming the attribute: a scheme that is not pkcs11 (any case), an
 * attribute twice, without "=", unknown and not "x-…", a bad type, a bad %XX,
 * %00 or non-UTF-8 in text, a value longer than its field, path attributes in
 * the query and the other way round (but pin-value and pin-source, which are
 * understood in the path too), both pin-value and pin-source, a slot-id that
 * is no number, a file name that is not absolute in module-path, a text
 * longer than 64 KiB. "id=1" that is no likely id gets a hint in the text of
 * later "no key" errors only.
 */
HSM_CHECKED hsm_rc hsm_uri_parse(const char *text, struct hsm_uri **out);
struct hsm_uri *hsm_uri_get(struct hsm_uri *u);
void hsm_uri_put(struct hsm_uri *u);
void hsm_uri_putp(struct hsm_uri **u);

/* Without pin-value, pin-source and x-… . */
const char *hsm_uri_for_people(const struct hsm_uri *u);
/* Whole but for pin-value and x-public-key: for writing references. Attributes
 * of the query stand behind the "?". */
const char *hsm_uri_for_reference(const struct hsm_uri *u);

/* Matching; an attribute that the URI does not have matches all. */
bool hsm_uri_matches_library(const struct hsm_uri *u, const CK_INFO *info);
bool hsm_uri_matches_slot(const struct hsm_uri *u, CK_SLOT_ID id,
                          const CK_SLOT_INFO *info);
bool hsm_uri_matches_token(const struct hsm_uri *u,
                           const CK_TOKEN_INFO *info);
/* The URI has slot-description or slot-manufacturer: C_GetSlotInfo is needed.*/
bool hsm_uri_names_slot_info(const struct hsm_uri *u);
/* At most one token in the world can match: serial, or token+manufacturer. */
bool hsm_uri_names_one_token(const struct hsm_uri *u);
/* Any token attribute at all. */
bool hsm_uri_names_token(const struct hsm_uri *u);

/* The token's label as the URI gives it, or NULL. */
const char *hsm_uri_token_label(const struct hsm_uri *u);

/* Object attributes. False: not given. *out points into the URI. */
bool hsm_uri_id(const struct hsm_uri *u, struct hsm_bytes *out);
bool hsm_uri_label(const struct hsm_uri *u, struct hsm_bytes *out);
/* HSM_WANT_ANY where no type is given. */
unsigned int hsm_uri_want(const struct hsm_uri *u);

/* Query attributes, decoded; NULL where not given. */
const char *hsm_uri_pin_value(const struct hsm_uri *u);
const char *hsm_uri_pin_source(const struct hsm_uri *u);
const char *hsm_uri_module_name(const struct hsm_uri *u);
const char *hsm_uri_module_path(const struct hsm_uri *u);
/* The DER SubjectPublicKeyInfo of x-public-key; len 0 where not given. */
struct hsm_bytes hsm_uri_public_key(const struct hsm_uri *u);

/*
 * A ready-to-paste URI of an object on a token: model, manufacturer, serial,
 * token, then id, object and type as far as they are given (label or id may be
 * empty, type NULL). The result is a NUL-terminated text in out.
 */
HSM_CHECKED hsm_rc hsm_uri_compose(const CK_TOKEN_INFO *token,
                                   struct hsm_bytes id,
                                   struct hsm_bytes label, const char *type,
                                   struct hsm_buf *out);
/*
 * The text with "x-public-key=" (base64url of spki, no padding) added to its
 * query; an x-public-key or pin-value that was there is left out.
 */
HSM_CHECKED hsm_rc hsm_uri_with_public_key(const char *text,
                                           struct hsm_bytes spki,
                                           struct hsm_buf *out);
/*
 * The text for a reference, which is used from other folders than this one: a
 * relative file of pin-source gets its absolute name, as it is now. Without
 * pin-value and x-public-key. HSM_E_PIN_SOURCE where the process's folder has
 * no name.
 */
HSM_CHECKED hsm_rc hsm_uri_with_absolute_pin(const char *text,
                                             struct hsm_buf *out);

#endif
