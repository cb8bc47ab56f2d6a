/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tokens a URI selects.
 */
#ifndef HSM_SESSION_SELECT_H
#define HSM_SESSION_SELECT_H

#include "src/module/context.h"
#include "src/module/token.h"
#include "src/session/uri.h"

#define HSM_TOKENS_MAX 64

struct hsm_tokens {
    struct hsm_token *tok[HSM_TOKENS_MAX];
    size_t n;
};

/*
 * All initialised tokens that match, modules started one after the other and,
 * when the URI names one token, only until it is found. HSM_E_NO_TOKEN lists
 * the tokens that there are, and the modules that failed.
 */
HSM_CHECKED hsm_rc hsm_select_tokens(struct hsm_context *ctx,
                                     const struct hsm_uri *uri,
                                     struct hsm_tokens *out);

#endif
