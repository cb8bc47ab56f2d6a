/* SPDX-License-Identifier: Apache-2.0 */
/* One call at a time, where a module is to have that: across threads, forks and
 * calls that do not return, or whose thread ends. The module is here. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "src/base/gate.h"
#include "tests/c/child.h"
#include "tests/c/tap.h"

#define THREADS 8
#define CALLS 50
#define ALL_CALLS (1LL * THREADS * CALLS)
#define QUEUE 16
#define SLOW_US 20000

static CK_FUNCTION_LIST functions;
static struct hsm_gate_turn turn;
static struct {
    struct hsm_gate_use gate;
    CK_FUNCTION_LIST *f;
} module = { .f = &functions };

static atomic_int inside, most, stuck, begun, forking, started, go_on;
static atomic_uint call_us = 200;

/* The module's function: "stays" is a call that does not return by itself. */
static CK_RV seed(CK_SESSION_HANDLE s, CK_BYTE *stays, CK_ULONG n)
{
    int now = atomic_fetch_add(&inside, 1) + 1;

    (void)s;
    (void)n;
    (void)atomic_fetch_add(&begun, 1);
    if (now > atomic_load(&most)) {
        atomic_store(&most, now);
    }
    usleep(atomic_load(&call_us));
    if (stays != NULL) {
        atomic_store(&stuck, 1);
        while (atomic_load(&stuck) != 0) {
            usleep(1000);
        }
    }
    (void)atomic_fetch_sub(&inside, 1);
    return CKR_OK;
}

static bool call(CK_BYTE *stays)
{
    return hsm_ok(hsm_call(&module, C_SeedRandom, (1, stays, 0)));
}

static void *calls(void *arg)
{
    atomic_int *good = arg;

    (void)atomic_fetch_add(&started, 1);
    for (int i = 0; i < CALLS; i++) {
        (void)atomic_fetch_add(good, call(NULL) ? 1 : 0);
    }
    while (atomic_load(&go_on) != 0) {
        (void)atomic_fetch_sub(good, call(NULL) ? 0 : 1);
    }
    return NULL;
}

static void *stays(void *arg)
{
    static CK_BYTE here;

    (void)arg;
    (void)call(&here);
    return NULL;
}

static int in_threads(void (*meanwhile)(void))
{
    pthread_t thread[THREADS];
    atomic_int good = 0;

    atomic_store(&most, 0);
    atomic_store(&started, 0);
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_create(&thread[i], NULL, calls, &good);
    }
    meanwhile();
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(thread[i], NULL);
    }
    return atomic_load(&good);
}

static void nothing(void)
{
}

static bool calls_in_child(void)
{
    bool good;

    alarm(120);
    /* Whoever was inside has no thread here. */
    atomic_store(&inside, 0);
    atomic_store(&go_on, 0);
    good = in_threads(nothing) == ALL_CALLS;
    return good && atomic_load(&most) == 1;
}

/* While each of the threads calls: where one begins or ends, the allocator of
 * AddressSanitizer may be locked, and its child has no use of it. */
static void fork_some(void)
{
    int good = 0;

    while (atomic_load(&started) < THREADS) {
        usleep(1000);
    }
    for (int i = 0; i < 5; i++) {
        good += in_child(calls_in_child) ? 1 : 0;
    }
    is_int(good, 5, "children call while their parent's threads do");
    atomic_store(&go_on, 0);
}

static pthread_t start_staying(void)
{
    pthread_t thread;

    (void)pthread_create(&thread, NULL, stays, NULL);
    while (atomic_load(&stuck) == 0) {
        usleep(1000);
    }
    return thread;
}

/* A server that is frozen: the child has a connection of its own. */
static void test_stuck(void)
{
    pthread_t thread = start_staying();

    ok(in_child(calls_in_child), "a child calls while a call stays");
    atomic_store(&stuck, 0);
    (void)pthread_join(thread, NULL);
    ok(call(NULL), "then its parent does, too");
}

static void *one_call(void *arg)
{
    atomic_int *good = arg;

    (void)atomic_fetch_add(good, call(NULL) ? 1 : 0);
    return NULL;
}

/* What of a thread that was cancelled would hold up all others, and exit. */
static void test_cancelled(void)
{
    pthread_t thread = start_staying();

    (void)pthread_cancel(thread);
    (void)pthread_join(thread, NULL);
    atomic_store(&stuck, 0);
    atomic_store(&inside, 0);
    ok(call(NULL), "a call after one whose thread was cancelled in it");
    is_int(in_threads(nothing), ALL_CALLS, "then calls in turn");
    is_int(atomic_load(&most), 1, "… which do not overlap");
    ok(hsm_gate_shut(1000), "then nobody is inside");
    hsm_gate_open();
}

/* It has the lock of those that wait when it is woken. */
static void test_cancelled_waiting(void)
{
    pthread_t staying = start_staying();
    pthread_t waiting;
    atomic_int good = 0;

    (void)pthread_create(&waiting, NULL, one_call, &good);
    usleep(50000);
    (void)pthread_cancel(waiting);
    usleep(50000);
    atomic_store(&stuck, 0);
    (void)pthread_join(staying, NULL);
    (void)pthread_join(waiting, NULL);
    atomic_store(&inside, 0);
    is_int(in_threads(nothing), ALL_CALLS,
           "calls after a thread was cancelled that waited for its turn");
    is_int(atomic_load(&most), 1, "… do not overlap");
}

static void count_fork(void)
{
    atomic_store(&forking, 1);
}

/* Lets the call that stays return when the fork has surely shut the gate. */
static void *releases(void *arg)
{
    (void)arg;
    while (atomic_load(&forking) == 0) {
        usleep(1000);
    }
    usleep(100000);
    atomic_store(&stuck, 0);
    return NULL;
}

static bool queue_waits(void)
{
    /* One had begun; some more in time to spare between the two handlers. */
    return atomic_load(&begun) <= 1 + QUEUE / 4;
}

/* A fork is held up by the call in the module, not by those that wait. */
static void test_queue(void)
{
    pthread_t thread[QUEUE];
    pthread_t release;
    pthread_t staying;
    atomic_int good = 0;

    atomic_store(&begun, 0);
    atomic_store(&call_us, SLOW_US);
    staying = start_staying();
    for (int i = 0; i < QUEUE; i++) {
        (void)pthread_create(&thread[i], NULL, one_call, &good);
    }
    usleep(50000);
    atomic_store(&forking, 0);
    (void)pthread_create(&release, NULL, releases, NULL);
    ok(in_child(queue_waits), "a fork does not wait for those that wait");
    (void)pthread_join(release, NULL);
    (void)pthread_join(staying, NULL);
    for (int i = 0; i < QUEUE; i++) {
        (void)pthread_join(thread[i], NULL);
    }
    is_int(atomic_load(&good), QUEUE, "… which have their turn after it");
    is_int(atomic_load(&begun), QUEUE + 1, "… once each");
}

int main(void)
{
    functions.C_SeedRandom = seed;
    hsm_gate_setup();
    /* Registered later, so it runs before the gate's. */
    (void)pthread_atfork(count_fork, NULL, NULL);
    hsm_lock_init(&turn.lock);
    is_int(in_threads(nothing), ALL_CALLS, "calls that may overlap");
    ok(atomic_load(&most) > 1, "… do");
    module.gate.turn = &turn;
    module.gate.is_special = true;
    is_int(in_threads(nothing), ALL_CALLS, "calls in turn");
    is_int(atomic_load(&most), 1, "… do not");
    atomic_store(&go_on, 1);
    is_int(in_threads(fork_some), ALL_CALLS, "calls around forks");
    is_int(atomic_load(&most), 1, "… do not overlap");
    test_stuck();
    /* Who waits for ever is ended. */
    alarm(240);
    test_cancelled();
    test_cancelled_waiting();
    test_queue();
    hsm_lock_destroy(&turn.lock);
    return tap_done();
}
