/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "src/base/buf.h"
#include "src/base/log.h"
#include "src/base/sync.h"

/* How long fork() and exit() wait for the calls in flight. */
#define GATE_DEADLINE_MS 1000u
/* And for those that are not expected back: they may be on their way. */
#define GIVEN_UP_MS 250u

enum { GATE_OPEN, GATE_SHUT, GATE_DEAD };

/*
 * A thread's mark. Marks are never freed, only handed on to another thread, so
 * the list can be walked without a lock. One mark a cache line.
 */
struct hsm_gate_mark {
    atomic_bool inside;
    atomic_bool given_up;       /* inside, and nobody waits for it any more */
    atomic_bool used;
    _Atomic(const struct hsm_gate_use *) use;   /* inside of what */
    struct hsm_gate_turn *turn; /* its thread's alone: what it has, or NULL */
    struct hsm_gate_mark *next;
} __attribute__((aligned(64)));

static _Atomic(struct hsm_gate_mark *) marks;
static __thread struct hsm_gate_mark *my_mark;
static pthread_key_t mark_key;
static atomic_int gate_state;
static struct hsm_lock gate_lock;       /* its condition: the gate opened */
static _Atomic(pthread_t) shutter;      /* who has shut it */
static bool shut_for_good;              /* (gate_lock) by exit() */
static __thread const struct hsm_gate_use *my_use;  /* of a timed call */
static __thread bool forking_shut;      /* between prepare and the others */
static _Atomic(void (*)(void)) exit_closing;
static _Atomic(void (*)(void)) around_before;
static _Atomic(void (*)(void)) around_after;
static pthread_once_t setup_once = PTHREAD_ONCE_INIT;

/* Gives the turn back that its thread has. */
static void end_turn(struct hsm_gate_mark *m)
{
    struct hsm_gate_turn *t = m->turn;

    m->turn = NULL;
    hsm_lock(&t->lock);
    t->taken.made_in = 0;
    hsm_wake_one(&t->lock);
    hsm_unlock(&t->lock);
}

/* The thread ends, maybe in the middle of a call. */
static void mark_release(void *arg)
{
    struct hsm_gate_mark *m = arg;

    my_mark = NULL;
    if (m->turn != NULL) {
        end_turn(m);
    }
    atomic_store(&m->inside, false);
    atomic_store(&m->given_up, false);
    atomic_store(&m->used, false);
}

static struct hsm_gate_mark *mark_reuse(void)
{
    for (struct hsm_gate_mark *m = atomic_load(&marks); m != NULL;
         m = m->next) {
        bool unused = false;

        if (atomic_compare_exchange_strong(&m->used, &unused, true)) {
            return m;
        }
    }
    return NULL;
}

static struct hsm_gate_mark *mark_of_thread(void)
{
    struct hsm_gate_mark *m = my_mark;

    if (m != NULL) {
        return m;
    }
    m = mark_reuse();
    if (m == NULL) {
        m = aligned_alloc(64, sizeof(*m));
        if (m == NULL) {
            return NULL;
        }
        atomic_init(&m->inside, false);
        atomic_init(&m->given_up, false);
        atomic_init(&m->used, true);
        atomic_init(&m->use, NULL);
        m->turn = NULL;
        m->next = atomic_load(&marks);
        while (!atomic_compare_exchange_weak(&marks, &m->next, m)) {
            continue;
        }
    }
    (void)pthread_setspecific(mark_key, m);
    my_mark = m;
    return m;
}

void hsm_gate_around(void (*before)(void), void (*after)(void))
{
    atomic_store(&around_after, after);
    atomic_store(&around_before, before);
}

bool hsm_gate_is_inside(void)
{
    return my_mark != NULL
        && atomic_load_explicit(&my_mark->inside, memory_order_relaxed);
}

const struct hsm_gate_use *hsm_gate_use_now(void)
{
    return my_use;
}

struct hsm_gate_mark *hsm_gate_work_mark(void)
{
    return mark_of_thread();
}

void hsm_gate_work_begin(struct hsm_gate_mark *m,
                         const struct hsm_gate_use *use)
{
    atomic_store(&m->given_up, false);
    atomic_store(&m->use, use);
    atomic_store(&m->inside, true);
}

void hsm_gate_work_give_up(struct hsm_gate_mark *m)
{
    atomic_store(&m->given_up, true);
}

bool hsm_gate_work_resume(struct hsm_gate_mark *m)
{
    int state;

    /* A fork is not held up by this; it is over soon. */
    atomic_store(&m->given_up, false);
    while ((state = atomic_load(&gate_state)) == GATE_SHUT) {
        atomic_store(&m->given_up, true);
        hsm_pause_ms(1);
        atomic_store(&m->given_up, false);
    }
    return state == GATE_OPEN;
}

void hsm_gate_work_end(struct hsm_gate_mark *m)
{
    atomic_store(&m->inside, false);
}

bool hsm_gate_is_dead(void)
{
    return atomic_load(&gate_state) == GATE_DEAD;
}

/* Marks of other threads that are up, in this module or (NULL) in any;
 * *all_given_up: none of them is worth waiting for long. */
static unsigned int others_inside(const struct hsm_gate_use *use,
                                  bool *all_given_up)
{
    unsigned int n = 0;

    *all_given_up = true;
    for (struct hsm_gate_mark *m = atomic_load(&marks); m != NULL;
         m = m->next) {
        if (m != my_mark && atomic_load(&m->inside)
            && (use == NULL || atomic_load(&m->use) == use)) {
            *all_given_up = *all_given_up && atomic_load(&m->given_up);
            n++;
        }
    }
    return n;
}

static bool wait_for_others(const struct hsm_gate_use *use,
                            unsigned int deadline_ms)
{
    hsm_deadline_ms deadline = hsm_deadline(deadline_ms);
    hsm_deadline_ms patience = hsm_deadline(GIVEN_UP_MS);
    struct timespec nap = { 0, 20000 };
    bool all_given_up = false;

    while (others_inside(use, &all_given_up) > 0) {
        if (hsm_now_ms() >= (all_given_up && patience < deadline
                             ? patience : deadline)) {
            hsm_log(HSM_LOG_WARN, "a thread is still inside a module "
                    "(waited at most %u ms)", deadline_ms);
            return false;
        }
        (void)nanosleep(&nap, NULL);
        nap.tv_nsec = nap.tv_nsec < 1000000 ? nap.tv_nsec * 2 : nap.tv_nsec;
    }
    return true;
}

/* One whose patience ends takes over from the one before; but nobody takes over
 * from exit(), and opens what the process's end has shut. */
static bool shut(unsigned int deadline_ms, bool for_good)
{
    hsm_deadline_ms patience = hsm_deadline(deadline_ms);
    int saved_errno = errno;
    bool out;

    hsm_lock(&gate_lock);
    while (atomic_load(&gate_state) == GATE_SHUT) {
        if (!hsm_wait(&gate_lock, patience)) {
            break;
        }
    }
    if (atomic_load(&gate_state) != GATE_DEAD
        && (for_good || !shut_for_good)) {
        shut_for_good = for_good;
        /* First, or who shut it last would be let in just now. */
        atomic_store(&shutter, pthread_self());
        atomic_store(&gate_state, GATE_SHUT);
    }
    hsm_unlock(&gate_lock);
    out = wait_for_others(NULL, deadline_ms);
    errno = saved_errno;
    return out;
}

bool hsm_gate_shut(unsigned int deadline_ms)
{
    return shut(deadline_ms, false);
}

void hsm_gate_open(void)
{
    hsm_lock(&gate_lock);
    /* Another one may have taken over. */
    if (atomic_load(&gate_state) == GATE_SHUT
        && pthread_equal(atomic_load(&shutter), pthread_self())) {
        atomic_store(&gate_state, GATE_OPEN);
    }
    hsm_wake(&gate_lock);
    hsm_unlock(&gate_lock);
}

bool hsm_gate_shut_one(struct hsm_gate_use *use, unsigned int deadline_ms)
{
    int saved_errno = errno;
    bool out;

    hsm_lock(&gate_lock);
    atomic_store(&use->shutter, pthread_self());
    atomic_store(&use->shut_in, hsm_fork_epoch() + 1);
    hsm_unlock(&gate_lock);
    out = wait_for_others(use, deadline_ms);
    errno = saved_errno;
    return out;
}

void hsm_gate_open_one(struct hsm_gate_use *use)
{
    hsm_lock(&gate_lock);
    atomic_store(&use->shut_in, 0u);
    hsm_wake(&gate_lock);
    hsm_unlock(&gate_lock);
}

static void before_fork(void)
{
    /* A module that forks while we are inside it must not wait for itself. */
    forking_shut = !hsm_gate_is_inside();
    if (forking_shut) {
        (void)hsm_gate_shut(GATE_DEADLINE_MS);
    }
    hsm_sync_before_fork();
}

static void after_fork_parent(void)
{
    hsm_sync_after_fork_parent();
    if (forking_shut) {
        hsm_gate_open();
    }
}

static void after_fork_child(void)
{
    for (struct hsm_gate_mark *m = atomic_load(&marks); m != NULL;
         m = m->next) {
        if (m != my_mark) {
            atomic_store(&m->inside, false);
            atomic_store(&m->given_up, false);
            m->turn = NULL;     /* void by its claim's epoch */
            atomic_store(&m->used, false);
        }
    }
    hsm_sync_after_fork_child();
    if (atomic_load(&gate_state) == GATE_SHUT) {
        atomic_store(&gate_state, GATE_OPEN);
    }
    shut_for_good = false;      /* in the parent */
    hsm_secret_relock();
    /* A module that forks is in the middle of using one. */
    if (!hsm_gate_is_inside()) {
        hsm_secret_drop_others();
    }
}

static void setup(void)
{
    hsm_lock_init(&gate_lock);
    (void)pthread_key_create(&mark_key, mark_release);
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void hsm_gate_setup(void)
{
    (void)pthread_once(&setup_once, setup);
}

static void at_exit(void)
{
    int saved_errno = errno;

    if (hsm_gate_is_dead()) {
        return;
    }
    if (!hsm_gate_is_inside()) {
        bool out = shut(GATE_DEADLINE_MS, true);
        void (*closing)(void) = atomic_load(&exit_closing);

        if (out && closing != NULL) {
            closing();
        }
    }
    /* With the lock, or who is just about to shut it would. */
    hsm_lock(&gate_lock);
    atomic_store(&gate_state, GATE_DEAD);
    hsm_wake(&gate_lock);       /* those who wait learn that it is over */
    hsm_unlock(&gate_lock);
    errno = saved_errno;
}

void hsm_gate_setup_exit(void (*closing)(void))
{
    atomic_store(&exit_closing, closing);
    (void)atexit(at_exit);
}

/* For all modules and for this one; whoever has shut it may pass. */
static bool is_open(const struct hsm_gate_use *use)
{
    int state = atomic_load(&gate_state);
    bool open = state == GATE_OPEN
        || (state == GATE_SHUT
            && pthread_equal(atomic_load(&shutter), pthread_self()));

    return open
        && (atomic_load(&use->shut_in) != hsm_fork_epoch() + 1
            || pthread_equal(atomic_load(&use->shutter), pthread_self()));
}

/* Waits while others have the gate shut. False: it is so for good. */
static bool wait_for_gate(const struct hsm_gate_use *use)
{
    hsm_lock(&gate_lock);
    while (!is_open(use) && !hsm_gate_is_dead()) {
        (void)hsm_wait(&gate_lock, hsm_deadline(GATE_DEADLINE_MS));
    }
    hsm_unlock(&gate_lock);
    return !hsm_gate_is_dead();
}

/* Puts the mark up, and leaves it so only with the gate open. */
static bool pass(const struct hsm_gate_use *use, struct hsm_gate_mark *m)
{
    bool alive = true;

    while (alive) {
        atomic_store_explicit(&m->use, use, memory_order_relaxed);
        atomic_store(&m->inside, true);
        if (atomic_load(&gate_state) == GATE_OPEN
            && atomic_load(&use->shut_in) == 0) {
            return true;
        }
        if (is_open(use)) {
            return true;
        }
        atomic_store(&m->inside, false);
        alive = wait_for_gate(use);
    }
    return false;
}

static void guard_pipe(struct hsm_gate_frame *f)
{
    sigset_t pipe_set;
    sigset_t pending;

    (void)sigemptyset(&pending);
    (void)sigpending(&pending);
    f->pipe_was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)sigemptyset(&pipe_set);
    (void)sigaddset(&pipe_set, SIGPIPE);
    f->pipe_guarded =
        pthread_sigmask(SIG_BLOCK, &pipe_set, &f->old_mask) == 0;
}

/* Inside. Who has to wait does so outside, so that who shuts the gate waits for
 * one call and not for all that want to follow. False: it is shut for good. */
static bool take_turn(const struct hsm_gate_use *use, struct hsm_gate_mark *m)
{
    struct hsm_gate_turn *t = use->turn;
    bool taken = false;

    while (!taken) {
        hsm_lock(&t->lock);
        taken = hsm_claim_take(&t->taken);
        if (!taken) {
            atomic_store(&m->inside, false);
            (void)hsm_wait(&t->lock, hsm_deadline(GATE_DEADLINE_MS));
        }
        hsm_unlock(&t->lock);
        if (!taken && !pass(use, m)) {
            return false;
        }
    }
    m->turn = t;
    return true;
}

/* What few modules need. A call by a worker cannot raise SIGPIPE here. */
static void prepare(const struct hsm_gate_use *use, struct hsm_gate_frame *f)
{
    my_use = use;
    if (use->guard_sigpipe && use->limit_ms == 0) {
        guard_pipe(f);
    }
}

static void unguard_pipe(const struct hsm_gate_frame *f)
{
    if (!f->pipe_was_pending) {
        const struct timespec now = { 0, 0 };
        sigset_t pipe_set;

        (void)sigemptyset(&pipe_set);
        (void)sigaddset(&pipe_set, SIGPIPE);
        while (sigtimedwait(&pipe_set, NULL, &now) == -1 && errno == EINTR) {
            continue;
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &f->old_mask, NULL);
}

static unsigned long long now_ns(void)
{
    struct timespec t = { 0, 0 };

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long long)t.tv_sec * 1000000000ULL
        + (unsigned long long)t.tv_nsec;
}

bool hsm_gate_enter(const struct hsm_gate_use *use, struct hsm_gate_frame *f)
{
    struct hsm_gate_mark *m = mark_of_thread();
    void (*before)(void);

    f->saved_errno = errno;
    f->entered = false;
    f->pipe_guarded = false;
    f->started_ns = 0;
    if (m == NULL
        || atomic_load_explicit(&m->inside, memory_order_relaxed)
        || !pass(use, m)
        || (use->turn != NULL && !take_turn(use, m))) {
        return false;
    }
    f->entered = true;
    f->after = NULL;
    before = atomic_load_explicit(&around_before, memory_order_acquire);
    if (before != NULL) {
        before();
        f->after = atomic_load_explicit(&around_after, memory_order_relaxed);
    }
    if (use->is_special) {
        prepare(use, f);
    }
    if (hsm_log_is_on(HSM_LOG_CALL)) {
        f->started_ns = now_ns();
    }
    return true;
}

static hsm_rc not_entered(const struct hsm_gate_frame *f)
{
    if (hsm_gate_is_inside()) {
        return hsm_fail(HSM_E_REENTERED, f->name,
                        "a PKCS#11 module called back into this provider");
    }
    if (hsm_gate_is_dead()) {
        return hsm_fail(HSM_E_DEAD, f->name, "the process is ending");
    }
    return hsm_fail_rv(CKR_HOST_MEMORY, f->name);
}

static __attribute__((noinline)) hsm_rc
failed(const struct hsm_gate_frame *f, CK_RV rv)
{
    if (rv == HSM_E_CALL_TIMEOUT) {
        return (hsm_rc){ rv, f->name };     /* worker.c has said more */
    }
    return hsm_fail_rv(rv, f->name);
}

hsm_rc hsm_gate_leave(struct hsm_gate_frame *f, CK_RV rv)
{
    if (!f->entered) {
        return not_entered(f);
    }
    if (f->started_ns != 0) {
        hsm_log(HSM_LOG_CALL, "%s: %s, %llu us", f->name,
                hsm_ckr_row(rv)->name, (now_ns() - f->started_ns) / 1000ULL);
    }
    if (f->after != NULL) {
        f->after();
    }
    if (f->pipe_guarded) {
        unguard_pipe(f);
    }
    if (my_mark->turn != NULL) {
        end_turn(my_mark);
    }
    atomic_store_explicit(&my_mark->inside, false, memory_order_release);
    errno = f->saved_errno;
    return rv == CKR_OK ? HSM_OK : failed(f, rv);
}
