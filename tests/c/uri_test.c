/* SPDX-License-Identifier: Apache-2.0 */
/* pkcs11: URIs: values, matching, texts, composing. No token, no libcrypto. */
#include <stdlib.h>
#include <unistd.h>

#include "src/session/uri.h"
#include "tests/c/tap.h"

#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))
#define A8 "aaaaaaaa"
#define A16 A8 A8
#define A32 A16 A16

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
    ok(hsm_uri_token_label(u) == NULL, "no token's label");
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
    u = parsed("pkcs11:token=My%20Token?pin-value=");
    is_str(hsm_uri_token_label(u), "My Token", "token's label");
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
    for (size_t i = 0; text[i] != '\0'; i++) {
        field[i] = (unsigned char)text[i];
    }
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
    hsm_rc rc = hsm_uri_with_public_key("pkcs11:foo=1", hsm_bytes_of("a", 1),
                                        &out);

    ok(rc.rv == HSM_E_URI && out.p == NULL, "a bad URI gets no key");
}

/* A reference is used from other folders than the one it was written in. */
static void test_absolute_pin(void)
{
    static const struct {
        const char *folder, *uri, *want;
    } rows[] = {
        { "/usr", "pkcs11:id=%01?pin-source=file:pin",
          "pkcs11:id=%01?pin-source=file:/usr/pin" },
        { "/", "pkcs11:?pin-source=file:a/pin",
          "pkcs11:?pin-source=file:/a/pin" },
        { "/usr", "pkcs11:pin-source=file%3A..%2Fb;id=%01?x-a=b",
          "pkcs11:id=%01?pin-source=file:/usr/../b&x-a=b" },
        { "/usr", "pkcs11:?pin-source=file:a%26b%3Fc%23d+e%25&x-a=b",
          "pkcs11:?pin-source=file:/usr/a%26b%3Fc%23d+e%25&x-a=b" },
        { "/usr", "pkcs11:?pin-source=file:/pin",
          "pkcs11:?pin-source=file:/pin" },
        { "/usr", "pkcs11:?pin-source=file:", "pkcs11:?pin-source=file:" },
        { "/usr", "pkcs11:?pin-source=/pin", "pkcs11:?pin-source=/pin" },
        { "/usr", "pkcs11:?pin-source=env:pin",
          "pkcs11:?pin-source=env:pin" },
        { "/usr", "pkcs11:id=%01?pin-value=1", "pkcs11:id=%01" },
        { "/usr", "pkcs11:id=%01?x-public-key=AAAA", "pkcs11:id=%01" },
    };

    for (size_t i = 0; i < LEN_OF(rows); i++) {
        hsm_auto(hsm_buf) out = HSM_BUF_INIT;
        bool there = chdir(rows[i].folder) == 0;
        hsm_rc rc = hsm_uri_with_absolute_pin(rows[i].uri, &out);

        ok(there && hsm_ok(rc), "from %s: %s", rows[i].folder, rows[i].uri);
        is_str((char *)out.p, rows[i].want, "… is for any folder");
    }
}

/* The current folder was removed: no name is made up. */
static void test_no_folder(void)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    char folder[] = "/tmp/uri-XXXXXX";
    bool gone = mkdtemp(folder) != NULL && chdir(folder) == 0
                && rmdir(folder) == 0;
    hsm_rc rc = hsm_uri_with_absolute_pin("pkcs11:?pin-source=file:pin",
                                          &out);

    ok(gone && rc.rv == HSM_E_PIN_SOURCE && out.p == NULL,
       "a folder that is gone: %s", hsm_detail());
    rc = hsm_uri_with_absolute_pin("pkcs11:?pin-source=file:/pin", &out);
    ok(chdir("/") == 0 && hsm_ok(rc), "which no absolute name needs");
}

int main(void)
{
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
    test_absolute_pin();
    test_no_folder();
    return tap_done();
}
