/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a session of a token, and since when: nobody is to starve while
 * others come and go. For the pool alone.
 *
 * Whoever comes first takes a session, as long as nobody has waited for too
 * long: to serve always in turn would cost a change of threads each time.
 */
#ifndef HSM_SESSION_TURN_H
#define HSM_SESSION_TURN_H

#include "src/module/token.h"

/* On the stack of the thread that waits. */
struct hsm_turn {
    hsm_deadline_ms due;        /* from then on it goes before others */
    bool queued;
    struct hsm_turn *next;
};

struct hsm_turn hsm_turn_begin(void);

/* All with the token locked. */
void hsm_turn_queue(struct hsm_token *tok, struct hsm_turn *turn);
/* To be called by all who are queued, with a session or without. */
void hsm_turn_leave(struct hsm_token *tok, struct hsm_turn *turn);
/* Somebody else is due, and has been so before this one. */
bool hsm_turn_must_yield(const struct hsm_token *tok,
                         const struct hsm_turn *turn);

#endif
