/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module is started anew where that helps, and as seldom as it can be: it may
 * be somebody else's, or in use by others of the same process.
 */
#include "tests/c/bare_token.h"
#include "tests/c/core.h"

/* library.c's: so long after the first start one is missed by a mistake. */
#define FRESH_MS 10000
#define NO_TOKEN_URI "pkcs11:token=none;id=%01;type=private"
#define FAILURES 4

/* ---- failures that are no loss ---- */

/* arg: somebody else has initialised the module. */
static bool fail_often(void *arg)
{
    struct core_setup how = { .remote = true };
    const bool *is_others = arg;
    CK_FUNCTION_LIST *f = bare_functions(getenv("P11_MODULE"));
    unsigned char sig[SIG_BYTES];
    struct hsm_context *ctx = NULL;
    struct hsm_key *key = NULL;
    bool good = f != NULL
        && (!*is_others || f->C_Initialize(NULL) == CKR_OK);

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

/* One operation fails again and again, each time it is tried twice. */
static void test_failures(bool is_others)
{
    struct calls before, c;
    long long open;

    setenv("COUNT_FAIL", "C_Sign#2=0x30 C_Sign#3=0x30 C_Sign#4=0x30 "
           "C_Sign#5=0x30 C_Sign#6=0x30 C_Sign#7=0x30 C_Sign#8=0x30 "
           "C_Sign#9=0x30", 1);
    core_count_begin(&before);
    ok(core_in_child(fail_often, &is_others),
       "a module of %s works, fails, and works again",
       is_others ? "somebody else's" : "ours");
    core_count_end(&before, &c);
    unsetenv("COUNT_FAIL");
    is_int(calls_of(&c, "C_Sign"), 2 * FAILURES + 2, "each is tried twice");
    open = calls_of(&c, "C_OpenSession") - calls_of(&c, "C_CloseSession");
    if (is_others) {
        ok(open <= 1, "its sessions are closed: %lld are left", open);
    }
    is_int(calls_of(&c, "C_Finalize"), is_others ? 0 : 2,
           "it is started anew once, if at all");
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

/* ---- a token that is not there ---- */

static long long starts_since(const struct calls *before)
{
    struct calls c;

    core_count_end(before, &c);
    return calls_of(&c, "C_Finalize");
}

/* How often the module is started anew for a token that nobody has. */
static long long starts_for_nothing(struct hsm_context *ctx)
{
    struct hsm_key *key = NULL;
    struct calls before;
    hsm_rc rc;

    core_count_begin(&before);
    rc = core_load(ctx, NO_TOKEN_URI, &key);
    if (rc.rv != HSM_E_NO_TOKEN) {
        core_say(rc);
        return -1;
    }
    return starts_since(&before);
}

/* From now on no token is shown before so many more starts than there were
 * in this process. */
static void miss(const struct calls *born, unsigned int more)
{
    struct calls all;
    FILE *out = fopen(getenv("COUNT_DEVICE"), "w");

    core_count_end(born, &all);
    if (out == NULL) {
        perror("COUNT_DEVICE");
        exit(99);
    }
    fprintf(out, "starts=%lld\n", calls_of(&all, "C_Initialize") + more);
    fclose(out);
}

/* The key's token was there, and a start has left it out. */
static bool is_found_again(struct hsm_context *ctx, const struct calls *born)
{
    struct hsm_library **libs = NULL;
    struct hsm_key *key = NULL;
    size_t n = 0;

    miss(born, 4);
    if (!hsm_ok(hsm_context_libraries(ctx, &libs, &n)) || n != 1
        || !hsm_ok(hsm_context_restart(ctx, libs[0],
                                       hsm_library_generation(libs[0])))) {
        return false;
    }
    key = core_key(ctx, RSA_URI);
    hsm_key_put(key);
    return key != NULL;
}

static void test_not_there(void)
{
    struct hsm_context *ctx = core_open(NULL);
    struct calls born;
    long long first;

    core_count_begin(&born);
    first = starts_for_nothing(ctx);
    ok(first > 2, "a fresh module may have missed it: %lld starts", first);
    hsm_pause_ms(FRESH_MS + 500);
    is_int(starts_for_nothing(ctx), 1, "later it is started once");
    is_int(starts_for_nothing(ctx), 0, "and not again for the next one");
    ok(is_found_again(ctx, &born), "one that was there is sought as before");
    hsm_context_put(ctx);
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    test_failures(true);
    test_failures(false);
    ok(core_in_child(change_owner, NULL), "its owner ends it, and begins anew");
    test_not_there();
    return tap_done();
}
