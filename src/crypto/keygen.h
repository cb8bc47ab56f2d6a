/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a key pair in a token.
 */
#ifndef HSM_CRYPTO_KEYGEN_H
#define HSM_CRYPTO_KEYGEN_H

#include "src/object/key.h"

/* What a key may be used for; 0: what its type is made for. */
enum hsm_usage {
    HSM_USE_SIGN = 1,           /* digitalSignature: sign, verify */
    HSM_USE_DECRYPT = 2,        /* decrypt, encrypt */
    HSM_USE_DERIVE = 4,
    HSM_USE_WRAP = 8            /* unwrap, wrap */
};

struct hsm_keygen {
    const struct hsm_keytype *kt;
    unsigned int bits;          /* RSA: of the modulus */
    struct hsm_bytes exponent;  /* RSA: big-endian; empty: 65537 */
    const struct hsm_curve *curve;          /* EC */
    unsigned int usage;         /* enum hsm_usage; 0: default of the type */
    bool session_object;        /* not stored: dies with the process */
    struct hsm_bytes id, label; /* empty: as the URI says */
    /* What else is asked for, by attribute; wins over the defaults. */
    struct hsm_attrs pub_asked, priv_asked;
    /* What an attribute is called where it was asked for; NULL: nothing is. */
    const char *(*name_of)(CK_ATTRIBUTE_TYPE type);
    /* Called before the token begins; false: it is not to begin. Or NULL. */
    bool (*begin)(void *arg);
    void *begin_arg;
};

/* What the key may be used for: what its type is made for, where nothing else
 * was asked for. */
unsigned int hsm_keygen_usage(const struct hsm_keygen *spec);

/*
 * Makes the pair on the one token that the URI selects; the URI's id and
 * object become CKA_ID (else 16 random bytes) and CKA_LABEL of both halves.
 * Defaults: PRIVATE, SENSITIVE, not EXTRACTABLE. HSM_E_SEVERAL when more than
 * one token matches, HSM_E_PARAMETER when the URI says type= other than
 * private, or a key with that id (without one: that label) is there already.
 * HSM_E_NO_MECHANISM for mechanisms asked for that the token does not offer,
 * HSM_E_CANCELLED when begin() says so. A pair that has not all of what
 * was asked for is deleted again, and is HSM_E_BAD_DATA. Never makes a second
 * pair when the token fails in the middle of it.
 */
HSM_CHECKED hsm_rc hsm_keygen_pair(struct hsm_context *ctx,
                                   struct hsm_uri *uri,
                                   const struct hsm_keygen *spec,
                                   const struct hsm_cred *cred,
                                   struct hsm_key **out);

#endif
