/* SPDX-License-Identifier: Apache-2.0 */
/* The base floor without a token: buffers, secrets, results, the log. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/buf.h"
#include "src/base/log.h"
#include "src/base/result.h"
#include "tests/c/tap.h"

/* A string literal's bytes, its NUL left out. */
#define LIT(s) { (const unsigned char *)(s), sizeof(s) - 1 }
#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))

/* --- buffers --- */

static void test_bytes(void)
{
    struct hsm_bytes none = { NULL, 0 };
    struct hsm_bytes zeros = LIT("\0\0");
    struct hsm_bytes n = LIT("\0\0\x05\0");

    ok(hsm_bytes_equal(none, none) && hsm_bytes_equal(n, n) &&
       !hsm_bytes_equal(none, n) && !hsm_bytes_equal(zeros, none),
       "equal, and not");
    is_int((long long)hsm_bytes_strip(zeros).len, 0, "zeros strip to nothing");
    is_int((long long)hsm_bytes_strip(none).len, 0, "nothing stays nothing");
    ok(hsm_bytes_equal(hsm_bytes_strip(n), (struct hsm_bytes)LIT("\x05\0")),
       "only leading zeros are stripped");
    hsm_wipe(NULL, 0);
}

static void test_buffers(void)
{
    hsm_auto(hsm_buf) b = HSM_BUF_INIT;
    struct hsm_buf before;
    bool good = true;

    ok(hsm_ok(hsm_buf_append(&b, NULL, 0)) && b.p == NULL && b.len == 0,
       "appending nothing to nothing");
    for (int i = 0; i < 1000; i++) {
        good = good && hsm_ok(hsm_buf_append(&b, "abc", 3));
    }
    ok(good && b.len == 3000 && b.cap >= 3000 &&
       memcmp(b.p + 2997, "abc", 3) == 0, "a thousand appends");
    before = b;
    is_int((long long)hsm_buf_append(&b, "x", SIZE_MAX - 1).rv,
           CKR_HOST_MEMORY, "a length that overflows is CKR_HOST_MEMORY");
    ok(b.p == before.p && b.len == 3000 && b.cap == before.cap,
       "… and the buffer is as it was");
    ok(hsm_ok(hsm_buf_set(&b, hsm_bytes_of("xyz", 3))) && b.len == 3 &&
       memcmp(b.p, "xyz", 3) == 0, "set replaces");
    ok(hsm_ok(hsm_buf_set(&b, hsm_bytes_of(NULL, 0))) && b.p == NULL &&
       b.len == 0 && b.cap == 0, "set to nothing empties");
    hsm_buf_clear(&b);
    hsm_buf_clear(&b);
    ok(b.p == NULL, "clear may be repeated");
}

static void test_printf(void)
{
    hsm_auto(hsm_buf) b = HSM_BUF_INIT;
    char long_text[400];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ok(hsm_ok(hsm_buf_printf(&b, "%s", "")) && b.p != NULL && b.len == 0 &&
       b.p[0] == '\0', "printf of nothing has a NUL");
    ok(hsm_ok(hsm_buf_printf(&b, "%d;", 42)) &&
       hsm_ok(hsm_buf_printf(&b, "%s", long_text)), "printf appends");
    ok(b.len == 402 && strlen((char *)b.p) == 402 &&
       memcmp(b.p, "42;xxx", 6) == 0, "… with a NUL behind, not counted");
}

static void test_strings(void)
{
    hsm_auto_str s = hsm_strdup("text");
    unsigned char *z = hsm_zalloc(100);

    ok(s != NULL && strcmp(s, "text") == 0, "strdup");
    hsm_str_clear(&s);
    ok(s == NULL, "str_clear leaves NULL");
    hsm_strfree(NULL);
    ok(z != NULL && z[0] == 0 && z[99] == 0, "zalloc gives zeros");
    free(z);
    z = hsm_zalloc(0);
    ok(z != NULL, "zalloc(0) is no failure");
    free(z);
}

/* --- secrets --- */

#define MANY_SECRETS 100

static void test_secrets(void)
{
    char text[HSM_SECRET_MAX + 1];
    struct hsm_secret *s;
    struct hsm_secret *again;

    memset(text, 'p', sizeof(text));
    s = hsm_secret_new(text, HSM_SECRET_MAX);
    ok(s != NULL, "the longest secret");
    if (s == NULL) {
        return;
    }
    ok(s->len == HSM_SECRET_MAX && s->text[s->len] == '\0', "… and a NUL");
    ok(hsm_secret_new(text, HSM_SECRET_MAX + 1) == NULL, "a longer one: NULL");
    hsm_secret_free(s);
    ok(s->text[0] == '\0' && s->text[100] == '\0' && s->len == 0,
       "freed is wiped");
    again = hsm_secret_new(NULL, 0);
    ok(again == s && s->len == 0 && s->text[0] == '\0',
       "the place is used again, for an empty one");
    hsm_secret_putp(&again);
    ok(again == NULL, "putp leaves NULL");
    hsm_secret_free(NULL);
}

static bool check_many(struct hsm_secret **s, const char *owner)
{
    char text[32];
    bool good = true;

    for (int i = 0; i < MANY_SECRETS; i++) {
        snprintf(text, sizeof(text), "%s-%d", owner, i);
        good = good && s[i] != NULL && strcmp(s[i]->text, text) == 0 &&
               s[i]->len == strlen(text);
    }
    return good;
}

/* More than one mapping holds, again and again. Gives arg when all is well. */
static void *churn_secrets(void *arg)
{
    struct hsm_secret *s[MANY_SECRETS];
    char text[32];
    bool good = true;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY_SECRETS; i++) {
            snprintf(text, sizeof(text), "%s-%d", (const char *)arg, i);
            s[i] = hsm_secret_new(text, strlen(text));
        }
        good = good && check_many(s, arg);
        for (int i = 0; i < MANY_SECRETS; i++) {
            hsm_secret_free(s[i]);
        }
    }
    return good ? arg : NULL;
}

static void test_secret_threads(void)
{
    static char names[4][2] = { "a", "b", "c", "d" };
    pthread_t threads[4];
    bool good = true;

    for (size_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, churn_secrets, names[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        void *result = NULL;

        pthread_join(threads[i], &result);
        good = good && result == names[i];
    }
    ok(good, "four threads with a hundred secrets each");
}

/* A line of /proc/self/smaps about the mapping of p begins with name. */
static bool smaps_find(const void *p, const char *name, char *value,
                       size_t size)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        char *dash = NULL;
        unsigned long from = strtoul(line, &dash, 16);

        if (dash > line && *dash == '-') {
            inside = (uintptr_t)p >= from &&
                     (uintptr_t)p < strtoul(dash + 1, NULL, 16);
        } else if (inside && strncmp(line, name, strlen(name)) == 0) {
            snprintf(value, size, "%s", line + strlen(name));
            found = true;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

static bool is_locked(const void *p)
{
    char value[512] = "";

    return smaps_find(p, "Locked:", value, sizeof(value)) &&
           strtoul(value, NULL, 10) > 0;
}

static void test_secret_memory(void)
{
    hsm_autop(hsm_secret) s = hsm_secret_new("1234", 4);
    char flags[512] = "";
    int status = -1;
    pid_t pid;

    if (!smaps_find(s, "VmFlags:", flags, sizeof(flags))) {
        skip("no /proc/self/smaps");
        return;
    }
    ok(strstr(flags, " dd") != NULL, "secrets are left out of core dumps");
    if (!is_locked(s)) {
        skip("the system does not lock memory");
        return;
    }
    ok(true, "secrets are locked");
    pid = fork();
    if (pid == 0) {
        bool inherited = is_locked(s);

        hsm_secret_relock();
        _exit(!inherited && is_locked(s) && strcmp(s->text, "1234") == 0
              ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    is_int(status, 0, "a child has the secret, and locks it again");
}

/* --- results --- */

static void test_row(const struct hsm_ckr *row)
{
    const char *advice = row->advice;
    size_t len = advice != NULL ? strlen(advice) : 0;
    const char *name = row->name != NULL ? row->name : "(none)";

    ok(row->cls <= HSM_CLASS_FATAL &&
       (row->cls == HSM_CLASS_OK) == (row->rv == CKR_OK) &&
       (row->rv > HSM_RV(0) || strncmp(name, "CKR_", 4) == 0) &&
       hsm_ckr_row(row->rv) == row, "row %s is complete and found", name);
    if (advice != NULL) {
        ok(len > 10 && len <= 80 && advice[len - 1] != '.' &&
           advice[len - 1] != ' ', "… its advice is the end of a sentence");
    }
}

static void test_rows(void)
{
    size_t n = 0;
    const struct hsm_ckr *rows = hsm_ckr_rows(&n);
    unsigned int own = 0;
    bool ordered = true;

    for (size_t i = 0; i < n; i++) {
        test_row(&rows[i]);
        ordered = ordered && (i == 0 || rows[i - 1].rv < rows[i].rv);
        own += rows[i].rv > HSM_RV(0) && rows[i].rv <= HSM_E_CALL_TIMEOUT;
    }
    ok(ordered, "in order, so that no value is there twice");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            if (strcmp(rows[i].name, rows[k].name) == 0) {
                ok(false, "%s is there twice", rows[i].name);
            }
        }
    }
    is_int(own, (long long)(HSM_E_CALL_TIMEOUT - HSM_RV(0)),
           "every value of the core has a row");
    is_int((long long)(n - own), 105, "every value of Cryptoki has a row");
}

static void test_unknown(void)
{
    const struct hsm_ckr *row = hsm_ckr_row(0x80001234UL);

    is_str(row->name, "CKR_0x80001234", "an unknown value has a name");
    ok(row->rv == 0x80001234UL && row->cls == HSM_CLASS_FATAL &&
       row->advice != NULL, "… and its own value, and is fatal");
    is_str(hsm_ckr_row(4)->name, "CKR_0x4", "another one");
    is_str(hsm_ckr_row(~0UL)->name, sizeof(CK_RV) == 8
           ? "CKR_0xFFFFFFFFFFFFFFFF" : "CKR_0xFFFFFFFF", "the largest");
}

struct class_case {
    CK_RV rv;
    enum hsm_class cls;
};

static const struct class_case class_cases[] = {
    { CKR_OK, HSM_CLASS_OK },
    { CKR_KEY_HANDLE_INVALID, HSM_CLASS_STALE_OBJECT },
    { CKR_OBJECT_HANDLE_INVALID, HSM_CLASS_STALE_OBJECT },
    { CKR_SESSION_HANDLE_INVALID, HSM_CLASS_STALE_SESSION },
    { CKR_SESSION_CLOSED, HSM_CLASS_STALE_SESSION },
    { CKR_USER_NOT_LOGGED_IN, HSM_CLASS_STALE_SESSION },
    { CKR_OPERATION_ACTIVE, HSM_CLASS_STALE_SESSION },
    { CKR_GENERAL_ERROR, HSM_CLASS_STALE_SESSION },
    { CKR_CRYPTOKI_NOT_INITIALIZED, HSM_CLASS_STALE_LIBRARY },
    { CKR_DEVICE_ERROR, HSM_CLASS_STALE_LIBRARY },
    { CKR_DEVICE_REMOVED, HSM_CLASS_STALE_LIBRARY },
    { CKR_TOKEN_NOT_PRESENT, HSM_CLASS_STALE_LIBRARY },
    { CKR_TOKEN_NOT_RECOGNIZED, HSM_CLASS_STALE_LIBRARY },
    { CKR_SLOT_ID_INVALID, HSM_CLASS_STALE_LIBRARY },
    { CKR_PIN_INCORRECT, HSM_CLASS_AUTH },
    { CKR_PIN_LOCKED, HSM_CLASS_AUTH },
    { CKR_PIN_TOO_WEAK, HSM_CLASS_AUTH },
    { CKR_USER_PIN_NOT_INITIALIZED, HSM_CLASS_AUTH },
    { HSM_E_PIN_REFUSED, HSM_CLASS_AUTH },
    { HSM_E_NO_PIN, HSM_CLASS_AUTH },
    { CKR_SESSION_COUNT, HSM_CLASS_BUSY },
    { CKR_MECHANISM_INVALID, HSM_CLASS_UNSUPPORTED },
    { CKR_FUNCTION_NOT_SUPPORTED, HSM_CLASS_UNSUPPORTED },
    { CKR_CURVE_NOT_SUPPORTED, HSM_CLASS_UNSUPPORTED },
    { HSM_E_NO_MECHANISM, HSM_CLASS_UNSUPPORTED },
    { CKR_DATA_LEN_RANGE, HSM_CLASS_INPUT },
    { CKR_SIGNATURE_INVALID, HSM_CLASS_INPUT },
    { HSM_E_URI, HSM_CLASS_INPUT },
    { HSM_E_SETTING, HSM_CLASS_INPUT },
    { CKR_HOST_MEMORY, HSM_CLASS_FATAL },
    { HSM_E_DEAD, HSM_CLASS_FATAL },
    { 0x80001234UL, HSM_CLASS_FATAL },
};

static void test_classes(void)
{
    for (size_t i = 0; i < LEN_OF(class_cases); i++) {
        hsm_rc rc = { class_cases[i].rv, "test" };

        is_int(hsm_class_of(rc), class_cases[i].cls, "class of %s",
               hsm_ckr_row(rc.rv)->name);
    }
    /* The standard's numbers, which p11-kit's header has not. */
    is_int((long long)CKR_PIN_TOO_WEAK, 0x1b8, "CKR_PIN_TOO_WEAK");
    is_int((long long)CKR_PUBLIC_KEY_INVALID, 0x1b9, "CKR_PUBLIC_KEY_INVALID");
    is_int((long long)CKR_PARAMETER_SET_NOT_SUPPORTED, 0x209,
           "CKR_PARAMETER_SET_NOT_SUPPORTED");
}

/* --- the log --- */

static char scratch[] = "/tmp/base-test-XXXXXX";

static const char *const bad_specs[] = {
    "", "file", "file:", "file:,level:1", "stderr", "level:1",
    "file:/dev/null,level:0", "file:/dev/null,level:", "file:/dev/null,",
    "file:/dev/null,level:-1", "file:/dev/null,level:1x",
    "file:/dev/null,level:01", "file:/dev/null,levle:1",
    "file:/dev/null,level:1,", "FILE:/dev/null", " file:/dev/null",
    "file:/dev/null,level: 1", "file:/nonexistent/dir/log,level:1",
    "file:/tmp,level:1",
};

static void test_bad_specs(void)
{
    for (size_t i = 0; i < LEN_OF(bad_specs); i++) {
        hsm_rc rc = hsm_log_open(bad_specs[i]);

        ok(rc.rv == HSM_E_SETTING && hsm_detail()[0] != '\0' &&
           !hsm_log_is_on(HSM_LOG_WARN), "log refused: \"%s\"", bad_specs[i]);
    }
    is_int((long long)hsm_log_open(NULL).rv, (long long)HSM_E_SETTING,
           "log refused: NULL");
}

static void slurp(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : 0;

    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

static bool log_opens(const char *path, const char *suffix)
{
    char spec[256];

    snprintf(spec, sizeof(spec), "file:%s%s", path, suffix);
    return hsm_ok(hsm_log_open(spec));
}

static void test_log_levels(const char *path)
{
    ok(log_opens(path, "") && hsm_log_is_on(HSM_LOG_WARN) &&
       !hsm_log_is_on(HSM_LOG_INFO), "no level: warnings only");
    ok(log_opens(path, ",level:2") && hsm_log_is_on(HSM_LOG_INFO) &&
       !hsm_log_is_on(HSM_LOG_CALL), "level 2");
    ok(log_opens(path, ",level:3") && hsm_log_is_on(HSM_LOG_CALL), "level 3");
    ok(log_opens(path, ",level:9") && hsm_log_is_on(HSM_LOG_CALL),
       "level 9 is as 3");
    ok(log_opens(path, ",level:99999999999999999999") &&
       hsm_log_is_on(HSM_LOG_CALL), "… and so is a very large one");
    ok(hsm_ok(hsm_log_open("file:stderr,level:1")) &&
       !hsm_log_is_on(HSM_LOG_INFO), "stderr");
}

static void test_log_lines(const char *path)
{
    char text[8192];
    char who[64];
    struct stat st;
    struct tm tm = { 0 };
    const char *rest;

    ok(log_opens(path, ",level:2"), "a path with colons and commas");
    errno = ENOTTY;
    hsm_log(HSM_LOG_WARN, "one %d %m", 1);
    hsm_log(HSM_LOG_CALL, "not this");
    hsm_log(HSM_LOG_OFF, "nor this");
    hsm_log(HSM_LOG_INFO, "two\n\x1b[2J%s", "three");
    is_int(errno, ENOTTY, "logging keeps errno");
    slurp(path, text, sizeof(text));
    rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm);
    ok(rest != NULL && strspn(rest, "0123456789") == 6 && rest[6] == 'Z' &&
       labs((long)(timegm(&tm) - time(NULL))) < 60, "a line begins with UTC");
    snprintf(who, sizeof(who), "Z %ld/%ld warn: one 1 %s\n", (long)getpid(),
             (long)getpid(), strerror(ENOTTY));
    ok(strstr(text, who) != NULL, "process, thread, level, text");
    ok(strstr(text, "info: two??[2Jthree\n") != NULL,
       "control characters are not passed on");
    ok(strstr(text, "this") == NULL, "no line above the level");
    ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "mode 0600");
}

static void test_log_long(const char *path)
{
    char text[8192];
    char long_text[4000];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ok(log_opens(path, ""), "another file takes over");
    hsm_log(HSM_LOG_WARN, "%s", long_text);
    hsm_log(HSM_LOG_WARN, "end");
    slurp(path, text, sizeof(text));
    ok(strstr(text, "xxx\n") == strchr(text, '\n') - 3 &&
       strstr(text, "warn: end\n") != NULL, "a long line is cut, and ends");
}

/* Applications close every descriptor they do not know, then open theirs. */
static void test_log_lost(const char *path, const char *other)
{
    char text[8192];
    int fd = -1;

    ok(log_opens(path, ""), "open");
    for (int i = 3; i < 64; i++) {
        close(i);
    }
    for (int i = 3; i < 10; i++) {
        fd = open(other, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    hsm_log(HSM_LOG_WARN, "astray");
    slurp(other, text, sizeof(text));
    is_str(text, "", "a descriptor that became another file is not written");
    ok(log_opens(path, ""), "open again");
    ok(fcntl(fd, F_GETFD) >= 0 && write(3, "x", 1) == 1, "write to ours");
    hsm_log(HSM_LOG_WARN, "found");
    slurp(other, text, sizeof(text));
    is_str(text, "x", "… and not replaced");
    slurp(path, text, sizeof(text));
    ok(strstr(text, "warn: found\n") != NULL, "… and the log goes on");
    for (int i = 3; i < 10; i++) {
        close(i);
    }
}

static void test_log(void)
{
    char path[64], path2[64], path3[64];

    if (mkdtemp(scratch) == NULL) {
        ok(false, "no scratch directory");
        return;
    }
    snprintf(path, sizeof(path), "%s/a,b:level:2,c", scratch);
    snprintf(path2, sizeof(path2), "%s/second", scratch);
    snprintf(path3, sizeof(path3), "%s/third", scratch);
    test_bad_specs();
    test_log_levels(path2);
    test_log_lines(path);
    test_log_long(path2);
    test_log_lost(path2, path3);
    unlink(path);
    unlink(path2);
    unlink(path3);
    rmdir(scratch);
}

int main(void)
{
    test_bytes();
    test_buffers();
    test_printf();
    test_strings();
    test_secrets();
    test_secret_threads();
    test_secret_memory();
    test_rows();
    test_unknown();
    test_classes();
    test_log();
    return tap_done();
}
