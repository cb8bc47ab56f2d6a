/* SPDX-License-Identifier: Apache-2.0 */
/* pkcs11: URIs: what is refused and in which words, values, matching, texts,
 * composing. No token, no libcrypto. */
#include <stdlib.h>

#include "src/session/uri.h"
#include "tests/c/tap.h"

#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))
#define A8 "aaaaaaaa"
#define A16 A8 A8
#define A32 A16 A16
#define A64 A32 A32

/* --- refusals --- */

struct bad_case {
    const char *uri;
    const char *attr;           /* named in the error, with its quotes */
    const char *why;
};

static const struct bad_case bad_cases[] = {
    { NULL, "scheme", "not" },
    { "", "scheme", "not" },
    { "p", "scheme", "not" },
    { "pkcs11", "scheme", "not" },
    { "pkcs12:token=a", "scheme", "not" },
    { "pkcs11 :token=a", "scheme", "not" },
    { " pkcs11:token=a", "scheme", "not" },
    { "file:/etc/passwd", "scheme", "not" },
    /* names */
    { "pkcs11:token", "\"token\"", "no \"=\"" },
    { "pkcs11:token=a;object", "\"object\"", "no \"=\"" },
    { "pkcs11:token=a?module-name", "\"module-name\"", "no \"=\"" },
    { "pkcs11:token=a?pin-value", "\"pin-value\"", "no \"=\"" },
    { "pkcs11:tokn=a", "\"tokn\"", "unknown" },
    { "pkcs11:Token=a", "\"Token\"", "unknown" },
    { "pkcs11:to ken=a", "\"to\"", "unknown" },
    { "pkcs11:label=a", "\"label\"", "unknown" },
    { "pkcs11:objecttype=private", "\"objecttype\"", "unknown" },
    { "pkcs11:object-type=private", "\"object-type\"", "unknown" },
    { "pkcs11:slot_id=1", "\"slot_id\"", "unknown" },
    { "pkcs11:token=a?pinfile=/p", "\"pinfile\"", "unknown" },
    { "pkcs11:token=a?frob=1", "\"frob\"", "unknown" },
    { "pkcs11:x-=a", "\"x-\"", "unknown" },
    { "pkcs11:x-a.b=a", "\"x-a\"", "unknown" },
    { "pkcs11:X-vendor=a", "\"X-vendor\"", "unknown" },
    { "pkcs11:tok%65n=a", "\"tok\"", "unknown" },
    { "pkcs11:=a", "attribute 1", "unknown" },
    { "pkcs11:;token=a", "attribute 1", "empty" },
    { "pkcs11:token=a;", "attribute 2", "empty" },
    { "pkcs11:token=a;;id=%01", "attribute 2", "empty" },
    { "pkcs11:token=a?module-name=m&", "attribute 3", "empty" },
    { "pkcs11:?&", "attribute 1", "empty" },
    /* places */
    { "pkcs11:?token=a", "\"token\"", "before the \"?\"" },
    { "pkcs11:?id=%01", "\"id\"", "before the \"?\"" },
    { "pkcs11:token=a?type=private", "\"type\"", "before the \"?\"" },
    { "pkcs11:token=a?slot-id=1", "\"slot-id\"", "before the \"?\"" },
    { "pkcs11:module-path=/a.so", "\"module-path\"", "behind the \"?\"" },
    { "pkcs11:module-name=a", "\"module-name\"", "behind the \"?\"" },
    { "pkcs11:x-public-key=AAAA", "\"x-public-key\"", "behind the \"?\"" },
    /* repetitions */
    { "pkcs11:token=a;token=a", "\"token\"", "twice" },
    { "pkcs11:token=a;token=b", "\"token\"", "twice" },
    { "pkcs11:serial=1;id=%01;serial=1", "\"serial\"", "twice" },
    { "pkcs11:id=%01;id=%02", "\"id\"", "twice" },
    { "pkcs11:type=private;type=public", "\"type\"", "twice" },
    { "pkcs11:?module-name=a&module-name=b", "\"module-name\"", "twice" },
    { "pkcs11:?pin-value=1&pin-value=2", "\"pin-value\"", "twice" },
    { "pkcs11:pin-value=1?pin-value=1", "\"pin-value\"", "twice" },
    { "pkcs11:?x-public-key=AAAA&x-public-key=AAAA", "\"x-public-key\"",
      "twice" },
    { "pkcs11:?pin-value=1&pin-source=/p", "\"pin-source\"", "exclude" },
    { "pkcs11:pin-source=/p?pin-value=1", "\"pin-value\"", "exclude" },
    /* percent-encoding, blanks, text */
    { "pkcs11:token=%", "\"token\"", "hex" },
    { "pkcs11:token=%4", "\"token\"", "hex" },
    { "pkcs11:token=%;id=%01", "\"token\"", "hex" },
    { "pkcs11:object=a%zz", "\"object\"", "hex" },
    { "pkcs11:id=%0g", "\"id\"", "hex" },
    { "pkcs11:id=%-1", "\"id\"", "hex" },
    { "pkcs11:x-vendor=%9", "\"x-vendor\"", "hex" },
    { "pkcs11:?pin-value=100%", "\"pin-value\"", "hex" },
    { "pkcs11:?module-path=/a%2", "\"module-path\"", "hex" },
    { "pkcs11:token=My Token", "\"token\"", "blank" },
    { "pkcs11:object=a\tb", "\"object\"", "blank" },
    { "pkcs11:object=a\n", "\"object\"", "blank" },
    { "pkcs11:object=a\x7f", "\"object\"", "blank" },
    { "pkcs11:x-vendor=a b", "\"x-vendor\"", "blank" },
    { "pkcs11:?pin-value=12 34", "\"pin-value\"", "blank" },
    { "pkcs11:?pin-value=12;module-name=a", "\"pin-value\"", "\";\"" },
    { "pkcs11:token=a%00b", "\"token\"", "%00" },
    { "pkcs11:object=%00", "\"object\"", "%00" },
    { "pkcs11:serial=1%00", "\"serial\"", "%00" },
    { "pkcs11:?module-name=a%00", "\"module-name\"", "%00" },
    { "pkcs11:?pin-value=1234%00", "\"pin-value\"", "%00" },
    { "pkcs11:?pin-source=/p%00", "\"pin-source\"", "%00" },
    { "pkcs11:object=%ff", "\"object\"", "UTF-8" },
    { "pkcs11:object=\xe4", "\"object\"", "UTF-8" },
    { "pkcs11:token=%c0%af", "\"token\"", "UTF-8" },
    { "pkcs11:token=%e0%80%af", "\"token\"", "UTF-8" },
    { "pkcs11:token=%f0%80%80%af", "\"token\"", "UTF-8" },
    { "pkcs11:token=%ed%a0%80", "\"token\"", "UTF-8" },
    { "pkcs11:token=%f4%90%80%80", "\"token\"", "UTF-8" },
    { "pkcs11:token=%e2%82", "\"token\"", "UTF-8" },
    { "pkcs11:token=%80", "\"token\"", "UTF-8" },
    { "pkcs11:?pin-value=%ff", "\"pin-value\"", "UTF-8" },
    /* lengths */
    { "pkcs11:token=" A32 "a", "\"token\"", "32 bytes" },
    { "pkcs11:manufacturer=" A32 "a", "\"manufacturer\"", "32 bytes" },
    { "pkcs11:serial=" A16 "a", "\"serial\"", "16 bytes" },
    { "pkcs11:model=" A16 "%20", "\"model\"", "16 bytes" },
    { "pkcs11:library-manufacturer=" A32 "a", "\"library-manufacturer\"",
      "32 bytes" },
    { "pkcs11:library-description=" A32 "a", "\"library-description\"",
      "32 bytes" },
    { "pkcs11:slot-description=" A64 "a", "\"slot-description\"",
      "64 bytes" },
    { "pkcs11:slot-manufacturer=" A32 "a", "\"slot-manufacturer\"",
      "32 bytes" },
    { "pkcs11:?pin-value=" A64 A64 A64 A64, "\"pin-value\"", "255 bytes" },
    /* values */
    { "pkcs11:type=", "\"type\"", "secret-key" },
    { "pkcs11:type=key", "\"type\"", "\"key\"" },
    { "pkcs11:type=Private", "\"type\"", "\"Private\"" },
    { "pkcs11:type=secretkey", "\"type\"", "\"secretkey\"" },
    { "pkcs11:type=%70rivate", "\"type\"", "secret-key" },
    { "pkcs11:type=private%00", "\"type\"", "secret-key" },
    { "pkcs11:slot-id=", "\"slot-id\"", "number" },
    { "pkcs11:slot-id=one", "\"slot-id\"", "number" },
    { "pkcs11:slot-id=-1", "\"slot-id\"", "number" },
    { "pkcs11:slot-id=0x10", "\"slot-id\"", "number" },
    { "pkcs11:slot-id=%31", "\"slot-id\"", "number" },
    { "pkcs11:slot-id=18446744073709551616", "\"slot-id\"", "number" },
    { "pkcs11:library-version=", "\"library-version\"", "version" },
    { "pkcs11:library-version=a", "\"library-version\"", "version" },
    { "pkcs11:library-version=1.", "\"library-version\"", "version" },
    { "pkcs11:library-version=.1", "\"library-version\"", "version" },
    { "pkcs11:library-version=1.2.3", "\"library-version\"", "version" },
    { "pkcs11:library-version=255", "\"library-version\"", "version" },
    { "pkcs11:library-version=2.300", "\"library-version\"", "version" },
    { "pkcs11:?module-path=", "\"module-path\"", "absolute" },
    { "pkcs11:?module-path=a.so", "\"module-path\"", "absolute" },
    { "pkcs11:?module-path=../a.so", "\"module-path\"", "absolute" },
    { "pkcs11:?x-public-key=", "\"x-public-key\"", "empty" },
    { "pkcs11:?x-public-key=A", "\"x-public-key\"", "cut off" },
    { "pkcs11:?x-public-key=AAAAA", "\"x-public-key\"", "cut off" },
    { "pkcs11:?x-public-key=AA==", "\"x-public-key\"", "base64url" },
    { "pkcs11:?x-public-key=A+A/", "\"x-public-key\"", "base64url" },
    { "pkcs11:?x-public-key=AA%0A", "\"x-public-key\"", "base64url" },
    { "pkcs11:?x-public-key=AA.A", "\"x-public-key\"", "base64url" },
    { "pkcs11:?x-public-key=AB", "\"x-public-key\"", "not zero" },
    { "pkcs11:?x-public-key=AAB", "\"x-public-key\"", "not zero" },
};

static void test_refusals(void)
{
    for (size_t i = 0; i < LEN_OF(bad_cases); i++) {
        const struct bad_case *c = &bad_cases[i];
        struct hsm_uri *u = NULL;
        hsm_rc rc = hsm_uri_parse(c->uri, &u);

        if (!ok(rc.rv == HSM_E_URI && u == NULL
                && strstr(hsm_detail(), c->attr) != NULL
                && strstr(hsm_detail(), c->why) != NULL,
                "refused: %.60s", c->uri != NULL ? c->uri : "NULL")) {
            diag("said: %s", hsm_detail());
        }
        hsm_uri_put(u);
    }
}

static void test_length(void)
{
    size_t size = 65536 + 2;
    char *text = malloc(size);
    struct hsm_uri *u = NULL;
    struct hsm_bytes label;

    if (text == NULL) {
        return;
    }
    memset(text, 'a', size);
    memcpy(text, "pkcs11:object=", 14);
    text[65536] = '\0';
    ok(hsm_ok(hsm_uri_parse(text, &u)) && hsm_uri_label(u, &label)
       && label.len == 65536 - 14, "64 KiB are accepted");
    hsm_uri_putp(&u);
    text[65536] = 'a';
    text[65537] = '\0';
    ok(hsm_uri_parse(text, &u).rv == HSM_E_URI && u == NULL
       && strstr(hsm_detail(), "64 KiB") != NULL, "one byte more is refused");
    free(text);
}

/* A PIN that got out of its place is not repeated in the error. */
static void test_pin_is_not_told(void)
{
    static const char *const uris[] = {
        "pkcs11:token=a?pin-value=98&7654",
        "pkcs11:token=a?pin-value=98&ab7654",
        "pkcs11:token=a?pin-value=98&ab7654=1",
        "pkcs11:pin-value=98;ab7654",
        "pkcs11:token=a?pin-value:7654",
        "pkcs11:token=a?pin7654",
        "pkcs11:token=a?7654",
        "pkcs11:token=a?7654=7654",
        "pkcs11:token=a?pin-value=7654&pin-value=7654",
        "pkcs11:token=a?pin-value=7654&pin-source=7654",
        "pkcs11:token=a?pin-value=7654%00",
        "pkcs11:token=a?pin-value=7654%",
        "pkcs11:token=a?pin-value=76 7654",
        "pkcs11:token=a?pin-value=7654;type=private",
        "pkcs11:token=%zz?pin-value=7654",
        "pkcs11:type=foo?pin-value=7654",
        "pkcs11:type=foo;pin-value=7654",
        "pkcs11:token=a?pin-value=7654" A64 A64 A64 A64,
    };

    for (size_t i = 0; i < LEN_OF(uris); i++) {
        struct hsm_uri *u = NULL;

        if (!ok(hsm_uri_parse(uris[i], &u).rv == HSM_E_URI
                && strstr(hsm_detail(), "7654") == NULL,
                "does not tell the PIN: %.50s", uris[i])) {
            diag("said: %s", hsm_detail());
        }
        hsm_uri_put(u);
    }
}

/* --- what is accepted --- */

struct good_case {
    const char *uri;
    const char *people;
    const char *reference;
};

static const struct good_case good_cases[] = {
    { "pkcs11:", "pkcs11:", "pkcs11:" },
    { "PKCS11:", "pkcs11:", "pkcs11:" },
    { "pKcS11:token=a", "pkcs11:token=a", "pkcs11:token=a" },
    { "pkcs11:?", "pkcs11:", "pkcs11:" },
    { "pkcs11:token=a?", "pkcs11:token=a", "pkcs11:token=a" },
    { "pkcs11:token=;object=;id=", "pkcs11:token=;object=;id=",
      "pkcs11:token=;object=;id=" },
    { "pkcs11:token=a;manufacturer=b;serial=c;model=d;object=e;id=%01;"
      "type=private;library-manufacturer=f;library-description=g;"
      "library-version=2.40;slot-description=h;slot-manufacturer=i;slot-id=7",
      "pkcs11:token=a;manufacturer=b;serial=c;model=d;object=e;id=%01;"
      "type=private;library-manufacturer=f;library-description=g;"
      "library-version=2.40;slot-description=h;slot-manufacturer=i;slot-id=7",
      "pkcs11:token=a;manufacturer=b;serial=c;model=d;object=e;id=%01;"
      "type=private;library-manufacturer=f;library-description=g;"
      "library-version=2.40;slot-description=h;slot-manufacturer=i;"
      "slot-id=7" },
    { "pkcs11:token=a?pin-value=1234", "pkcs11:token=a", "pkcs11:token=a" },
    { "pkcs11:token=a?pin-source=file:/p&module-name=m&module-path=/m.so",
      "pkcs11:token=a?module-name=m",
      "pkcs11:token=a?pin-source=file:/p&module-name=m&module-path=/m.so" },
    { "pkcs11:pin-value=1234;token=a", "pkcs11:token=a", "pkcs11:token=a" },
    { "pkcs11:token=a;pin-source=/p;id=%01?module-name=m",
      "pkcs11:token=a;id=%01?module-name=m",
      "pkcs11:token=a;id=%01?pin-source=/p&module-name=m" },
    { "pkcs11:x-a=1;x-a=2;token=t?x-b=3&x-b=3", "pkcs11:token=t",
      "pkcs11:x-a=1;x-a=2;token=t?x-b=3&x-b=3" },
    { "pkcs11:object=a&b=c?x-public-key=AAAA&x-b=a/b?c|d",
      "pkcs11:object=a&b=c", "pkcs11:object=a&b=c?x-b=a/b?c|d" },
    { "pkcs11:token=" A32 ";serial=" A16, "pkcs11:token=" A32 ";serial=" A16,
      "pkcs11:token=" A32 ";serial=" A16 },
    { "pkcs11:object=\xc3\xa4%c3%a4%F0%9F%98%80",
      "pkcs11:object=\xc3\xa4%c3%a4%F0%9F%98%80",
      "pkcs11:object=\xc3\xa4%c3%a4%F0%9F%98%80" },
    { "pkcs11:slot-id=18446744073709551615;library-version=3",
      "pkcs11:slot-id=18446744073709551615;library-version=3",
      "pkcs11:slot-id=18446744073709551615;library-version=3" },
    { "pkcs11:id=%00%ff%20;x-empty=", "pkcs11:id=%00%ff%20",
      "pkcs11:id=%00%ff%20;x-empty=" },
};

static void test_texts(void)
{
    for (size_t i = 0; i < LEN_OF(good_cases); i++) {
        const struct good_case *c = &good_cases[i];
        struct hsm_uri *u = NULL;

        if (!ok(hsm_ok(hsm_uri_parse(c->uri, &u)), "accepted: %.60s",
                c->uri)) {
            diag("said: %s", hsm_detail());
            continue;
        }
        is_str(hsm_uri_text(u), c->uri, "whole");
        is_str(hsm_uri_for_people(u), c->people, "for people");
        is_str(hsm_uri_for_reference(u), c->reference, "for a reference");
        hsm_uri_put(u);
    }
}

static struct hsm_uri *parsed(const char *text)
{
    struct hsm_uri *u = NULL;

    if (!hsm_ok(hsm_uri_parse(text, &u))) {
        diag("%s: %s", text, hsm_detail());
        ok(false, "parses: %s", text);
        exit(tap_done());
    }
    return u;
}

static void test_no_values(void)
{
    struct hsm_uri *u = parsed("pkcs11:");
    struct hsm_bytes b;

    ok(!hsm_uri_id(u, &b) && !hsm_uri_label(u, &b), "no id, no label");
    is_int(hsm_uri_want(u), HSM_WANT_ANY, "wants anything");
    ok(hsm_uri_pin_value(u) == NULL && hsm_uri_pin_source(u) == NULL
       && hsm_uri_module_name(u) == NULL && hsm_uri_module_path(u) == NULL,
       "no query attributes");
    is_int((long long)hsm_uri_public_key(u).len, 0, "no public key");
    ok(!hsm_uri_names_token(u) && !hsm_uri_names_one_token(u)
       && !hsm_uri_names_slot_info(u), "names nothing");
    hsm_uri_put(u);
}

static void test_values(void)
{
    struct hsm_uri *u = parsed("pkcs11:id=%00a%FF;object=%C3%A4%20b;"
                               "type=secret-key?module-name=soft%20hsm&"
                               "module-path=/usr/lib/a%2bb.so&"
                               "pin-value=%3b%2612&x-public-key=_-8AAQ");
    struct hsm_uri *same = hsm_uri_get(u);
    struct hsm_bytes b = { NULL, 0 };

    ok(same == u, "counted");
    hsm_uri_put(same);
    ok(hsm_uri_id(u, &b), "has an id");
    is_bytes(b.p, b.len, "\0a\xff", 3, "id");
    ok(hsm_uri_label(u, &b), "has a label");
    is_bytes(b.p, b.len, "\xc3\xa4 b", 4, "label");
    is_int(hsm_uri_want(u), HSM_WANT_SECRET, "type");
    is_str(hsm_uri_module_name(u), "soft hsm", "module-name");
    is_str(hsm_uri_module_path(u), "/usr/lib/a+b.so", "module-path");
    is_str(hsm_uri_pin_value(u), ";&12", "pin-value");
    b = hsm_uri_public_key(u);
    is_bytes(b.p, b.len, "\xff\xef\x00\x01", 4, "x-public-key");
    hsm_uri_put(u);

    u = parsed("pkcs11:id=;object=;pin-source=file:/etc/p%20in");
    ok(hsm_uri_id(u, &b) && b.len == 0, "empty id");
    ok(hsm_uri_label(u, &b) && b.len == 0, "empty label");
    is_str(hsm_uri_pin_source(u), "file:/etc/p in", "pin-source");
    hsm_uri_put(u);
    u = parsed("pkcs11:?pin-value=");
    is_str(hsm_uri_pin_value(u), "", "empty pin-value");
    hsm_uri_putp(&u);
    ok(u == NULL, "gone");
    hsm_uri_put(NULL);
}

static void test_want(void)
{
    static const struct {
        const char *uri;
        unsigned int want;
    } rows[] = {
        { "pkcs11:type=private", HSM_WANT_PRIVATE },
        { "pkcs11:type=public", HSM_WANT_PUBLIC },
        { "pkcs11:type=cert", HSM_WANT_CERT },
        { "pkcs11:type=secret-key", HSM_WANT_SECRET },
        { "pkcs11:type=data", HSM_WANT_DATA },
    };

    for (size_t i = 0; i < LEN_OF(rows); i++) {
        struct hsm_uri *u = parsed(rows[i].uri);

        is_int(hsm_uri_want(u), rows[i].want, "%s", rows[i].uri);
        hsm_uri_put(u);
    }
}

static void test_names(void)
{
    static const struct {
        const char *uri;
        bool token, one, slot;
    } rows[] = {
        { "pkcs11:token=a", true, false, false },
        { "pkcs11:manufacturer=a", true, false, false },
        { "pkcs11:model=a", true, false, false },
        { "pkcs11:model=a;token=b", true, false, false },
        { "pkcs11:serial=a", true, true, false },
        { "pkcs11:token=a;manufacturer=b", true, true, false },
        { "pkcs11:object=a;id=%01", false, false, false },
        { "pkcs11:slot-id=1", false, false, false },
        { "pkcs11:slot-description=a", false, false, true },
        { "pkcs11:slot-manufacturer=a", false, false, true },
        { "pkcs11:library-description=a", false, false, false },
    };

    for (size_t i = 0; i < LEN_OF(rows); i++) {
        struct hsm_uri *u = parsed(rows[i].uri);

        ok(hsm_uri_names_token(u) == rows[i].token
           && hsm_uri_names_one_token(u) == rows[i].one
           && hsm_uri_names_slot_info(u) == rows[i].slot,
           "names: %s", rows[i].uri);
        hsm_uri_put(u);
    }
}

/* --- matching --- */

static void fill(unsigned char *field, size_t size, const char *text,
                 char padding)
{
    memset(field, padding, size);
    memcpy(field, text, strlen(text));
}

static CK_TOKEN_INFO token_info(char padding)
{
    CK_TOKEN_INFO t;

    memset(&t, 0, sizeof(t));
    fill(t.label, sizeof(t.label), "My Token", padding);
    fill(t.manufacturerID, sizeof(t.manufacturerID), "Maker, Inc. (100%)",
         padding);
    fill(t.model, sizeof(t.model), "", padding);
    fill(t.serialNumber, sizeof(t.serialNumber), "0123456789abcdef", padding);
    return t;
}

struct match_case {
    const char *uri;
    bool matches;
};

static void test_token_match(char padding)
{
    static const struct match_case rows[] = {
        { "pkcs11:", true },
        { "pkcs11:token=My%20Token", true },
        { "pkcs11:token=%4dy%20Token%20%20", true },
        { "pkcs11:token=My", false },
        { "pkcs11:token=my%20token", false },
        { "pkcs11:token=MyToken", false },
        { "pkcs11:token=", false },
        { "pkcs11:model=", true },
        { "pkcs11:model=a", false },
        { "pkcs11:serial=0123456789abcdef", true },
        { "pkcs11:serial=0123456789abcde", false },
        { "pkcs11:manufacturer=Maker,%20Inc.%20(100%25)", true },
        { "pkcs11:token=My%20Token;serial=1", false },
        { "pkcs11:token=My%20Token;x-foo=1;id=%01;object=a;type=cert"
          "?pin-value=12&x-foo=1&module-name=a", true },
        { "pkcs11:pin-value=12;token=My%20Token", true },
        { "pkcs11:slot-id=18446744073709551615", true },
    };
    CK_TOKEN_INFO info = token_info(padding);

    for (size_t i = 0; i < LEN_OF(rows); i++) {
        struct hsm_uri *u = parsed(rows[i].uri);

        is_int(hsm_uri_matches_token(u, &info), rows[i].matches,
               "token (padded with %d) and %s", padding, rows[i].uri);
        hsm_uri_put(u);
    }
}

static void test_library_match(void)
{
    static const struct match_case rows[] = {
        { "pkcs11:", true },
        { "pkcs11:token=other", true },
        { "pkcs11:library-manufacturer=Lib%20Maker", true },
        { "pkcs11:library-manufacturer=Other", false },
        { "pkcs11:library-description=Soft", true },
        { "pkcs11:library-description=Sof", false },
        { "pkcs11:library-version=2.6", true },
        { "pkcs11:library-version=2", false },
        { "pkcs11:library-version=2.7", false },
        { "pkcs11:library-version=3.6;library-description=Soft", false },
        { "pkcs11:x-a=b;library-version=2.6?x-c=d", true },
    };
    CK_INFO info;

    memset(&info, 0, sizeof(info));
    fill(info.manufacturerID, sizeof(info.manufacturerID), "Lib Maker", ' ');
    fill(info.libraryDescription, sizeof(info.libraryDescription), "Soft",
         '\0');
    info.libraryVersion.major = 2;
    info.libraryVersion.minor = 6;
    for (size_t i = 0; i < LEN_OF(rows); i++) {
        struct hsm_uri *u = parsed(rows[i].uri);

        is_int(hsm_uri_matches_library(u, &info), rows[i].matches,
               "library and %s", rows[i].uri);
        hsm_uri_put(u);
    }
}

static void test_slot_match(void)
{
    static const struct match_case rows[] = {
        { "pkcs11:", true },
        { "pkcs11:slot-id=42", true },
        { "pkcs11:slot-id=0042", true },
        { "pkcs11:slot-id=4", false },
        { "pkcs11:slot-id=18446744073709551615", false },
        { "pkcs11:slot-description=Reader%200", true },
        { "pkcs11:slot-description=Reader", false },
        { "pkcs11:slot-manufacturer=Slotter", true },
        { "pkcs11:slot-manufacturer=Slotter;slot-id=41", false },
        { "pkcs11:slot-manufacturer=Slotter;slot-id=42", true },
    };
    struct hsm_uri *u;
    CK_SLOT_INFO info;

    memset(&info, 0, sizeof(info));
    fill(info.slotDescription, sizeof(info.slotDescription), "Reader 0", ' ');
    fill(info.manufacturerID, sizeof(info.manufacturerID), "Slotter", '\0');
    for (size_t i = 0; i < LEN_OF(rows); i++) {
        u = parsed(rows[i].uri);
        is_int(hsm_uri_matches_slot(u, 42, &info), rows[i].matches,
               "slot and %s", rows[i].uri);
        hsm_uri_put(u);
    }
    u = parsed("pkcs11:slot-id=42");
    ok(hsm_uri_matches_slot(u, 42, NULL), "the number needs no slot info");
    hsm_uri_put(u);
}

/* --- composing --- */

static const struct hsm_bytes none = { NULL, 0 };

static void compose_is(const CK_TOKEN_INFO *t, struct hsm_bytes id,
                       struct hsm_bytes label, const char *type,
                       const char *want)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    hsm_rc rc = hsm_uri_compose(t, id, label, type, &out);
    struct hsm_bytes got = { NULL, 0 };
    struct hsm_uri *u;

    ok(hsm_ok(rc) && strlen((char *)out.p) == out.len, "composed");
    is_str((char *)out.p, want, "as expected");
    u = parsed((char *)out.p);
    ok(hsm_uri_matches_token(u, t), "matches its token");
    ok(hsm_uri_id(u, &got) == (id.len > 0) && hsm_bytes_equal(got, id),
       "has its id");
    if (hsm_uri_label(u, &got)) {
        ok(hsm_bytes_equal(got, label), "has its label");
    }
    is_str(hsm_uri_for_people(u), want, "fit for people");
    hsm_uri_put(u);
}

static void test_compose(void)
{
    CK_TOKEN_INFO t = token_info(' ');
    struct hsm_bytes id = hsm_bytes_of("\x01z\x00\xff", 4);

    compose_is(&t, id, hsm_bytes_of("a b/c;d?e\xc3\xa4%", 12), "private",
               "pkcs11:manufacturer=Maker,%20Inc.%20(100%25);"
               "serial=0123456789abcdef;token=My%20Token;id=%01%7A%00%FF;"
               "object=a%20b%2Fc%3Bd%3Fe%C3%A4%25;type=private");
    fill(t.model, sizeof(t.model), "-._~:[]@!$'()*+,", '\0');
    fill(t.label, sizeof(t.label), "=&/|#\"<\\^`{}\x01\x7f", ' ');
    compose_is(&t, none, none, NULL,
               "pkcs11:model=-._~:[]@!$'()*+,;"
               "manufacturer=Maker,%20Inc.%20(100%25);"
               "serial=0123456789abcdef;"
               "token==&%2F%7C%23%22%3C%5C%5E%60%7B%7D%01%7F");
    compose_is(&t, none, hsm_bytes_of("a\xff", 2), "cert",
               "pkcs11:model=-._~:[]@!$'()*+,;"
               "manufacturer=Maker,%20Inc.%20(100%25);"
               "serial=0123456789abcdef;"
               "token==&%2F%7C%23%22%3C%5C%5E%60%7B%7D%01%7F;type=cert");
    memset(&t, ' ', sizeof(t));
    fill(t.model, sizeof(t.model), "a:", ' ');
    compose_is(&t, id, hsm_bytes_of("a\0b", 3), NULL,
               "pkcs11:model=a:;id=%01%7A%00%FF");
    memset(&t, 0, sizeof(t));
    compose_is(&t, none, none, NULL, "pkcs11:");
    fill(t.label, sizeof(t.label), "caf\xe9", ' ');
    compose_is(&t, none, none, "data", "pkcs11:type=data");
}

static void test_public_key(void)
{
    static const struct {
        const char *uri, *want;
    } rows[] = {
        { "pkcs11:id=%01", "pkcs11:id=%01?x-public-key=" },
        { "pkcs11:", "pkcs11:?x-public-key=" },
        { "PKCS11:id=%01?pin-value=1", "pkcs11:id=%01?x-public-key=" },
        { "pkcs11:id=%01?pin-source=/p&x-public-key=AAAA&x-a=b",
          "pkcs11:id=%01?pin-source=/p&x-a=b&x-public-key=" },
    };
    static const char *const tails[] = { "", "AQ", "AQL_", "AQL_vg" };
    static const size_t lens[] = { 0, 1, 3, 4 };
    const unsigned char key[4] = { 1, 2, 0xff, 0xbe };

    for (size_t i = 0; i < LEN_OF(rows) * LEN_OF(lens); i++) {
        hsm_auto(hsm_buf) out = HSM_BUF_INIT;
        size_t len = lens[i % LEN_OF(lens)];
        const char *uri = rows[i / LEN_OF(lens)].uri;
        hsm_rc rc = hsm_uri_with_public_key(uri, hsm_bytes_of(key, len),
                                            &out);
        char want[100];
        struct hsm_uri *u;

        if (len == 0) {
            ok(!hsm_ok(rc) && out.p == NULL, "no key to add");
            continue;
        }
        (void)snprintf(want, sizeof(want), "%s%s",
                       rows[i / LEN_OF(lens)].want, tails[i % LEN_OF(lens)]);
        is_str((char *)out.p, want, "%s with %zu bytes", uri, len);
        u = parsed(want);
        is_bytes(hsm_uri_public_key(u).p, hsm_uri_public_key(u).len, key,
                 len, "the key comes back");
        hsm_uri_put(u);
    }
}

static void test_public_key_refused(void)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;

    ok(hsm_uri_with_public_key("pkcs11:foo=1", hsm_bytes_of("a", 1),
                               &out).rv == HSM_E_URI && out.p == NULL,
       "a bad URI gets no key");
}

int main(void)
{
    test_refusals();
    test_length();
    test_pin_is_not_told();
    test_texts();
    test_no_values();
    test_values();
    test_want();
    test_names();
    test_token_match(' ');
    test_token_match('\0');
    test_library_match();
    test_slot_match();
    test_compose();
    test_public_key();
    test_public_key_refused();
    return tap_done();
}
