/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signature operation of the private library context with the software half
 * of a key.
 *
 * For a software key, and to verify, it does the whole work. For a signature
 * by a token it is a signing operation with the public half, which is never
 * asked to sign: it judges parameters, remembers them, and answers for them,
 * so that every rule about paddings, digests and salts is the default
 * provider's (which looks for the private half only when it signs).
 */
#ifndef PROV_SHADOW_H
#define PROV_SHADOW_H

#include "provider/soft.h"

struct prov_shadow {
    EVP_MD_CTX *md;         /* of digest-sign and digest-verify */
    EVP_PKEY_CTX *pctx;     /* NULL before init; md's own where there is md */
};

/* Starts anew; raises, and leaves nothing, on failure. */
int prov_shadow_init(struct prov_shadow *s, const struct prov_ctx *ctx,
                     EVP_PKEY *key, prov_soft_init_fn *init,
                     const OSSL_PARAM params[]);

/* key NULL: the one of before, and with mdname NULL the digest of before. */
struct prov_shadow_digest {
    bool verify;
    const char *mdname;
    EVP_PKEY *key;
    const OSSL_PARAM *params;
};
int prov_shadow_digest_init(struct prov_shadow *s, const struct prov_ctx *ctx,
                            const struct prov_shadow_digest *d);
/* The digest that digest_init settled on. Borrowed; NULL: none. */
const EVP_MD *prov_shadow_md(const struct prov_shadow *s);

/* dst is overwritten, empty where it fails. */
int prov_shadow_dup(struct prov_shadow *dst, const struct prov_shadow *src);
void prov_shadow_clear(struct prov_shadow *s);

#endif
