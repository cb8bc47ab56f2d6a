/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lint over rows that are not libcrypto's: hashes and curves say what
 * libcrypto says, settings and results can be told to people. Prints TAP.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include "provider/conf_table.h"
#include "provider/err.h"
#include "src/crypto/hash.h"
#include "src/crypto/mech.h"
#include "src/crypto/mech_table.h"
#include "src/module/quirk.h"
#include "src/object/curve_table.h"
#include "tests/c/tap.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static OSSL_LIB_CTX *libctx;

/* ---- hashes, curves ---- */

/* DigestInfo as libcrypto reads it: the algorithm, and a place for the hash. */
static bool is_digest_info(const struct hsm_hash *h, const EVP_MD *md)
{
    unsigned char der[128] = { 0 };
    const unsigned char *p = der;
    const X509_ALGOR *algorithm;
    const ASN1_OCTET_STRING *digest;
    const ASN1_OBJECT *oid;
    X509_SIG *sig;
    bool good = false;
    int nid = EVP_MD_get_type(md);

    /* libcrypto's DigestInfo with SM3 names the signature. */
    if (nid == NID_sm3) {
        nid = NID_sm3WithRSAEncryption;
    }
    memcpy(der, h->digest_info, h->digest_info_len);
    sig = d2i_X509_SIG(NULL, &p, (long)(h->digest_info_len + h->bytes));
    if (sig != NULL) {
        X509_SIG_get0(sig, &algorithm, &digest);
        X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
        good = OBJ_obj2nid(oid) == nid
               && (size_t)ASN1_STRING_length(digest) == h->bytes
               && p == der + h->digest_info_len + h->bytes;
    }
    X509_SIG_free(sig);
    return good;
}

static void check_hash(EVP_MD *md, void *arg)
{
    const char *name = EVP_MD_get0_name(md);
    const struct hsm_hash *h = hsm_hash_by_name(name);

    if (h == NULL) {
        return;
    }
    ++*(int *)arg;
    is_int((long long)h->bytes, EVP_MD_get_size(md), "%s: size", name);
    ok(h->ckm == CK_UNAVAILABLE_INFORMATION || h->digest_info_len != 0,
       "%s: mechanism", name);
    ok(h->digest_info_len == 0 ? strcmp(name, "MD5-SHA1") == 0
                               : is_digest_info(h, md),
       "%s: DigestInfo", name);
}

static void check_hashes(void)
{
    static const char *const needed[] = {
        "SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512", "SHA3-256",
        "MD5-SHA1", "sha256", "SHA-512"
    };
    size_t i;
    int n = 0;

    for (i = 0; i < N(needed); i++) {
        ok(hsm_hash_by_name(needed[i]) != NULL, "%s: has a row", needed[i]);
    }
    ok(hsm_hash_by_name("SHA2-25") == NULL && hsm_hash_by_name("") == NULL,
       "no hash by half a name");
    EVP_MD_do_all_provided(libctx, check_hash, &n);
    ok(n >= 8, "%d hashes of libcrypto have rows", n);
}

static void check_curve(const struct hsm_curve *c)
{
    char name[64];
    int nid;
    EC_GROUP *group;
    const ASN1_OBJECT *oid;

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(c->names, ":"),
             c->names);
    nid = OBJ_sn2nid(name);
    if (!ok(nid != NID_undef, "%s: libcrypto's short name", name)) {
        return;
    }
    oid = OBJ_nid2obj(nid);
    is_bytes(c->oid, c->oid_len, OBJ_get0_data(oid), OBJ_length(oid),
             "%s: object identifier", name);
    ok(hsm_curve_by_oid(hsm_bytes_of(c->oid, c->oid_len)) == c
       && hsm_curve_by_name(name) == c, "%s: is found", name);
    ERR_set_mark();
    group = EC_GROUP_new_by_curve_name_ex(libctx, NULL, nid);
    ERR_pop_to_mark();
    if (group == NULL) {
        skip("%s: this libcrypto has no such curve", name);
        return;
    }
    is_int(c->bits, EC_GROUP_order_bits(group), "%s: bits", name);
    is_int(c->field_bytes, (EC_GROUP_get_degree(group) + 7) / 8,
           "%s: a coordinate", name);
    is_int(c->order_bytes, (EC_GROUP_order_bits(group) + 7) / 8,
           "%s: r and s", name);
    EC_GROUP_free(group);
}

static void check_curves(void)
{
    size_t i;

    for (i = 0; i < hsm_curve_table_n; i++) {
        check_curve(&hsm_curve_table[i]);
    }
    ok(hsm_curve_by_name("P-256") != NULL
       && hsm_curve_by_name("P-256") == hsm_curve_by_name("prime256v1")
       && hsm_curve_by_name("secp256r1") == hsm_curve_by_name("p-256"),
       "P-256 has three names");
    ok(hsm_curve_by_name("P-25") == NULL, "no curve by half a name");
}

/* ---- settings, results, quirks ---- */

static bool is_among(const char *words, const char *word)
{
    size_t n;

    for (; words != NULL && *words != '\0'; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        if (strlen(word) == n && strncmp(words, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool preset_fits(const struct prov_setting *s)
{
    switch (s->kind) {
    case PROV_SETTING_BOOL:
        return s->preset != NULL
               && (is_among("true false", s->preset)
                   || is_among(s->words, s->preset));
    case PROV_SETTING_CHOICE:
        return s->words != NULL && s->preset != NULL
               && is_among(s->words, s->preset);
    case PROV_SETTING_NUMBER:
        return s->min <= s->max
               && (s->preset == NULL
                   || (strtoul(s->preset, NULL, 10) >= s->min
                       && strtoul(s->preset, NULL, 10) <= s->max));
    case PROV_SETTING_WORDS:
        return s->words != NULL;
    default:
        return s->words == NULL && s->preset == NULL;
    }
}

static bool is_setting(const struct prov_setting *rows, size_t n,
                       const char *name)
{
    size_t i, found = 0;

    for (i = 0; i < n; i++) {
        found += strcmp(rows[i].name, name) == 0 ? 1 : 0;
    }
    return found == 1;
}

static void check_settings(const char *what, const struct prov_setting *rows,
                           size_t n, const struct prov_wrong_name *wrong)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (!ok(rows[i].name != NULL && rows[i].help != NULL
                && strlen(rows[i].help) > 5, "%s %zu: has a row", what, i)) {
            continue;
        }
        ok(is_setting(rows, n, rows[i].name), "%s: once", rows[i].name);
        ok(preset_fits(&rows[i]), "%s: words and default", rows[i].name);
    }
    for (; wrong->wrong != NULL; wrong++) {
        ok(is_setting(rows, n, wrong->right)
           && !is_setting(rows, n, wrong->wrong), "\"%s\" means \"%s\"",
           wrong->wrong, wrong->right);
    }
}

/* An error of each value, as an application sees it. */
static bool is_told(const struct hsm_ckr *row)
{
    unsigned long e;
    const char *reason, *lib;

    ERR_clear_error();
    (void)prov_raise(NULL, row->rv, "words");
    e = ERR_get_error();
    reason = ERR_reason_error_string(e);
    lib = ERR_lib_error_string(e);
    return !ERR_SYSTEM_ERROR(e) && lib != NULL && strcmp(lib, "pkcs11") == 0
           && reason != NULL && strcmp(reason, row->name) == 0
           && ERR_peek_error() == 0;
}

static void check_results(void)
{
    size_t i, k, n;
    const struct hsm_ckr *rows = hsm_ckr_rows(&n);

    prov_err_setup();
    ok(n > 50, "%zu results", n);
    for (i = 0; i < n; i++) {
        bool once = true;

        for (k = 0; k < i; k++) {
            once = once && rows[i].rv != rows[k].rv
                   && strcmp(rows[i].name, rows[k].name) != 0;
        }
        ok(once && rows[i].name[0] != '\0'
           && hsm_ckr_row(rows[i].rv) == &rows[i], "%s: once", rows[i].name);
        ok(is_told(&rows[i]), "%s: is an error's reason", rows[i].name);
    }
    (void)prov_raise(NULL, CKR_VENDOR_DEFINED | 0x7fffffffUL, "words");
    ok(!ERR_SYSTEM_ERROR(ERR_peek_error())
       && ERR_reason_error_string(ERR_peek_error()) != NULL,
       "a vendor's value is no system error");
    ERR_clear_error();
}

static void check_mechanisms(void)
{
    size_t i;

    for (i = 0; i < hsm_mech_table_n; i++) {
        const struct hsm_mech_row *m = &hsm_mech_table[i];
        char unnamed[24];

        ok(strncmp(m->name, "CKM_", 4) == 0
           && (i == 0 || hsm_mech_table[i - 1].type < m->type)
           && hsm_mech_name(m->type, unnamed) == m->name,
           "%s: in its place", m->name);
    }
}

static void check_quirks(void)
{
    CK_INFO info;
    const struct hsm_quirk *any;

    memset(&info, ' ', sizeof(info));
    any = hsm_quirk_of(&info, "/usr/lib/any.so");
    ok(any != NULL && any->name != NULL && any->manufacturer[0] == '\0'
       && any->description[0] == '\0' && any->file[0] == '\0'
       && !any->remote && !any->one_call && !any->lengths_first,
       "a module that nobody knows has no quirk");
    ok(hsm_quirk_of(&info, "/p11-kit-client/any.so") == any,
       "the file's name is asked for, not its folder's");
    ok(hsm_quirk_of(&info, "p11-kit-client.so")->one_call
       && hsm_quirk_of(&info, "/usr/lib/p11-kit-client.so")->remote,
       "p11-kit's client is known by its file");
    memcpy(info.manufacturerID, "PKCS#11 Kit", 11);
    ok(hsm_quirk_of(&info, "/usr/lib/p11-kit-client.so")->one_call
       && !hsm_quirk_of(&info, "/usr/lib/p11-kit-proxy.so")->one_call,
       "p11-kit's proxy is not taken for its client");
    memcpy(info.manufacturerID, "SoftHSM    ", 11);
    ok(hsm_quirk_of(&info, "any.so") != any
       && hsm_quirk_of(&info, "any.so")->login_race
       && hsm_quirk_of(&info, "any.so")->start_race, "SoftHSM is known");
    memcpy(info.manufacturerID, "IBM    ", 7);
    ok(hsm_quirk_of(&info, "any.so")->start_race
       && !hsm_quirk_of(&info, "any.so")->login_race,
       "openCryptoki is known");
}

int main(void)
{
    libctx = OSSL_LIB_CTX_new();
    check_hashes();
    check_curves();
    check_mechanisms();
    check_settings("setting", prov_settings, PROV_SETTINGS, prov_wrong_names);
    check_settings("module's setting", prov_module_settings,
                   PROV_MODULE_SETTINGS, prov_wrong_module_names);
    check_results();
    check_quirks();
    OSSL_LIB_CTX_free(libctx);
    return tap_done();
}
