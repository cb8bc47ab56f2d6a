/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAP for tests in C. Every check prints one line, and what differs on
 * standard error; main() ends with: return tap_done(); which prints the plan
 * and gives the exit status. For one thread, and one file of a program.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TAP_PRINTF(fmt, args) \
    __attribute__((format(printf, fmt, args), unused))

/* The program that stands for one that has nothing to do here. */
#define TAP_SKIPPED(why) \
    int main(void) \
    { \
        puts("1..0 # SKIP " why); \
        return 0; \
    }

static int tap_count;
static int tap_failed;

static inline void tap_line(bool good, const char *fmt, va_list ap)
{
    tap_count++;
    tap_failed += good ? 0 : 1;
    printf("%sok %d - ", good ? "" : "not ", tap_count);
    vprintf(fmt, ap);
    putchar('\n');
    /* A test may fork, or crash at the next line. */
    fflush(stdout);
}

/* A remark for whoever reads the log; no check. */
static TAP_PRINTF(1, 2) void diag(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("# ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static TAP_PRINTF(2, 3) bool ok(bool good, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tap_line(good, fmt, ap);
    va_end(ap);
    return good;
}

static TAP_PRINTF(3, 4) bool is_int(long long got, long long want,
                                    const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tap_line(got == want, fmt, ap);
    va_end(ap);
    if (got != want) {
        diag("got %lld, expected %lld", got, want);
    }
    return got == want;
}

/* Either may be NULL. */
static TAP_PRINTF(3, 4) bool is_str(const char *got, const char *want,
                                    const char *fmt, ...)
{
    bool same = got == want ||
                (got != NULL && want != NULL && strcmp(got, want) == 0);
    va_list ap;

    va_start(ap, fmt);
    tap_line(same, fmt, ap);
    va_end(ap);
    if (!same) {
        diag("got \"%s\", expected \"%s\"", got != NULL ? got : "(null)",
             want != NULL ? want : "(null)");
    }
    return same;
}

static inline void tap_hex(const char *what, const void *p, size_t len)
{
    const unsigned char *bytes = p;

    fprintf(stderr, "# %s", what);
    for (size_t i = 0; i < len; i++) {
        fprintf(stderr, "%02x", bytes[i]);
    }
    fprintf(stderr, " (%zu bytes)\n", len);
}

static TAP_PRINTF(5, 6) bool is_bytes(const void *got, size_t got_len,
                                      const void *want, size_t want_len,
                                      const char *fmt, ...)
{
    bool same = got_len == want_len &&
                (got_len == 0 || memcmp(got, want, got_len) == 0);
    va_list ap;

    va_start(ap, fmt);
    tap_line(same, fmt, ap);
    va_end(ap);
    if (!same) {
        tap_hex("got      ", got, got_len);
        tap_hex("expected ", want, want_len);
    }
    return same;
}

/* A check that cannot be made here. */
static TAP_PRINTF(1, 2) void skip(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("ok %d # SKIP ", ++tap_count);
    vprintf(fmt, ap);
    putchar('\n');
    fflush(stdout);
    va_end(ap);
}

/* The plan; the exit status of main(). */
static inline int tap_done(void)
{
    printf("1..%d\n", tap_count);
    if (tap_failed > 0) {
        diag("%d of %d checks failed", tap_failed, tap_count);
    }
    return tap_failed == 0 && tap_count > 0 ? 0 : 1;
}

#endif
