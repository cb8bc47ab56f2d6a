/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/turn.h"

#define FAIR_MS 100u

struct hsm_turn hsm_turn_begin(void)
{
    struct hsm_turn turn = { .due = hsm_deadline(FAIR_MS) };

    return turn;
}

void hsm_turn_queue(struct hsm_token *tok, struct hsm_turn *turn)
{
    struct hsm_turn **at = &tok->pool.turns;

    while (*at != NULL && *at != turn && (*at)->due <= turn->due) {
        at = &(*at)->next;
    }
    if (*at != turn) {
        turn->next = *at;
        *at = turn;
    }
    turn->queued = true;
}

void hsm_turn_leave(struct hsm_token *tok, struct hsm_turn *turn)
{
    struct hsm_turn **at = &tok->pool.turns;

    turn->queued = false;
    while (*at != NULL && *at != turn) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = turn->next;
        /* Those behind it may have let a session lie for its sake. */
        if (tok->pool.idle != NULL || tok->pool.open < tok->pool.limit) {
            hsm_wake(&tok->lock);
        }
    }
}

bool hsm_turn_must_yield(const struct hsm_token *tok,
                         const struct hsm_turn *turn)
{
    const struct hsm_turn *first = tok->pool.turns;

    return first != NULL && first != turn && first->due < turn->due
        && hsm_now_ms() >= first->due;
}
