/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that fail when they are told to:
 *      COUNT_FAIL      RULE RULE …, where a rule is NAME[WHICH][LATE]=CKR
 *          WHICH       #N      this process's n-th call (from 1) only
 *                      #N+     that and all later ones
 *                      nothing all
 *          LATE        !       the module does its work first
 *      COUNT_OWNER     not empty: abort() in another process than the one that
 *                      called C_Initialize first, as modules do whose threads
 *                      did not survive a fork
 */
#include "tests/c/count.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULES_MAX 8

struct rule {
    size_t function;
    unsigned long first;
    unsigned long last;
    struct count_fault fault;
};

static struct rule rules[RULES_MAX];
static size_t n_rules;
static atomic_ulong calls[COUNT_N];
static atomic_int owner;
static bool is_owned;

static const char *read_rule(const char *text, struct rule *r)
{
    size_t len = strcspn(text, "#!=");
    const char *at = text + len;
    char *end = NULL;

    r->function = count_index_of(text, len);
    r->first = 1;
    r->last = (unsigned long)-1;
    if (*at == '#') {
        r->first = strtoul(at + 1, &end, 10);
        r->last = *end == '+' ? r->last : r->first;
        at = *end == '+' ? end + 1 : end;
    }
    r->fault.late = *at == '!';
    at += r->fault.late ? 1 : 0;
    if (r->function == COUNT_N || *at != '=') {
        count_refuse("COUNT_FAIL", text);
    }
    r->fault.rv = strtoul(at + 1, &end, 0);
    return end + strspn(end, " ");
}

void count_fault_read(void)
{
    const char *text = count_env("COUNT_FAIL");
    const char *owned = count_env("COUNT_OWNER");

    is_owned = owned != NULL && *owned != '\0';
    while (text != NULL && *text != '\0') {
        if (n_rules == RULES_MAX) {
            count_refuse("COUNT_FAIL", text);
        }
        text = read_rule(text, &rules[n_rules++]);
    }
}

static void check_owner(enum count_index which)
{
    int nobody = 0;
    int me = (int)getpid();

    if (which == COUNT_C_Initialize
        && atomic_compare_exchange_strong(&owner, &nobody, me)) {
        return;
    }
    if (atomic_load(&owner) != me) {
        fprintf(stderr, "count-pkcs11: %s in another process\n",
                count_names[which]);
        count_abort();
    }
}

struct count_fault count_fault_next(enum count_index which)
{
    unsigned long n = atomic_fetch_add(&calls[which], 1) + 1;
    struct count_fault none = { CKR_OK, false };

    if (is_owned && which != COUNT_C_GetFunctionList) {
        check_owner(which);
    }
    for (size_t i = 0; i < n_rules; i++) {
        if (rules[i].function == which && n >= rules[i].first
            && n <= rules[i].last) {
            return rules[i].fault;
        }
    }
    return none;
}
