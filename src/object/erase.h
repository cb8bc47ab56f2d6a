/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting one object of a token.
 */
#ifndef HSM_OBJECT_ERASE_H
#define HSM_OBJECT_ERASE_H

#include "src/object/load.h"

/*
 * Deletes the one object that the URI names, by its id or label (a private key,
 * a public key or a certificate; both halves of a pair are two objects). Logs
 * in first where the token wants that. Refused before anything is called that
 * changes the token: HSM_E_URI for a URI that names no object,
 * HSM_E_SEVERAL with the candidates for one that names several or tokens that
 * are, HSM_E_NO_KEY for none, CKR_TOKEN_WRITE_PROTECTED,
 * CKR_ACTION_PROHIBITED for an object that is not to be deleted.
 */
HSM_CHECKED hsm_rc hsm_erase(struct hsm_context *ctx, struct hsm_uri *uri,
                             const struct hsm_cred *cred);

#endif
