/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of Cryptoki calls for programs in C: reads the file that
 * tests/c/count_module.c writes, which tells its layout, and COUNT_FILE names.
 * For one thread.
 */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_ROWS_MAX 128

struct calls {
    uint64_t magic;
    uint64_t n;
    struct {
        char name[56];
        uint64_t calls;
    } row[CALLS_ROWS_MAX];
};

/* What was counted so far: nothing where no module was opened yet. */
static inline void calls_read(struct calls *out)
{
    const char *path = getenv("COUNT_FILE");
    FILE *in = path != NULL ? fopen(path, "rb") : NULL;
    size_t n;

    memset(out, 0, sizeof(*out));
    if (in == NULL) {
        perror("COUNT_FILE");
        exit(99);
    }
    n = fread(out, 1, sizeof(*out), in);
    fclose(in);
    if (n > 0 && out->n >= CALLS_ROWS_MAX) {
        fprintf(stderr, "%s is no file of counts\n", path);
        exit(99);
    }
}

/* The calls of one function. */
static inline long long calls_of(const struct calls *c, const char *function)
{
    for (uint64_t i = 0; i < c->n; i++) {
        if (strcmp(c->row[i].name, function) == 0) {
            return (long long)c->row[i].calls;
        }
    }
    return 0;
}

/* All that budgets speak of: not how a module is opened. */
static inline long long calls_total(const struct calls *c)
{
    long long total = 0;

    for (uint64_t i = 0; i < c->n; i++) {
        total += (long long)c->row[i].calls;
    }
    return total - calls_of(c, "C_GetFunctionList") - calls_of(c, "C_GetInfo");
}

/* The difference, in the first. */
static inline void calls_since(struct calls *after, const struct calls *before)
{
    for (uint64_t i = 0; i < before->n && i < after->n; i++) {
        after->row[i].calls -= before->row[i].calls;
    }
}

#endif
