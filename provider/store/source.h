/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a URI names, one after the other, as the store hands it out: all there
 * is on a token without having read it before, what an object's name or a
 * search gives, and behind a leaf certificate its chain.
 */
#ifndef PROV_STORE_SOURCE_H
#define PROV_STORE_SOURCE_H

#include "provider/store/find.h"
#include "src/object/walk.h"

struct prov_source {
    struct prov_ctx *ctx;
    struct hsm_uri *uri;        /* not owned */
    unsigned int want;          /* enum hsm_want */
    bool public_halves;         /* of whatever the URI names */
    bool one_key;               /* all that comes has to be the same key */
    struct prov_find find;
    bool begun;
    struct hsm_walk *walk;      /* or NULL: items are all there is */
    struct hsm_items items;     /* what comes next, from "next" on */
    size_t next;
    struct hsm_buf last_cert;   /* whose issuer is to come next */
    unsigned int depth;
};

void prov_source_clear(struct prov_source *src);
/*
 * The next item, valid until the next call; NULL with HSM_OK at the end. cred
 * is for this call only. Errors are the core's; the source has ended then.
 */
HSM_CHECKED hsm_rc prov_source_next(struct prov_source *src,
                                    struct hsm_context *hsm,
                                    const struct hsm_cred *cred,
                                    const struct hsm_item **out);
/* It is known that nothing more comes. */
bool prov_source_is_empty(const struct prov_source *src);

#endif
