/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OSSL_STORE_delete(): the one object that a URI names.
 */
#ifndef PROV_STORE_DELETE_H
#define PROV_STORE_DELETE_H

#include "provider/compat.h"

extern OSSL_FUNC_store_delete_fn prov_store_delete;

#endif
