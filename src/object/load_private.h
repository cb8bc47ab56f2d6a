/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One load: what is asked for, and what has been found so far. For load.c and
 * walk.c alone.
 */
#ifndef HSM_OBJECT_LOAD_PRIVATE_H
#define HSM_OBJECT_LOAD_PRIVATE_H

#include "src/object/load.h"
#include "src/object/object.h"

struct hsm_load {
    struct hsm_context *ctx;
    struct hsm_uri *uri;
    unsigned int want;
    const struct hsm_by *by;    /* or NULL */
    const struct hsm_cred *cred;
    struct hsm_items *out;
    struct hsm_token *tok;      /* being looked at */
    bool logged_in;             /* is what is there now all there is? */
    bool keys_only;             /* the search leaves certificates out */
    size_t n_seen;              /* objects that match, whatever their class */
    size_t n_broken;            /* of these certificates that are none */
};

/* What an object is good for here, enum hsm_want; 0: nothing. */
unsigned int hsm_load_kind_of(const struct hsm_object *o);
/* Adds an object of l->tok, seen in that epoch, to l->out. */
HSM_CHECKED hsm_rc hsm_load_item(struct hsm_load *l,
                                 const struct hsm_object *o,
                                 enum hsm_want kind, unsigned int epoch);
/* Its URI, to be freed. */
HSM_CHECKED hsm_rc hsm_load_compose(const struct hsm_load *l,
                                    const struct hsm_object *o, char **out);

#endif
