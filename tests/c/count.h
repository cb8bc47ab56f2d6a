/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the counting module share: the functions of PKCS#11 2.40
 * and how the faults that are asked for get between caller and module.
 */
#ifndef TESTS_COUNT_H
#define TESTS_COUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <p11-kit/pkcs11.h>

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

extern const char *const count_names[COUNT_N];

/* The index of the function whose name these len characters are; COUNT_N:
 * there is none. */
size_t count_index_of(const char *name, size_t len);
/* Ends the process: a recipe asks for something that cannot be had. */
void count_refuse(const char *variable, const char *text)
    __attribute__((noreturn));
/* As abort(), which leaves no core: it is what a recipe asked for. */
void count_abort(void) __attribute__((noreturn));

/* As getenv(), but what the module's own settings say (count_module.c) goes
 * before. */
char *count_env(const char *name);
/* Counts one call more. */
void count_call(enum count_index which);

/* ---- count_pace.c: how long calls take ---- */

struct count_flight {
    _Atomic uint32_t now;
    _Atomic uint32_t most;
};

/* shared: one for each function, or NULL. */
void count_pace_read(struct count_flight *shared);
/* Around each call. */
void count_pace_begin(enum count_index which);
void count_pace_end(enum count_index which);

/* ---- count_fault.c: calls that fail ---- */

struct count_fault {
    CK_RV rv;                   /* CKR_OK: none */
    bool late;                  /* when the module has done its work */
};

void count_fault_read(void);
/* Of this call, which is counted here too: this process's n-th. Aborts where
 * COUNT_OWNER says so. */
struct count_fault count_fault_next(enum count_index which);

/* ---- count_lie.c: results that are not the module's ---- */

void count_lie_read(void);
/* Puts its own functions into the list, in front of those in it, which call
 * the real module's. */
void count_lie_install(CK_FUNCTION_LIST *list, const CK_FUNCTION_LIST *real);
/* What this function hands out is to be a NULL. */
bool count_lie_tells_null(enum count_index function);

/* ---- count_x931.c: a mechanism that the module has not ---- */

/* Likewise, where COUNT_X931 is set. */
void count_x931_install(CK_FUNCTION_LIST *list, const CK_FUNCTION_LIST *real);

/* ---- count_device.c: a token that comes and goes ---- */

/* What a call says because the token is not there; CKR_OK: it is. */
CK_RV count_device_next(enum count_index which);
/* As count_lie_install(), in front of that. */
void count_device_install(CK_FUNCTION_LIST *list,
                          const CK_FUNCTION_LIST *real);

#endif
