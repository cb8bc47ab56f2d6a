/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/pkey_table.h"

/*
 * Raw RSA first: no token says how long it takes to find a padding wrong, and
 * we know of ours that it makes no difference. Some tokens also do OAEP with
 * SHA-1 and without a label only.
 */
const struct prov_dec_way prov_dec_ways[] = {
    { PROV_DEC_RAW,   CKM_RSA_X_509,     false, false },
    { PROV_DEC_PKCS1, CKM_RSA_X_509,     false, false },
    { PROV_DEC_PKCS1, CKM_RSA_PKCS,      true,  false },
    { PROV_DEC_TLS,   CKM_RSA_X_509,     false, false },
    { PROV_DEC_TLS,   CKM_RSA_PKCS,      true,  true  },
    { PROV_DEC_OAEP,  CKM_RSA_X_509,     false, false },
    { PROV_DEC_OAEP,  CKM_RSA_PKCS_OAEP, true,  false }
};

const size_t prov_dec_n_ways = sizeof(prov_dec_ways) / sizeof(*prov_dec_ways);

/* Besides the two of the standard: what SoftHSM (GENERAL_ERROR), openCryptoki
 * and tpm2-pkcs11 were seen to say. */
static const CK_RV bad_padding[] = {
    CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,
    CKR_DATA_INVALID, CKR_DATA_LEN_RANGE, CKR_GENERAL_ERROR,
    CKR_FUNCTION_FAILED, CKR_BUFFER_TOO_SMALL
};

bool prov_dec_is_bad_padding(CK_RV rv)
{
    size_t i = 0;

    for (; i < sizeof(bad_padding) / sizeof(bad_padding[0]); i++) {
        if (bad_padding[i] == rv) {
            return true;
        }
    }
    return false;
}
