/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways in which a token can decrypt: rows, the best first.
 */
#ifndef PROV_PKEY_TABLE_H
#define PROV_PKEY_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/cryptoki.h"

enum prov_dec_scheme {
    PROV_DEC_PKCS1,
    PROV_DEC_OAEP,
    PROV_DEC_RAW,
    PROV_DEC_TLS                /* PKCS#1 v1.5 around a premaster secret */
};

struct prov_dec_way {
    enum prov_dec_scheme scheme;
    CK_MECHANISM_TYPE mechanism;
    bool unpads;                /* the token does, not we */
    bool if_allowed;            /* only where a setting says so */
};

extern const struct prov_dec_way prov_dec_ways[];
extern const size_t prov_dec_n_ways;

/* What tokens answer when the padding that they take away is wrong. */
bool prov_dec_is_bad_padding(CK_RV rv);

#endif
