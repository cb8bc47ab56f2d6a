/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs: what is accepted can be written in each of its forms, and these are
 * accepted again, say the same and give no secret away.
 */
#include "src/session/uri.h"
#include "tests/fuzz/fuzz.h"

static bool same(struct hsm_bytes a, struct hsm_bytes b)
{
    return hsm_bytes_equal(a, b);
}

static struct hsm_bytes label_of(const struct hsm_uri *u)
{
    struct hsm_bytes label = { NULL, 0 };

    (void)hsm_uri_label(u, &label);
    return label;
}

static struct hsm_bytes id_of(const struct hsm_uri *u)
{
    struct hsm_bytes id = { NULL, 0 };

    (void)hsm_uri_id(u, &id);
    return id;
}

/* What is told to people and written into files. */
static void check_texts(const struct hsm_uri *u)
{
    const char *people = hsm_uri_for_people(u);
    const char *reference = hsm_uri_for_reference(u);
    hsm_autop(hsm_uri) again = NULL;
    hsm_autop(hsm_uri) told = NULL;

    fuzz_check(hsm_ok(hsm_uri_parse(people, &told)));
    fuzz_check(hsm_uri_pin_value(told) == NULL);
    fuzz_check(hsm_uri_pin_source(told) == NULL);
    fuzz_check(hsm_uri_public_key(told).len == 0);
    fuzz_check(hsm_ok(hsm_uri_parse(reference, &again)));
    fuzz_check(strcmp(hsm_uri_for_reference(again), reference) == 0);
    fuzz_check(strcmp(hsm_uri_for_people(again), people) == 0);
    fuzz_check(same(label_of(again), label_of(u)));
    fuzz_check(same(id_of(again), id_of(u)));
    fuzz_check(hsm_uri_want(again) == hsm_uri_want(u));
    fuzz_check(hsm_uri_pin_value(again) == NULL);
    fuzz_check(hsm_uri_public_key(again).len == 0);
}

/* Any bytes are carried; whether they are a key is somebody else's matter. */
static void check_public_key(const char *text)
{
    static const unsigned char spki[] = { 0x30, 0x03, 0x02, 0x01, 0x7f };
    hsm_auto(hsm_buf) with = HSM_BUF_INIT;
    hsm_autop(hsm_uri) again = NULL;

    fuzz_check(hsm_ok(hsm_uri_with_public_key(
        text, hsm_bytes_of(spki, sizeof(spki)), &with)));
    fuzz_check(hsm_ok(hsm_uri_parse((const char *)with.p, &again))
               || strlen(text) > 65000);
    fuzz_check(again == NULL || same(hsm_uri_public_key(again),
                                     hsm_bytes_of(spki, sizeof(spki))));
}

static void check_matches(const struct hsm_uri *u)
{
    CK_TOKEN_INFO token;
    CK_SLOT_INFO slot;
    CK_INFO info;

    memset(&token, ' ', sizeof(token));
    memset(&slot, 0, sizeof(slot));
    memset(&info, 0xff, sizeof(info));
    (void)hsm_uri_matches_token(u, &token);
    (void)hsm_uri_matches_slot(u, 1, &slot);
    (void)hsm_uri_matches_library(u, &info);
    (void)hsm_uri_names_slot_info(u);
    fuzz_check(hsm_uri_names_token(u) || !hsm_uri_names_one_token(u));
    fuzz_check(hsm_uri_pin_value(u) == NULL || hsm_uri_pin_source(u) == NULL);
    fuzz_check(hsm_uri_module_path(u) == NULL
               || hsm_uri_module_path(u)[0] == '/');
}

/* A URI of an object whose label and id are anything. */
static void check_compose(struct hsm_bytes in)
{
    struct hsm_bytes id = fuzz_take(&in, fuzz_byte(&in));
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    hsm_autop(hsm_uri) u = NULL;
    CK_TOKEN_INFO token;

    memset(&token, 0, sizeof(token));
    memcpy(&token, in.p, in.len < sizeof(token) ? in.len : sizeof(token));
    if (!hsm_ok(hsm_uri_compose(&token, id, in, "private", &text))) {
        return;
    }
    fuzz_check(strlen((const char *)text.p) == text.len);
    fuzz_check(hsm_ok(hsm_uri_parse((const char *)text.p, &u))
               || text.len > 65536);
    fuzz_check(u == NULL || (same(id_of(u), id)
                             && hsm_uri_want(u) == HSM_WANT_PRIVATE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hsm_autop(hsm_uri) u = NULL;
    char *text = fuzz_text(hsm_bytes_of(data, size));
    hsm_rc rc = hsm_uri_parse(text, &u);

    if (hsm_ok(rc)) {
        check_texts(u);
        check_public_key(text);
        check_matches(u);
    } else {
        fuzz_check(u == NULL && fuzz_is_clean(rc, HSM_E_URI, 0));
        fuzz_check(hsm_detail()[0] != '\0');
    }
    if (size > 0) {
        check_compose(hsm_bytes_of(data, size));
    }
    free(text);
    return 0;
}
