/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All objects of one token, one after the other: private keys, public keys,
 * certificates. Of each class the handles are found first, and an object is
 * read when it is its turn, so that the first comes soon and no more than one
 * is in memory. For one thread at a time.
 */
#ifndef HSM_OBJECT_WALK_H
#define HSM_OBJECT_WALK_H

#include "src/object/load.h"

struct hsm_walk;

/*
 * Touches the token no more than it takes to find it. *out is NULL with HSM_OK
 * where hsm_load() has to do it: the URI names an object, or several tokens
 * match, or only public keys are wanted, which may be found elsewhere.
 */
HSM_CHECKED hsm_rc hsm_walk_new(struct hsm_context *ctx, struct hsm_uri *uri,
                                unsigned int want, struct hsm_walk **out);
void hsm_walk_free(struct hsm_walk *w);
/*
 * The next one into items, which must be empty and stays so at the end. What
 * is broken is left out. Logs in where private keys are wanted, with cred.
 */
HSM_CHECKED hsm_rc hsm_walk_next(struct hsm_walk *w,
                                 const struct hsm_cred *cred,
                                 struct hsm_items *out);
/* How many have come so far. */
size_t hsm_walk_given(const struct hsm_walk *w);

#endif
