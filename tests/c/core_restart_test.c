/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module is started anew where that helps, and as seldom as it can be: it may
 * be somebody else's, or in use by others of the same process.
 */
#include "tests/c/bare_token.h"
#include "tests/c/core.h"

#define FAILURES 4

/* ---- of somebody else ---- */

/* Of a module that somebody else initialised: what we leave open. */
static bool fail_often(void *arg)
{
    struct core_setup how = { .remote = true };
    CK_FUNCTION_LIST *f = bare_functions(getenv("P11_MODULE"));
    unsigned char sig[SIG_BYTES];
    struct hsm_context *ctx = NULL;
    struct hsm_key *key = NULL;
    bool good = arg == NULL && f != NULL && f->C_Initialize(NULL) == CKR_OK;

    ctx = core_open(&how);
    key = core_key(ctx, RSA_URI);
    good = good && key != NULL && hsm_ok(core_sign(key, 1, sig));
    for (int i = 0; good && i < FAILURES; i++) {
        good = core_sign(key, 1, sig).rv == CKR_DEVICE_ERROR;
    }
    good = good && hsm_ok(core_sign(key, 1, sig));
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void test_not_ours(void)
{
    struct calls before, c;
    long long open;

    /* Each failure is met twice. */
    setenv("COUNT_FAIL", "C_Sign#2=0x30 C_Sign#3=0x30 C_Sign#4=0x30 "
           "C_Sign#5=0x30 C_Sign#6=0x30 C_Sign#7=0x30 C_Sign#8=0x30 "
           "C_Sign#9=0x30", 1);
    core_count_begin(&before);
    ok(core_in_child(fail_often, NULL),
       "a module of somebody else's works, fails, and works again");
    core_count_end(&before, &c);
    unsetenv("COUNT_FAIL");
    is_int(calls_of(&c, "C_Sign"), 2 * FAILURES + 2, "each is tried twice");
    open = calls_of(&c, "C_OpenSession") - calls_of(&c, "C_CloseSession");
    ok(open <= 1, "its sessions are closed: %lld are left", open);
    is_int(calls_of(&c, "C_Finalize"), 0, "it is not finalised");
}

/* Who initialised it ends it, and begins anew. */
static bool change_owner(void *arg)
{
    CK_FUNCTION_LIST *f = bare_functions(getenv("P11_MODULE"));
    unsigned char want[SIG_BYTES];
    struct hsm_context *ctx = NULL;
    struct hsm_key *key = NULL;
    bool good = arg == NULL && f != NULL && f->C_Initialize(NULL) == CKR_OK;

    ctx = core_open(NULL);
    key = core_key(ctx, RSA_URI);
    good = good && key != NULL && hsm_ok(core_sign(key, 1, want))
        && f->C_Finalize(NULL) == CKR_OK && core_signs(key, 1, want)
        && f->C_Finalize(NULL) == CKR_OK && f->C_Initialize(NULL) == CKR_OK
        && core_signs(key, 1, want);
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    test_not_ours();
    ok(core_in_child(change_owner, NULL), "its owner ends it, and begins anew");
    return tap_done();
}
