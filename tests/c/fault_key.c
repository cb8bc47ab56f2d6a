/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application that goes on when something fails, and judges how it failed:
 *
 *     fault_key SCENARIO KEYS TOKEN-URI FOLDER CASE…
 *
 * A CASE is a value of COUNT_FAIL (count_fault.c), or COUNT_…=VALUE, another
 * variable of the counting module; letters and a colon may be in front of it.
 * For each there is a new process, which loads the provider (FAULT_CONF is its
 * configuration) and does all of the SCENARIO: use or keep. Each step must end
 * right, with nothing on the error queue, or fail with exactly one entry of
 * ours. KEYS is a file: of RSA, EC and for keep a key with its PIN at each use,
 * a line with the URI and one with the file of the public key. FOLDER is where
 * SoftHSM keeps the token's objects:
 * those that are made are counted there, so that nobody has to be believed,
 * and removed.
 *
 * A fault that comes once hurts one step at most, once; a second attempt at it
 * and all later steps must be right. Letters take of that back:
 *      p   the fault stays, any step may fail again
 *      l   the module does its work and only says that it failed
 *      w   while the store is walked, objects may be missing
 *      k   keys may show another public key, which is what the module told
 *      r   nothing fails: it is recovered from
 *      g   but for the key pair: it is made once, and gone when that fails
 *
 * Prints "ok CASE: what failed" or "not ok CASE: why" for each.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>

#include "tests/c/fault_steps.h"

#define HANGS_AFTER 120
#define ENTRY_MAX 900

static const struct fault_scenario *scenario;
static struct fault_known known;
static const char *folder;

/* This case. */
static struct fault_run this;
static bool stays, is_late, recovers, made_once;
static char why[ENTRY_MAX + 200];

/* Exit status of a process, besides signals. */
enum { GOOD = 0,
       BAD = 1 };

static bool bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool bad(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return false;
}

/* ---- judging them ---- */

/* Empties the queue: how many entries, how many of them are ours. What is
 * wrong with a padding is said in the words of OpenSSL. */
static void count_entries(int *all, int *ours, char *text)
{
    const char *data = NULL, *func = NULL;
    unsigned long e;
    int flags = 0;

    *all = *ours = 0;
    text[0] = '\0';
    while ((e = ERR_get_error_all(NULL, NULL, &func, &data, &flags)) != 0) {
        const char *lib = ERR_lib_error_string(e);
        const char *reason = ERR_reason_error_string(e);

        ++*all;
        if ((lib != NULL && strcmp(lib, "pkcs11") == 0)
            || ERR_GET_LIB(e) == ERR_LIB_RSA) {
            ++*ours;
            snprintf(text, ENTRY_MAX, "%s: %s", reason != NULL ? reason : "?",
                     data);
        }
    }
}

static bool attempt(size_t i, bool *done)
{
    const char *name = scenario->steps[i].name;
    char entry[ENTRY_MAX];
    int all, ours;

    ERR_clear_error();
    this.wrong = NULL;
    *done = scenario->steps[i].run(&this);
    count_entries(&all, &ours, entry);
    if (this.wrong != NULL) {
        return bad("%s: %s", name, this.wrong);
    }
    if (*done && all != 0) {
        return bad("%s: right, but %d entries are left: %s", name, all,
                   entry);
    }
    if (!*done && ours != 1) {
        return bad("%s: failed with %d entries of ours: %s", name,
                   ours, entry);
    }
    if (!*done) {
        bad("%s fails: %s", name, entry);
    }
    return true;
}

/* How many attempts may fail until this step is over. What is deleted although
 * the module says that it is not, is not found any more. */
static unsigned int may_fail(const struct fault_step *step)
{
    return is_late && step->deletes                  ? 2
        : recovers && !(made_once && step->makes) ? 0
                                                     : 1;
}

static bool run_steps(void)
{
    unsigned int n_failed = 0;

    for (size_t i = 0; i < scenario->n; i++) {
        int needs = scenario->steps[i].needs;
        bool done = false;

        if (needs != N_KEYS && this.key[needs] == NULL) {
            continue;
        }
        for (unsigned int n = 0; n < 2 && !done; n++) {
            if (!attempt(i, &done)) {
                return false;
            }
            n_failed += done ? 0 : 1;
            if (!stays && !done && n_failed > may_fail(&scenario->steps[i])) {
                return false;
            }
        }
    }
    return true;
}

/* ---- cases, each in a process ---- */

/* Objects in the token; removes those that are not in keep. */
static size_t objects(char (*names)[64], size_t max, size_t n_keep)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    size_t n = 0;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name), k = 0;

        if (len < 8 || strcmp(e->d_name + len - 7, ".object") != 0
            || len >= sizeof(names[0])) {
            continue;
        }
        if (n_keep == 0) {
            memcpy(names[n < max ? n : max - 1], e->d_name, len + 1);
        }
        while (k < n_keep && strcmp(names[k], e->d_name) != 0) {
            k++;
        }
        if (n_keep > 0 && k == n_keep) {
            unlinkat(dirfd(dir), e->d_name, 0);
        }
        n++;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n;
}

static const char *read_letters(const char *text)
{
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;

    stays = memchr(text, 'p', n) != NULL;
    is_late = memchr(text, 'l', n) != NULL;
    this.may_miss = memchr(text, 'w', n) != NULL;
    this.may_differ = memchr(text, 'k', n) != NULL;
    recovers = memchr(text, 'r', n) != NULL;
    made_once = memchr(text, 'g', n) != NULL;
    return colon != NULL ? colon + 1 : text;
}

static void set_variable(const char *text)
{
    size_t len = strcspn(text, "=");
    char name[40];

    if (strncmp(text, "COUNT_", 6) != 0) {
        setenv("COUNT_FAIL", text, 1);
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, text);
    setenv(name, text[len] == '=' ? text + len + 1 : "", 1);
}

/* In a child: its words and numbers go to the parent. */
static void be_case(const char *fault, int out)
{
    bool good = false;

    alarm(HANGS_AFTER);
    why[0] = '\0';
    set_variable(fault);
    this.ctx = OSSL_LIB_CTX_new();
    if (this.ctx == NULL
        || !OSSL_LIB_CTX_load_config(this.ctx, getenv("FAULT_CONF"))) {
        bad("no provider");
    } else {
        good = run_steps();
    }
    dprintf(out, "%u %u %u %u %s\n", this.n_made, this.n_attempts,
            this.n_deleted, this.n_deletions, why);
    fault_free(&this);
    EVP_PKEY_free(known.peer); /* knows the provider, by key agreement */
    OSSL_LIB_CTX_free(this.ctx);
    exit(good ? GOOD : BAD);
}

/* What was made and said, compared with what is in the token. */
static bool judge_case(int status, char *text, size_t n_new)
{
    unsigned long made = strtoul(text, &text, 10);
    unsigned long attempts = strtoul(text, &text, 10);
    unsigned long deleted = strtoul(text, &text, 10);
    unsigned long deletions = strtoul(text, &text, 10);
    unsigned long most = 0, least = 0;

    snprintf(why, sizeof(why), "%s", text + strspn(text, " "));
    why[strcspn(why, "\n")] = '\0';
    if (WIFSIGNALED(status)) {
        size_t len = strlen(why);

        snprintf(why + len, sizeof(why) - len, " (ended by signal %d)",
                 WTERMSIG(status));
        return false;
    }
    most = (stays || is_late ? attempts : made) * 2 - deleted;
    least = made * 2 - (stays || is_late ? deletions : deleted);
    if ((long)n_new < (long)least || n_new > (size_t)most) {
        size_t len = strlen(why);

        snprintf(why + len, sizeof(why) - len,
                 " (%zu objects are new, of %lu pairs in %lu attempts, %lu"
                 " deleted in %lu)", n_new, made, attempts, deleted,
                 deletions);
        return false;
    }
    return WEXITSTATUS(status) == GOOD;
}

static bool run_case(const char *text)
{
    char before[64][64];
    const char *fault = read_letters(text);
    size_t n_before = objects(before, 64, 0);
    int ends[2], status = 0;
    char said[sizeof(why) + 40] = "";
    size_t len = 0;
    ssize_t got = 1;
    bool good;
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0) {
        return false;
    }
    if (pid == 0) {
        close(ends[0]);
        be_case(fault, ends[1]);
    }
    close(ends[1]);
    while (got > 0 && len < sizeof(said) - 1) {
        got = read(ends[0], said + len, sizeof(said) - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    close(ends[0]);
    waitpid(pid, &status, 0);
    good = judge_case(status, said, objects(before, 64, n_before) - n_before);
    printf("%s %s: %s\n", good ? "ok" : "not ok", text, why);
    fflush(stdout);
    return good;
}

static EVP_PKEY *read_public(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *found = in != NULL
        ? PEM_read_bio_PUBKEY_ex(in, NULL, NULL, NULL, known.judge,
                                 NULL)
        : NULL;

    BIO_free(in);
    return found;
}

/* A line of the file, without its end. */
static char *read_line(FILE *in)
{
    char *line = NULL;
    size_t size = 0;

    if (getline(&line, &size, in) > 0) {
        line[strcspn(line, "\n")] = '\0';
        return line;
    }
    free(line);
    return NULL;
}

/* Of KEY_RSA, KEY_EC, and KEY_ALWAYS where there is one. */
static bool read_keys(const char *path)
{
    FILE *in = fopen(path, "r");

    for (int i = 0; in != NULL && i < KEY_MADE; i++) {
        char *uri = read_line(in), *file = read_line(in);

        known.key_uri[i] = uri;
        known.public_key[i] = file != NULL ? read_public(file) : NULL;
        free(file);
    }
    if (in != NULL) {
        fclose(in);
    }
    return known.public_key[KEY_RSA] != NULL
        && known.public_key[KEY_EC] != NULL
        && (scenario != &fault_keep || known.public_key[KEY_ALWAYS] != NULL);
}

static bool prepare(char **argv)
{
    scenario = strcmp(argv[0], fault_keep.name) == 0 ? &fault_keep : &fault_use;
    known.judge = OSSL_LIB_CTX_new();
    if (known.judge == NULL
        || OSSL_PROVIDER_load(known.judge, "default") == NULL) {
        return false;
    }
    known.token_uri = argv[2];
    folder = argv[3];
    this.known = &known;
    return strcmp(argv[0], scenario->name) == 0 && read_keys(argv[1])
        && fault_know(&known);
}

int main(int argc, char **argv)
{
    bool good = true;

    if (argc < 5 || !prepare(argv + 1)) {
        fprintf(stderr, "fault_key: cannot begin\n");
        ERR_print_errors_fp(stderr);
        return 2;
    }
    for (int i = 5; i < argc; i++) {
        good = run_case(argv[i]) && good;
    }
    return good ? 0 : 1;
}
