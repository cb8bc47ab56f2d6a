/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider's keydata: a key on a token with its public half in software,
 * or a key that is wholly in software. Every key type shares it.
 *
 * soft is an EVP_PKEY of the private library context: for a token key its
 * public half, for a software key all of it. It answers every question about
 * public values, so that answers are the default provider's, byte for byte.
 *
 * Reference counted, immutable once it is handed out, but for set_params: of a
 * software key anything, of a token key how soft is written and agreed with. A
 * software key's private part never leaves.
 */
#ifndef PROV_KEY_H
#define PROV_KEY_H

#include <stdatomic.h>

#include <openssl/evp.h>

#include "provider/ctx.h"
#include "src/object/key.h"

/* A row per keymgmt algorithm. */
struct prov_keytype {
    const char *name;           /* of keymgmt, "RSA-PSS" */
    const char *names;          /* all of them, as libcrypto spells them */
    const char *operation;      /* what signs with it: "RSA", "ECDSA" */
    const char *agreement;      /* what derives with it: "ECDH", or NULL */
    const char *default_group;  /* when generating without one, or NULL */
    CK_KEY_TYPE ckk;            /* of the token's object */
    unsigned int uses;          /* enum hsm_usage: all it can be made for */
    /* What import takes and export gives; NULL: of that there is nothing. */
    const OSSL_PARAM *(*types)(int selection);
};

/* signature/fresh.h */
struct prov_fresh;

struct prov_key {
    atomic_uint refs;
    struct prov_ctx *ctx;
    const struct prov_keytype *type;
    struct hsm_key *token;      /* NULL: the key is in software */
    EVP_PKEY *soft;             /* NULL: nothing in it yet */
    bool has_private;           /* on the token, or in soft */
    bool is_session;            /* a session object: ends with this process */
    struct prov_fresh *_Atomic fresh;       /* signing operations to copy */
};

/* An empty one; NULL with an error raised when memory is short. */
struct prov_key *prov_key_new(struct prov_ctx *ctx,
                              const struct prov_keytype *type);
struct prov_key *prov_key_get(struct prov_key *key);
void prov_key_put(struct prov_key *key);
void prov_key_putp(struct prov_key **key);

/*
 * Keydata of a token key (counted) or of a public key, of the type that the
 * SPKI says: id-RSASSA-PSS makes an RSA-PSS key. NULL and raised on failure.
 */
struct prov_key *prov_key_from_token(struct prov_ctx *ctx,
                                     struct hsm_key *key);
struct prov_key *prov_key_from_public(struct prov_ctx *ctx,
                                      const struct hsm_public *pub);

static inline bool prov_key_is_on_token(const struct prov_key *key)
{
    return key != NULL && key->token != NULL;
}

/* Rows of all key types; NULL where there is none. */
const struct prov_keytype *prov_keytype_by_name(const char *name);

/*
 * What crosses from the store and the decoders to keymgmt_load: the pointer,
 * passed as an octet string of sizeof(struct prov_key *) that refers to it.
 * Loading takes the reference over.
 */

#endif
