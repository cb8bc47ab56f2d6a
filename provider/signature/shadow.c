/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/shadow.h"

void prov_shadow_clear(struct prov_shadow *s)
{
    if (s->md != NULL) {
        EVP_MD_CTX_free(s->md);
    } else {
        EVP_PKEY_CTX_free(s->pctx);
    }
    s->md = NULL;
    s->pctx = NULL;
}

int prov_shadow_init(struct prov_shadow *s, const struct prov_ctx *ctx,
                     EVP_PKEY *key, prov_soft_init_fn *init,
                     const OSSL_PARAM params[])
{
    EVP_PKEY_CTX *pctx = prov_soft_new(ctx, key, init, params);

    prov_shadow_clear(s);
    s->pctx = pctx;
    return pctx != NULL;
}

int prov_shadow_digest_init(struct prov_shadow *s, const struct prov_ctx *ctx,
                            const struct prov_shadow_digest *d)
{
    int ok = 0;

    if (d->key != NULL) {
        prov_shadow_clear(s);
    }
    if (s->md == NULL) {
        prov_shadow_clear(s);
        s->md = EVP_MD_CTX_new();
    }
    if (s->md == NULL) {
        return 0;
    }
    ok = d->verify
         ? EVP_DigestVerifyInit_ex(s->md, &s->pctx, d->mdname, ctx->libctx,
                                   NULL, d->key, d->params)
         : EVP_DigestSignInit_ex(s->md, &s->pctx, d->mdname, ctx->libctx,
                                 NULL, d->key, d->params);
    if (ok <= 0) {
        /* Refused with the key of before, it goes on as it was. */
        if (d->key != NULL) {
            prov_shadow_clear(s);
        }
        return 0;
    }
    /* The caller's context was copied if it is to go on: no second copy. */
    EVP_MD_CTX_set_flags(s->md, EVP_MD_CTX_FLAG_FINALISE);
    return 1;
}

const EVP_MD *prov_shadow_md(const struct prov_shadow *s)
{
    return s->md != NULL ? EVP_MD_CTX_get0_md(s->md) : NULL;
}

int prov_shadow_dup(struct prov_shadow *dst, const struct prov_shadow *src)
{
    dst->md = NULL;
    dst->pctx = NULL;
    if (src->md == NULL) {
        dst->pctx = src->pctx != NULL ? EVP_PKEY_CTX_dup(src->pctx) : NULL;
        return src->pctx == NULL || dst->pctx != NULL;
    }
    dst->md = EVP_MD_CTX_new();
    if (dst->md == NULL || EVP_MD_CTX_copy_ex(dst->md, src->md) <= 0) {
        prov_shadow_clear(dst);
        return 0;
    }
    dst->pctx = EVP_MD_CTX_get_pkey_ctx(dst->md);
    return 1;
}
