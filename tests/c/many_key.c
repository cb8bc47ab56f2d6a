/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: many_key MODULE TOKEN PIN CLASS N
 *
 * Puts N objects on a token, by nothing but the module itself: EC keys, private
 * or public, that are all the same one but for CKA_ID and CKA_LABEL.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define SLOTS_MAX 16
#define ADD(type, p, n) tmpl[k++] = (CK_ATTRIBUTE){ (type), (p), (n) }

/* prime256v1, the private key 1, and its public key: the base point, in an
 * OCTET STRING [SEC 2, 2.4.2]. */
static unsigned char curve[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                 0x03, 0x01, 0x07 };
static unsigned char value[32] = { [31] = 1 };
static unsigned char point[] = {
    0x04, 0x41, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8,
    0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d,
    0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c,
    0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb,
    0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5
};

static CK_FUNCTION_LIST *f;

static int put(CK_SESSION_HANDLE s, CK_OBJECT_CLASS cls, unsigned int i)
{
    static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE tmpl[12];
    CK_ULONG k = 0;
    CK_OBJECT_HANDLE h;
    unsigned char id[4] = { 0x77, (unsigned char)cls, (unsigned char)(i >> 8),
                            (unsigned char)i };
    char label[16];

    snprintf(label, sizeof(label), "many %u", i);
    ADD(CKA_CLASS, &cls, sizeof(cls));
    ADD(CKA_KEY_TYPE, &type, sizeof(type));
    ADD(CKA_TOKEN, &yes, sizeof(yes));
    ADD(CKA_ID, id, sizeof(id));
    ADD(CKA_LABEL, label, strlen(label));
    ADD(CKA_EC_PARAMS, curve, sizeof(curve));
    if (cls == CKO_PRIVATE_KEY) {
        ADD(CKA_VALUE, value, sizeof(value));
        ADD(CKA_SIGN, &yes, sizeof(yes));
        /* So that its public half is on it. */
        ADD(CKA_SENSITIVE, &no, sizeof(no));
    } else {
        ADD(CKA_EC_POINT, point, sizeof(point));
        ADD(CKA_PRIVATE, &no, sizeof(no));
    }
    return f->C_CreateObject(s, tmpl, k, &h) == CKR_OK;
}

static int slot_of(const char *token, CK_SLOT_ID *out)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;

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
    void *module = argc == 6 ? dlopen(argv[1], RTLD_NOW) : NULL;
    CK_SLOT_ID slot = 0;
    CK_SESSION_HANDLE s = 0;
    unsigned long n;

    get.p = module != NULL ? dlsym(module, "C_GetFunctionList") : NULL;
    if (get.p == NULL || get.f(&f) != CKR_OK
        || f->C_Initialize(NULL) != CKR_OK || !slot_of(argv[2], &slot)
        || f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                            NULL, &s) != CKR_OK
        || f->C_Login(s, CKU_USER, (CK_UTF8CHAR *)argv[3],
                      strlen(argv[3])) != CKR_OK) {
        fprintf(stderr, "many_key: no session\n");
        return 1;
    }
    n = strtoul(argv[5], NULL, 10);
    for (unsigned int i = 0; i < n; i++) {
        if (!put(s, strcmp(argv[4], "private") == 0 ? CKO_PRIVATE_KEY
                                                    : CKO_PUBLIC_KEY, i)) {
            fprintf(stderr, "many_key: object %u is not taken\n", i);
            return 1;
        }
    }
    return 0;
}
