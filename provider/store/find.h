/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OSSL_STORE_find() asks for: a certificate by its subject or by issuer
 * and serial number, an object by its label, a key by the hash of its public
 * half. Names are equal as X509_NAME_cmp() says.
 */
#ifndef PROV_STORE_FIND_H
#define PROV_STORE_FIND_H

#include <stdbool.h>

#include <openssl/x509.h>

#include "provider/ctx.h"
#include "src/object/load.h"

enum prov_find_kind {
    PROV_FIND_ALL,              /* nothing is searched for */
    PROV_FIND_SUBJECT,
    PROV_FIND_ISSUER,           /* and serial number */
    PROV_FIND_ALIAS,
    PROV_FIND_FINGERPRINT
};

struct prov_find {
    enum prov_find_kind kind;
    struct hsm_buf name;        /* DER, as given */
    X509_NAME *parsed;
    struct hsm_buf serial;      /* magnitude */
    struct hsm_buf fingerprint;
    char *digest;
    char *alias;
};

/* Takes what of the parameters is a search; later ones win. 0 and raised for
 * those that nothing can be found by. */
int prov_find_set(struct prov_find *find, const struct prov_ctx *ctx,
                  const OSSL_PARAM params[]);
void prov_find_clear(struct prov_find *find);

/* What the token itself can search for. False: every object has to be looked
 * at. */
bool prov_find_by(const struct prov_find *find, struct hsm_by *out);
/* Whether looking at every certificate may find more than the token did: its
 * search compares octets. */
bool prov_find_is_by_name(const struct prov_find *find);
/* It is what is searched for. */
bool prov_find_fits(const struct prov_find *find, const struct prov_ctx *ctx,
                    const struct hsm_item *item);

#endif
