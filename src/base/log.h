/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one log sink of the process: a file, or nothing. Off until opened.
 * Nothing secret is ever passed to it: arguments of C_ calls are not logged,
 * only names, results and durations. Thread safe; a line is written at once.
 */
#ifndef HSM_BASE_LOG_H
#define HSM_BASE_LOG_H

#include <stdbool.h>

#include "src/base/result.h"

enum hsm_log_level {
    HSM_LOG_OFF,
    HSM_LOG_WARN,       /* something a person should know */
    HSM_LOG_INFO,       /* modules, tokens, logins, recoveries */
    HSM_LOG_CALL        /* every C_ call */
};

/*
 * "file:PATH,level:N": PATH "stderr" or a file that is appended to, N 1..3
 * (1 where it is left out). HSM_E_SETTING for anything else or an unwritable
 * file. The last opening wins; the sink is shared by all contexts.
 */
HSM_CHECKED hsm_rc hsm_log_open(const char *spec);
bool hsm_log_is_on(enum hsm_log_level level);
void hsm_log(enum hsm_log_level level, const char *fmt, ...) HSM_PRINTF(2, 3);

#endif
