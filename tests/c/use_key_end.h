/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process of use_key.c ends, or one of its threads.
 */
#ifndef TESTS_USE_KEY_END_H
#define TESTS_USE_KEY_END_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "tests/c/use_key_threads.h"

static bool step_exit(struct worker *w, const struct step *s)
{
    (void)w;
    leaving = true;
    if (s->name[0] == '_') {
        _exit((int)number(s->arg, 0, 0));
    }
    if (s->name[0] == 'q') {
        quick_exit((int)number(s->arg, 0, 0));
    }
    exit((int)number(s->arg, 0, 0));
}

/* The process goes on until its last thread has ended. */
static bool step_leave(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    pthread_exit(NULL);
}

static struct worker *last_worker;
static struct step last_step;

static void run_last_step(void)
{
    if (!run_steps(last_worker, last_step.body, last_step.body_end)) {
        _exit(1);
    }
}

static bool step_atexit(struct worker *w, const struct step *s)
{
    last_worker = w;
    last_step = *s;
    return s->body != NULL && atexit(run_last_step) == 0;
}

static bool step_cleanup(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    leaving = true;
    OPENSSL_cleanup();
    return true;
}

#endif
