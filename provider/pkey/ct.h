/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions that take the same time whichever way they go: masks of all ones
 * (true) or 0 (false), made by arithmetic alone. Numbers are below half of
 * what a size_t holds: lengths and octets.
 */
#ifndef PROV_CT_H
#define PROV_CT_H

#include <limits.h>
#include <stddef.h>

/* The compiler knows nothing of the value, and cannot make a branch of it. */
static inline size_t prov_ct_hide(size_t v)
{
    __asm__("" : "+r"(v));
    return v;
}

static inline size_t prov_ct_less(size_t a, size_t b)
{
    size_t top = prov_ct_hide(a - b) >> (sizeof(size_t) * CHAR_BIT - 1);

    return 0 - prov_ct_hide(top);
}

static inline size_t prov_ct_equal(size_t a, size_t b)
{
    return prov_ct_less(a ^ b, 1);
}

/* By two masks, each hidden: where no is in memory that nobody has written, as
 * an application's buffer is, nothing of it is in the result (yes ^ no would
 * have it twice, and valgrind takes that for undefined). */
static inline size_t prov_ct_pick(size_t mask, size_t yes, size_t no)
{
    return (prov_ct_hide(mask) & yes) | (prov_ct_hide(~mask) & no);
}

static inline unsigned char prov_ct_octet(size_t mask, unsigned char yes,
                                          unsigned char no)
{
    return (unsigned char)prov_ct_pick(mask, yes, no);
}

#endif
