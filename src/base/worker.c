/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "src/base/gate.h"
#include "src/base/log.h"
#include "src/base/sync.h"

/* How long a thread waits for the next job before it ends. */
#define IDLE_MS 10000u
/* So many threads are left to a module; more of its calls are not begun. */
#define STUCK_MAX 64u

enum state { IDLE, GIVEN, RUNNING, DONE, WRITTEN_OFF };

struct worker {
    struct hsm_lock lock;
    enum state state;           /* (lock) */
    struct hsm_job *job;        /* (lock) whose: as the state says */
    struct hsm_gate_mark *mark; /* of its thread, up while it is running */
    struct worker *next;        /* (workers_lock) idle */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct hsm_lock workers_lock;
static struct worker *idle;             /* (workers_lock) last in, first out */
static struct hsm_job *written_off;     /* (workers_lock) */
static unsigned int epoch;              /* (workers_lock) of all of these */

static __thread const void *my_who;
static __thread bool my_alone;
static __thread bool my_last_is_late;
static _Atomic(hsm_worker_late_fn) late_fn;

static void setup(void)
{
    hsm_lock_init(&workers_lock);
    epoch = hsm_fork_epoch();
}

/* In a child there are no threads of the parent's. Locked. What they had in
 * hand is not freed: it cannot be told how far they were. */
static void forget_parent(void)
{
    if (epoch != hsm_fork_epoch()) {
        epoch = hsm_fork_epoch();
        idle = NULL;
        written_off = NULL;
    }
}

static void lock_all(void)
{
    (void)pthread_once(&once, setup);
    hsm_lock(&workers_lock);
    forget_parent();
}

/* ---- what was written off ---- */

/* A session that its caller has taken. */
static bool has_session(const struct hsm_job *j)
{
    return j->row->role == HSM_JOB_SESSION || j->row->role == HSM_JOB_PAIR;
}

static bool uses_session(const struct hsm_job *j,
                         const struct hsm_worker_session *s)
{
    return j->real == s->real && j->a[0].u == s->h
        && j->made_in == s->generation
        && (has_session(j) || j->row->role == HSM_JOB_CLOSE);
}

static bool is_start(const struct hsm_job *j)
{
    return j->row->role == HSM_JOB_START || j->row->role == HSM_JOB_END;
}

/* Calls that are still in the module forbid this one. Locked. */
static bool is_forbidden(const struct hsm_job *j)
{
    const struct hsm_worker_session s = { j->real, j->a[0].u, j->made_in };
    unsigned int n_stuck = 0;   /* in this module: others are not its fault */
    bool forbidden = false;

    for (const struct hsm_job *w = written_off; w != NULL; w = w->next) {
        bool same_module = w->real == j->real;
        bool same_start = same_module && is_start(w) && is_start(j);
        bool same_session = (has_session(j) || j->row->role == HSM_JOB_CLOSE)
            && uses_session(w, &s);
        bool same_who = j->who != NULL && w->who == j->who && j->alone;

        n_stuck += same_module && !w->returned ? 1 : 0;
        forbidden = forbidden
            || (!w->returned && (same_start || same_session || same_who));
    }
    return forbidden || n_stuck >= STUCK_MAX;
}

/* Enters it in the list; it may still come back just now. */
static void write_off(struct hsm_job *j)
{
    lock_all();
    j->returned = false;
    j->disowned = !has_session(j);
    j->next = written_off;
    written_off = j;
    hsm_unlock(&workers_lock);
}

/* Locked. */
static void unlink_job(struct hsm_job *j)
{
    struct hsm_job **at = &written_off;

    while (*at != NULL && *at != j) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = j->next;
    }
}

/* It did come back. */
static void write_on(struct hsm_job *j)
{
    lock_all();
    unlink_job(j);
    hsm_unlock(&workers_lock);
}

/* Its caller was told that there is none: a stored one nobody would find. */
static void destroy_pair(const struct hsm_job *j)
{
    for (size_t i = 6; j->rv == CKR_OK && i <= 7; i++) {
        const CK_OBJECT_HANDLE *made = j->a[i].p;

        if (made != NULL && j->real->C_DestroyObject != NULL) {
            (void)j->real->C_DestroyObject(j->a[0].u, *made);
        }
    }
}

/* Undoes what nobody asks for any more, still inside the module. When that was
 * started anew it is undone, and handles are those of other things. */
static void undo(struct hsm_job *j)
{
    const CK_SESSION_HANDLE *opened = j->a[4].p;
    const CK_FUNCTION_LIST *f = j->real;

    if (atomic_load(j->generation) != j->made_in) {
        return;
    }
    switch (j->row->role) {
    case HSM_JOB_PAIR:
        destroy_pair(j);
        (void)f->C_CloseSession(j->a[0].u);
        break;
    case HSM_JOB_SESSION:
        (void)f->C_CloseSession(j->a[0].u);
        break;
    case HSM_JOB_OPEN:
        if (j->rv == CKR_OK && opened != NULL) {
            (void)f->C_CloseSession(*opened);
        }
        break;
    case HSM_JOB_START:
        if (j->rv == CKR_OK) {
            (void)f->C_Finalize(NULL);
        }
        break;
    default:
        break;
    }
}

/* Tidies up after it. The job forbids others until that is over: a module must
 * not be started by somebody else between its late start and its end. */
static void end_disowned(struct hsm_job *j, struct hsm_gate_mark *mark)
{
    if (hsm_gate_work_resume(mark)) {
        undo(j);
    }
    lock_all();
    unlink_job(j);
    hsm_unlock(&workers_lock);
    hsm_job_free(j);
}

/* The job has returned after all. */
static void come_back(struct hsm_job *j, struct hsm_gate_mark *mark)
{
    hsm_worker_late_fn late = atomic_load(&late_fn);
    bool disowned;

    if (j->who != NULL && late != NULL) {
        late(j->who, j->secret, j->rv);
    }
    hsm_log(HSM_LOG_WARN, "%s has come back: %s", j->row->name,
            hsm_ckr_row(j->rv)->name);
    lock_all();
    disowned = j->disowned;
    if (!disowned) {
        j->returned = true;     /* its owner frees it: not to be touched */
    }
    hsm_unlock(&workers_lock);
    if (disowned) {
        end_disowned(j, mark);
    }
}

/* The one that its session's owner has not let go yet, or NULL. Locked. */
static struct hsm_job *find_owned(const struct hsm_worker_session *s)
{
    struct hsm_job *j = written_off;

    while (j != NULL && (j->disowned || !uses_session(j, s))) {
        j = j->next;
    }
    return j;
}

void hsm_worker_for(const void *who, hsm_worker_late_fn late, bool alone)
{
    atomic_store(&late_fn, late);
    my_who = who;
    my_alone = alone;
    if (who != NULL) {
        my_last_is_late = false;        /* it was of a call for another */
    }
}

bool hsm_worker_left_behind(void)
{
    return my_last_is_late;
}

bool hsm_worker_has(const struct hsm_worker_session *s)
{
    bool has;

    lock_all();
    has = find_owned(s) != NULL;
    hsm_unlock(&workers_lock);
    return has;
}

bool hsm_worker_disown(const struct hsm_worker_session *s)
{
    struct hsm_job *j;
    bool in_use = false;

    lock_all();
    j = find_owned(s);
    if (j != NULL && j->returned) {
        unlink_job(j);
    } else if (j != NULL) {
        j->disowned = true;
        in_use = true;
    }
    hsm_unlock(&workers_lock);
    if (!in_use) {
        hsm_job_free(j);
    }
    return in_use;
}

bool hsm_worker_is_stuck(const CK_FUNCTION_LIST *real)
{
    bool stuck = false;

    lock_all();
    for (const struct hsm_job *j = written_off; j != NULL; j = j->next) {
        stuck = stuck || (j->real == real && !j->returned);
    }
    hsm_unlock(&workers_lock);
    return stuck;
}

/* ---- the threads ---- */

static void put_idle(struct worker *w)
{
    lock_all();
    w->next = idle;
    idle = w;
    hsm_unlock(&workers_lock);
}

/* True: it was idle, and is in nobody's hands any more. */
static bool leave_idle(struct worker *w)
{
    struct worker **at;
    bool found;

    lock_all();
    at = &idle;
    while (*at != NULL && *at != w) {
        at = &(*at)->next;
    }
    found = *at != NULL;
    if (found) {
        *at = w->next;
    }
    hsm_unlock(&workers_lock);
    return found;
}

/* It is given a job, which without a mark it cannot do. Locked. */
static struct hsm_job *begin_or_fail(struct worker *w)
{
    w->mark = w->mark != NULL ? w->mark : hsm_gate_work_mark();
    if (w->mark == NULL) {
        w->job->rv = CKR_HOST_MEMORY;
        w->state = DONE;
        hsm_wake(&w->lock);
        return NULL;
    }
    w->state = RUNNING;
    hsm_gate_work_begin(w->mark, w->job->use);
    return w->job;
}

/* Waits for a job. NULL: it took too long, and the worker is out of reach. */
static struct hsm_job *wait_for_job(struct worker *w)
{
    hsm_deadline_ms deadline = hsm_deadline(IDLE_MS);
    struct hsm_job *j = NULL;
    bool in_time = true;

    while (j == NULL) {
        hsm_lock(&w->lock);
        while (w->state != GIVEN && in_time) {
            in_time = hsm_wait(&w->lock, deadline);
        }
        if (w->state == GIVEN) {
            j = begin_or_fail(w);
        }
        hsm_unlock(&w->lock);
        if (j == NULL && leave_idle(w)) {
            return NULL;
        }
        /* Somebody has it in hand, and is about to give it a job. */
        in_time = true;
        deadline = hsm_deadline(IDLE_MS);
    }
    return j;
}

static void work(struct worker *w, struct hsm_job *j)
{
    bool late;

    j->rv = j->row->run(j->real, j->a);
    hsm_lock(&w->lock);
    late = w->state == WRITTEN_OFF;
    if (!late) {
        hsm_gate_work_end(w->mark);
        w->state = DONE;
        hsm_wake(&w->lock);
    }
    hsm_unlock(&w->lock);
    if (late) {
        come_back(j, w->mark);
        hsm_gate_work_end(w->mark);
        w->state = IDLE;        /* nobody else knows it */
        put_idle(w);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct hsm_job *j = NULL;

    j = wait_for_job(w);
    while (j != NULL) {
        work(w, j);
        j = wait_for_job(w);
    }
    hsm_lock_destroy(&w->lock);
    free(w);
    return NULL;
}

/* Its signals are the application's, which are not for this thread. */
static bool start_thread(struct worker *w)
{
    pthread_attr_t attr;
    pthread_t id;
    sigset_t all;
    sigset_t old;
    bool started;

    if (pthread_attr_init(&attr) != 0) {
        return false;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    started = pthread_create(&id, &attr, worker_main, w) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    return started;
}

static struct worker *new_worker(void)
{
    struct worker *w = hsm_zalloc(sizeof(*w));

    if (w == NULL) {
        return NULL;
    }
    w->state = IDLE;
    hsm_lock_init(&w->lock);
    if (!start_thread(w)) {
        hsm_lock_destroy(&w->lock);
        free(w);
        return NULL;
    }
    return w;
}

/* An idle worker, or a new one, for this job; *forbidden: none is to be. */
static struct worker *take_worker(const struct hsm_job *j, bool *forbidden)
{
    struct worker *w = NULL;

    lock_all();
    *forbidden = is_forbidden(j);
    if (!*forbidden && idle != NULL) {
        w = idle;
        idle = w->next;
    }
    hsm_unlock(&workers_lock);
    return w != NULL || *forbidden ? w : new_worker();
}

/* Gives the worker the job and waits. RUNNING: not back in time; IDLE: it was
 * not even begun; DONE. */
static enum state give(struct worker *w, struct hsm_job *j,
                       unsigned int limit_ms)
{
    hsm_deadline_ms deadline = hsm_deadline(limit_ms);
    bool in_time = true;
    enum state end;

    hsm_lock(&w->lock);
    w->job = j;
    w->state = GIVEN;
    hsm_wake(&w->lock);
    while (w->state != DONE && in_time) {
        in_time = hsm_wait(&w->lock, deadline);
    }
    end = w->state == GIVEN ? IDLE : w->state;
    if (end != RUNNING) {
        w->state = IDLE;
        w->job = NULL;
    }
    hsm_unlock(&w->lock);
    return end;
}

/* Leaves the thread to the module, unless the call has returned meanwhile:
 * DONE then. It is in the list before anybody can know that it is lost. */
static enum state give_up(struct worker *w, struct hsm_job *j)
{
    const char *name = j->row->name;
    enum state end;

    write_off(j);
    hsm_lock(&w->lock);
    end = w->state;
    if (end == RUNNING) {
        w->state = WRITTEN_OFF;
        hsm_gate_work_give_up(w->mark);
    } else {
        w->state = IDLE;
        w->job = NULL;
    }
    hsm_unlock(&w->lock);
    if (end == DONE) {
        write_on(j);
    } else {
        hsm_log(HSM_LOG_WARN, "%s did not return in time: its thread is left "
                "to the module", name);
    }
    return end;
}

static hsm_rc not_begun(const char *name)
{
    return hsm_fail(HSM_E_CALL_TIMEOUT, name, "%s was not begun: the module "
                    "has not returned from calls of before", name);
}

static hsm_rc not_back(const char *name, unsigned int limit_ms)
{
    return hsm_fail(HSM_E_CALL_TIMEOUT, name, "the module did not return from "
                    "%s within %u ms", name, limit_ms);
}

CK_RV hsm_worker_run(struct hsm_job *j, unsigned int limit_ms)
{
    const char *name = j->row->name;
    bool forbidden = false;
    struct worker *w = NULL;
    enum state end = IDLE;
    hsm_rc rc = { j->rv, name };

    j->who = my_who;
    j->alone = my_alone;
    j->use = hsm_gate_use_now();
    my_last_is_late = false;
    if (hsm_ok(rc)) {
        w = take_worker(j, &forbidden);
        rc = forbidden ? not_begun(name) : (hsm_rc){ CKR_HOST_MEMORY, name };
    }
    if (w != NULL) {
        end = give(w, j, limit_ms);
        end = end == RUNNING ? give_up(w, j) : end;
        rc = end == DONE ? (hsm_rc){ j->rv, name } : not_back(name, limit_ms);
    }
    my_last_is_late = end == RUNNING;
    if (my_last_is_late) {
        return rc.rv;           /* neither is ours any more */
    }
    if (end == DONE) {
        hsm_job_deliver(j);
    }
    if (w != NULL) {
        put_idle(w);
    }
    hsm_job_free(j);
    return rc.rv;
}
