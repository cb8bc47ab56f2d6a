/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What use_key.c does in threads: those that sign on and on, and those that do
 * steps.
 */
#ifndef TESTS_USE_KEY_THREADS_H
#define TESTS_USE_KEY_THREADS_H

#include <stdatomic.h>

#include "tests/c/use_key.h"

#define THREADS_MAX 64

struct thread {
    pthread_t id;
    struct worker worker;
    struct step step;
    atomic_uint signatures;
    unsigned int before;        /* of these, when all had begun */
    atomic_bool good;
};

static struct thread signer[THREADS_MAX];
static unsigned int n_signers;
static unsigned int n_signed;   /* those that ended last */
static pthread_barrier_t meeting;
static atomic_bool stopping;
static atomic_bool leaving;     /* failures of threads are expected */

static bool run_steps(struct worker *w, char **word, char **end);

static void start(struct worker *w, unsigned int i, const struct step *s,
                  void *(*run)(void *))
{
    struct thread *t = &signer[i];

    t->worker = *w;
    t->worker.index = i;
    t->worker.n_providers = 0;
    t->step = *s;
    t->signatures = 0;
    t->good = true;
    for (size_t k = 0; k < w->n_keys; k++) {
        EVP_PKEY_up_ref(w->key[k].own);
        EVP_PKEY_up_ref(w->key[k].public);
    }
    if (pthread_create(&t->id, NULL, run, t) != 0) {
        fail("no thread", "");
        abort();
    }
}

static bool join_all(void)
{
    bool good = true;

    for (unsigned int i = 0; i < n_signers; i++) {
        pthread_join(signer[i].id, NULL);
        good = signer[i].good && good;
    }
    n_signed = n_signers;
    n_signers = 0;
    return good;
}

static bool start_all(struct worker *w, const struct step *s,
                      void *(*run)(void *))
{
    unsigned int n = number(s->arg, 0, 1);

    if (n_signers > 0 || n > THREADS_MAX) {
        return fail("too many threads", s->arg);
    }
    n_signers = n;
    pthread_barrier_init(&meeting, NULL, n > 0 ? n : 1);
    for (unsigned int i = 0; i < n; i++) {
        start(w, i, s, run);
    }
    return true;
}

static bool sign_next(struct thread *t, EVP_PKEY_CTX *prepared)
{
    struct key *key = &t->worker.key[t->signatures % t->worker.n_keys];
    unsigned char sig[SIGNATURE_MAX];
    size_t len = 0;
    bool good = prepared != NULL ? sign_prepared(prepared)
                                 : sign(&t->worker, key, sig, &len);

    t->signatures++;
    return good;
}

static void *sign_on(void *arg)
{
    struct thread *t = arg;
    EVP_PKEY_CTX *prepared =
        t->worker.prepared ? prepare(&t->worker, &t->worker.key[0]) : NULL;

    t->good = prepared != NULL || !t->worker.prepared;
    while (t->good && !stopping) {
        t->good = sign_next(t, prepared);
    }
    /* In a process that ends, libcrypto may be gone: nothing is freed. */
    if (!t->good && !leaving) {
        fail("a thread's signature failed", "");
    }
    while (leaving) {
        pause();
    }
    EVP_PKEY_CTX_free(prepared);
    step_free(&t->worker, NULL);
    return NULL;
}

/* Goes on when all have signed: libcrypto's own locks around a thread's first
 * use do not survive a fork. */
static bool step_threads(struct worker *w, const struct step *s)
{
    stopping = false;
    if (w->n_keys == 0 || !start_all(w, s, sign_on)) {
        return fail("no threads:", s->arg);
    }
    for (unsigned int i = 0; i < n_signers; i++) {
        while (signer[i].signatures <= w->n_keys && signer[i].good) {
            usleep(1000);
        }
    }
    for (unsigned int i = 0; i < n_signers; i++) {
        signer[i].before = signer[i].signatures;
    }
    return true;
}

/* What thread i has signed since all had begun. */
static unsigned int signed_by(unsigned int i)
{
    return signer[i].signatures - signer[i].before;
}

/* Waits until the threads have signed so often, all together. */
static bool step_until(struct worker *w, const struct step *s)
{
    unsigned long all = 0;
    bool good = n_signers > 0;

    (void)w;
    while (good && all < number(s->arg, 0, 1)) {
        usleep(1000);
        all = 0;
        for (unsigned int i = 0; i < n_signers; i++) {
            all += signed_by(i);
            good = good && signer[i].good;
        }
    }
    return good || fail("no threads that sign", s->arg);
}

static bool step_stop(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    stopping = true;
    return join_all();
}

/* Of the threads that were stopped last: who signed least, and who most. */
static bool step_tally(struct worker *w, const struct step *s)
{
    unsigned int least = n_signed > 0 ? signed_by(0) : 0;
    unsigned int most = least;
    unsigned long all = 0;

    (void)w;
    (void)s;
    for (unsigned int i = 0; i < n_signed; i++) {
        unsigned int n = signed_by(i);

        least = n < least ? n : least;
        most = n > most ? n : most;
        all += n;
    }
    printf("signed %lu, by each %u to %u\n", all, least, most);
    return n_signed > 0 || fail("no threads to tell of", "");
}

/* All threads of one "in" go on together, or none. */
static bool step_meet(struct worker *w, const struct step *s)
{
    int end = pthread_barrier_wait(&meeting);

    (void)w;
    (void)s;
    return end == 0 || end == PTHREAD_BARRIER_SERIAL_THREAD;
}

static bool is_among(const char *list, unsigned int index)
{
    const char *at = list;
    bool found = false;

    while (*at != '\0' && !found) {
        char *end = NULL;
        unsigned long first = strtoul(at, &end, 10);
        unsigned long last =
            *end == '-' ? strtoul(end + 1, &end, 10) : first;

        found = index >= first && index <= last;
        at = *end == ',' ? end + 1 : "";
    }
    return found;
}

/* Of the threads or children, those with these numbers, from 0. */
static bool step_only(struct worker *w, const struct step *s)
{
    return s->body != NULL
           && (!is_among(s->arg, w->index)
               || run_steps(w, s->body, s->body_end));
}

static void *run_thread(void *arg)
{
    struct thread *t = arg;

    t->good = run_steps(&t->worker, t->step.body, t->step.body_end);
    step_free(&t->worker, NULL);
    return NULL;
}

static bool step_begin(struct worker *w, const struct step *s)
{
    return s->body != NULL && start_all(w, s, run_thread);
}

static bool step_in(struct worker *w, const struct step *s)
{
    return s->body != NULL && start_all(w, s, run_thread) && join_all();
}

#endif
