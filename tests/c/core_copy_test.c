/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of keys in session objects, and sessions in which objects live. */
#include <pthread.h>

#include "src/crypto/keygen.h"
#include "tests/c/core.h"

#define ALL_URI "pkcs11:token=tok;type=private"
#define SIGNATURES 5
#define THREADS 6

static unsigned char ref[SIG_BYTES];

/* A process that signs, and what it is told to be done to it. */
static const struct row {
    const char *name;
    const char *fail;           /* COUNT_FAIL */
    const char *lie;            /* COUNT_LIE */
    enum hsm_tristate setting;
    unsigned int max_sessions;
    /* calls of these, in order */
    long long copies, inits, destroyed, opened;
} rows[] = {
    { "cache-keys = false", "", "", HSM_NO, 0, 0, 5, 0, 1 },
    { "auto, where it gains nothing", "", "", HSM_AUTO, 0, 0, 5, 0, 1 },
    { "true", "", "", HSM_YES, 0, 1, 5, 1, 1 },
    { "with one session", "", "", HSM_YES, 1, 1, 5, 1, 1 },
    { "the key's CKA_COPYABLE is false", "", "0x171=x00", HSM_YES, 0,
      0, 5, 0, 1 },
    { "the key is a session object", "", "0x1@0x3=x00", HSM_YES, 0,
      0, 5, 0, 1 },
    { "the token refuses copies", "C_CopyObject=0x1b", "", HSM_YES, 0,
      1, 5, 0, 1 },
    { "it fails to copy", "C_CopyObject=0x5", "", HSM_YES, 0, 1, 5, 0, 1 },
    { "the copy vanishes", "C_SignInit#3=0x60", "", HSM_YES, 0, 2, 6, 1, 1 },
    { "copies cannot do it", "C_SignInit#1=0x70", "", HSM_YES, 0,
      1, 6, 1, 1 },
    { "copies fail to do it", "C_Sign#2=0x6", "", HSM_YES, 0, 1, 7, 1, 2 },
    { "copies are not destroyed", "C_DestroyObject=0x5", "", HSM_YES, 0,
      1, 5, 1, 1 },
    { "the session is lost", "C_SignInit#3=0xb3", "", HSM_YES, 0, 2, 6, 1, 2 },
    { "an operation is left in it", "C_Sign#3=0x5", "", HSM_YES, 0,
      1, 6, 1, 2 },
    { "so it is, and it is the only one", "C_Sign#3=0x5", "", HSM_YES, 1,
      2, 6, 1, 2 },
    { "the operation is lost", "C_Sign#3=0x91", "", HSM_YES, 0, 1, 6, 1, 2 },
};

static bool signs(struct hsm_key *key, unsigned int times)
{
    bool good = key != NULL;

    for (unsigned int i = 0; good && i < times; i++) {
        good = core_signs(key, 1, ref);
    }
    return good;
}

static struct hsm_context *open_with(enum hsm_tristate setting,
                                     unsigned int max_sessions)
{
    struct core_setup how = {
        .cache_keys = setting, .max_sessions = max_sessions,
    };

    return core_open(&how);
}

static bool process(void *arg)
{
    const struct row *row = arg;
    struct hsm_context *ctx;
    struct hsm_key *key;
    bool good;

    setenv("COUNT_FAIL", row->fail, 1);
    setenv("COUNT_LIE", row->lie, 1);
    ctx = open_with(row->setting, row->max_sessions);
    key = core_key(ctx, RSA_URI);
    good = signs(key, SIGNATURES);
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void test_rows(void)
{
    struct calls before, c;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct row row = rows[i];

        core_count_begin(&before);
        ok(core_in_child(process, &row), "%s: it signs", row.name);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_CopyObject"), row.copies, "%s: copies",
               row.name);
        is_int(calls_of(&c, "C_SignInit"), row.inits, "%s: attempts",
               row.name);
        is_int(calls_of(&c, "C_DestroyObject"), row.destroyed,
               "%s: copies destroyed", row.name);
        is_int(calls_of(&c, "C_OpenSession"), row.opened, "%s: sessions",
               row.name);
    }
}

static size_t count_keys(struct hsm_context *ctx, const char *text)
{
    hsm_autop(hsm_uri) uri = NULL;
    hsm_auto(hsm_items) items = HSM_ITEMS_INIT;
    hsm_rc rc = hsm_uri_parse(text, &uri);

    if (hsm_ok(rc)) {
        rc = hsm_load(ctx, uri, HSM_WANT_PRIVATE, NULL, &items);
    }
    core_say(rc);
    return items.n;
}

/* Two of one key have copies of their own, which no search shows. */
static bool two_keys(void *arg)
{
    struct hsm_context *ctx = open_with(HSM_YES, 0);
    struct hsm_key *one = core_key(ctx, RSA_URI);
    struct hsm_key *other = core_key(ctx, RSA_URI);
    size_t all = count_keys(ctx, ALL_URI);
    bool good = signs(one, 2) && signs(other, 2);

    (void)arg;
    good = good && all > 1 && count_keys(ctx, ALL_URI) == all
        && count_keys(ctx, RSA_URI) == 1;
    hsm_key_put(one);
    good = signs(other, 2) && good;
    hsm_key_put(other);
    hsm_context_put(ctx);
    return good;
}

static bool children(void *arg)
{
    struct hsm_context *ctx = open_with(HSM_YES, 0);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool good = signs(key, 1);
    struct hsm_token *tok = good ? hsm_key_token(key) : NULL;
    pid_t pid;

    (void)arg;
    if (tok == NULL) {
        return false;
    }
    /* As if another thread were making a copy, which the child does not end. */
    (void)atomic_fetch_add(&tok->copies_begun, 1u);
    pid = fork();
    (void)atomic_fetch_sub(&tok->copies_begun, pid == 0 ? 0u : 1u);
    if (pid == 0) {
        good = signs(key, 2) && atomic_load(&tok->copies_begun)
            == atomic_load(&tok->copies_ended);
        hsm_key_put(key);
        hsm_context_put(ctx);
        _exit(good ? 0 : 1);
    }
    good = core_ended_well(pid) && signs(key, 2) && good;
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void *sign_some(void *arg)
{
    return signs(arg, SIGNATURES) ? arg : NULL;
}

static bool threads(void *arg)
{
    struct hsm_context *ctx = open_with(HSM_YES, 0);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool good = key != NULL;
    pthread_t thread[THREADS];
    void *end;

    (void)arg;
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&thread[i], NULL, sign_some, key);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], &end);
        good = good && end != NULL;
    }
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void test_users(void)
{
    static const struct {
        const char *name;
        core_fn fn;
        long long copies, destroyed;
    } users[] = {
        { "two keys that are one", two_keys, 2, 2 },
        { "a child makes its own", children, 2, 2 },
        { "of threads, one makes it", threads, 1, 1 },
    };
    struct calls before, c;

    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
        core_count_begin(&before);
        ok(core_in_child(users[i].fn, NULL), "%s", users[i].name);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_CopyObject"), users[i].copies, "%s: copies",
               users[i].name);
        is_int(calls_of(&c, "C_DestroyObject"), users[i].destroyed,
               "%s: destroyed", users[i].name);
    }
}

/* ---- keys that are session objects ---- */

static struct hsm_key *make_session_key(struct hsm_context *ctx)
{
    const struct hsm_keygen spec = {
        .kt = hsm_keytype_of(CKK_RSA), .bits = 2048, .session_object = true,
    };
    hsm_autop(hsm_uri) uri = NULL;
    struct hsm_key *key = NULL;
    hsm_rc rc = hsm_uri_parse("pkcs11:token=tok;object=fleeting", &uri);

    if (hsm_ok(rc)) {
        rc = hsm_keygen_pair(ctx, uri, &spec, NULL, &key);
    }
    core_say(rc);
    return key;
}

struct fleeting {
    const char *fail;
    unsigned int max_sessions;
    CK_RV then;                 /* of the signature after the fault */
};

static bool session_key(void *arg)
{
    const struct fleeting *f = arg;
    unsigned char first[SIG_BYTES], sig[SIG_BYTES];
    struct hsm_context *ctx;
    struct hsm_key *key;
    bool good;
    hsm_rc rc;

    setenv("COUNT_FAIL", f->fail, 1);
    ctx = open_with(HSM_YES, f->max_sessions);
    key = make_session_key(ctx);
    good = key != NULL && hsm_ok(core_sign(key, 1, first));
    rc = good ? core_sign(key, 1, sig) : HSM_OK;
    good = good && rc.rv == f->then;
    if (hsm_ok(rc)) {
        good = good && memcmp(first, sig, SIG_BYTES) == 0
            && core_signs(key, 1, first);
    } else {
        diag("%s: %s", hsm_ckr_row(rc.rv)->name, hsm_detail());
    }
    hsm_key_put(key);
    /* Its session is free: one more is not needed. */
    good = good && count_keys(ctx, RSA_URI) == 1;
    hsm_context_put(ctx);
    return good;
}

static void test_session_keys(void)
{
    static const struct {
        const char *name;
        struct fleeting f;
        long long opened, closed;
    } keys[] = {
        { "nothing fails", { "", 0, CKR_OK }, 1, 0 },
        { "an operation is left in its session",
          { "C_Sign#2=0x5", 0, CKR_OK }, 2, 1 },
        { "and the other one is full too",
          { "C_Sign#2=0x5", 2, CKR_OK }, 2, 1 },
        { "and there is no other one",
          { "C_Sign#2=0x5", 1, HSM_E_NO_KEY }, 2, 1 },
    };
    struct calls before, c;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct fleeting f = keys[i].f;

        core_count_begin(&before);
        ok(core_in_child(session_key, &f), "a session object: %s",
           keys[i].name);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_CopyObject"), 0, "%s: is not copied",
               keys[i].name);
        is_int(calls_of(&c, "C_OpenSession"), keys[i].opened, "%s: sessions",
               keys[i].name);
        is_int(calls_of(&c, "C_CloseSession"), keys[i].closed,
               "%s: closed when the key is gone", keys[i].name);
    }
}

/* ---- a key that is freed while all sessions are in use ---- */

static bool free_meanwhile(void *arg)
{
    unsigned int limit = *(unsigned int *)arg;
    struct hsm_context *ctx = open_with(HSM_YES, limit);
    struct hsm_key *one = core_key(ctx, RSA_URI);
    struct hsm_key *other = core_key(ctx, RSA_URI);
    struct hsm_session *s = NULL;
    bool good = signs(one, 1)
        && hsm_ok(hsm_pool_take(ctx, hsm_key_token(one), HSM_RO, &s));
    uint64_t began = hsm_now_ms();

    hsm_key_put(one);
    /* Who waited for a session would wait for 10 s. */
    if (hsm_now_ms() - began > 9000) {
        diag("freeing took %llu ms",
             (unsigned long long)(hsm_now_ms() - began));
        good = false;
    }
    hsm_pool_put(s);
    good = signs(other, 2) && count_keys(ctx, RSA_URI) == 1 && good;
    hsm_key_put(other);
    hsm_context_put(ctx);
    return good;
}

static void test_freeing(void)
{
    static const unsigned int limits[] = { 1, 2, 0 };

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        unsigned int limit = limits[i];
        struct calls before, c;

        core_count_begin(&before);
        ok(core_in_child(free_meanwhile, &limit),
           "max-sessions %u: a key is freed while its copy's home is in use",
           limit);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_CopyObject"), 2, "copies");
        is_int(calls_of(&c, "C_DestroyObject"), 2, "all destroyed");
        is_int(calls_of(&c, "C_OpenSession"), 1, "no session for that");
        is_int(calls_of(&c, "C_CloseSession"), 0, "none is closed for it");
    }
}

/* ---- what a new start of the module would take away ---- */

/* What else is in sessions while a key is missed. */
struct beside {
    const char *name;
    bool key;                   /* one that is nowhere else */
    bool lost;                  /* its session is void by then */
    long long starts;
};

static bool miss_a_key(void *arg)
{
    const struct beside *b = arg;
    struct hsm_context *ctx = open_with(HSM_YES, 0);
    struct hsm_key *copied = core_key(ctx, RSA_URI);
    struct hsm_key *missed = core_key(ctx, RSA_URI);
    struct hsm_key *fleeting = b->key ? make_session_key(ctx) : NULL;
    unsigned char sig[SIG_BYTES];
    bool good = missed != NULL && (fleeting != NULL) == b->key;

    if (b->lost) {
        hsm_token_void(hsm_key_token(missed));
    }
    good = signs(copied, 1) && good;
    core_tell("P11_NO_KEY");
    good = core_sign(missed, 1, sig).rv == HSM_E_NO_KEY && good;
    core_tell("P11_SAME_KEY");
    good = signs(copied, 1) && signs(missed, 1) && good;
    hsm_key_put(fleeting);
    hsm_key_put(missed);
    hsm_key_put(copied);
    hsm_context_put(ctx);
    return good;
}

/* SoftHSM must be started anew to see again what it missed once. */
static void test_starts(void)
{
    static const struct beside rows_beside[] = {
        { "a copy, which can be made again", false, false, 2 },
        { "a key that is nowhere else", true, false, 1 },
        { "such a key, which is lost already", true, true, 2 },
    };
    struct calls before, c;

    for (size_t i = 0; i < sizeof(rows_beside) / sizeof(rows_beside[0]); i++) {
        struct beside b = rows_beside[i];

        core_count_begin(&before);
        ok(core_in_child(miss_a_key, &b), "a key is missed beside %s", b.name);
        core_count_end(&before, &c);
        is_int(calls_of(&c, "C_Initialize"), b.starts, "%s: starts", b.name);
    }
}

/* What all signatures are to be. */
static bool make_reference(void *arg)
{
    struct hsm_context *ctx = core_open(NULL);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool good = key != NULL && hsm_ok(core_sign(key, 1, ref));

    (void)arg;
    core_write("reference", ref, sizeof(ref));
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static bool read_reference(void)
{
    char path[512];
    FILE *in;
    size_t n = 0;

    snprintf(path, sizeof(path), "%s/reference", getenv("P11_SCRATCH"));
    in = fopen(path, "rb");
    if (in != NULL) {
        n = fread(ref, 1, sizeof(ref), in);
        fclose(in);
    }
    return n == sizeof(ref);
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    /* The module reads what it is to feign when it is opened: each scenario is
     * a process. */
    ok(core_in_child(make_reference, NULL) && read_reference(),
       "what is signed without copies");
    test_rows();
    test_users();
    test_session_keys();
    test_freeing();
    test_starts();
    return tap_done();
}
