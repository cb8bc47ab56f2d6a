/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a key besides the usual: whether the token can have it, and
 * whether it has it then. For keygen.c.
 */
#ifndef HSM_CRYPTO_ASKED_H
#define HSM_CRYPTO_ASKED_H

#include "src/crypto/keygen.h"

/* The attributes into a template, in place of what it has of them. */
HSM_CHECKED hsm_rc hsm_asked_add(const struct hsm_attrs *asked,
                                 struct hsm_attrs *tmpl);
/* HSM_E_NO_MECHANISM: allowed mechanisms that the token does not offer. */
HSM_CHECKED hsm_rc hsm_asked_is_offered(const struct hsm_keygen *spec,
                                        struct hsm_token *tok);
/* The failure of making the key, with the names of all that was asked for
 * where the token may mean that. */
HSM_CHECKED hsm_rc hsm_asked_blame(const struct hsm_keygen *spec, hsm_rc rc);
/* Reads what describes a key, and what was asked of this half besides. Not the
 * dates of a private one: SoftHSM cannot tell those that it has. */
HSM_CHECKED hsm_rc hsm_asked_read(const struct hsm_keygen *spec,
                                  struct hsm_session *s, CK_OBJECT_HANDLE h,
                                  bool is_private, struct hsm_attrs *out);
/* HSM_E_BAD_DATA, naming it: something that was asked for, and read, is not
 * what the object has; or a private half is not sensitive, or is extractable,
 * and that was not asked for. */
HSM_CHECKED hsm_rc hsm_asked_is_kept(const struct hsm_keygen *spec,
                                     const struct hsm_attrs *has,
                                     bool is_private,
                                     const struct hsm_token *tok);

#endif
