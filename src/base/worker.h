/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that make calls into modules, so that who waits for one can stop
 * waiting. There are as many as there were calls at once; one that has nothing
 * to do for a while ends. None exists before the first job, nor in a child.
 *
 * A job that did not return in time is written off together with its thread
 * and its session: the thread stays in the module (with its mark in the gate
 * up, but hardly waited for), frees the job when it comes back, and closes
 * the session that nobody uses any more. The session's owner learns by
 * hsm_worker_disown() that it has not to. All threads.
 */
#ifndef HSM_BASE_WORKER_H
#define HSM_BASE_WORKER_H

#include "src/base/job.h"

/*
 * Runs the job in a worker, for at most limit_ms, and delivers its results.
 * The job is not the caller's any more, however it ends. HSM_E_CALL_TIMEOUT:
 * not back in time; or not begun, since its session is still in use by such a
 * call, its module is being started by one, or has too many threads.
 */
CK_RV hsm_worker_run(struct hsm_job *j, unsigned int limit_ms);

/*
 * The calls that this thread makes from now on are for who (NULL: nobody), who
 * is to hear what they said also when they are late; alone: none is begun while
 * another one for who is in the module. late is called in another thread, and
 * must not call a module.
 */
typedef void (*hsm_worker_late_fn)(const void *who,
                                   const struct hsm_secret *secret, CK_RV rv);
void hsm_worker_for(const void *who, hsm_worker_late_fn late, bool alone);
/* The last call that this thread made is still in the module: it is late. */
bool hsm_worker_left_behind(void);

/* A session, as its module knows it: another start may use the handle again. */
struct hsm_worker_session {
    const CK_FUNCTION_LIST *real;
    CK_SESSION_HANDLE h;
    unsigned int generation;    /* of the module when it was opened */
};

/* The owner is done with a session. True: a call is still using it, after
 * which it will be closed (unless the module was started anew meanwhile); it
 * must not be touched. */
bool hsm_worker_disown(const struct hsm_worker_session *s);
/* A call that was written off was made with this session, which is not in order
 * then, whether or not the call has come back. */
bool hsm_worker_has(const struct hsm_worker_session *s);
/* A call of that module was written off and has not come back. */
bool hsm_worker_is_stuck(const CK_FUNCTION_LIST *real);

#endif
