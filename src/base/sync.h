/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks that survive fork(), and the one place that waits.
 *
 * Rules: a lock is never held over a C_ call or a callback of a user; a thread
 * holds at most one. So the fork handler can take them all, and a child gets
 * them back free. Every lock is known to the fork handler from hsm_lock_init()
 * to hsm_lock_destroy().
 *
 * A claim is the right to do something slow (open a session, log in, recover)
 * while the lock is free: it carries the fork epoch it was made in, so that in
 * a child the claims of threads which do not exist there are void.
 */
#ifndef HSM_BASE_SYNC_H
#define HSM_BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct hsm_lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct hsm_lock *next, *prev;       /* all locks of the process */
};

void hsm_lock_init(struct hsm_lock *l);
void hsm_lock_destroy(struct hsm_lock *l);
void hsm_lock(struct hsm_lock *l);
void hsm_unlock(struct hsm_lock *l);

/* A moment on the monotonic clock. */
typedef uint64_t hsm_deadline_ms;

uint64_t hsm_now_ms(void);
hsm_deadline_ms hsm_deadline(unsigned int in_ms);

/*
 * Gives the lock free until somebody calls hsm_wake() on it, at most until
 * the deadline; then it is held again. False when the deadline has passed.
 * Spurious returns happen: look again at what was waited for. A thread that is
 * cancelled meanwhile goes on: its caller holds the lock.
 */
bool hsm_wait(struct hsm_lock *l, hsm_deadline_ms deadline);
void hsm_wake(struct hsm_lock *l);      /* lock held */
void hsm_wake_one(struct hsm_lock *l);  /* likewise: all wait for the same */

/* Sleeps with no lock held: between bounded retries. */
void hsm_pause_ms(unsigned int ms);
/*
 * Sleeps before the n-th repetition, from 1, of what processes disturb each
 * other at: 2, 4, 8, ... up to 512 ms, more or less by up to a half, so that
 * they part.
 */
void hsm_pause_apart(unsigned int n);

/* Counts the forks between the first process and this one. */
unsigned int hsm_fork_epoch(void);

/* claim->made_in is hsm_fork_epoch() + 1 of the maker, 0: nobody's. */
struct hsm_claim {
    unsigned int made_in;
};

bool hsm_claim_is_held(const struct hsm_claim *c);  /* lock held */
bool hsm_claim_take(struct hsm_claim *c);           /* lock held */
void hsm_claim_drop(struct hsm_claim *c, struct hsm_lock *l); /* and wakes */

/* For gate.c alone, around fork(). */
void hsm_sync_before_fork(void);
void hsm_sync_after_fork_parent(void);
void hsm_sync_after_fork_child(void);

#endif
