/* SPDX-License-Identifier: Apache-2.0 */
/* Names of mechanisms, for messages: rows in ascending order of the value. */
#ifndef HSM_CRYPTO_MECH_TABLE_H
#define HSM_CRYPTO_MECH_TABLE_H

#include <stddef.h>

#include "src/base/cryptoki.h"

struct hsm_mech_row {
    CK_MECHANISM_TYPE type;
    const char *name;
};

extern const struct hsm_mech_row hsm_mech_table[];
extern const size_t hsm_mech_table_n;

#endif
