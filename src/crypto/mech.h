/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mechanism with its parameters, by value: copied freely, points nowhere.
 * It is turned into a CK_MECHANISM just before the call.
 */
#ifndef HSM_CRYPTO_MECH_H
#define HSM_CRYPTO_MECH_H

#include "src/base/buf.h"
#include "src/base/cryptoki.h"
#include "src/base/result.h"

enum hsm_mech_kind {
    HSM_MECH_PLAIN,             /* no parameter */
    HSM_MECH_PSS,
    HSM_MECH_OAEP
};

/* The longest label of RSAES-OAEP that a mechanism can carry. */
#define HSM_MECH_LABEL_MAX 256

struct hsm_mech_oaep {
    CK_RSA_PKCS_OAEP_PARAMS native;     /* its pointer is set for the call */
    unsigned char label[HSM_MECH_LABEL_MAX];
};

struct hsm_mech {
    CK_MECHANISM_TYPE type;
    enum hsm_mech_kind kind;
    union {
        CK_RSA_PKCS_PSS_PARAMS pss;
        struct hsm_mech_oaep oaep;
    } u;
};

static inline struct hsm_mech hsm_mech_plain(CK_MECHANISM_TYPE type)
{
    struct hsm_mech m = { .type = type, .kind = HSM_MECH_PLAIN };

    return m;
}

struct hsm_mech hsm_mech_pss(CK_MECHANISM_TYPE type, CK_MECHANISM_TYPE hash,
                             CK_ULONG mgf, CK_ULONG salt_bytes);
/* [PKCS#11 2.40, 2.1.8] The label, of at most HSM_MECH_LABEL_MAX octets, is
 * copied; what is longer is CKR_ARGUMENTS_BAD. */
HSM_CHECKED hsm_rc hsm_mech_oaep(CK_MECHANISM_TYPE type,
                                 CK_MECHANISM_TYPE hash, CK_ULONG mgf,
                                 struct hsm_bytes label,
                                 struct hsm_mech *out);

/* Points into m, which must outlive out. */
void hsm_mech_native(struct hsm_mech *m, CK_MECHANISM *out);

/* "CKM_RSA_PKCS_PSS", or "0x80000001" for those without a row; buf is used
 * for the latter and must hold 24 bytes. */
const char *hsm_mech_name(CK_MECHANISM_TYPE type, char buf[24]);
/* The other way round, for len characters: a name with or without "CKM_", in
 * any case, or a number as strtoul() reads it. False: it is neither. */
bool hsm_mech_by_name(const char *name, size_t len, CK_MECHANISM_TYPE *type);

#endif
