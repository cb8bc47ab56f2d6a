/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single sessions, for the pool alone.
 */
#ifndef HSM_SESSION_SESSIONS_H
#define HSM_SESSION_SESSIONS_H

#include "src/session/session.h"

/* C_OpenSession, of the token's present epoch. CKR_SESSION_HANDLE_INVALID,
 * and no call, when the module was started anew since that began. */
HSM_CHECKED hsm_rc hsm_session_open(struct hsm_token *tok,
                                    enum hsm_session_kind kind,
                                    struct hsm_session **out);
/* The memory alone. */
void hsm_session_free(struct hsm_session *s);
/* Of this process, and of the token's present epoch. */
bool hsm_session_is_current(const struct hsm_session *s);
/* A call with it was written off, whoever made it: those that only tidy up do
 * not say so. */
bool hsm_session_has_timed_out(const struct hsm_session *s);
/* C_CloseSession where that is still right; frees it, unless it is a home: then
 * the last hsm_session_home_put() does. */
void hsm_session_close(struct hsm_session *s);

#endif
