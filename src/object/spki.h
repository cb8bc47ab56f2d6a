/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public keys: SubjectPublicKeyInfo [RFC 5280] on one side, attributes of
 * Cryptoki on the other, in one structure that owns its bytes. One that
 * receives a key must have been initialised; what it held is dropped.
 */
#ifndef HSM_OBJECT_SPKI_H
#define HSM_OBJECT_SPKI_H

#include "src/object/attr.h"
#include "src/object/keytype.h"

struct hsm_public {
    const struct hsm_keytype *kt;           /* NULL: nothing known */
    struct hsm_buf spki;        /* DER, whole */
    struct hsm_buf modulus;     /* RSA: no leading zeros */
    struct hsm_buf exponent;    /* RSA: no leading zeros */
    struct hsm_buf params;      /* EC: CKA_EC_PARAMS, DER */
    struct hsm_buf point;       /* EC: the point itself, not wrapped */
    const struct hsm_curve *curve;          /* EC, NULL: not a named one */
    unsigned int bits;          /* of the modulus, or of the curve's order */
    bool pss_only;              /* RSA: published as id-RSASSA-PSS */
};

#define HSM_PUBLIC_INIT { .kt = NULL }

void hsm_public_clear(struct hsm_public *p);
/* Parses a SubjectPublicKeyInfo. HSM_E_BAD_DATA, or CKR_KEY_TYPE_INCONSISTENT
 * for a type that has no row. id-RSASSA-PSS is RSA; its parameters stay in
 * spki. */
HSM_CHECKED hsm_rc hsm_public_from_spki(struct hsm_bytes der,
                                        struct hsm_public *out);
/*
 * From the attributes of a public or private key object: CKA_PUBLIC_KEY_INFO
 * where it is told and good, else modulus and exponent (a missing exponent of
 * a private key is taken as 65537), else EC_PARAMS and EC_POINT (raw or
 * DER-wrapped). HSM_E_NO_PUBLIC when there is not enough.
 */
HSM_CHECKED hsm_rc hsm_public_from_attrs(const struct hsm_attrs *as,
                                         struct hsm_public *out);
/* Of an EC key without a curve: its explicit parameters are those of the curve,
 * and from now on it names it (params, spki). HSM_E_BAD_DATA, and unchanged,
 * where the point cannot be of that curve. */
HSM_CHECKED hsm_rc hsm_public_set_curve(struct hsm_public *p,
                                        const struct hsm_curve *curve);
/* The same key: type and numbers, whatever the algorithm's parameters. */
bool hsm_public_equal(const struct hsm_public *a, const struct hsm_public *b);
HSM_CHECKED hsm_rc hsm_public_copy(const struct hsm_public *src,
                                   struct hsm_public *out);

#endif
