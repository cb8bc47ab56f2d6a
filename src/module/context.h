/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One user of the core: its settings, and the modules it may use. A provider
 * instance has one. Making it loads nothing.
 *
 * Reference counted: keys hold their context. Settings do not change once
 * hsm_context_new() has them.
 */
#ifndef HSM_MODULE_CONTEXT_H
#define HSM_MODULE_CONTEXT_H

#include "src/base/buf.h"
#include "src/base/sync.h"
#include "src/module/library.h"

enum hsm_login_behavior {
    HSM_LOGIN_AUTO,             /* before a private object is needed */
    HSM_LOGIN_ALWAYS,           /* before any object is searched */
    HSM_LOGIN_NEVER             /* never; what needs it fails */
};

/* One configured module. All strings are owned by the settings. */
struct hsm_module_settings {
    char *name;                 /* NULL: the file's name */
    char *path;                 /* NULL: p11-kit's modules */
    char *init_args;
    char *pin;                  /* the PIN, "file:PATH", "env:NAME", "fd:N" */
};

#define HSM_MODULES_MAX 16

struct hsm_settings {
    struct hsm_module_settings module[HSM_MODULES_MAX];
    size_t n_modules;           /* 0: what p11-kit knows */
    char **env;                 /* "NAME=VALUE", NULL-terminated, or NULL */
    enum hsm_login_behavior login;
    bool cache_pins;            /* keep the accepted PIN for later logins */
    bool final_try;             /* may use a token's last PIN try */
    unsigned int max_sessions;  /* per token; 0: the token's own limit */
    unsigned int wait_ms;       /* for a session, a login, a recovery */
    enum hsm_tristate cache_keys;           /* auto: by quirk */
    unsigned int call_timeout_ms;           /* for one call; 0: for ever */
    enum hsm_tristate close_at_exit;
    enum hsm_tristate remote;   /* guard SIGPIPE: auto by quirk */
};

/* What the core asks of its user. Any member may be NULL. */
struct hsm_hooks {
    /* Before the first C_Initialize of this process. */
    hsm_rc (*before_init)(void *arg);
    /* False: a refused PIN proves nothing, the module cannot hash. */
    bool (*refusal_counts)(void *arg);
    /* params are explicit ones of an EC key (ECParameters, DER). Where they
     * are those of a named curve, the content of its OID goes to oid, which
     * comes empty. Not called under a lock. */
    hsm_rc (*name_curve)(void *arg, struct hsm_bytes params,
                         struct hsm_buf *oid);
    void *arg;
};

struct hsm_context;

/* Defaults: auto, cache, no final try, 0 sessions, 30 s, auto, auto. */
void hsm_settings_init(struct hsm_settings *s);
void hsm_settings_clear(struct hsm_settings *s);    /* PINs are wiped */

/* Takes the settings' content over (s is left empty) on success. */
HSM_CHECKED hsm_rc hsm_context_new(struct hsm_settings *s,
                                   const struct hsm_hooks *hooks,
                                   struct hsm_context **out);
struct hsm_context *hsm_context_get(struct hsm_context *ctx);
void hsm_context_put(struct hsm_context *ctx);
/* The user is gone: releases the libraries (finalising where it is the last
 * one) though keys may still hold the context. They work only while another
 * context keeps their module up. */
void hsm_context_close(struct hsm_context *ctx);

const struct hsm_settings *hsm_context_settings(const struct hsm_context *ctx);
const struct hsm_hooks *hsm_context_hooks(const struct hsm_context *ctx);

/*
 * The context's libraries in order; found out at the first call (configured
 * modules, else p11-kit's). The array lives as long as the context. A module
 * of p11-kit's that is not a file is left out. HSM_E_NO_MODULE for none.
 */
HSM_CHECKED hsm_rc hsm_context_libraries(struct hsm_context *ctx,
                                         struct hsm_library ***libs,
                                         size_t *n);
/* The configured PIN (or its source) for a library, or NULL. */
const char *hsm_context_pin(const struct hsm_context *ctx,
                            const struct hsm_library *lib);
/* hsm_library_ready() with this context's hooks and environment. */
HSM_CHECKED hsm_rc hsm_context_ready(struct hsm_context *ctx,
                                     struct hsm_library *lib);
/* hsm_library_restart(), likewise. */
HSM_CHECKED hsm_rc hsm_context_restart(struct hsm_context *ctx,
                                       struct hsm_library *lib,
                                       unsigned int generation);

#endif
