/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: fill_key MODULE TOKEN PIN OBJECTS
 *
 * Copies the objects labelled "copied" of a token, which are a key pair, as
 * often as it takes to make so many more, each pair with a label and CKA_ID of
 * its own. By the module alone: pkcs11-tool would be started for each.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/cryptoki.h"

#define SLOTS_MAX 16

static bool said(const char *what, CK_RV rv)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "fill_key: %s: 0x%lx\n", what, rv);
    }
    return rv == CKR_OK;
}

static CK_FUNCTION_LIST *functions(const char *module)
{
    union {
        void *p;
        CK_RV (*get)(CK_FUNCTION_LIST **list);
    } u = { .p = NULL };
    CK_FUNCTION_LIST *f = NULL;
    void *dl = dlopen(module, RTLD_NOW);

    u.p = dl != NULL ? dlsym(dl, "C_GetFunctionList") : NULL;
    if (u.p == NULL || u.get(&f) != CKR_OK) {
        fprintf(stderr, "fill_key: %s is no module\n", module);
        return NULL;
    }
    return f;
}

static bool open_token(CK_FUNCTION_LIST *f, const char *label, char *pin,
                       CK_SESSION_HANDLE *out)
{
    CK_SLOT_ID slot[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;
    CK_TOKEN_INFO info;
    size_t len = strlen(label);

    if (!said("C_Initialize", f->C_Initialize(NULL))
        || !said("C_GetSlotList", f->C_GetSlotList(CK_TRUE, slot, &n))) {
        return false;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        if (f->C_GetTokenInfo(slot[i], &info) == CKR_OK
            && len < sizeof(info.label)
            && memcmp(info.label, label, len) == 0 && info.label[len] == ' ') {
            return said("C_OpenSession",
                        f->C_OpenSession(slot[i], CKF_SERIAL_SESSION
                                         | CKF_RW_SESSION, NULL, NULL, out))
                   && said("C_Login", f->C_Login(*out, CKU_USER,
                                                 (CK_UTF8CHAR *)pin,
                                                 strlen(pin)));
        }
    }
    fprintf(stderr, "fill_key: no token %s\n", label);
    return false;
}

/* Both halves of the pair that is copied. */
static bool find_pair(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE s,
                      CK_OBJECT_HANDLE *pair)
{
    char label[] = "copied";
    CK_ATTRIBUTE a = { CKA_LABEL, label, sizeof(label) - 1 };
    CK_ULONG n = 0;

    return said("C_FindObjectsInit", f->C_FindObjectsInit(s, &a, 1))
           && said("C_FindObjects", f->C_FindObjects(s, pair, 2, &n))
           && said("C_FindObjectsFinal", f->C_FindObjectsFinal(s)) && n == 2;
}

static bool copy_pair(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE s,
                      const CK_OBJECT_HANDLE *pair, unsigned int number)
{
    CK_OBJECT_HANDLE made = 0;
    unsigned char id[3] = { 0xf1, (unsigned char)(number >> 8),
                            (unsigned char)number };
    char label[20];
    CK_ATTRIBUTE a[] = { { CKA_LABEL, label, 0 },
                         { CKA_ID, id, sizeof(id) } };

    snprintf(label, sizeof(label), "copy %u", number);
    a[0].ulValueLen = strlen(label);
    return said("C_CopyObject", f->C_CopyObject(s, pair[0], a, 2, &made))
           && said("C_CopyObject", f->C_CopyObject(s, pair[1], a, 2, &made));
}

int main(int argc, char **argv)
{
    CK_FUNCTION_LIST *f = argc == 5 ? functions(argv[1]) : NULL;
    CK_SESSION_HANDLE s = 0;
    CK_OBJECT_HANDLE pair[2];
    bool good = f != NULL && open_token(f, argv[2], argv[3], &s)
                && find_pair(f, s, pair);
    unsigned int pairs = good
        ? (unsigned int)strtoul(argv[4], NULL, 10) / 2 : 0;

    for (unsigned int i = 0; i < pairs && good; i++) {
        good = copy_pair(f, s, pair, i);
    }
    return good && said("C_Finalize", f->C_Finalize(NULL)) ? 0 : 1;
}
