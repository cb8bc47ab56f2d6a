/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application of OpenSSL that knows nothing of us and does what it is told:
 *
 *     use_key STEP…           as: use_key load=pkcs11:object=a sign=10 free
 *
 * Steps are done in turn; the first that fails ends the program with status 1.
 * Some are followed by steps of their own, in brackets that are words of their
 * own: fork=30,4 [ sign=3 ]. The table at the end says what there is.
 *
 * Every process is ended by SIGALRM after a while: ALARM seconds, or what the
 * step "alarm" says.
 */
#include "tests/c/use_key.h"
#include "tests/c/resident.h"
#include "tests/c/use_key_cipher.h"
#include "tests/c/use_key_end.h"
#include "tests/c/use_key_threads.h"

#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>

#define ALARM 120

/* ---- processes ---- */

static bool judge_child(int status)
{
    char text[40];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof(text), "signal %d%s", WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? " (it hangs)" : "");
    } else {
        snprintf(text, sizeof(text), "status %d", WEXITSTATUS(status));
    }
    return fail("a child ended with", text);
}

static bool reap(unsigned int n)
{
    bool good = true;
    int status = 0;

    for (; n > 0 && waitpid(-1, &status, 0) > 0; n--) {
        good = judge_child(status) && good;
    }
    return good && (n == 0 || fail("children are missing", ""));
}

static void become_child(struct worker *w, unsigned int index,
                         const struct step *s)
{
    bool good = false;

    alarm(ALARM);
    n_signers = 0;
    w->index = index;
    good = run_steps(w, s->body, s->body_end);
    leaving = !good;
    exit(good ? 0 : 1);
}

static bool step_fork(struct worker *w, const struct step *s)
{
    unsigned int n = number(s->arg, 0, 1);
    unsigned int at_once = number(s->arg, 1, 1);
    bool good = true;

    if (s->body == NULL) {
        return fail("fork without steps", "");
    }
    fflush(NULL);
    for (unsigned int i = 0; i < n; i++) {
        pid_t pid = 0;

        if (i >= at_once) {
            good = reap(1) && good;
        }
        pid = fork();
        if (pid == 0) {
            become_child(w, i, s);
        }
        if (pid < 0) {
            return fail("fork", s->arg);
        }
    }
    return reap(n < at_once ? n : at_once) && good;
}

/* As daemons do; who wants to know its end says "adopt" before and "reap". */
static bool step_daemon(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    if (daemon(1, 1) != 0) {
        return fail("daemon", "");
    }
    alarm(ALARM);
    n_signers = 0;
    return true;
}

static bool step_adopt(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

static bool step_reap(struct worker *w, const struct step *s)
{
    (void)w;
    return reap(number(s->arg, 0, 1));
}

static bool step_sleep(struct worker *w, const struct step *s)
{
    (void)w;
    usleep(number(s->arg, 0, 1) * 1000);
    return true;
}

static bool step_alarm(struct worker *w, const struct step *s)
{
    (void)w;
    alarm(number(s->arg, 0, ALARM));
    return true;
}

/* Until somebody has made the file. */
static bool step_await(struct worker *w, const struct step *s)
{
    (void)w;
    while (access(s->arg, F_OK) != 0) {
        usleep(2000);
    }
    return true;
}

/* Until somebody sends SIGCONT. */
static bool step_pause(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    return raise(SIGSTOP) == 0;
}

static bool step_abort(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    abort();
}

/* Somebody else does something meanwhile. */
static bool step_run(struct worker *w, const struct step *s)
{
    char sh[] = "sh", c[] = "-c";
    char *copy = strdup(s->arg);
    char *argv[] = { sh, c, copy, NULL };
    int status = -1;
    pid_t pid = 0;

    (void)w;
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0) {
        (void)waitpid(pid, &status, 0);
    }
    free(copy);
    return status == 0 || fail("run", s->arg);
}

static bool step_input(struct worker *w, const struct step *s)
{
    (void)w;
    (void)s;
    while (getchar() != EOF) {
    }
    return true;
}

/* ---- providers, contexts, memory ---- */

static bool step_provider(struct worker *w, const struct step *s)
{
    OSSL_PROVIDER *p = NULL;

    if (w->n_providers < PROVIDERS_MAX) {
        p = OSSL_PROVIDER_load(w->ctx, s->arg);
    }
    if (p == NULL) {
        return fail("provider", s->arg);
    }
    w->provider[w->n_providers++] = p;
    return true;
}

static bool step_unload(struct worker *w, const struct step *s)
{
    (void)s;
    while (w->n_providers > 0) {
        if (!OSSL_PROVIDER_unload(w->provider[--w->n_providers])) {
            return fail("unload", "");
        }
    }
    return true;
}

/* A context of its own for the steps in brackets, with openssl.cnf. */
static bool step_context(struct worker *w, const struct step *s)
{
    OSSL_LIB_CTX *outer = w->ctx;
    bool good = false;

    w->ctx = OSSL_LIB_CTX_new();
    good = w->ctx != NULL
           && (s->arg[0] == '\0' || OSSL_LIB_CTX_load_config(w->ctx, s->arg))
           && run_steps(w, s->body, s->body_end);
    OSSL_LIB_CTX_free(w->ctx);
    w->ctx = outer;
    return good || fail("in the context of", s->arg);
}

static bool step_repeat(struct worker *w, const struct step *s)
{
    for (unsigned int i = 0; i < number(s->arg, 0, 1); i++) {
        if (!run_steps(w, s->body, s->body_end)) {
            return fail("repeat", s->arg);
        }
    }
    return true;
}

static bool step_fails(struct worker *w, const struct step *s)
{
    unsigned int n = number(s->arg, 0, 1);

    for (unsigned int i = 0; i < n; i++) {
        if (s->body == NULL || run_steps(w, s->body, s->body_end)) {
            return fail("does not fail", s->arg);
        }
        fflush(stderr);
    }
    return true;
}

/* All that a store has; the memory in use is measured behind the tenth. */
static bool step_list(struct worker *w, const struct step *s)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(s->arg, w->ctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned int n = 0;
    long kib = 0;

    while (store != NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        n += info != NULL ? 1 : 0;
        OSSL_STORE_INFO_free(info);
        if (n == 10) {
            kib = resident_kib();
        }
    }
    OSSL_STORE_close(store);
    printf("listed %u, grown %ld\n", n, resident_kib() - kib);
    return ERR_peek_error() == 0 ? true : fail("cannot list", s->arg);
}

/* Not there before 3.2, so it is not linked. */
static bool step_delete(struct worker *w, const struct step *s)
{
    union {
        void *p;
        int (*f)(const char *uri, OSSL_LIB_CTX *libctx, const char *propq,
                 const UI_METHOD *ui, void *ui_data,
                 const OSSL_PARAM params[]);
    } delete = { .p = dlsym(RTLD_DEFAULT, "OSSL_STORE_delete") };
    UI_METHOD *ui;
    bool good;

    if (delete.p == NULL) {
        return fail("no OSSL_STORE_delete", s->arg);
    }
    ui = UI_UTIL_wrap_read_pem_callback(answer, 0);
    good = delete.f(s->arg, w->ctx, NULL, ui, w, NULL) == 1;
    UI_destroy_method(ui);
    return good ? true : fail("cannot delete", s->arg);
}

static bool step_mark(struct worker *w, const struct step *s)
{
    (void)s;
    w->resident_kib = resident_kib();
    return true;
}

static bool step_grown(struct worker *w, const struct step *s)
{
    (void)s;
    printf("%ld\n", resident_kib() - w->resident_kib);
    return true;
}

/* ---- the table ---- */

static const struct {
    const char *name;
    bool (*run)(struct worker *w, const struct step *s);
} steps[] = {
    { "load", step_load },      /* =URI, =FILE; of "A B" the nth takes one */
    { "peek", step_peek },      /* =URI: the first that is there */
    { "refused", step_refused },    /* =URI, =FILE: cannot be loaded */
    { "answer", step_answer },  /* =PIN, to every question; prints "asked" */
    { "answers", step_answers },    /* =FILE: as "answer", what it has */
    { "hold", step_hold },      /* =FILE: no answers while it is there */
    { "stall", step_stall },    /* who is asked waits from here on */
    { "asked", step_asked },    /* =N threads wait now */
    { "release", step_release },    /* and go on */
    { "is", step_is },          /* =FILE: the key loaded last is this one */
    { "free", step_free },      /* all keys */
    { "sign", step_sign },      /* =N, each with every key */
    { "copies", step_copies },  /* of contexts, while a message is signed */
    { "verify", step_verify },  /* =N, and a wrong signature once */
    { "derive", step_derive },  /* =N, with the first key */
    { "decrypt", step_decrypt },    /* =N, with the first key, of RSA */
    { "oaep", step_oaep },      /* =N, decrypted with the first key, of RSA */
    { "encrypt", step_encrypt },    /* =N, with the first key, of RSA */
    { "open", step_open },      /* =oaep:FILE, =pkcs1:FILE, once */
    { "decrypting", step_decrypting },  /* what "junk" needs */
    { "junk", step_junk },      /* =N, all refused, with a key of 2048 bits */
    { "unseal", step_unseal },  /* =FILE of what was encapsulated, once */
    { "agree", step_agree },    /* =FILE of the peer's public key, once */
    { "unverified", step_unverified },  /* signatures from here on */
    { "prepared", step_prepared },  /* threads from here on: one init each */
    { "pss", step_pss },        /* RSA signatures from here on */
    { "threads", step_threads },    /* =N start to sign */
    { "stop", step_stop },          /* and end, all signatures good */
    { "until", step_until },        /* =N: they signed so often, together */
    { "tally", step_tally },        /* prints how often each did meanwhile */
    { "in", step_in },          /* =N threads do [ STEPS ] */
    { "meet", step_meet },      /* there: they wait for each other */
    { "only", step_only },      /* =0-3,7 there: these do [ STEPS ] */
    { "begin", step_begin },    /* =N threads [ STEPS ], until "stop" */
    { "fork", step_fork },      /* =N[,AT ONCE] children do [ STEPS ] */
    { "daemon", step_daemon },  /* goes on in the background */
    { "adopt", step_adopt },    /* orphans below become our children */
    { "reap", step_reap },      /* =N of them end well */
    { "repeat", step_repeat },  /* =N times [ STEPS ] */
    { "fails", step_fails },    /* =N times [ STEPS ], each fails */
    { "context", step_context },    /* [=CONF]: [ STEPS ] in a new one */
    { "provider", step_provider },  /* =NAME */
    { "unload", step_unload },      /* what "provider" loaded */
    { "cleanup", step_cleanup },    /* OPENSSL_cleanup() */
    { "exit", step_exit },      /* [=STATUS]; the end of the steps returns */
    { "_exit", step_exit },
    { "quick_exit", step_exit },
    { "leave", step_leave },    /* ends this thread, be it the main one */
    { "atexit", step_atexit },  /* [ STEPS ] when the process exits */
    { "sleep", step_sleep },    /* =MILLISECONDS */
    { "alarm", step_alarm },    /* =SECONDS until it is ended */
    { "await", step_await },    /* =FILE, until it is there */
    { "pause", step_pause },    /* is stopped, and goes on by SIGCONT */
    { "abort", step_abort },    /* and leaves a core where it may */
    { "run", step_run },        /* =COMMAND, of the shell */
    { "input", step_input },    /* waits for the end of the standard input */
    { "list", step_list },      /* =URI: how many, and KiB that it grew by */
    { "delete", step_delete },  /* =URI; 3.2 and later */
    { "generate", step_generate },  /* =URI of the new key */
    { "mark", step_mark },      /* the memory in use now */
    { "grown", step_grown },    /* prints by how many KiB it has grown */
};

static bool run_step(struct worker *w, struct step *s)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (strcmp(s->name, steps[i].name) == 0) {
            return steps[i].run(w, s);
        }
    }
    return fail("no such step:", s->name);
}

/* The bracket that closes the one at word. */
static char **closing(char **word, char **end)
{
    int depth = 0;

    for (; word < end; word++) {
        depth += strcmp(*word, "[") == 0 ? 1 : 0;
        depth -= strcmp(*word, "]") == 0 ? 1 : 0;
        if (depth == 0) {
            return word;
        }
    }
    return NULL;
}

static bool run_steps(struct worker *w, char **word, char **end)
{
    while (word < end) {
        char name[20];
        struct step s = { .name = name, .arg = strchr(*word, '=') };

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*word, "="), *word);
        s.arg = s.arg != NULL ? s.arg + 1 : "";
        word++;
        if (word < end && strcmp(*word, "[") == 0) {
            s.body = word + 1;
            s.body_end = closing(word, end);
            if (s.body_end == NULL) {
                return fail("no closing bracket:", s.name);
            }
            word = s.body_end + 1;
        }
        if (!run_step(w, &s)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct worker w;

    alarm(ALARM);
    if (argc > 1 && run_steps(&w, argv + 1, argv + argc)) {
        return 0;
    }
    leaving = true;
    return 1;
}
