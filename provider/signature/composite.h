/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composite signature algorithms: ECDSA, or RSA with PKCS#1 v1.5, and one hash.
 *
 * An application fetches them by name, with OpenSSL 3.4 and newer, and gives
 * either a digest or the message (EVP_PKEY_sign_init_ex2(),
 * EVP_PKEY_sign_message_init() and their like). They are the plain algorithm
 * told of its hash from the beginning, which is all that the default
 * provider's are. What is new: the hash cannot be changed, and a signature to
 * be verified may come before the message is complete.
 */
#ifndef PROV_COMPOSITE_H
#define PROV_COMPOSITE_H

#include "provider/compat.h"

/* What else their tables have is in provider/signature/signature.h. */
extern OSSL_FUNC_signature_sign_init_fn prov_composite_sign_init;
extern OSSL_FUNC_signature_sign_fn prov_composite_sign;
extern OSSL_FUNC_signature_sign_message_init_fn
    prov_composite_sign_message_init;
extern OSSL_FUNC_signature_verify_init_fn prov_composite_verify_init;
extern OSSL_FUNC_signature_verify_fn prov_composite_verify;
extern OSSL_FUNC_signature_verify_message_init_fn
    prov_composite_verify_message_init;
extern OSSL_FUNC_signature_verify_message_final_fn
    prov_composite_verify_message_final;
extern OSSL_FUNC_signature_verify_recover_init_fn prov_composite_recover_init;
extern OSSL_FUNC_signature_set_ctx_params_fn prov_composite_set_ctx_params;
extern OSSL_FUNC_signature_settable_ctx_params_fn prov_composite_settable;
extern OSSL_FUNC_signature_query_key_types_fn prov_composite_rsa_key_types;
extern OSSL_FUNC_signature_query_key_types_fn prov_composite_ecdsa_key_types;

#endif
