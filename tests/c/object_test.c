/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, certificates, and the rows of key types and curves. */
#include <string.h>

#include "src/base/der.h"
#include "src/object/cert.h"
#include "src/object/curve_table.h"
#include "src/object/spki.h"
#include "tests/c/object_data.h"
#include "tests/c/tap.h"

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))
#define is_num(got, want, ...) \
    is_int((long long)(got), (long long)(want), __VA_ARGS__)
#define BYTES_OF(array) hsm_bytes_of(array, sizeof(array))

/* ---- Public keys ---- */

/* Where the numbers are in an SPKI, found by openssl asn1parse. */
static const struct key_case {
    const char *name;
    struct hsm_bytes spki;
    CK_KEY_TYPE ckk;
    const char *curve;
    size_t first, first_len;    /* modulus, or parameters */
    size_t second, second_len;  /* exponent, or point */
    unsigned int bits;
    bool plain;                 /* attributes give the same SPKI */
} keys[] = {
    { "RSA 2048", { spki_rsa2048, sizeof(spki_rsa2048) }, CKK_RSA,
      NULL, 33, 256, 291, 3, 2048, true },
    { "RSA 1031", { spki_rsa1031, sizeof(spki_rsa1031) }, CKK_RSA,
      NULL, 28, 129, 159, 3, 1031, true },
    { "RSA-PSS", { spki_rsapss, sizeof(spki_rsapss) }, CKK_RSA,
      NULL, 51, 128, 181, 3, 1024, false },
    { "P-256", { spki_p256, sizeof(spki_p256) }, CKK_EC,
      "P-256", 13, 10, 26, 65, 256, true },
    { "P-256 compressed", { spki_p256_compressed,
                            sizeof(spki_p256_compressed) },
      CKK_EC, "secp256r1", 13, 10, 26, 33, 256, true },
    { "P-521", { spki_p521, sizeof(spki_p521) }, CKK_EC,
      "secp521r1", 14, 7, 25, 133, 521, true },
    { "sect283k1", { spki_sect283k1, sizeof(spki_sect283k1) }, CKK_EC,
      "K-283", 13, 7, 23, 73, 281, true },
    { "explicit", { spki_explicit, sizeof(spki_explicit) }, CKK_EC,
      NULL, 17, 250, 270, 65, 0, true },
};

static struct hsm_bytes part(const struct key_case *k, size_t at, size_t len)
{
    return hsm_bytes_of(k->spki.p + at, len);
}

static void key_from_spki(const struct key_case *k)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) copy = HSM_PUBLIC_INIT;
    bool rsa = k->ckk == CKK_RSA;

    is_num(hsm_public_from_spki(k->spki, &p).rv, CKR_OK, "%s is read",
           k->name);
    ok(p.kt != NULL && p.kt->ckk == k->ckk, "%s: type", k->name);
    is_num(p.bits, k->bits, "%s: bits", k->name);
    ok(hsm_bytes_equal(hsm_buf_bytes(&p.spki), k->spki), "%s: SPKI kept",
       k->name);
    ok(hsm_bytes_equal(hsm_buf_bytes(rsa ? &p.modulus : &p.params),
                       part(k, k->first, k->first_len))
       && hsm_bytes_equal(hsm_buf_bytes(rsa ? &p.exponent : &p.point),
                          part(k, k->second, k->second_len)),
       "%s: numbers", k->name);
    ok(p.curve == (k->curve != NULL ? hsm_curve_by_name(k->curve) : NULL),
       "%s: curve", k->name);
    ok(hsm_ok(hsm_public_copy(&p, &copy)) && hsm_public_equal(&p, &copy)
       && copy.spki.p != p.spki.p && copy.bits == p.bits,
       "%s: a copy is equal", k->name);
    hsm_public_clear(&p);
    ok(p.kt == NULL && !hsm_public_equal(&p, &copy)
       && !hsm_public_equal(&p, &p), "%s: nothing equals nothing", k->name);
}

static void key_cut_short(const struct key_case *k)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_buf) b = HSM_BUF_INIT;
    size_t refused = 0;

    while (refused < k->spki.len
           && hsm_public_from_spki(part(k, 0, refused), &p).rv
              == HSM_E_BAD_DATA) {
        refused++;
    }
    is_num(refused, k->spki.len, "%s: every shorter one is refused",
           k->name);
    ok(hsm_ok(hsm_buf_set(&b, k->spki)) && hsm_ok(hsm_buf_append(&b, "", 1))
       && hsm_public_from_spki(hsm_buf_bytes(&b), &p).rv == HSM_E_BAD_DATA,
       "%s: a longer one is refused", k->name);
    ok(p.kt == NULL && p.spki.p == NULL, "%s: nothing came out", k->name);
}

/* A key's attributes; point: as it is told. */
static bool describe(const struct key_case *k, struct hsm_bytes point,
                     struct hsm_attrs *as)
{
    bool rsa = k->ckk == CKK_RSA;

    return hsm_ok(hsm_attrs_add_ulong(as, CKA_CLASS, CKO_PRIVATE_KEY))
        && hsm_ok(hsm_attrs_add_ulong(as, CKA_KEY_TYPE, k->ckk))
        && hsm_ok(hsm_attrs_add(as, rsa ? CKA_MODULUS : CKA_EC_PARAMS,
                                part(k, k->first, k->first_len)))
        && hsm_ok(hsm_attrs_add(as, rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT,
                                point));
}

static void gives(const struct key_case *k, const struct hsm_attrs *as,
                  const char *how)
{
    hsm_auto(hsm_public) want = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;

    is_num(hsm_public_from_attrs(as, &p).rv, CKR_OK, "%s from %s", k->name,
           how);
    ok(hsm_bytes_equal(hsm_buf_bytes(&p.spki), k->spki),
       "%s from %s: the SPKI is what openssl writes", k->name, how);
    ok(hsm_ok(hsm_public_from_spki(k->spki, &want))
       && hsm_public_equal(&want, &p) && want.bits == p.bits,
       "%s from %s: the same key", k->name, how);
}

static void key_from_attrs(const struct key_case *k)
{
    struct hsm_bytes second = part(k, k->second, k->second_len);
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    hsm_auto(hsm_buf) wrapped = HSM_BUF_INIT;
    hsm_auto(hsm_buf) padded = HSM_BUF_INIT;

    ok(describe(k, second, &as), "%s described", k->name);
    gives(k, &as, "attributes");
    if (k->ckk == CKK_EC) {
        ok(hsm_ok(hsm_der_put(&wrapped, HSM_DER_OCTETS, second))
           && hsm_ok(hsm_attrs_add(&as, CKA_EC_POINT,
                                   hsm_buf_bytes(&wrapped))), "wrapped");
        gives(k, &as, "a wrapped point");
        return;
    }
    ok(hsm_ok(hsm_buf_append(&padded, "\0\0", 2))
       && hsm_ok(hsm_buf_append(&padded, k->spki.p + k->first,
                                k->first_len))
       && hsm_ok(hsm_attrs_add(&as, CKA_MODULUS, hsm_buf_bytes(&padded))),
       "padded");
    gives(k, &as, "a modulus with leading zeros");
    ok(hsm_ok(hsm_attrs_add(&as, CKA_PUBLIC_EXPONENT,
                            hsm_bytes_of(NULL, 0))), "no exponent");
    gives(k, &as, "a private key without exponent");
}

static void key_from_info(void)
{
    const struct key_case *pss = &keys[2], *p256 = &keys[3];
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;

    ok(hsm_ok(hsm_attrs_add(&as, CKA_PUBLIC_KEY_INFO, pss->spki)), "info");
    gives(pss, &as, "CKA_PUBLIC_KEY_INFO alone");
    ok(describe(p256, part(p256, 26, 65), &as), "of another type");
    gives(p256, &as, "attributes beside another key's info");
    ok(hsm_ok(hsm_attrs_add(&as, CKA_PUBLIC_KEY_INFO,
                            hsm_bytes_of("0", 1))), "broken info");
    gives(p256, &as, "attributes beside broken info");
    is_num(hsm_detail()[0], 0, "and no words about it are left");
}

static void key_by_curve_name(void)
{
    static const char printable[] = "\x13\x09secp256r1";
    static const char unknown[] = "\x13\x09secp999r1";
    const struct key_case *k = &keys[3];
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;

    ok(describe(k, part(k, 26, 65), &as)
       && hsm_ok(hsm_attrs_add(&as, CKA_EC_PARAMS,
                               hsm_bytes_of(printable, 11))), "named");
    gives(k, &as, "a PrintableString");
    ok(hsm_ok(hsm_attrs_add(&as, CKA_EC_PARAMS,
                            hsm_bytes_of(unknown, 11))), "unknown name");
    is_num(hsm_public_from_attrs(&as, &p).rv, HSM_E_NO_PUBLIC,
           "a curve's name that nobody knows");
}

/* Attributes that do not make a key: what is taken from a good one. */
static const struct lack_case {
    const char *name;
    size_t key;
    CK_ATTRIBUTE_TYPE type;
    struct hsm_bytes value;
} lacks[] = {
    { "no modulus", 0, CKA_MODULUS, { NULL, 0 } },
    { "modulus 0", 0, CKA_MODULUS, { (const unsigned char *)"\0\0", 2 } },
    { "a modulus of 16 bits", 0, CKA_MODULUS,
      { (const unsigned char *)"\xff\xff", 2 } },
    { "exponent 0", 0, CKA_PUBLIC_EXPONENT,
      { (const unsigned char *)"", 1 } },
    { "no key type", 0, CKA_KEY_TYPE, { NULL, 0 } },
    { "no curve", 3, CKA_EC_PARAMS, { NULL, 0 } },
    { "NULL as curve", 3, CKA_EC_PARAMS,
      { (const unsigned char *)"\x05\0", 2 } },
    { "no point", 3, CKA_EC_POINT, { NULL, 0 } },
    { "infinity", 3, CKA_EC_POINT, { (const unsigned char *)"", 1 } },
    { "another curve's point", 3, CKA_EC_POINT, { spki_p521 + 25, 133 } },
    { "another curve", 3, CKA_EC_PARAMS, { spki_p521 + 14, 7 } },
};

static void key_lacks(const struct lack_case *c)
{
    const struct key_case *k = &keys[c->key];
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;

    ok(describe(k, part(k, k->second, k->second_len), &as)
       && hsm_ok(hsm_attrs_add(&as, c->type, c->value)), "%s", c->name);
    is_num(hsm_public_from_attrs(&as, &p).rv, HSM_E_NO_PUBLIC,
           "%s: no public key", c->name);
    ok(p.kt == NULL && hsm_detail()[0] != '\0', "%s: but words", c->name);
}

static void keys_compared(void)
{
    static const unsigned char e3[] = { 3 };
    struct hsm_public p[N_OF(keys)];
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    hsm_auto(hsm_public) other = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) hybrid = HSM_PUBLIC_INIT;
    unsigned char h[65];
    size_t same = 0;

    memset(p, 0, sizeof(p));
    for (size_t i = 0; i < N_OF(keys); i++) {
        hsm_rc rc = hsm_public_from_spki(keys[i].spki, &p[i]);

        same += hsm_ok(rc) ? 0 : 100;
    }
    for (size_t i = 0; i < N_OF(keys) * N_OF(keys); i++) {
        same += hsm_public_equal(&p[i / N_OF(keys)], &p[i % N_OF(keys)]);
    }
    is_num(same, N_OF(keys) + 2, "each equals itself alone, and P-256 its "
           "compressed form");
    memcpy(h, spki_p256 + 26, sizeof(h));
    h[0] = 0x06 | (h[64] & 1);
    ok(describe(&keys[3], BYTES_OF(h), &as)
       && hsm_ok(hsm_public_from_attrs(&as, &hybrid))
       && hsm_public_equal(&hybrid, &p[3])
       && hsm_public_equal(&p[4], &hybrid), "the hybrid form is the same");
    hsm_attrs_clear(&as);
    ok(describe(&keys[0], BYTES_OF(e3), &as)
       && hsm_ok(hsm_public_from_attrs(&as, &other))
       && !hsm_public_equal(&other, &p[0]), "another exponent, another key");
    for (size_t i = 0; i < N_OF(keys); i++) {
        hsm_public_clear(&p[i]);
    }
}

static void keys_refused(void)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;

    is_num(hsm_public_from_spki(BYTES_OF(spki_ed25519), &p).rv,
           CKR_KEY_TYPE_INCONSISTENT, "a type without a row");
    ok(hsm_ok(hsm_attrs_add_ulong(&as, CKA_CLASS, CKO_PUBLIC_KEY))
       && hsm_ok(hsm_attrs_add_ulong(&as, CKA_KEY_TYPE, CKK_RSA))
       && hsm_ok(hsm_attrs_add(&as, CKA_MODULUS,
                               part(&keys[0], 33, 256))), "public");
    is_num(hsm_public_from_attrs(&as, &p).rv, HSM_E_NO_PUBLIC,
           "a public key without exponent is none");
    ok(hsm_ok(hsm_attrs_add_ulong(&as, CKA_KEY_TYPE, CKK_DSA)), "DSA");
    is_num(hsm_public_from_attrs(&as, &p).rv, HSM_E_NO_PUBLIC,
           "nor is one of a type without a row");
    ok(p.kt == NULL, "nothing came out");
}

/* ---- Certificates ---- */

static void certificate(struct hsm_bytes der, const char *name, size_t serial,
                        size_t issuer, size_t subject)
{
    struct hsm_cert_view v = { .serial = { NULL, 0 } };
    size_t refused = 0;

    is_num(hsm_cert_read(der, &v).rv, CKR_OK, "%s is read", name);
    ok(v.serial.p == der.p + serial && v.issuer.p == der.p + issuer
       && v.subject.p == der.p + subject, "%s: its parts", name);
    ok(hsm_bytes_equal(v.issuer, v.subject), "%s: self-issued", name);
    ok(hsm_bytes_equal(v.spki, BYTES_OF(spki_p256)), "%s: its key", name);
    while (refused < der.len
           && hsm_cert_read(hsm_bytes_of(der.p, refused), &v).rv
              == HSM_E_BAD_DATA) {
        refused++;
    }
    is_num(refused, der.len, "%s: every shorter one is refused", name);
    is_num(hsm_cert_read(hsm_bytes_of(der.p + 4, der.len - 4), &v).rv,
           HSM_E_BAD_DATA, "%s: its inside is none", name);
}

/* ---- Curves ---- */

static void curve_rows(void)
{
    size_t good = 0;

    for (size_t i = 0; i < hsm_curve_table_n; i++) {
        const struct hsm_curve *c = &hsm_curve_table[i];
        struct hsm_bytes oid = hsm_bytes_of(c->oid, c->oid_len);
        char name[64] = "";

        (void)sscanf(c->names, "%63[^:]", name);
        good += hsm_curve_by_oid(oid) == c && hsm_curve_by_name(name) == c
            && c->order_bytes == (c->bits + 7) / 8
            && c->order_bytes <= c->field_bytes + 1;
    }
    is_num(good, hsm_curve_table_n, "curves are found by name and OID");
    ok(hsm_curve_by_name("p-256") == hsm_curve_by_name("prime256v1")
       && hsm_curve_by_name("P-256") == hsm_curve_by_name("SECP256R1")
       && hsm_curve_by_name("P-256") != NULL, "by any name, in any case");
    ok(hsm_curve_by_name("") == NULL && hsm_curve_by_name("P-25") == NULL
       && hsm_curve_by_name("P-256:secp256r1") == NULL,
       "but not by a part of one");
    is_num(hsm_curve_by_name("secp521r1")->order_bytes, 66, "P-521: order");
    is_num(hsm_curve_by_name("secp224k1")->bits, 225, "secp224k1: order");
    is_num(hsm_curve_by_name("secp224k1")->field_bytes, 28, "and field");
    ok(hsm_keytype_by_name("rsa") == hsm_keytype_of(CKK_RSA)
       && hsm_keytype_by_name("EC") == hsm_keytype_of(CKK_EC)
       && hsm_keytype_of(CKK_DSA) == NULL
       && hsm_keytype_by_name("RSA-PSS") == NULL, "key types by name");
}

static void public_keys(void)
{
    for (size_t i = 0; i < N_OF(keys); i++) {
        key_from_spki(&keys[i]);
        key_cut_short(&keys[i]);
        if (keys[i].plain) {
            key_from_attrs(&keys[i]);
        }
    }
    key_from_info();
    key_by_curve_name();
    for (size_t i = 0; i < N_OF(lacks); i++) {
        key_lacks(&lacks[i]);
    }
    keys_compared();
    keys_refused();
}

/* Explicit parameters that somebody knows as a curve's. */
static void curve_is_set(void)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) want = HSM_PUBLIC_INIT;
    const struct hsm_curve *p256 = hsm_curve_by_name("P-256");
    hsm_rc rc = hsm_public_from_spki(BYTES_OF(spki_explicit), &p);

    ok(hsm_ok(rc) && p.curve == NULL, "explicit parameters are no curve yet");
    is_num(hsm_public_set_curve(&p, hsm_curve_by_name("P-384")).rv,
           HSM_E_BAD_DATA, "a curve of another size is refused");
    ok(p.curve == NULL && hsm_bytes_equal(hsm_buf_bytes(&p.spki),
                                          BYTES_OF(spki_explicit)),
       "and nothing is changed");
    is_num(hsm_public_set_curve(&p, p256).rv, CKR_OK, "P-256 it is");
    is_num(hsm_public_from_spki(hsm_buf_bytes(&p.spki), &want).rv, CKR_OK,
           "it can be read again");
    ok(p.curve == p256 && want.curve == p256 && p.bits == 256
       && p.kt == want.kt && hsm_public_equal(&p, &want),
       "and is the same key on P-256");
}

int main(void)
{
    public_keys();
    certificate(BYTES_OF(cert_v3), "v3 certificate", 13, 32, 98);
    certificate(BYTES_OF(cert_v1), "v1 certificate", 7, 22, 74);
    curve_rows();
    curve_is_set();
    return tap_done();
}
