/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_UNKNOWN 32

/* Per thread, for threads fail independently and nobody passes words along
 * with an hsm_rc. */
static __thread char words[HSM_DETAIL_MAX];
static __thread char where[HSM_WHERE_MAX];
static __thread char unknown_name[NAME_MAX_UNKNOWN];
static __thread struct hsm_ckr unknown_row;

/*
 * Takes back the beginning of a UTF-8 character whose end was cut off: what
 * is shown to people is often a token's label.
 */
static void mend_cut(char *text, size_t len)
{
    size_t back = 0;
    size_t need = 1;
    unsigned char lead;

    while (back < 3 && back < len &&
           ((unsigned char)text[len - 1 - back] & 0xc0u) == 0x80u) {
        back++;
    }
    if (back == len) {
        return;
    }
    lead = (unsigned char)text[len - 1 - back];
    if (lead >= 0xf0u) {
        need = 4;
    } else if (lead >= 0xe0u) {
        need = 3;
    } else if (lead >= 0xc0u) {
        need = 2;
    }
    if (need > back + 1) {
        text[len - 1 - back] = '\0';
    }
}

/* Formats aside first: the arguments may be the words that are replaced. */
HSM_PRINTF(3, 0)
static void set_text(char *dst, size_t size, const char *fmt, va_list ap)
{
    char text[HSM_DETAIL_MAX];
    int saved_errno = errno;
    int n = vsnprintf(text, size, fmt, ap);

    if (n < 0) {
        text[0] = '\0';
    } else if ((size_t)n >= size) {
        mend_cut(text, size - 1);
    }
    memcpy(dst, text, strlen(text) + 1);
    errno = saved_errno;
}

hsm_rc hsm_fail(CK_RV rv, const char *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_text(words, sizeof(words), fmt, ap);
    va_end(ap);
    where[0] = '\0';
    return (hsm_rc){ rv, at };
}

hsm_rc hsm_fail_rv(CK_RV rv, const char *at)
{
    hsm_detail_clear();
    return (hsm_rc){ rv, at };
}

hsm_rc hsm_blame(hsm_rc rc, const char *fmt, ...)
{
    char text[HSM_WHERE_MAX];
    size_t len = strlen(where);
    size_t gap = len > 0 ? 2 : 0;
    size_t n;
    va_list ap;

    if (hsm_ok(rc)) {
        return rc;
    }
    va_start(ap, fmt);
    set_text(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = strlen(text);
    /* The innermost frame knows best and speaks first; what has been said
     * is not said again, nor said by halves. */
    if (strstr(words, text) == NULL && strstr(where, text) == NULL
        && len + gap + n < sizeof(where)) {
        memcpy(where + len, ", ", gap);
        memcpy(where + len + gap, text, n + 1);
    }
    return rc;
}

const char *hsm_detail(void)
{
    return words;
}

const char *hsm_where(void)
{
    return where;
}

void hsm_detail_clear(void)
{
    words[0] = '\0';
    where[0] = '\0';
}

void hsm_words_keep(struct hsm_words *out)
{
    memcpy(out->detail, words, strlen(words) + 1);
    memcpy(out->where, where, strlen(where) + 1);
}

void hsm_words_put_back(const struct hsm_words *w)
{
    memcpy(words, w->detail, strlen(w->detail) + 1);
    memcpy(where, w->where, strlen(w->where) + 1);
}

static const struct hsm_ckr *row_of_unknown(CK_RV rv)
{
    int saved_errno = errno;

    (void)snprintf(unknown_name, sizeof(unknown_name), "CKR_0x%lX", rv);
    unknown_row.rv = rv;
    unknown_row.cls = HSM_CLASS_FATAL;
    unknown_row.name = unknown_name;
    unknown_row.advice = rv >= CKR_VENDOR_DEFINED
        ? "the maker of the PKCS#11 module documents what this value means"
        : NULL;
    errno = saved_errno;
    return &unknown_row;
}

const struct hsm_ckr *hsm_ckr_row(CK_RV rv)
{
    size_t n = 0;
    const struct hsm_ckr *rows = hsm_ckr_rows(&n);

    for (size_t i = 0; i < n; i++) {
        if (rows[i].rv == rv) {
            return &rows[i];
        }
    }
    return row_of_unknown(rv);
}

enum hsm_class hsm_class_of(hsm_rc rc)
{
    return hsm_ok(rc) ? HSM_CLASS_OK : hsm_ckr_row(rc.rv)->cls;
}
