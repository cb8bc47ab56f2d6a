/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates for tokens that refuse some attribute in them: what is there by
 * default, and can be done without, is left out one by one.
 */
#ifndef HSM_CRYPTO_LADDER_H
#define HSM_CRYPTO_LADDER_H

#include "src/object/attr.h"

/* The token refused an attribute, or that one is missing. */
bool hsm_ladder_is_refusal(hsm_rc rc);

/*
 * C_GenerateKeyPair. Where the templates are refused: again without uses that
 * are false, then without those of the public half, which works in software.
 * What protects the key is never left out. What was, is logged. h: the public
 * half and the private one. The first refusal, when nothing helps;
 * HSM_E_BAD_DATA where a key is there in spite of a refusal.
 */
HSM_CHECKED hsm_rc hsm_ladder_generate(struct hsm_session *s,
                                       CK_MECHANISM *mech,
                                       struct hsm_attrs *pub,
                                       struct hsm_attrs *priv,
                                       CK_OBJECT_HANDLE h[2]);

#endif
