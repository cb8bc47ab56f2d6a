/* SPDX-License-Identifier: Apache-2.0 */
/* The words that go with a failure. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "src/base/result.h"
#include "tests/c/tap.h"

static hsm_rc try_it(bool good)
{
    TRY(good ? HSM_OK : hsm_fail_rv(CKR_DATA_INVALID, "inner"));
    return hsm_fail_rv(CKR_CANCEL, "outer");
}

static void *other_thread(void *arg)
{
    bool *empty = arg;

    *empty = hsm_detail()[0] == '\0' && hsm_where()[0] == '\0';
    (void)!hsm_fail(CKR_CANCEL, "other", "other words").at;
    return NULL;
}

static void test_words(void)
{
    hsm_rc rc = hsm_fail(HSM_E_NO_KEY, "here", "no %s", "key");
    bool empty = false;
    pthread_t t;

    ok(rc.rv == HSM_E_NO_KEY && strcmp(rc.at, "here") == 0, "fail: value");
    is_str(hsm_detail(), "no key", "fail: words");
    rc = hsm_blame(rc, "token \"%s\"", "inner");
    rc = hsm_blame(rc, "token \"%s\"", "outer");
    rc = hsm_blame(rc, "token \"%s\"", "inner");
    is_str(hsm_where(), "token \"inner\", token \"outer\"",
           "who blames is heard, the innermost first, each once");
    rc = hsm_blame(rc, "no key");
    is_str(hsm_where(), "token \"inner\", token \"outer\"",
           "what the words say is not repeated");
    ok(rc.rv == HSM_E_NO_KEY && strcmp(rc.at, "here") == 0,
       "blame hands the result on");
    pthread_create(&t, NULL, other_thread, &empty);
    pthread_join(t, NULL);
    ok(empty, "another thread has words of its own");
    is_str(hsm_detail(), "no key", "… and leaves these alone");
    rc = hsm_fail(CKR_CANCEL, "there", "first: %s", hsm_detail());
    ok(rc.rv == CKR_CANCEL, "the next failure");
    is_str(hsm_detail(), "first: no key", "words may quote those of before");
    is_str(hsm_where(), "", "a new failure has no place yet");
    rc = hsm_blame(HSM_OK, "nowhere");
    ok(hsm_ok(rc) && hsm_where()[0] == '\0', "success is not blamed");
    rc = hsm_fail_rv(CKR_CANCEL, "there");
    ok(rc.rv == CKR_CANCEL && hsm_detail()[0] == '\0',
       "fail_rv drops the words");
    ok(try_it(false).rv == CKR_DATA_INVALID && try_it(true).rv == CKR_CANCEL,
       "TRY returns early on failure only");
}

/* What is tidied up meanwhile fails, with words of its own and without. */
static void test_words_aside(void)
{
    hsm_rc rc = hsm_blame(hsm_fail(CKR_CANCEL, "here", "why"), "place");
    struct hsm_words kept;

    hsm_words_keep(&kept);
    rc = hsm_blame(hsm_fail(rc.rv, "there", "tidying %s", "up"), "other");
    hsm_words_put_back(&kept);
    is_str(hsm_detail(), "why", "what was put aside is there again");
    is_str(hsm_where(), "place", "… and its place");
    rc = hsm_fail_rv(rc.rv, "there");
    hsm_words_put_back(&kept);
    is_str(hsm_detail(), "why", "… after a failure without words");
    hsm_detail_clear();
    hsm_words_keep(&kept);
    rc = hsm_blame(hsm_fail(rc.rv, "there", "tidying up"), "other");
    hsm_words_put_back(&kept);
    ok(!hsm_ok(rc) && hsm_detail()[0] == '\0' && hsm_where()[0] == '\0',
       "where there were no words there are none");
}

/* A failure with these words, and so many bytes of them left. */
static bool cut_to(const char *text, size_t len)
{
    return hsm_fail(CKR_CANCEL, "here", "%s", text).rv == CKR_CANCEL &&
           strlen(hsm_detail()) == len &&
           strncmp(hsm_detail(), text, len) == 0;
}

static void test_long_words(void)
{
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    errno = ENOTTY;
    ok(cut_to(text, 1023), "long words are cut");
    is_int(errno, ENOTTY, "errno is kept");
    ok(!hsm_ok(hsm_blame(hsm_fail_rv(CKR_CANCEL, "here"), "%s", text)) &&
       strlen(hsm_where()) == 511, "a long place is cut");
    memcpy(text + 1021, "\xe2\x82\xac", 3);
    ok(cut_to(text, 1021), "no half of a UTF-8 character is left");
    memcpy(text + 1020, "\xe2\x82\xac", 3);
    ok(cut_to(text, 1023), "a whole one stays");
    hsm_detail_clear();
    ok(hsm_detail()[0] == '\0' && hsm_where()[0] == '\0', "clear");
}

int main(void)
{
    test_words();
    test_words_aside();
    test_long_words();
    return tap_done();
}
