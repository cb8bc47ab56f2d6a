/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/worker.h"
#include "src/module/quirk.h"
#include "src/session/sessions.h"
#include "src/session/turn.h"

/* Without a limit of the token's own or the user's. A thread has at most one
 * session, so this is a number of threads. */
#define POOL_DEFAULT_LIMIT 1024u
/* A token that has refused a session is asked again after so long. */
#define SHRUNK_MS 1000u

static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

static void setup_exit(void)
{
    hsm_library_at_exit(hsm_pool_close_idle);
}

/* The token's own maximum counts only where it is believable. */
static unsigned int limit_of(struct hsm_context *ctx, struct hsm_token *tok)
{
    unsigned int configured = hsm_context_settings(ctx)->max_sessions;
    unsigned int limit = POOL_DEFAULT_LIMIT;
    CK_TOKEN_INFO info;

    hsm_token_info(tok, &info);
    if (info.ulMaxSessionCount > 0 && info.ulMaxSessionCount < limit) {
        limit = (unsigned int)info.ulMaxSessionCount;
    }
    return configured > 0 && configured < limit ? configured : limit;
}

/* The token is of this process and of the library's present life. */
static bool is_settled(const struct hsm_token *tok)
{
    return tok->fork_epoch == hsm_fork_epoch()
        && tok->generation == hsm_library_generation(tok->lib)
        && hsm_library_is_ready(tok->lib);
}

/* Who was making a copy in the parent does not end it here. Locked. */
static void note_process(struct hsm_token *tok)
{
    if (tok->fork_epoch != hsm_fork_epoch()) {
        atomic_store(&tok->copies_ended, atomic_load(&tok->copies_begun));
        tok->fork_epoch = hsm_fork_epoch();
    }
}

/* In a child the slots have the numbers that they had, and what is in the
 * token's is asked when a session is open there: that is a call less. */
static hsm_rc seek(struct hsm_token *tok)
{
    bool inherited;

    hsm_lock(&tok->lock);
    inherited = tok->fork_epoch != hsm_fork_epoch();
    hsm_unlock(&tok->lock);
    return inherited && !hsm_token_is_gone(tok) ? HSM_OK
                                                : hsm_token_confirm(tok);
}

/* Brings the library up and finds the token in it, where that is due. It may
 * be made void meanwhile: then what was found out is not noted. */
static hsm_rc settle(struct hsm_context *ctx, struct hsm_token *tok)
{
    unsigned int generation = 0;
    unsigned int limit;
    unsigned int epoch;
    bool settled;
    bool limited;

    hsm_lock(&tok->lock);
    epoch = hsm_token_epoch(tok);
    settled = is_settled(tok);
    limited = tok->pool.limit > 0;
    hsm_unlock(&tok->lock);
    if (settled && limited) {
        return HSM_OK;
    }
    settled = settled && hsm_token_is_present(tok);
    if (!settled) {
        TRY(hsm_context_ready(ctx, tok->lib));
        generation = hsm_library_generation(tok->lib);
        TRY(seek(tok));
    }
    limit = limit_of(ctx, tok);
    hsm_lock(&tok->lock);
    if (!settled && !is_settled(tok)) {
        hsm_token_void_locked(tok);
        tok->generation = generation;
        note_process(tok);
        epoch = hsm_token_epoch(tok);
    }
    if (epoch == hsm_token_epoch(tok) && tok->pool.limit == 0) {
        tok->pool.limit = limit;
    }
    hsm_unlock(&tok->lock);
    return HSM_OK;
}

/* Unlinks an idle session: of the kind, else (any) the first. Locked. */
static struct hsm_session *pop(struct hsm_token *tok,
                               enum hsm_session_kind kind, bool any)
{
    struct hsm_session **at = &tok->pool.idle;
    struct hsm_session *s;

    while (*at != NULL && !any && kind == HSM_RW && !(*at)->rw) {
        at = &(*at)->next;
    }
    s = *at;
    if (s != NULL) {
        *at = s->next;
        s->next = NULL;
    }
    return s;
}

/* Moves the sessions of former epochs to another list. Locked. */
static void move_stale(struct hsm_session **at, struct hsm_session **stale)
{
    while (*at != NULL) {
        struct hsm_session *s = *at;

        if (hsm_session_is_current(s)) {
            at = &s->next;
        } else {
            *at = s->next;
            s->next = *stale;
            *stale = s;
        }
    }
}

static struct hsm_session *pop_stale(struct hsm_token *tok)
{
    struct hsm_session *stale = NULL;

    move_stale(&tok->pool.idle, &stale);
    move_stale(&tok->pool.parked, &stale);
    return stale;
}

static void close_all(struct hsm_session *list)
{
    while (list != NULL) {
        struct hsm_session *next = list->next;

        hsm_session_close(list);
        list = next;
    }
}

/* Closes it, and only then makes room for another one: the token may have no
 * more than this. With the last session of an epoch goes the login, and with
 * that the handles of private objects [PKCS#11 2.40, 5.6.8]. */
static void drop(struct hsm_session *s)
{
    struct hsm_token *tok = s->tok;
    bool counted = hsm_session_is_current(s);
    unsigned int epoch = s->epoch;

    hsm_session_close(s);
    hsm_lock(&tok->lock);
    if (counted && epoch == hsm_token_epoch(tok) && tok->pool.open > 0
        && --tok->pool.open == 0) {
        hsm_token_void_locked(tok);
    }
    hsm_wake(&tok->lock);
    hsm_unlock(&tok->lock);
}

/* Where all that the token has are parked, nobody will give one back: one of
 * them has to go, with what lives in it. Locked. */
static struct hsm_session *pop_parked(struct hsm_token *tok)
{
    struct hsm_pool *pool = &tok->pool;
    struct hsm_session *s = pool->parked;

    if (s == NULL || pool->n_parked < pool->open) {
        return NULL;
    }
    pool->parked = s->next;
    s->next = NULL;
    pool->n_parked--;
    return s;
}

enum step { STEP_SETTLE, STEP_WAIT, STEP_HAVE, STEP_OPEN, STEP_CLOSE_FIRST };

/* What to do next for a session. *s: the session, or the one to close. */
static enum step next_step(struct hsm_token *tok, enum hsm_session_kind kind,
                           const struct hsm_turn *turn,
                           struct hsm_session **s)
{
    /* Made void, or the module started anew, since it was settled. */
    if (!is_settled(tok) || tok->pool.limit == 0) {
        return STEP_SETTLE;
    }
    if (hsm_turn_must_yield(tok, turn)) {
        return STEP_WAIT;
    }
    *s = pop(tok, kind, false);
    if (*s != NULL) {
        return STEP_HAVE;
    }
    if (tok->pool.open >= tok->pool.limit) {
        /* An idle one of the wrong kind makes room for one of the right. */
        *s = pop(tok, kind, true);
        *s = *s != NULL ? *s : pop_parked(tok);
        return *s != NULL ? STEP_CLOSE_FIRST : STEP_WAIT;
    }
    return hsm_claim_take(&tok->pool.opening) ? STEP_OPEN : STEP_WAIT;
}

/* It has no more sessions. Some say so by what they have run out of. */
static bool is_full(hsm_rc rc)
{
    return hsm_class_of(rc) == HSM_CLASS_BUSY || rc.rv == CKR_HOST_MEMORY
        || rc.rv == CKR_DEVICE_MEMORY;
}

/* One that is shrunk already does not forget what it had before. Locked. */
static void shrink(struct hsm_pool *pool)
{
    if (pool->shrunk_until == 0) {
        pool->shrunk_from = pool->limit;
    }
    pool->limit = pool->open;
    pool->shrunk_until = hsm_deadline(SHRUNK_MS);
}

/* Others may have left the token meanwhile. Locked. */
static void grow_again(struct hsm_pool *pool)
{
    if (pool->shrunk_until != 0 && hsm_now_ms() >= pool->shrunk_until) {
        pool->limit = pool->shrunk_from;
        pool->shrunk_until = 0;
    }
}

/* Waits until a session is put back, or may be had again. Locked. */
static bool wait_for_session(struct hsm_token *tok, hsm_deadline_ms deadline)
{
    hsm_deadline_ms grows = tok->pool.shrunk_until;
    bool in_time;

    if (grows != 0 && grows < deadline) {
        (void)hsm_wait(&tok->lock, grows);
        in_time = true;
    } else {
        in_time = hsm_wait(&tok->lock, deadline);
    }
    grow_again(&tok->pool);
    return in_time;
}

/* Opens with the claim held, and drops it. Full: the token has no more. One
 * at a time, so that a session is counted when it is there. */
static hsm_rc open_claimed(struct hsm_token *tok, enum hsm_session_kind kind,
                           struct hsm_session **out)
{
    hsm_rc rc = hsm_session_open(tok, kind, out);

    hsm_lock(&tok->lock);
    if (hsm_ok(rc)) {
        tok->pool.open += hsm_session_is_current(*out) ? 1 : 0;
    } else if (is_full(rc) && tok->pool.open > 0) {
        shrink(&tok->pool);
    } else if (hsm_class_of(rc) == HSM_CLASS_BUSY) {
        rc.at = "C_OpenSession (none of ours is open)";
    }
    hsm_unlock(&tok->lock);
    hsm_claim_drop(&tok->pool.opening, &tok->lock);
    return rc;
}

/* Why none was opened passes: the sessions that are open can be waited for, or
 * the module was just started anew. A child's token may be in another slot. */
static hsm_rc go_on(struct hsm_token *tok, hsm_rc rc)
{
    bool may;

    if (hsm_class_of(rc) == HSM_CLASS_STALE_LIBRARY
        && !hsm_token_is_present(tok)) {
        return hsm_token_confirm(tok);
    }
    hsm_lock(&tok->lock);
    may = is_full(rc) ? tok->pool.open > 0
        : rc.rv == CKR_SESSION_HANDLE_INVALID && !is_settled(tok);
    hsm_unlock(&tok->lock);
    return may ? HSM_OK : rc;
}

static hsm_rc timed_out(const struct hsm_context *ctx, struct hsm_token *tok)
{
    unsigned int limit;

    hsm_lock(&tok->lock);
    limit = tok->pool.limit;
    hsm_unlock(&tok->lock);
    return hsm_fail(HSM_E_TIMEOUT, "C_OpenSession",
                    "all %u sessions of token \"%s\" were in use for %u ms",
                    limit, tok->id.label,
                    hsm_context_settings(ctx)->wait_ms);
}

static hsm_rc take(struct hsm_context *ctx, struct hsm_token *tok,
                   enum hsm_session_kind kind, struct hsm_turn *turn,
                   struct hsm_session **out)
{
    hsm_deadline_ms deadline =
        hsm_deadline(hsm_context_settings(ctx)->wait_ms);
    struct hsm_session *stale;
    struct hsm_session *s = NULL;
    enum step step = STEP_SETTLE;
    bool in_time = true;

    while (step != STEP_HAVE) {
        TRY(settle(ctx, tok));
        hsm_lock(&tok->lock);
        stale = pop_stale(tok);
        step = next_step(tok, kind, turn, &s);
        if (step == STEP_WAIT && stale == NULL) {
            hsm_turn_queue(tok, turn);
            in_time = wait_for_session(tok, deadline);
        } else if (step > STEP_WAIT && turn->queued) {
            hsm_turn_leave(tok, turn);
        }
        hsm_unlock(&tok->lock);
        close_all(stale);
        if (step == STEP_CLOSE_FIRST) {
            drop(s);
        } else if (step == STEP_OPEN) {
            hsm_rc rc = open_claimed(tok, kind, &s);

            step = hsm_ok(rc) ? STEP_HAVE : STEP_SETTLE;
            if (!hsm_ok(rc)) {
                TRY(go_on(tok, rc));
            }
        }
        if (!in_time || (step != STEP_HAVE && hsm_now_ms() >= deadline)) {
            return timed_out(ctx, tok);
        }
    }
    *out = s;
    return HSM_OK;
}

hsm_rc hsm_pool_take(struct hsm_context *ctx, struct hsm_token *tok,
                     enum hsm_session_kind kind, struct hsm_session **out)
{
    struct hsm_turn turn = hsm_turn_begin();
    hsm_rc rc;

    (void)pthread_once(&exit_once, setup_exit);
    rc = take(ctx, tok, kind, &turn, out);
    if (turn.queued) {
        hsm_lock(&tok->lock);
        hsm_turn_leave(tok, &turn);
        hsm_unlock(&tok->lock);
    }
    return rc;
}

struct hsm_session *hsm_pool_take_idle(struct hsm_token *tok)
{
    struct hsm_session **at = &tok->pool.idle;
    struct hsm_session *s;

    hsm_lock(&tok->lock);
    while (*at != NULL
           && (!(*at)->confirmed || !hsm_session_is_current(*at))) {
        at = &(*at)->next;
    }
    s = *at;
    if (s != NULL) {
        *at = s->next;
        s->next = NULL;
    }
    hsm_unlock(&tok->lock);
    return s;
}

/* One of its calls timed out: another one may do so too. */
static bool is_module_stuck(const struct hsm_library *lib)
{
    return lib->gate.real != NULL && hsm_worker_is_stuck(lib->gate.real);
}

/*
 * A session that must be closed though the login hangs on it, because it is
 * the only one: another one is opened first, where the token allows it.
 */
static void keep_login(struct hsm_session *dirty)
{
    struct hsm_token *tok = dirty->tok;
    struct hsm_session *other = NULL;
    struct hsm_words words;
    bool wanted;

    hsm_lock(&tok->lock);
    wanted = tok->pool.open == 1 && tok->pool.limit > 1
        && tok->login.logged_in && hsm_claim_take(&tok->pool.opening);
    hsm_unlock(&tok->lock);
    if (!wanted) {
        return;
    }
    hsm_words_keep(&words);
    if (hsm_ok(open_claimed(tok, HSM_RO, &other))) {
        hsm_pool_put(other);
    }
    hsm_words_put_back(&words);
}

/* A dirty one in which objects live stays open, where there are others to
 * work with. Locked. */
static bool park(struct hsm_session *s)
{
    struct hsm_pool *pool = &s->tok->pool;

    if (!s->dirty || s->homes == 0 || !hsm_session_is_current(s)
        || pool->n_parked + 1 >= pool->limit) {
        return false;
    }
    s->next = pool->parked;
    pool->parked = s;
    pool->n_parked++;
    hsm_wake(&s->tok->lock);
    return true;
}

/* It was the last one. True: nobody else has the session. Locked. */
static bool unpark(struct hsm_session *s)
{
    struct hsm_pool *pool = &s->tok->pool;
    struct hsm_session **at = &pool->parked;

    while (*at != NULL && *at != s) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return false;
    }
    *at = s->next;
    if (hsm_session_is_current(s)) {
        pool->n_parked--;
    }
    return true;
}

/* One that is nowhere else. A session that was closed has none. Locked. */
static void forget_key(struct hsm_session *s)
{
    if (s->keys > 0) {
        s->keys--;
        s->tok->pool.keys -= hsm_session_is_current(s) ? 1 : 0;
    }
}

void hsm_session_home_put(struct hsm_session *s, enum hsm_tenant what)
{
    bool parked = false;
    bool closed = false;
    struct hsm_token *tok;

    if (s == NULL) {
        return;
    }
    tok = s->tok;
    hsm_lock(&tok->lock);
    if (what == HSM_TENANT_KEY) {
        forget_key(s);
    }
    if (--s->homes == 0) {
        parked = unpark(s);
        closed = atomic_load(&s->closed);
    }
    hsm_unlock(&tok->lock);
    if (parked) {
        drop(s);
    } else if (closed) {
        hsm_session_free(s);
    }
}

void hsm_pool_put(struct hsm_session *s)
{
    struct hsm_token *tok;
    bool keep;
    bool parked;

    if (s == NULL) {
        return;
    }
    tok = s->tok;
    s->dirty = s->dirty || hsm_session_has_timed_out(s);
    hsm_lock(&tok->lock);
    parked = park(s);
    hsm_unlock(&tok->lock);
    if (parked) {
        return;
    }
    if (s->dirty && hsm_session_is_current(s) && !is_module_stuck(tok->lib)) {
        keep_login(s);
    }
    s->acting = false;
    s->acted = false;
    s->missing = false;
    s->at_stake = false;
    hsm_lock(&tok->lock);
    keep = !s->dirty && hsm_session_is_current(s);
    if (keep) {
        s->next = tok->pool.idle;
        tok->pool.idle = s;
        hsm_wake(&tok->lock);
    }
    hsm_unlock(&tok->lock);
    if (!keep) {
        drop(s);
    }
}

static bool shows_a_token(struct hsm_library *lib)
{
    struct hsm_token *tok = hsm_token_first(lib);

    while (tok != NULL && !hsm_token_is_present(tok)) {
        tok = hsm_token_next(tok);
    }
    return tok != NULL;
}

bool hsm_pool_may_restart(struct hsm_library *lib)
{
    bool idle = hsm_library_is_ready(lib) && hsm_library_is_ours(lib);

    if (lib->gate.guard_sigpipe) {
        return idle && !shows_a_token(lib);
    }
    idle = idle && lib->quirk->start_race;
    for (struct hsm_token *tok = idle ? hsm_token_first(lib) : NULL;
         tok != NULL && idle; tok = hsm_token_next(tok)) {
        hsm_lock(&tok->lock);
        idle = tok->pool.open == 0 || !is_settled(tok);
        hsm_unlock(&tok->lock);
    }
    return idle;
}

bool hsm_pool_has_keys(struct hsm_library *lib)
{
    unsigned int keys = 0;

    for (struct hsm_token *tok = hsm_token_first(lib); tok != NULL;
         tok = hsm_token_next(tok)) {
        hsm_lock(&tok->lock);
        keys += is_settled(tok) ? tok->pool.keys : 0;
        hsm_unlock(&tok->lock);
    }
    return keys > 0;
}

/* One that nobody has taken, of whichever kind; NULL: there is none. */
static struct hsm_session *pop_untaken(struct hsm_token *tok)
{
    struct hsm_session *s;

    hsm_lock(&tok->lock);
    s = pop(tok, HSM_RO, true);
    if (s == NULL && tok->pool.parked != NULL) {
        s = tok->pool.parked;
        tok->pool.parked = s->next;
    }
    hsm_unlock(&tok->lock);
    return s;
}

void hsm_pool_close_idle(struct hsm_library *lib)
{
    struct hsm_token *tok = hsm_token_first(lib);

    /* After a call that timed out the others would too. */
    while (tok != NULL && !is_module_stuck(lib)) {
        struct hsm_session *s = pop_untaken(tok);

        if (s != NULL) {
            hsm_session_close(s);
        } else {
            tok = hsm_token_next(tok);
        }
    }
}
