/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/context.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/log.h"
#include "src/module/p11kit.h"

#define WAIT_MS_DEFAULT 30000u
#define LIBRARIES_MAX 64

struct hsm_context {
    atomic_uint refs;
    struct hsm_settings settings;
    struct hsm_hooks hooks;
    struct hsm_lock lock;
    struct hsm_claim searching;         /* (lock) looking for the modules */
    bool known;                         /* (lock) libs is complete */
    bool closed;                        /* (lock) */
    bool released;                      /* (lock) and so are libs */
    struct hsm_library *libs[LIBRARIES_MAX];
    const struct hsm_module_settings *from[LIBRARIES_MAX];
    size_t n_libs;
};

void hsm_settings_init(struct hsm_settings *s)
{
    memset(s, 0, sizeof(*s));
    s->login = HSM_LOGIN_AUTO;
    s->cache_pins = true;
    s->wait_ms = WAIT_MS_DEFAULT;
    s->cache_keys = HSM_AUTO;
    s->close_at_exit = HSM_AUTO;
    s->remote = HSM_AUTO;
}

static void clear_module(struct hsm_module_settings *m)
{
    free(m->name);
    free(m->path);
    free(m->init_args);
    hsm_strfree(m->pin);
}

void hsm_settings_clear(struct hsm_settings *s)
{
    for (size_t i = 0; i < HSM_MODULES_MAX; i++) {
        clear_module(&s->module[i]);
    }
    for (char **e = s->env; e != NULL && *e != NULL; e++) {
        free(*e);
    }
    free(s->env);
    hsm_settings_init(s);
}

hsm_rc hsm_context_new(struct hsm_settings *s, const struct hsm_hooks *hooks,
                       struct hsm_context **out)
{
    struct hsm_context *ctx = hsm_zalloc(sizeof(*ctx));

    if (ctx == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    hsm_gate_setup();
    atomic_init(&ctx->refs, 1u);
    ctx->settings = *s;
    hsm_settings_init(s);
    if (hooks != NULL) {
        ctx->hooks = *hooks;
    }
    hsm_lock_init(&ctx->lock);
    *out = ctx;
    return HSM_OK;
}

struct hsm_context *hsm_context_get(struct hsm_context *ctx)
{
    (void)atomic_fetch_add(&ctx->refs, 1u);
    return ctx;
}

void hsm_context_put(struct hsm_context *ctx)
{
    if (ctx == NULL || atomic_fetch_sub(&ctx->refs, 1u) != 1u) {
        return;
    }
    hsm_context_close(ctx);
    hsm_lock_destroy(&ctx->lock);
    hsm_settings_clear(&ctx->settings);
    free(ctx);
}

/* Once it is closed; while a thread looks for the modules that thread does it,
 * when it has found them. */
static void release_libraries(struct hsm_context *ctx)
{
    bool due;

    hsm_lock(&ctx->lock);
    due = ctx->closed && !ctx->released && !hsm_claim_is_held(&ctx->searching);
    ctx->released = ctx->released || due;
    hsm_unlock(&ctx->lock);
    for (size_t i = 0; due && i < ctx->n_libs; i++) {
        hsm_library_release(ctx->libs[i]);
    }
}

void hsm_context_close(struct hsm_context *ctx)
{
    hsm_lock(&ctx->lock);
    ctx->closed = true;
    hsm_unlock(&ctx->lock);
    release_libraries(ctx);
}

const struct hsm_settings *hsm_context_settings(const struct hsm_context *ctx)
{
    return &ctx->settings;
}

const struct hsm_hooks *hsm_context_hooks(const struct hsm_context *ctx)
{
    return &ctx->hooks;
}

/* Enters a library once; more than there is room for are left out. */
static void enter(struct hsm_context *ctx, struct hsm_library *lib,
                  const struct hsm_module_settings *from)
{
    for (size_t i = 0; i < ctx->n_libs; i++) {
        if (ctx->libs[i] == lib) {
            hsm_library_release(lib);
            return;
        }
    }
    if (ctx->n_libs == LIBRARIES_MAX) {
        hsm_log(HSM_LOG_WARN, "module %s left out: more than %d", lib->name,
                LIBRARIES_MAX);
        hsm_library_release(lib);
        return;
    }
    ctx->from[ctx->n_libs] = from;
    ctx->libs[ctx->n_libs++] = lib;
}

/* p11-kit's modules; one that clashes with another is only left out. */
static hsm_rc enter_p11_kit(struct hsm_context *ctx,
                            const struct hsm_module_settings *from)
{
    const struct hsm_p11kit_module *rows = NULL;
    size_t n = 0;

    TRY(hsm_p11kit_modules(&rows, &n));
    for (size_t i = 0; i < n; i++) {
        const char *args = from != NULL && from->init_args != NULL
            ? from->init_args : rows[i].init_args;
        struct hsm_library *lib = NULL;
        hsm_rc rc = hsm_library_use(rows[i].name, rows[i].path, args, &lib);

        if (hsm_ok(rc)) {
            enter(ctx, lib, from);
        } else {
            hsm_log(HSM_LOG_WARN, "module %s is left out: %s", rows[i].path,
                    hsm_detail());
        }
    }
    return HSM_OK;
}

static hsm_rc find_modules(struct hsm_context *ctx)
{
    const struct hsm_settings *s = &ctx->settings;

    for (size_t i = 0; i < s->n_modules; i++) {
        const struct hsm_module_settings *m = &s->module[i];
        struct hsm_library *lib = NULL;

        if (m->path == NULL) {
            TRY(enter_p11_kit(ctx, m));
            continue;
        }
        TRY(hsm_library_use(m->name, m->path, m->init_args, &lib));
        enter(ctx, lib, m);
    }
    if (s->n_modules == 0) {
        TRY(enter_p11_kit(ctx, NULL));
    }
    if (ctx->n_libs == 0) {
        return hsm_fail(HSM_E_NO_MODULE, __func__,
                        "no PKCS#11 module is configured");
    }
    return HSM_OK;
}

static hsm_rc was_unloaded(void)
{
    return hsm_fail(HSM_E_DEAD, "hsm_context_ready",
                    "the provider was unloaded");
}

/* True: this thread must find the modules. False with HSM_OK: they are known.*/
static hsm_rc claim_search(struct hsm_context *ctx, bool *claimed)
{
    hsm_deadline_ms deadline = hsm_deadline(ctx->settings.wait_ms);
    bool in_time = true;
    bool closed;

    *claimed = false;
    hsm_lock(&ctx->lock);
    while (in_time && !ctx->closed && !ctx->known && !*claimed) {
        *claimed = hsm_claim_take(&ctx->searching);
        in_time = *claimed || hsm_wait(&ctx->lock, deadline);
    }
    closed = ctx->closed;
    hsm_unlock(&ctx->lock);
    if (closed) {
        return was_unloaded();
    }
    if (!in_time) {
        return hsm_fail(HSM_E_TIMEOUT, __func__,
                        "another thread has been looking for PKCS#11 modules "
                        "for %u ms", ctx->settings.wait_ms);
    }
    return HSM_OK;
}

hsm_rc hsm_context_libraries(struct hsm_context *ctx,
                             struct hsm_library ***libs, size_t *n)
{
    bool claimed;
    hsm_rc rc = HSM_OK;

    TRY(claim_search(ctx, &claimed));
    if (claimed) {
        bool closed;

        rc = find_modules(ctx);
        hsm_lock(&ctx->lock);
        ctx->known = hsm_ok(rc);
        closed = ctx->closed;
        hsm_unlock(&ctx->lock);
        hsm_claim_drop(&ctx->searching, &ctx->lock);
        release_libraries(ctx);
        rc = hsm_ok(rc) && closed ? was_unloaded() : rc;
    }
    if (hsm_ok(rc)) {
        *libs = ctx->libs;
        *n = ctx->n_libs;
    }
    return rc;
}

const char *hsm_context_pin(const struct hsm_context *ctx,
                            const struct hsm_library *lib)
{
    for (size_t i = 0; i < ctx->n_libs; i++) {
        if (ctx->libs[i] == lib && ctx->from[i] != NULL) {
            return ctx->from[i]->pin;
        }
    }
    return NULL;
}

/* Puts back what the environment lacks: some modules look when loaded. */
static void before_load(void *arg)
{
    struct hsm_context *ctx = arg;

    for (char **e = ctx->settings.env; e != NULL && *e != NULL; e++) {
        const char *equals = strchr(*e, '=');
        char *name = equals != NULL
            ? strndup(*e, (size_t)(equals - *e)) : NULL;

        if (name != NULL) {
            (void)setenv(name, equals + 1, 0);
        }
        free(name);
    }
}

/* The user's own hook. */
static hsm_rc before_init(void *arg)
{
    struct hsm_context *ctx = arg;

    return ctx->hooks.before_init != NULL
        ? ctx->hooks.before_init(ctx->hooks.arg) : HSM_OK;
}

static struct hsm_library_hooks library_hooks(struct hsm_context *ctx)
{
    struct hsm_library_hooks hooks = {
        .before_load = before_load,
        .before_init = before_init,
        .arg = ctx,
        .wait_ms = ctx->settings.wait_ms,
        .call_timeout_ms = ctx->settings.call_timeout_ms,
        .remote = ctx->settings.remote,
        .close_at_exit = ctx->settings.close_at_exit,
    };

    return hooks;
}

/* The hooks' owner is gone with the provider that closed the context. */
static hsm_rc check_open(struct hsm_context *ctx)
{
    bool closed;

    hsm_lock(&ctx->lock);
    closed = ctx->closed;
    hsm_unlock(&ctx->lock);
    return closed ? was_unloaded() : HSM_OK;
}

hsm_rc hsm_context_ready(struct hsm_context *ctx, struct hsm_library *lib)
{
    struct hsm_library_hooks hooks;

    if (hsm_library_is_ready(lib)) {
        return HSM_OK;
    }
    TRY(check_open(ctx));
    hooks = library_hooks(ctx);
    return hsm_library_ready(lib, &hooks);
}

hsm_rc hsm_context_restart(struct hsm_context *ctx, struct hsm_library *lib,
                           unsigned int generation)
{
    struct hsm_library_hooks hooks = library_hooks(ctx);

    TRY(check_open(ctx));
    return hsm_library_restart(lib, generation, &hooks);
}
