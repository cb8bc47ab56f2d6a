/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs share that use the core on a real token, through the
 * counting module. tests/t/20-core-softhsm.t makes the token and says:
 *
 *      P11_MODULE      the counting module; COUNT_… as that tells
 *      P11_PIN         of the token "tok", which has an RSA key "rsa" (id 01)
 *                      and a P-256 key "ec" (id 02)
 *
 * What a signature is made of and compared with is PKCS#1 v1.5 over bare
 * bytes, which is the same every time.
 */
#ifndef TESTS_CORE_H
#define TESTS_CORE_H

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/crypto/op.h"
#include "src/object/load.h"
#include "src/session/pin.h"
#include "tests/c/calls.h"
#include "tests/c/tap.h"

#define RSA_URI "pkcs11:token=tok;id=%01;type=private"
#define EC_URI "pkcs11:token=tok;id=%02;type=private"
#define SIG_BYTES 256
#define CHILD_SECONDS 120

struct core_setup {
    const char *pin;            /* NULL: P11_PIN; "": none */
    const char *module;         /* NULL: P11_MODULE */
    unsigned int max_sessions;
    unsigned int wait_ms;       /* 0: 10 s */
    bool final_try;
    bool close_at_exit;
    bool remote;                /* the module is, whatever it says */
    enum hsm_tristate cache_keys;
};

/* Without the recipe there is nothing to do. */
static inline bool core_is_here(void)
{
    if (getenv("COUNT_FILE") == NULL || getenv("P11_MODULE") == NULL) {
        printf("1..0 # SKIP tests/t/20-core-softhsm.t runs this\n");
        return false;
    }
    hsm_pin_page_setup();
    return true;
}

static inline void core_say(hsm_rc rc)
{
    if (!hsm_ok(rc) && rc.rv != HSM_E_DEAD) {
        diag("%ld: %s from %s: %s; %s", (long)getpid(),
             hsm_ckr_row(rc.rv)->name, rc.at, hsm_detail(), hsm_where());
    }
}

static inline struct hsm_context *core_open(const struct core_setup *how)
{
    static const struct core_setup usual = { .pin = NULL };
    const struct core_setup *as = how != NULL ? how : &usual;
    const char *pin = as->pin != NULL ? as->pin : getenv("P11_PIN");
    struct hsm_settings s;
    struct hsm_context *ctx = NULL;
    hsm_rc rc;

    hsm_settings_init(&s);
    s.n_modules = 1;
    s.module[0].path =
        hsm_strdup(as->module != NULL ? as->module : getenv("P11_MODULE"));
    s.module[0].pin = pin != NULL && pin[0] != '\0' ? hsm_strdup(pin) : NULL;
    s.max_sessions = as->max_sessions;
    s.wait_ms = as->wait_ms > 0 ? as->wait_ms : 10000;
    s.final_try = as->final_try;
    s.cache_keys = as->cache_keys;
    s.close_at_exit = as->close_at_exit ? HSM_YES : HSM_AUTO;
    s.remote = as->remote ? HSM_YES : HSM_AUTO;
    rc = hsm_context_new(&s, NULL, &ctx);
    if (!hsm_ok(rc)) {
        abort();
    }
    return ctx;
}

static inline hsm_rc core_load(struct hsm_context *ctx, const char *text,
                               struct hsm_key **key)
{
    hsm_autop(hsm_uri) uri = NULL;

    TRY(hsm_uri_parse(text, &uri));
    return hsm_load_key(ctx, uri, NULL, key);
}

/* A key that must be there. */
static inline struct hsm_key *core_key(struct hsm_context *ctx,
                                       const char *text)
{
    struct hsm_key *key = NULL;
    hsm_rc rc = core_load(ctx, text, &key);

    core_say(rc);
    return key;
}

/* Signs 32 bytes of this value. */
static inline hsm_rc core_sign(struct hsm_key *key, unsigned char value,
                               unsigned char sig[SIG_BYTES])
{
    const struct hsm_mech mech = hsm_mech_plain(CKM_RSA_PKCS);
    unsigned char data[32];
    size_t len = SIG_BYTES;

    memset(data, value, sizeof(data));
    TRY(hsm_op_once(key, HSM_OP_SIGN, &mech, hsm_bytes_of(data, 32), sig,
                    &len));
    return len == SIG_BYTES ? HSM_OK : hsm_fail_rv(HSM_E_BAD_DATA, "len");
}

/* Signs, and the signature is the one known. */
static inline bool core_signs(struct hsm_key *key, unsigned char value,
                              const unsigned char want[SIG_BYTES])
{
    unsigned char sig[SIG_BYTES];
    hsm_rc rc = core_sign(key, value, sig);

    core_say(rc);
    return hsm_ok(rc) && memcmp(sig, want, SIG_BYTES) == 0;
}

typedef bool (*core_fn)(void *arg);

/* Begins fn in a child, which ends by _exit(). */
static inline pid_t core_fork(core_fn fn, void *arg)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(CHILD_SECONDS);
        _exit(fn(arg) ? 0 : 1);
    }
    return pid;
}

/* True when the child said so, and did not crash or hang. */
static inline bool core_ended_well(pid_t pid)
{
    int status = 0;

    if (pid <= 0 || waitpid(pid, &status, 0) != pid) {
        return false;
    }
    if (WIFSIGNALED(status)) {
        diag("child ended by signal %d", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline bool core_in_child(core_fn fn, void *arg)
{
    return core_ended_well(core_fork(fn, arg));
}

/* What is called between begin and end, by whichever process. */
static inline void core_count_begin(struct calls *before)
{
    calls_read(before);
}

static inline void core_count_end(const struct calls *before,
                                  struct calls *calls)
{
    calls_read(calls);
    calls_since(calls, before);
}

/* Runs the command in this variable, which the recipe has set. */
static inline void core_tell(const char *name)
{
    const char *command = getenv(name);
    pid_t child = command != NULL ? fork() : -1;
    int status = -1;

    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        diag("%s failed", name);
        exit(99);
    }
}

static inline void core_write(const char *name, const void *p, size_t len)
{
    char path[512];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", getenv("P11_SCRATCH"), name);
    out = fopen(path, "wb");
    if (out == NULL || fwrite(p, 1, len, out) != len) {
        perror(path);
        exit(99);
    }
    fclose(out);
}

#endif
