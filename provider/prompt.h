/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's passphrase callback as the core's prompt.
 */
#ifndef PROV_PROMPT_H
#define PROV_PROMPT_H

#include <openssl/core_dispatch.h>

#include "src/session/pin.h"

/* Valid during one dispatch call. */
struct prov_prompt {
    OSSL_PASSPHRASE_CALLBACK *cb;       /* NULL: nobody to ask */
    void *arg;
};

/* Fills cred's prompt (NULL where there is no callback). The errors that an
 * absent ui_method leaves are taken off the queue. */
void prov_prompt_cred(struct prov_prompt *p, struct hsm_cred *cred);

#endif
