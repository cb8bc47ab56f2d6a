/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function list whose functions call a module's by a worker thread, for the
 * time that the gate's present user allows (hsm_gate_use_now()), and return
 * HSM_E_CALL_TIMEOUT where that was not enough. Put in the place of the
 * module's own list; without a limit nothing of this is there.
 */
#ifndef HSM_BASE_TIMED_H
#define HSM_BASE_TIMED_H

#include "src/base/result.h"

/* Functions that the module lacks (NULL) are lacking here too; those that
 * nothing of us calls are the module's own. */
void hsm_timed_list(const CK_FUNCTION_LIST *real, CK_FUNCTION_LIST *out);

#endif
