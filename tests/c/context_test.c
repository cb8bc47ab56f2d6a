/* SPDX-License-Identifier: Apache-2.0 */
/* A context is closed while a thread looks for its modules. None is loaded. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/sync.h"
#include "src/module/context.h"
#include "tests/c/tap.h"

#define N_MODULES 3

static const char *const path[N_MODULES] = {
    "/nonexistent/one.so", "/nonexistent/two.so", "/nonexistent/three.so",
};
static atomic_bool holding;             /* who resolves a path … */
static atomic_bool held;                /* … is held there */

/* As the C library's, for paths that are what they are; it is never given a
 * buffer here. */
char *realpath(const char *restrict name, char *restrict resolved)
{
    if (strcmp(name, path[1]) == 0) {
        while (atomic_load(&holding)) {
            atomic_store(&held, true);
            hsm_pause_ms(1);
        }
    }
    return resolved == NULL ? strdup(name) : NULL;
}

static struct hsm_context *new_context(void)
{
    struct hsm_settings s;
    struct hsm_context *ctx = NULL;

    hsm_settings_init(&s);
    for (s.n_modules = 0; s.n_modules < N_MODULES; s.n_modules++) {
        s.module[s.n_modules].path = strdup(path[s.n_modules]);
    }
    if (!hsm_ok(hsm_context_new(&s, NULL, &ctx))) {
        abort();
    }
    return ctx;
}

/* How many users each of the modules has, besides who asks. */
static unsigned int users(void)
{
    unsigned int n = 0;

    for (int i = 0; i < N_MODULES; i++) {
        struct hsm_library *lib = NULL;
        hsm_rc rc = hsm_library_use(NULL, path[i], NULL, &lib);

        if (!hsm_ok(rc)) {
            abort();
        }
        n += atomic_load(&lib->users) - 1;
        hsm_library_release(lib);
    }
    return n;
}

static void *search(void *arg)
{
    static hsm_rc rc;
    struct hsm_library **libs = NULL;
    size_t n = 0;

    rc = hsm_context_libraries(arg, &libs, &n);
    return &rc;
}

static void test_closed_before(void)
{
    struct hsm_context *ctx = new_context();
    struct hsm_library **libs = NULL;
    size_t n = 0;
    hsm_rc rc = hsm_context_libraries(ctx, &libs, &n);

    ok(hsm_ok(rc) && n == N_MODULES, "the modules are known");
    is_int(users(), N_MODULES, "and used");
    hsm_context_close(ctx);
    hsm_context_close(ctx);
    is_int(users(), 0, "closed, they are let go, once");
    rc = hsm_context_libraries(ctx, &libs, &n);
    is_int((long long)rc.rv, HSM_E_DEAD, "and not found again");
    hsm_context_put(ctx);
    is_int(users(), 0, "nor let go again");
}

static void test_closed_meanwhile(void)
{
    struct hsm_context *ctx = new_context();
    pthread_t thread;
    void *rc = NULL;

    atomic_store(&holding, true);
    pthread_create(&thread, NULL, search, ctx);
    while (!atomic_load(&held)) {
        hsm_pause_ms(1);
    }
    hsm_context_close(ctx);
    atomic_store(&holding, false);
    pthread_join(thread, &rc);
    is_int((long long)((hsm_rc *)rc)->rv, HSM_E_DEAD,
           "closed meanwhile, the search fails");
    is_int(users(), 0, "and what it found is let go");
    hsm_context_put(ctx);
    is_int(users(), 0, "once");
}

int main(void)
{
    test_closed_before();
    test_closed_meanwhile();
    return tap_done();
}
