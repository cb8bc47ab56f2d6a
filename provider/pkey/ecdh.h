/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ECDH by a token's key: what key agreement and key encapsulation share.
 */
#ifndef PROV_PKEY_ECDH_H
#define PROV_PKEY_ECDH_H

#include <stdbool.h>
#include <stddef.h>

#include "provider/keymgmt/key.h"

/* Octets of the secret of the largest curve, and more. */
#define PROV_ECDH_MAX 128
/* An uncompressed point, by the octets of a coordinate; room for each. */
#define PROV_ECDH_POINT(half) (1 + 2 * (half))
#define PROV_ECDH_POINT_MAX PROV_ECDH_POINT(PROV_ECDH_MAX)

/* Of a key on a token: raises, and is 0, when it must not derive. No call to
 * the token. */
int prov_ecdh_may(const struct prov_key *key);
/* Likewise: the octets of its secrets, and of a coordinate; at most
 * PROV_ECDH_MAX. 0: raised. */
size_t prov_ecdh_size(const struct prov_key *key);
/*
 * A token may not check that the peer's point is on the curve: it is done here,
 * whatever the caller has checked. Whether its order matters depends on the
 * cofactor; as everywhere in libcrypto, that check is the caller's. 0: raised.
 */
int prov_ecdh_check_peer(const struct prov_ctx *ctx, EVP_PKEY *peer);
/* 04 ‖ x ‖ y, each of half octets, whatever form the key prefers. False: it has
 * no such public half. */
bool prov_ecdh_point(const EVP_PKEY *key, size_t half, unsigned char *point);
/* The plain secret with a point of prov_ecdh_point()'s, both of the size that
 * the key has. Three calls. 0: raised. */
int prov_ecdh_on_token(const struct prov_key *key, const unsigned char *point,
                       unsigned char *secret);

#endif
