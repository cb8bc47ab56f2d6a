/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application that goes on when something fails, and judges how it failed:
 *
 *     fault_key RSA-URI RSA-PUB EC-URI EC-PUB TOKEN-URI FOLDER CASE…
 *
 * A CASE is a value of COUNT_FAIL (count_fault.c), or COUNT_…=VALUE, another
 * variable of the counting module; letters and a colon may be in front of it.
 * For each there is a new process, which loads the
 * provider (FAULT_CONF is its configuration) and does all steps of the table
 * at the end. Each must end right, with nothing on the error queue, or fail
 * with exactly one entry of ours. The PUB files have the public keys; FOLDER is
 * where SoftHSM keeps the token's objects: those that are made are counted
 * there, so that nobody has to be believed, and removed.
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

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#define HANGS_AFTER 30
#define ENTRY_MAX 900
#define WALK_PRIVATE 2
#define WALK_PUBLIC 2
#define WALK_CERT 1

enum { KEY_RSA, KEY_EC, KEY_MADE, N_KEYS };

/* What is known before, made by software. */
static OSSL_LIB_CTX *judge;
static EVP_PKEY *public_key[N_KEYS];
static EVP_PKEY *peer;
static unsigned char secret[64];
static size_t secret_len;

static const char *key_uri[N_KEYS];
static const char *token_uri;
static const char *folder;

/* This case. */
static OSSL_LIB_CTX *ctx;
static EVP_PKEY *key[N_KEYS];
static bool stays, is_late, may_miss, may_differ, recovers, made_once;
static unsigned int n_made, n_attempts;
static char why[ENTRY_MAX + 200];

/* Exit status of a process, besides signals. */
enum { GOOD = 0, BAD = 1 };

static bool bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool bad(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    return false;
}

/* ---- the steps: false is a failure, wrong is set where it is a lie ---- */

static const char *wrong;

static EVP_PKEY *load(const char *uri)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, ctx, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *found = NULL;

    if (store == NULL || !OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY)) {
        OSSL_STORE_close(store);
        return NULL;
    }
    while (found == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL) {
            break;
        }
        found = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return found;
}

static bool is_same(EVP_PKEY *own, EVP_PKEY *public)
{
    unsigned char *a = NULL, *b = NULL;
    int a_len = i2d_PUBKEY(own, &a), b_len = i2d_PUBKEY(public, &b);
    bool same = a_len > 0 && a_len == b_len
        && memcmp(a, b, (size_t)a_len) == 0;

    OPENSSL_free(a);
    OPENSSL_free(b);
    return same;
}

static bool load_into(int which)
{
    if (key[which] == NULL) {
        key[which] = load(key_uri[which]);
    }
    if (key[which] != NULL && !may_differ
        && !is_same(key[which], public_key[which])) {
        wrong = "another public key";
    }
    return key[which] != NULL;
}

static bool step_load_rsa(void)
{
    return load_into(KEY_RSA);
}

static bool step_load_ec(void)
{
    return load_into(KEY_EC);
}

static bool digest_sign(EVP_PKEY *k, OSSL_LIB_CTX *where, unsigned char *sig,
                        size_t *len, bool sign)
{
    static const unsigned char data[] = "what is signed";
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = false;

    if (sign) {
        good = EVP_DigestSignInit_ex(c, NULL, "SHA256", where, NULL, k, NULL)
            == 1 && EVP_DigestSign(c, sig, len, data, sizeof(data)) == 1;
    } else {
        good = EVP_DigestVerifyInit_ex(c, NULL, "SHA256", where, NULL, k,
                                       NULL) == 1
            && EVP_DigestVerify(c, sig, *len, data, sizeof(data)) == 1;
    }
    EVP_MD_CTX_free(c);
    return good;
}

static bool sign_with(int which)
{
    unsigned char sig[1024];
    size_t len = sizeof(sig);

    if (!digest_sign(key[which], ctx, sig, &len, true)) {
        return false;
    }
    if (!(which == KEY_MADE && may_differ)
        && !digest_sign(public_key[which], judge, sig, &len, false)) {
        wrong = "a wrong signature";
    }
    return true;
}

static bool step_sign_rsa(void)
{
    return sign_with(KEY_RSA);
}

static bool step_sign_ec(void)
{
    return sign_with(KEY_EC);
}

static bool agree(EVP_PKEY *own, EVP_PKEY *other, OSSL_LIB_CTX *where,
                  unsigned char *z, size_t *len)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(where, own, NULL);
    bool good = c != NULL && EVP_PKEY_derive_init(c) == 1
        && EVP_PKEY_derive_set_peer(c, other) == 1
        && EVP_PKEY_derive(c, z, len) == 1;

    EVP_PKEY_CTX_free(c);
    return good;
}

static bool step_derive(void)
{
    unsigned char z[64];
    size_t len = sizeof(z);

    if (!agree(key[KEY_EC], peer, ctx, z, &len)) {
        return false;
    }
    if (len != secret_len || memcmp(z, secret, len) != 0) {
        wrong = "a wrong secret";
    }
    return true;
}

static bool step_generate(void)
{
    char uri[300], group[] = "P-256";
    OSSL_PARAM params[3];
    EVP_PKEY_CTX *c =
        EVP_PKEY_CTX_new_from_name(ctx, "EC", "provider=pkcs11");
    unsigned char *der = NULL;
    const unsigned char *at;
    int len;

    n_attempts++;
    snprintf(uri, sizeof(uri), "%s;object=made-%u-%d", token_uri, n_attempts,
             (int)getpid());
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                 group, 0);
    params[1] = OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (c == NULL || EVP_PKEY_keygen_init(c) != 1
        || EVP_PKEY_CTX_set_params(c, params) != 1
        || EVP_PKEY_generate(c, &key[KEY_MADE]) != 1) {
        key[KEY_MADE] = NULL;
    }
    EVP_PKEY_CTX_free(c);
    if (key[KEY_MADE] == NULL) {
        return false;
    }
    n_made++;
    ERR_set_mark();             /* what this says of a lie is no matter */
    len = i2d_PUBKEY(key[KEY_MADE], &der);
    at = der;
    public_key[KEY_MADE] = d2i_PUBKEY_ex(NULL, &at, len, judge, NULL);
    OPENSSL_free(der);
    ERR_pop_to_mark();
    if (public_key[KEY_MADE] == NULL && !may_differ) {
        wrong = "a key without a public half";
    }
    return true;
}

static bool step_sign_made(void)
{
    return sign_with(KEY_MADE);
}

/* A walk that ends early says so. */
static bool step_walk(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(token_uri, ctx, NULL, NULL,
                                               NULL, NULL, NULL, NULL);
    int n[OSSL_STORE_INFO_CRL + 1] = { 0 };
    bool good = store != NULL;

    while (good && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL) {
            good = !OSSL_STORE_error(store);
            continue;
        }
        n[OSSL_STORE_INFO_get_type(info)]++;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    if (good && !may_miss
        && (n[OSSL_STORE_INFO_PKEY] < WALK_PRIVATE + (int)n_made
            || n[OSSL_STORE_INFO_PUBKEY] < WALK_PUBLIC + (int)n_made
            || n[OSSL_STORE_INFO_CERT] != WALK_CERT)) {
        wrong = "a walk that misses objects";
    }
    return good;
}

static bool step_free(void)
{
    for (int i = 0; i < N_KEYS; i++) {
        EVP_PKEY_free(key[i]);
        key[i] = NULL;
    }
    return true;
}

static const struct {
    const char *name;
    bool (*run)(void);
    int needs;                  /* this key; N_KEYS: none */
} steps[] = {
    { "load RSA", step_load_rsa, N_KEYS },
    { "sign RSA", step_sign_rsa, KEY_RSA },
    { "load EC", step_load_ec, N_KEYS },
    { "sign EC", step_sign_ec, KEY_EC },
    { "derive", step_derive, KEY_EC },
    { "generate", step_generate, N_KEYS },
    { "sign made", step_sign_made, KEY_MADE },
    { "walk", step_walk, N_KEYS },
    { "sign RSA again", step_sign_rsa, KEY_RSA },
    { "sign EC again", step_sign_ec, KEY_EC },
    { "free", step_free, N_KEYS },
};

/* ---- judging them ---- */

/* Empties the queue: how many entries, how many of them are ours. */
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
        if (lib != NULL && strcmp(lib, "pkcs11") == 0) {
            ++*ours;
            snprintf(text, ENTRY_MAX, "%s: %s", reason != NULL ? reason : "?",
                     data);
        }
    }
}

static bool attempt(size_t i, bool *done)
{
    char entry[ENTRY_MAX];
    int all, ours;

    ERR_clear_error();
    wrong = NULL;
    *done = steps[i].run();
    count_entries(&all, &ours, entry);
    if (wrong != NULL) {
        return bad("%s: %s", steps[i].name, wrong);
    }
    if (*done && all != 0) {
        return bad("%s: right, but %d entries are left: %s", steps[i].name,
                   all, entry);
    }
    if (!*done && ours != 1) {
        return bad("%s: failed with %d entries of ours: %s", steps[i].name,
                   ours, entry);
    }
    if (!*done) {
        bad("%s fails: %s", steps[i].name, entry);
    }
    return true;
}

/* How many attempts may fail until this step is over. */
static unsigned int may_fail(size_t step)
{
    return recovers && !(made_once && steps[step].run == step_generate) ? 0
                                                                        : 1;
}

static bool run_steps(void)
{
    unsigned int n_failed = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        bool done = false;

        if (steps[i].needs != N_KEYS && key[steps[i].needs] == NULL) {
            continue;
        }
        for (unsigned int n = 0; n < 2 && !done; n++) {
            if (!attempt(i, &done)) {
                return false;
            }
            n_failed += done ? 0 : 1;
            if (!stays && !done && n_failed > may_fail(i)) {
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
    may_miss = memchr(text, 'w', n) != NULL;
    may_differ = memchr(text, 'k', n) != NULL;
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
    ctx = OSSL_LIB_CTX_new();
    if (ctx == NULL
        || !OSSL_LIB_CTX_load_config(ctx, getenv("FAULT_CONF"))) {
        bad("no provider");
    } else {
        good = run_steps();
    }
    dprintf(out, "%u %u %s\n", n_made, n_attempts, why);
    step_free();
    EVP_PKEY_free(peer);        /* knows the provider, by key agreement */
    OSSL_LIB_CTX_free(ctx);
    exit(good ? GOOD : BAD);
}

/* What was made and said, compared with what is in the token. */
static bool judge_case(int status, char *text, size_t n_new)
{
    unsigned long made = strtoul(text, &text, 10);
    unsigned long attempts = strtoul(text, &text, 10);
    unsigned long most = 0;

    snprintf(why, sizeof(why), "%s", text + strspn(text, " "));
    why[strcspn(why, "\n")] = '\0';
    if (WIFSIGNALED(status)) {
        size_t len = strlen(why);

        snprintf(why + len, sizeof(why) - len, " (ended by signal %d)",
                 WTERMSIG(status));
        return false;
    }
    most = stays || is_late ? attempts : made;
    if (n_new < (size_t)made * 2 || n_new > (size_t)most * 2) {
        size_t len = strlen(why);

        snprintf(why + len, sizeof(why) - len,
                 " (%zu objects are new, of %lu pairs in %lu attempts)", n_new,
                 made, attempts);
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
        ? PEM_read_bio_PUBKEY_ex(in, NULL, NULL, NULL, judge, NULL) : NULL;

    BIO_free(in);
    return found;
}

static bool prepare(char **argv)
{
    judge = OSSL_LIB_CTX_new();
    if (judge == NULL || OSSL_PROVIDER_load(judge, "default") == NULL) {
        return false;
    }
    key_uri[KEY_RSA] = argv[0];
    key_uri[KEY_EC] = argv[2];
    public_key[KEY_RSA] = read_public(argv[1]);
    public_key[KEY_EC] = read_public(argv[3]);
    token_uri = argv[4];
    folder = argv[5];
    peer = EVP_PKEY_Q_keygen(judge, NULL, "EC", "P-256");
    secret_len = sizeof(secret);
    return public_key[KEY_RSA] != NULL && public_key[KEY_EC] != NULL
        && peer != NULL
        && agree(peer, public_key[KEY_EC], judge, secret, &secret_len);
}

int main(int argc, char **argv)
{
    bool good = true;

    if (argc < 7 || !prepare(argv + 1)) {
        fprintf(stderr, "fault_key: cannot begin\n");
        ERR_print_errors_fp(stderr);
        return 2;
    }
    for (int i = 7; i < argc; i++) {
        good = run_case(argv[i]) && good;
    }
    return good ? 0 : 1;
}
