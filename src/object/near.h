/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near misses: what was probably meant by a URI that matches nothing. No calls,
 * no state.
 */
#ifndef HSM_OBJECT_NEAR_H
#define HSM_OBJECT_NEAR_H

#include "src/object/object.h"

struct hsm_uri;

/* Puts first what comes closest to the URI by CKA_ID or label; what is equally
 * close stays in its order. */
void hsm_near_sort(const struct hsm_uri *uri, struct hsm_objects *objects);

/*
 * An id= in hexadecimal digits, "0a", is the characters 0 and a; most who write
 * it mean the byte. Appends how that is written, "; id= takes bytes as %XX:
 * id=%0A", or nothing where id= is something else. Fewer words when memory is
 * short.
 */
void hsm_near_id_hint(const struct hsm_uri *uri, struct hsm_buf *out);

#endif
