/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MGF1 [RFC 8017, B.2.1], and the hash that it needs. What is hashed may be
 * secret; only lengths show in the time that it takes.
 */
#ifndef PROV_MGF1_H
#define PROV_MGF1_H

#include <openssl/evp.h>

#include "src/base/buf.h"

/* A digest and something to compute it with. One thread at a time. */
struct prov_hasher {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
    size_t bytes;
};

#define PROV_HASHER_INIT { NULL, NULL, 0 }

/* hsm_auto(prov_hasher) h = PROV_HASHER_INIT; */
void prov_hasher_clear(struct prov_hasher *h);
/* By a name of libcrypto's. Raises, and is 0, when there is no such digest. */
int prov_hasher_init(struct prov_hasher *h, OSSL_LIB_CTX *libctx,
                     const char *name);
/* out = hash(a ‖ b ‖ c), of h->bytes octets. 1 or 0. */
int prov_hasher_run(const struct prov_hasher *h, struct hsm_bytes a,
                    struct hsm_bytes b, struct hsm_bytes c,
                    unsigned char *out);
/* db ^= MGF1(seed). 1 or 0. */
int prov_mgf1_xor(const struct prov_hasher *h, struct hsm_bytes seed,
                  unsigned char *db, size_t db_len);

#endif
