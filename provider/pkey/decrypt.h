/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA decryption by a token: by which mechanism, and who takes the padding
 * away.
 */
#ifndef PROV_DECRYPT_H
#define PROV_DECRYPT_H

#include <openssl/evp.h>

#include "provider/keymgmt/key.h"
#include "src/base/buf.h"

/* The operation: parameters are those of shadow, an encryption of the private
 * library context with the key's public half. */
struct prov_decrypt {
    struct prov_ctx *prov;
    struct prov_key *key;
    EVP_PKEY_CTX *shadow;
    bool reject;                /* implicitly: wrong padding is no error */
};

/* Raises, and is 0, when the key must not decrypt. No call to the token. */
int prov_decrypt_may(const struct prov_decrypt *d);
/* The room that a result needs; 0 and raised when that is not known. */
size_t prov_decrypt_size(const struct prov_decrypt *d);
/*
 * Decrypts in; out has room for *out_len octets, *out_len becomes what was
 * written. Two calls to the token. 0: raised why. Whether padding was good
 * shows in the result only, and never with TLS padding (always 48 octets) or
 * with implicit rejection.
 */
int prov_decrypt_on_token(const struct prov_decrypt *d, struct hsm_bytes in,
                          unsigned char *out, size_t *out_len);

#endif
