/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/err.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "src/base/log.h"

/* libcrypto cuts what belongs to an error at 1 KiB. */
#define TEXT_MAX_BYTES 1024
#define REASONS_MAX 512

/*
 * The library's name, all rows of the core, one for values that have none, and
 * the end. They are given to libcrypto once, for good: those of a provider's
 * own table are taken back with its last reference, and libcrypto crashes when
 * that is a key that is freed after OPENSSL_cleanup().
 */
static ERR_STRING_DATA reasons[REASONS_MAX];
static pthread_once_t reasons_once = PTHREAD_ONCE_INIT;
static int reasons_lib;

static size_t reasons_count(void)
{
    size_t n;

    (void)hsm_ckr_rows(&n);
    return n < REASONS_MAX - 3 ? n : REASONS_MAX - 3;
}

/*
 * A value itself is no reason number: libcrypto takes the upper bits for a
 * library or a system error, and vendors' values have those bits.
 */
static uint32_t reason_of(CK_RV rv)
{
    const struct hsm_ckr *rows;
    size_t i, n;

    rows = hsm_ckr_rows(&n);
    n = reasons_count();
    for (i = 0; i < n; i++) {
        if (rows[i].rv == rv) {
            break;
        }
    }
    return (uint32_t)i + 1;
}

static bool has_reason(CK_RV rv)
{
    return reason_of(rv) <= reasons_count();
}

static void set_reason(size_t i, const char *text)
{
    reasons[i].error = ERR_PACK(reasons_lib, 0, i);
    reasons[i].string = text;
}

static void make_reasons(void)
{
    const struct hsm_ckr *rows;
    size_t i, n;

    rows = hsm_ckr_rows(&n);
    n = reasons_count();
    reasons_lib = ERR_get_next_error_library();
    set_reason(0, "pkcs11");
    for (i = 0; i < n; i++) {
        set_reason(i + 1, rows[i].name);
    }
    set_reason(n + 1, "a value of the PKCS#11 module's maker");
    (void)ERR_load_strings_const(reasons);
}

void prov_err_setup(void)
{
    (void)pthread_once(&reasons_once, make_reasons);
}

/* The core takes a va_list only. */
static void set_error(const struct prov_core *core, uint32_t reason,
                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    core->vset_error(core->handle, reason, fmt, ap);
    va_end(ap);
}

static void put_error(const struct prov_ctx *ctx, CK_RV rv,
                      const struct prov_place *at, const char *text)
{
    const struct prov_core *core = ctx != NULL ? &ctx->core : NULL;

    /* Not every application shows what is on the queue. */
    hsm_log(HSM_LOG_WARN, "error: %s: %s",
            has_reason(rv) ? hsm_ckr_row(rv)->name : "PKCS#11", text);
    if (core == NULL || core->new_error == NULL || core->vset_error == NULL) {
        ERR_new();
        ERR_set_debug(at->file, at->line, at->func);
        ERR_set_error(reasons_lib, (int)reason_of(rv), "%s", text);
        return;
    }
    core->new_error(core->handle);
    if (core->set_error_debug != NULL) {
        core->set_error_debug(core->handle, at->file, at->line, at->func);
    }
    set_error(core, ERR_PACK(reasons_lib, 0, reason_of(rv)), "%s", text);
}

/* Text that grows inside a fixed place and is cut at its end. */
struct text {
    char p[TEXT_MAX_BYTES];
    size_t len;
};

static void add(struct text *t, const char *before, const char *what,
                const char *after)
{
    size_t room = sizeof(t->p) - t->len;
    int n;

    if (what == NULL || *what == '\0') {
        return;
    }
    n = snprintf(t->p + t->len, room, "%s%s%s", before, what, after);
    t->len += n < 0 ? 0 : ((size_t)n < room ? (size_t)n : room - 1);
}

/* Words with a part behind a semicolon bring advice of their own. */
static void add_advice(struct text *t, const struct hsm_ckr *row,
                       const char *words)
{
    if (words == NULL || strstr(words, "; ") == NULL) {
        add(t, "; ", row->advice, "");
    }
}

int prov_result_at(const struct prov_ctx *ctx, hsm_rc rc,
                   const struct prov_place *at)
{
    struct text t = { "", 0 };
    const struct hsm_ckr *row;

    if (hsm_ok(rc)) {
        return 1;
    }
    row = hsm_ckr_row(rc.rv);
    add(&t, "", rc.at, "");
    /* The name of a value with a row is the reason's text. */
    add(&t, ": ", has_reason(rc.rv) ? NULL : row->name, "");
    add(&t, ": ", hsm_detail(), "");
    add(&t, " (", hsm_where(), ")");
    add_advice(&t, row, hsm_detail());
    put_error(ctx, rc.rv, at, t.p);
    hsm_detail_clear();
    return 0;
}

int prov_raise_at(const struct prov_ctx *ctx, CK_RV rv,
                  const struct prov_place *at, const char *fmt, ...)
{
    const struct hsm_ckr *row = hsm_ckr_row(rv);
    struct text t = { "", 0 };
    char words[TEXT_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    add(&t, "", words, "");
    add_advice(&t, row, words);
    put_error(ctx, rv, at, t.p);
    hsm_detail_clear();
    return 0;
}

/* words: NULL, or what the reason does not say. */
static int raise_reason(const struct prov_reason *why,
                        const struct prov_place *at, const char *words)
{
    hsm_log(HSM_LOG_WARN, "error: %s%s%s", why->name,
            words != NULL ? ": " : "", words != NULL ? words : "");
    ERR_new();
    ERR_set_debug(at->file, at->line, at->func);
    if (words != NULL) {
        ERR_set_error(why->lib, why->reason, "%s", words);
    } else {
        ERR_set_error(why->lib, why->reason, NULL);
    }
    return 0;
}

int prov_raise_bare_at(const struct prov_reason *why,
                       const struct prov_place *at)
{
    return raise_reason(why, at, NULL);
}

int prov_raise_lib_at(const struct prov_reason *why,
                      const struct prov_place *at, const char *fmt, ...)
{
    char words[TEXT_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    return raise_reason(why, at, words);
}
