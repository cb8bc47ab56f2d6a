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
 *
 * in the order of CK_FUNCTION_LIST. A file that is shorter is made longer and
 * filled in; counts that it has stay. COUNT_LATENCY_US delays each call but
 * C_GetFunctionList. Without COUNT_FILE nothing is counted.
 *
 * What the real module does not do by itself can be had too:
 *      COUNT_FLAGS         CKF_ bits that every token shows besides its own
 *      COUNT_FAIL          NAME=CKR NAME=CKR …: these fail, and go no further
 *      COUNT_KEYPAD_PIN    C_Login without a PIN sends this one, as if it had
 *                          been typed at the device; one with a PIN fails
 *      COUNT_MECHANISMS    the mechanisms, as numbers, that tokens have: others
 *                          are neither listed nor taken by C_SignInit
 *      COUNT_INIT_ARGS     goes to C_Initialize where the caller has no text
 * Numbers as strtoul() reads them.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>
#include <pthread.h>

#define COUNT_MAGIC UINT64_C(0x31544e554f433131)    /* "11COUNT1" */

/* X(name, parameters, arguments): the functions of PKCS#11 2.40. */
#define COUNT_GENERAL(X) \
    X(C_Initialize, (void *a), (a)) \
    X(C_Finalize, (void *a), (a)) \
    X(C_GetInfo, (CK_INFO *a), (a)) \
    X(C_GetSlotList, (CK_BBOOL a, CK_SLOT_ID *b, CK_ULONG *c), (a, b, c)) \
    X(C_GetSlotInfo, (CK_SLOT_ID a, CK_SLOT_INFO *b), (a, b)) \
    X(C_GetTokenInfo, (CK_SLOT_ID a, CK_TOKEN_INFO *b), (a, b)) \
    X(C_GetMechanismList, (CK_SLOT_ID a, CK_MECHANISM_TYPE *b, CK_ULONG *c), \
      (a, b, c)) \
    X(C_GetMechanismInfo, \
      (CK_SLOT_ID a, CK_MECHANISM_TYPE b, CK_MECHANISM_INFO *c), (a, b, c)) \
    X(C_InitToken, (CK_SLOT_ID a, CK_BYTE *b, CK_ULONG c, CK_BYTE *d), \
      (a, b, c, d)) \
    X(C_WaitForSlotEvent, (CK_FLAGS a, CK_SLOT_ID *b, void *c), (a, b, c)) \
    X(C_OpenSession, \
      (CK_SLOT_ID a, CK_FLAGS b, void *c, CK_NOTIFY d, \
       CK_SESSION_HANDLE *e), (a, b, c, d, e)) \
    X(C_CloseAllSessions, (CK_SLOT_ID a), (a))

/* Those whose first parameter is a session, which is not repeated here. */
#define COUNT_SESSION(X) \
    X(C_InitPIN, (S, CK_BYTE *a, CK_ULONG b), (s, a, b)) \
    X(C_SetPIN, (S, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG d), \
      (s, a, b, c, d)) \
    X(C_CloseSession, (S), (s)) \
    X(C_GetSessionInfo, (S, CK_SESSION_INFO *a), (s, a)) \
    X(C_GetOperationState, (S, CK_BYTE *a, CK_ULONG *b), (s, a, b)) \
    X(C_SetOperationState, \
      (S, CK_BYTE *a, CK_ULONG b, CK_OBJECT_HANDLE c, CK_OBJECT_HANDLE d), \
      (s, a, b, c, d)) \
    X(C_Login, (S, CK_USER_TYPE a, CK_BYTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_Logout, (S), (s)) \
    X(C_CreateObject, (S, CK_ATTRIBUTE *a, CK_ULONG b, CK_OBJECT_HANDLE *c), \
      (s, a, b, c)) \
    X(C_CopyObject, \
      (S, CK_OBJECT_HANDLE a, CK_ATTRIBUTE *b, CK_ULONG c, \
       CK_OBJECT_HANDLE *d), (s, a, b, c, d)) \
    X(C_DestroyObject, (S, CK_OBJECT_HANDLE a), (s, a)) \
    X(C_GetObjectSize, (S, CK_OBJECT_HANDLE a, CK_ULONG *b), (s, a, b)) \
    X(C_GetAttributeValue, \
      (S, CK_OBJECT_HANDLE a, CK_ATTRIBUTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_SetAttributeValue, \
      (S, CK_OBJECT_HANDLE a, CK_ATTRIBUTE *b, CK_ULONG c), (s, a, b, c)) \
    X(C_FindObjectsInit, (S, CK_ATTRIBUTE *a, CK_ULONG b), (s, a, b)) \
    X(C_FindObjects, (S, CK_OBJECT_HANDLE *a, CK_ULONG b, CK_ULONG *c), \
      (s, a, b, c)) \
    X(C_FindObjectsFinal, (S), (s)) \
    X(C_EncryptInit, INIT, (s, m, k)) \
    X(C_Encrypt, INOUT, (s, a, b, c, d)) \
    X(C_EncryptUpdate, INOUT, (s, a, b, c, d)) \
    X(C_EncryptFinal, OUT, (s, c, d)) \
    X(C_DecryptInit, INIT, (s, m, k)) \
    X(C_Decrypt, INOUT, (s, a, b, c, d)) \
    X(C_DecryptUpdate, INOUT, (s, a, b, c, d)) \
    X(C_DecryptFinal, OUT, (s, c, d)) \
    X(C_DigestInit, (S, CK_MECHANISM *a), (s, a)) \
    X(C_Digest, INOUT, (s, a, b, c, d)) \
    X(C_DigestUpdate, IN, (s, a, b)) \
    X(C_DigestKey, (S, CK_OBJECT_HANDLE a), (s, a)) \
    X(C_DigestFinal, OUT, (s, c, d)) \
    X(C_SignInit, INIT, (s, m, k)) \
    X(C_Sign, INOUT, (s, a, b, c, d)) \
    X(C_SignUpdate, IN, (s, a, b)) \
    X(C_SignFinal, OUT, (s, c, d)) \
    X(C_SignRecoverInit, INIT, (s, m, k)) \
    X(C_SignRecover, INOUT, (s, a, b, c, d)) \
    X(C_VerifyInit, INIT, (s, m, k)) \
    X(C_Verify, (S, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG d), \
      (s, a, b, c, d)) \
    X(C_VerifyUpdate, IN, (s, a, b)) \
    X(C_VerifyFinal, IN, (s, a, b)) \
    X(C_VerifyRecoverInit, INIT, (s, m, k)) \
    X(C_VerifyRecover, INOUT, (s, a, b, c, d)) \
    X(C_DigestEncryptUpdate, INOUT, (s, a, b, c, d)) \
    X(C_DecryptDigestUpdate, INOUT, (s, a, b, c, d)) \
    X(C_SignEncryptUpdate, INOUT, (s, a, b, c, d)) \
    X(C_DecryptVerifyUpdate, INOUT, (s, a, b, c, d)) \
    X(C_GenerateKey, \
      (S, CK_MECHANISM *a, CK_ATTRIBUTE *b, CK_ULONG c, \
       CK_OBJECT_HANDLE *d), (s, a, b, c, d)) \
    X(C_GenerateKeyPair, \
      (S, CK_MECHANISM *a, CK_ATTRIBUTE *b, CK_ULONG c, CK_ATTRIBUTE *d, \
       CK_ULONG e, CK_OBJECT_HANDLE *f, CK_OBJECT_HANDLE *g), \
      (s, a, b, c, d, e, f, g)) \
    X(C_WrapKey, \
      (S, CK_MECHANISM *a, CK_OBJECT_HANDLE b, CK_OBJECT_HANDLE c, \
       CK_BYTE *d, CK_ULONG *e), (s, a, b, c, d, e)) \
    X(C_UnwrapKey, \
      (S, CK_MECHANISM *a, CK_OBJECT_HANDLE b, CK_BYTE *c, CK_ULONG d, \
       CK_ATTRIBUTE *e, CK_ULONG f, CK_OBJECT_HANDLE *g), \
      (s, a, b, c, d, e, f, g)) \
    X(C_DeriveKey, \
      (S, CK_MECHANISM *a, CK_OBJECT_HANDLE b, CK_ATTRIBUTE *c, CK_ULONG d, \
       CK_OBJECT_HANDLE *e), (s, a, b, c, d, e)) \
    X(C_SeedRandom, IN, (s, a, b)) \
    X(C_GenerateRandom, IN, (s, a, b)) \
    X(C_GetFunctionStatus, (S), (s)) \
    X(C_CancelFunction, (S), (s))

/* Parameter lists that many functions share. */
#define S CK_SESSION_HANDLE s
#define INIT (S, CK_MECHANISM *m, CK_OBJECT_HANDLE k)
#define IN (S, CK_BYTE *a, CK_ULONG b)
#define OUT (S, CK_BYTE *c, CK_ULONG *d)
#define INOUT (S, CK_BYTE *a, CK_ULONG b, CK_BYTE *c, CK_ULONG *d)

#define COUNT_ALL(X) COUNT_GENERAL(X) COUNT_SESSION(X)

enum count_index {
    COUNT_C_GetFunctionList,
#define X(name, params, args) COUNT_##name,
    COUNT_ALL(X)
#undef X
};
#define COUNT_N (COUNT_C_CancelFunction + 1)

static const char *const count_names[COUNT_N] = {
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
};

static pthread_once_t count_once = PTHREAD_ONCE_INIT;
static CK_FUNCTION_LIST *count_real;
static struct count_file *count_map;
static long count_latency_us;
static CK_FLAGS count_flags;
static CK_RV count_fail[COUNT_N];
static const char *count_keypad_pin;
static const char *count_mechanisms;
static char *count_init_args;

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

/* "C_Login=0xa4 C_Sign=0x30" */
static void count_read_failures(const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, "=");
        size_t i = 0;
        char *end = NULL;

        while (i < COUNT_N - 1 && (strncmp(count_names[i], text, len) != 0
                                   || count_names[i][len] != '\0')) {
            i++;
        }
        if (strncmp(count_names[i], text, len) != 0 || text[len] != '=') {
            fprintf(stderr, "count-pkcs11: bad COUNT_FAIL at %s\n", text);
            _exit(99);
        }
        count_fail[i] = strtoul(text + len + 1, &end, 0);
        text = end + strspn(end, " ");
    }
}

static void count_read_environment(void)
{
    const char *latency = getenv("COUNT_LATENCY_US");
    const char *flags = getenv("COUNT_FLAGS");

    count_latency_us = latency != NULL ? strtol(latency, NULL, 10) : 0;
    count_flags = flags != NULL ? strtoul(flags, NULL, 0) : 0;
    count_keypad_pin = getenv("COUNT_KEYPAD_PIN");
    count_mechanisms = getenv("COUNT_MECHANISMS");
    count_init_args = getenv("COUNT_INIT_ARGS");
    count_read_failures(getenv("COUNT_FAIL"));
}

static void count_setup(void)
{
    const char *path = getenv("COUNT_MODULE");
    const char *file = getenv("COUNT_FILE");
    CK_C_GetFunctionList get = NULL;
    void *handle = NULL;

    if (path == NULL) {
        fprintf(stderr, "count-pkcs11: COUNT_MODULE is not set\n");
        return;
    }
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
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
    count_read_environment();
}

static void count_one(enum count_index which)
{
    struct timespec pause = {
        .tv_sec = count_latency_us / 1000000,
        .tv_nsec = count_latency_us % 1000000 * 1000,
    };

    if (count_map != NULL) {
        atomic_fetch_add(&count_map->row[which].calls, 1);
    }
    if (count_latency_us > 0 && which != COUNT_C_GetFunctionList) {
        nanosleep(&pause, NULL);
    }
}

#define X(name, params, args) \
    static CK_RV count_##name params \
    { \
        count_one(COUNT_##name); \
        if (count_fail[COUNT_##name] != CKR_OK) { \
            return count_fail[COUNT_##name]; \
        } \
        return count_real->name args; \
    }
COUNT_ALL(X)
#undef X

static CK_RV count_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = count_C_GetTokenInfo(slot, info);

    if (rv == CKR_OK) {
        info->flags |= count_flags;
    }
    return rv;
}

static CK_RV count_login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin,
                         CK_ULONG len)
{
    CK_BYTE typed[64];
    size_t n;

    if (count_keypad_pin == NULL) {
        return count_C_Login(s, user, pin, len);
    }
    n = strlen(count_keypad_pin);
    if (pin != NULL || n > sizeof(typed)) {
        count_one(COUNT_C_Login);
        return CKR_ARGUMENTS_BAD;
    }
    memcpy(typed, count_keypad_pin, n);
    return count_C_Login(s, user, typed, n);
}

static CK_RV count_initialize(void *given)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };

    if (count_init_args == NULL) {
        return count_C_Initialize(given);
    }
    if (given != NULL) {
        memcpy(&args, given, sizeof(args));
    }
    if (args.pReserved == NULL) {
        args.pReserved = (void *)count_init_args;
    }
    return count_C_Initialize(&args);
}

static int count_has_mechanism(CK_MECHANISM_TYPE type)
{
    const char *at = count_mechanisms;
    char *end = NULL;

    while (at != NULL && *at != '\0') {
        if (strtoul(at, &end, 0) == type) {
            return 1;
        }
        at = end == at ? "" : end;
    }
    return count_mechanisms == NULL;
}

static CK_RV count_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list,
                                  CK_ULONG *n)
{
    CK_RV rv = count_C_GetMechanismList(slot, list, n);
    CK_ULONG kept = 0;

    if (rv != CKR_OK || list == NULL) {
        return rv;
    }
    for (CK_ULONG i = 0; i < *n; i++) {
        if (count_has_mechanism(list[i])) {
            list[kept++] = list[i];
        }
    }
    *n = kept;
    return CKR_OK;
}

static CK_RV count_sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *mechanism,
                             CK_OBJECT_HANDLE key)
{
    if (mechanism != NULL && !count_has_mechanism(mechanism->mechanism)) {
        count_one(COUNT_C_SignInit);
        return CKR_MECHANISM_INVALID;
    }
    return count_C_SignInit(s, mechanism, key);
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

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    pthread_once(&count_once, count_setup);
    if (count_real == NULL) {
        return CKR_GENERAL_ERROR;
    }
    if (list == NULL) {
        return CKR_ARGUMENTS_BAD;
    }
    count_one(COUNT_C_GetFunctionList);
    count_list.C_GetTokenInfo = count_token_info;
    count_list.C_Login = count_login;
    count_list.C_Initialize = count_initialize;
    count_list.C_GetMechanismList = count_mechanism_list;
    count_list.C_SignInit = count_sign_init;
    *list = &count_list;
    return CKR_OK;
}
