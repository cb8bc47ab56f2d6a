/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the private library context: making them, and asking what they have.
 *
 * Always of the default provider there, whatever the application prefers, so
 * nothing here can lead back to this provider.
 */
#ifndef PROV_KEYMGMT_SOFTKEY_H
#define PROV_KEYMGMT_SOFTKEY_H

#include <stdbool.h>

#include <openssl/evp.h>

#include "provider/ctx.h"
#include "src/base/buf.h"

/* The caller owns what these return. NULL: libcrypto has raised why. */
EVP_PKEY *prov_softkey_from_params(const struct prov_ctx *ctx, const char *type,
                                   int selection, const OSSL_PARAM params[]);
EVP_PKEY *prov_softkey_from_spki(const struct prov_ctx *ctx,
                                 struct hsm_bytes spki);
/* A new key of that type with the selected parts of soft only. */
EVP_PKEY *prov_softkey_part(const struct prov_ctx *ctx, const char *type,
                            const EVP_PKEY *soft, int selection);

/* soft may be NULL: it has nothing then. */
bool prov_softkey_has_domain(const EVP_PKEY *soft);
bool prov_softkey_has_public(const EVP_PKEY *soft);
bool prov_softkey_has_private(const EVP_PKEY *soft);

/* The SubjectPublicKeyInfo; out stays empty where there is no public half.
 * Raises nothing. */
HSM_CHECKED hsm_rc prov_softkey_spki(const EVP_PKEY *soft,
                                     struct hsm_buf *out);

/* Answers like the default provider, but tells no private number. */
int prov_softkey_get_params(const EVP_PKEY *soft, OSSL_PARAM params[]);
int prov_softkey_set_params(EVP_PKEY *soft, const OSSL_PARAM params[]);
/* As the keymgmt call: 1 when every selected part is in order. */
int prov_softkey_check(const struct prov_ctx *ctx, EVP_PKEY *soft,
                       int selection, bool quick);

#endif
