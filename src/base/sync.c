/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/sync.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

/* Pauses double so often. */
#define PAUSE_DOUBLINGS 9u

/* The list of locks has a plain mutex of its own: it is no hsm_lock, or it
 * would have to be in its own list. It is the last one taken, by anybody. */
static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hsm_lock *list_head;
static atomic_uint fork_epoch;

static void make_condition(struct hsm_lock *l)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
}

void hsm_lock_init(struct hsm_lock *l)
{
    (void)pthread_mutex_init(&l->mutex, NULL);
    make_condition(l);
    l->prev = NULL;
    (void)pthread_mutex_lock(&list_mutex);
    l->next = list_head;
    if (list_head != NULL) {
        list_head->prev = l;
    }
    list_head = l;
    (void)pthread_mutex_unlock(&list_mutex);
}

void hsm_lock_destroy(struct hsm_lock *l)
{
    (void)pthread_mutex_lock(&list_mutex);
    if (l->prev != NULL) {
        l->prev->next = l->next;
    } else {
        list_head = l->next;
    }
    if (l->next != NULL) {
        l->next->prev = l->prev;
    }
    (void)pthread_mutex_unlock(&list_mutex);
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->mutex);
}

void hsm_lock(struct hsm_lock *l)
{
    (void)pthread_mutex_lock(&l->mutex);
}

void hsm_unlock(struct hsm_lock *l)
{
    (void)pthread_mutex_unlock(&l->mutex);
}

uint64_t hsm_now_ms(void)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

hsm_deadline_ms hsm_deadline(unsigned int in_ms)
{
    return hsm_now_ms() + in_ms;
}

/* No thread is cancelled here: it would keep the lock, for good. */
bool hsm_wait(struct hsm_lock *l, hsm_deadline_ms deadline)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline / 1000u),
        .tv_nsec = (long)(deadline % 1000u) * 1000000L,
    };
    int cancel_state = PTHREAD_CANCEL_ENABLE;
    int rv;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    rv = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
    (void)pthread_setcancelstate(cancel_state, NULL);
    return rv != ETIMEDOUT || hsm_now_ms() < deadline;
}

void hsm_wake(struct hsm_lock *l)
{
    (void)pthread_cond_broadcast(&l->changed);
}

void hsm_wake_one(struct hsm_lock *l)
{
    (void)pthread_cond_signal(&l->changed);
}

void hsm_pause_ms(unsigned int ms)
{
    struct timespec left = {
        .tv_sec = (time_t)(ms / 1000u),
        .tv_nsec = (long)(ms % 1000u) * 1000000L,
    };
    int saved_errno = errno;

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
        continue;
    }
    errno = saved_errno;
}

void hsm_pause_apart(unsigned int n)
{
    unsigned int ms = 1u << (n < PAUSE_DOUBLINGS ? n : PAUSE_DOUBLINGS);
    struct timespec now = { 0, 0 };
    unsigned int here;

    /* The clock differs in threads, the number in processes. */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    here = (unsigned int)now.tv_nsec / 1000u + (unsigned int)getpid() * 37u;
    hsm_pause_ms(ms - ms / 2u + here % (ms + 1u));
}

unsigned int hsm_fork_epoch(void)
{
    return atomic_load_explicit(&fork_epoch, memory_order_relaxed);
}

bool hsm_claim_is_held(const struct hsm_claim *c)
{
    return c->made_in == hsm_fork_epoch() + 1;
}

bool hsm_claim_take(struct hsm_claim *c)
{
    if (hsm_claim_is_held(c)) {
        return false;
    }
    c->made_in = hsm_fork_epoch() + 1;
    return true;
}

void hsm_claim_drop(struct hsm_claim *c, struct hsm_lock *l)
{
    hsm_lock(l);
    c->made_in = 0;
    hsm_wake(l);
    hsm_unlock(l);
}

void hsm_sync_before_fork(void)
{
    (void)pthread_mutex_lock(&list_mutex);
    for (struct hsm_lock *l = list_head; l != NULL; l = l->next) {
        hsm_lock(l);
    }
}

void hsm_sync_after_fork_parent(void)
{
    for (struct hsm_lock *l = list_head; l != NULL; l = l->next) {
        hsm_unlock(l);
    }
    (void)pthread_mutex_unlock(&list_mutex);
}

void hsm_sync_after_fork_child(void)
{
    /* Only this thread is left, which holds all mutexes. The conditions may
     * know of others that wait: made new, or their end would be waited for. */
    for (struct hsm_lock *l = list_head; l != NULL; l = l->next) {
        make_condition(l);
        hsm_unlock(l);
    }
    (void)pthread_mutex_unlock(&list_mutex);
    (void)atomic_fetch_add(&fork_epoch, 1u);
}
