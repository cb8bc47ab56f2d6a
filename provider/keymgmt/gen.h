/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key generation: in a token when a pkcs11_… parameter says so, otherwise a
 * software key made by the private library context.
 */
#ifndef PROV_KEYMGMT_GEN_H
#define PROV_KEYMGMT_GEN_H

#include "provider/keymgmt/key.h"

struct prov_gen;

struct prov_gen *prov_gen_new(struct prov_ctx *ctx,
                              const struct prov_keytype *type, int selection);
extern OSSL_FUNC_keymgmt_gen_set_template_fn prov_gen_set_template;
extern OSSL_FUNC_keymgmt_gen_set_params_fn prov_gen_set_params;
extern OSSL_FUNC_keymgmt_gen_settable_params_fn prov_gen_settable_params;
extern OSSL_FUNC_keymgmt_gen_fn prov_gen_run;
extern OSSL_FUNC_keymgmt_gen_cleanup_fn prov_gen_cleanup;

#endif
