/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: how many, who waits, and which are not handed out again. */
#include <pthread.h>

#include "tests/c/core.h"

#define THREADS 8
#define ROUNDS 12
/* So long that nobody has waited to its end who has what he waited for. */
#define PATIENT_MS 60000u

static unsigned char ref[THREADS][SIG_BYTES];

struct job {
    struct hsm_key *key;
    unsigned char value;
    bool good;
};

static void *sign_rounds(void *arg)
{
    struct job *job = arg;

    job->good = true;
    for (unsigned int i = 0; i < ROUNDS; i++) {
        job->good = core_signs(job->key, job->value, ref[job->value])
                    && job->good;
    }
    return NULL;
}

static bool run_threads(struct hsm_key *key)
{
    pthread_t thread[THREADS];
    struct job job[THREADS];
    bool good = true;

    for (unsigned char i = 0; i < THREADS; i++) {
        job[i] = (struct job){ .key = key, .value = i };
        pthread_create(&thread[i], NULL, sign_rounds, &job[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        good = good && job[i].good;
    }
    return good;
}

/* arg: how many sessions there may be. */
static bool crowd(void *arg)
{
    struct core_setup how = { .max_sessions = *(unsigned int *)arg };
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool good = key != NULL;

    for (unsigned char i = 0; good && i < THREADS; i++) {
        good = hsm_ok(core_sign(key, i, ref[i]));
    }
    good = good && run_threads(key);
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void test_limits(void)
{
    static const unsigned int limits[] = { 1, 2, 0 };

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        unsigned int limit = limits[i];
        struct calls before, c;

        core_count_begin(&before);
        ok(core_in_child(crowd, &limit), "%d threads, max-sessions %u",
           THREADS, limit);
        core_count_end(&before, &c);
        ok(calls_of(&c, "C_OpenSession") <= (limit > 0 ? limit : THREADS + 1),
           "sessions: %lld", calls_of(&c, "C_OpenSession"));
        is_int(calls_of(&c, "C_SignInit"), THREADS * (ROUNDS + 1LL),
               "no attempt is repeated");
        is_int(calls_of(&c, "C_Login"), 1, "one login");
    }
}

static bool takes(struct hsm_context *ctx, struct hsm_key *key,
                  struct hsm_session **s, CK_RV want)
{
    hsm_rc rc = hsm_pool_take(ctx, hsm_key_token(key), HSM_RO, s);

    if (rc.rv != want) {
        core_say(hsm_ok(rc) ? hsm_fail_rv(rc.rv, "too many") : rc);
    }
    return rc.rv == want;
}

/* arg: none. A token that has three sessions, then two, then enough. */
static bool outgrow(void *arg)
{
    struct core_setup how = { .wait_ms = 200 };
    struct hsm_session *s[4] = { NULL };
    struct hsm_context *ctx;
    struct hsm_key *key;
    bool good = arg == NULL;

    setenv("COUNT_FAIL", "C_OpenSession#4=0xb1 C_OpenSession#5=0xb1", 1);
    ctx = core_open(&how);
    key = core_key(ctx, RSA_URI);
    for (size_t i = 0; key != NULL && i < 3; i++) {
        good = takes(ctx, key, &s[i], CKR_OK) && good;
    }
    good = good && takes(ctx, key, &s[3], HSM_E_TIMEOUT);
    if (good) {
        s[2]->dirty = true;
        hsm_pool_put(s[2]);
        good = takes(ctx, key, &s[2], HSM_E_TIMEOUT);
        hsm_pause_ms(1200);
    }
    return good && takes(ctx, key, &s[2], CKR_OK)
        && takes(ctx, key, &s[3], CKR_OK);
}

struct waiter {
    struct hsm_context *ctx;
    struct hsm_token *tok;
    hsm_rc rc;
    uint64_t waited_ms;
    char words[256];
};

static void *wait_for_session(void *arg)
{
    struct waiter *w = arg;
    struct hsm_session *s = NULL;
    uint64_t began = hsm_now_ms();

    w->rc = hsm_pool_take(w->ctx, w->tok, HSM_RO, &s);
    w->waited_ms = hsm_now_ms() - began;
    snprintf(w->words, sizeof(w->words), "%s", hsm_detail());
    hsm_pool_put(s);
    return NULL;
}

static bool somebody_waits(struct hsm_token *tok)
{
    bool waits;

    hsm_lock(&tok->lock);
    waits = tok->pool.turns != NULL;
    hsm_unlock(&tok->lock);
    return waits;
}

/* The only session is in use, and comes back when another thread waits. */
static void wakes(struct waiter *w, struct hsm_session *used, bool dirty,
                  const char *what)
{
    pthread_t thread;

    pthread_create(&thread, NULL, wait_for_session, w);
    while (!somebody_waits(w->tok)) {
        hsm_pause_ms(1);
    }
    used->dirty = dirty;
    hsm_pool_put(used);
    pthread_join(thread, NULL);
    ok(hsm_ok(w->rc) && w->waited_ms < PATIENT_MS / 2, "%s", what);
}

static void test_waiting(void)
{
    struct core_setup how = { .max_sessions = 1, .wait_ms = 400 };
    struct core_setup patient = { .max_sessions = 1, .wait_ms = PATIENT_MS };
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct waiter w = { .ctx = ctx };
    struct hsm_session *s = NULL;
    struct calls before, c;

    if (!ok(key != NULL, "a token with one session")) {
        return;
    }
    w.tok = hsm_key_token(key);
    ok(hsm_ok(hsm_pool_take(ctx, w.tok, HSM_RO, &s)), "it is taken");
    wait_for_session(&w);
    is_str(hsm_ckr_row(w.rc.rv)->name, hsm_ckr_row(HSM_E_TIMEOUT)->name,
           "another one is waited for in vain");
    ok(w.waited_ms >= 400 && w.waited_ms < PATIENT_MS / 2,
       "until the deadline");
    ok(strstr(w.words, "all 1 sessions") != NULL, "said: %s", w.words);

    w.ctx = core_open(&patient);
    wakes(&w, s, false, "who waits is woken by a put");

    core_count_begin(&before);
    s = NULL;
    ok(hsm_ok(hsm_pool_take(ctx, w.tok, HSM_RW, &s)),
       "one for writing takes the place of one for reading");
    hsm_pool_put(s);
    core_count_end(&before, &c);
    is_int(calls_of(&c, "C_OpenSession"), 1, "one is opened");
    is_int(calls_of(&c, "C_CloseSession"), 1, "one is closed");

    ok(hsm_ok(hsm_pool_take(ctx, w.tok, HSM_RO, &s)), "taken again");
    wakes(&w, s, true, "a dirty one makes room, too");
    hsm_context_put(w.ctx);
    hsm_key_put(key);
    hsm_context_put(ctx);
}

/* A signature that does not fit leaves an operation in its session. */
static void test_dirty(unsigned int limit)
{
    struct core_setup how = { .max_sessions = limit };
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    const struct hsm_mech mech = hsm_mech_plain(CKM_RSA_PKCS);
    unsigned char small[10];
    size_t len = sizeof(small);
    struct calls before, c;
    hsm_rc rc;

    if (!ok(key != NULL && hsm_ok(core_sign(key, 1, ref[1])),
            "max-sessions %u: it signs", limit)) {
        return;
    }
    core_count_begin(&before);
    rc = hsm_op_once(key, HSM_OP_SIGN, &mech, hsm_bytes_of("data", 4), small,
                     &len);
    core_count_end(&before, &c);
    is_str(hsm_ckr_row(rc.rv)->name, "CKR_BUFFER_TOO_SMALL",
           "not into ten bytes");
    is_int(calls_of(&c, "C_CloseSession"), 1, "that session is closed");
    is_int(calls_of(&c, "C_SignInit"), 1, "nothing is repeated");
    core_count_begin(&before);
    ok(core_signs(key, 1, ref[1]), "the next signature is good");
    core_count_end(&before, &c);
    is_int(calls_of(&c, "C_SignInit"), 1, "at the first attempt");
    is_int(calls_of(&c, "C_Login"), limit == 1 ? 1 : 0,
           "the login was only lost with the only session");
    hsm_key_put(key);
    hsm_context_put(ctx);
}

/* ---- in turn ---- */

struct patient {
    struct waiter w;
    atomic_bool served;
};

static void *wait_in_turn(void *arg)
{
    struct patient *p = arg;
    struct hsm_session *s = NULL;

    p->w.rc = hsm_pool_take(p->w.ctx, p->w.tok, HSM_RO, &s);
    atomic_store(&p->served, true);
    hsm_pool_put(s);
    return NULL;
}

/* Who gives a session back and wants it again at once is not first for ever. */
static void test_turns(void)
{
    struct core_setup how = { .max_sessions = 1 };
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct patient p = { .w = { .ctx = ctx } };
    struct hsm_session *s = NULL;
    pthread_t thread;
    hsm_rc rc;

    if (!ok(key != NULL, "a token with one session, and two that want it")) {
        return;
    }
    p.w.tok = hsm_key_token(key);
    ok(hsm_ok(hsm_pool_take(ctx, p.w.tok, HSM_RO, &s)), "one has it");
    pthread_create(&thread, NULL, wait_in_turn, &p);
    while (!somebody_waits(p.w.tok)) {
        hsm_pause_ms(1);
    }
    hsm_pause_ms(200);
    hsm_pool_put(s);
    rc = hsm_pool_take(ctx, p.w.tok, HSM_RO, &s);
    ok(hsm_ok(rc) && atomic_load(&p.served), "then the other one, then again");
    hsm_pool_put(s);
    pthread_join(thread, NULL);
    ok(hsm_ok(p.w.rc) && !somebody_waits(p.w.tok), "nobody waits any more");
    hsm_key_put(key);
    hsm_context_put(ctx);
}

/* ---- while the token is made void ---- */

/* Held up where it may take a session only after what we do here: in a thread
 * of its own, between its looks at the token. */
static void test_void_meanwhile(void)
{
    struct hsm_context *ctx = core_open(NULL);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct waiter w = { .ctx = ctx };
    struct calls before, c;
    pthread_t thread;

    if (!ok(key != NULL, "a token that is made void twice")) {
        return;
    }
    w.tok = hsm_key_token(key);
    hsm_token_void(w.tok);
    core_count_begin(&before);
    hsm_lock(&w.tok->lib->lock);
    pthread_create(&thread, NULL, wait_for_session, &w);
    hsm_pause_ms(200);
    hsm_lock(&w.tok->lock);
    hsm_unlock(&w.tok->lib->lock);
    hsm_pause_ms(200);
    /* It has seen the token, and is about to say how many sessions it has. */
    hsm_token_void_locked(w.tok);
    (void)atomic_fetch_add(&w.tok->lib->generation, 1u);
    hsm_unlock(&w.tok->lock);
    pthread_join(thread, NULL);
    core_count_end(&before, &c);
    ok(hsm_ok(w.rc), "who took a session meanwhile has one");
    is_int(calls_of(&c, "C_GetTokenInfo"), 1, "and has looked again first");
    hsm_key_put(key);
    hsm_context_put(ctx);
}

struct life {
    struct waiter w;
    struct hsm_session *s;
    unsigned int epoch;
    bool alive;
};

static void *open_late(void *arg)
{
    struct life *l = arg;

    l->w.rc = hsm_pool_take(l->w.ctx, l->w.tok, HSM_RO, &l->s);
    l->alive = l->s != NULL && hsm_session_is_alive(l->s);
    l->epoch = l->s != NULL ? l->s->epoch : 0;
    hsm_pool_put(l->s);
    return NULL;
}

/* The module begins a new life between the decision to open a session and the
 * call that does. */
static void test_new_life(void)
{
    struct hsm_context *ctx = core_open(NULL);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct life l = { .w = { .ctx = ctx } };
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    struct hsm_session *s = NULL;
    struct calls before, c;
    unsigned int epoch;
    pthread_t thread;
    bool good;

    if (!ok(key != NULL && hsm_ok(core_sign(key, 1, ref[1])),
            "a module that begins a new life")) {
        return;
    }
    l.w.tok = hsm_key_token(key);
    epoch = hsm_token_epoch(l.w.tok);
    ok(hsm_ok(hsm_pool_take(ctx, l.w.tok, HSM_RO, &s)), "one is in use");
    core_count_begin(&before);
    (void)hsm_gate_shut(1000);
    pthread_create(&thread, NULL, open_late, &l);
    hsm_pause_ms(200);
    good = hsm_ok(hsm_call(l.w.tok->lib, C_Finalize, (NULL)))
        && hsm_ok(hsm_call(l.w.tok->lib, C_Initialize, (&args)));
    (void)atomic_fetch_add(&l.w.tok->lib->generation, 1u);
    hsm_gate_open();
    pthread_join(thread, NULL);
    core_count_end(&before, &c);
    ok(good && hsm_ok(l.w.rc), "the other one is opened");
    ok(l.alive, "and known as one of this life");
    ok(l.epoch > epoch, "with no handle of the former");
    is_int(calls_of(&c, "C_OpenSession"), 1, "none is lost");
    hsm_pool_put(s);
    ok(core_signs(key, 1, ref[1]), "the key signs again");
    hsm_key_put(key);
    hsm_context_put(ctx);
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    test_limits();
    ok(core_in_child(outgrow, NULL),
       "as many sessions as there are, also after there were fewer and fewer");
    test_waiting();
    test_dirty(1);
    test_dirty(2);
    test_turns();
    test_void_meanwhile();
    test_new_life();
    return tap_done();
}
