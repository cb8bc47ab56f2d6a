/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/select.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/log.h"
#include "src/session/session.h"

/* Of a module that may have left a token out: two seconds in all, as long
 * as processes that wait for a processor keep its file half written. */
#define START_ATTEMPTS 12
/* Less likely where it shows other tokens: a seventh of a second. */
#define START_ATTEMPTS_SEEN 7
/* Hardly where all of them were in vain, for a time. */
#define START_ATTEMPTS_MISSED 4
/* Once where it could have been seen for long: other parts of the program may
 * use the module. */
#define START_ATTEMPTS_LATE 2
#define MISSED_MS 10000u

/* A failing search's words: what went wrong, and what there is. */
struct misses {
    struct hsm_buf failed;      /* modules that could not be used */
    struct hsm_buf seen;        /* tokens that do not match */
    hsm_rc rc;                  /* of the last module that failed */
    size_t n_failed;
    unsigned int starts;        /* of these modules, when they were asked */
    bool blank;                 /* a token is there that is not initialised */
    uint64_t began;             /* this search */
};

/* Not the module's failure but the process's: any module has it. */
static bool is_for_all(const struct misses *m)
{
    return m->rc.rv == HSM_E_NO_DEFAULT;
}

/* What went wrong, and what to do about it, unless the words tell that. */
static void note_failure(struct misses *m, const struct hsm_library *lib,
                         hsm_rc rc)
{
    const struct hsm_ckr *row = hsm_ckr_row(rc.rv);
    const char *words = hsm_detail();
    const char *advice = strstr(words, "; ") == NULL ? row->advice : NULL;
    hsm_rc written;

    hsm_log(HSM_LOG_INFO, "module %s: %s: %s %s", lib->name, rc.at, row->name,
            words);
    m->rc = rc;
    m->n_failed++;
    if (is_for_all(m)) {
        hsm_buf_clear(&m->failed);
    }
    if (words[0] != '\0') {
        written = hsm_buf_printf(&m->failed, "%s%s",
                                 m->failed.len > 0 ? "; " : "", words);
    } else {
        written = hsm_buf_printf(&m->failed, "%smodule \"%s\": %s says %s",
                                 m->failed.len > 0 ? "; " : "", lib->name,
                                 rc.at, row->name);
    }
    if (hsm_ok(written) && advice != NULL) {
        written = hsm_buf_printf(&m->failed, "; %s", advice);
    }
    (void)written;              /* fewer words when memory is short */
}

/* module-name: the configured name, or the file's with or without "lib" and
 * ".so". */
static bool is_named(const struct hsm_library *lib, const char *name)
{
    const char *slash = strrchr(lib->path, '/');
    const char *file = slash != NULL ? slash + 1 : lib->path;
    size_t len = strlen(name);

    if (strcmp(lib->name, name) == 0 || strcmp(file, name) == 0) {
        return true;
    }
    if (strncmp(file, "lib", 3) == 0 && strncmp(name, "lib", 3) != 0) {
        file += 3;
    }
    return strncmp(file, name, len) == 0
        && (file[len] == '\0' || strncmp(file + len, ".so", 3) == 0);
}

/* module-path: the file, or the folder it is in. */
static bool is_at(const struct hsm_library *lib, const char *path)
{
    char *real = realpath(path, NULL);
    const char *want = real != NULL ? real : path;
    size_t len = strlen(want);
    bool at = strncmp(lib->path, want, len) == 0
        && (lib->path[len] == '\0'
            || (lib->path[len] == '/'
                && strchr(lib->path + len + 1, '/') == NULL));

    free(real);
    return at;
}

/* What can be said before the module is loaded. */
static bool may_use(const struct hsm_library *lib, const struct hsm_uri *uri)
{
    const char *name = hsm_uri_module_name(uri);
    const char *path = hsm_uri_module_path(uri);

    return (name == NULL || is_named(lib, name))
        && (path == NULL || is_at(lib, path));
}

static bool slot_matches(struct hsm_token *tok, const struct hsm_uri *uri)
{
    CK_SLOT_ID id = hsm_token_slot(tok);
    CK_SLOT_INFO info;

    memset(&info, 0, sizeof(info));
    if (hsm_uri_names_slot_info(uri)) {
        hsm_rc rc = hsm_call(tok->lib, C_GetSlotInfo, (id, &info));

        if (!hsm_ok(rc)) {
            return false;
        }
    }
    return hsm_uri_matches_slot(uri, id, &info);
}

/* The token as another module shows it: the module named first serves. */
static bool is_taken(const struct hsm_tokens *out, const struct hsm_token *tok)
{
    for (size_t i = 0; i < out->n && tok->id.serial[0] != '\0'; i++) {
        if (out->tok[i]->lib != tok->lib
            && hsm_identity_equal(&out->tok[i]->id, &tok->id)) {
            return true;
        }
    }
    return false;
}

/* False: none of the module's tokens matches. */
static bool collect(struct hsm_library *lib, const struct hsm_uri *uri,
                    struct hsm_tokens *out, struct misses *m)
{
    bool any = false;

    for (struct hsm_token *tok = hsm_token_first(lib); tok != NULL;
         tok = hsm_token_next(tok)) {
        CK_TOKEN_INFO info;

        if (!hsm_token_is_present(tok)) {
            continue;
        }
        hsm_token_info(tok, &info);
        if (hsm_uri_matches_token(uri, &info) && slot_matches(tok, uri)
            && out->n < HSM_TOKENS_MAX) {
            any = true;
            if (!is_taken(out, tok)) {
                out->tok[out->n++] = tok;
            }
        } else {
            hsm_rc rc = hsm_buf_printf(&m->seen, "%s\"%s\"",
                                       m->seen.len > 0 ? ", " : "",
                                       tok->id.label);

            (void)rc;           /* fewer words when memory is short */
        }
    }
    return any;
}

/* Leaves the first len bytes of what was seen. */
static void forget_seen(struct misses *m, size_t len)
{
    if (m->seen.len > len) {
        m->seen.p[len] = '\0';
        m->seen.len = len;
    }
}

/* The tokens of a module that is ready: those that are known, else after a
 * scan. *scanned: what the scan came to. */
static hsm_rc look(struct hsm_library *lib, const struct hsm_uri *uri,
                   struct hsm_tokens *out, struct misses *m, hsm_rc *scanned)
{
    size_t seen = m->seen.len;

    *scanned = HSM_OK;
    if (!hsm_uri_matches_library(uri, &lib->info)
        || collect(lib, uri, out, m)) {
        return HSM_OK;
    }
    *scanned = hsm_token_scan(lib);
    forget_seen(m, seen);
    TRY(*scanned);
    if (!collect(lib, uri, out, m)) {
        m->blank = m->blank || hsm_token_saw_blank(lib);
        hsm_detail_clear();
        return hsm_token_scan_failure(lib);
    }
    return HSM_OK;
}

/* Its server was started anew, or somebody finalised it: then no scan comes to
 * an end before it is started anew here. */
static bool is_lost(const struct hsm_library *lib, hsm_rc scanned)
{
    return scanned.rv == CKR_CRYPTOKI_NOT_INITIALIZED
        || (hsm_class_of(scanned) == HSM_CLASS_STALE_LIBRARY
            && lib->gate.guard_sigpipe);
}

static hsm_rc ask(struct hsm_context *ctx, struct hsm_library *lib,
                  const struct hsm_uri *uri, struct hsm_tokens *out,
                  struct misses *m)
{
    bool was_ready = hsm_library_is_ready(lib);
    hsm_rc rc = hsm_context_ready(ctx, lib);
    unsigned int generation = hsm_library_generation(lib);
    hsm_rc scanned = HSM_OK;

    if (hsm_ok(rc)) {
        rc = look(lib, uri, out, m, &scanned);
    }
    if (was_ready && is_lost(lib, scanned)) {
        if (scanned.rv == CKR_CRYPTOKI_NOT_INITIALIZED) {
            hsm_library_down(lib, generation);
        }
        rc = hsm_context_restart(ctx, lib, generation);
        generation = hsm_library_generation(lib);
        if (hsm_ok(rc)) {
            rc = look(lib, uri, out, m, &scanned);
        }
    }
    m->starts += generation;
    return rc;
}

static hsm_rc nothing_found(const struct misses *m, const struct hsm_uri *uri,
                            size_t n_used)
{
    const char *failed = m->failed.len > 0 ? (const char *)m->failed.p : "";
    const char *seen = m->seen.len > 0 ? (const char *)m->seen.p : "";

    if (n_used == 0) {
        return hsm_fail(HSM_E_NO_MODULE, __func__,
                        "no configured module has the module-name or "
                        "module-path of %s", hsm_uri_for_people(uri));
    }
    if (is_for_all(m)
        || (m->n_failed == n_used && n_used == 1 && seen[0] == '\0')) {
        return hsm_fail(m->rc.rv, m->rc.at, "%s", failed);
    }
    if (seen[0] == '\0') {
        seen = m->blank ? "one that is not initialised yet (do so by its own "
            "tool, or pkcs11-tool --init-token)"
            : failed[0] != '\0' ? "none"
            : "none; put one in, or start its server, and see what \"pkcs11-"
            "tool --list-slots\" finds";
    }
    return hsm_fail(HSM_E_NO_TOKEN, "C_GetSlotList",
                    "no token matches %s; tokens here: %s%s%s",
                    hsm_uri_for_people(uri), seen,
                    failed[0] != '\0' ? "; " : "", failed);
}

/* The modules that are configured. */
struct modules {
    struct hsm_library **libs;
    size_t n;
};

/* Asks the modules one after the other; how many the URI allows. */
static size_t ask_all(struct hsm_context *ctx, const struct modules *all,
                      const struct hsm_uri *uri, struct hsm_tokens *out,
                      struct misses *m)
{
    size_t n_used = 0;

    for (size_t i = 0; i < all->n; i++) {
        hsm_rc one;

        if (!may_use(all->libs[i], uri)) {
            continue;
        }
        n_used++;
        one = ask(ctx, all->libs[i], uri, out, m);
        if (!hsm_ok(one)) {
            note_failure(m, all->libs[i], one);
        }
        if (is_for_all(m)
            || (out->n > 0 && hsm_uri_names_one_token(uri))) {
            break;
        }
    }
    return n_used;
}

/* It has been there: a start of before has left it out. */
static bool was_seen(struct hsm_library *lib, const struct hsm_uri *uri)
{
    struct hsm_token *tok = hsm_token_first(lib);
    CK_TOKEN_INFO info;

    for (; tok != NULL; tok = hsm_token_next(tok)) {
        hsm_token_info(tok, &info);
        if (hsm_uri_matches_token(uri, &info)) {
            return true;
        }
    }
    return false;
}

/* What is not there is not there by mistake: of the URI, as a rule. A remote
 * module that shows nothing has nobody whom another start would harm. */
static bool is_late(struct hsm_library *lib, const struct hsm_uri *uri,
                    const struct misses *m)
{
    return !lib->gate.guard_sigpipe && !hsm_library_is_fresh(lib, m->began)
        && !was_seen(lib, uri);
}

/* A library is asked so often. */
static bool may_ask_again(struct hsm_library *lib, const struct hsm_uri *uri,
                          const struct misses *m, unsigned int n)
{
    unsigned int most = m->seen.len > 0 ? START_ATTEMPTS_SEEN : START_ATTEMPTS;
    bool late = is_late(lib, uri, m);

    hsm_lock(&lib->lock);
    if (hsm_now_ms() < lib->missed_until) {
        most = late ? 0 : START_ATTEMPTS_MISSED;
    } else if (late) {
        most = START_ATTEMPTS_LATE;
    }
    hsm_unlock(&lib->lock);
    return n < most;
}

/* n attempts were in vain: the next searches are short. */
static void note_missed(const struct modules *all, const struct hsm_uri *uri,
                        const struct misses *m, unsigned int n)
{
    for (size_t i = 0; i < all->n; i++) {
        struct hsm_library *lib = all->libs[i];

        if (may_use(lib, uri)
            && (n >= START_ATTEMPTS_SEEN
                || (n >= START_ATTEMPTS_LATE && is_late(lib, uri, m)))) {
            hsm_lock(&lib->lock);
            lib->missed_until = hsm_deadline(MISSED_MS);
            hsm_unlock(&lib->lock);
        }
    }
}

/*
 * Modules that may have left a token out are started anew, for the n-th time;
 * one that another thread is starting just now is waited for. False: none was,
 * and none has been since they were asked, so asking again is no use.
 */
static bool start_anew(struct hsm_context *ctx, const struct modules *all,
                       const struct hsm_uri *uri, const struct misses *m,
                       unsigned int n)
{
    unsigned int starts = 0;
    bool any = false;

    for (size_t i = 0; i < all->n; i++) {
        struct hsm_library *lib = all->libs[i];

        if (!may_use(lib, uri)) {
            continue;
        }
        if (hsm_pool_may_restart(lib) && may_ask_again(lib, uri, m, n)) {
            unsigned int generation = hsm_library_generation(lib);

            hsm_pause_apart(n);
            /* Somebody may have begun to use it meanwhile. */
            any |= hsm_pool_may_restart(lib)
                && hsm_ok(hsm_context_restart(ctx, lib, generation));
        }
        if (hsm_library_is_starting(lib)) {
            any |= hsm_ok(hsm_context_ready(ctx, lib));
        }
        starts += hsm_library_generation(lib);
    }
    return any || starts != m->starts;
}

static void clear_misses(struct misses *m)
{
    hsm_buf_clear(&m->failed);
    hsm_buf_clear(&m->seen);
    m->rc = HSM_OK;
    m->n_failed = 0;
    m->starts = 0;
}

/* Without the blanks, or NULs, that it is padded with. */
static int field_len(const CK_UTF8CHAR *p, size_t size)
{
    const CK_UTF8CHAR *nul = memchr(p, '\0', size);
    size_t len = nul != NULL ? (size_t)(nul - p) : size;

    while (len > 0 && p[len - 1] == ' ') {
        len--;
    }
    return (int)len;
}

/* HSM_E_NO_MODULE where each module that was asked is of another library than
 * the URI's library-… attributes say. */
static hsm_rc no_library(const struct modules *all, const struct hsm_uri *uri)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    for (size_t i = 0; i < all->n; i++) {
        const struct hsm_library *lib = all->libs[i];
        const CK_INFO *info = &lib->info;

        if (!may_use(lib, uri)) {
            continue;
        }
        if (!hsm_library_is_ready(lib)
            || hsm_uri_matches_library(uri, info)) {
            return HSM_OK;
        }
        TRY(hsm_buf_printf(&text, "%s\"%.*s\" of \"%.*s\", version %u.%u",
                           text.len > 0 ? "; " : "",
                           field_len(info->libraryDescription,
                                     sizeof(info->libraryDescription)),
                           (const char *)info->libraryDescription,
                           field_len(info->manufacturerID,
                                     sizeof(info->manufacturerID)),
                           (const char *)info->manufacturerID,
                           info->libraryVersion.major,
                           info->libraryVersion.minor));
    }
    if (text.len == 0) {
        return HSM_OK;
    }
    return hsm_fail(HSM_E_NO_MODULE, "C_GetInfo", "no module is of the library "
                    "that %s names; there is %s; correct library-…, or leave "
                    "it out", hsm_uri_for_people(uri), (const char *)text.p);
}

hsm_rc hsm_select_tokens(struct hsm_context *ctx, const struct hsm_uri *uri,
                         struct hsm_tokens *out)
{
    struct misses m = {
        .failed = HSM_BUF_INIT, .seen = HSM_BUF_INIT, .began = hsm_now_ms(),
    };
    struct modules all = { .libs = NULL };
    unsigned int n;
    size_t n_used;
    hsm_rc rc = HSM_OK;

    out->n = 0;
    TRY(hsm_context_libraries(ctx, &all.libs, &all.n));
    n_used = ask_all(ctx, &all, uri, out, &m);
    for (n = 1; out->n == 0 && n < START_ATTEMPTS; n++) {
        if (!start_anew(ctx, &all, uri, &m, n)) {
            break;
        }
        clear_misses(&m);
        n_used = ask_all(ctx, &all, uri, out, &m);
    }
    if (out->n == 0) {
        note_missed(&all, uri, &m, n);
        rc = no_library(&all, uri);
        if (hsm_ok(rc)) {
            rc = nothing_found(&m, uri, n_used);
        }
    }
    clear_misses(&m);
    return rc;
}
