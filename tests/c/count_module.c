/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS#11 module that counts: every function is forwarded to the module
 * that COUNT_MODULE names, and counted in the file that COUNT_FILE names.
 *
 * The file is mapped MAP_SHARED, so that children and other processes count
 * into the same numbers. Layout, in the byte order of the machine:
 *
 *      offset 0    uint64_t magic          COUNT_MAGIC
 *      offset 8    uint64_t n              functions that follow
 *      offset 16   struct { char name[56]; uint64_t calls; } [n]
 *      behind it   struct { uint32_t now; uint32_t most; } [n]
 *      behind that uint64_t vain           [n]
 *
 * in the order of CK_FUNCTION_LIST; the second is what count_pace.c tells of,
 * the last how many of the calls said that they failed, or found nothing. A
 * file that is shorter is made longer and filled in; counts that it has stay.
 * Without COUNT_FILE nothing is counted; with COUNT_PARENT only what is called
 * by the process that opened the module, not by those that it forked.
 * COUNT_APART loads the real module with libraries of its own, so that it has
 * another libcrypto than the application, as if it lived in another process.
 *
 * What the real module does not do by itself can be had too, by what
 * count_pace.c, count_fault.c, count_lie.c and count_device.c read from the
 * environment; numbers as strtoul() reads them. Where a process has several
 * such modules, each has settings of its own: lines NAME=VALUE in a file beside
 * it, of its name and ".env".
 */
#include "tests/c/count.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pthread.h>

/* Thread-specific keys that an application has at most. */
#define COUNT_KEYS 512

#define COUNT_MAGIC UINT64_C(0x31544e554f433131)    /* "11COUNT1" */

const char *const count_names[COUNT_N] = {
    [COUNT_C_GetFunctionList] = "C_GetFunctionList",
#define X(name, params, args) [COUNT_##name] = #name,
    COUNT_ALL(X)
#undef X
};

struct count_row {
    char name[56];
    _Atomic uint64_t calls;
};

struct count_file {
    uint64_t magic;
    uint64_t n;
    struct count_row row[COUNT_N];
    struct count_flight flight[COUNT_N];
    _Atomic uint64_t vain[COUNT_N];
};

static pthread_once_t count_once = PTHREAD_ONCE_INIT;
static CK_FUNCTION_LIST *count_real;
static struct count_file *count_map;
static pid_t count_parent;             /* 0: everyone counts */
static char count_own[4096];           /* NAME=VALUE, '\0' each */

static void count_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

    if (fd < 0 || ftruncate(fd, sizeof(struct count_file)) != 0) {
        perror(path);
        _exit(99);
    }
    count_map = mmap(NULL, sizeof(struct count_file), PROT_READ | PROT_WRITE,
                     MAP_SHARED, fd, 0);
    close(fd);
    if (count_map == MAP_FAILED) {
        perror(path);
        _exit(99);
    }
    for (size_t i = 0; i < COUNT_N; i++) {
        snprintf(count_map->row[i].name, sizeof(count_map->row[i].name), "%s",
                 count_names[i]);
    }
    count_map->n = COUNT_N;
    count_map->magic = COUNT_MAGIC;
}

size_t count_index_of(const char *name, size_t len)
{
    size_t i = 0;

    while (i < COUNT_N && (strncmp(count_names[i], name, len) != 0
                           || count_names[i][len] != '\0')) {
        i++;
    }
    return i;
}

void count_refuse(const char *variable, const char *text)
{
    fprintf(stderr, "count-pkcs11: bad %s at %s\n", variable, text);
    _exit(99);
}

void count_abort(void)
{
    const struct rlimit none = { 0, 0 };

    setrlimit(RLIMIT_CORE, &none);
    abort();
}

/* Each line ends as a string does. */
static void read_own(void)
{
    char path[4096];
    size_t n = 0;
    Dl_info self;
    FILE *in = NULL;

    if (dladdr(count_names, &self) != 0 && self.dli_fname != NULL) {
        snprintf(path, sizeof(path), "%s.env", self.dli_fname);
        in = fopen(path, "re");
    }
    if (in != NULL) {
        n = fread(count_own, 1, sizeof(count_own) - 2, in);
        fclose(in);
    }
    for (size_t i = 0; i < n; i++) {
        if (count_own[i] == '\n') {
            count_own[i] = '\0';
        }
    }
}

char *count_env(const char *name)
{
    size_t len = strlen(name);

    for (char *at = count_own; *at != '\0'; at += strlen(at) + 1) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            return at + len + 1;
        }
    }
    return getenv(name);
}

/* This process's calls are counted. */
static bool is_counted(void)
{
    return count_map != NULL
        && (count_parent == 0 || count_parent == getpid());
}

void count_call(enum count_index which)
{
    if (is_counted()) {
        atomic_fetch_add(&count_map->row[which].calls, 1);
    }
    count_pace_begin(which);
}

/* An answer that lacks something, as one to many questions at once may. */
static bool is_answer(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID
        || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_BUFFER_TOO_SMALL;
}

/* The call has had this result, which is handed on. */
static CK_RV count_result(enum count_index which, CK_RV rv)
{
    if (!is_answer(rv) && is_counted()) {
        atomic_fetch_add(&count_map->vain[which], 1);
    }
    return rv;
}

#define X(name, params, args) \
    static CK_RV count_##name params \
    { \
        struct count_fault fault; \
        CK_RV rv = CKR_OK; \
        count_call(COUNT_##name); \
        fault = count_fault_next(COUNT_##name); \
        if (fault.rv == CKR_OK) { \
            fault.rv = count_device_next(COUNT_##name); \
        } \
        if (fault.rv == CKR_OK || fault.late) { \
            rv = count_real->name args; \
        } \
        count_pace_end(COUNT_##name); \
        return count_result(COUNT_##name, \
                            fault.rv != CKR_OK ? fault.rv : rv); \
    }
COUNT_ALL(X)
#undef X

/* A search that finds nothing is one in vain, too. */
static CK_RV count_found(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *a, CK_ULONG b,
                         CK_ULONG *n)
{
    CK_RV rv = count_C_FindObjects(s, a, b, n);

    if (rv == CKR_OK && *n == 0 && is_counted()) {
        atomic_fetch_add(&count_map->vain[COUNT_C_FindObjects], 1);
    }
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
    __attribute__((visibility("default")));

static CK_FUNCTION_LIST count_list = {
    .version = { 2, 40 },
    .C_GetFunctionList = C_GetFunctionList,
#define X(name, params, args) .name = count_##name,
    COUNT_ALL(X)
#undef X
};

/*
 * With libraries of its own. Those have a libc of their own too, which numbers
 * its thread-specific keys from 0 as the application's does, while both keep
 * the values in one place, the thread: it is made to begin further up.
 */
static void *open_apart(const char *path)
{
    int (*create)(pthread_key_t *, void (*)(void *)) = NULL;
    void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    pthread_key_t key;
    Lmid_t space;

    if (libc == NULL || dlinfo(libc, RTLD_DI_LMID, &space) != 0) {
        return NULL;
    }
    *(void **)&create = dlsym(libc, "pthread_key_create");
    for (int i = 0; i < COUNT_KEYS && create != NULL; i++) {
        (void)create(&key, NULL);
    }
    return dlmopen(space, path, RTLD_NOW);
}

static void count_setup(void)
{
    const char *path = NULL;
    const char *file = NULL;
    const char *apart = NULL;
    CK_C_GetFunctionList get = NULL;
    void *handle = NULL;

    read_own();
    path = count_env("COUNT_MODULE");
    file = count_env("COUNT_FILE");
    apart = count_env("COUNT_APART");
    if (path == NULL) {
        fprintf(stderr, "count-pkcs11: COUNT_MODULE is not set\n");
        return;
    }
    handle = apart != NULL ? open_apart(path)
        : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "count-pkcs11: %s\n", dlerror());
        return;
    }
    *(void **)&get = dlsym(handle, "C_GetFunctionList");
    if (get == NULL || get(&count_real) != CKR_OK) {
        fprintf(stderr, "count-pkcs11: %s is no PKCS#11 module\n", path);
        count_real = NULL;
        return;
    }
    if (file != NULL) {
        count_open(file);
    }
    count_parent = count_env("COUNT_PARENT") != NULL ? getpid() : 0;
    count_pace_read(count_map != NULL ? count_map->flight : NULL);
    count_fault_read();
    count_lie_read();
    count_list.C_FindObjects = count_found;
    count_lie_install(&count_list, count_real);
    count_device_install(&count_list, count_real);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    struct count_fault fault;

    pthread_once(&count_once, count_setup);
    if (count_real == NULL) {
        return CKR_GENERAL_ERROR;
    }
    if (list == NULL) {
        return CKR_ARGUMENTS_BAD;
    }
    count_call(COUNT_C_GetFunctionList);
    count_pace_end(COUNT_C_GetFunctionList);
    fault = count_fault_next(COUNT_C_GetFunctionList);
    if (fault.rv == CKR_OK || fault.late) {
        *list = count_lie_tells_null(COUNT_C_GetFunctionList) ? NULL
                                                              : &count_list;
    }
    return fault.rv;
}
