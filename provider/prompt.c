/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/prompt.h"

#include <errno.h>
#include <stdint.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "src/base/buf.h"

/* More than libcrypto's part of a question takes, as measured. */
#define STACK_BYTES 8192

/* libcrypto keeps the answer in arrays on the stack while it hands it on, and
 * does not wipe them: this lies where they were. */
static __attribute__((noinline)) void wipe_stack(void)
{
    unsigned char below[STACK_BYTES];

    hsm_wipe(below, sizeof(below));
}

/*
 * libcrypto asks "Enter pass phrase for <info>:". The answer has no NUL. What
 * the callback leaves on the error queue says no more than that there was no
 * answer, for which the core has an error that names the token.
 */
static bool ask(void *arg, const char *prompt, char *pin, size_t size,
                size_t *len)
{
    const struct prov_prompt *p = arg;
    OSSL_PARAM params[2];
    int saved_errno = errno;
    size_t n = 0;
    bool answered;

    params[0] = OSSL_PARAM_construct_utf8_string(
        OSSL_PASSPHRASE_PARAM_INFO, (char *)(uintptr_t)prompt, 0);
    params[1] = OSSL_PARAM_construct_end();
    ERR_set_mark();
    answered = p->cb(pin, size, &n, params, p->arg) > 0 && n <= size;
    wipe_stack();
    ERR_pop_to_mark();
    errno = saved_errno;
    if (answered) {
        *len = n;
    }
    return answered;
}

void prov_prompt_cred(struct prov_prompt *p, struct hsm_cred *cred)
{
    cred->prompt = p->cb != NULL ? ask : NULL;
    cred->prompt_arg = p->cb != NULL ? p : NULL;
}
