/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/turn.h"

#define FAIR_MS 100u

struct hsm_turn hsm_turn_begin(void)
{
    struct hsm_turn turn = { .due = hsm_deadline(FAIR_MS) };

    return turn;
}

/* A token that was made void has forgotten who is queued. */
static void unlink_turn(struct hsm_token *tok, const struct hsm_turn *turn)
{
    struct hsm_turn **at = &tok->pool.turns;

    while (*at != NULL && *at != turn) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = turn->next;
    }
}

void hsm_turn_leave(struct hsm_token *tok, struct hsm_turn *turn)
{
    unlink_turn(tok, turn);
    turn->queued = false;
    /* Those behind it may have let a session lie for its sake. */
    if (tok->pool.turns != NULL
        && (tok->pool.idle != NULL || tok->pool.open < tok->pool.limit)) {
        hsm_wake(&tok->lock);
    }
}

void hsm_turn_queue(struct hsm_token *tok, struct hsm_turn *turn)
{
    struct hsm_turn **at = &tok->pool.turns;

    unlink_turn(tok, turn);
    while (*at != NULL && (*at)->due <= turn->due) {
        at = &(*at)->next;
    }
    turn->next = *at;
    *at = turn;
    turn->queued = true;
}

bool hsm_turn_must_yield(const struct hsm_token *tok,
                         const struct hsm_turn *turn)
{
    const struct hsm_turn *first = tok->pool.turns;

    return first != NULL && first != turn && first->due < turn->due
        && hsm_now_ms() >= first->due;
}
