/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/timed.h"
#include "src/base/worker.h"
#include "src/module/loading.h"
#include "src/module/quirk.h"
#include "src/module/token.h"

/* How long C_Finalize waits for calls in flight. */
#define FINALIZE_DEADLINE_MS 1000u
/* So long after its first C_Initialize a module counts as fresh. */
#define FRESH_MS 10000u
/* How long the process waits for each call when it ends. */
#define EXIT_CALL_MS 1000u

static struct hsm_lock registry_lock;
static struct hsm_library *registry;    /* (registry_lock) */
static void (*exit_hook)(struct hsm_library *lib);
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;

static void setup(void)
{
    hsm_gate_setup();
    hsm_lock_init(&registry_lock);
}

static unsigned int this_process(void)
{
    return hsm_fork_epoch() + 1;
}

bool hsm_library_is_ready(const struct hsm_library *lib)
{
    return atomic_load_explicit(&lib->ready_in, memory_order_acquire)
        == this_process();
}

bool hsm_library_is_starting(struct hsm_library *lib)
{
    bool held;

    hsm_lock(&lib->lock);
    held = hsm_claim_is_held(&lib->starting);
    hsm_unlock(&lib->lock);
    return held;
}

bool hsm_library_is_ours(struct hsm_library *lib)
{
    bool ours;

    hsm_lock(&lib->lock);
    ours = lib->ours_in == this_process();
    hsm_unlock(&lib->lock);
    return ours;
}

unsigned int hsm_library_generation(const struct hsm_library *lib)
{
    return atomic_load_explicit(&lib->generation, memory_order_acquire);
}

bool hsm_library_is_fresh(struct hsm_library *lib, uint64_t at)
{
    bool fresh;

    hsm_lock(&lib->lock);
    fresh = lib->begun_in != this_process() || at < lib->fresh_until;
    hsm_unlock(&lib->lock);
    return fresh;
}

void hsm_library_down(struct hsm_library *lib, unsigned int generation)
{
    hsm_lock(&lib->lock);
    if (hsm_library_generation(lib) == generation) {
        atomic_store(&lib->ready_in, 0u);
    }
    hsm_unlock(&lib->lock);
}

void hsm_library_at_exit(void (*closing)(struct hsm_library *lib))
{
    exit_hook = closing;
}

/* The entry after lib; the first one after NULL. */
static struct hsm_library *next_of(const struct hsm_library *lib)
{
    struct hsm_library *next;

    hsm_lock(&registry_lock);
    next = lib != NULL ? lib->next : registry;
    hsm_unlock(&registry_lock);
    return next;
}

/* From now on, calls of this library end after so long. Nobody else may be
 * calling it. */
static void limit_calls(struct hsm_library *lib, unsigned int limit_ms)
{
    if (limit_ms == 0 || lib->gate.limit_ms != 0) {
        return;
    }
    lib->gate.real = lib->f;
    lib->gate.generation = &lib->generation;
    lib->gate.limit_ms = limit_ms;
    lib->gate.is_special = true;
    hsm_timed_list(lib->f, &lib->timed);
    lib->f = &lib->timed;
}

/* A server that is frozen must not hold the process: the gate is shut, and
 * this thread alone inside. */
static void at_exit(void)
{
    for (struct hsm_library *lib = next_of(NULL); lib != NULL;
         lib = next_of(lib)) {
        if (exit_hook != NULL && hsm_library_is_ready(lib)
            && hsm_library_is_ours(lib) && lib->close_at_exit) {
            limit_calls(lib, EXIT_CALL_MS);
            exit_hook(lib);
        }
    }
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static void free_library(struct hsm_library *lib)
{
    hsm_lock_destroy(&lib->turn.lock);
    hsm_lock_destroy(&lib->lock);
    free(lib->name);
    free(lib->path);
    free(lib->init_args);
    free(lib);
}

static struct hsm_library *new_library(const char *name, const char *path,
                                       const char *init_args)
{
    struct hsm_library *lib = hsm_zalloc(sizeof(*lib));
    const char *slash = strrchr(path, '/');

    if (lib == NULL) {
        return NULL;
    }
    if (name == NULL) {
        name = slash != NULL ? slash + 1 : path;
    }
    lib->name = hsm_strdup(name);
    lib->path = hsm_strdup(path);
    lib->init_args = init_args != NULL ? hsm_strdup(init_args) : NULL;
    hsm_lock_init(&lib->lock);
    hsm_lock_init(&lib->turn.lock);
    atomic_init(&lib->ready_in, 0);
    atomic_init(&lib->generation, 0);
    atomic_init(&lib->users, 0);
    atomic_init(&lib->lives, 0);
    if (lib->name == NULL || lib->path == NULL
        || (init_args != NULL && lib->init_args == NULL)) {
        free_library(lib);
        return NULL;
    }
    return lib;
}

/* The entry of this file; else fresh is entered. Registry locked. */
static struct hsm_library *find_or_enter(struct hsm_library *fresh)
{
    struct hsm_library **at = &registry;

    while (*at != NULL && strcmp((*at)->path, fresh->path) != 0) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = fresh;
    }
    return *at;
}

hsm_rc hsm_library_use(const char *name, const char *path,
                       const char *init_args, struct hsm_library **out)
{
    char *real = strchr(path, '/') != NULL ? realpath(path, NULL) : NULL;
    struct hsm_library *fresh =
        new_library(name, real != NULL ? real : path, init_args);
    struct hsm_library *lib;
    bool same_args;

    free(real);
    if (fresh == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    (void)pthread_once(&setup_once, setup);
    hsm_lock(&registry_lock);
    lib = find_or_enter(fresh);
    hsm_unlock(&registry_lock);
    hsm_lock(&lib->lock);
    same_args = init_args == NULL || same_text(lib->init_args, init_args);
    if (same_args && atomic_fetch_add(&lib->users, 1u) == 0) {
        atomic_fetch_add(&lib->lives, 1u);
    }
    hsm_unlock(&lib->lock);
    if (lib != fresh) {
        free_library(fresh);
    }
    if (!same_args) {
        return hsm_fail(HSM_E_SETTING, __func__,
                        "module \"%s\" is already in use in this process with "
                        "other init-args", lib->path);
    }
    *out = lib;
    return HSM_OK;
}

/* C_Finalize with nobody else inside this module. One that does not come back
 * from a call is left as it is. */
static hsm_rc finalize(struct hsm_library *lib)
{
    hsm_rc rc = { HSM_E_TIMEOUT, "C_Finalize" };

    if (hsm_gate_shut_one(&lib->gate, FINALIZE_DEADLINE_MS)) {
        atomic_store(&lib->ready_in, 0u);
        rc = hsm_call(lib, C_Finalize, (NULL));
    }
    hsm_gate_open_one(&lib->gate);
    if (hsm_ok(rc)) {
        hsm_lock(&lib->lock);
        lib->ours_in = 0;
        hsm_unlock(&lib->lock);
        hsm_log(HSM_LOG_INFO, "module %s: finalised", lib->name);
    }
    return rc;
}

/* Nobody is left who was given one; who comes next, perhaps meanwhile, brings
 * their own. */
static void forget_pins(struct hsm_library *lib, unsigned int life)
{
    struct hsm_token *tok = hsm_token_first(lib);

    for (; tok != NULL; tok = hsm_token_next(tok)) {
        hsm_token_forget_pin(tok, life);
    }
}

void hsm_library_release(struct hsm_library *lib)
{
    unsigned int life;
    bool last;
    bool claimed;

    /* With the claim: who uses it anew meanwhile waits, and starts it. */
    hsm_lock(&lib->lock);
    last = atomic_fetch_sub(&lib->users, 1u) == 1u;
    life = atomic_load(&lib->lives);
    claimed = last
        && lib->ours_in == this_process()
        && lib->loaded_in == this_process()
        && !hsm_gate_is_dead() && !hsm_gate_is_inside()
        && hsm_claim_take(&lib->starting);
    if (claimed) {
        atomic_store(&lib->ready_in, 0u);
        lib->begun_in = 0;
    }
    hsm_unlock(&lib->lock);
    if (last) {
        forget_pins(lib, life);
    }
    if (claimed) {
        hsm_rc rc = finalize(lib);

        (void)rc;       /* nothing to tell, and nobody to tell it to */
        hsm_claim_drop(&lib->starting, &lib->lock);
    }
}

/* The words of a module that cannot be loaded. */
static hsm_rc load_failed(const struct hsm_library *lib, const char *why)
{
    if (strchr(lib->path, '/') != NULL && access(lib->path, R_OK) != 0) {
        return hsm_fail(HSM_E_MODULE, "dlopen",
                        "module \"%s\": %s (as user id %ld)", lib->path,
                        strerror(errno), (long)geteuid());
    }
    return hsm_fail(HSM_E_MODULE, "dlopen", "module \"%s\": %s", lib->path,
                    why != NULL ? why : "no reason given");
}

static hsm_rc load(struct hsm_library *lib, unsigned int call_timeout_ms)
{
    struct hsm_gate_frame frame = { .name = "dlopen" };
    const char *why;
    void *dl;
    hsm_rc rc;

    if (lib->f != NULL) {
        return HSM_OK;
    }
    /* Inside the gate: a fork must not see the loader half way. */
    if (!hsm_gate_enter(&lib->gate, &frame)) {
        return hsm_gate_leave(&frame, CKR_OK);
    }
    dl = dlopen(lib->path, RTLD_NOW | RTLD_LOCAL);
    why = dl == NULL ? dlerror() : NULL;
    rc = dl != NULL ? hsm_loading_functions(dl, &lib->f) : HSM_OK;
    TRY(hsm_gate_leave(&frame, CKR_OK));
    if (dl == NULL) {
        return load_failed(lib, why);
    }
    if (!hsm_ok(rc)) {
        return hsm_fail(HSM_E_MODULE, rc.at,
                        "module \"%s\" gives no usable function list (%s)",
                        lib->path, hsm_ckr_row(rc.rv)->name);
    }
    limit_calls(lib, call_timeout_ms);
    hsm_lock(&lib->lock);
    lib->loaded_in = this_process();
    hsm_unlock(&lib->lock);
    return HSM_OK;
}

/* Modules start threads in C_Initialize; those must not get the application's
 * signals. */
static hsm_rc initialize(struct hsm_library *lib, bool *ours)
{
    union {
        char *text;
        void *reserved;
    } u = { .text = lib->init_args };
    CK_C_INITIALIZE_ARGS args = {
        .flags = CKF_OS_LOCKING_OK,
        .pReserved = u.reserved,
    };
    sigset_t all;
    sigset_t old;
    hsm_rc rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = hsm_call(lib, C_Initialize, (&args));
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    *ours = hsm_ok(rc);
    return rc.rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? HSM_OK : rc;
}

static bool is_yes(enum hsm_tristate answer, bool otherwise)
{
    return answer == HSM_YES || (answer == HSM_AUTO && otherwise);
}

static void guard_sigpipe(struct hsm_library *lib, bool guard)
{
    lib->gate.guard_sigpipe = guard;
    lib->gate.is_special =
        guard || lib->gate.limit_ms != 0 || lib->gate.turn != NULL;
}

/* Where calls end after so long, one that does not come back loses no other;
 * and it must not keep the others waiting. */
static void take_turns(struct hsm_library *lib)
{
    if (lib->quirk->one_call && lib->gate.limit_ms == 0) {
        lib->gate.turn = &lib->turn;
        lib->gate.is_special = true;
    }
}

/* Once a process, with the claim: what a module has to do at exit it registers
 * in C_Initialize, in children again, and ours comes before that. */
static void prepare_exit(struct hsm_library *lib)
{
    if (lib->exit_in != this_process()) {
        lib->exit_in = this_process();
        hsm_gate_setup_exit(at_exit);
    }
}

/* Once a module: what it says of itself. */
static hsm_rc introduce(struct hsm_library *lib,
                        const struct hsm_library_hooks *hooks)
{
    if (lib->quirk != NULL) {
        return HSM_OK;
    }
    TRY(hsm_call(lib, C_GetInfo, (&lib->info)));
    lib->quirk = hsm_quirk_of(&lib->info, lib->path);
    guard_sigpipe(lib, is_yes(hooks->remote, lib->quirk->remote));
    take_turns(lib);
    lib->close_at_exit =
        is_yes(hooks->close_at_exit, lib->gate.guard_sigpipe);
    hsm_log(HSM_LOG_INFO, "module %s: Cryptoki %d.%d, quirks: %s", lib->name,
            lib->info.cryptokiVersion.major, lib->info.cryptokiVersion.minor,
            lib->quirk->name);
    return HSM_OK;
}

/* Our C_Initialize did something. Locked. */
static void note_ours(struct hsm_library *lib)
{
    lib->ours_in = this_process();
    if (lib->begun_in != this_process()) {
        lib->begun_in = this_process();
        lib->fresh_until = hsm_deadline(FRESH_MS);
    }
}

/* Loads and initialises. The caller holds the claim. */
static hsm_rc start(struct hsm_library *lib,
                    const struct hsm_library_hooks *hooks)
{
    bool was_ready = hsm_library_is_ready(lib);
    bool ours = false;

    if (hsm_gate_is_inside()) {
        return hsm_fail(HSM_E_REENTERED, __func__,
                        "a PKCS#11 module called back into this provider");
    }
    if (hooks->before_load != NULL) {
        hooks->before_load(hooks->arg);
    }
    TRY(load(lib, hooks->call_timeout_ms));
    if (hooks->before_init != NULL) {
        TRY(hooks->before_init(hooks->arg));
    }
    if (lib->quirk == NULL) {
        guard_sigpipe(lib, is_yes(hooks->remote, true));
    }
    TRY(initialize(lib, &ours));
    hsm_lock(&lib->lock);
    if (ours) {
        note_ours(lib);
    }
    hsm_unlock(&lib->lock);
    prepare_exit(lib);
    TRY(introduce(lib, hooks));
    hsm_lock(&lib->lock);
    /* Somebody else's, which has been up all the time: sessions live on. */
    (void)atomic_fetch_add(&lib->generation, ours || !was_ready ? 1u : 0u);
    atomic_store_explicit(&lib->ready_in, this_process(),
                          memory_order_release);
    hsm_unlock(&lib->lock);
    return HSM_OK;
}

/*
 * The right to start the library. False with HSM_OK: no need to, since it is
 * ready and (with restart) another generation than that one.
 */
static hsm_rc claim_start(struct hsm_library *lib, bool restart,
                          unsigned int generation, unsigned int wait_ms,
                          bool *claimed)
{
    hsm_deadline_ms deadline = hsm_deadline(wait_ms);
    bool in_time = true;

    *claimed = false;
    hsm_lock(&lib->lock);
    while (in_time && !*claimed) {
        if (hsm_library_is_ready(lib)
            && !(restart && hsm_library_generation(lib) == generation)) {
            break;
        }
        *claimed = hsm_claim_take(&lib->starting);
        in_time = *claimed || hsm_wait(&lib->lock, deadline);
    }
    hsm_unlock(&lib->lock);
    if (!in_time) {
        return hsm_fail(HSM_E_TIMEOUT, "C_Initialize",
                        "another thread has been starting module \"%s\" for "
                        "%u ms", lib->name, wait_ms);
    }
    return HSM_OK;
}

hsm_rc hsm_library_ready(struct hsm_library *lib,
                         const struct hsm_library_hooks *hooks)
{
    bool claimed;
    hsm_rc rc;

    if (hsm_library_is_ready(lib)) {
        return HSM_OK;
    }
    TRY(claim_start(lib, false, 0, hooks->wait_ms, &claimed));
    if (!claimed) {
        return HSM_OK;
    }
    rc = start(lib, hooks);
    hsm_claim_drop(&lib->starting, &lib->lock);
    return rc;
}

hsm_rc hsm_library_restart(struct hsm_library *lib, unsigned int generation,
                           const struct hsm_library_hooks *hooks)
{
    hsm_rc rc = HSM_OK;
    bool claimed;

    TRY(claim_start(lib, true, generation, hooks->wait_ms, &claimed));
    if (!claimed) {
        return HSM_OK;
    }
    hsm_log(HSM_LOG_WARN, "module %s: starting anew", lib->name);
    if (hsm_library_is_ours(lib)) {
        rc = finalize(lib);
    }
    /* A dead connection may fail at C_Finalize too: C_Initialize then tells.
     * Only while somebody is inside the module it stays as it is. */
    if (rc.rv != HSM_E_TIMEOUT && rc.rv != HSM_E_DEAD) {
        rc = start(lib, hooks);
    }
    hsm_claim_drop(&lib->starting, &lib->lock);
    return rc;
}
