/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/keytype.h"

#include <string.h>

#include "src/base/der.h"
#include "src/base/names.h"
#include "src/object/curve_table.h"

#define DER_PRINTABLE 0x13u     /* PrintableString: here only, for names */

/* [RFC 8017, A.1] rsaEncryption */
static const unsigned char oid_rsa[] = {
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01
};
/* [RFC 8017, A.2.3] id-RSASSA-PSS */
static const unsigned char oid_rsa_pss[] = {
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a
};
/* [RFC 5480, 2.1.1] id-ecPublicKey */
static const unsigned char oid_ec[] = {
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01
};

static const struct hsm_keytype types[] = {
    { CKK_RSA, "RSA", oid_rsa, sizeof(oid_rsa),
      CKM_RSA_PKCS_KEY_PAIR_GEN },
    { CKK_EC, "EC", oid_ec, sizeof(oid_ec), CKM_EC_KEY_PAIR_GEN },
};

/* Other OIDs under which keys of a type are published. */
static const struct {
    const unsigned char *oid;
    size_t oid_len;
    CK_KEY_TYPE ckk;
} aliases[] = {
    { oid_rsa_pss, sizeof(oid_rsa_pss), CKK_RSA },
};

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

const struct hsm_keytype *hsm_keytype_of(CK_KEY_TYPE ckk)
{
    for (size_t i = 0; i < N_OF(types); i++) {
        if (types[i].ckk == ckk) {
            return &types[i];
        }
    }
    return NULL;
}

const struct hsm_keytype *hsm_keytype_by_oid(struct hsm_bytes oid)
{
    for (size_t i = 0; i < N_OF(types); i++) {
        if (hsm_bytes_equal(oid, hsm_bytes_of(types[i].oid,
                                              types[i].oid_len))) {
            return &types[i];
        }
    }
    for (size_t i = 0; i < N_OF(aliases); i++) {
        if (hsm_bytes_equal(oid, hsm_bytes_of(aliases[i].oid,
                                              aliases[i].oid_len))) {
            return hsm_keytype_of(aliases[i].ckk);
        }
    }
    return NULL;
}

const struct hsm_keytype *hsm_keytype_by_name(const char *name)
{
    for (size_t i = 0; i < N_OF(types); i++) {
        if (hsm_names_have(types[i].name, name, strlen(name))) {
            return &types[i];
        }
    }
    return NULL;
}

const struct hsm_curve *hsm_curve_by_oid(struct hsm_bytes oid)
{
    for (size_t i = 0; i < hsm_curve_table_n; i++) {
        const struct hsm_curve *c = &hsm_curve_table[i];

        if (hsm_bytes_equal(oid, hsm_bytes_of(c->oid, c->oid_len))) {
            return c;
        }
    }
    return NULL;
}

static const struct hsm_curve *curve_named(const char *name, size_t len)
{
    for (size_t i = 0; i < hsm_curve_table_n; i++) {
        if (hsm_names_have(hsm_curve_table[i].names, name, len)) {
            return &hsm_curve_table[i];
        }
    }
    return NULL;
}

const struct hsm_curve *hsm_curve_by_name(const char *name)
{
    return curve_named(name, strlen(name));
}

const struct hsm_curve *hsm_curve_of_params(struct hsm_bytes ec_params)
{
    struct hsm_bytes in;

    if (hsm_der_only(ec_params, HSM_DER_OID, &in)) {
        return hsm_curve_by_oid(in);
    }
    if (hsm_der_only(ec_params, DER_PRINTABLE, &in)) {
        return curve_named((const char *)in.p, in.len);
    }
    return NULL;
}
