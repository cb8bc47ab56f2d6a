/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes, as mechanisms need to name them: rows. No hashing here.
 */
#ifndef HSM_CRYPTO_HASH_H
#define HSM_CRYPTO_HASH_H

#include "src/base/buf.h"

struct hsm_hash {
    const char *names;          /* OpenSSL's name first: "SHA2-256:SHA256:…" */
    size_t bytes;
    CK_MECHANISM_TYPE ckm;
    CK_ULONG mgf;               /* CKG_MGF1_…; 0: none */
    CK_MECHANISM_TYPE rsa;      /* CKM_…_RSA_PKCS; CK_UNAVAILABLE: none */
    CK_MECHANISM_TYPE pss;      /* CKM_…_RSA_PKCS_PSS */
    CK_MECHANISM_TYPE ecdsa;    /* CKM_ECDSA_… */
    const unsigned char *digest_info;       /* DER before the hash */
    size_t digest_info_len;     /* 0: none (MD5-SHA1 is signed bare) */
    unsigned char x931;         /* in the trailer of X9.31; 0: none */
};

/* Any name, whatever the case; NULL: no such row. */
const struct hsm_hash *hsm_hash_by_name(const char *name);

#endif
