/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freshly initialised signing operations, kept with a token key to be copied.
 *
 * libssl starts one for every candidate of every handshake. Starting costs
 * several fetches and a search of names in libcrypto, several times what a
 * copy does. A few digests per key are kept; the list only grows until the
 * key goes, so any thread may read it without a lock.
 */
#ifndef PROV_FRESH_H
#define PROV_FRESH_H

#include "provider/keymgmt/key.h"
#include "provider/signature/shadow.h"

/* As prov_shadow_digest_init() for signing with this key and digest, without
 * parameters. s is overwritten, empty where it fails. */
int prov_fresh_shadow(struct prov_key *key, const char *mdname,
                      struct prov_shadow *s);

/* The whole list. */
void prov_fresh_free(struct prov_fresh *list);

#endif
