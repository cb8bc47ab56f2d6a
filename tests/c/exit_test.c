/* SPDX-License-Identifier: Apache-2.0 */
/* exit() has shut the gate and still closes sessions, while another thread
 * forks and loses its patience: the gate stays shut for everybody. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/gate.h"
#include "src/base/sync.h"
#include "tests/c/tap.h"

/* So long until fork() does not wait any more, at most. */
#define CLOSING_MS_MAX 15000u
#define SECONDS_MAX 30

enum { ENTERED = 3,
       NOT_FORKED = 4 };

static atomic_bool closing;
static atomic_bool forked;

static bool enters(void)
{
    static const struct hsm_gate_use use = { .guard_sigpipe = false };
    struct hsm_gate_frame f = { .name = "a call" };
    bool entered = hsm_gate_enter(&use, &f);

    if (entered && atomic_load(&closing)) {
        _exit(ENTERED);
    }
    return hsm_ok(hsm_gate_leave(&f, CKR_OK));
}

static void *call_always(void *arg)
{
    while (enters()) {
        hsm_pause_ms(1);
    }
    return arg;
}

static void *fork_meanwhile(void *arg)
{
    pid_t pid;

    while (!atomic_load(&closing)) {
        hsm_pause_ms(1);
    }
    pid = fork();
    if (pid == 0) {
        /* Nothing of the parent's end is the child's. */
        atomic_store(&closing, false);
        _exit(enters() ? 0 : 1);
    }
    if (pid > 0 && waitpid(pid, arg, 0) == pid && *(int *)arg == 0) {
        atomic_store(&forked, true);
    }
    return NULL;
}

static void close_slowly(void)
{
    atomic_store(&closing, true);
    for (unsigned int ms = 0; ms < CLOSING_MS_MAX && !atomic_load(&forked);
         ms += 10) {
        hsm_pause_ms(10);
    }
    if (!atomic_load(&forked)) {
        _exit(NOT_FORKED);
    }
}

static void end(void)
{
    pthread_t thread;
    static int status = -1;

    alarm(SECONDS_MAX);
    hsm_gate_setup();
    hsm_gate_setup_exit(close_slowly);
    pthread_create(&thread, NULL, call_always, NULL);
    pthread_create(&thread, NULL, fork_meanwhile, &status);
    hsm_pause_ms(20);
    exit(0);
}

int main(void)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        end();
    }
    ok(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status),
       "a process ends while one of its threads forks");
    is_int(WEXITSTATUS(status), 0, "nobody came through the gate meanwhile");
    return tap_done();
}
