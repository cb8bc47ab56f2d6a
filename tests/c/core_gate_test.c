/* SPDX-License-Identifier: Apache-2.0 */
/* fork() and exit() while other threads are inside the module. Everything is
 * done in children: this process itself loads nothing. */
#include <pthread.h>
#include <stdatomic.h>

#include "src/crypto/keygen.h"
#include "tests/c/core.h"

#define THREADS 4
#define FORKS 16
#define EXITS 8

static atomic_bool over;
static atomic_uint failed;
static unsigned char ref[THREADS + 1][SIG_BYTES];

struct job {
    struct hsm_key *key;
    unsigned char value;
};

static void *sign_until_over(void *arg)
{
    struct job *job = arg;

    while (!atomic_load(&over)) {
        bool good = core_signs(job->key, job->value, ref[job->value]);

        /* Not ended: libcrypto's own handlers do not expect that any more. */
        while (hsm_gate_is_dead()) {
            pause();
        }
        if (!good) {
            atomic_fetch_add(&failed, 1u);
        }
    }
    return NULL;
}

static bool begin(const struct core_setup *how, struct hsm_key **key,
                  struct job job[THREADS], pthread_t thread[THREADS])
{
    *key = core_key(core_open(how), RSA_URI);
    if (*key == NULL) {
        return false;
    }
    for (unsigned char i = 0; i <= THREADS; i++) {
        if (!hsm_ok(core_sign(*key, i, ref[i]))) {
            return false;
        }
    }
    for (unsigned char i = 0; i < THREADS; i++) {
        job[i] = (struct job){ *key, i };
        pthread_create(&thread[i], NULL, sign_until_over, &job[i]);
    }
    hsm_pause_ms(20);
    return true;
}

static bool sign_in_child(void *key)
{
    return core_signs(key, THREADS, ref[THREADS]);
}

/* A child with threads of its own. */
static bool sign_in_threads(void *key)
{
    struct job job = { key, 1 };
    pthread_t thread;
    bool good;

    pthread_create(&thread, NULL, sign_until_over, &job);
    good = core_signs(key, THREADS, ref[THREADS])
           && core_in_child(sign_in_child, key);
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    return good && atomic_load(&failed) == 0;
}

static bool fork_often(void *arg)
{
    struct job job[THREADS];
    pthread_t thread[THREADS];
    struct hsm_key *key = NULL;
    unsigned int bad = 0;
    uint64_t began;

    if (!begin(arg, &key, job, thread)) {
        return false;
    }
    began = hsm_now_ms();
    for (int i = 0; i < FORKS; i++) {
        bad += core_in_child(i % 4 == 3 ? sign_in_threads : sign_in_child,
                             key) ? 0 : 1;
    }
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    diag("%d forks in %llu ms", FORKS,
         (unsigned long long)(hsm_now_ms() - began));
    if (bad > 0 || atomic_load(&failed) > 0) {
        diag("%u children failed, %u signatures of the parent", bad,
             atomic_load(&failed));
    }
    return bad == 0 && atomic_load(&failed) == 0;
}

/* exit(), not _exit(): handlers and destructors run while threads sign. */
static bool exit_while_signing(void *arg)
{
    struct job job[THREADS];
    pthread_t thread[THREADS];
    struct hsm_key *key = NULL;

    if (!begin(arg, &key, job, thread)) {
        return false;
    }
    exit(atomic_load(&failed) == 0 ? 0 : 1);
}

/* A module that is loaded later, when handlers are registered already. */
static bool exit_with_two_modules(void *arg)
{
    struct core_setup other = { .module = getenv("COUNT_MODULE") };
    struct hsm_key *key = core_key(core_open(arg), RSA_URI);
    struct hsm_key *second = core_key(core_open(&other), RSA_URI);

    if (key == NULL || second == NULL
        || !hsm_ok(core_sign(key, 1, ref[1]))
        || !core_signs(second, 1, ref[1])) {
        return false;
    }
    return exit_while_signing(&other);
}

static bool exit_in_forked(void *arg)
{
    struct hsm_key *key = core_key(core_open(arg), RSA_URI);

    if (key == NULL || !hsm_ok(core_sign(key, 1, ref[1]))) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            exit(core_signs(key, 1, ref[1]) ? 0 : 1);
        }
        if (!core_ended_well(pid)) {
            return false;
        }
    }
    exit(core_signs(key, 1, ref[1]) ? 0 : 1);
}

static void test_exit(void)
{
    struct core_setup plain = { .pin = NULL };
    struct core_setup closing = { .close_at_exit = true };
    struct {
        const char *what;
        core_fn fn;
        struct core_setup *how;
    } rows[] = {
        { "while threads sign", exit_while_signing, &plain },
        { "with a second module", exit_with_two_modules, &plain },
        { "of forked processes, closing sessions", exit_in_forked, &closing },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct calls before, c;
        int good = 0;

        core_count_begin(&before);
        for (int k = 0; k < EXITS; k++) {
            good += core_in_child(rows[i].fn, rows[i].how) ? 1 : 0;
        }
        core_count_end(&before, &c);
        is_int(good, EXITS, "exit() %s", rows[i].what);
        is_int(calls_of(&c, "C_Finalize"), 0, "finalises nothing");
        ok(rows[i].how->close_at_exit
           ? calls_of(&c, "C_CloseSession") >= EXITS
           : calls_of(&c, "C_CloseSession") == 0,
           "sessions closed: %lld of %lld", calls_of(&c, "C_CloseSession"),
           calls_of(&c, "C_OpenSession"));
    }
}

static void *load_and_sign(void *ctx)
{
    unsigned char sig[SIG_BYTES];
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool good = key != NULL && hsm_ok(core_sign(key, 1, sig));

    hsm_key_put(key);
    return good ? ctx : NULL;
}

/* The first use of a module, by 16 threads. */
static bool first_use(void *arg)
{
    pthread_t thread[16];
    struct hsm_context *ctx = core_open(arg);
    bool good = true;

    for (int i = 0; i < 16; i++) {
        pthread_create(&thread[i], NULL, load_and_sign, ctx);
    }
    for (int i = 0; i < 16; i++) {
        void *result = NULL;

        pthread_join(thread[i], &result);
        good = good && result != NULL;
    }
    hsm_context_put(ctx);
    return good;
}

static bool generate(void *arg)
{
    const struct hsm_keygen spec = {
        .kt = hsm_keytype_by_name("EC"),
        .curve = hsm_curve_by_name("P-256"),
    };
    hsm_autop(hsm_uri) uri = NULL;
    struct hsm_key *key = NULL;
    hsm_rc rc;

    setenv("COUNT_FAIL", arg, 1);
    if (!hsm_ok(hsm_uri_parse("pkcs11:token=tok;object=made", &uri))) {
        return false;
    }
    rc = hsm_keygen_pair(core_open(NULL), uri, &spec, NULL, &key);
    return !hsm_ok(rc) && key == NULL;
}

/* Whatever goes wrong, a key pair is made once. */
static void test_keygen(void)
{
    static const struct {
        const char *fail;
        long long made, destroyed;
    } rows[] = {
        { "C_GenerateKeyPair=0x5", 1, 0 },      /* GENERAL_ERROR */
        { "C_GenerateKeyPair=0x30", 1, 0 },     /* DEVICE_ERROR */
        { "C_GenerateKeyPair=0xb3", 2, 0 },     /* SESSION_HANDLE_INVALID */
        { "C_GetAttributeValue=0x5", 1, 2 },
        { "C_GetAttributeValue=0xb3", 1, 2 },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char fail[32];
        struct calls before, c;

        snprintf(fail, sizeof(fail), "%s", rows[i].fail);
        core_count_begin(&before);
        ok(core_in_child(generate, fail), "key generation, %s", fail);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_GenerateKeyPair"), rows[i].made, "made");
        is_int(calls_of(&c, "C_DestroyObject"), rows[i].destroyed, "undone");
    }
}

int main(void)
{
    struct core_setup one = { .max_sessions = 1 };

    if (!core_is_here()) {
        return 0;
    }
    ok(core_in_child(fork_often, NULL), "fork while %d threads sign",
       THREADS);
    ok(core_in_child(fork_often, &one), "the same with one session");
    test_exit();
    for (int i = 0; i < 4; i++) {
        ok(core_in_child(first_use, NULL), "16 threads at first use");
    }
    test_keygen();
    return tap_done();
}
