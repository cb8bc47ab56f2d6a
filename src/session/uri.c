/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/uri.h"

#include <p11-kit/uri.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/session/uri_part.h"

/* The PIN is in locked memory, not among the values and in no text. p11-kit's
 * half holds only what it is asked to match: it sees no PIN and no key. */
struct hsm_uri {
    atomic_uint users;
    struct hsm_buf for_people;
    struct hsm_buf for_reference;
    struct hsm_buf value[HSM_URI_N];
    bool given[HSM_URI_N];
    struct hsm_secret *pin;
    P11KitUri *match;
};

static hsm_rc no_memory(void)
{
    return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_uri_parse");
}

static void uri_free(struct hsm_uri *u)
{
    size_t i;

    hsm_buf_clear(&u->for_people);
    hsm_buf_clear(&u->for_reference);
    for (i = 0; i < HSM_URI_N; i++) {
        hsm_buf_clear(&u->value[i]);
    }
    hsm_secret_free(u->pin);
    if (u->match != NULL) {
        p11_kit_uri_free(u->match);
    }
    free(u);
}

static hsm_rc take_value(struct hsm_uri *u, const struct hsm_uri_part *part)
{
    hsm_auto(hsm_buf) value = HSM_BUF_INIT;

    TRY(hsm_uri_value(part, &value));
    if (part->attr == HSM_URI_VENDOR) {
        return HSM_OK;
    }
    u->given[part->attr] = true;
    if (part->attr == HSM_URI_PIN_VALUE) {
        u->pin = hsm_secret_new(value.p, value.len);
        hsm_secret_keep(u->pin);
        return u->pin != NULL ? HSM_OK : no_memory();
    }
    u->value[part->attr] = value;
    value = (struct hsm_buf)HSM_BUF_INIT;
    return HSM_OK;
}

/* Nothing should be left for p11-kit to complain about; where it knows better
 * all the same, its "unrecognized" mark would make every match fail. */
static hsm_rc prepare_match(struct hsm_uri *u,
                            const struct hsm_uri_parts *parts)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    int result;

    TRY(hsm_uri_write(parts, hsm_uri_pick_for_match, &text));
    u->match = p11_kit_uri_new();
    if (u->match == NULL) {
        return no_memory();
    }
    result = p11_kit_uri_parse((const char *)text.p, P11_KIT_URI_FOR_ANY,
                               u->match);
    if (result != P11_KIT_URI_OK) {
        return hsm_fail(HSM_E_URI, "hsm_uri_parse", "p11-kit says of %s: %s",
                        (const char *)text.p, p11_kit_uri_message(result));
    }
    if (p11_kit_uri_any_unrecognized(u->match)) {
        return hsm_fail(HSM_E_URI, "hsm_uri_parse",
                        "p11-kit does not understand %s",
                        (const char *)text.p);
    }
    return HSM_OK;
}

hsm_rc hsm_uri_parse(const char *text, struct hsm_uri **out)
{
    hsm_auto(hsm_uri_parts) parts = HSM_URI_PARTS_INIT;
    hsm_autop(hsm_uri) u = NULL;
    size_t i;

    TRY(hsm_uri_split(text, &parts));
    u = hsm_zalloc(sizeof(*u));
    if (u == NULL) {
        return no_memory();
    }
    atomic_init(&u->users, 1);
    for (i = 0; i < parts.n; i++) {
        TRY(take_value(u, &parts.part[i]));
    }
    TRY(hsm_uri_write(&parts, hsm_uri_pick_for_people, &u->for_people));
    TRY(hsm_uri_write(&parts, hsm_uri_pick_for_reference,
                      &u->for_reference));
    TRY(prepare_match(u, &parts));
    *out = u;
    u = NULL;
    return HSM_OK;
}

struct hsm_uri *hsm_uri_get(struct hsm_uri *u)
{
    if (u != NULL) {
        atomic_fetch_add_explicit(&u->users, 1, memory_order_relaxed);
    }
    return u;
}

void hsm_uri_put(struct hsm_uri *u)
{
    if (u != NULL && atomic_fetch_sub(&u->users, 1) == 1) {
        uri_free(u);
    }
}

void hsm_uri_putp(struct hsm_uri **u)
{
    hsm_uri_put(*u);
    *u = NULL;
}

const char *hsm_uri_for_people(const struct hsm_uri *u)
{
    return (const char *)u->for_people.p;
}

const char *hsm_uri_for_reference(const struct hsm_uri *u)
{
    return (const char *)u->for_reference.p;
}

/* p11-kit compares whole fields; some modules pad theirs with NULs instead of
 * the blanks that Cryptoki demands. */
static void pad(CK_UTF8CHAR *field, size_t size)
{
    CK_UTF8CHAR *nul = memchr(field, '\0', size);

    if (nul != NULL) {
        memset(nul, ' ', size - (size_t)(nul - field));
    }
}

bool hsm_uri_matches_library(const struct hsm_uri *u, const CK_INFO *info)
{
    CK_INFO padded = *info;

    pad(padded.manufacturerID, sizeof(padded.manufacturerID));
    pad(padded.libraryDescription, sizeof(padded.libraryDescription));
    return p11_kit_uri_match_module_info(u->match, &padded) == 1;
}

/* Checked to be digits when it was parsed. */
static bool is_slot(const struct hsm_uri *u, CK_SLOT_ID id)
{
    const char *digits = (const char *)u->value[HSM_URI_SLOT_ID].p;

    return !u->given[HSM_URI_SLOT_ID] || strtoul(digits, NULL, 10) == id;
}

bool hsm_uri_matches_slot(const struct hsm_uri *u, CK_SLOT_ID id,
                          const CK_SLOT_INFO *info)
{
    CK_SLOT_INFO padded;

    if (!is_slot(u, id)) {
        return false;
    }
    if (!hsm_uri_names_slot_info(u)) {
        return true;
    }
    if (info == NULL) {
        return false;
    }
    padded = *info;
    pad(padded.slotDescription, sizeof(padded.slotDescription));
    pad(padded.manufacturerID, sizeof(padded.manufacturerID));
    return p11_kit_uri_match_slot_info(u->match, &padded) == 1;
}

bool hsm_uri_matches_token(const struct hsm_uri *u,
                           const CK_TOKEN_INFO *info)
{
    CK_TOKEN_INFO padded = *info;

    pad(padded.label, sizeof(padded.label));
    pad(padded.manufacturerID, sizeof(padded.manufacturerID));
    pad(padded.model, sizeof(padded.model));
    pad(padded.serialNumber, sizeof(padded.serialNumber));
    return p11_kit_uri_match_token_info(u->match, &padded) == 1;
}

bool hsm_uri_names_slot_info(const struct hsm_uri *u)
{
    return u->given[HSM_URI_SLOT_DESCRIPTION]
           || u->given[HSM_URI_SLOT_MANUFACTURER];
}

bool hsm_uri_names_one_token(const struct hsm_uri *u)
{
    return u->given[HSM_URI_SERIAL]
           || (u->given[HSM_URI_TOKEN] && u->given[HSM_URI_MANUFACTURER]);
}

bool hsm_uri_names_token(const struct hsm_uri *u)
{
    return u->given[HSM_URI_TOKEN] || u->given[HSM_URI_MANUFACTURER]
           || u->given[HSM_URI_SERIAL] || u->given[HSM_URI_MODEL];
}

static bool get_bytes(const struct hsm_uri *u, enum hsm_uri_attr attr,
                      struct hsm_bytes *out)
{
    if (!u->given[attr]) {
        return false;
    }
    *out = hsm_buf_bytes(&u->value[attr]);
    return true;
}

static const char *get_text(const struct hsm_uri *u, enum hsm_uri_attr attr)
{
    return u->given[attr] ? (const char *)u->value[attr].p : NULL;
}

const char *hsm_uri_token_label(const struct hsm_uri *u)
{
    return get_text(u, HSM_URI_TOKEN);
}

bool hsm_uri_id(const struct hsm_uri *u, struct hsm_bytes *out)
{
    return get_bytes(u, HSM_URI_ID, out);
}

bool hsm_uri_label(const struct hsm_uri *u, struct hsm_bytes *out)
{
    return get_bytes(u, HSM_URI_OBJECT, out);
}

unsigned int hsm_uri_want(const struct hsm_uri *u)
{
    if (!u->given[HSM_URI_TYPE]) {
        return HSM_WANT_ANY;
    }
    return hsm_uri_want_of(hsm_buf_bytes(&u->value[HSM_URI_TYPE]));
}

const char *hsm_uri_pin_value(const struct hsm_uri *u)
{
    return u->pin != NULL ? u->pin->text : NULL;
}

const char *hsm_uri_pin_source(const struct hsm_uri *u)
{
    return get_text(u, HSM_URI_PIN_SOURCE);
}

const char *hsm_uri_module_name(const struct hsm_uri *u)
{
    return get_text(u, HSM_URI_MODULE_NAME);
}

const char *hsm_uri_module_path(const struct hsm_uri *u)
{
    return get_text(u, HSM_URI_MODULE_PATH);
}

struct hsm_bytes hsm_uri_public_key(const struct hsm_uri *u)
{
    return hsm_buf_bytes(&u->value[HSM_URI_PUBLIC_KEY]);
}
