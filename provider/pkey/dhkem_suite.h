/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHKEM's suites of EC keys, and what makes a secret of what was agreed on
 * [RFC 9180, 4 and 7.1].
 */
#ifndef PROV_PKEY_DHKEM_SUITE_H
#define PROV_PKEY_DHKEM_SUITE_H

#include <openssl/evp.h>

#include "provider/ctx.h"
#include "src/base/buf.h"

struct prov_dhkem_suite {
    const char *group;          /* libcrypto's name of the curve */
    const char *md;             /* of HKDF */
    unsigned int id;
    size_t field_bytes;         /* Nsk, Ndh */
    size_t secret_bytes;        /* Nsecret, and of the hash */
};

/* The largest of these. */
#define PROV_DHKEM_SECRET_MAX 64

/* By the curve of an EC key. NULL: it has another, or none with a name. */
const struct prov_dhkem_suite *prov_dhkem_suite_of(const EVP_PKEY *key);

/* ExtractAndExpand(): dh are the secrets that were agreed on, context the
 * public keys, one behind the other. secret has room for secret_bytes. 0:
 * raised. */
int prov_dhkem_secret(const struct prov_ctx *ctx,
                      const struct prov_dhkem_suite *suite,
                      struct hsm_bytes dh, struct hsm_bytes context,
                      unsigned char *secret);

#endif
