/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application of OpenSSL that knows nothing of us and does not give up:
 * while its token comes and goes it signs, in threads, and tells what it lost.
 *
 *     outage_key KEY
 *
 * KEY is loaded at "load"; what was signed is verified by the default provider
 * of another context. Each line of the standard input is a command, and is
 * answered by one line that ends with "."; before it stand lines of errors:
 *
 *     load        ok | failed         (once)
 *     again       loads it once more, for nothing
 *     sign        ok | failed, and how many milliseconds it took
 *     threads N   start to sign without end
 *     count       good=N bad=N wrong=N longest_ms=N idle=N
 *                 since the last "count": signatures, refusals, signatures
 *                 that do not verify, the longest attempt, and how many threads
 *                 had no good one
 *     stop        ends the threads
 *     fork        a child signs: ok | failed
 *     generate U  makes an EC key in the token, as the URI says: ok | failed
 *     finalize F  C_Finalize of the module in file F, as another part of the
 *                 application would do
 *
 * The end of the input ends the process, by exit(). SIGPIPE is not ignored.
 */
/* Of what is in use_key.h only some is used here. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/c/use_key.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/c/bare_token.h"

#define THREADS_MAX 64
#define ERRORS_MAX 32
/* Of an application's own between attempts that failed. */
#define PAUSE_US 2000

struct signer {
    pthread_t id;
    atomic_ulong good;
};

static struct worker worker;
static struct signer signer[THREADS_MAX];
static unsigned int n_signers;
static atomic_bool stopping;
static atomic_ulong good_n, bad_n, wrong_n, longest_ms;

static pthread_mutex_t errors_mutex = PTHREAD_MUTEX_INITIALIZER;
static char *errors[ERRORS_MAX];        /* (errors_mutex) each once */

static unsigned long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

/* What is on this thread's queue: each text once, until it is printed. */
static void note_errors(void)
{
    const char *data = NULL;
    const char *reason = NULL;
    int flags = 0;
    unsigned long e = 0;

    while ((e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        char text[1024];
        size_t i = 0;

        reason = ERR_reason_error_string(e);
        snprintf(text, sizeof(text), "%s: %s: %s",
                 ERR_lib_error_string(e) != NULL ? ERR_lib_error_string(e)
                                                 : "?",
                 reason != NULL ? reason : "?",
                 (flags & ERR_TXT_STRING) != 0 ? data : "");
        pthread_mutex_lock(&errors_mutex);
        while (i < ERRORS_MAX && errors[i] != NULL
               && strcmp(errors[i], text) != 0) {
            i++;
        }
        if (i < ERRORS_MAX && errors[i] == NULL) {
            errors[i] = strdup(text);
        }
        pthread_mutex_unlock(&errors_mutex);
    }
}

static void print_errors(void)
{
    pthread_mutex_lock(&errors_mutex);
    for (size_t i = 0; i < ERRORS_MAX && errors[i] != NULL; i++) {
        printf("%s\n", errors[i]);
        free(errors[i]);
        errors[i] = NULL;
    }
    pthread_mutex_unlock(&errors_mutex);
}

static void note_time(unsigned long ms)
{
    unsigned long longest = longest_ms;

    while (ms > longest
           && !atomic_compare_exchange_weak(&longest_ms, &longest, ms)) {
    }
}

/* One signature; *ms: how long it took. */
static bool sign_once(unsigned long *ms)
{
    static const unsigned char data[] = "what is signed";
    const struct key *key = &worker.key[0];
    unsigned char sig[SIGNATURE_MAX];
    size_t len = sizeof(sig);
    unsigned long began = now_ms();
    EVP_MD_CTX *ctx = begin(&worker, key->own, true, NULL);
    bool good = ctx != NULL
                && EVP_DigestSign(ctx, sig, &len, data, sizeof(data)) == 1;

    *ms = now_ms() - began;
    note_time(*ms);
    EVP_MD_CTX_free(ctx);
    if (!good) {
        bad_n++;
        note_errors();
        return false;
    }
    if (!verify(&worker, key->public, judge, sig, len)) {
        wrong_n++;
        return false;
    }
    good_n++;
    return true;
}

static void *sign_on(void *arg)
{
    struct signer *s = arg;
    unsigned long ms = 0;

    while (!stopping) {
        if (sign_once(&ms)) {
            s->good++;
        } else {
            usleep(PAUSE_US);
        }
    }
    return NULL;
}

static bool do_threads(const char *arg)
{
    unsigned int n = number(arg, 0, 1);

    if (worker.n_keys == 0 || n_signers > 0 || n > THREADS_MAX) {
        return false;
    }
    stopping = false;
    for (; n_signers < n; n_signers++) {
        signer[n_signers].good = 0;
        if (pthread_create(&signer[n_signers].id, NULL, sign_on,
                           &signer[n_signers]) != 0) {
            return false;
        }
    }
    return true;
}

static bool do_stop(const char *arg)
{
    (void)arg;
    stopping = true;
    for (; n_signers > 0; n_signers--) {
        pthread_join(signer[n_signers - 1].id, NULL);
    }
    return true;
}

static bool do_count(const char *arg)
{
    unsigned int idle = 0;

    (void)arg;
    for (unsigned int i = 0; i < n_signers; i++) {
        idle += atomic_exchange(&signer[i].good, 0) == 0 ? 1 : 0;
    }
    print_errors();
    printf("good=%lu bad=%lu ", atomic_exchange(&good_n, 0),
           atomic_exchange(&bad_n, 0));
    printf("wrong=%lu ", atomic_exchange(&wrong_n, 0));
    printf("longest_ms=%lu idle=%u ", atomic_exchange(&longest_ms, 0), idle);
    return true;
}

static bool do_sign(const char *arg)
{
    unsigned long ms = 0;
    bool good = false;

    (void)arg;
    good = worker.n_keys > 0 && sign_once(&ms);
    print_errors();
    printf("%lu ms ", ms);
    return good;
}

static bool do_load(const char *arg)
{
    struct step s = { "load", arg, NULL, NULL };
    struct key key = { NULL, NULL };

    if (worker.n_keys > 0) {
        return false;
    }
    key.own = load(&worker, s.arg);
    key.public = key.own != NULL ? public_of(key.own) : NULL;
    if (key.public == NULL) {
        EVP_PKEY_free(key.own);
        note_errors();
        return false;
    }
    worker.key[worker.n_keys++] = key;
    return true;
}

static bool do_again(const char *arg)
{
    EVP_PKEY *key = load(&worker, arg);

    EVP_PKEY_free(key);
    note_errors();
    return key != NULL;
}

static bool do_fork(const char *arg)
{
    int status = 0;
    unsigned long ms = 0;
    pid_t pid;

    (void)arg;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        alarm(60);
        n_signers = 0;
        _exit(sign_once(&ms) ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool do_finalize(const char *file)
{
    CK_FUNCTION_LIST *f = bare_functions(file);

    return f != NULL && f->C_Finalize(NULL) == CKR_OK;
}

static bool do_generate(const char *uri)
{
    struct step s = { "generate", uri, NULL, NULL };
    bool good = step_generate(&worker, &s);

    note_errors();
    return good;
}

static const struct {
    const char *name;
    bool (*run)(const char *arg);
} commands[] = {
    { "load", do_load },
    { "again", do_again },
    { "sign", do_sign },
    { "threads", do_threads },
    { "count", do_count },
    { "stop", do_stop },
    { "fork", do_fork },
    { "generate", do_generate },
    { "finalize", do_finalize },
};

static bool run(const char *name, const char *arg)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run(arg);
        }
    }
    fprintf(stderr, "outage_key: no command %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    char line[1024];

    if (argc != 2) {
        fprintf(stderr, "usage: outage_key KEY\n");
        return 2;
    }
    signal(SIGPIPE, SIG_DFL);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *arg = NULL;
        bool good = false;

        line[strcspn(line, "\n")] = '\0';
        arg = line + strcspn(line, " ");
        if (*arg != '\0') {
            *arg++ = '\0';
        }
        good = run(line, *arg != '\0' ? arg : argv[1]);
        print_errors();
        printf("%s.\n", good ? "ok" : "failed");
        fflush(stdout);
    }
    /* Threads may still sign, or be held: exit() is what is looked at. */
    exit(0);
}
