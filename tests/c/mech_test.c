/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of hashes and mechanisms. */
#include <string.h>

#include "src/crypto/hash.h"
#include "src/crypto/mech.h"
#include "src/crypto/mech_table.h"
#include "tests/c/tap.h"

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))
#define is_num(got, want, ...) \
    is_int((long long)(got), (long long)(want), __VA_ARGS__)

/* As recovered from signatures that openssl dgst -sign made. */
static const struct hash_case {
    const char *names;
    size_t bytes;
    const char *info;
} hash_cases[] = {
    { "MD5 1.2.840.113549.2.5", 16,
      "3020300c06082a864886f70d020505000410" },
    { "MD5-SHA1", 36, "" },
    { "SHA1 SHA-1 sha1 1.3.14.3.2.26", 20, "3021300906052b0e03021a05000414" },
    { "SHA2-224 SHA224 SHA-224", 28,
      "302d300d06096086480165030402040500041c" },
    { "SHA2-256 SHA256 sha-256 2.16.840.1.101.3.4.2.1", 32,
      "3031300d060960864801650304020105000420" },
    { "SHA2-384 SHA384 SHA-384", 48,
      "3041300d060960864801650304020205000430" },
    { "SHA2-512 SHA512 SHA-512", 64,
      "3051300d060960864801650304020305000440" },
    { "SHA2-512/224 SHA512-224", 28,
      "302d300d06096086480165030402050500041c" },
    { "SHA2-512/256 SHA512-256", 32,
      "3031300d060960864801650304020605000420" },
    { "SHA3-224", 28, "302d300d06096086480165030402070500041c" },
    { "SHA3-256", 32, "3031300d060960864801650304020805000420" },
    { "SHA3-384", 48, "3041300d060960864801650304020905000430" },
    { "SHA3-512", 64, "3051300d060960864801650304020a05000440" },
    { "RIPEMD-160 RIPEMD160 RMD160", 20, "3021300906052b2403020105000414" },
    { "SM3 1.2.156.10197.1.401", 32,    /* by openssl 3.5 dgst -sm3 -sign */
      "3030300c06082a811ccf5501837805000420" },
};

static void hash_row(const struct hash_case *c)
{
    char names[128];
    char hex[64] = "";
    char *rest = NULL;
    const struct hsm_hash *h;

    (void)snprintf(names, sizeof(names), "%s", c->names);
    h = hsm_hash_by_name(strtok_r(names, " ", &rest));
    ok(h != NULL, "%s is known", c->names);
    if (h == NULL) {
        return;
    }
    for (char *n; (n = strtok_r(NULL, " ", &rest)) != NULL; ) {
        ok(hsm_hash_by_name(n) == h, "also as %s", n);
    }
    is_num(h->bytes, c->bytes, "%s: bytes", names);
    for (size_t i = 0; i < h->digest_info_len && i < 31; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", h->digest_info[i]);
    }
    ok(strcmp(hex, c->info) == 0, "%s: DigestInfo %s", names, hex);
    ok(h->mgf == 0 || h->ckm != CK_UNAVAILABLE_INFORMATION,
       "%s: a mask generation function needs a mechanism", names);
}

static void mechanisms(void)
{
    struct hsm_mech pss = hsm_mech_pss(CKM_RSA_PKCS_PSS, CKM_SHA256,
                                       CKG_MGF1_SHA256, 32);
    struct hsm_mech plain = hsm_mech_plain(CKM_ECDSA);
    struct hsm_mech oaep, copy;
    unsigned char label[HSM_MECH_LABEL_MAX + 1] = { 'l', 'a' };
    size_t rising = 1;
    char buf[24];
    CK_MECHANISM m;

    while (rising < hsm_mech_table_n
           && hsm_mech_table[rising - 1].type < hsm_mech_table[rising].type) {
        rising++;
    }
    is_num(rising, hsm_mech_table_n, "names of mechanisms are in order");
    ok(strcmp(hsm_mech_name(CKM_RSA_PKCS_PSS, buf), "CKM_RSA_PKCS_PSS") == 0
       && strcmp(hsm_mech_name(0, buf), "CKM_RSA_PKCS_KEY_PAIR_GEN") == 0
       && strcmp(hsm_mech_name(CKM_ECDSA_SHA3_512, buf),
                 "CKM_ECDSA_SHA3_512") == 0
       && strcmp(hsm_mech_name(0x80000001UL, buf), "0x80000001") == 0
       && strcmp(hsm_mech_name(~0UL, buf), "0xffffffffffffffff") == 0,
       "a mechanism's name, or its number");
    hsm_mech_native(&pss, &m);
    ok(m.mechanism == CKM_RSA_PKCS_PSS && m.pParameter == &pss.u.pss
       && m.ulParameterLen == sizeof(CK_RSA_PKCS_PSS_PARAMS)
       && pss.u.pss.hashAlg == CKM_SHA256 && pss.u.pss.sLen == 32
       && pss.u.pss.mgf == CKG_MGF1_SHA256, "PSS has parameters");
    hsm_mech_native(&plain, &m);
    ok(m.mechanism == CKM_ECDSA && m.pParameter == NULL
       && m.ulParameterLen == 0, "ECDSA has none");
    ok(hsm_ok(hsm_mech_oaep(CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA1,
                            hsm_bytes_of(label, HSM_MECH_LABEL_MAX), &oaep)),
       "OAEP with the longest label");
    copy = oaep;
    memset(label, 'x', sizeof(label));
    memset(&oaep, 'x', sizeof(oaep));
    hsm_mech_native(&copy, &m);
    ok(m.mechanism == CKM_RSA_PKCS_OAEP && m.pParameter == &copy.u.oaep.native
       && m.ulParameterLen == sizeof(CK_RSA_PKCS_OAEP_PARAMS)
       && copy.u.oaep.native.hashAlg == CKM_SHA256
       && copy.u.oaep.native.mgf == CKG_MGF1_SHA1
       && copy.u.oaep.native.source == CKZ_DATA_SPECIFIED
       && copy.u.oaep.native.ulSourceDataLen == HSM_MECH_LABEL_MAX
       && copy.u.oaep.native.pSourceData == copy.u.oaep.label
       && memcmp(copy.u.oaep.label, "la", 3) == 0,
       "a copy carries its own label");
    ok(!hsm_ok(hsm_mech_oaep(CKM_RSA_PKCS_OAEP, CKM_SHA256, CKG_MGF1_SHA1,
                             hsm_bytes_of(label, sizeof(label)), &oaep)),
       "a longer one is refused");
    ok(hsm_ok(hsm_mech_oaep(CKM_RSA_PKCS_OAEP, CKM_SHA_1, CKG_MGF1_SHA1,
                            hsm_bytes_of(NULL, 0), &oaep)), "no label");
    hsm_mech_native(&oaep, &m);
    ok(oaep.u.oaep.native.pSourceData == NULL
       && oaep.u.oaep.native.ulSourceDataLen == 0
       && oaep.u.oaep.native.source == CKZ_DATA_SPECIFIED,
       "is no pointer, and a source that is named all the same");
}

static void names(void)
{
    static const struct {
        const char *text;
        bool good;
        CK_MECHANISM_TYPE type;
    } rows[] = {
        { "CKM_RSA_PKCS", true, CKM_RSA_PKCS },
        { "ckm_rsa_pkcs_pss", true, CKM_RSA_PKCS_PSS },
        { "ECDSA", true, CKM_ECDSA },
        { "0x1041", true, 0x1041 },
        { "13", true, CKM_RSA_PKCS_PSS },
        { "0x80001234", true, 0x80001234UL },
        { "", false, 0 },
        { "CKM_", false, 0 },
        { "CKM_CKM_ECDSA", false, 0 },
        { "RSA_PKC", false, 0 },
        { "0x", false, 0 },
        { "12x", false, 0 },
        { "-1", false, 0 },
        { "99999999999999999999", false, 0 },
        { "000000000000000000000000001", false, 0 },
    };

    for (size_t i = 0; i < N_OF(rows); i++) {
        CK_MECHANISM_TYPE type = 77;
        size_t len = strlen(rows[i].text);
        bool good = hsm_mech_by_name(rows[i].text, len, &type);

        ok(good == rows[i].good && type == (good ? rows[i].type : 77),
           "mechanism \"%s\"", rows[i].text);
    }
}

int main(void)
{
    for (size_t i = 0; i < N_OF(hash_cases); i++) {
        hash_row(&hash_cases[i]);
    }
    mechanisms();
    names();
    return tap_done();
}
