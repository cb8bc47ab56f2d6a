/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA encodings in software, for tokens that only offer raw RSA. Hashes and
 * salts come from the library context that is given.
 */
#ifndef PROV_RSAPAD_H
#define PROV_RSAPAD_H

#include <openssl/types.h>

#include "src/base/buf.h"

/* 00 01 FF×8 00: what EMSA-PKCS1-v1_5 needs beside the message. */
#define PROV_RSAPAD_PKCS1_LEAST 11
/* 6A and CC: X9.31's. */
#define PROV_RSAPAD_X931_LEAST 2
#define PROV_RSAPAD_X931_END 0xcc

/*
 * EMSA-PKCS1-v1_5 [RFC 8017, 9.2] with T = t, into exactly em_len octets.
 * Raises, and is 0, when t is too long.
 */
int prov_rsapad_pkcs1(struct hsm_bytes t, unsigned char *em, size_t em_len);

struct prov_rsapad_pss {
    const char *md, *mgf1;      /* names of digests */
    size_t salt_bytes;
    unsigned int key_bits;      /* of the modulus */
};

/*
 * EMSA-PSS [RFC 8017, 9.1.1] of the hash, with a random salt, as an octet
 * string of the length of the modulus: (key_bits + 7) / 8 octets. Raises, and
 * is 0, when the key is too small or the hash has another length than md.
 */
int prov_rsapad_pss(OSSL_LIB_CTX *libctx, const struct prov_rsapad_pss *pss,
                    struct hsm_bytes hash, unsigned char *em);

/*
 * The block of X9.31 around t (a hash and its identifier), without more
 * padding than there is room for: 6B BB … BA t CC, exactly em_len octets.
 * Raises, and is 0, when t is too long.
 */
int prov_rsapad_x931(struct hsm_bytes t, unsigned char *em, size_t em_len);
/* Of sig and n - sig, both of n's length, the lesser: X9.31's signature. sig
 * is less than n. */
void prov_rsapad_lesser(struct hsm_bytes n, unsigned char *sig);

#endif
