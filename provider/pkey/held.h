/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the contexts of encryption, encapsulation and key agreement have in
 * common: a key, and an operation of the private library context with its
 * software half, which judges and remembers parameters. Each of their
 * structures begins with it.
 */
#ifndef PROV_PKEY_HELD_H
#define PROV_PKEY_HELD_H

#include <stddef.h>

#include <openssl/core.h>
#include <openssl/evp.h>

#include "provider/ctx.h"
#include "provider/keymgmt/key.h"
#include "provider/soft.h"

struct prov_held {
    struct prov_ctx *prov;
    struct prov_key *key;       /* keeps the software key; NULL before init */
    EVP_PKEY_CTX *pctx;         /* NULL before init */
};

/* A structure of size bytes that begins with one; zeros but for prov. The
 * caller's, for OPENSSL_free() after prov_held_clear(). NULL: raised. */
void *prov_held_new(struct prov_ctx *prov, size_t size);
/* Likewise a copy of such a structure, with a key and an operation of its
 * own; what else it counts is the caller's to count. NULL: raised. */
void *prov_held_dup(const struct prov_held *src, size_t size);
void prov_held_clear(struct prov_held *h);

/* Begins an operation with a key. purpose: for people, as "derive with". 0:
 * raised. */
int prov_held_begin(struct prov_held *h, struct prov_key *key,
                    prov_soft_init_fn *how, const OSSL_PARAM params[],
                    const char *purpose);

/* Functions of a dispatch table, for such a structure or NULL. */
int prov_held_set_ctx_params(void *vctx, const OSSL_PARAM params[]);
int prov_held_get_ctx_params(void *vctx, OSSL_PARAM params[]);

#endif
