/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a URI names: private keys (with their public halves from
 * wherever those can be found), public keys, certificates.
 */
#ifndef HSM_OBJECT_LOAD_H
#define HSM_OBJECT_LOAD_H

#include "src/object/key.h"

struct hsm_item {
    enum hsm_want kind;             /* PRIVATE, PUBLIC or CERT */
    struct hsm_key *key;            /* PRIVATE */
    struct hsm_public pub;          /* PUBLIC */
    struct hsm_buf cert;            /* CERT: DER */
    char *uri;                      /* ready to paste */
};

struct hsm_items {
    struct hsm_item *v;             /* private keys, public keys, certs */
    size_t n;
};

#define HSM_ITEMS_INIT { NULL, 0 }

/*
 * All that matches uri, restricted to the kinds in want. Logs in only where
 * private keys are wanted (or nothing was found without, and a PIN is at
 * hand). HSM_E_NO_TOKEN; HSM_E_NO_KEY with the near misses.
 */
HSM_CHECKED hsm_rc hsm_load(struct hsm_context *ctx, struct hsm_uri *uri,
                            unsigned int want, const struct hsm_cred *cred,
                            struct hsm_items *out);
void hsm_items_clear(struct hsm_items *items);
/* Leaves the first n. */
void hsm_items_cut(struct hsm_items *items, size_t n);
/* Adds a certificate that was found otherwise, without a URI. */
HSM_CHECKED hsm_rc hsm_items_add_cert(struct hsm_items *items,
                                      struct hsm_bytes der);

/* What else an object has to have; what is empty may be anything. */
struct hsm_by {
    struct hsm_bytes subject;       /* of a certificate: DER Name */
    struct hsm_bytes issuer;        /* likewise */
    struct hsm_bytes label;         /* CKA_LABEL */
};

/* The same among what the URI names, by the token's own search. That nothing
 * is found is no failure. Only a subject, or an issuer, is searched for. */
HSM_CHECKED hsm_rc hsm_load_by(struct hsm_context *ctx, struct hsm_uri *uri,
                               unsigned int want, const struct hsm_cred *cred,
                               const struct hsm_by *by,
                               struct hsm_items *out);

/*
 * HSM_E_SEVERAL, with the candidates as URIs, when the items, all private keys
 * or all public ones, are not all the same key. One key on several tokens is
 * one.
 */
HSM_CHECKED hsm_rc hsm_items_check_one(const struct hsm_items *items,
                                       const struct hsm_uri *uri);

/*
 * The one private key that a URI names. HSM_E_NO_KEY with the near misses,
 * HSM_E_SEVERAL with the candidates as URIs.
 */
HSM_CHECKED hsm_rc hsm_load_key(struct hsm_context *ctx, struct hsm_uri *uri,
                                const struct hsm_cred *cred,
                                struct hsm_key **out);

#endif
