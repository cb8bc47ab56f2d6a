/* SPDX-License-Identifier: Apache-2.0 */
/* Where PINs come from. No token, no libcrypto. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/session/pin.h"
#include "tests/c/child.h"
#include "tests/c/tap.h"

#define LEN_OF(a) (sizeof(a) / sizeof((a)[0]))
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define A255 A64 A64 A64 A8 A8 A8 A8 A8 A8 A8 "aaaaaaa"

static const struct hsm_identity tok = {
    "My Token", "Maker", "Model", "0001"
};
static char scratch[] = "/tmp/pin-test-XXXXXX";

/* --- helpers --- */

/* Valid until the next call but one. */
static const char *in_scratch(const char *scheme, const char *name)
{
    static char path[2][300];
    static int turn;

    turn = 1 - turn;
    (void)snprintf(path[turn], sizeof(path[turn]), "%s%s/%s", scheme, scratch,
                   name);
    return path[turn];
}

static void remove_scratch(void)
{
    DIR *dir = opendir(scratch);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        (void)unlink(in_scratch("", entry->d_name));
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    (void)rmdir(scratch);
}

static void put_file(const char *name, mode_t mode, const char *text,
                     size_t len)
{
    const char *path = in_scratch("", name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len
            || fchmod(fd, mode) != 0 || close(fd) != 0) {
        diag("%s cannot be written", path);
        exit(1);
    }
}

static void reads(const char *source, bool bare, const char *want)
{
    hsm_autop(hsm_secret) s = NULL;
    hsm_rc rc = hsm_pin_read_source(source, bare, &s);

    if (!ok(hsm_ok(rc) && s != NULL && s->len == strlen(want)
            && memcmp(s->text, want, s->len + 1) == 0,
            "reads %.70s", source)) {
        diag("said: %s", hsm_detail());
    }
}

static void refuses(const char *source, bool bare, const char *why)
{
    struct hsm_secret *s = NULL;
    hsm_rc rc = hsm_pin_read_source(source, bare, &s);

    if (!ok(rc.rv == HSM_E_PIN_SOURCE && s == NULL
            && strstr(hsm_detail(), why) != NULL,
            "refuses %.70s: %s", source, why)) {
        diag("said: %s", hsm_detail());
    }
    hsm_secret_free(s);
}

/* --- sources --- */

static void test_files(void)
{
    put_file("lf", 0600, "1234\n", 5);
    put_file("crlf", 0600, "1234\r\n", 6);
    put_file("bare", 0600, " 12 34 ", 7);
    put_file("empty", 0600, "", 0);
    put_file("newline", 0600, "\n", 1);
    put_file("two", 0600, "1234\n\n", 6);
    put_file("lines", 0600, "1234\nuser\n", 10);
    put_file("nul", 0600, "12\0" "34", 5);
    put_file("max", 0600, A255, 255);
    put_file("maxlf", 0600, A255 "\n", 256);
    put_file("maxcrlf", 0600, A255 "\r\n", 257);
    put_file("over", 0600, A255 "a", 256);
    put_file("overlf", 0600, A255 "a\n", 257);
    put_file("overcrlf", 0600, A255 "a\r\n", 258);
    put_file("huge", 0600, A255 A255 A255, 765);
    reads(in_scratch("file:", "lf"), false, "1234");
    reads(in_scratch("file://", "lf"), false, "1234");
    reads(in_scratch("file:", "lf"), true, "1234");
    reads(in_scratch("", "lf"), false, "1234");
    reads(in_scratch("", "crlf"), false, "1234");
    reads(in_scratch("", "bare"), false, " 12 34 ");
    reads(in_scratch("", "max"), false, A255);
    reads(in_scratch("", "maxlf"), false, A255);
    reads(in_scratch("", "maxcrlf"), false, A255);
    refuses(in_scratch("", "empty"), false, "empty");
    refuses(in_scratch("", "newline"), false, "empty");
    refuses(in_scratch("", "two"), false, "more than one line");
    refuses(in_scratch("", "lines"), false, "more than one line");
    refuses(in_scratch("", "nul"), false, "NUL octet");
    refuses(in_scratch("", "over"), false, "longer than 255");
    refuses(in_scratch("", "overlf"), false, "longer than 255");
    refuses(in_scratch("", "overcrlf"), false, "longer than 255");
    refuses(in_scratch("", "huge"), false, "longer than 255");
    refuses(in_scratch("file:", "none"), false, "cannot be opened");
    refuses(in_scratch("file:", "none"), false, strerror(ENOENT));
    refuses(in_scratch("file:", ""), false, "no file");
    refuses("file:", false, "names no file");
    refuses("file://host/pin", false, "host");
    refuses("file:/dev/null", false, "empty");
    ok(chdir(scratch) == 0, "in the scratch folder");
    reads("file:lf", true, "1234");
    ok(chdir("/") == 0, "out of it");
}

static void test_fifo(void)
{
    const char *path = in_scratch("", "fifo");
    pid_t pid;
    int fd;

    if (mkfifo(path, 0600) != 0) {
        skip("no FIFO");
        return;
    }
    pid = fork();
    if (pid == 0) {
        fd = open(path, O_WRONLY);
        _exit(write(fd, "98", 2) == 2 && usleep(20000) == 0
              && write(fd, "76\n", 3) == 3 ? 0 : 1);
    }
    reads(path, false, "9876");
    (void)waitpid(pid, NULL, 0);
}

static void test_other_sources(void)
{
    ok(setenv("PIN_TEST", "4321\n", 1) == 0
       && setenv("PIN_TEST_EMPTY", "", 1) == 0
       && unsetenv("CREDENTIALS_DIRECTORY") == 0, "environment");
    reads("env:PIN_TEST", false, "4321");
    reads("env:PIN_TEST", true, "4321");
    refuses("env:PIN_TEST_EMPTY", false, "empty");
    refuses("env:PIN_TEST_NONE", false, "\"PIN_TEST_NONE\"");
    refuses("env:", false, "not set");
    refuses("credential:lf", false, "CREDENTIALS_DIRECTORY");
    ok(setenv("CREDENTIALS_DIRECTORY", scratch, 1) == 0, "credentials");
    reads("credential:lf", false, "1234");
    reads("credential:lf", true, "1234");
    refuses("credential:none", false, "cannot be opened");
    refuses("credential:../lf", false, "no name");
    refuses("credential:..", false, "no name");
    refuses("credential:", false, "no name");
    refuses("fd:", false, "number");
    refuses("fd:x", false, "number");
    refuses("fd:-1", false, "number");
    refuses("fd:1x", false, "number");
    refuses("fd:99999999999", false, "number");
    refuses("fd:987654", false, strerror(EBADF));
    refuses("|echo 1234", false, "command");
    refuses("|echo 1234", true, "command");
    refuses("1234", false, "no absolute file name");
    ok(strstr(hsm_detail(), "1234") == NULL, "and does not tell it");
    refuses("pin.txt", false, "no absolute file name");
    refuses("http://host/pin", false, "no absolute file name");
    refuses("", false, "no absolute file name");
}

static void test_settings(void)
{
    put_file("a b", 0600, "1234", 4);
    reads("1234", true, "1234");
    reads("12/34", true, "12/34");
    reads("pass:word", true, "pass:word");
    refuses("", true, "empty");
    refuses(A255 "a", true, "longer than 255");
    ok(strstr(hsm_detail(), A8) == NULL, "and does not tell it");
    refuses(in_scratch("", "a b"), true, in_scratch("file:", "a b"));
    refuses("/tmp", true, "file:/tmp");
    refuses("/", true, "file:/");
    reads(in_scratch("", "none"), true, in_scratch("", "none"));
}

static bool again_in_child(void)
{
    hsm_autop(hsm_secret) s = NULL;

    return hsm_ok(hsm_pin_read_source("fd:100", true, &s))
           && strcmp(s->text, "5678") == 0;
}

static void test_fd(void)
{
    int ends[2];

    if (!ok(pipe(ends) == 0 && dup2(ends[0], 100) == 100, "pipe")) {
        return;
    }
    ok(write(ends[1], "5678\r\n", 6) == 6 && close(ends[1]) == 0
       && close(ends[0]) == 0, "filled");
    reads("fd:100", false, "5678");
    reads("fd:100", true, "5678");
    (void)close(100);
    reads("fd:0100", false, "5678");
    ok(in_child(again_in_child), "and in a child");
}

/* Descriptor 102 is a pipe with this in it. */
static bool put_pipe(const char *text)
{
    size_t len = strlen(text);
    int ends[2];

    return pipe(ends) == 0 && dup2(ends[0], 102) == 102
           && close(ends[0]) == 0
           && write(ends[1], text, len) == (ssize_t)len
           && close(ends[1]) == 0;
}

static bool put_opened(const char *name)
{
    int fd = open(in_scratch("", name), O_RDONLY);

    return fd >= 0 && dup2(fd, 102) == 102 && close(fd) == 0;
}

/* A number belongs to one file after the other. */
static void test_fd_again(void)
{
    put_file("first", 0600, "first\n", 6);
    ok(put_pipe("one"), "a pipe");
    reads("fd:102", false, "one");
    ok(put_pipe("two"), "another one with its number");
    reads("fd:102", false, "two");
    reads("fd:102", false, "two");
    ok(put_opened("first"), "a file with its number");
    reads("fd:102", false, "first");
    reads("fd:102", false, "first");
    put_file("first", 0600, "next\n", 5);
    ok(put_opened("first"), "the file, written and opened anew");
    reads("fd:102", false, "next");
    ok(put_pipe(""), "an empty pipe");
    refuses("fd:102", false, "empty");
    ok(close(102) == 0, "which is closed");
    refuses("fd:102", false, strerror(EBADF));
    ok(put_pipe("three"), "a pipe that is closed");
    reads("fd:102", false, "three");
    ok(close(102) == 0, "when it was read");
    reads("fd:102", false, "three");
}

/* Who has written a PIN and does not close the pipe is not waited for always:
 * for half a minute, in which the other cases are tried. */
static int unclosed[2];

static void *read_unclosed(void *arg)
{
    struct hsm_secret *s = NULL;
    hsm_rc rc = hsm_pin_read_source("fd:103", false, &s);

    return rc.rv == HSM_E_PIN_SOURCE && s == NULL
            && strstr(hsm_detail(), "not closed") != NULL ? arg : NULL;
}

static bool begin_unclosed(pthread_t *thread)
{
    return pipe(unclosed) == 0 && dup2(unclosed[0], 103) == 103
           && write(unclosed[1], "1234\n", 5) == 5
           && pthread_create(thread, NULL, read_unclosed, unclosed) == 0;
}

static void end_unclosed(pthread_t thread)
{
    void *got = NULL;

    (void)pthread_join(thread, &got);
    ok(got != NULL, "a pipe that is not closed is refused");
    (void)close(unclosed[1]);
    (void)close(unclosed[0]);
    (void)close(103);
}

static int slow_pipe;

static void *read_slowly(void *arg)
{
    struct hsm_secret *s = NULL;

    (void)arg;
    return hsm_ok(hsm_pin_read_source("fd:101", false, &s)) ? s : NULL;
}

static void test_fd_threads(void)
{
    pthread_t thread[8];
    int ends[2], good = 0;

    if (pipe(ends) != 0 || dup2(ends[0], 101) != 101) {
        return;
    }
    slow_pipe = ends[1];
    for (size_t i = 0; i < LEN_OF(thread); i++) {
        (void)pthread_create(&thread[i], NULL, read_slowly, NULL);
    }
    (void)usleep(50000);
    ok(write(slow_pipe, "2468", 4) == 4 && close(slow_pipe) == 0, "written");
    for (size_t i = 0; i < LEN_OF(thread); i++) {
        void *got = NULL;
        struct hsm_secret *s;

        (void)pthread_join(thread[i], &got);
        s = got;
        good += s != NULL && strcmp(s->text, "2468") == 0;
        hsm_secret_free(s);
    }
    is_int(good, 8, "eight threads share what can be read once");
    (void)close(ends[0]);
    (void)close(101);
}

static void test_open_file(void)
{
    char line[400] = "";
    char spec[200];
    FILE *f;

    put_file("secret", 0640, "1234", 4);
    put_file("open", 0644, "1234", 4);
    (void)snprintf(spec, sizeof(spec), "file:%s/log,level:1", scratch);
    ok(hsm_ok(hsm_log_open(spec)), "log opened");
    reads(in_scratch("file:", "secret"), false, "1234");
    reads(in_scratch("file:", "open"), false, "1234");
    f = fopen(in_scratch("", "log"), "r");
    ok(f != NULL && fgets(line, sizeof(line), f) != NULL
       && strstr(line, in_scratch("", "open")) != NULL
       && strstr(line, "1234") == NULL,
       "a file that everybody can read is logged");
    ok(f != NULL && fgets(line, sizeof(line), f) == NULL, "only that");
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* --- who decides --- */

struct person {
    const char *says;           /* NULL: nothing */
    size_t len;
    int asked;
    char prompt[200];
};

static bool answer(void *arg, const char *prompt, char *pin, size_t size,
                   size_t *len)
{
    struct person *p = arg;

    p->asked++;
    (void)snprintf(p->prompt, sizeof(p->prompt), "%s", prompt);
    if (p->says == NULL) {
        return false;
    }
    if (p->len <= size) {
        memcpy(pin, p->says, p->len);
    }
    *len = p->len;
    return true;
}

static void found(const struct hsm_cred *cred, const char *want,
                  const char *what)
{
    hsm_autop(hsm_secret) s = NULL;
    hsm_rc rc = hsm_pin_find(cred, &tok, &s);

    if (!ok(hsm_ok(rc), "%s", what)) {
        diag("said: %s", hsm_detail());
    }
    is_str(s != NULL ? s->text : NULL, want, "is it");
}

static void not_found(const struct hsm_cred *cred, CK_RV rv, const char *what)
{
    struct hsm_secret *s = NULL;
    hsm_rc rc = hsm_pin_find(cred, &tok, &s);

    ok(rc.rv == rv && s == NULL, "%s", what);
}

static void test_order(void)
{
    struct person p = { "3333", 4, 0, "" };
    struct hsm_cred cred = { .uri = NULL };
    hsm_autop(hsm_secret) known = hsm_secret_new("7777", 4);
    hsm_autop(hsm_uri) value = NULL;
    hsm_autop(hsm_uri) source = NULL;
    hsm_autop(hsm_uri) empty = NULL;
    hsm_autop(hsm_uri) none = NULL;

    ok(hsm_ok(hsm_uri_parse("pkcs11:?pin-value=1111", &value))
       && hsm_ok(hsm_uri_parse("pkcs11:?pin-source=env:PIN_TEST", &source))
       && hsm_ok(hsm_uri_parse("pkcs11:?pin-value=", &empty))
       && hsm_ok(hsm_uri_parse("pkcs11:", &none)), "URIs");
    found(NULL, NULL, "nobody wants to log in");
    found(&cred, NULL, "no source at all");
    ok(!hsm_pin_is_at_hand(NULL) && !hsm_pin_is_at_hand(&cred), "none");
    cred.uri = none;
    found(&cred, NULL, "a URI without a PIN");
    cred.prompt = answer;
    cred.prompt_arg = &p;
    ok(!hsm_pin_is_at_hand(&cred), "somebody must be asked");
    found(&cred, "3333", "the prompt");
    is_int(p.asked, 1, "asked once");
    is_str(p.prompt, "PKCS#11 token \"My Token\" PIN", "prompt's text");
    cred.setting = "2222";
    ok(hsm_pin_is_at_hand(&cred), "a setting is at hand");
    found(&cred, "2222", "the setting goes before the prompt");
    cred.uri = source;
    ok(hsm_pin_is_at_hand(&cred), "a source is at hand");
    found(&cred, "4321", "pin-source goes before the setting");
    cred.uri = value;
    found(&cred, "1111", "pin-value goes before the setting");
    cred.uri = empty;
    not_found(&cred, HSM_E_PIN_SOURCE, "an empty pin-value decides, too");
    ok(unsetenv("PIN_TEST") == 0, "environment");
    cred.uri = source;
    not_found(&cred, HSM_E_PIN_SOURCE, "so does a source that fails");
    cred.uri = NULL;
    cred.setting = "";
    not_found(&cred, HSM_E_PIN_SOURCE, "an empty setting");
    is_int(p.asked, 1, "nobody was asked for that");
    cred.known = known;
    cred.uri = value;
    found(&cred, "7777", "a PIN that is known goes before all");
    cred = (struct hsm_cred){ .known = known };
    ok(hsm_pin_is_at_hand(&cred), "and is at hand");
}

static void test_ask(void)
{
    struct person p = { "3333", 4, 0, "" };
    struct hsm_cred cred = { .setting = "2222" };
    struct hsm_secret *s = NULL;

    ok(hsm_pin_ask(&cred, "Other", &s).rv == HSM_E_NO_PIN && s == NULL,
       "nobody to ask");
    cred.prompt = answer;
    cred.prompt_arg = &p;
    ok(hsm_ok(hsm_pin_ask(&cred, "Other", &s)) && s != NULL, "asked");
    is_str(p.prompt, "PKCS#11 token \"Other\" PIN", "prompt's text");
    is_str(s != NULL ? s->text : NULL, "3333", "not the setting");
    hsm_secret_free(s);
}

static void test_prompt(void)
{
    struct person p = { NULL, 0, 0, "" };
    struct hsm_cred cred = { .prompt = answer, .prompt_arg = &p };
    struct hsm_identity odd = tok;
    struct hsm_secret *s = NULL;

    not_found(&cred, HSM_E_NO_PIN, "no answer");
    p.says = "";
    not_found(&cred, HSM_E_NO_PIN, "an empty answer");
    p.says = "\n";
    p.len = 1;
    not_found(&cred, HSM_E_NO_PIN, "an empty line");
    p.says = A255;
    p.len = 255;
    found(&cred, A255, "a long answer");
    p.len = 256;
    not_found(&cred, HSM_E_PIN_SOURCE, "too long an answer");
    (void)snprintf(odd.label, sizeof(odd.label), "a\x1b[2Jb\n");
    p.len = 4;
    ok(hsm_ok(hsm_pin_find(&cred, &odd, &s)), "odd label");
    is_str(p.prompt, "PKCS#11 token \"a?[2Jb?\" PIN", "is made harmless");
    hsm_secret_free(s);
    memset(odd.label, 'l', sizeof(odd.label) - 1);
    s = NULL;
    ok(hsm_ok(hsm_pin_find(&cred, &odd, &s)) && strlen(p.prompt) == 52,
       "the longest label fits");
    hsm_secret_free(s);
}

int main(void)
{
    pthread_t late;
    bool begun = begin_unclosed(&late);

    if (mkdtemp(scratch) == NULL) {
        diag("no scratch folder");
        return 1;
    }
    test_files();
    test_fifo();
    test_other_sources();
    test_settings();
    test_fd();
    test_fd_again();
    test_fd_threads();
    test_open_file();
    ok(setenv("PIN_TEST", "4321", 1) == 0, "environment");
    test_order();
    test_prompt();
    test_ask();
    ok(begun, "a pipe that stays open");
    if (begun) {
        end_unclosed(late);
    }
    remove_scratch();
    return tap_done();
}
