/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation with a private key: the only place that takes a session,
 * resolves the handle, inits, acts, gives back, and retries once.
 */
#ifndef HSM_CRYPTO_OP_H
#define HSM_CRYPTO_OP_H

#include "src/crypto/mech.h"
#include "src/object/key.h"

enum hsm_op_kind { HSM_OP_SIGN, HSM_OP_DECRYPT };

/*
 * in → out, of at most *out_len bytes; *out_len becomes what was written. The
 * buffer must have the size that the key's row says, so that no length query
 * is needed: two Cryptoki calls, three for always-authenticate keys.
 */
HSM_CHECKED hsm_rc hsm_op_once(struct hsm_key *key, enum hsm_op_kind kind,
                               const struct hsm_mech *mech,
                               struct hsm_bytes in, unsigned char *out,
                               size_t *out_len);

/* The key's token offers it and the key allows it. Resolves the key. */
HSM_CHECKED hsm_rc hsm_op_can(struct hsm_key *key, CK_MECHANISM_TYPE type,
                              bool *can);

/* The key's token refused this, and another way served: from now on that one
 * comes first, until the token is started anew. */
void hsm_op_avoid(struct hsm_key *key, enum hsm_op_kind kind,
                  const struct hsm_mech *mech);
bool hsm_op_avoids(struct hsm_key *key, enum hsm_op_kind kind,
                   const struct hsm_mech *mech);

#endif
