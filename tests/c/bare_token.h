/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module, and a token of it, by nothing but Cryptoki: for programs that put
 * objects on a token, or look at what is there, behind our back.
 */
#ifndef TESTS_BARE_TOKEN_H
#define TESTS_BARE_TOKEN_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "src/base/cryptoki.h"

#define BARE_SLOTS_MAX 64

struct bare_token {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
};

/* Says what failed, by the name of the function. */
static inline bool bare_said(const char *what, CK_RV rv)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "%s: 0x%lx\n", what, rv);
    }
    return rv == CKR_OK;
}

/* The functions of a module's file, which may be open already; or NULL. */
static inline CK_FUNCTION_LIST *bare_functions(const char *file)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_FUNCTION_LIST *f = NULL;

    if (handle != NULL) {
        *(void **)&get = dlsym(handle, "C_GetFunctionList");
    }
    if (get == NULL || get(&f) != CKR_OK) {
        fprintf(stderr, "%s: no module\n", file);
        return NULL;
    }
    return f;
}

/* [PKCS#11 2.40, 3.2] A label is padded with blanks. */
static inline bool bare_find_slot(CK_FUNCTION_LIST *f, const char *label,
                                  CK_SLOT_ID *out)
{
    CK_SLOT_ID slots[BARE_SLOTS_MAX];
    CK_ULONG n = BARE_SLOTS_MAX;
    CK_TOKEN_INFO info;
    char padded[sizeof(info.label) + 1];

    (void)snprintf(padded, sizeof(padded), "%-32s", label);
    if (!bare_said("C_GetSlotList", f->C_GetSlotList(CK_TRUE, slots, &n))) {
        return false;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK
            && memcmp(info.label, padded, sizeof(info.label)) == 0) {
            *out = slots[i];
            return true;
        }
    }
    fprintf(stderr, "%s: no such token\n", label);
    return false;
}

/*
 * A session of the user's. The names are a program's arguments: the module's
 * file, the token's label, the PIN. more: CKF_RW_SESSION or 0. The session is
 * open until C_Finalize or the end of the process.
 */
static inline bool bare_open(struct bare_token *t, char *const names[3],
                             CK_FLAGS more)
{
    CK_SLOT_ID slot = 0;

    t->f = bare_functions(names[0]);
    return t->f != NULL && bare_said("C_Initialize", t->f->C_Initialize(NULL))
        && bare_find_slot(t->f, names[1], &slot)
        && bare_said("C_OpenSession",
                     t->f->C_OpenSession(slot, CKF_SERIAL_SESSION | more, NULL,
                                         NULL, &t->session))
        && bare_said("C_Login",
                     t->f->C_Login(t->session, CKU_USER,
                                   (CK_UTF8CHAR *)names[2], strlen(names[2])));
}

#endif
