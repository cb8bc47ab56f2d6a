/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is advertised: static tables, one per operation.
 */
#ifndef PROV_QUERY_H
#define PROV_QUERY_H

#include "provider/ctx.h"

/* Property definition of every algorithm. */
#define PROV_PROPS "provider=pkcs11"

extern OSSL_FUNC_provider_query_operation_fn prov_query_operation;

/* Each ends with a row of NULLs, and is defined beside its implementation. */
extern const OSSL_ALGORITHM prov_keymgmt_algorithms[];
extern const OSSL_ALGORITHM prov_signature_algorithms[];
/* Those, and composites. */
extern const OSSL_ALGORITHM prov_signature_composites[];
extern const OSSL_ALGORITHM prov_asymcipher_algorithms[];
extern const OSSL_ALGORITHM prov_keyexch_algorithms[];
extern const OSSL_ALGORITHM prov_kem_algorithms[];
extern const OSSL_ALGORITHM prov_kem_without_dhkem[];
extern const OSSL_ALGORITHM prov_store_algorithms[];
extern const OSSL_ALGORITHM prov_decoder_algorithms[];
extern const OSSL_ALGORITHM prov_encoder_algorithms[];

/* tlscap.c: TLS-GROUP entries, on the OpenSSL that needs them. */
extern OSSL_FUNC_provider_get_capabilities_fn prov_get_capabilities;

#endif
