/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key encapsulation with EC keys: DHKEM of RFC 9180, which HPKE is made of.
 */
#ifndef PROV_PKEY_DHKEM_H
#define PROV_PKEY_DHKEM_H

#include "provider/compat.h"

extern const OSSL_DISPATCH prov_dhkem_functions[];

#endif
