/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/delete.h"

#include <openssl/err.h>

#include "provider/err.h"
#include "provider/prompt.h"
#include "src/object/erase.h"

int prov_store_delete(void *provctx, const char *uri, const OSSL_PARAM params[],
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct prov_ctx *ctx = provctx;
    struct prov_prompt prompt = { pw_cb, pw_cbarg };
    hsm_autop(hsm_uri) parsed = NULL;
    struct hsm_cred cred = { .uri = NULL };
    struct hsm_context *hsm;
    hsm_rc rc;

    (void)params;               /* properties: about algorithms */
    if (!prov_result(ctx, hsm_uri_parse(uri, &parsed))) {
        return 0;
    }
    hsm = prov_ctx_hsm(ctx);
    if (hsm == NULL) {
        return 0;
    }
    cred.uri = parsed;
    prov_prompt_cred(&prompt, &cred);
    /* A module that uses libcrypto leaves errors of its own. */
    ERR_set_mark();
    rc = hsm_erase(hsm, parsed, &cred);
    ERR_pop_to_mark();
    return prov_result(ctx, rc);
}
