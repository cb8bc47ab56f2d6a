/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/pin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/session/siphash.h"

#define PAGE_BYTES 8192
#define PAGE_ENTRIES 120
/* Tokens that an untried PIN is tried on at the same moment. */
#define PAGE_TRIALS 64

struct entry {
    uint8_t hash[HSM_SIPHASH_BYTES];
    uint16_t fame;              /* HSM_PIN_UNTRIED: a free entry */
    uint16_t was_accepted;      /* before it was sent last */
    int32_t sender;             /* process that waits for it, if it is SENT */
    uint64_t noted_ns;          /* on the monotonic clock; each its own */
};

/* The right to try a PIN on a token. */
struct trial {
    pthread_mutex_t mutex;      /* held over a login; taken by trylock only */
    uint8_t token[HSM_SIPHASH_BYTES];   /* of one that has it, or had it */
};

/*
 * What all processes share. The key is random, so that what is in a copy of
 * the page (a debugger's, a hypervisor's) says nothing to who lacks the key,
 * and two runs of an application do not leave comparable pages.
 *
 * All mutexes are robust: a process may be killed at any moment. An entry
 * that was half written then matches no PIN.
 */
struct page {
    pthread_mutex_t table;      /* held only while memory is touched */
    uint8_t key[HSM_SIPHASH_KEY_BYTES];
    uint64_t newest_ns;         /* of all entries that ever were */
    struct entry entry[PAGE_ENTRIES];
    struct trial trial[PAGE_TRIALS];
};

typedef char page_fits[sizeof(struct page) <= PAGE_BYTES ? 1 : -1];

static pthread_once_t page_once = PTHREAD_ONCE_INIT;
static _Atomic(struct page *) shared_page;

static bool make_mutex(pthread_mutex_t *m)
{
    pthread_mutexattr_t attr;
    bool made;

    if (pthread_mutexattr_init(&attr) != 0) {
        return false;
    }
    made = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0
           && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0
           && pthread_mutex_init(m, &attr) == 0;
    (void)pthread_mutexattr_destroy(&attr);
    return made;
}

static bool make_mutexes(struct page *page)
{
    bool made = make_mutex(&page->table);

    for (size_t i = 0; made && i < PAGE_TRIALS; i++) {
        made = make_mutex(&page->trial[i].mutex);
    }
    return made;
}

static bool fill_random(uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static void page_make(void)
{
    struct page *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        hsm_log(HSM_LOG_WARN, "no memory to remember refused PINs: %m");
        return;
    }
    (void)madvise(page, PAGE_BYTES, MADV_DONTDUMP);
    if (mlock(page, PAGE_BYTES) != 0) {
        hsm_log(HSM_LOG_INFO, "the page of refused PINs (hashes) is not"
                " locked in memory: %m");
    }
    if (!fill_random(page->key, sizeof(page->key))
            || !make_mutexes(page)) {
        hsm_log(HSM_LOG_WARN, "refused PINs cannot be remembered: no random"
                " numbers or no shared locks");
        (void)munmap(page, PAGE_BYTES);
        return;
    }
    atomic_store(&shared_page, page);
}

void hsm_pin_page_setup(void)
{
    int saved_errno = errno;

    (void)pthread_once(&page_once, page_make);
    errno = saved_errno;
}

/* 0 with the mutex held: also when its holder died, whose work is over. */
static int settle(pthread_mutex_t *m, int result)
{
    return result == EOWNERDEAD ? pthread_mutex_consistent(m) : result;
}

static struct page *page_open(void)
{
    struct page *page = atomic_load(&shared_page);

    if (page == NULL
            || settle(&page->table, pthread_mutex_lock(&page->table)) != 0) {
        return NULL;
    }
    return page;
}

static void page_close(struct page *page)
{
    (void)pthread_mutex_unlock(&page->table);
}

static void put_field(uint8_t **p, const char *text)
{
    size_t len = strlen(text);

    *(*p)++ = (uint8_t)len;
    memcpy(*p, text, len);
    *p += len;
}

static void hash_token(const struct page *page, const struct hsm_identity *id,
                       uint8_t *hash)
{
    uint8_t text[sizeof(*id) + 4], *end = text;

    put_field(&end, id->label);
    put_field(&end, id->manufacturer);
    put_field(&end, id->model);
    put_field(&end, id->serial);
    hsm_siphash(page->key, hsm_bytes_of(text, (size_t)(end - text)), hash);
}

/* The token's identity makes a key of its own, which then hashes the PIN: it
 * is never copied, and a hash says nothing of the same PIN elsewhere. */
static void hash_pin(const struct page *page, const struct hsm_identity *id,
                     const struct hsm_secret *pin, uint8_t *hash)
{
    hash_token(page, id, hash);
    hsm_siphash(hash, hsm_bytes_of(pin->text, pin->len), hash);
}

static struct entry *find_entry(struct page *page, const uint8_t *hash)
{
    size_t i;

    for (i = 0; i < PAGE_ENTRIES; i++) {
        struct entry *e = &page->entry[i];

        if (e->fame != HSM_PIN_UNTRIED
                && memcmp(e->hash, hash, HSM_SIPHASH_BYTES) == 0) {
            return e;
        }
    }
    return NULL;
}

/* Free ones go first, then accepted ones, then refused ones; of the same
 * kind, the older. */
static bool goes_before(const struct entry *a, const struct entry *b)
{
    if (a->fame != b->fame) {
        return a->fame < b->fame;
    }
    return a->noted_ns < b->noted_ns;
}

static struct entry *make_room(struct page *page)
{
    struct entry *victim = &page->entry[0];
    size_t i;

    for (i = 1; i < PAGE_ENTRIES; i++) {
        if (goes_before(&page->entry[i], victim)) {
            victim = &page->entry[i];
        }
    }
    return victim;
}

/* Later than all before it, so that of two entries one is the older. */
static uint64_t stamp(struct page *page)
{
    struct timespec t = { 0, 0 };
    uint64_t now;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    page->newest_ns = now > page->newest_ns ? now : page->newest_ns + 1;
    return page->newest_ns;
}

/* Nothing came of its being sent. */
static void take_back(struct entry *e)
{
    if (e->fame == HSM_PIN_SENT) {
        e->fame = e->was_accepted ? HSM_PIN_ACCEPTED : HSM_PIN_UNTRIED;
    }
}

/* What was sent by a process that ended before it heard of it, nobody will
 * ever know of. */
static void drop_orphan(struct entry *e)
{
    if (e->fame == HSM_PIN_SENT && e->sender != getpid()
            && kill(e->sender, 0) != 0 && errno == ESRCH) {
        take_back(e);
    }
}

/* One that was accepted before is not withheld for as long as one process of
 * many waits for an answer. */
static enum hsm_pin_fame fame_now(const struct entry *e)
{
    return e->fame == HSM_PIN_SENT && e->was_accepted
        && e->noted_ns / 1000000u + HSM_PIN_PATIENCE_MS <= hsm_now_ms()
        ? HSM_PIN_ACCEPTED : (enum hsm_pin_fame)e->fame;
}

enum hsm_pin_fame hsm_pin_page_look(const struct hsm_identity *token,
                                    const struct hsm_secret *pin,
                                    hsm_deadline_ms since)
{
    enum hsm_pin_fame fame = HSM_PIN_UNTRIED;
    uint8_t hash[HSM_SIPHASH_BYTES];
    struct page *page = page_open();
    int saved_errno = errno;
    struct entry *e;

    if (page == NULL) {
        return HSM_PIN_UNTRIED;
    }
    hash_pin(page, token, pin, hash);
    e = find_entry(page, hash);
    if (e != NULL) {
        drop_orphan(e);
        fame = fame_now(e);
    }
    if (fame == HSM_PIN_ACCEPTED && !e->was_accepted
            && e->noted_ns / 1000000u > since) {
        fame = HSM_PIN_FRESH;
    }
    page_close(page);
    errno = saved_errno;
    return fame;
}

static void put_fame(struct entry *e, enum hsm_pin_fame fame)
{
    e->was_accepted = fame == HSM_PIN_SENT
        && (e->fame == HSM_PIN_ACCEPTED || e->was_accepted);
    e->fame = (uint16_t)fame;
}

void hsm_pin_page_note(const struct hsm_identity *token,
                       const struct hsm_secret *pin, enum hsm_pin_fame fame)
{
    uint8_t hash[HSM_SIPHASH_BYTES];
    struct page *page = page_open();
    struct entry *e;

    if (page == NULL) {
        hsm_log(HSM_LOG_WARN, "what token \"%s\" said of a PIN is not"
                " remembered", token->label);
        return;
    }
    hash_pin(page, token, pin, hash);
    e = find_entry(page, hash);
    if (e == NULL && fame != HSM_PIN_UNTRIED) {
        e = make_room(page);
        e->fame = HSM_PIN_UNTRIED;
        e->was_accepted = false;
        memcpy(e->hash, hash, sizeof(e->hash));
    }
    if (e != NULL && fame == HSM_PIN_UNTRIED) {
        take_back(e);
    } else if (e != NULL) {
        put_fame(e, fame);
        e->noted_ns = stamp(page);
        e->sender = (int32_t)getpid();
    }
    page_close(page);
}

/* The trial of this token, or NULL. */
static struct trial *find_trial(struct page *page, const uint8_t *token)
{
    for (size_t i = 0; i < PAGE_TRIALS; i++) {
        if (memcmp(page->trial[i].token, token, HSM_SIPHASH_BYTES) == 0) {
            return &page->trial[i];
        }
    }
    return NULL;
}

static bool take_trial(struct trial *t)
{
    return settle(&t->mutex, pthread_mutex_trylock(&t->mutex)) == 0;
}

/* One that no token has at the moment becomes this one's. */
static bool begin_trial(struct page *page, const uint8_t *token)
{
    for (size_t i = 0; i < PAGE_TRIALS; i++) {
        if (take_trial(&page->trial[i])) {
            memcpy(page->trial[i].token, token, HSM_SIPHASH_BYTES);
            return true;
        }
    }
    return false;
}

bool hsm_pin_page_trylock(const struct hsm_identity *token)
{
    uint8_t hash[HSM_SIPHASH_BYTES];
    struct page *page = page_open();
    struct trial *t;
    bool taken;

    if (page == NULL) {
        return true;
    }
    hash_token(page, token, hash);
    t = find_trial(page, hash);
    taken = t != NULL ? take_trial(t) : begin_trial(page, hash);
    page_close(page);
    return taken;
}

void hsm_pin_page_unlock(const struct hsm_identity *token)
{
    uint8_t hash[HSM_SIPHASH_BYTES];
    struct page *page = page_open();
    struct trial *t;

    if (page == NULL) {
        return;
    }
    hash_token(page, token, hash);
    t = find_trial(page, hash);
    if (t != NULL) {
        (void)pthread_mutex_unlock(&t->mutex);
    }
    page_close(page);
}
