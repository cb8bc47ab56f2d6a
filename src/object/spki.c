/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/spki.h"

#include <string.h>

#include "src/base/der.h"

/* What differs between key types: one row each. */
struct form {
    CK_KEY_TYPE ckk;
    /* From the algorithm's parameters and the content of the BIT STRING. */
    hsm_rc (*parse)(struct hsm_bytes params, struct hsm_bytes key,
                    struct hsm_public *p);
    /* From attributes; makes the SPKI too. */
    hsm_rc (*gather)(const struct hsm_attrs *as, struct hsm_public *p);
    bool (*same)(const struct hsm_public *a, const struct hsm_public *b);
};

#define MODULUS_BITS_MIN 512u

static const unsigned char der_null[] = { HSM_DER_NULL, 0x00 };
static const unsigned char exponent_f4[] = { 0x01, 0x00, 0x01 };

static hsm_rc bad_spki(const char *what)
{
    return hsm_fail(HSM_E_BAD_DATA, "hsm_public_from_spki",
                    "not a SubjectPublicKeyInfo: %s", what);
}

static hsm_rc no_public(const char *what)
{
    return hsm_fail(HSM_E_NO_PUBLIC, "hsm_public_from_attrs",
                    "the object's attributes give no public key: %s", what);
}

/* SEQUENCE { SEQUENCE { OID, params }, BIT STRING key } [RFC 5280, 4.1] */
static hsm_rc put_spki(const struct hsm_keytype *kt, struct hsm_bytes params,
                       struct hsm_bytes key, struct hsm_buf *out)
{
    hsm_auto(hsm_buf) algorithm = HSM_BUF_INIT;
    hsm_auto(hsm_buf) body = HSM_BUF_INIT;

    TRY(hsm_der_put(&algorithm, HSM_DER_OID,
                    hsm_bytes_of(kt->oid, kt->oid_len)));
    TRY(hsm_buf_append(&algorithm, params.p, params.len));
    TRY(hsm_der_put(&body, HSM_DER_SEQUENCE, hsm_buf_bytes(&algorithm)));
    TRY(hsm_der_put_bits(&body, key));
    return hsm_der_put(out, HSM_DER_SEQUENCE, hsm_buf_bytes(&body));
}

/* ---- RSA ---- */

static unsigned int bits_of(struct hsm_bytes stripped)
{
    unsigned int bits = (unsigned int)stripped.len * 8;

    for (unsigned int top = stripped.p[0]; top < 0x80; top <<= 1) {
        bits--;
    }
    return bits;
}

/* False: one of them is zero. Both may begin with zeros. */
static bool rsa_can_be(struct hsm_bytes modulus, struct hsm_bytes exponent)
{
    return hsm_bytes_strip(modulus).len > 0
        && hsm_bytes_strip(exponent).len > 0;
}

static hsm_rc rsa_set(struct hsm_bytes modulus, struct hsm_bytes exponent,
                      struct hsm_public *p)
{
    struct hsm_bytes n = hsm_bytes_strip(modulus);

    TRY(hsm_buf_set(&p->modulus, n));
    TRY(hsm_buf_set(&p->exponent, hsm_bytes_strip(exponent)));
    p->bits = bits_of(n);
    return HSM_OK;
}

/* NULL or nothing, or the restrictions of id-RSASSA-PSS. */
static bool rsa_params_are_good(struct hsm_bytes params)
{
    struct hsm_bytes in;

    if (params.len == 0 || hsm_der_only(params, HSM_DER_SEQUENCE, &in)) {
        return true;
    }
    return hsm_der_only(params, HSM_DER_NULL, &in) && in.len == 0;
}

/* RSAPublicKey ::= SEQUENCE { modulus, publicExponent } [RFC 8017, A.1.1] */
static hsm_rc rsa_parse(struct hsm_bytes params, struct hsm_bytes key,
                        struct hsm_public *p)
{
    struct hsm_bytes in, n, e;

    if (!rsa_params_are_good(params)) {
        return bad_spki("parameters of an RSA key");
    }
    if (!hsm_der_only(key, HSM_DER_SEQUENCE, &in)
        || !hsm_der_get_uint(&in, &n) || !hsm_der_get_uint(&in, &e)
        || in.len != 0 || !rsa_can_be(n, e)) {
        return bad_spki("numbers of an RSA key");
    }
    return rsa_set(n, e, p);
}

/* The exponent; for a private key that does not tell it, the usual one. */
static bool rsa_exponent(const struct hsm_attrs *as, struct hsm_bytes *out)
{
    CK_ULONG class = 0;

    if (hsm_attrs_get(as, CKA_PUBLIC_EXPONENT, out)) {
        return true;
    }
    if (!hsm_attrs_get_ulong(as, CKA_CLASS, &class)
        || class != CKO_PRIVATE_KEY) {
        return false;
    }
    *out = hsm_bytes_of(exponent_f4, sizeof(exponent_f4));
    return true;
}

/* What tokens tell is no RSA modulus when it is even, or smaller than any that
 * libcrypto makes. */
static bool modulus_can_be(struct hsm_bytes modulus)
{
    struct hsm_bytes n = hsm_bytes_strip(modulus);

    return n.len > 0 && bits_of(n) >= MODULUS_BITS_MIN
        && (n.p[n.len - 1] & 1) != 0;
}

static hsm_rc rsa_gather(const struct hsm_attrs *as, struct hsm_public *p)
{
    hsm_auto(hsm_buf) numbers = HSM_BUF_INIT;
    hsm_auto(hsm_buf) key = HSM_BUF_INIT;
    struct hsm_bytes n, e;

    if (!hsm_attrs_get(as, CKA_MODULUS, &n) || !rsa_exponent(as, &e)
        || !rsa_can_be(n, e) || !modulus_can_be(n)) {
        return no_public("no RSA modulus or exponent");
    }
    TRY(rsa_set(n, e, p));
    TRY(hsm_der_put_uint(&numbers, n));
    TRY(hsm_der_put_uint(&numbers, e));
    TRY(hsm_der_put(&key, HSM_DER_SEQUENCE, hsm_buf_bytes(&numbers)));
    return put_spki(p->kt, hsm_bytes_of(der_null, sizeof(der_null)),
                    hsm_buf_bytes(&key), &p->spki);
}

static bool rsa_same(const struct hsm_public *a, const struct hsm_public *b)
{
    return hsm_bytes_equal(hsm_buf_bytes(&a->modulus),
                           hsm_buf_bytes(&b->modulus))
        && hsm_bytes_equal(hsm_buf_bytes(&a->exponent),
                           hsm_buf_bytes(&b->exponent));
}

/* ---- EC ---- */

static bool point_is_compressed(struct hsm_bytes q)
{
    return q.len > 1 && (q.p[0] == 0x02 || q.p[0] == 0x03);
}

/* Uncompressed, or the hybrid form, which tells the same twice. */
static bool point_is_full(struct hsm_bytes q)
{
    return q.len > 2 && q.len % 2 == 1
        && (q.p[0] == 0x04 || q.p[0] == 0x06 || q.p[0] == 0x07);
}

/* It has the form of a point [SEC 1, 2.3.3], of this curve if it is known. */
static bool point_fits(const struct hsm_curve *curve, struct hsm_bytes q)
{
    if (point_is_compressed(q)) {
        return curve == NULL || q.len == 1 + (size_t)curve->field_bytes;
    }
    return point_is_full(q)
        && (curve == NULL || q.len == 1 + 2 * (size_t)curve->field_bytes);
}

/*
 * CKA_EC_POINT is the DER OCTET STRING of a point, or the bare point. Both may
 * begin with 04, so it is the length that tells, or without a known curve,
 * whether it reads as DER to the last byte.
 */
static bool point_unwrap(const struct hsm_curve *curve,
                         struct hsm_bytes told, struct hsm_bytes *out)
{
    struct hsm_bytes in;

    if (curve != NULL && point_fits(curve, told)) {
        *out = told;
        return true;
    }
    if (hsm_der_only(told, HSM_DER_OCTETS, &in) && point_fits(curve, in)) {
        *out = in;
        return true;
    }
    if (curve == NULL && point_fits(curve, told)) {
        *out = told;
        return true;
    }
    /* tpm2-pkcs11 writes a long length as if it were a short one. */
    in = hsm_bytes_of(told.p + 2, told.len > 2 ? told.len - 2 : 0);
    if (in.len >= 0x80 && told.p[0] == HSM_DER_OCTETS && told.p[1] == in.len
        && point_fits(curve, in)) {
        *out = in;
        return true;
    }
    return false;
}

/* A curve's OID, or explicit parameters. */
static bool params_can_be(struct hsm_bytes params)
{
    struct hsm_bytes in;

    return hsm_der_only(params, HSM_DER_OID, &in)
        || hsm_der_only(params, HSM_DER_SEQUENCE, &in);
}

static hsm_rc ec_set(struct hsm_bytes params, struct hsm_bytes point,
                     struct hsm_public *p)
{
    p->curve = hsm_curve_of_params(params);
    p->bits = p->curve != NULL ? p->curve->bits : 0;
    TRY(hsm_buf_set(&p->params, params));
    return hsm_buf_set(&p->point, point);
}

static hsm_rc ec_parse(struct hsm_bytes params, struct hsm_bytes key,
                       struct hsm_public *p)
{
    if (!params_can_be(params)) {
        return bad_spki("parameters of an EC key");
    }
    if (!point_fits(hsm_curve_of_params(params), key)) {
        return bad_spki("point of an EC key");
    }
    return ec_set(params, key, p);
}

/* ECParameters that name the curve [RFC 5480, 2.1.1]. */
static hsm_rc put_curve(const struct hsm_curve *curve, struct hsm_buf *out)
{
    return hsm_der_put(out, HSM_DER_OID,
                       hsm_bytes_of(curve->oid, curve->oid_len));
}

/* CKA_EC_PARAMS in the form that a SPKI has: a curve's name becomes its OID.
 * Leaves out empty where there are none. */
static hsm_rc ec_params(const struct hsm_attrs *as, struct hsm_buf *out)
{
    const struct hsm_curve *curve;
    struct hsm_bytes told;

    if (!hsm_attrs_get(as, CKA_EC_PARAMS, &told)) {
        return HSM_OK;
    }
    curve = hsm_curve_of_params(told);
    if (curve != NULL) {
        return put_curve(curve, out);
    }
    return params_can_be(told) ? hsm_buf_set(out, told) : HSM_OK;
}

static hsm_rc ec_gather(const struct hsm_attrs *as, struct hsm_public *p)
{
    hsm_auto(hsm_buf) params = HSM_BUF_INIT;
    const struct hsm_curve *curve;
    struct hsm_bytes told, point;

    TRY(ec_params(as, &params));
    if (params.len == 0) {
        return no_public("no curve that is known");
    }
    curve = hsm_curve_of_params(hsm_buf_bytes(&params));
    if (!hsm_attrs_get(as, CKA_EC_POINT, &told)
        || !point_unwrap(curve, told, &point)) {
        return no_public("no point of the curve");
    }
    TRY(ec_set(hsm_buf_bytes(&params), point, p));
    return put_spki(p->kt, hsm_buf_bytes(&params), point, &p->spki);
}

/*
 * Two forms of one point have the same x. That a compressed one could also
 * stand for -Q does not matter: who holds the key of one holds the other's.
 */
static bool point_same(struct hsm_bytes a, struct hsm_bytes b)
{
    bool a_short = point_is_compressed(a);
    struct hsm_bytes shorter = a_short ? a : b;
    struct hsm_bytes longer = a_short ? b : a;

    if (a_short && point_is_compressed(b)) {
        return hsm_bytes_equal(a, b);
    }
    if (!point_is_full(longer)) {
        return false;
    }
    /* Uncompressed and hybrid differ in the first octet only. */
    return longer.len == (point_is_compressed(shorter)
                          ? 2 * shorter.len - 1 : shorter.len)
        && memcmp(longer.p + 1, shorter.p + 1, shorter.len - 1) == 0;
}

static bool ec_same(const struct hsm_public *a, const struct hsm_public *b)
{
    /* A named curve never equals explicit parameters: a generator of the
     * attacker's choice would make the same point another key. */
    if (a->curve != b->curve
        || (a->curve == NULL
            && !hsm_bytes_equal(hsm_buf_bytes(&a->params),
                                hsm_buf_bytes(&b->params)))) {
        return false;
    }
    return point_same(hsm_buf_bytes(&a->point), hsm_buf_bytes(&b->point));
}

/* ---- All types ---- */

static const struct form forms[] = {
    { CKK_RSA, rsa_parse, rsa_gather, rsa_same },
    { CKK_EC, ec_parse, ec_gather, ec_same },
};

/* NULL: no row, also for no key type. */
static const struct form *form_of(const struct hsm_keytype *kt)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (kt != NULL && forms[i].ckk == kt->ckk) {
            return &forms[i];
        }
    }
    return NULL;
}

/* Hands what was built over. */
static void move(struct hsm_public *from, struct hsm_public *to)
{
    hsm_public_clear(to);
    *to = *from;
    *from = (struct hsm_public)HSM_PUBLIC_INIT;
}

void hsm_public_clear(struct hsm_public *p)
{
    hsm_buf_clear(&p->spki);
    hsm_buf_clear(&p->modulus);
    hsm_buf_clear(&p->exponent);
    hsm_buf_clear(&p->params);
    hsm_buf_clear(&p->point);
    *p = (struct hsm_public)HSM_PUBLIC_INIT;
}

hsm_rc hsm_public_from_spki(struct hsm_bytes der, struct hsm_public *out)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;
    struct hsm_bytes body, algorithm, oid, key;
    const struct form *form;

    if (!hsm_der_only(der, HSM_DER_SEQUENCE, &body)
        || !hsm_der_get(&body, HSM_DER_SEQUENCE, &algorithm)
        || !hsm_der_get_bits(&body, &key) || body.len != 0
        || !hsm_der_get(&algorithm, HSM_DER_OID, &oid)) {
        return bad_spki("its structure");
    }
    p.kt = hsm_keytype_by_oid(oid);
    form = form_of(p.kt);
    if (form == NULL) {
        return hsm_fail(CKR_KEY_TYPE_INCONSISTENT, "hsm_public_from_spki",
                        "the algorithm of the public key is not one that "
                        "is served");
    }
    p.pss_only = p.kt->ckk == CKK_RSA
        && !hsm_bytes_equal(oid, hsm_bytes_of(p.kt->oid, p.kt->oid_len));
    TRY(form->parse(algorithm, key, &p));
    TRY(hsm_buf_set(&p.spki, der));
    move(&p, out);
    return HSM_OK;
}

/* CKA_PUBLIC_KEY_INFO, where it is told, good, and of the object's type. */
static bool from_info(const struct hsm_attrs *as, struct hsm_public *p)
{
    CK_ULONG ckk = 0;
    struct hsm_bytes der;

    if (!hsm_attrs_get(as, CKA_PUBLIC_KEY_INFO, &der)) {
        return false;
    }
    if (!hsm_ok(hsm_public_from_spki(der, p))) {
        hsm_detail_clear();
        return false;
    }
    return !hsm_attrs_get_ulong(as, CKA_KEY_TYPE, &ckk)
        || p->kt == hsm_keytype_of(ckk);
}

static hsm_rc from_numbers(const struct hsm_attrs *as, struct hsm_public *p)
{
    const struct form *form;
    CK_ULONG ckk = 0;

    if (!hsm_attrs_get_ulong(as, CKA_KEY_TYPE, &ckk)) {
        return no_public("no key type");
    }
    p->kt = hsm_keytype_of(ckk);
    form = form_of(p->kt);
    if (form == NULL) {
        return no_public("not a key type that is served");
    }
    return form->gather(as, p);
}

hsm_rc hsm_public_from_attrs(const struct hsm_attrs *as,
                             struct hsm_public *out)
{
    hsm_auto(hsm_public) told = HSM_PUBLIC_INIT;
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;

    if (from_info(as, &told)) {
        move(&told, out);
        return HSM_OK;
    }
    TRY(from_numbers(as, &p));
    move(&p, out);
    return HSM_OK;
}

hsm_rc hsm_public_set_curve(struct hsm_public *p,
                            const struct hsm_curve *curve)
{
    hsm_auto(hsm_buf) params = HSM_BUF_INIT;
    hsm_auto(hsm_public) named = { .kt = p->kt };
    struct hsm_bytes point = hsm_buf_bytes(&p->point);

    if (!point_fits(curve, point)) {
        return bad_spki("point of an EC key");
    }
    TRY(put_curve(curve, &params));
    TRY(ec_set(hsm_buf_bytes(&params), point, &named));
    TRY(put_spki(p->kt, hsm_buf_bytes(&params), point, &named.spki));
    move(&named, p);
    return HSM_OK;
}

bool hsm_public_equal(const struct hsm_public *a, const struct hsm_public *b)
{
    const struct form *form = form_of(a->kt);

    return form != NULL && a->kt == b->kt && form->same(a, b);
}

hsm_rc hsm_public_copy(const struct hsm_public *src, struct hsm_public *out)
{
    hsm_auto(hsm_public) p = HSM_PUBLIC_INIT;

    TRY(hsm_buf_set(&p.spki, hsm_buf_bytes(&src->spki)));
    TRY(hsm_buf_set(&p.modulus, hsm_buf_bytes(&src->modulus)));
    TRY(hsm_buf_set(&p.exponent, hsm_buf_bytes(&src->exponent)));
    TRY(hsm_buf_set(&p.params, hsm_buf_bytes(&src->params)));
    TRY(hsm_buf_set(&p.point, hsm_buf_bytes(&src->point)));
    p.kt = src->kt;
    p.curve = src->curve;
    p.bits = src->bits;
    p.pss_only = src->pss_only;
    move(&p, out);
    return HSM_OK;
}
