/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/sig_table.h"

#include <stddef.h>

#include "provider/query.h"
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

/*    id     names                             first    family  serves all */
#define SIG_ROWS(X) \
    X(rsa,   "RSA:rsaEncryption:1.2.840.113549.1.1.1", \
                                               "RSA",   RSA,   CKM_RSA_X_509) \
    X(ecdsa, "ECDSA",                          "ECDSA", ECDSA, CKM_ECDSA)

/* libcrypto gives these no context that says which row they serve. */
#define STAMP(id, names, first, family, serves_all) \
    static const struct prov_sig_row id##_row = { \
        first, PROV_SIG_##family, serves_all \
    }; \
    static OSSL_FUNC_signature_newctx_fn id##_newctx; \
    static OSSL_FUNC_signature_gettable_ctx_params_fn id##_gettable; \
    static OSSL_FUNC_signature_settable_ctx_params_fn id##_settable; \
    static void *id##_newctx(void *provctx, const char *propq) \
    { \
        (void)propq; \
        return prov_sig_new(provctx, &id##_row); \
    } \
    static const OSSL_PARAM *id##_gettable(void *vctx, void *provctx) \
    { \
        return prov_sig_gettable(vctx, provctx, first); \
    } \
    static const OSSL_PARAM *id##_settable(void *vctx, void *provctx) \
    { \
        return prov_sig_settable(vctx, provctx, first); \
    }

SIG_ROWS(STAMP)

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

#define RSA_ENTRIES \
    ENTRY(VERIFY_RECOVER_INIT, prov_sig_recover_init), \
    ENTRY(VERIFY_RECOVER, prov_sig_recover),
#define ECDSA_ENTRIES

#define DISPATCH(id, names, first, family, serves_all) \
    static const OSSL_DISPATCH id##_functions[] = { \
        family##_ENTRIES \
        COMMON_ENTRIES(id), \
        { 0, NULL } \
    };

SIG_ROWS(DISPATCH)

#define ALGORITHM(id, names, first, family, serves_all) \
    { names, PROV_PROPS, id##_functions, first " signatures" },

const OSSL_ALGORITHM prov_signature_algorithms[] = {
    SIG_ROWS(ALGORITHM)
    { NULL, NULL, NULL, NULL }
};
