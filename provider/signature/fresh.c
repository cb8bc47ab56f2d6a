/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/fresh.h"

#include <string.h>
#include <strings.h>

/* A handshake asks for three or four; what is beyond is not kept. */
#define KEPT_MAX 8

struct prov_fresh {
    struct prov_fresh *next;
    char mdname[32];            /* as it was asked for; "": none */
    struct prov_shadow shadow;
};

static int start(struct prov_key *key, const char *mdname,
                 struct prov_shadow *s)
{
    struct prov_shadow_digest d = { false, mdname, key->soft, NULL };

    s->md = NULL;
    s->pctx = NULL;
    return prov_shadow_digest_init(s, key->ctx, &d);
}

static const struct prov_fresh *find(const struct prov_fresh *list,
                                     const char *name, unsigned int *n)
{
    for (*n = 0; list != NULL; list = list->next, (*n)++) {
        if (strcasecmp(list->mdname, name) == 0) {
            return list;
        }
    }
    return NULL;
}

/* Two threads may keep the same digest: one of the two is never found. */
static void keep(struct prov_key *key, const char *name,
                 const struct prov_shadow *s)
{
    struct prov_fresh *f = OPENSSL_zalloc(sizeof(*f));

    if (f == NULL || strlen(name) >= sizeof(f->mdname)
        || !prov_shadow_dup(&f->shadow, s)) {
        OPENSSL_free(f);
        return;
    }
    strcpy(f->mdname, name);
    f->next = atomic_load(&key->fresh);
    while (!atomic_compare_exchange_weak(&key->fresh, &f->next, f)) {
        continue;
    }
}

int prov_fresh_shadow(struct prov_key *key, const char *mdname,
                      struct prov_shadow *s)
{
    const char *name = mdname != NULL ? mdname : "";
    unsigned int n = 0;
    const struct prov_fresh *f = find(atomic_load(&key->fresh), name, &n);

    if (f != NULL) {
        return prov_shadow_dup(s, &f->shadow);
    }
    if (!start(key, mdname, s)) {
        return 0;
    }
    if (n < KEPT_MAX) {
        keep(key, name, s);
    }
    return 1;
}

void prov_fresh_free(struct prov_fresh *list)
{
    while (list != NULL) {
        struct prov_fresh *next = list->next;

        prov_shadow_clear(&list->shadow);
        OPENSSL_free(list);
        list = next;
    }
}
