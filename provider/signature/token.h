/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signature by a token: which mechanism, over which octets.
 */
#ifndef PROV_SIG_TOKEN_H
#define PROV_SIG_TOKEN_H

#include "provider/signature/signature.h"
#include "src/base/buf.h"

/* Raises, and is 0, when the key must not sign, or the digest that was set
 * has no row. No call to the token. */
int prov_sig_token_may(const struct prov_sig *s);
/* Octets that a signature takes at most. */
size_t prov_sig_token_size(const struct prov_sig *s);
/*
 * Whether the token signs digests, or must have the whole message: where its
 * mechanisms, or those the key is allowed, all hash by themselves. Finds the
 * key on its token where that has not been done. Raises what failed.
 */
int prov_sig_token_decide(const struct prov_sig *s,
                          enum prov_sig_gives *gives);
/*
 * Signs tbs as the shadow's parameters say; sig has room for *sig_len octets,
 * at least those of prov_sig_token_size(), and *sig_len becomes what was
 * written. Where s has kept the message, tbs is its digest. Raises what
 * failed.
 */
int prov_sig_on_token(const struct prov_sig *s, struct hsm_bytes tbs,
                      unsigned char *sig, size_t *sig_len);

#endif
