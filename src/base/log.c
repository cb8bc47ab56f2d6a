/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/buf.h"

#define LINE_MAX_BYTES 2048

/*
 * All state is atomic and nothing is locked: a line may be written at any
 * moment, even between fork() and the child's own handlers.
 */
static atomic_int max_level = HSM_LOG_OFF;
static atomic_int sink_fd = -1;         /* where lines go */
static atomic_int file_fd = -1;         /* ours; never closed, but replaced */
/* What file_fd was when we had it: applications close all descriptors they
 * do not know, and then the number may be one of theirs. */
static _Atomic uintmax_t file_dev;
static _Atomic uintmax_t file_ino;

static const char *const level_names[] = { "off", "warn", "info", "call" };

/* --- writing --- */

bool hsm_log_is_on(enum hsm_log_level level)
{
    return (int)level <=
           atomic_load_explicit(&max_level, memory_order_relaxed);
}

static bool is_our_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_dev == atomic_load(&file_dev) &&
           st.st_ino == atomic_load(&file_ino);
}

/*
 * UTC by arithmetic, with years that begin in March, so that the leap day is
 * the last: gmtime_r() takes a lock that a forked child may find taken.
 */
static int put_time(char *line, size_t size)
{
    struct timespec now = { 0, 0 };
    unsigned long secs, days, era_day, year, year_day, month;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    secs = (unsigned long)now.tv_sec % 86400u;
    days = (unsigned long)now.tv_sec / 86400u + 719468u;
    era_day = days % 146097u;
    year = (era_day - era_day / 1460u + era_day / 36524u -
            era_day / 146096u) / 365u;
    year_day = era_day - (365u * year + year / 4u - year / 100u);
    month = (5u * year_day + 2u) / 153u;
    year += days / 146097u * 400u + (month >= 10u ? 1u : 0u);
    return snprintf(line, size, "%04lu-%02lu-%02luT%02lu:%02lu:%02lu.%06luZ",
                    year, month < 10u ? month + 3u : month - 9u,
                    year_day - (153u * month + 2u) / 5u + 1u, secs / 3600u,
                    secs / 60u % 60u, secs % 60u,
                    (unsigned long)now.tv_nsec / 1000u);
}

/* Labels come from tokens: they may not break a line or move a cursor. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20u || *text == 0x7f) {
            *text = '?';
        }
    }
}

static void write_line(const char *line, size_t len)
{
    int fd = atomic_load(&sink_fd);
    ssize_t n;

    if (fd < 0 || (fd != STDERR_FILENO && !is_our_file(fd))) {
        return;
    }
    do {
        n = write(fd, line, len);
    } while (n < 0 && errno == EINTR);
}

void hsm_log(enum hsm_log_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    int saved_errno = errno;
    size_t at;
    va_list ap;

    if (level == HSM_LOG_OFF || !hsm_log_is_on(level)) {
        return;
    }
    at = (size_t)put_time(line, sizeof(line));
    at += (size_t)snprintf(line + at, sizeof(line) - at, " %ld/%ld %s: ",
                           (long)getpid(), (long)gettid(),
                           level_names[level]);
    errno = saved_errno;                        /* for %m */
    va_start(ap, fmt);
    (void)vsnprintf(line + at, sizeof(line) - 1 - at, fmt, ap);
    va_end(ap);
    make_printable(line + at);
    at = strlen(line);
    line[at++] = '\n';
    write_line(line, at);
    errno = saved_errno;
}

/* --- opening --- */

/* "1" and up, decimal; others use larger numbers for more words. */
static bool read_level(const char *text, int *level)
{
    size_t len = strspn(text, "0123456789");

    if (len == 0 || text[len] != '\0' || text[0] == '0') {
        return false;
    }
    *level = len == 1 && text[0] < '0' + HSM_LOG_CALL ? text[0] - '0'
                                                       : HSM_LOG_CALL;
    return true;
}

/* file:PATH[,level:N]: where PATH is, how long, and the level. */
static bool parse_spec(const char *spec, const char **path, size_t *path_len,
                       int *level)
{
    static const char file[] = "file:";
    static const char lvl[] = ",level:";
    const char *begin;
    const char *comma;

    if (strncmp(spec, file, strlen(file)) != 0) {
        return false;
    }
    begin = spec + strlen(file);
    comma = strrchr(begin, ',');
    *level = HSM_LOG_WARN;
    /* A path with a comma has to be followed by a level: otherwise a
     * misspelt one would become part of a file's name. */
    if (comma != NULL && (strncmp(comma, lvl, strlen(lvl)) != 0 ||
                          !read_level(comma + strlen(lvl), level))) {
        return false;
    }
    *path = begin;
    *path_len = comma != NULL ? (size_t)(comma - begin) : strlen(begin);
    return *path_len > 0;
}

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
                  S_IRUSR | S_IWUSR);
    int low = fd;

    if (fd >= 0 && fd <= STDERR_FILENO) {
        /* The application has no standard streams; it will not expect that
         * what it prints goes here. */
        fd = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        (void)close(low);
    }
    return fd;
}

/*
 * Makes fd the file of the log. The descriptor of before keeps its number, as
 * another thread may be about to write to it, and gets the new file.
 */
static int adopt(int fd)
{
    struct stat st;
    int old = -1;
    bool replaced = false;

    if (!atomic_compare_exchange_strong(&file_fd, &old, fd) &&
        is_our_file(old)) {
        replaced = dup3(fd, old, O_CLOEXEC) >= 0;
    }
    if (fstat(fd, &st) == 0) {
        atomic_store(&file_dev, (uintmax_t)st.st_dev);
        atomic_store(&file_ino, (uintmax_t)st.st_ino);
    }
    if (replaced) {
        (void)close(fd);
        return old;
    }
    atomic_store(&file_fd, fd);
    return fd;
}

static hsm_rc open_path(const char *path, int *fd)
{
    if (strcmp(path, "stderr") == 0 || strcmp(path, "/dev/stderr") == 0) {
        *fd = STDERR_FILENO;
        return HSM_OK;
    }
    *fd = open_file(path);
    if (*fd < 0) {
        return hsm_fail(HSM_E_SETTING, "hsm_log_open",
                        "debug log \"%.200s\" cannot be opened for "
                        "appending: %s",
                        path, strerror(errno));
    }
    *fd = adopt(*fd);
    return HSM_OK;
}

hsm_rc hsm_log_open(const char *spec)
{
    hsm_auto_str path = NULL;
    const char *begin = NULL;
    size_t len = 0;
    int level = HSM_LOG_OFF;
    int fd = -1;

    if (spec == NULL || !parse_spec(spec, &begin, &len, &level)) {
        return hsm_fail(HSM_E_SETTING, "hsm_log_open",
                        "debug log \"%.200s\": write file:PATH,level:N with "
                        "N 1 (warnings), 2 (events) or 3 (every call)",
                        spec != NULL ? spec : "");
    }
    path = strndup(begin, len);
    if (path == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_log_open");
    }
    TRY(open_path(path, &fd));
    atomic_store(&sink_fd, fd);
    atomic_store(&max_level, level);
    return HSM_OK;
}
