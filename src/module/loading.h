/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a dlopen handle to a function list.
 */
#ifndef HSM_MODULE_LOADING_H
#define HSM_MODULE_LOADING_H

#include "src/base/result.h"

/*
 * The 2.40 functions of a loaded module: those that its 3.x list begins with,
 * where it has one. CKR_FUNCTION_NOT_SUPPORTED when the file exports no entry
 * point; otherwise what that said.
 */
HSM_CHECKED hsm_rc hsm_loading_functions(void *dl, CK_FUNCTION_LIST **f);

#endif
