/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cryptoki's types and constants: p11-kit's header, and what it may lack.
 *
 * p11-kit 0.24 knows PKCS#11 2.40 only. The function list of 3.x begins with
 * the one of 2.40, member for member, so one pointer serves both and only the
 * members behind it need a structure of our own.
 */
#ifndef HSM_BASE_CRYPTOKI_H
#define HSM_BASE_CRYPTOKI_H

#include <p11-kit/pkcs11.h>

#ifndef CKA_PUBLIC_KEY_INFO
# define CKA_PUBLIC_KEY_INFO 0x00000129UL
#endif
#ifndef CKA_UNIQUE_ID
# define CKA_UNIQUE_ID 0x00000004UL
#endif
#ifndef CKA_ALLOWED_MECHANISMS
# define CKA_ALLOWED_MECHANISMS (CKF_ARRAY_ATTRIBUTE | 0x00000600UL)
#endif
#ifndef CKA_DESTROYABLE
# define CKA_DESTROYABLE 0x00000172UL
#endif
#ifndef CKA_COPYABLE
# define CKA_COPYABLE 0x00000171UL
#endif

/* Results that came after 2.40. */
#ifndef CKR_AEAD_DECRYPT_FAILED
# define CKR_AEAD_DECRYPT_FAILED 0x00000042UL
#endif
#ifndef CKR_TOKEN_RESOURCE_EXCEEDED
# define CKR_TOKEN_RESOURCE_EXCEEDED 0x00000201UL
#endif
#ifndef CKR_OPERATION_CANCEL_FAILED
# define CKR_OPERATION_CANCEL_FAILED 0x00000202UL
#endif
#ifndef CKR_KEY_EXHAUSTED
# define CKR_KEY_EXHAUSTED 0x00000203UL
#endif
#ifndef CKR_PENDING
# define CKR_PENDING 0x00000204UL
#endif
#ifndef CKR_SESSION_ASYNC_NOT_SUPPORTED
# define CKR_SESSION_ASYNC_NOT_SUPPORTED 0x00000205UL
#endif
#ifndef CKR_SEED_RANDOM_REQUIRED
# define CKR_SEED_RANDOM_REQUIRED 0x00000206UL
#endif
#ifndef CKR_OPERATION_NOT_VALIDATED
# define CKR_OPERATION_NOT_VALIDATED 0x00000207UL
#endif
#ifndef CKR_TOKEN_NOT_INITIALIZED
# define CKR_TOKEN_NOT_INITIALIZED 0x00000208UL
#endif
#ifndef CKR_PARAMETER_SET_NOT_SUPPORTED
# define CKR_PARAMETER_SET_NOT_SUPPORTED 0x00000209UL
#endif

/* p11-kit's header numbers these five from 0x1c0 on; the standard does not
 * [PKCS#11 2.40 to 3.2, pkcs11t.h]. */
#undef CKR_EXCEEDED_MAX_ITERATIONS
#define CKR_EXCEEDED_MAX_ITERATIONS 0x000001b5UL
#undef CKR_FIPS_SELF_TEST_FAILED
#define CKR_FIPS_SELF_TEST_FAILED 0x000001b6UL
#undef CKR_LIBRARY_LOAD_FAILED
#define CKR_LIBRARY_LOAD_FAILED 0x000001b7UL
#undef CKR_PIN_TOO_WEAK
#define CKR_PIN_TOO_WEAK 0x000001b8UL
#undef CKR_PUBLIC_KEY_INVALID
#define CKR_PUBLIC_KEY_INVALID 0x000001b9UL

/* [PKCS#11 3.0, 3.4] CK_INTERFACE: a named function list. */
struct hsm_interface {
    CK_UTF8CHAR *name;
    void *functions;            /* begins with a CK_VERSION */
    CK_FLAGS flags;
};

typedef CK_RV (*hsm_get_interface_list_fn)(struct hsm_interface *list,
                                           CK_ULONG *count);

/* [PKCS#11 3.0, 3.4] CK_FUNCTION_LIST_3_0, as far as it is used here. */
struct hsm_functions_3_0 {
    CK_FUNCTION_LIST base;
    void *C_GetInterfaceList;
    void *C_GetInterface;
    void *C_LoginUser;
    CK_RV (*C_SessionCancel)(CK_SESSION_HANDLE session, CK_FLAGS flags);
};

/* [PKCS#11 3.0, 6] SHA-3. */
#ifndef CKM_SHA3_224
# define CKM_SHA3_224 0x000002b5UL
#endif
#ifndef CKM_SHA3_256
# define CKM_SHA3_256 0x000002b0UL
#endif
#ifndef CKM_SHA3_384
# define CKM_SHA3_384 0x000002c0UL
#endif
#ifndef CKM_SHA3_512
# define CKM_SHA3_512 0x000002d0UL
#endif
#ifndef CKM_SHA3_224_RSA_PKCS
# define CKM_SHA3_224_RSA_PKCS 0x00000066UL
#endif
#ifndef CKM_SHA3_256_RSA_PKCS
# define CKM_SHA3_256_RSA_PKCS 0x00000060UL
#endif
#ifndef CKM_SHA3_384_RSA_PKCS
# define CKM_SHA3_384_RSA_PKCS 0x00000061UL
#endif
#ifndef CKM_SHA3_512_RSA_PKCS
# define CKM_SHA3_512_RSA_PKCS 0x00000062UL
#endif
#ifndef CKM_SHA3_224_RSA_PKCS_PSS
# define CKM_SHA3_224_RSA_PKCS_PSS 0x00000067UL
#endif
#ifndef CKM_SHA3_256_RSA_PKCS_PSS
# define CKM_SHA3_256_RSA_PKCS_PSS 0x00000063UL
#endif
#ifndef CKM_SHA3_384_RSA_PKCS_PSS
# define CKM_SHA3_384_RSA_PKCS_PSS 0x00000064UL
#endif
#ifndef CKM_SHA3_512_RSA_PKCS_PSS
# define CKM_SHA3_512_RSA_PKCS_PSS 0x00000065UL
#endif
#ifndef CKM_ECDSA_SHA3_224
# define CKM_ECDSA_SHA3_224 0x00001047UL
#endif
#ifndef CKM_ECDSA_SHA3_256
# define CKM_ECDSA_SHA3_256 0x00001048UL
#endif
#ifndef CKM_ECDSA_SHA3_384
# define CKM_ECDSA_SHA3_384 0x00001049UL
#endif
#ifndef CKM_ECDSA_SHA3_512
# define CKM_ECDSA_SHA3_512 0x0000104aUL
#endif
#ifndef CKG_MGF1_SHA3_224
# define CKG_MGF1_SHA3_224 0x00000006UL
#endif
#ifndef CKG_MGF1_SHA3_256
# define CKG_MGF1_SHA3_256 0x00000007UL
#endif
#ifndef CKG_MGF1_SHA3_384
# define CKG_MGF1_SHA3_384 0x00000008UL
#endif
#ifndef CKG_MGF1_SHA3_512
# define CKG_MGF1_SHA3_512 0x00000009UL
#endif

#endif
