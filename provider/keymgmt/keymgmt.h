/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcrypto asks of keydata, the same for every key type.
 *
 * No function here touches a token: public values are cached in software, and
 * what only a token could tell about a private half is taken as given.
 */
#ifndef PROV_KEYMGMT_KEYMGMT_H
#define PROV_KEYMGMT_KEYMGMT_H

#include "provider/keymgmt/key.h"

/* All rows; the array ends with NULL. */
const struct prov_keytype *const *prov_keytypes(void);

extern OSSL_FUNC_keymgmt_free_fn prov_keymgmt_free;
extern OSSL_FUNC_keymgmt_get_params_fn prov_keymgmt_get_params;
extern OSSL_FUNC_keymgmt_set_params_fn prov_keymgmt_set_params;
extern OSSL_FUNC_keymgmt_has_fn prov_keymgmt_has;
extern OSSL_FUNC_keymgmt_validate_fn prov_keymgmt_validate;
extern OSSL_FUNC_keymgmt_match_fn prov_keymgmt_match;
extern OSSL_FUNC_keymgmt_import_fn prov_keymgmt_import;
extern OSSL_FUNC_keymgmt_export_fn prov_keymgmt_export;
extern OSSL_FUNC_keymgmt_dup_fn prov_keymgmt_dup;

/* With the row that libcrypto gives no closure for. */
struct prov_key *prov_keymgmt_load(const struct prov_keytype *type,
                                   const void *reference, size_t size);
const char *prov_keymgmt_operation(const struct prov_keytype *type,
                                   int operation_id);
/* What the default provider lists for this type; NULL where it has no list. */
const OSSL_PARAM *prov_keymgmt_gettable(const struct prov_ctx *ctx,
                                        const struct prov_keytype *type);
const OSSL_PARAM *prov_keymgmt_settable(const struct prov_ctx *ctx,
                                        const struct prov_keytype *type);

#endif
