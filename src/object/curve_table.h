/* SPDX-License-Identifier: Apache-2.0 */
/* The rows behind keytype.h's look-ups. */
#ifndef HSM_OBJECT_CURVE_TABLE_H
#define HSM_OBJECT_CURVE_TABLE_H

#include "src/object/keytype.h"

extern const struct hsm_curve hsm_curve_table[];
extern const size_t hsm_curve_table_n;

#endif
