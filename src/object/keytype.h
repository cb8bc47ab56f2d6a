/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key types and named curves: rows.
 */
#ifndef HSM_OBJECT_KEYTYPE_H
#define HSM_OBJECT_KEYTYPE_H

#include "src/base/buf.h"

struct hsm_keytype {
    CK_KEY_TYPE ckk;
    const char *name;           /* "RSA", "EC" */
    const unsigned char *oid;   /* content of the SPKI algorithm's OID */
    size_t oid_len;
    CK_MECHANISM_TYPE generate; /* CKM_…_KEY_PAIR_GEN */
};

struct hsm_curve {
    const char *names;          /* "prime256v1:P-256:secp256r1" */
    const unsigned char *oid;   /* content of the OBJECT IDENTIFIER */
    size_t oid_len;
    unsigned int bits;          /* of the order */
    unsigned int field_bytes;   /* of a coordinate */
    unsigned int order_bytes;   /* of r and s */
};

/* NULL: no such row. */
const struct hsm_keytype *hsm_keytype_of(CK_KEY_TYPE ckk);
const struct hsm_keytype *hsm_keytype_by_oid(struct hsm_bytes oid);
const struct hsm_keytype *hsm_keytype_by_name(const char *name);
const struct hsm_curve *hsm_curve_by_oid(struct hsm_bytes oid);
/* Any of its names, whatever the case. */
const struct hsm_curve *hsm_curve_by_name(const char *name);
/* CKA_EC_PARAMS: an OID, or a PrintableString with a name. NULL: explicit
 * parameters, or not a curve of ours. */
const struct hsm_curve *hsm_curve_of_params(struct hsm_bytes ec_params);

#endif
