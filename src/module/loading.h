/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a dlopen handle to function lists.
 */
#ifndef HSM_MODULE_LOADING_H
#define HSM_MODULE_LOADING_H

#include "src/base/result.h"

/*
 * The 2.40 functions of a loaded module, and its 3.x list where it has one
 * (else *f3 is NULL). CKR_FUNCTION_NOT_SUPPORTED when the file exports no
 * entry point; otherwise what that said.
 */
HSM_CHECKED hsm_rc hsm_loading_functions(void *dl, CK_FUNCTION_LIST **f,
                                         const struct hsm_functions_3_0 **f3);

#endif
