/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways in which a token can make a signature: rows, the best first.
 */
#ifndef PROV_SIG_TABLE_H
#define PROV_SIG_TABLE_H

#include <stddef.h>

#include "src/base/cryptoki.h"

enum prov_sig_scheme {
    PROV_SCHEME_PKCS1,
    PROV_SCHEME_PSS,
    PROV_SCHEME_X931,
    PROV_SCHEME_RAW,            /* RSA without padding */
    PROV_SCHEME_ECDSA
};

/* What the token is given to sign. */
enum prov_sig_input {
    PROV_INPUT_AS_IS,
    PROV_INPUT_DIGEST_INFO,
    PROV_INPUT_EMSA_PKCS1,
    PROV_INPUT_EMSA_PSS,
    PROV_INPUT_X931_TRAILER,    /* hash, its identifier, CC */
    PROV_INPUT_EMSA_X931,
    PROV_INPUT_LEFTMOST,        /* no more than the order has octets */
    PROV_INPUT_MESSAGE          /* all of it: the token hashes by itself */
};

struct prov_sig_way {
    enum prov_sig_scheme scheme;
    CK_MECHANISM_TYPE mechanism;            /* unless it goes by the hash */
    enum prov_sig_input input;
    int pss;                    /* carries PSS parameters, and goes only where
                                 * MGF1 uses the message's hash */
    size_t by_hash;             /* where struct hsm_hash has the mechanism; 0:
                                 * it is the same for all */
};

extern const struct prov_sig_way prov_sig_ways[];
extern const size_t prov_sig_n_ways;

#endif
