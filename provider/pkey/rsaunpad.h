/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA encodings undone, over what raw RSA gives.
 *
 * Who can tell a good encoding from a bad one by the time that it takes can
 * decrypt with the key [Bleichenbacher 1998, Manger 2001]. So nothing here
 * branches on, or looks up by, what the encoding holds: for one length there
 * is one sequence of instructions. tests/c/unpad_prov.c proves it.
 */
#ifndef PROV_RSAUNPAD_H
#define PROV_RSAUNPAD_H

#include <openssl/types.h>

#include "src/base/buf.h"

/* Of TLS's RSA key exchange [RFC 5246, 7.4.7.1]. */
#define PROV_PREMASTER_BYTES 48

/*
 * Where the message is: from em[at] on, at most max octets; at and max depend
 * on lengths only. good and len are secrets until they are told: good is a
 * mask as of ct.h, len is 0 where it is 0.
 */
struct prov_unpadded {
    size_t at, max;
    size_t good, len;
};

/*
 * EME-PKCS1-v1_5 [RFC 8017, 7.2.2]. em, of em_len octets, is overwritten, the
 * message moved to where u says. Is 0, and raises nothing, when em_len is too
 * small for any message.
 */
int prov_rsaunpad_pkcs1(unsigned char *em, size_t em_len,
                        struct prov_unpadded *u);

struct prov_rsaunpad_oaep {
    const char *md, *mgf1;      /* names of digests */
    struct hsm_bytes label;
};

/*
 * EME-OAEP [RFC 8017, 7.1.2], likewise. 0 is also for a digest that cannot be
 * had; libcrypto has raised why.
 */
int prov_rsaunpad_oaep(OSSL_LIB_CTX *libctx,
                       const struct prov_rsaunpad_oaep *oaep,
                       unsigned char *em, size_t em_len,
                       struct prov_unpadded *u);

/* The message goes to out, which has room for u->max octets; those behind it
 * stay as they were. */
void prov_rsaunpad_copy(const struct prov_unpadded *u, const unsigned char *em,
                        unsigned char *out);

/* Where u is bad, the first len octets of other are the message, and good;
 * len is at most u->max, other has that many. */
void prov_rsaunpad_or(struct prov_unpadded *u, unsigned char *em,
                      const unsigned char *other, size_t len);

/*
 * The premaster secret: the message where it is good, has 48 octets and begins
 * with one of the versions (0: none), otherwise what out held before, which
 * must be random. Nobody learns which.
 */
void prov_rsaunpad_premaster(const struct prov_unpadded *u,
                             const unsigned char *em,
                             const unsigned int version[2],
                             unsigned char out[PROV_PREMASTER_BYTES]);

#endif
