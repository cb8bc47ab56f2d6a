/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session on a token, owned by one thread at a time, and the pool that
 * sessions come from.
 *
 * A session with an operation that did not end is "dirty": the pool never hands
 * it out again. It closes it, or lets it stand while objects live in it.
 */
#ifndef HSM_SESSION_SESSION_H
#define HSM_SESSION_SESSION_H

#include <stdatomic.h>

#include "src/module/context.h"
#include "src/module/token.h"

/* An object that is nobody's any more. */
struct hsm_leftover {
    CK_OBJECT_HANDLE h;
    struct hsm_leftover *next;
};

struct hsm_session {
    struct hsm_token *tok;
    CK_SESSION_HANDLE h;
    unsigned int epoch;         /* of the token when it was opened */
    unsigned int generation;    /* of the library, likewise */
    unsigned int fork_epoch;
    CK_SLOT_ID slot;            /* that it was opened in */
    bool confirmed;             /* see hsm_session_confirm() */
    bool elsewhere;             /* likewise: it is another token's */
    bool rw;
    bool dirty;
    bool acting;                /* see run.h */
    bool acted;                 /* likewise */
    bool missing;               /* likewise */
    bool at_stake;              /* likewise */
    unsigned int homes;         /* (lock of the token) see below */
    unsigned int keys;          /* of these, tenants that are no copies */
    atomic_bool closed;         /* only its homes keep the memory */
    struct hsm_leftover *left;  /* (lock of the token) made here */
    struct hsm_session *next;   /* in the pool */
};

/* The module still knows the session, for all that we did to the module. */
static inline bool hsm_session_is_alive(const struct hsm_session *s)
{
    return s->fork_epoch == hsm_fork_epoch()
        && s->generation == hsm_library_generation(s->tok->lib)
        && hsm_library_is_ready(s->tok->lib);
}

/* hsm_call() with a session: hsm_session_call(s, C_Sign, (s->h, …)). One that
 * is not alive is CKR_SESSION_HANDLE_INVALID, and nothing is called. */
#define hsm_session_call(s, fn, args) \
    hsm_gate_call_((s)->tok->lib, hsm_session_is_alive(s), fn, args)

/*
 * Reads the token's flags anew, and with them whose session this is (1 call):
 * a slot may have got another token since it was looked at. Sessions go when
 * their token is taken out [PKCS#11 2.40, 5.6], so what a slot holds after the
 * session was opened holds for the session's life. HSM_E_NO_TOKEN: it is
 * another token's, which is to get nothing.
 */
HSM_CHECKED hsm_rc hsm_session_confirm(struct hsm_session *s);
/* Where that was not done yet. Before a PIN is sent, and before anything is
 * done by what is known of the token: its handles, its being logged in. */
static inline hsm_rc hsm_session_confirm_once(struct hsm_session *s)
{
    return s->confirmed ? HSM_OK : hsm_session_confirm(s);
}

enum hsm_session_kind { HSM_RO, HSM_RW };

/*
 * An idle session, or a new one, not confirmed yet. Makes the library ready and
 * seeks the token first where that is due (a restarted module, a token that was
 * missed). Waits for a session when all are taken; HSM_E_TIMEOUT after the
 * context's wait_ms.
 */
HSM_CHECKED hsm_rc hsm_pool_take(struct hsm_context *ctx,
                                 struct hsm_token *tok,
                                 enum hsm_session_kind kind,
                                 struct hsm_session **out);
/* One that is idle, confirmed and of the token's present epoch, without waiting
 * and without a call; NULL: there is none. */
struct hsm_session *hsm_pool_take_idle(struct hsm_token *tok);
/* Gives it back. NULL is allowed. Closes it when it is dirty or stale. */
void hsm_pool_put(struct hsm_session *s);

static inline void hsm_session_putp(struct hsm_session **s)
{
    hsm_pool_put(*s);
    *s = NULL;
}

/*
 * A session object dies with the session that made it: that is its home, and
 * is not closed for being dirty while it is one (unless the token has no other
 * session). Counted; who counts keeps the pointer valid, not the session open.
 * A copy can be made again, a key that is nowhere else cannot.
 */
enum hsm_tenant { HSM_TENANT_COPY, HSM_TENANT_KEY };
void hsm_session_home_get(struct hsm_session *s, enum hsm_tenant what);
/* NULL is allowed. */
void hsm_session_home_put(struct hsm_session *s, enum hsm_tenant what);
/* What was made in it is still there, for all that we did. */
bool hsm_session_home_stands(const struct hsm_session *s);
/* Leaves an object that cannot be destroyed just now to who tidies up in its
 * home; it goes with the session at the latest. */
void hsm_session_leave(struct hsm_session *home, CK_OBJECT_HANDLE h);
/* Destroys what was left in this session, which the caller has taken. */
void hsm_session_tidy(struct hsm_session *s);

/* No session is open that a new start would close, the library is ours, and
 * starting it anew may show a token that is missing (SoftHSM leaves one out for
 * good whose file is being written, by a login elsewhere, when it starts;
 * openCryptoki one that another process is just starting to use). Of a remote
 * one no token is seen: it was started while its server was away. */
bool hsm_pool_may_restart(struct hsm_library *lib);
/* A new start would take keys away for good. */
bool hsm_pool_has_keys(struct hsm_library *lib);
/* Closes idle sessions of all of a library's tokens: at exit. */
void hsm_pool_close_idle(struct hsm_library *lib);

#endif
