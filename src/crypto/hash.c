/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/hash.h"

#include <string.h>

#include "src/base/names.h"

#define NONE CK_UNAVAILABLE_INFORMATION

/*
 * What stands before the hash in a DigestInfo [RFC 8017, 9.2, note 1]:
 * SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }, as far as the length.
 */
#define INFO(name, bytes, ...) \
    static const unsigned char info_##name[] = { \
        0x30, 8 + sizeof((unsigned char[]){ __VA_ARGS__ }) + (bytes), \
        0x30, 4 + sizeof((unsigned char[]){ __VA_ARGS__ }), \
        0x06, sizeof((unsigned char[]){ __VA_ARGS__ }), __VA_ARGS__, \
        0x05, 0x00, 0x04, (bytes) \
    }
/* 2.16.840.1.101.3.4.2.n */
#define NIST(name, bytes, n) \
    INFO(name, bytes, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n)

INFO(md5, 16, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05);
INFO(sha1, 20, 0x2b, 0x0e, 0x03, 0x02, 0x1a);
INFO(ripemd160, 20, 0x2b, 0x24, 0x03, 0x02, 0x01);
/* Not SM3's own OID, but that of RSA with SM3: so has libcrypto, whose later
 * releases sign with it, and verify nothing else. */
INFO(sm3, 32, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x78);
NIST(sha256, 32, 1);
NIST(sha384, 48, 2);
NIST(sha512, 64, 3);
NIST(sha224, 28, 4);
NIST(sha512_224, 28, 5);
NIST(sha512_256, 32, 6);
NIST(sha3_224, 28, 7);
NIST(sha3_256, 32, 8);
NIST(sha3_384, 48, 9);
NIST(sha3_512, 64, 10);

#define PREFIX(name) info_##name, sizeof(info_##name)

/* Hash identifiers of X9.31 [ISO/IEC 10118-3]: of those that have a row here
 * libcrypto signs with four. */
static const struct hsm_hash hashes[] = {
    { "MD5-SHA1", 36,
      NONE, 0, NONE, NONE, NONE, NULL, 0, 0 },
    { "MD5:SSL3-MD5:1.2.840.113549.2.5", 16,
      CKM_MD5, 0, CKM_MD5_RSA_PKCS, NONE, NONE, PREFIX(md5), 0 },
    { "SHA1:SHA-1:SSL3-SHA1:1.3.14.3.2.26", 20,
      CKM_SHA_1, CKG_MGF1_SHA1, CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS,
      CKM_ECDSA_SHA1, PREFIX(sha1), 0x33 },
    { "SHA2-224:SHA-224:SHA224:2.16.840.1.101.3.4.2.4", 28,
      CKM_SHA224, CKG_MGF1_SHA224, CKM_SHA224_RSA_PKCS,
      CKM_SHA224_RSA_PKCS_PSS, CKM_ECDSA_SHA224, PREFIX(sha224), 0 },
    { "SHA2-256:SHA-256:SHA256:2.16.840.1.101.3.4.2.1", 32,
      CKM_SHA256, CKG_MGF1_SHA256, CKM_SHA256_RSA_PKCS,
      CKM_SHA256_RSA_PKCS_PSS, CKM_ECDSA_SHA256, PREFIX(sha256), 0x34 },
    { "SHA2-384:SHA-384:SHA384:2.16.840.1.101.3.4.2.2", 48,
      CKM_SHA384, CKG_MGF1_SHA384, CKM_SHA384_RSA_PKCS,
      CKM_SHA384_RSA_PKCS_PSS, CKM_ECDSA_SHA384, PREFIX(sha384), 0x36 },
    { "SHA2-512:SHA-512:SHA512:2.16.840.1.101.3.4.2.3", 64,
      CKM_SHA512, CKG_MGF1_SHA512, CKM_SHA512_RSA_PKCS,
      CKM_SHA512_RSA_PKCS_PSS, CKM_ECDSA_SHA512, PREFIX(sha512), 0x35 },
    { "SHA2-512/224:SHA-512/224:SHA512-224:2.16.840.1.101.3.4.2.5", 28,
      CKM_SHA512_224, 0, NONE, NONE, NONE, PREFIX(sha512_224), 0 },
    { "SHA2-512/256:SHA-512/256:SHA512-256:2.16.840.1.101.3.4.2.6", 32,
      CKM_SHA512_256, 0, NONE, NONE, NONE, PREFIX(sha512_256), 0 },
    { "SHA3-224:2.16.840.1.101.3.4.2.7", 28,
      CKM_SHA3_224, CKG_MGF1_SHA3_224, CKM_SHA3_224_RSA_PKCS,
      CKM_SHA3_224_RSA_PKCS_PSS, CKM_ECDSA_SHA3_224, PREFIX(sha3_224), 0 },
    { "SHA3-256:2.16.840.1.101.3.4.2.8", 32,
      CKM_SHA3_256, CKG_MGF1_SHA3_256, CKM_SHA3_256_RSA_PKCS,
      CKM_SHA3_256_RSA_PKCS_PSS, CKM_ECDSA_SHA3_256, PREFIX(sha3_256), 0 },
    { "SHA3-384:2.16.840.1.101.3.4.2.9", 48,
      CKM_SHA3_384, CKG_MGF1_SHA3_384, CKM_SHA3_384_RSA_PKCS,
      CKM_SHA3_384_RSA_PKCS_PSS, CKM_ECDSA_SHA3_384, PREFIX(sha3_384), 0 },
    { "SHA3-512:2.16.840.1.101.3.4.2.10", 64,
      CKM_SHA3_512, CKG_MGF1_SHA3_512, CKM_SHA3_512_RSA_PKCS,
      CKM_SHA3_512_RSA_PKCS_PSS, CKM_ECDSA_SHA3_512, PREFIX(sha3_512), 0 },
    { "RIPEMD-160:RIPEMD160:RIPEMD:RMD160:1.3.36.3.2.1", 20,
      CKM_RIPEMD160, 0, CKM_RIPEMD160_RSA_PKCS, NONE, NONE,
      PREFIX(ripemd160), 0 },
    { "SM3:1.2.156.10197.1.401", 32,
      NONE, 0, NONE, NONE, NONE, PREFIX(sm3), 0 },
};

const struct hsm_hash *hsm_hash_by_name(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        if (hsm_names_have(hashes[i].names, name, len)) {
            return &hashes[i];
        }
    }
    return NULL;
}
