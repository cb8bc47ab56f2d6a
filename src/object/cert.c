/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/cert.h"

#include "src/base/der.h"

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
    return hsm_der_get_whole(&tbs, HSM_DER_INTEGER, &v->serial)
        && hsm_der_get(&tbs, HSM_DER_SEQUENCE, &skipped)
        && hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->issuer)
        && hsm_der_get(&tbs, HSM_DER_SEQUENCE, &skipped)
        && hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->subject)
        && hsm_der_get_whole(&tbs, HSM_DER_SEQUENCE, &v->spki);
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
