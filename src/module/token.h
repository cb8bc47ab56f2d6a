/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token: remembered by what it says it is, wherever it is plugged in.
 *
 * The slot number is only where it was seen last. A token lives as long as its
 * library, which is for ever. Its lock guards everything marked (lock).
 */
#ifndef HSM_MODULE_TOKEN_H
#define HSM_MODULE_TOKEN_H

#include <stdatomic.h>

#include "src/base/buf.h"
#include "src/base/sync.h"
#include "src/module/library.h"

/* Blanks at the end are dropped; always NUL-terminated. */
struct hsm_identity {
    char label[33];
    char manufacturer[33];
    char model[17];
    char serial[17];
};

bool hsm_identity_equal(const struct hsm_identity *a,
                        const struct hsm_identity *b);

struct hsm_session;
struct hsm_turn;

/* session/pool.c owns it. (lock) */
struct hsm_pool {
    struct hsm_session *idle;   /* last in, first out */
    struct hsm_session *parked; /* dirty, but homes: not to be taken */
    unsigned int n_parked;      /* of this epoch */
    unsigned int keys;          /* that live in sessions of this epoch only */
    unsigned int open;          /* all of this epoch, also taken */
    unsigned int limit;         /* 0: to be found out */
    unsigned int shrunk_from;   /* the limit, before the token refused one */
    hsm_deadline_ms shrunk_until;           /* 0: it is not shrunk */
    struct hsm_claim opening;
    struct hsm_turn *turns;     /* who waits, the longest first */
};

/* session/login.c owns it. (lock) */
struct hsm_login {
    bool logged_in;             /* in this epoch */
    struct hsm_claim claim;     /* a login is under way */
    struct hsm_secret *pin;     /* the one that was accepted, or NULL */
    unsigned int pin_life;      /* the library's lives when it was kept */
};

struct hsm_token {
    struct hsm_library *lib;
    struct hsm_identity id;
    struct hsm_lock lock;
    CK_SLOT_ID slot;            /* (lock of the library) */
    CK_TOKEN_INFO info;         /* as read last (lock of the library) */
    unsigned int seen;          /* library generation it was last seen in, 0:
                                 * not there (lock of the library) */
    unsigned int scan;          /* the scan it was seen in, likewise */
    atomic_uint copies_begun;   /* of keys, in session objects */
    atomic_uint copies_ended;
    atomic_uint reissued;       /* see hsm_token_reissued() */
    atomic_uint epoch;          /* bumped when sessions and handles are void */
    unsigned int generation;    /* (lock) library generation of this epoch */
    unsigned int fork_epoch;    /* (lock) likewise */
    hsm_deadline_ms next_restart;           /* (lock) not before, for a key */
    struct hsm_pool pool;
    struct hsm_login login;
    CK_MECHANISM_TYPE *mechanisms;          /* (lock) sorted; NULL: unread */
    CK_ULONG n_mechanisms;
    struct hsm_token *next;
};

/*
 * Looks at all slots with a token of a ready library, and brings its list of
 * tokens up to date. 1 call and one per slot. Tokens that say the same of
 * themselves are one, in the slot where it was, else in the first.
 */
HSM_CHECKED hsm_rc hsm_token_scan(struct hsm_library *lib);
/* The last scan saw a token that is not initialised; such are left out. */
bool hsm_token_saw_blank(struct hsm_library *lib);
/* Why the last scan could not ask one of the slots for its token: that is no
 * failure of a scan, but may be the reason why a token was not found. */
HSM_CHECKED hsm_rc hsm_token_scan_failure(struct hsm_library *lib);
/* The tokens ever seen in a library, one after the other; NULL at the end. */
struct hsm_token *hsm_token_first(struct hsm_library *lib);
struct hsm_token *hsm_token_next(struct hsm_token *tok);
/*
 * Takes the PIN that opened it over, which is kept for the module's users of
 * now, or wiped where there is none any more.
 */
void hsm_token_keep_pin(struct hsm_token *tok, struct hsm_secret *pin);
/* Wipes it where it was kept for users of that life. */
void hsm_token_forget_pin(struct hsm_token *tok, unsigned int life);
/* Processes that log in to it at the same moment disturb each other. */
bool hsm_token_has_login_race(const struct hsm_token *tok);
/* Has been seen since the library was initialised last. */
bool hsm_token_is_present(struct hsm_token *tok);
/* Asks the slot it was seen in whether it still holds this token (1 call),
 * and scans if not. HSM_E_NO_TOKEN when it is nowhere. */
HSM_CHECKED hsm_rc hsm_token_confirm(struct hsm_token *tok);
/* Copies of what is guarded. */
CK_SLOT_ID hsm_token_slot(struct hsm_token *tok);
void hsm_token_info(struct hsm_token *tok, CK_TOKEN_INFO *out);
/* Reads the token's flags anew (1 call). HSM_E_NO_TOKEN: the slot has another
 * one, whose flags are not taken over. */
HSM_CHECKED hsm_rc hsm_token_refresh(struct hsm_token *tok);
HSM_CHECKED hsm_rc hsm_token_refresh_in(struct hsm_token *tok,
                                        CK_SLOT_ID slot);
/* It was in no slot when it was sought last. */
bool hsm_token_is_gone(struct hsm_token *tok);
/* That slot holds another one: what belongs to the epoch is void, and the
 * token is sought before it is used again. */
void hsm_token_miss(struct hsm_token *tok, CK_SLOT_ID slot,
                    unsigned int epoch);

/* Makes all sessions, handles and the login of this token void. */
void hsm_token_void(struct hsm_token *tok);
void hsm_token_void_locked(struct hsm_token *tok);
unsigned int hsm_token_epoch(struct hsm_token *tok);

/*
 * Handles that are remembered may be those of other objects from now on: an
 * object was deleted, and what is made next may get its handle. Whoever
 * remembers one of before asks what it is before it is used.
 */
void hsm_token_reissued(struct hsm_token *tok);
/* The same on a module that hands such handles out by itself, after a call that
 * may do so: a search, or one that makes an object which stays. */
void hsm_token_gave_handles(struct hsm_token *tok);

/* The list of mechanisms was read: hsm_token_offers() makes no call. */
bool hsm_token_is_listed(struct hsm_token *tok);
/* The token offers the mechanism. The list is read once (2 calls). */
HSM_CHECKED hsm_rc hsm_token_offers(struct hsm_token *tok,
                                    CK_MECHANISM_TYPE type, bool *offers);

#endif
