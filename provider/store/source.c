/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/source.h"

#include "provider/conf.h"
#include "provider/store/public.h"
#include "src/object/chain.h"

/* A chain is longer only by mistake. */
#define CHAIN_MAX 16

void prov_source_clear(struct prov_source *src)
{
    hsm_walk_free(src->walk);
    src->walk = NULL;
    hsm_items_clear(&src->items);
    src->next = 0;
    hsm_buf_clear(&src->last_cert);
    prov_find_clear(&src->find);
}

/* The URI says which object, or the search does. */
static bool names_object(const struct prov_source *src)
{
    struct hsm_bytes name;

    return hsm_uri_id(src->uri, &name) || hsm_uri_label(src->uri, &name);
}

/* What does not fit goes, and the others move up. */
static void sift(struct prov_source *src)
{
    struct hsm_items *items = &src->items;
    struct hsm_items kept = HSM_ITEMS_INIT;
    size_t i;

    if (src->find.kind == PROV_FIND_ALL) {
        return;
    }
    for (i = 0; i < items->n; i++) {
        if (prov_find_fits(&src->find, src->ctx, &items->v[i])) {
            struct hsm_item taken = items->v[kept.n];

            items->v[kept.n++] = items->v[i];
            items->v[i] = taken;
        }
    }
    hsm_items_cut(items, kept.n);
}

/* All at once: an object's name, or the token's own search. */
static hsm_rc load(struct prov_source *src, struct hsm_context *hsm,
                   const struct hsm_cred *cred)
{
    if (src->public_halves) {
        TRY(prov_public_find(hsm, src->uri, false, &src->items));
    } else {
        TRY(hsm_load(hsm, src->uri, src->want, cred, &src->items));
    }
    sift(src);
    return src->one_key && src->find.kind == PROV_FIND_ALL
        ? hsm_items_check_one(&src->items, src->uri) : HSM_OK;
}

/* Nothing is no failure of a search. */
static hsm_rc search(struct prov_source *src, struct hsm_context *hsm,
                     const struct hsm_cred *cred)
{
    struct hsm_by by;

    if (prov_find_by(&src->find, &by)) {
        TRY(hsm_load_by(hsm, src->uri, src->want, cred, &by, &src->items));
        sift(src);
        if (src->items.n > 0 || !prov_find_is_by_name(&src->find)) {
            return HSM_OK;
        }
        src->want &= HSM_WANT_CERT;
    }
    if (src->want == 0) {
        return HSM_OK;
    }
    TRY(hsm_walk_new(hsm, src->uri, src->want, &src->walk));
    if (src->walk == NULL) {
        hsm_rc rc = load(src, hsm, cred);

        return rc.rv == HSM_E_NO_KEY ? HSM_OK : rc;
    }
    return HSM_OK;
}

static hsm_rc begin(struct prov_source *src, struct hsm_context *hsm,
                    const struct hsm_cred *cred)
{
    src->begun = true;
    if (src->find.kind != PROV_FIND_ALL) {
        return search(src, hsm, cred);
    }
    if (!src->public_halves) {
        TRY(hsm_walk_new(hsm, src->uri, src->want, &src->walk));
    }
    return src->walk != NULL ? HSM_OK : load(src, hsm, cred);
}

/* One more of the walk. Where it ends without anything, loading tells why. */
static hsm_rc walk_on(struct prov_source *src, struct hsm_context *hsm,
                      const struct hsm_cred *cred)
{
    size_t before = 0;

    while (src->walk != NULL && src->next >= src->items.n) {
        hsm_items_clear(&src->items);
        src->next = 0;
        before = hsm_walk_given(src->walk);
        TRY(hsm_walk_next(src->walk, cred, &src->items));
        if (src->items.n == 0) {
            hsm_walk_free(src->walk);
            src->walk = NULL;
            return before == 0 && src->find.kind == PROV_FIND_ALL
                ? load(src, hsm, cred) : HSM_OK;
        }
        sift(src);
    }
    return HSM_OK;
}

/* A certificate that was named, and is no CA's, is followed by its chain. */
static bool wants_chain(const struct prov_source *src,
                        const struct hsm_item *item)
{
    return item->kind == HSM_WANT_CERT && src->last_cert.len == 0
           && src->depth == 0 && names_object(src)
           && src->find.kind == PROV_FIND_ALL
           && prov_conf_certificate_chain(&src->ctx->conf)
           && hsm_chain_is_leaf(hsm_buf_bytes(&item->cert));
}

static bool is_there(const struct hsm_items *items, struct hsm_bytes der)
{
    size_t i;

    for (i = 0; i < items->n; i++) {
        if (hsm_bytes_equal(hsm_buf_bytes(&items->v[i].cert), der)) {
            return true;
        }
    }
    return false;
}

/* Behind the items comes the issuer of the last certificate. */
static hsm_rc climb(struct prov_source *src, struct hsm_context *hsm)
{
    hsm_auto(hsm_buf) issuer = HSM_BUF_INIT;

    while (src->last_cert.len > 0 && src->next >= src->items.n) {
        TRY(hsm_chain_issuer(hsm, src->uri, hsm_buf_bytes(&src->last_cert),
                             &issuer));
        hsm_buf_clear(&src->last_cert);
        if (issuer.len == 0 || ++src->depth > CHAIN_MAX) {
            return HSM_OK;
        }
        TRY(hsm_buf_set(&src->last_cert, hsm_buf_bytes(&issuer)));
        if (!is_there(&src->items, hsm_buf_bytes(&issuer))) {
            TRY(hsm_items_add_cert(&src->items, hsm_buf_bytes(&issuer)));
        }
        hsm_buf_clear(&issuer);
    }
    return HSM_OK;
}

hsm_rc prov_source_next(struct prov_source *src, struct hsm_context *hsm,
                        const struct hsm_cred *cred,
                        const struct hsm_item **out)
{
    const struct hsm_item *item;

    *out = NULL;
    if (!src->begun) {
        TRY(begin(src, hsm, cred));
    }
    TRY(walk_on(src, hsm, cred));
    TRY(climb(src, hsm));
    if (src->next >= src->items.n) {
        return HSM_OK;
    }
    item = &src->items.v[src->next++];
    if (wants_chain(src, item)) {
        TRY(hsm_buf_set(&src->last_cert, hsm_buf_bytes(&item->cert)));
    }
    *out = item;
    return HSM_OK;
}

bool prov_source_is_empty(const struct prov_source *src)
{
    return src->begun && src->walk == NULL && src->items.n > 0
           && src->next >= src->items.n && src->last_cert.len == 0;
}
