/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the encoders share. There are encoders for private keys only, and none
 * of them ever writes one: public keys are the default provider's to encode.
 */
#ifndef PROV_STORE_ENCODER_H
#define PROV_STORE_ENCODER_H

#include "provider/keymgmt/key.h"

/* The context of an encoder is the provider's. */
extern OSSL_FUNC_encoder_newctx_fn prov_encoder_newctx;
extern OSSL_FUNC_encoder_freectx_fn prov_encoder_freectx;
extern OSSL_FUNC_encoder_does_selection_fn prov_encoder_does_selection;

/* A key on a token. Raises, and is 0, for any other: what would be written
 * could be taken for one. */
int prov_encoder_accepts(const struct prov_ctx *ctx,
                         const struct prov_key *key);

/* encoder_text.c */
extern const OSSL_DISPATCH prov_encoder_text_functions[];

#endif
