/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/buf.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/sync.h"

#define GROWTH_MIN 64

/* Whose a secret is: what a child has no use for is wiped there. */
enum holder { NOBODY, THREAD, WORKER, PROCESS };

struct slot {
    struct hsm_secret secret;   /* first: its address is the slot's */
    enum holder holder;         /* arenas_lock */
    pthread_t thread;           /* likewise */
};

/*
 * One mapping of secrets. Mappings are never given back, so the list only
 * grows at its head and may be walked without the lock.
 */
struct arena {
    struct arena *next;
    size_t n_slots;
    struct slot slot[];
};

static _Atomic(struct arena *) arenas;
static struct hsm_lock arenas_lock;
static pthread_once_t arenas_once = PTHREAD_ONCE_INIT;
static atomic_bool lock_refusal_told;

/* --- bytes --- */

bool hsm_bytes_equal(struct hsm_bytes a, struct hsm_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

struct hsm_bytes hsm_bytes_strip(struct hsm_bytes a)
{
    while (a.len > 0 && a.p[0] == 0) {
        a.p++;
        a.len--;
    }
    return a;
}

void hsm_wipe(void *p, size_t len)
{
    if (len > 0) {
        explicit_bzero(p, len);
    }
}

/* --- buffers --- */

hsm_rc hsm_buf_reserve(struct hsm_buf *b, size_t cap)
{
    unsigned char *place;

    if (cap <= b->cap) {
        return HSM_OK;
    }
    /* Not realloc(): it would leave the old place unwiped. */
    place = malloc(cap);
    if (place == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_buf_reserve");
    }
    if (b->len > 0) {
        memcpy(place, b->p, b->len);
    }
    hsm_wipe(b->p, b->cap);
    free(b->p);
    b->p = place;
    b->cap = cap;
    return HSM_OK;
}

/* Room for more bytes, in steps that keep many small appends linear. */
static hsm_rc make_room(struct hsm_buf *b, size_t more)
{
    size_t need = b->len + more;
    size_t step = b->cap <= SIZE_MAX / 2 ? b->cap * 2 : SIZE_MAX;

    if (need < more) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_buf_reserve");
    }
    if (need <= b->cap) {
        return HSM_OK;
    }
    if (step < GROWTH_MIN) {
        step = GROWTH_MIN;
    }
    return hsm_buf_reserve(b, need > step ? need : step);
}

hsm_rc hsm_buf_append(struct hsm_buf *b, const void *src, size_t len)
{
    if (len == 0) {
        return HSM_OK;
    }
    TRY(make_room(b, len));
    memcpy(b->p + b->len, src, len);
    b->len += len;
    return HSM_OK;
}

hsm_rc hsm_buf_set(struct hsm_buf *b, struct hsm_bytes src)
{
    if (src.len == 0) {
        hsm_buf_clear(b);
        return HSM_OK;
    }
    TRY(hsm_buf_reserve(b, src.len));
    memcpy(b->p, src.p, src.len);
    b->len = src.len;
    return HSM_OK;
}

hsm_rc hsm_buf_printf(struct hsm_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_buf_printf");
    }
    TRY(make_room(b, (size_t)n + 1));
    va_start(ap, fmt);
    (void)vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return HSM_OK;
}

void hsm_buf_clear(struct hsm_buf *b)
{
    hsm_wipe(b->p, b->cap);
    free(b->p);
    *b = (struct hsm_buf)HSM_BUF_INIT;
}

/* --- plain memory --- */

void *hsm_zalloc(size_t size)
{
    return calloc(1, size > 0 ? size : 1);
}

char *hsm_strdup(const char *s)
{
    return s != NULL ? strdup(s) : NULL;
}

void hsm_strfree(char *s)
{
    if (s != NULL) {
        hsm_wipe(s, strlen(s));
        free(s);
    }
}

void hsm_str_clear(char **s)
{
    hsm_strfree(*s);
    *s = NULL;
}

/* --- secrets --- */

static size_t arena_size(void)
{
    long page = sysconf(_SC_PAGESIZE);

    return page > 0 ? (size_t)page : 4096;
}

/* False where the system refuses: usually a small RLIMIT_MEMLOCK. */
static bool arena_lock(struct arena *a)
{
    return mlock(a, arena_size()) == 0;
}

static void tell_lock_refusal(void)
{
    if (!atomic_exchange(&lock_refusal_told, true)) {
        hsm_log(HSM_LOG_WARN, "the system does not lock memory for PINs "
                "(see ulimit -l); they may reach the swap space");
    }
}

/* Lock held. */
static struct arena *arena_new(void)
{
    size_t size = arena_size();
    struct arena *a = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (a == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(a, size, MADV_DONTDUMP);
    if (!arena_lock(a)) {
        tell_lock_refusal();
    }
    a->n_slots = (size - sizeof(*a)) / sizeof(a->slot[0]);
    a->next = atomic_load(&arenas);
    atomic_store(&arenas, a);
    return a;
}

static struct hsm_secret *slot_in(struct arena *a)
{
    for (size_t i = 0; i < a->n_slots; i++) {
        if (a->slot[i].holder == NOBODY) {
            a->slot[i].holder = THREAD;
            a->slot[i].thread = pthread_self();
            return &a->slot[i].secret;
        }
    }
    return NULL;
}

/* Lock held. NULL: no memory. */
static struct hsm_secret *slot_take(void)
{
    struct hsm_secret *s = NULL;
    struct arena *a = atomic_load(&arenas);

    for (; a != NULL && s == NULL; a = a->next) {
        s = slot_in(a);
    }
    if (s == NULL) {
        a = arena_new();
        s = a != NULL ? slot_in(a) : NULL;
    }
    return s;
}

static void arenas_setup(void)
{
    hsm_lock_init(&arenas_lock);
}

struct hsm_secret *hsm_secret_new(const void *text, size_t len)
{
    struct hsm_secret *s;

    if (len > HSM_SECRET_MAX) {
        return NULL;
    }
    (void)pthread_once(&arenas_once, arenas_setup);
    hsm_lock(&arenas_lock);
    s = slot_take();
    hsm_unlock(&arenas_lock);
    if (s == NULL) {
        return NULL;
    }
    s->len = len;
    if (len > 0) {
        memcpy(s->text, text, len);
    }
    s->text[len] = '\0';
    return s;
}

static void give_to(struct hsm_secret *s, enum holder holder)
{
    if (s != NULL) {
        hsm_lock(&arenas_lock);
        ((struct slot *)s)->holder = holder;
        hsm_unlock(&arenas_lock);
    }
}

void hsm_secret_free(struct hsm_secret *s)
{
    if (s == NULL) {
        return;
    }
    hsm_wipe(s, sizeof(*s));
    give_to(s, NOBODY);
}

void hsm_secret_keep(struct hsm_secret *s)
{
    give_to(s, PROCESS);
}

void hsm_secret_lend(struct hsm_secret *s)
{
    give_to(s, WORKER);
}

void hsm_secret_putp(struct hsm_secret **s)
{
    hsm_secret_free(*s);
    *s = NULL;
}

/* The locks are free, and there are no other threads. */
static void drop_of_others(struct arena *a)
{
    for (size_t i = 0; i < a->n_slots; i++) {
        struct slot *slot = &a->slot[i];

        if (slot->holder == WORKER
            || (slot->holder == THREAD
                && !pthread_equal(slot->thread, pthread_self()))) {
            hsm_wipe(&slot->secret, sizeof(slot->secret));
            slot->holder = NOBODY;
        }
    }
}

void hsm_secret_drop_others(void)
{
    for (struct arena *a = atomic_load(&arenas); a != NULL; a = a->next) {
        drop_of_others(a);
    }
}

void hsm_secret_relock(void)
{
    bool locked = true;

    for (struct arena *a = atomic_load(&arenas); a != NULL; a = a->next) {
        locked = arena_lock(a) && locked;
    }
    if (!locked) {
        tell_lock_refusal();
    }
}
