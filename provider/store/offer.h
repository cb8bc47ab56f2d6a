/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing keys and certificates to libcrypto, as its object abstraction
 * [provider-object(7)]: keys by reference, certificates by value.
 */
#ifndef PROV_STORE_OFFER_H
#define PROV_STORE_OFFER_H

#include "provider/keymgmt/key.h"
#include "src/base/buf.h"

/* Takes the key over, also when it is not wanted. Gives the callback's
 * answer. */
int prov_offer_key(struct prov_key *key, OSSL_CALLBACK *cb, void *cbarg);
int prov_offer_cert(struct hsm_bytes der, OSSL_CALLBACK *cb, void *cbarg);
/* DER for the next decoder, which is the one of that key type. */
int prov_offer_der(struct hsm_bytes der, const char *structure,
                   const char *key_type, OSSL_CALLBACK *cb, void *cbarg);

/*
 * export_object of the store and the decoders: a public key becomes a key of
 * the provider that asks. A private key is refused, without an error, and is
 * then loaded by our own key management.
 */
int prov_offer_export(void *ctx, const void *reference, size_t size,
                      OSSL_CALLBACK *cb, void *cbarg);

#endif
