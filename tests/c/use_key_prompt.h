/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions for a PIN that take their time: between the steps "stall" and
 * "release" who is asked waits, as a user does who looks for the paper. A child
 * is not held: who waits in its parent is not there.
 */
#ifndef TESTS_USE_KEY_PROMPT_H
#define TESTS_USE_KEY_PROMPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/c/use_key_worker.h"

static atomic_int holder;       /* the process that holds; 0: none */
static atomic_uint n_stalled;   /* threads that wait */

/* In the question. */
static void wait_while_stalled(void)
{
    n_stalled++;
    while (holder == (int)getpid()) {
        usleep(1000);
    }
    n_stalled--;
}

static bool step_stall(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    n_stalled = 0;
    holder = (int)getpid();
    return true;
}

/* When so many threads wait. */
static bool step_asked(struct worker *w, const struct step *s)
{
    unsigned int n = number(s->arg, 0, 1);

    (void)w;
    for (unsigned int ms = 0; n_stalled < n && ms < 60000; ms++) {
        usleep(1000);
    }
    return n_stalled >= n || fail("nobody is asked", s->arg);
}

static bool step_release(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    holder = 0;
    return true;
}

#endif
