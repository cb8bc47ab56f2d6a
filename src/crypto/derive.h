/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key agreement: the shared secret as bytes.
 */
#ifndef HSM_CRYPTO_DERIVE_H
#define HSM_CRYPTO_DERIVE_H

#include "src/crypto/op.h"

/*
 * ECDH with a peer's point (raw, uncompressed): CKM_ECDH1_DERIVE with
 * CKD_NULL, or the cofactor one. The secret, left-padded to the field's size,
 * is written to out (*out_len in: room, out: used). Three calls: derive, read,
 * destroy. HSM_E_KEY_USE where the key must not derive.
 */
HSM_CHECKED hsm_rc hsm_derive_ecdh(struct hsm_key *key, bool cofactor,
                                   struct hsm_bytes point,
                                   unsigned char *out, size_t *out_len);

#endif
