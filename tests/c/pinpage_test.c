/* SPDX-License-Identifier: Apache-2.0 */
/* The page of refused PINs that processes share, and the hash behind it. No
 * token, no libcrypto. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/session/pin.h"
#include "src/session/siphash.h"
#include "tests/c/child.h"
#include "tests/c/tap.h"

#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct hsm_identity tok = {
    "My Token", "Maker", "Model", "0001"
};

/* --- the hash --- */

/* From the inventors' list: key 00..0f, input 00..(n - 1). */
static void test_siphash(void)
{
    static const struct {
        size_t len;
        const char *want;
    } rows[] = {
        { 0, "\xa3\x81\x7f\x04\xba\x25\xa8\xe6"
             "\x6d\xf6\x72\x14\xc7\x55\x02\x93" },
        { 15, "\x54\x93\xe9\x99\x33\xb0\xa8\x11"
              "\x7e\x08\xec\x0f\x97\xcf\xc3\xd9" },
    };
    uint8_t key[16], in[16], out[16];

    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = in[i] = (uint8_t)i;
    }
    ok(hsm_siphash_64(key, hsm_bytes_of(in, 15))
       == UINT64_C(0xa129ca6149be45e5), "SipHash-2-4, 64 bits");
    for (size_t i = 0; i < LEN_OF(rows); i++) {
        hsm_siphash(key, hsm_bytes_of(in, rows[i].len), out);
        is_bytes(out, 16, rows[i].want, 16, "128 bits, %zu bytes of input",
                 rows[i].len);
    }
    hsm_siphash(key, hsm_bytes_of(in, 15), key);
    is_bytes(key, 16, rows[1].want, 16, "the result may replace the key");
}

/* --- the page --- */

static enum hsm_pin_fame fame_of(const struct hsm_identity *id,
                                 const char *pin)
{
    hsm_autop(hsm_secret) s = hsm_secret_new(pin, strlen(pin));

    return hsm_pin_page_look(id, s, UINT64_MAX);
}

static void note(const struct hsm_identity *id, const char *pin,
                 enum hsm_pin_fame fame)
{
    hsm_autop(hsm_secret) s = hsm_secret_new(pin, strlen(pin));

    hsm_pin_page_note(id, s, fame);
}

static bool works_without_page(void)
{
    note(&tok, "1234", HSM_PIN_REFUSED);
    return fame_of(&tok, "1234") == HSM_PIN_UNTRIED
           && hsm_pin_page_trylock(&tok) && (hsm_pin_page_unlock(&tok), true);
}

static bool works_when_mapping_fails(void)
{
    struct rlimit none = { 0, 0 };
    hsm_autop(hsm_secret) s = hsm_secret_new("1234", 4);

    if (setrlimit(RLIMIT_AS, &none) != 0) {
        return false;
    }
    hsm_pin_page_setup();
    hsm_pin_page_note(&tok, s, HSM_PIN_REFUSED);
    return hsm_pin_page_look(&tok, s, 0) == HSM_PIN_UNTRIED
           && hsm_pin_page_trylock(&tok);
}

static bool works_without_locking(void)
{
    struct rlimit none = { 0, 0 };

    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) {
        return false;
    }
    hsm_pin_page_setup();
    note(&tok, "1234", HSM_PIN_REFUSED);
    return fame_of(&tok, "1234") == HSM_PIN_REFUSED;
}

static bool child_notes(void)
{
    note(&tok, "child", HSM_PIN_REFUSED);
    note(&tok, "fine", HSM_PIN_ACCEPTED);
    return fame_of(&tok, "parent") == HSM_PIN_REFUSED;
}

static void test_page(void)
{
    struct hsm_identity other[4] = { tok, tok, tok, tok };
    struct hsm_identity moved = { "My Token" "M", "aker", "Model", "0001" };

    ok(in_child(works_without_page), "works without a page");
    ok(in_child(works_when_mapping_fails), "works where no page can be had");
    ok(in_child(works_without_locking), "works where it cannot be locked");
    hsm_pin_page_setup();
    hsm_pin_page_setup();
    is_int(fame_of(&tok, "1234"), HSM_PIN_UNTRIED, "unknown at first");
    note(&tok, "1234", HSM_PIN_REFUSED);
    is_int(fame_of(&tok, "1234"), HSM_PIN_REFUSED, "refused");
    is_int(fame_of(&tok, "1235"), HSM_PIN_UNTRIED, "another PIN");
    is_int(fame_of(&tok, "123"), HSM_PIN_UNTRIED, "a shorter PIN");
    other[0].label[0] = 'm';
    other[1].manufacturer[0] = 'm';
    other[2].model[0] = 'm';
    other[3].serial[0] = '1';
    for (size_t i = 0; i < LEN_OF(other); i++) {
        is_int(fame_of(&other[i], "1234"), HSM_PIN_UNTRIED,
               "another token, %zu", i);
    }
    is_int(fame_of(&moved, "1234"), HSM_PIN_UNTRIED, "fields are apart");
    memset(other[0].label, 0xff, sizeof(other[0].label));
    memcpy(other[0].label, "My Token", sizeof("My Token"));
    is_int(fame_of(&other[0], "1234"), HSM_PIN_REFUSED,
           "what is behind a field's NUL does not matter");
    note(&tok, "1234", HSM_PIN_ACCEPTED);
    is_int(fame_of(&tok, "1234"), HSM_PIN_ACCEPTED, "accepted now");
    note(&tok, "1234", HSM_PIN_UNTRIED);
    is_int(fame_of(&tok, "1234"), HSM_PIN_ACCEPTED,
           "which a late failure does not change");
    note(&tok, "parent", HSM_PIN_REFUSED);
    ok(in_child(child_notes), "a child knows what its parent noted");
    is_int(fame_of(&tok, "child"), HSM_PIN_REFUSED, "and its parent it");
    is_int(fame_of(&tok, "fine"), HSM_PIN_ACCEPTED, "both ways");
}

static bool child_sends(void)
{
    note(&tok, "sent", HSM_PIN_SENT);
    return fame_of(&tok, "sent") == HSM_PIN_SENT;
}

static bool knows_sent(void)
{
    return fame_of(&tok, "sent") == HSM_PIN_SENT;
}

/* What has no answer yet, and what was answered when. */
static void test_moments(void)
{
    hsm_autop(hsm_secret) s = hsm_secret_new("moment", 6);
    hsm_deadline_ms before = hsm_now_ms();

    hsm_pause_ms(3);
    note(&tok, "moment", HSM_PIN_ACCEPTED);
    is_int(hsm_pin_page_look(&tok, s, before), HSM_PIN_FRESH, "accepted since");
    is_int(hsm_pin_page_look(&tok, s, hsm_now_ms() + 1), HSM_PIN_ACCEPTED,
           "accepted before");
    note(&tok, "moment", HSM_PIN_REFUSED);
    is_int(hsm_pin_page_look(&tok, s, before), HSM_PIN_REFUSED,
           "refused is refused");
    note(&tok, "sent", HSM_PIN_SENT);
    is_int(fame_of(&tok, "sent"), HSM_PIN_SENT, "sent, without an answer");
    ok(in_child(knows_sent), "a child knows, while the sender lives");
    note(&tok, "sent", HSM_PIN_UNTRIED);
    ok(in_child(child_sends), "sent by a child");
    is_int(fame_of(&tok, "sent"), HSM_PIN_UNTRIED,
           "which is forgotten when it has ended");
}

static bool child_sends_good(void)
{
    note(&tok, "good", HSM_PIN_SENT);
    return fame_of(&tok, "good") == HSM_PIN_SENT;
}

/* One that was accepted does not stay away with one call that hangs. */
static void test_good_one_sent(void)
{
    hsm_autop(hsm_secret) s = hsm_secret_new("good", 4);

    note(&tok, "good", HSM_PIN_ACCEPTED);
    ok(in_child(child_sends_good), "an accepted one, sent by a child");
    is_int(fame_of(&tok, "good"), HSM_PIN_ACCEPTED,
           "is accepted when that has ended");
    note(&tok, "good", HSM_PIN_SENT);
    note(&tok, "good", HSM_PIN_UNTRIED);
    is_int(hsm_pin_page_look(&tok, s, 0), HSM_PIN_ACCEPTED,
           "and after a failure; not lately");
    note(&tok, "good", HSM_PIN_SENT);
    note(&tok, "good", HSM_PIN_SENT);
    note(&tok, "new", HSM_PIN_SENT);
    is_int(fame_of(&tok, "good"), HSM_PIN_SENT, "sent, and not yet late");
    hsm_pause_ms(HSM_PIN_PATIENCE_MS + 10);
    is_int(hsm_pin_page_look(&tok, s, 0), HSM_PIN_ACCEPTED, "late: as before");
    is_int(fame_of(&tok, "new"), HSM_PIN_SENT, "an untried one never is");
    note(&tok, "good", HSM_PIN_REFUSED);
    note(&tok, "good", HSM_PIN_UNTRIED);
    is_int(fame_of(&tok, "good"), HSM_PIN_REFUSED, "a refusal is one");
    note(&tok, "new", HSM_PIN_UNTRIED);
}

/* 120 entries: accepted ones give way, the oldest first. */
static void test_full_page(void)
{
    char pin[24];
    int left = 0, refused = 0;

    for (int i = 0; i < 110; i++) {
        (void)snprintf(pin, sizeof(pin), "good%d", i);
        note(&tok, pin, HSM_PIN_ACCEPTED);
    }
    for (int i = 0; i < 70; i++) {
        (void)snprintf(pin, sizeof(pin), "bad%d", i);
        note(&tok, pin, HSM_PIN_REFUSED);
    }
    for (int i = 0; i < 110; i++) {
        (void)snprintf(pin, sizeof(pin), "good%d", i);
        left += fame_of(&tok, pin) == HSM_PIN_ACCEPTED;
    }
    for (int i = 0; i < 70; i++) {
        (void)snprintf(pin, sizeof(pin), "bad%d", i);
        refused += fame_of(&tok, pin) == HSM_PIN_REFUSED;
    }
    is_int(refused, 70, "all refused ones are known");
    is_int(left, 120 - 70 - 4, "accepted ones gave way");
    is_int(fame_of(&tok, "good109"), HSM_PIN_ACCEPTED, "not the last one");
    is_int(fame_of(&tok, "child"), HSM_PIN_REFUSED, "nor an old refusal");
    for (int i = 0; i < 300; i++) {
        (void)snprintf(pin, sizeof(pin), "worse%d", i);
        note(&tok, pin, HSM_PIN_REFUSED);
    }
    is_int(fame_of(&tok, "worse299"), HSM_PIN_REFUSED, "the newest stays");
    is_int(fame_of(&tok, "worse180"), HSM_PIN_REFUSED, "120 of them");
    is_int(fame_of(&tok, "worse179"), HSM_PIN_UNTRIED, "no more");
}

/* --- the lock between processes --- */

static bool cannot_lock(void)
{
    return !hsm_pin_page_trylock(&tok);
}

static bool can_lock(void)
{
    if (!hsm_pin_page_trylock(&tok)) {
        return false;
    }
    hsm_pin_page_unlock(&tok);
    return true;
}

static bool dies_with_lock(void)
{
    return hsm_pin_page_trylock(&tok);
}

static bool unlocks_what_is_not_its_own(void)
{
    hsm_pin_page_unlock(&tok);
    return !hsm_pin_page_trylock(&tok);
}

static const struct hsm_identity second = {
    "My Token", "Maker", "Model", "0002"
};

/* A PIN that one token thinks about holds up no other one. */
static bool can_lock_another(void)
{
    return hsm_pin_page_trylock(&second) && !hsm_pin_page_trylock(&second)
           && !hsm_pin_page_trylock(&tok);
}

static void *thread_cannot_lock(void *arg)
{
    bool *result = arg;

    *result = cannot_lock();
    return NULL;
}

static void killed_with_lock(void)
{
    int ends[2];
    char c;
    pid_t pid;

    if (pipe(ends) != 0) {
        return;
    }
    pid = fork();
    if (pid == 0) {
        c = hsm_pin_page_trylock(&tok) ? 'y' : 'n';
        if (write(ends[1], &c, 1) == 1) {
            (void)pause();
        }
        _exit(1);
    }
    ok(pid > 0 && read(ends[0], &c, 1) == 1 && c == 'y',
       "another process holds the lock");
    ok(cannot_lock(), "so it cannot be had here");
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    ok(can_lock() && can_lock(), "until that process is killed");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_lock(void)
{
    bool refused = false;
    pthread_t thread;

    ok(hsm_pin_page_trylock(&tok), "locked");
    ok(cannot_lock(), "not twice");
    ok(in_child(cannot_lock), "not by a child");
    ok(in_child(unlocks_what_is_not_its_own), "which cannot unlock it");
    ok(in_child(can_lock_another), "but may lock another token, and dies");
    ok(hsm_pin_page_trylock(&second), "that is taken over here");
    hsm_pin_page_unlock(&second);
    (void)pthread_create(&thread, NULL, thread_cannot_lock, &refused);
    (void)pthread_join(thread, NULL);
    ok(refused, "not by another thread");
    is_int(fame_of(&tok, "worse299"), HSM_PIN_REFUSED,
           "the page is readable meanwhile");
    hsm_pin_page_unlock(&tok);
    ok(in_child(can_lock), "free again");
    ok(in_child(dies_with_lock), "a child died with it");
    ok(can_lock() && can_lock(), "taken over");
    killed_with_lock();
}

/* Children are killed while they write: the page stays usable. */
static void test_killed_writers(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (;;) {
                note(&tok, "again", HSM_PIN_REFUSED);
                note(&tok, "again", HSM_PIN_UNTRIED);
            }
        }
        (void)usleep(3000);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        note(&tok, "after", HSM_PIN_REFUSED);
    }
    is_int(fame_of(&tok, "after"), HSM_PIN_REFUSED,
           "writers that are killed do no harm");
}

int main(void)
{
    test_siphash();
    test_page();
    test_moments();
    test_good_one_sent();
    test_full_page();
    test_lock();
    test_killed_writers();
    return tap_done();
}
