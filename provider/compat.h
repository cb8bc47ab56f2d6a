/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differences between OpenSSL versions, all of them.
 *
 * Headers: dispatch ids, parameter names and types that an older header lacks,
 * so that every table holds every entry. An older libcrypto skips the ids that
 * it does not know; numbers never change within a major version. Run time:
 * which OpenSSL has loaded us. No other file asks for a version.
 */
#ifndef PROV_COMPAT_H
#define PROV_COMPAT_H

#include <stdbool.h>

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>

/* The major version this module was built for. */
#define PROV_OPENSSL_MAJOR OPENSSL_VERSION_MAJOR

/* "3.0.22" → major 3, minor 0. False when it is no version. */
bool prov_version_parse(const char *text, unsigned int *major,
                        unsigned int *minor);
/* A TLS group counts only when its provider also wins the key type (3.0). */
bool prov_core_needs_tls_groups(unsigned int minor, unsigned int major);
/* EC keys encapsulate there, and in the libcrypto that we are linked with. */
bool prov_core_has_dhkem(unsigned int minor, unsigned int major);
/* Takes off the entry by which libcrypto, from 3.5 on, says only that an
 * operation failed: whoever called us gets the same for his. */
void prov_drop_bare_failure(void);
/* Signatures of messages, and composite algorithms for them (3.4). */
bool prov_core_signs_messages(unsigned int minor, unsigned int major);

#ifndef OSSL_DISPATCH_END
# define OSSL_DISPATCH_END { 0, NULL }
#endif

/* Operations */
#ifndef OSSL_OP_SKEYMGMT
# define OSSL_OP_SKEYMGMT 15
#endif

/* Key management: 3.2, 3.4, 4.0 */
#ifndef OSSL_FUNC_KEYMGMT_IMPORT_TYPES_EX
# define OSSL_FUNC_KEYMGMT_IMPORT_TYPES_EX 45
# define OSSL_FUNC_KEYMGMT_EXPORT_TYPES_EX 46
typedef const OSSL_PARAM *(OSSL_FUNC_keymgmt_import_types_ex_fn)(
    void *provctx, int selection);
typedef const OSSL_PARAM *(OSSL_FUNC_keymgmt_export_types_ex_fn)(
    void *provctx, int selection);
#endif
#ifndef OSSL_FUNC_KEYMGMT_GEN_GET_PARAMS
# define OSSL_FUNC_KEYMGMT_GEN_GET_PARAMS 15
# define OSSL_FUNC_KEYMGMT_GEN_GETTABLE_PARAMS 16
typedef int(OSSL_FUNC_keymgmt_gen_get_params_fn)(void *genctx,
                                                 OSSL_PARAM params[]);
typedef const OSSL_PARAM *(OSSL_FUNC_keymgmt_gen_gettable_params_fn)(
    void *genctx, void *provctx);
#endif
#ifndef OSSL_FUNC_KEYMGMT_NEW_EX
# define OSSL_FUNC_KEYMGMT_NEW_EX 17
typedef void *(OSSL_FUNC_keymgmt_new_ex_fn)(void *provctx,
                                            const OSSL_PARAM params[]);
#endif

/* Signatures: 3.4 */
#ifndef OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES
# define OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES 26
# define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT 27
# define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE 28
# define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL 29
# define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT 30
# define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE 31
# define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL 32
typedef const char **(OSSL_FUNC_signature_query_key_types_fn)(void);
typedef int(OSSL_FUNC_signature_sign_message_init_fn)(
    void *ctx, void *provkey, const OSSL_PARAM params[]);
typedef int(OSSL_FUNC_signature_sign_message_update_fn)(
    void *ctx, const unsigned char *in, size_t inlen);
typedef int(OSSL_FUNC_signature_sign_message_final_fn)(
    void *ctx, unsigned char *sig, size_t *siglen, size_t sigsize);
typedef int(OSSL_FUNC_signature_verify_message_init_fn)(
    void *ctx, void *provkey, const OSSL_PARAM params[]);
typedef int(OSSL_FUNC_signature_verify_message_update_fn)(
    void *ctx, const unsigned char *in, size_t inlen);
typedef int(OSSL_FUNC_signature_verify_message_final_fn)(void *ctx);
#endif

/* Key encapsulation: 3.2. libcrypto may be newer than its headers were: the
 * functions are there where prov_core_has_dhkem() says so. */
#ifndef OSSL_FUNC_KEM_AUTH_ENCAPSULATE_INIT
# define OSSL_FUNC_KEM_AUTH_ENCAPSULATE_INIT 12
# define OSSL_FUNC_KEM_AUTH_DECAPSULATE_INIT 13
typedef int(OSSL_FUNC_kem_auth_encapsulate_init_fn)(
    void *ctx, void *provkey, void *authprivkey, const OSSL_PARAM params[]);
typedef int(OSSL_FUNC_kem_auth_decapsulate_init_fn)(
    void *ctx, void *provkey, void *authpubkey, const OSSL_PARAM params[]);
__attribute__((weak)) int EVP_PKEY_auth_encapsulate_init(
    EVP_PKEY_CTX *ctx, EVP_PKEY *authpriv, const OSSL_PARAM params[]);
__attribute__((weak)) int EVP_PKEY_auth_decapsulate_init(
    EVP_PKEY_CTX *ctx, EVP_PKEY *authpub, const OSSL_PARAM params[]);
#endif

/* Errors: 3.5. libcrypto may be newer than its headers were: where ERR_pop is
 * not there, nothing has raised these. */
#ifndef EVP_R_PROVIDER_SIGNATURE_FAILURE
# define EVP_R_PROVIDER_ASYM_CIPHER_FAILURE 232
# define EVP_R_PROVIDER_SIGNATURE_FAILURE 234
__attribute__((weak)) int ERR_pop(void);
# define PROV_CAN_POP_ERRORS (ERR_pop != NULL)
#else
# define PROV_CAN_POP_ERRORS true
#endif

/* Key exchange: 3.6. The function type needs 3.6's own types. */
#ifndef OSSL_FUNC_KEYEXCH_DERIVE_SKEY
# define OSSL_FUNC_KEYEXCH_DERIVE_SKEY 11
#endif

/* Store: 3.2 */
#ifndef OSSL_FUNC_STORE_DELETE
# define OSSL_FUNC_STORE_DELETE 9
typedef int(OSSL_FUNC_store_delete_fn)(void *provctx, const char *uri,
                                       const OSSL_PARAM params[],
                                       OSSL_PASSPHRASE_CALLBACK *pw_cb,
                                       void *pw_cbarg);
#endif
#ifndef OSSL_FUNC_STORE_OPEN_EX
# define OSSL_FUNC_STORE_OPEN_EX 10
typedef void *(OSSL_FUNC_store_open_ex_fn)(void *provctx, const char *uri,
                                           const OSSL_PARAM params[],
                                           OSSL_PASSPHRASE_CALLBACK *pw_cb,
                                           void *pw_cbarg);
#endif

/* Parameter names and values */
#ifndef OSSL_PKEY_PARAM_SECURITY_CATEGORY                       /* 3.6 */
# define OSSL_PKEY_PARAM_SECURITY_CATEGORY "security-category"
#endif
#ifndef OSSL_PKEY_PARAM_IMPLICIT_REJECTION                      /* 3.2 */
# define OSSL_PKEY_PARAM_IMPLICIT_REJECTION "implicit-rejection"
#endif
#ifndef OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION               /* 3.2 */
# define OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION "implicit-rejection"
#endif
#ifndef OSSL_KEM_PARAM_OPERATION_DHKEM                          /* 3.2 */
# define OSSL_KEM_PARAM_OPERATION_DHKEM "DHKEM"
# define OSSL_KEM_PARAM_IKME "ikme"
# define OSSL_PKEY_PARAM_DHKEM_IKM "dhkem-ikm"
#endif
#ifndef OSSL_SIGNATURE_PARAM_NONCE_TYPE                         /* 3.2 */
# define OSSL_SIGNATURE_PARAM_NONCE_TYPE "nonce-type"
#endif
#ifndef OSSL_SIGNATURE_PARAM_SIGNATURE                          /* 3.4 */
# define OSSL_SIGNATURE_PARAM_SIGNATURE "signature"
#endif
#ifndef OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO_DIGEST_MAX              /* 3.1 */
# define OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO_DIGEST_MAX "auto-digestmax"
#endif
#ifndef OSSL_OBJECT_PARAM_INPUT_TYPE                            /* 3.2 */
# define OSSL_OBJECT_PARAM_INPUT_TYPE "input-type"
#endif

#endif
