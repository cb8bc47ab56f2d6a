/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching a token: all handles that match a template, at once.
 */
#ifndef HSM_OBJECT_FIND_H
#define HSM_OBJECT_FIND_H

#include "src/object/attr.h"

struct hsm_handles {
    CK_OBJECT_HANDLE *h;
    size_t n;
};

#define HSM_HANDLES_INIT { NULL, 0 }

/*
 * The handles of the objects that match, at most limit (0: all). Three calls
 * for fewer than 64 objects. The search is ended also when it fails.
 */
HSM_CHECKED hsm_rc hsm_find(struct hsm_session *s, struct hsm_attrs *tmpl,
                            size_t limit, struct hsm_handles *out);
void hsm_handles_clear(struct hsm_handles *hs);
/* Leaves each handle once, in the order in which they came first. */
HSM_CHECKED hsm_rc hsm_handles_unique(struct hsm_handles *hs);

#endif
