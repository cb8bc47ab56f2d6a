/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public halves of what a URI names, which may be a private key: whoever
 * verifies or encrypts must not need a PIN where the token does not ask.
 */
#ifndef PROV_STORE_PUBLIC_H
#define PROV_STORE_PUBLIC_H

#include "src/object/load.h"

/*
 * Public keys only; type=private in the URI does not keep them away. Nobody is
 * asked for a PIN; one that is at hand is used where nothing is found without.
 * Where the URI is a stranger's, a PIN of its own is not: a public key may come
 * from anybody, who could spend the token's tries.
 */
HSM_CHECKED hsm_rc prov_public_find(struct hsm_context *hsm,
                                    struct hsm_uri *uri, bool strangers,
                                    struct hsm_items *out);

#endif
