/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a certificate to the one of its issuer, where tokens have it. Nothing is
 * verified: names and key identifiers are compared.
 */
#ifndef HSM_OBJECT_CHAIN_H
#define HSM_OBJECT_CHAIN_H

#include "src/object/load.h"

/* It is no CA's: something to put a chain behind. False for what is none. */
bool hsm_chain_is_leaf(struct hsm_bytes cert);
/*
 * The certificate of der's issuer on the tokens that the URI's token attributes
 * select; among several of that name the one whose key der names. out stays
 * empty where there is none, or der is its own issuer. Does not log in. Three
 * calls, and two for each candidate.
 */
HSM_CHECKED hsm_rc hsm_chain_issuer(struct hsm_context *ctx,
                                    struct hsm_uri *uri, struct hsm_bytes der,
                                    struct hsm_buf *out);

#endif
