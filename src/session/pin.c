/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/sync.h"

/* How long somebody may take to write a PIN into a FIFO or pipe, and to end. */
#define WRITER_WAIT_MS 30000u
/* And a thread waits for another one that reads the same descriptor. */
#define FD_WAIT_MS 30000u

#define refused(...) \
    hsm_fail(HSM_E_PIN_SOURCE, "hsm_pin_read_source", __VA_ARGS__)

/* What was read from a descriptor. Never freed, for other threads wait for it.
 * Who has the claim reads and writes the rest. */
struct fd_memory {
    int fd;
    dev_t dev;                  /* of what was read */
    ino_t ino;
    struct hsm_secret *pin;     /* NULL: none yet */
    struct hsm_claim reading;
    struct fd_memory *next;
};

static pthread_once_t fd_once = PTHREAD_ONCE_INIT;
static struct hsm_lock fd_lock;
static struct fd_memory *fd_known;              /* fd_lock */

static hsm_rc no_memory(void)
{
    return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_pin_read_source");
}

/* Length without one trailing LF or CRLF. */
static size_t without_newline(const char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n') {
        len--;
        if (len > 0 && text[len - 1] == '\r') {
            len--;
        }
    }
    return len;
}

static hsm_rc too_long(const char *what)
{
    return refused("the PIN from %s is longer than %d bytes", what,
                   HSM_SECRET_MAX);
}

/* More than one line, or a NUL, is no PIN but the wrong file; sending the
 * whole of it would cost one of the few tries a token grants. */
static hsm_rc check_pin(const char *text, size_t len, const char *what)
{
    if (len == 0) {
        return refused("the PIN from %s is empty", what);
    }
    if (len > HSM_SECRET_MAX) {
        return too_long(what);
    }
    if (memchr(text, '\0', len) != NULL) {
        return refused("what comes from %s is no text: it has a NUL octet",
                       what);
    }
    if (memchr(text, '\n', len) != NULL) {
        return refused("what comes from %s is more than one line", what);
    }
    return HSM_OK;
}

static hsm_rc pin_copy(const struct hsm_secret *pin, struct hsm_secret **out)
{
    struct hsm_secret *s = hsm_secret_new(pin->text, pin->len);

    if (s == NULL) {
        return no_memory();
    }
    *out = s;
    return HSM_OK;
}

static hsm_rc pin_from_text(const char *text, const char *what,
                            struct hsm_secret **out)
{
    size_t len = without_newline(text, strlen(text));
    struct hsm_secret *s;

    TRY(check_pin(text, len, what));
    s = hsm_secret_new(text, len);
    if (s == NULL) {
        return no_memory();
    }
    *out = s;
    return HSM_OK;
}

/* Something came, or the writer went. ETIMEDOUT where nobody writes. */
static bool wait_for_writer(int fd, hsm_deadline_ms deadline)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;

    do {
        hsm_deadline_ms now = hsm_now_ms();

        n = poll(&p, 1, now < deadline ? (int)(deadline - now) : 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        errno = ETIMEDOUT;
    }
    return n > 0;
}

/* Up to size bytes, fewer only at the end. errno where it is false: who has
 * the other end of a pipe may never close it. */
static bool read_up_to(int fd, hsm_deadline_ms deadline, char *p, size_t size,
                       size_t *len)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got;

        if (!wait_for_writer(fd, deadline)) {
            return false;
        }
        got = read(fd, p + n, size - n);
        if (got < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        if (got == 0) {
            break;
        }
        n += got > 0 ? (size_t)got : 0;
    }
    *len = n;
    return true;
}

static hsm_rc unreadable(const char *what)
{
    return errno != ETIMEDOUT
        ? refused("the PIN cannot be read from %s: %m", what)
        : refused("the PIN cannot be read from %s: it is not closed by who"
                  " writes it, after %u s", what, WRITER_WAIT_MS / 1000);
}

/*
 * Straight into locked memory. That has room for HSM_SECRET_MAX bytes and one
 * more, so of a PIN of full length with CRLF the LF alone is read beside it.
 */
static hsm_rc pin_from_fd(int fd, const char *what, struct hsm_secret **out)
{
    hsm_deadline_ms deadline = hsm_deadline(WRITER_WAIT_MS);
    hsm_autop(hsm_secret) s = hsm_secret_new("", 0);
    char beyond[2] = { 0, 0 };
    size_t len = 0, n_beyond = 0;

    if (s == NULL) {
        return no_memory();
    }
    if (!read_up_to(fd, deadline, s->text, sizeof(s->text), &len)
            || (len == sizeof(s->text)
                && !read_up_to(fd, deadline, beyond, sizeof(beyond),
                               &n_beyond))) {
        return unreadable(what);
    }
    if (n_beyond == 0) {
        len = without_newline(s->text, len);
    } else if (n_beyond == 1 && beyond[0] == '\n'
               && s->text[len - 1] == '\r') {
        len--;
    } else {
        hsm_wipe(beyond, sizeof(beyond));
        return too_long(what);
    }
    TRY(check_pin(s->text, len, what));
    hsm_wipe(s->text + len, sizeof(s->text) - len);
    s->len = len;
    *out = s;
    s = NULL;
    return HSM_OK;
}

/* Secrets of containers come with odd owners and modes: told, not refused. */
static void warn_of_others(const struct stat *st, const char *path)
{
    if ((st->st_mode & S_IROTH) != 0) {
        hsm_log(HSM_LOG_WARN, "PIN file \"%s\" can be read by everybody:"
                " chmod o-r", path);
    }
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        hsm_log(HSM_LOG_WARN, "PIN file \"%s\" belongs to user id %ld, who is"
                " neither root nor this process's (%ld): chown it to one of"
                " these", path, (long)st->st_uid, (long)geteuid());
    }
}

/* A FIFO has to have its writer; it stays not blocking. */
static hsm_rc check_file(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) != 0
            || (!S_ISFIFO(st.st_mode) && fcntl(fd, F_SETFL, O_RDONLY) != 0)) {
        return refused("PIN file \"%s\" cannot be examined: %m", path);
    }
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)
            && !S_ISCHR(st.st_mode)) {
        return refused("PIN file \"%s\" is no file, FIFO or character"
                       " device", path);
    }
    if (S_ISFIFO(st.st_mode)
            && !wait_for_writer(fd, hsm_deadline(WRITER_WAIT_MS))) {
        return refused("nobody writes a PIN into \"%s\": %m", path);
    }
    if (S_ISREG(st.st_mode)) {
        warn_of_others(&st, path);
    }
    return HSM_OK;
}

static void fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static hsm_rc pin_from_file(const char *path, struct hsm_secret **out)
{
    __attribute__((cleanup(fd_close))) int fd = -1;
    hsm_auto(hsm_buf) what = HSM_BUF_INIT;

    if (path[0] == '\0') {
        return refused("a PIN source \"file:\" names no file");
    }
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return refused("PIN file \"%s\" cannot be opened: %m", path);
    }
    TRY(check_file(fd, path));
    TRY(hsm_buf_printf(&what, "file \"%s\"", path));
    return pin_from_fd(fd, (const char *)what.p, out);
}

/* What follows "file:": a path, or "//" and a path [RFC 8089]. */
static hsm_rc pin_from_file_uri(const char *rest, struct hsm_secret **out)
{
    if (strncmp(rest, "//", 2) == 0) {
        rest += 2;
        if (rest[0] != '/') {
            return refused("PIN source \"file://%s\" names a host; write"
                           " file:/path", rest);
        }
    }
    return pin_from_file(rest, out);
}

static hsm_rc pin_from_env(const char *name, struct hsm_secret **out)
{
    hsm_auto(hsm_buf) what = HSM_BUF_INIT;
    const char *value = name[0] != '\0' ? getenv(name) : NULL;

    if (value == NULL) {
        return refused("environment variable \"%s\" for the PIN is not set",
                       name);
    }
    TRY(hsm_buf_printf(&what, "environment variable \"%s\"", name));
    return pin_from_text(value, (const char *)what.p, out);
}

/* [systemd.exec(5), CREDENTIALS] */
static hsm_rc pin_from_credential(const char *name, struct hsm_secret **out)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    hsm_auto(hsm_buf) path = HSM_BUF_INIT;

    if (name[0] == '\0' || strchr(name, '/') != NULL
            || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return refused("\"%s\" is no name of a credential", name);
    }
    if (dir == NULL || dir[0] != '/') {
        return refused("credential \"%s\" for the PIN: the service has no"
                       " CREDENTIALS_DIRECTORY", name);
    }
    TRY(hsm_buf_printf(&path, "%s/%s", dir, name));
    return pin_from_file((const char *)path.p, out);
}

static void fd_lock_make(void)
{
    hsm_lock_init(&fd_lock);
}

/* Lock held. NULL: no memory. */
static struct fd_memory *fd_memory_of(int fd)
{
    struct fd_memory *m = fd_known;

    while (m != NULL && m->fd != fd) {
        m = m->next;
    }
    if (m == NULL) {
        m = hsm_zalloc(sizeof(*m));
        if (m != NULL) {
            m->fd = fd;
            m->next = fd_known;
            fd_known = m;
        }
    }
    return m;
}

/* The entry of fd, with the claim to it. Not claimed: somebody else still
 * reads. NULL: no memory. */
static struct fd_memory *fd_claim(int fd, bool *claimed)
{
    hsm_deadline_ms deadline = hsm_deadline(FD_WAIT_MS);
    struct fd_memory *m;
    bool in_time = true;

    *claimed = false;
    (void)pthread_once(&fd_once, fd_lock_make);
    hsm_lock(&fd_lock);
    m = fd_memory_of(fd);
    while (m != NULL && !*claimed && in_time) {
        *claimed = hsm_claim_take(&m->reading);
        in_time = *claimed || hsm_wait(&fd_lock, deadline);
    }
    hsm_unlock(&fd_lock);
    return m;
}

static bool parse_fd(const char *text, int *out)
{
    int fd = 0;

    if (text[0] == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        int digit = *text - '0';

        if (digit < 0 || digit > 9 || fd > (INT_MAX - digit) / 10) {
            return false;
        }
        fd = fd * 10 + digit;
    }
    *out = fd;
    return true;
}

/*
 * The number may be another pipe's or file's by now, with the PIN of another
 * token in it. A file that was opened again is read from its beginning: it may
 * have got the number of one that was deleted. A descriptor that was closed
 * after it was read is the one that was meant.
 */
static bool fd_is_known(const struct fd_memory *m)
{
    struct stat st;

    if (m->pin == NULL) {
        return false;
    }
    if (fstat(m->fd, &st) != 0) {
        return errno == EBADF;
    }
    return st.st_dev == m->dev && st.st_ino == m->ino
        && (!S_ISREG(st.st_mode) || lseek(m->fd, 0, SEEK_CUR) != 0);
}

/* Forgets what was read before. */
static void fd_remember(struct fd_memory *m, const struct stat *st,
                        struct hsm_secret *pin)
{
    struct hsm_secret *old;

    hsm_lock(&fd_lock);         /* a fork sees all of it or nothing */
    old = m->pin;
    m->dev = st->st_dev;
    m->ino = st->st_ino;
    m->pin = pin;
    hsm_unlock(&fd_lock);
    hsm_secret_free(old);       /* which takes a lock of its own */
}

/* With the claim. The lock is not held while it is read: that may take long. */
static hsm_rc fd_read(struct fd_memory *m, struct hsm_secret **out)
{
    struct hsm_secret *pin = NULL;
    struct stat st = { .st_dev = 0 };
    char what[32];
    hsm_rc rc;

    fd_remember(m, &st, NULL);
    (void)snprintf(what, sizeof(what), "fd:%d", m->fd);
    (void)fstat(m->fd, &st);    /* where it fails, reading says why */
    rc = pin_from_fd(m->fd, what, &pin);
    if (!hsm_ok(rc) || pin == NULL) {
        return rc;
    }
    hsm_secret_keep(pin);
    fd_remember(m, &st, pin);
    return pin_copy(pin, out);
}

static hsm_rc pin_from_fd_name(const char *number, struct hsm_secret **out)
{
    struct fd_memory *m;
    bool claimed;
    hsm_rc rc;
    int fd;

    if (!parse_fd(number, &fd)) {
        return refused("PIN source \"fd:\" is not followed by the number of a"
                       " file descriptor");
    }
    m = fd_claim(fd, &claimed);
    if (m == NULL) {
        return no_memory();
    }
    if (!claimed) {
        return hsm_fail(HSM_E_TIMEOUT, "hsm_pin_read_source",
                        "another thread still reads the PIN from fd:%d", fd);
    }
    rc = fd_is_known(m) ? pin_copy(m->pin, out) : fd_read(m, out);
    hsm_claim_drop(&m->reading, &fd_lock);
    return rc;
}

struct source {
    const char *scheme;
    hsm_rc (*read)(const char *rest, struct hsm_secret **out);
};

static const struct source sources[] = {
    { "file:", pin_from_file_uri },
    { "env:", pin_from_env },
    { "fd:", pin_from_fd_name },
    { "credential:", pin_from_credential },
};

static const struct source *find_source(const char *text)
{
    size_t i;

    for (i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (strncmp(text, sources[i].scheme,
                    strlen(sources[i].scheme)) == 0) {
            return &sources[i];
        }
    }
    return NULL;
}

/* The existing name is shown: it is no PIN then. */
static hsm_rc pin_from_setting(const char *text, struct hsm_secret **out)
{
    struct stat st;

    if (strchr(text, '/') != NULL && stat(text, &st) == 0) {
        return refused("the PIN setting \"%s\" is the name of a file; write"
                       " file:%s to have the PIN read from there", text,
                       text);
    }
    return pin_from_text(text, "the PIN setting", out);
}

hsm_rc hsm_pin_read_source(const char *source, bool bare_is_pin,
                           struct hsm_secret **out)
{
    const struct source *known = find_source(source);

    if (known != NULL) {
        return known->read(source + strlen(known->scheme), out);
    }
    if (source[0] == '|') {
        return refused("a PIN source that begins with \"|\" is a command;"
                       " commands are not run for a PIN");
    }
    if (bare_is_pin) {
        return pin_from_setting(source, out);
    }
    if (source[0] == '/') {
        return pin_from_file(source, out);
    }
    /* Not shown: it may be a PIN that got into the wrong place. */
    return refused("pin-source is no absolute file name, and begins with none"
                   " of file:, env:, fd: and credential:");
}

static hsm_rc pin_from_uri(const struct hsm_uri *uri, struct hsm_secret **out)
{
    const char *value = hsm_uri_pin_value(uri);

    if (value == NULL) {
        return hsm_pin_read_source(hsm_uri_pin_source(uri), false, out);
    }
    return pin_from_text(value, "the URI's pin-value", out);
}

/* The text is stable: programs recognise it. A label's control characters
 * would reach a terminal. */
static void make_prompt(const char *label, char *out, size_t size)
{
    char *p;

    (void)snprintf(out, size, "PKCS#11 token \"%.64s\" PIN", label);
    for (p = out; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c < ' ' || c == 0x7f) {
            *p = '?';
        }
    }
}

hsm_rc hsm_pin_ask(const struct hsm_cred *cred, const char *token_label,
                   struct hsm_secret **out)
{
    hsm_autop(hsm_secret) s = hsm_secret_new("", 0);
    char prompt[96];
    size_t len = 0;

    if (s == NULL) {
        return no_memory();
    }
    make_prompt(token_label, prompt, sizeof(prompt));
    if (cred->prompt == NULL
            || !cred->prompt(cred->prompt_arg, prompt, s->text,
                             HSM_SECRET_MAX, &len)) {
        len = 0;
    }
    if (len > HSM_SECRET_MAX) {
        return too_long("the prompt");
    }
    len = without_newline(s->text, len);
    if (len == 0) {
        return hsm_fail(HSM_E_NO_PIN, "hsm_pin_find",
                        "no answer to \"%s\"", prompt);
    }
    s->len = len;
    s->text[len] = '\0';
    *out = s;
    s = NULL;
    return HSM_OK;
}

static bool uri_has_pin(const struct hsm_uri *uri)
{
    return uri != NULL && (hsm_uri_pin_value(uri) != NULL
                           || hsm_uri_pin_source(uri) != NULL);
}

hsm_rc hsm_pin_find(const struct hsm_cred *cred,
                    const struct hsm_identity *token,
                    struct hsm_secret **out)
{
    if (cred != NULL && cred->known != NULL) {
        return pin_copy(cred->known, out);
    }
    if (cred != NULL && uri_has_pin(cred->uri)) {
        return pin_from_uri(cred->uri, out);
    }
    if (cred != NULL && cred->setting != NULL) {
        return hsm_pin_read_source(cred->setting, true, out);
    }
    if (cred != NULL && cred->prompt != NULL) {
        return hsm_pin_ask(cred, token->label, out);
    }
    *out = NULL;
    return HSM_OK;
}

bool hsm_pin_is_at_hand(const struct hsm_cred *cred)
{
    return cred != NULL && (cred->known != NULL || uri_has_pin(cred->uri)
                            || cred->setting != NULL);
}
