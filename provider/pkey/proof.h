/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That a private key on a token is the one whose public half we have, where the
 * token does not say so: it has the private object alone, whose public half a
 * reference claims, or was seen before.
 *
 * A result proves it, once for each time that the object was found. Until then
 * none is given out unproved. Where the token shows the public half the core
 * has compared it, and nothing here calls the token.
 */
#ifndef PROV_PROOF_H
#define PROV_PROOF_H

#include "provider/keymgmt/key.h"
#include "src/crypto/mech.h"

struct prov_proof {
    const struct prov_key *key;
    unsigned int found;         /* the finding, before the operation */
    bool unsure;
};

/* Before an operation; finds the key on its token where that was not done. */
HSM_CHECKED hsm_rc prov_proof_begin(const struct prov_key *key,
                                    struct prov_proof *p);
/* After it: what it was done with may be another key. */
bool prov_proof_is_due(const struct prov_proof *p);
/* The result is the key's, or another one's: HSM_E_OTHER_KEY. */
HSM_CHECKED hsm_rc prov_proof_end(const struct prov_proof *p, bool good);

/* m is what c is decrypted to, without padding, both as long as the modulus.
 * Raises nothing. */
bool prov_proof_is_root(const struct prov_key *key, struct hsm_bytes m,
                        struct hsm_bytes c);
/*
 * Where it is unsure: has the token decrypt something of ours, or agree with a
 * key of ours. mech decrypts PKCS#1 v1.5; so many calls as the operation.
 */
HSM_CHECKED hsm_rc prov_proof_by_pkcs1(const struct prov_proof *p,
                                       const struct hsm_mech *mech);
HSM_CHECKED hsm_rc prov_proof_by_ecdh(const struct prov_proof *p);

#endif
