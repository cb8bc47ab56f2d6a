/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explicit parameters of EC keys: libcrypto knows which of them are a named
 * curve's. Keys on tokens are served on named curves only.
 */
#ifndef PROV_CURVE_H
#define PROV_CURVE_H

#include <openssl/types.h>

#include "src/module/context.h"

/* struct hsm_hooks' name_curve; arg is not used. */
hsm_rc prov_curve_name(void *arg, struct hsm_bytes params,
                       struct hsm_buf *oid);

/* How the software half of an EC key is written and agreed with. */
struct prov_curve_manner {
    char *point_format;         /* NULL: as it is */
    char *group_check;          /* likewise */
    int cofactor;               /* PROV_CURVE_UNSET, or a flag */
};
#define PROV_CURVE_UNSET (-1)

/* libcrypto keeps the form of a point that was read in a place that exporting
 * does not look at: this puts it in both. False: it cannot be told. */
bool prov_curve_keep_form(EVP_PKEY *soft);
/* 1, also where there is nothing to set; 0 and raised by libcrypto. */
int prov_curve_set_manner(EVP_PKEY *soft, const struct prov_curve_manner *m);

#endif
