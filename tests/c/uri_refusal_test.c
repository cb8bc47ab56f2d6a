/* SPDX-License-Identifier: Apache-2.0 */
/* pkcs11: URIs that are refused, and that the error names the attribute and
 * no PIN. No token, no libcrypto. */
#include <stdlib.h>

#include "src/session/uri.h"
#include "tests/c/tap.h"

#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))
#define A8 "aaaaaaaa"
#define A16 A8 A8
#define A32 A16 A16
#define A64 A32 A32

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

int main(void)
{
    test_refusals();
    test_length();
    test_pin_is_not_told();
    return tap_done();
}
