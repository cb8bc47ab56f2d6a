/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which public keys and certificates a token has, by CKA_ID and label: to find
 * the public halves of many private keys without a search for each, which
 * takes as long as there are objects. A few octets for each object.
 */
#ifndef HSM_OBJECT_INDEX_H
#define HSM_OBJECT_INDEX_H

#include "src/object/object.h"

struct hsm_index {
    struct hsm_index_entry *v;
    size_t n;
    bool has_certs, has_public, has_private;
};

#define HSM_INDEX_INIT { NULL, 0, false, false, false }

void hsm_index_clear(struct hsm_index *index);
/*
 * Completes the public half of the private key objects[0], as
 * hsm_objects_complete() does, and restricts it; what was read for that is
 * added to objects. At the first key whose public half is known, or is not, the
 * certificates are put into the index, or the public keys, too; the private
 * ones where keys that share a label have to be told apart: a search each, and
 * one call for each object that is found.
 */
HSM_CHECKED hsm_rc hsm_index_complete(struct hsm_index *index,
                                      struct hsm_session *s,
                                      struct hsm_objects *objects);

#endif
