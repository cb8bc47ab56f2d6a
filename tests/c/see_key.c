/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: see_key MODULE TOKEN PIN LABEL
 *
 * Says what a token has under that label, by nothing but the module itself:
 * a line for each object, "private EXTRACTABLE=0 …", with the attributes that
 * it tells. Numbers are hexadecimal, lists have commas between them.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define OBJECTS_MAX 16
#define VALUE_MAX 1024

#ifndef CKA_ALLOWED_MECHANISMS
# define CKA_ALLOWED_MECHANISMS (0x40000000UL | 0x600UL)
#endif

enum form { FLAG, TEXT, BYTES, LIST };

static const struct {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    enum form form;
} rows[] = {
    { CKA_LABEL, "LABEL", TEXT },
    { CKA_ID, "ID", BYTES },
    { CKA_TOKEN, "TOKEN", FLAG },
    { CKA_PRIVATE, "PRIVATE", FLAG },
    { CKA_SENSITIVE, "SENSITIVE", FLAG },
    { CKA_EXTRACTABLE, "EXTRACTABLE", FLAG },
    { CKA_ALWAYS_AUTHENTICATE, "ALWAYS_AUTHENTICATE", FLAG },
    { CKA_MODIFIABLE, "MODIFIABLE", FLAG },
    { CKA_COPYABLE, "COPYABLE", FLAG },
    { CKA_DESTROYABLE, "DESTROYABLE", FLAG },
    { CKA_START_DATE, "START_DATE", TEXT },
    { CKA_END_DATE, "END_DATE", TEXT },
    { CKA_ALLOWED_MECHANISMS, "ALLOWED_MECHANISMS", LIST },
    { CKA_SIGN, "SIGN", FLAG },
    { CKA_DECRYPT, "DECRYPT", FLAG },
};

static CK_FUNCTION_LIST *f;

static void show_value(const unsigned char *value, CK_ULONG len,
                       enum form form)
{
    CK_ULONG one;

    for (CK_ULONG i = 0; i < len && form != LIST; i++) {
        printf(form == TEXT ? "%c" : form == FLAG ? "%x" : "%02x", value[i]);
    }
    for (CK_ULONG i = 0; i < len / sizeof(one) && form == LIST; i++) {
        memcpy(&one, value + i * sizeof(one), sizeof(one));
        printf("%s%lx", i > 0 ? "," : "", one);
    }
}

static void show(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    unsigned char value[VALUE_MAX];
    CK_OBJECT_CLASS cls = 0;
    CK_ATTRIBUTE class_of = { CKA_CLASS, &cls, sizeof(cls) };

    if (f->C_GetAttributeValue(s, h, &class_of, 1) != CKR_OK) {
        return;
    }
    printf("%s", cls == CKO_PRIVATE_KEY ? "private"
           : cls == CKO_PUBLIC_KEY ? "public"
           : cls == CKO_CERTIFICATE ? "cert" : "other");
    for (size_t i = 0; i < N(rows); i++) {
        CK_ATTRIBUTE a = { rows[i].type, value, sizeof(value) };

        if (f->C_GetAttributeValue(s, h, &a, 1) != CKR_OK
            || a.ulValueLen > sizeof(value)) {
            continue;
        }
        printf(" %s=", rows[i].name);
        show_value(value, a.ulValueLen, rows[i].form);
    }
    printf("\n");
}

static int find(CK_SESSION_HANDLE s, char *label)
{
    CK_OBJECT_HANDLE found[OBJECTS_MAX];
    CK_ATTRIBUTE a = { CKA_LABEL, label, strlen(label) };
    CK_ULONG n = 0;

    if (f->C_FindObjectsInit(s, &a, 1) != CKR_OK
        || f->C_FindObjects(s, found, OBJECTS_MAX, &n) != CKR_OK
        || f->C_FindObjectsFinal(s) != CKR_OK) {
        return 0;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        show(s, found[i]);
    }
    return 1;
}

static int slot_of(const char *token, CK_SLOT_ID *out)
{
    CK_SLOT_ID slots[OBJECTS_MAX];
    CK_ULONG n = OBJECTS_MAX;

    if (f->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK) {
        return 0;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;

        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK
            && memcmp(info.label, token, strlen(token)) == 0) {
            *out = slots[i];
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    union {
        void *p;
        CK_RV (*f)(CK_FUNCTION_LIST **);
    } get;
    void *module = argc == 5 ? dlopen(argv[1], RTLD_NOW) : NULL;
    CK_SLOT_ID slot = 0;
    CK_SESSION_HANDLE s = 0;

    get.p = module != NULL ? dlsym(module, "C_GetFunctionList") : NULL;
    if (get.p == NULL || get.f(&f) != CKR_OK
        || f->C_Initialize(NULL) != CKR_OK || !slot_of(argv[2], &slot)
        || f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s) != CKR_OK
        || f->C_Login(s, CKU_USER, (CK_UTF8CHAR *)argv[3],
                      strlen(argv[3])) != CKR_OK
        || !find(s, argv[4])) {
        fprintf(stderr, "see_key: cannot look\n");
        return 1;
    }
    return 0;
}
