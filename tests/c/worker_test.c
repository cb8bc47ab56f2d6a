/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that do not come back in time: what becomes of their sessions, of the
 * PINs in them and of the threads. The module is made up, no token is needed.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/gate.h"
#include "src/base/sync.h"
#include "src/base/timed.h"
#include "src/base/worker.h"
#include "src/module/library.h"
#include "tests/c/tap.h"

#define LIMIT_MS 100         /* of what does not come back */
#define PATIENT_MS 60000u    /* of what does, on any machine */
#define PIN "Worker-4711"
#define STUCK_MAX 64            /* worker.c's: calls lost in one module */

static CK_FUNCTION_LIST module;
static struct hsm_library lib;
static CK_FUNCTION_LIST other_module;   /* never frozen */
static struct hsm_library other;
static atomic_bool frozen;
static atomic_bool no_memory;
static atomic_uint n_closed;            /* handles that were closed … */
static atomic_ulong last_closed;        /* … and the last of them */
static atomic_uint n_late;
static atomic_ulong late_rv;

/* As the C library's; where there is no memory there is none. */
void *aligned_alloc(size_t alignment, size_t size)
{
    void *p = NULL;

    return !atomic_load(&no_memory) && posix_memalign(&p, alignment, size) == 0
        ? p : NULL;
}

static void thaw_after(unsigned int ms)
{
    hsm_pause_ms(ms);
    atomic_store(&frozen, false);
}

static void wait_while_frozen(void)
{
    while (atomic_load(&frozen)) {
        hsm_pause_ms(1);
    }
}

static CK_RV my_SignInit(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                         CK_OBJECT_HANDLE key)
{
    (void)s;
    (void)m;
    (void)key;
    wait_while_frozen();
    return CKR_OK;
}

static CK_RV my_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin,
                      CK_ULONG n)
{
    (void)s;
    (void)user;
    wait_while_frozen();
    return n == strlen(PIN) && memcmp(pin, PIN, n) == 0 ? CKR_OK
                                                        : CKR_PIN_INCORRECT;
}

static CK_RV my_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *app,
                            CK_NOTIFY notify, CK_SESSION_HANDLE *h)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    wait_while_frozen();
    *h = 77;
    return CKR_OK;
}

static CK_RV my_CloseSession(CK_SESSION_HANDLE s)
{
    atomic_store(&last_closed, s);
    atomic_fetch_add(&n_closed, 1u);
    return CKR_OK;
}

static CK_RV other_SignInit(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                            CK_OBJECT_HANDLE key)
{
    (void)s;
    (void)m;
    (void)key;
    return CKR_OK;
}

static void make_other(void)
{
    other_module.C_SignInit = other_SignInit;
    hsm_timed_list(&other_module, &other.timed);
    other.f = &other.timed;
    other.gate = (struct hsm_gate_use){
        .is_special = true, .limit_ms = 10000, .real = &other_module,
        .generation = &other.generation,
    };
    atomic_init(&other.generation, 1u);
}

static void make_library(void)
{
    module.C_SignInit = my_SignInit;
    module.C_Login = my_Login;
    module.C_OpenSession = my_OpenSession;
    module.C_CloseSession = my_CloseSession;
    hsm_timed_list(&module, &lib.timed);
    lib.f = &lib.timed;
    lib.gate = (struct hsm_gate_use){
        .is_special = true, .limit_ms = LIMIT_MS, .real = &module,
        .generation = &lib.generation,
    };
    atomic_init(&lib.generation, 1u);
}

static CK_RV sign_init(CK_SESSION_HANDLE h)
{
    CK_MECHANISM m = { CKM_RSA_PKCS, NULL, 0 };
    hsm_rc rc = hsm_call(&lib, C_SignInit, (h, &m, 1));

    return rc.rv;
}

static CK_RV login(const char *pin)
{
    char copy[20];
    union {
        char *text;
        CK_BYTE *utf8;
    } u = { .text = copy };
    hsm_rc rc;

    (void)snprintf(copy, sizeof(copy), "%s", pin);
    rc = hsm_call(&lib, C_Login, (3, CKU_USER, u.utf8, strlen(pin)));
    return rc.rv;
}

static struct hsm_worker_session named(CK_SESSION_HANDLE h,
                                       unsigned int generation)
{
    return (struct hsm_worker_session){ &module, h, generation };
}

/* Waits until all that was written off has come back. */
static bool all_back(void)
{
    hsm_deadline_ms deadline = hsm_deadline(PATIENT_MS);

    while (hsm_worker_is_stuck(&module) && hsm_now_ms() < deadline) {
        hsm_pause_ms(1);
    }
    return !hsm_worker_is_stuck(&module);
}

/* Before anything else: this thread has a mark, and no worker has left one. */
static void test_no_memory(void)
{
    uint64_t began = hsm_now_ms();
    struct hsm_gate_frame frame = { .name = "none" };
    const struct hsm_gate_use plain = { .is_special = false };

    ok(hsm_gate_enter(&plain, &frame), "a mark for this thread");
    is_int((long long)hsm_gate_leave(&frame, CKR_OK).rv, CKR_OK, "passed");
    atomic_store(&no_memory, true);
    lib.gate.limit_ms = PATIENT_MS;
    is_int((long long)sign_init(1), CKR_HOST_MEMORY, "none for a worker");
    ok(hsm_now_ms() - began < PATIENT_MS / 2, "which is told at once");
    atomic_store(&no_memory, false);
    is_int((long long)sign_init(1), CKR_OK, "with memory it works");
    lib.gate.limit_ms = LIMIT_MS;
}

static void test_session(void)
{
    struct hsm_worker_session s = named(5, 1);

    atomic_store(&frozen, true);
    is_int((long long)sign_init(5), HSM_E_CALL_TIMEOUT, "it times out");
    ok(hsm_worker_left_behind(), "and is left behind");
    ok(hsm_worker_has(&s), "its session is known");
    is_int((long long)sign_init(5), HSM_E_CALL_TIMEOUT, "and not used");
    ok(!hsm_worker_left_behind(), "which leaves nothing behind");
    ok(hsm_worker_disown(&s), "its owner need not close it");
    atomic_store(&n_closed, 0u);
    thaw_after(0);
    ok(all_back(), "it comes back");
    is_int(atomic_load(&n_closed), 1, "and closes the session");
    is_int((long long)atomic_load(&last_closed), 5, "this one");
}

/* The module is started anew, and hands out the same handles again. */
static void test_generation(void)
{
    struct hsm_worker_session old = named(5, atomic_load(&lib.generation));
    struct hsm_worker_session new = old;
    CK_SESSION_HANDLE h = 0;
    hsm_rc rc;

    atomic_store(&frozen, true);
    is_int((long long)sign_init(5), HSM_E_CALL_TIMEOUT, "it times out");
    rc = hsm_call(&lib, C_OpenSession, (1, 4, NULL, NULL, &h));
    is_int((long long)rc.rv, HSM_E_CALL_TIMEOUT, "so does an opening");
    new.generation = atomic_fetch_add(&lib.generation, 1u) + 1;
    ok(!hsm_worker_has(&new), "the handle's new session is in order");
    ok(!hsm_worker_disown(&new), "and nobody else is using it");
    ok(hsm_worker_has(&old), "the old one is not forgotten");
    ok(hsm_worker_disown(&old), "its owner lets it go");
    atomic_store(&n_closed, 0u);
    thaw_after(0);
    ok(all_back(), "they come back");
    is_int(atomic_load(&n_closed), 0, "and close nothing of the new life");
    lib.gate.limit_ms = PATIENT_MS;
    is_int((long long)sign_init(5), CKR_OK, "it is used");
    lib.gate.limit_ms = LIMIT_MS;
}

/* The owner lets it go when it is back: nothing stays behind. */
static void test_returned(void)
{
    struct hsm_worker_session old = named(6, atomic_load(&lib.generation));

    atomic_store(&frozen, true);
    is_int((long long)sign_init(6), HSM_E_CALL_TIMEOUT, "it times out");
    atomic_fetch_add(&lib.generation, 1u);
    thaw_after(0);
    ok(all_back(), "it comes back to another life");
    ok(!hsm_worker_disown(&old), "and is freed by its owner");
    ok(!hsm_worker_has(&old), "who has nothing left");
}

/* ---- one module is dead, another is not ---- */

/* Calls in so many sessions; how many of them are left behind. */
static int leave_behind(CK_SESSION_HANDLE first, int n)
{
    int left = 0;

    lib.gate.limit_ms = 5;
    for (int i = 0; i < n; i++) {
        if (sign_init(first + (CK_SESSION_HANDLE)i) == HSM_E_CALL_TIMEOUT
            && hsm_worker_left_behind()) {
            left++;
        }
    }
    lib.gate.limit_ms = LIMIT_MS;
    return left;
}

static void disown_all(CK_SESSION_HANDLE first, int n)
{
    for (int i = 0; i < n; i++) {
        struct hsm_worker_session s =
            named(first + (CK_SESSION_HANDLE)i, atomic_load(&lib.generation));

        (void)hsm_worker_disown(&s);
    }
}

static void test_modules_apart(void)
{
    CK_MECHANISM m = { CKM_RSA_PKCS, NULL, 0 };
    hsm_rc rc;

    atomic_store(&frozen, true);
    is_int(leave_behind(100, STUCK_MAX + 2), STUCK_MAX,
           "so many calls are left to a module");
    ok(strstr(hsm_detail(), "C_SignInit was not begun") != NULL,
       "why there are no more is said: %s", hsm_detail());
    rc = hsm_call(&other, C_SignInit, (1, &m, 1));
    is_int((long long)rc.rv, CKR_OK, "another module is called");
    disown_all(100, STUCK_MAX);
    thaw_after(0);
    ok(all_back(), "they come back");
    is_int((long long)sign_init(1), CKR_OK, "and it is called again");
}

/* ---- PINs in a child ---- */

/* Its arena is found by a secret that is made now, next to the others. */
static bool has_pin_near(const char *near)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *from = near - (uintptr_t)near % page;

    for (size_t i = 0; i + strlen(PIN) <= page; i++) {
        if (memcmp(from + i, PIN, strlen(PIN)) == 0) {
            return true;
        }
    }
    return false;
}

static int child_has_pin(const struct hsm_secret *near)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(has_pin_near(near->text) ? 1 : 0);
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void note_late(const void *who, const struct hsm_secret *pin, CK_RV rv)
{
    (void)who;
    (void)pin;
    atomic_store(&late_rv, rv);
    atomic_fetch_add(&n_late, 1u);
}

static void test_pin_left_behind(void)
{
    hsm_autop(hsm_secret) near = hsm_secret_new("near", 4);
    struct hsm_worker_session s = named(3, atomic_load(&lib.generation));

    atomic_store(&frozen, true);
    hsm_worker_for(&lib, note_late, true);
    is_int((long long)login(PIN), HSM_E_CALL_TIMEOUT, "a login times out");
    hsm_worker_for(NULL, note_late, false);
    ok(has_pin_near(near->text), "its PIN is where it is looked for");
    is_int(child_has_pin(near), 0, "a child does not have it");
    ok(has_pin_near(near->text), "its parent still has");
    ok(hsm_worker_disown(&s), "its session is let go");
    thaw_after(0);
    ok(all_back(), "it comes back");
    is_int(atomic_load(&n_late), 1, "and tells what the token said");
    is_int((long long)atomic_load(&late_rv), CKR_OK, "with the PIN in order");
    for (int i = 0; i < 30000 && has_pin_near(near->text); i++) {
        hsm_pause_ms(1);
    }
    is_int(has_pin_near(near->text), 0, "the PIN is wiped then");
}

static atomic_bool held, release;

static void *hold_pin(void *arg)
{
    hsm_autop(hsm_secret) s = hsm_secret_new(PIN, strlen(PIN));

    (void)arg;
    atomic_store(&held, s != NULL);
    while (!atomic_load(&release)) {
        hsm_pause_ms(1);
    }
    return NULL;
}

static void test_pin_of_thread(void)
{
    hsm_autop(hsm_secret) near = hsm_secret_new("near", 4);
    struct hsm_secret *mine = NULL;
    pthread_t thread;

    pthread_create(&thread, NULL, hold_pin, NULL);
    while (!atomic_load(&held)) {
        hsm_pause_ms(1);
    }
    ok(has_pin_near(near->text), "a thread has a PIN");
    is_int(child_has_pin(near), 0, "a child of another one does not");
    atomic_store(&release, true);
    pthread_join(thread, NULL);
    is_int(has_pin_near(near->text), 0, "the thread has wiped it");
    mine = hsm_secret_new(PIN, strlen(PIN));
    is_int(child_has_pin(near), 1, "a child has what its thread has");
    hsm_secret_keep(mine);
    is_int(child_has_pin(near), 1, "and what is kept for all");
    hsm_secret_free(mine);
    is_int(child_has_pin(near), 0, "until that is freed");
}

int main(void)
{
    hsm_gate_setup();
    make_library();
    make_other();
    test_no_memory();
    test_session();
    test_generation();
    test_returned();
    test_modules_apart();
    test_pin_left_behind();
    test_pin_of_thread();
    return tap_done();
}
