/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/cert.h"

#include "src/base/der.h"

#define EXTENSIONS HSM_DER_CONTEXT(3)
#define KEY_IDENTIFIER 0x80u    /* [0] IMPLICIT, primitive */

/* [RFC 5280, 4.2.1] id-ce, and what is in the extension's value. */
static const unsigned char oid_key_id[] = { 0x55, 0x1d, 0x0e };
static const unsigned char oid_constraints[] = { 0x55, 0x1d, 0x13 };
static const unsigned char oid_issuer_key_id[] = { 0x55, 0x1d, 0x23 };

static bool is_oid(struct hsm_bytes oid, const unsigned char (*want)[3])
{
    return hsm_bytes_equal(oid, hsm_bytes_of(*want, sizeof(*want)));
}

/* Extension ::= SEQUENCE { OID, critical BOOLEAN OPTIONAL, OCTET STRING } */
static bool next_extension(struct hsm_bytes *list, struct hsm_bytes *oid,
                           struct hsm_bytes *value)
{
    struct hsm_bytes one, skipped;

    if (!hsm_der_get(list, HSM_DER_SEQUENCE, &one)
        || !hsm_der_get(&one, HSM_DER_OID, oid)) {
        return false;
    }
    if (hsm_der_peek(one, HSM_DER_BOOLEAN)) {
        (void)hsm_der_get(&one, HSM_DER_BOOLEAN, &skipped);
    }
    return hsm_der_get(&one, HSM_DER_OCTETS, value);
}

/* One that is broken, or of no interest here, says nothing. */
static void read_extension(struct hsm_bytes oid, struct hsm_bytes value,
                           struct hsm_cert_view *v)
{
    struct hsm_bytes in, part;

    if (is_oid(oid, &oid_key_id)
        && hsm_der_only(value, HSM_DER_OCTETS, &part)) {
        v->key_id = part;
    } else if (is_oid(oid, &oid_issuer_key_id)
               && hsm_der_only(value, HSM_DER_SEQUENCE, &in)
               && hsm_der_get(&in, KEY_IDENTIFIER, &part)) {
        v->issuer_key_id = part;
    } else if (is_oid(oid, &oid_constraints)
               && hsm_der_only(value, HSM_DER_SEQUENCE, &in)
               && hsm_der_get(&in, HSM_DER_BOOLEAN, &part)) {
        v->is_ca = part.len == 1 && part.p[0] != 0;
    }
}

/* What follows the public key: unique identifiers, extensions. */
static void read_extensions(struct hsm_bytes tbs, struct hsm_cert_view *v)
{
    struct hsm_bytes content, list, whole, oid, value;
    unsigned int tag = 0;

    while (tag != EXTENSIONS && hsm_der_next(&tbs, &tag, &content, &whole)) {
    }
    if (tag != EXTENSIONS || !hsm_der_only(content, HSM_DER_SEQUENCE, &list)) {
        return;
    }
    while (next_extension(&list, &oid, &value)) {
        read_extension(oid, value, v);
    }
}

/*
 * TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature,
 * issuer, validity, subject, subjectPublicKeyInfo, ... } [RFC 5280, 4.1]
 */
static bool read_tbs(struct hsm_bytes tbs, struct hsm_cert_view *v)
{
    struct hsm_bytes skipped;

    if (hsm_der_peek(tbs, HSM_DER_CONTEXT(0))
        && !hsm_der_get(&tbs, HSM_DER_CONTEXT(0), &skipped)) {
        return false;
    }
    if (!hsm_der_get_whole(&tbs, HSM_DER_INTEGER, &v->serial)
        || !hsm_der_get(&tbs, HSM_DER_SEQUENCE, &skipped)
        || !hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->issuer)
        || !hsm_der_get(&tbs, HSM_DER_SEQUENCE, &skipped)
        || !hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->subject)
        || !hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->spki)) {
        return false;
    }
    read_extensions(tbs, v);
    return true;
}

hsm_rc hsm_cert_read(struct hsm_bytes der, struct hsm_cert_view *out)
{
    struct hsm_cert_view v = { .serial = { NULL, 0 } };
    struct hsm_bytes cert, tbs, algorithm, signature;

    if (!hsm_der_only(der, HSM_DER_SEQUENCE, &cert)
        || !hsm_der_get(&cert, HSM_DER_SEQUENCE, &tbs)
        || !hsm_der_get(&cert, HSM_DER_SEQUENCE, &algorithm)
        || !hsm_der_get(&cert, HSM_DER_BIT_STRING, &signature)
        || cert.len != 0 || !read_tbs(tbs, &v)) {
        return hsm_fail(HSM_E_BAD_DATA, "hsm_cert_read",
                        "these %zu bytes are not an X.509 certificate",
                        der.len);
    }
    *out = v;
    return HSM_OK;
}
