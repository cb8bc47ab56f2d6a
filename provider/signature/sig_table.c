/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/sig_table.h"

#include <stddef.h>

#include "provider/query.h"
#include "provider/signature/composite.h"
#include "provider/signature/signature.h"
#include "src/crypto/hash.h"

#define BY_HASH(member) offsetof(struct hsm_hash, member)

/*
 * RSASSA-PSS with another hash in MGF1 is possible in Cryptoki, but many
 * tokens refuse it, or ignore the difference: encoding here comes first.
 * Mechanisms that hash are last: they need the whole message at once.
 */
const struct prov_sig_way prov_sig_ways[] = {
    { PROV_SCHEME_PKCS1, CKM_RSA_PKCS,     PROV_INPUT_DIGEST_INFO, 0, 0 },
    { PROV_SCHEME_PKCS1, CKM_RSA_X_509,    PROV_INPUT_EMSA_PKCS1,  0, 0 },
    { PROV_SCHEME_PKCS1, 0, PROV_INPUT_MESSAGE, 0, BY_HASH(rsa) },
    { PROV_SCHEME_PSS,   CKM_RSA_PKCS_PSS, PROV_INPUT_AS_IS,       1, 0 },
    { PROV_SCHEME_PSS,   CKM_RSA_X_509,    PROV_INPUT_EMSA_PSS,    0, 0 },
    { PROV_SCHEME_PSS,   0, PROV_INPUT_MESSAGE, 1, BY_HASH(pss) },
    { PROV_SCHEME_X931,  CKM_RSA_X9_31,    PROV_INPUT_X931_TRAILER, 0, 0 },
    { PROV_SCHEME_X931,  CKM_RSA_X_509,    PROV_INPUT_EMSA_X931,   0, 0 },
    { PROV_SCHEME_RAW,   CKM_RSA_X_509,    PROV_INPUT_AS_IS,       0, 0 },
    { PROV_SCHEME_ECDSA, CKM_ECDSA,        PROV_INPUT_LEFTMOST,    0, 0 },
    { PROV_SCHEME_ECDSA, 0, PROV_INPUT_MESSAGE, 0, BY_HASH(ecdsa) }
};

const size_t prov_sig_n_ways = sizeof(prov_sig_ways) / sizeof(*prov_sig_ways);

/*    id     names                             first    family  serves all
 *                                                                    digest */
#define SIG_ROWS(X) \
    X(rsa,   "RSA:rsaEncryption:1.2.840.113549.1.1.1", \
                                        "RSA",   RSA,   CKM_RSA_X_509, NULL) \
    X(ecdsa, "ECDSA",                   "ECDSA", ECDSA, CKM_ECDSA,     NULL)

/* OpenSSL can be built without these two. */
#ifdef OPENSSL_NO_RMD160
# define RIPEMD160_ROW(X)
#else
# define RIPEMD160_ROW(X) \
    X(rsa_ripemd160, "RSA-RIPEMD160:ripemd160WithRSA:1.3.36.3.3.1.2", \
      "RSA-RIPEMD160", RSA, CKM_RSA_PKCS, "RIPEMD160")
#endif
#ifdef OPENSSL_NO_SM3
# define SM3_ROW(X)
#else
# define SM3_ROW(X) \
    X(rsa_sm3, "RSA-SM3:sm3WithRSAEncryption:1.2.156.10197.1.504", \
      "RSA-SM3", RSA, CKM_RSA_PKCS, "SM3")
#endif

/* Of the core that takes them; the padding is PKCS#1 v1.5. */
#define COMPOSITE_ROWS(X) \
    RIPEMD160_ROW(X) \
    X(rsa_sha1, "RSA-SHA1:RSA-SHA-1:sha1WithRSAEncryption:" \
      "1.2.840.113549.1.1.5", \
      "RSA-SHA1", RSA, CKM_RSA_PKCS, "SHA1") \
    X(rsa_sha224, "RSA-SHA2-224:RSA-SHA224:sha224WithRSAEncryption:" \
      "1.2.840.113549.1.1.14", \
      "RSA-SHA2-224", RSA, CKM_RSA_PKCS, "SHA2-224") \
    X(rsa_sha256, "RSA-SHA2-256:RSA-SHA256:sha256WithRSAEncryption:" \
      "1.2.840.113549.1.1.11", \
      "RSA-SHA2-256", RSA, CKM_RSA_PKCS, "SHA2-256") \
    X(rsa_sha384, "RSA-SHA2-384:RSA-SHA384:sha384WithRSAEncryption:" \
      "1.2.840.113549.1.1.12", \
      "RSA-SHA2-384", RSA, CKM_RSA_PKCS, "SHA2-384") \
    X(rsa_sha512, "RSA-SHA2-512:RSA-SHA512:sha512WithRSAEncryption:" \
      "1.2.840.113549.1.1.13", \
      "RSA-SHA2-512", RSA, CKM_RSA_PKCS, "SHA2-512") \
    X(rsa_sha512_224, \
      "RSA-SHA2-512/224:RSA-SHA512-224:sha512-224WithRSAEncryption:" \
      "1.2.840.113549.1.1.15", \
      "RSA-SHA2-512/224", RSA, CKM_RSA_PKCS, "SHA2-512/224") \
    X(rsa_sha512_256, \
      "RSA-SHA2-512/256:RSA-SHA512-256:sha512-256WithRSAEncryption:" \
      "1.2.840.113549.1.1.16", \
      "RSA-SHA2-512/256", RSA, CKM_RSA_PKCS, "SHA2-512/256") \
    X(rsa_sha3_224, "RSA-SHA3-224:id-rsassa-pkcs1-v1_5-with-sha3-224:" \
      "2.16.840.1.101.3.4.3.13", \
      "RSA-SHA3-224", RSA, CKM_RSA_PKCS, "SHA3-224") \
    X(rsa_sha3_256, "RSA-SHA3-256:id-rsassa-pkcs1-v1_5-with-sha3-256:" \
      "2.16.840.1.101.3.4.3.14", \
      "RSA-SHA3-256", RSA, CKM_RSA_PKCS, "SHA3-256") \
    X(rsa_sha3_384, "RSA-SHA3-384:id-rsassa-pkcs1-v1_5-with-sha3-384:" \
      "2.16.840.1.101.3.4.3.15", \
      "RSA-SHA3-384", RSA, CKM_RSA_PKCS, "SHA3-384") \
    X(rsa_sha3_512, "RSA-SHA3-512:id-rsassa-pkcs1-v1_5-with-sha3-512:" \
      "2.16.840.1.101.3.4.3.16", \
      "RSA-SHA3-512", RSA, CKM_RSA_PKCS, "SHA3-512") \
    SM3_ROW(X) \
    X(ecdsa_sha1, "ECDSA-SHA1:ECDSA-SHA-1:ecdsa-with-SHA1:1.2.840.10045.4.1", \
      "ECDSA-SHA1", ECDSA, CKM_ECDSA, "SHA1") \
    X(ecdsa_sha224, "ECDSA-SHA2-224:ECDSA-SHA224:ecdsa-with-SHA224:" \
      "1.2.840.10045.4.3.1", \
      "ECDSA-SHA2-224", ECDSA, CKM_ECDSA, "SHA2-224") \
    X(ecdsa_sha256, "ECDSA-SHA2-256:ECDSA-SHA256:ecdsa-with-SHA256:" \
      "1.2.840.10045.4.3.2", \
      "ECDSA-SHA2-256", ECDSA, CKM_ECDSA, "SHA2-256") \
    X(ecdsa_sha384, "ECDSA-SHA2-384:ECDSA-SHA384:ecdsa-with-SHA384:" \
      "1.2.840.10045.4.3.3", \
      "ECDSA-SHA2-384", ECDSA, CKM_ECDSA, "SHA2-384") \
    X(ecdsa_sha512, "ECDSA-SHA2-512:ECDSA-SHA512:ecdsa-with-SHA512:" \
      "1.2.840.10045.4.3.4", \
      "ECDSA-SHA2-512", ECDSA, CKM_ECDSA, "SHA2-512") \
    X(ecdsa_sha3_224, \
      "ECDSA-SHA3-224:ecdsa_with_SHA3-224:id-ecdsa-with-sha3-224:" \
      "2.16.840.1.101.3.4.3.9", \
      "ECDSA-SHA3-224", ECDSA, CKM_ECDSA, "SHA3-224") \
    X(ecdsa_sha3_256, \
      "ECDSA-SHA3-256:ecdsa_with_SHA3-256:id-ecdsa-with-sha3-256:" \
      "2.16.840.1.101.3.4.3.10", \
      "ECDSA-SHA3-256", ECDSA, CKM_ECDSA, "SHA3-256") \
    X(ecdsa_sha3_384, \
      "ECDSA-SHA3-384:ecdsa_with_SHA3-384:id-ecdsa-with-sha3-384:" \
      "2.16.840.1.101.3.4.3.11", \
      "ECDSA-SHA3-384", ECDSA, CKM_ECDSA, "SHA3-384") \
    X(ecdsa_sha3_512, \
      "ECDSA-SHA3-512:ecdsa_with_SHA3-512:id-ecdsa-with-sha3-512:" \
      "2.16.840.1.101.3.4.3.12", \
      "ECDSA-SHA3-512", ECDSA, CKM_ECDSA, "SHA3-512")

/* libcrypto gives these no context that says which row they serve. */
#define STAMP(id, names, first, family, serves_all, digest) \
    static const struct prov_sig_row id##_row = { \
        first, PROV_SIG_##family, serves_all, digest \
    }; \
    static OSSL_FUNC_signature_newctx_fn id##_newctx; \
    static OSSL_FUNC_signature_gettable_ctx_params_fn id##_gettable; \
    static void *id##_newctx(void *provctx, const char *propq) \
    { \
        (void)propq; \
        return prov_sig_new(provctx, &id##_row); \
    } \
    static const OSSL_PARAM *id##_gettable(void *vctx, void *provctx) \
    { \
        return prov_sig_gettable(vctx, provctx, first); \
    }

SIG_ROWS(STAMP)
COMPOSITE_ROWS(STAMP)

#define STAMP_SETTABLE(id, names, first, family, serves_all, digest) \
    static OSSL_FUNC_signature_settable_ctx_params_fn id##_settable; \
    static const OSSL_PARAM *id##_settable(void *vctx, void *provctx) \
    { \
        return prov_sig_settable(vctx, provctx, first); \
    }

SIG_ROWS(STAMP_SETTABLE)

#define ENTRY(name, fn) { OSSL_FUNC_SIGNATURE_##name, (void (*)(void))(fn) }

#define COMMON_ENTRIES(id) \
    ENTRY(NEWCTX, id##_newctx), \
    ENTRY(FREECTX, prov_sig_free), \
    ENTRY(DUPCTX, prov_sig_dup), \
    ENTRY(SIGN_INIT, prov_sig_sign_init), \
    ENTRY(SIGN, prov_sig_sign), \
    ENTRY(VERIFY_INIT, prov_sig_verify_init), \
    ENTRY(VERIFY, prov_sig_verify), \
    ENTRY(DIGEST_SIGN_INIT, prov_sig_digest_sign_init), \
    ENTRY(DIGEST_SIGN_UPDATE, prov_sig_digest_sign_update), \
    ENTRY(DIGEST_SIGN_FINAL, prov_sig_digest_sign_final), \
    ENTRY(DIGEST_SIGN, prov_sig_digest_sign), \
    ENTRY(DIGEST_VERIFY_INIT, prov_sig_digest_verify_init), \
    ENTRY(DIGEST_VERIFY_UPDATE, prov_sig_digest_verify_update), \
    ENTRY(DIGEST_VERIFY_FINAL, prov_sig_digest_verify_final), \
    ENTRY(DIGEST_VERIFY, prov_sig_digest_verify), \
    ENTRY(GET_CTX_PARAMS, prov_sig_get_ctx_params), \
    ENTRY(GETTABLE_CTX_PARAMS, id##_gettable), \
    ENTRY(SET_CTX_PARAMS, prov_sig_set_ctx_params), \
    ENTRY(SETTABLE_CTX_PARAMS, id##_settable), \
    ENTRY(GET_CTX_MD_PARAMS, prov_sig_get_md_params), \
    ENTRY(GETTABLE_CTX_MD_PARAMS, prov_sig_gettable_md_params), \
    ENTRY(SET_CTX_MD_PARAMS, prov_sig_set_md_params), \
    ENTRY(SETTABLE_CTX_MD_PARAMS, prov_sig_settable_md_params)

#define COMPOSITE_ENTRIES(id) \
    ENTRY(NEWCTX, id##_newctx), \
    ENTRY(FREECTX, prov_sig_free), \
    ENTRY(DUPCTX, prov_sig_dup), \
    ENTRY(SIGN_INIT, prov_composite_sign_init), \
    ENTRY(SIGN, prov_composite_sign), \
    ENTRY(SIGN_MESSAGE_INIT, prov_composite_sign_message_init), \
    ENTRY(SIGN_MESSAGE_UPDATE, prov_sig_digest_sign_update), \
    ENTRY(SIGN_MESSAGE_FINAL, prov_sig_digest_sign_final), \
    ENTRY(VERIFY_INIT, prov_composite_verify_init), \
    ENTRY(VERIFY, prov_composite_verify), \
    ENTRY(VERIFY_MESSAGE_INIT, prov_composite_verify_message_init), \
    ENTRY(VERIFY_MESSAGE_UPDATE, prov_sig_digest_verify_update), \
    ENTRY(VERIFY_MESSAGE_FINAL, prov_composite_verify_message_final), \
    ENTRY(GET_CTX_PARAMS, prov_sig_get_ctx_params), \
    ENTRY(GETTABLE_CTX_PARAMS, id##_gettable), \
    ENTRY(SET_CTX_PARAMS, prov_composite_set_ctx_params), \
    ENTRY(SETTABLE_CTX_PARAMS, prov_composite_settable)

#define RSA_ENTRIES \
    ENTRY(VERIFY_RECOVER_INIT, prov_sig_recover_init), \
    ENTRY(VERIFY_RECOVER, prov_sig_recover),
#define ECDSA_ENTRIES

#define RSA_COMPOSITE_ENTRIES \
    ENTRY(QUERY_KEY_TYPES, prov_composite_rsa_key_types), \
    ENTRY(VERIFY_RECOVER_INIT, prov_composite_recover_init), \
    ENTRY(VERIFY_RECOVER, prov_sig_recover),
#define ECDSA_COMPOSITE_ENTRIES \
    ENTRY(QUERY_KEY_TYPES, prov_composite_ecdsa_key_types),

#define DISPATCH(id, names, first, family, serves_all, digest) \
    static const OSSL_DISPATCH id##_functions[] = { \
        family##_ENTRIES \
        COMMON_ENTRIES(id), \
        { 0, NULL } \
    };
#define COMPOSITE_DISPATCH(id, names, first, family, serves_all, digest) \
    static const OSSL_DISPATCH id##_functions[] = { \
        family##_COMPOSITE_ENTRIES \
        COMPOSITE_ENTRIES(id), \
        { 0, NULL } \
    };

SIG_ROWS(DISPATCH)
COMPOSITE_ROWS(COMPOSITE_DISPATCH)

#define ALGORITHM(id, names, first, family, serves_all, digest) \
    { names, PROV_PROPS, id##_functions, first " signatures" },

const OSSL_ALGORITHM prov_signature_algorithms[] = {
    SIG_ROWS(ALGORITHM)
    { NULL, NULL, NULL, NULL }
};

const OSSL_ALGORITHM prov_signature_composites[] = {
    SIG_ROWS(ALGORITHM)
    COMPOSITE_ROWS(ALGORITHM)
    { NULL, NULL, NULL, NULL }
};
