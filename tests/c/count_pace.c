/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long calls take, and how many are under way at once:
 *      COUNT_LATENCY_US    each call but C_GetFunctionList takes longer by this
 *      COUNT_SLOW          NAME=US NAME=US …: these do
 *      COUNT_FREEZE        NAME NAME …: these do not return while there is the
 *                          file that COUNT_FREEZE_FILE names
 *
 * For each function the file of counts has how many calls are under way and
 * how many ever were at once, in all processes together; those that a process
 * was inside when it ended are not taken away again.
 */
#include "tests/c/count.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct count_flight *flights;
static long slower_us[COUNT_N];
static bool freezes[COUNT_N];
static const char *freeze_file;

/* NAME or NAME=NUMBER, and what follows it. */
static const char *read_word(const char *variable, const char *text,
                             size_t *which, long *n)
{
    size_t len = strcspn(text, " =");
    char *end = NULL;

    *which = count_index_of(text, len);
    if (*which == COUNT_N) {
        count_refuse(variable, text);
    }
    if (text[len] == '=') {
        *n = strtol(text + len + 1, &end, 10);
        len = (size_t)(end - text);
    }
    return text + len + strspn(text + len, " ");
}

void count_pace_read(struct count_flight *shared)
{
    const char *latency = count_env("COUNT_LATENCY_US");
    const char *slow = count_env("COUNT_SLOW");
    const char *freeze = count_env("COUNT_FREEZE");
    size_t which = 0;
    long us = latency != NULL ? strtol(latency, NULL, 10) : 0;

    flights = shared;
    for (size_t i = COUNT_C_GetFunctionList + 1; i < COUNT_N; i++) {
        slower_us[i] = us;
    }
    while (slow != NULL && *slow != '\0') {
        slow = read_word("COUNT_SLOW", slow, &which, &us);
        slower_us[which] = us;
    }
    freeze_file = count_env("COUNT_FREEZE_FILE");
    while (freeze_file != NULL && freeze != NULL && *freeze != '\0') {
        freeze = read_word("COUNT_FREEZE", freeze, &which, &us);
        freezes[which] = true;
    }
}

static void take_off(struct count_flight *f)
{
    uint32_t now = atomic_fetch_add(&f->now, 1) + 1;
    uint32_t most = atomic_load(&f->most);

    while (most < now && !atomic_compare_exchange_weak(&f->most, &most, now)) {
        continue;
    }
}

void count_pace_begin(enum count_index which)
{
    struct timespec pause = {
        .tv_sec = slower_us[which] / 1000000,
        .tv_nsec = slower_us[which] % 1000000 * 1000,
    };

    if (flights != NULL) {
        take_off(&flights[which]);
    }
    if (slower_us[which] > 0) {
        nanosleep(&pause, NULL);
    }
    while (freezes[which] && access(freeze_file, F_OK) == 0) {
        usleep(2000);
    }
}

void count_pace_end(enum count_index which)
{
    if (flights != NULL) {
        atomic_fetch_sub(&flights[which].now, 1);
    }
}
