/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read from an X.509 certificate [RFC 5280]: where its public key is,
 * and its names. Nothing is verified.
 */
#ifndef HSM_OBJECT_CERT_H
#define HSM_OBJECT_CERT_H

#include "src/base/buf.h"

/* Views into the certificate. */
struct hsm_cert_view {
    struct hsm_bytes serial;    /* DER INTEGER, whole */
    struct hsm_bytes issuer;    /* DER Name, whole */
    struct hsm_bytes subject;   /* DER Name, whole */
    struct hsm_bytes spki;      /* DER SubjectPublicKeyInfo, whole */
    bool is_ca;                 /* basicConstraints says so */
    struct hsm_bytes key_id;    /* subjectKeyIdentifier; empty: none */
    struct hsm_bytes issuer_key_id;         /* authorityKeyIdentifier's */
};

/* HSM_E_BAD_DATA when it is not one. */
HSM_CHECKED hsm_rc hsm_cert_read(struct hsm_bytes der,
                                 struct hsm_cert_view *out);

#endif
