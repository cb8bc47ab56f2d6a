/* SPDX-License-Identifier: Apache-2.0 */
/* How often a PIN is sent. Each case has processes of its own. */
#include <dlfcn.h>
#include <pthread.h>

#include "tests/c/core.h"

#define THREADS 8
#define CHILDREN 4
#define CKF_FINAL_TRY "0x20000"
#define CKF_LOCKED "0x40000"

struct attempt {
    struct core_setup how;
    const char *uri;            /* NULL: RSA_URI */
    const char *feign;          /* a variable of the counting module's … */
    const char *as;             /* … and its value */
    CK_RV want;
};

static bool loads_as(struct hsm_context *ctx, const struct attempt *a,
                     CK_RV want)
{
    struct hsm_key *key = NULL;
    hsm_rc rc = core_load(ctx, a->uri != NULL ? a->uri : RSA_URI, &key);
    bool same = rc.rv == want;

    if (!same) {
        core_say(rc);
        diag("expected %s", hsm_ckr_row(want)->name);
    }
    hsm_key_put(key);
    return same;
}

static bool load_once(void *arg)
{
    const struct attempt *a = arg;

    if (a->feign != NULL) {
        setenv(a->feign, a->as, 1);
    }
    return loads_as(core_open(&a->how), a, a->want);
}

/* Refused, and then known as refused. */
static bool load_twice(void *arg)
{
    const struct attempt *a = arg;
    struct hsm_context *ctx = core_open(&a->how);

    return loads_as(ctx, a, CKR_PIN_INCORRECT)
        && loads_as(ctx, a, HSM_E_PIN_REFUSED);
}

static void *load_in_thread(void *arg)
{
    const struct core_setup how = { .pin = "no-pin-4" };
    struct hsm_key *key = NULL;
    struct hsm_context *ctx = *(struct hsm_context **)arg;
    hsm_rc rc;

    if (ctx == NULL) {
        ctx = core_open(&how);
    }
    rc = core_load(ctx, RSA_URI, &key);
    return rc.rv == CKR_PIN_INCORRECT || rc.rv == HSM_E_PIN_REFUSED ? arg
                                                                    : NULL;
}

/* In 8 threads, whether they share a context or not. */
static bool load_in_threads(void *arg)
{
    struct hsm_context *ctx = arg != NULL ? core_open(arg) : NULL;
    pthread_t thread[THREADS];
    bool good = true;

    for (int i = 0; i < THREADS; i++) {
        pthread_create(&thread[i], NULL, load_in_thread, &ctx);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;

        pthread_join(thread[i], &result);
        good = good && result != NULL;
    }
    return good;
}

static long long logins(core_fn fn, void *arg, bool *good)
{
    struct calls before, c;

    core_count_begin(&before);
    *good = core_in_child(fn, arg);
    core_count_end(&before, &c);
    return calls_of(&c, "C_Login");
}

static bool load_refused(void *arg)
{
    const struct attempt *a = arg;
    struct hsm_key *key = NULL;
    hsm_rc rc = core_load(core_open(&a->how), RSA_URI, &key);

    return rc.rv == CKR_PIN_INCORRECT || rc.rv == HSM_E_PIN_REFUSED;
}

/* Children of one process, all at once. */
static bool load_in_children(void *arg)
{
    const struct attempt *a = arg;
    pid_t pid[CHILDREN];
    bool good = true;

    for (int i = 0; i < CHILDREN; i++) {
        pid[i] = core_fork(a->want == CKR_OK ? load_once : load_refused, arg);
    }
    for (int i = 0; i < CHILDREN; i++) {
        good = core_ended_well(pid[i]) && good;
    }
    return good;
}

static void test_wrong(void)
{
    struct attempt twice = { .how = { .pin = "no-pin-1" } };
    struct attempt children = { .how = { .pin = "no-pin-2" },
                                .want = CKR_PIN_INCORRECT };
    struct core_setup shared = { .pin = "no-pin-3" };
    struct attempt right = { .want = CKR_OK };
    struct {
        const char *what;
        core_fn fn;
        void *arg;
        long long sent, at_most;
    } rows[] = {
        { "a wrong PIN, twice", load_twice, &twice, 1, 1 },
        { "a wrong PIN that is known", load_refused, &twice, 0, 0 },
        { "a wrong PIN in 4 children", load_in_children, &children, 1, 1 },
        { "a wrong PIN in 8 threads", load_in_threads, &shared, 1, 1 },
        { "a wrong PIN in 8 contexts", load_in_threads, NULL, 1, 1 },
        { "the right PIN", load_once, &right, 1, 1 },
        { "the right PIN in 4 children", load_in_children, &right, 4,
          4 + 8 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = false;
        long long n = logins(rows[i].fn, rows[i].arg, &good);

        ok(good, "%s", rows[i].what);
        /* The right one is sent again where SoftHSM's logins collide. */
        ok(n >= rows[i].sent && n <= rows[i].at_most, "sent: %lld", n);
    }
}

static void test_withheld(void)
{
    char empty[512];
    struct attempt rows[] = {
        { .how = { .pin = "" }, .want = HSM_E_NO_PIN },
        { .how = { .pin = empty }, .want = HSM_E_PIN_SOURCE },
        { .how = { .pin = "" }, .want = HSM_E_PIN_SOURCE,
          .uri = RSA_URI "?pin-value=" },
        { .how = { .pin = "no-pin-5" }, .want = HSM_E_PIN_FINAL,
          .feign = "COUNT_FLAGS", .as = CKF_FINAL_TRY },
        { .how = { .pin = "no-pin-5", .final_try = true },
          .want = CKR_PIN_LOCKED, .feign = "COUNT_FLAGS", .as = CKF_LOCKED },
        { .how = { .pin = "no-pin-5" }, .want = HSM_E_NO_TOKEN,
          .uri = "pkcs11:token=other;id=%01;type=private" },
    };

    snprintf(empty, sizeof(empty), "file:%s/empty", getenv("P11_SCRATCH"));
    core_write("empty", "\n", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = false;
        long long n = logins(load_once, &rows[i], &good);

        ok(good, "withheld: %s", hsm_ckr_row(rows[i].want)->name);
        is_int(n, 0, "never sent");
    }
}

/* What ends a try, and what says nothing of the PIN. */
static void test_feigned(void)
{
    static const struct {
        const char *pin;
        const char *fail;
        CK_RV want;
        long long at_most;
    } rows[] = {
        { "no-pin-6", "C_Login=0xa4", CKR_PIN_LOCKED, 1 },
        { "no-pin-7", "C_Login=0xa0", CKR_PIN_INCORRECT, 1 },
        { "no-pin-8", "C_Login=0xa2", CKR_PIN_LEN_RANGE, 1 },
        { "no-pin-9", "C_Login=0x30", CKR_DEVICE_ERROR, 1 },
        { "no-pin-10", "C_Login!=0x32", CKR_DEVICE_REMOVED, 1 },
        { "no-pin-11", "C_Login!=0xb0", CKR_SESSION_CLOSED, 1 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt a = { .how = { .pin = rows[i].pin },
                             .feign = "COUNT_FAIL", .as = rows[i].fail,
                             .want = rows[i].want };
        bool good = false;
        long long n = logins(load_once, &a, &good);

        ok(good, "%s is told", rows[i].fail);
        ok(n >= 1 && n <= rows[i].at_most, "sent: %lld", n);
    }
}

/* ---- who keeps it ---- */

static bool has_pin(struct hsm_token *tok)
{
    bool has;

    hsm_lock(&tok->lock);
    has = tok->login.pin != NULL;
    hsm_unlock(&tok->lock);
    return has;
}

/* The module, as another part of the application uses it. */
static CK_FUNCTION_LIST *others_use(void)
{
    union {
        void *p;
        CK_C_GetFunctionList f;
    } get = { .p = NULL };
    CK_FUNCTION_LIST *f = NULL;
    void *dl = dlopen(getenv("P11_MODULE"), RTLD_NOW | RTLD_LOCAL);

    get.p = dl != NULL ? dlsym(dl, "C_GetFunctionList") : NULL;
    return get.p != NULL && get.f(&f) == CKR_OK
        && f->C_Initialize(NULL) == CKR_OK ? f : NULL;
}

/* It is not finalised with its last context, so a key goes on. */
static bool keeps_for_users(void *arg)
{
    struct core_setup how = { .pin = NULL };
    CK_FUNCTION_LIST *f = others_use();
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct hsm_token *tok = key != NULL ? hsm_key_token(key) : NULL;
    unsigned char sig[SIG_BYTES];
    CK_SESSION_HANDLE h = 0;
    bool good = f != NULL && tok != NULL && has_pin(tok);

    (void)arg;
    if (!good) {
        return false;
    }
    /* Of an earlier life, as one that is late to forget it says. */
    hsm_token_forget_pin(tok, tok->login.pin_life + 1);
    good = has_pin(tok);
    hsm_context_close(ctx);
    good = !has_pin(tok) && good;
    good = f->C_OpenSession(hsm_token_slot(tok), CKF_SERIAL_SESSION, NULL,
                            NULL, &h) == CKR_OK
           && f->C_Logout(h) == CKR_OK && good;
    hsm_token_void(tok);
    good = hsm_ok(core_sign(key, 1, sig)) && good;
    return good && !has_pin(tok);
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    test_withheld();
    test_wrong();
    test_feigned();
    ok(core_in_child(keeps_for_users, NULL),
       "a PIN is kept while somebody uses the module, and no longer");
    return tap_done();
}
