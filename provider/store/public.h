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
 */
HSM_CHECKED hsm_rc prov_public_find(struct hsm_context *hsm,
                                    struct hsm_uri *uri,
                                    struct hsm_items *out);

#endif
