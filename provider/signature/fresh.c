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
static void push(struct prov_key *key, struct prov_fresh *f)
{
    f->next = atomic_load(&key->fresh);
    while (!atomic_compare_exchange_weak(&key->fresh, &f->next, f)) {
        continue;
    }
}

/*
 * The original is what is kept, and a copy is handed out: OpenSSL 3.0's copies
 * of an ECDSA operation go on pointing into it for the algorithm's identifier.
 */
static int start_and_keep(struct prov_key *key, const char *name,
                          const char *mdname, struct prov_shadow *s)
{
    struct prov_fresh *f = OPENSSL_zalloc(sizeof(*f));

    if (f == NULL || !start(key, mdname, &f->shadow)) {
        OPENSSL_free(f);
        return 0;
    }
    memcpy(f->mdname, name, strlen(name));      /* zeros are behind it */
    push(key, f);
    return prov_shadow_dup(s, &f->shadow);
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
    if (n >= KEPT_MAX || strlen(name) >= sizeof(f->mdname)) {
        return start(key, mdname, s);
    }
    return start_and_keep(key, name, mdname, s);
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
