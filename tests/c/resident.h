/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a process is in memory. /proc/self/statm is told quickly, from
 * counters of each processor or thread that are added up only now and then: on
 * some kernels it is wrong by hundreds of pages. The sum over the mappings is
 * exact.
 */
#ifndef TESTS_RESIDENT_H
#define TESTS_RESIDENT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind a text, in a file that the kernel writes; -1: none. */
static inline long resident_number(const char *path, const char *behind)
{
    char text[4096];
    FILE *in = fopen(path, "re");
    size_t n = in != NULL ? fread(text, 1, sizeof(text) - 1, in) : 0;
    const char *at;

    if (in != NULL) {
        fclose(in);
    }
    text[n] = '\0';
    at = strstr(text, behind);
    return at != NULL ? strtol(at + strlen(behind), NULL, 10) : -1;
}

static inline long resident_kib(void)
{
    long kib = resident_number("/proc/self/smaps_rollup", "\nRss:");

    /* Older kernels, or none that may be asked: the second number. */
    return kib >= 0 ? kib
        : resident_number("/proc/self/statm", " ")
            * (sysconf(_SC_PAGESIZE) / 1024);
}

#endif
