/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes: a view that owns nothing, a buffer that is wiped when it is freed,
 * and small secrets in locked memory. Not thread safe by themselves, but for
 * the secrets' allocator, which is.
 */
#ifndef HSM_BASE_BUF_H
#define HSM_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/result.h"

/* Scope cleanup: hsm_auto(hsm_buf) b = HSM_BUF_INIT; hsm_autop(hsm_key) k; */
#define hsm_auto(type) \
    __attribute__((cleanup(type##_clear))) struct type
#define hsm_autop(type) \
    __attribute__((cleanup(type##_putp))) struct type *

/* Somebody else's bytes. p may be NULL when len is 0. */
struct hsm_bytes {
    const unsigned char *p;
    size_t len;
};

/* Our own bytes; p is NULL when empty. */
struct hsm_buf {
    unsigned char *p;
    size_t len;
    size_t cap;
};

#define HSM_BUF_INIT { NULL, 0, 0 }

static inline struct hsm_bytes hsm_bytes_of(const void *p, size_t len)
{
    struct hsm_bytes b = { p, len };

    return b;
}

static inline struct hsm_bytes hsm_buf_bytes(const struct hsm_buf *b)
{
    return hsm_bytes_of(b->p, b->len);
}

bool hsm_bytes_equal(struct hsm_bytes a, struct hsm_bytes b);

/* a without leading zero octets: a big-endian number's canonical form. */
struct hsm_bytes hsm_bytes_strip(struct hsm_bytes a);

/*
 * Memory failure is CKR_HOST_MEMORY, and leaves the buffer as it was. Growth
 * copies and wipes the old place. src may not lie inside the buffer.
 */
HSM_CHECKED hsm_rc hsm_buf_reserve(struct hsm_buf *b, size_t cap);
HSM_CHECKED hsm_rc hsm_buf_append(struct hsm_buf *b, const void *src,
                                  size_t len);
HSM_CHECKED hsm_rc hsm_buf_set(struct hsm_buf *b, struct hsm_bytes src);
/* Appends formatted text; a NUL stands behind the content, not counted. */
HSM_CHECKED hsm_rc hsm_buf_printf(struct hsm_buf *b, const char *fmt, ...)
    HSM_PRINTF(2, 3);
/* Wipes, frees, and makes empty. */
void hsm_buf_clear(struct hsm_buf *b);

/* Overwrites; not optimised away. p may be NULL when len is 0. */
void hsm_wipe(void *p, size_t len);

/* calloc, strdup and free that wipe; NULL on memory failure. */
void *hsm_zalloc(size_t size);
char *hsm_strdup(const char *s);
void hsm_strfree(char *s);              /* wipes the text first */
void hsm_str_clear(char **s);           /* for cleanup attributes */
#define hsm_auto_str __attribute__((cleanup(hsm_str_clear))) char *

/*
 * A PIN: at most 255 bytes and a NUL, in memory that is locked and not dumped.
 * Where the system refuses to lock, it is used all the same, and logged once.
 * Making, giving away and freeing one takes a lock: not while another is held.
 *
 * It belongs to the thread that made it: a child that another thread forks has
 * nobody who would wipe it, so that is done at once.
 */
#define HSM_SECRET_MAX 255
struct hsm_secret {
    size_t len;
    char text[HSM_SECRET_MAX + 1];
};

/* A copy in locked memory, or NULL (too long, no memory). Wiped by _free. */
struct hsm_secret *hsm_secret_new(const void *text, size_t len);
void hsm_secret_free(struct hsm_secret *s);
/* It is in a place from where the whole process has it, and its children. NULL
 * is allowed, here and below. */
void hsm_secret_keep(struct hsm_secret *s);
/* It is used by a thread that no child has. */
void hsm_secret_lend(struct hsm_secret *s);
/* In a forked child: wipes what belongs to threads of the parent's. */
void hsm_secret_drop_others(void);
void hsm_secret_putp(struct hsm_secret **s);
/* Locks the memory again in a forked child, where locks are not inherited. */
void hsm_secret_relock(void);

#endif
