/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in: a state per token, one login at a time, a PIN never sent twice.
 */
#ifndef HSM_SESSION_LOGIN_H
#define HSM_SESSION_LOGIN_H

#include "src/session/pin.h"
#include "src/session/session.h"

/*
 * Logs the token in through session s, unless it is. Uses the PIN that was
 * accepted before, else cred's; cred may be NULL. A token that needs no login
 * is fine. HSM_E_NO_PIN, HSM_E_PIN_REFUSED (not sent), HSM_E_PIN_FINAL (not
 * sent), HSM_E_PIN_SOURCE, or what C_Login said.
 */
HSM_CHECKED hsm_rc hsm_login_ensure(struct hsm_context *ctx,
                                    struct hsm_session *s,
                                    const struct hsm_cred *cred);
/* After hsm_login_ensure(): somebody has logged the token out (1 call). */
bool hsm_login_is_lost(struct hsm_session *s);
/* CKU_CONTEXT_SPECIFIC, between an Init and the act. The same sources. */
HSM_CHECKED hsm_rc hsm_login_for_operation(struct hsm_context *ctx,
                                           struct hsm_session *s,
                                           const struct hsm_cred *cred);

#endif
