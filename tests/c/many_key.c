/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: many_key MODULE TOKEN PIN KIND N
 *
 * Puts N keys on a token, by nothing but the module itself: EC keys that are
 * all the same one but for CKA_ID and CKA_LABEL. KIND is private or public, for
 * halves without another one, or pair.
 */
#include <stdlib.h>

#include "tests/c/bare_token.h"

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

static const struct kind {
    const char *name;
    bool private, public;
} kinds[] = {
    { "private", true, false },
    { "public", false, true },
    { "pair", true, true },
};

static bool put_half(const struct bare_token *t, CK_OBJECT_CLASS cls,
                     unsigned char kind, unsigned int i)
{
    static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE tmpl[12];
    CK_ULONG k = 0;
    CK_OBJECT_HANDLE h;
    unsigned char id[4] = { 0x77, kind, (unsigned char)(i >> 8),
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
    return bare_said("C_CreateObject",
                     t->f->C_CreateObject(t->session, tmpl, k, &h));
}

static bool put(const struct bare_token *t, unsigned char kind, unsigned int i)
{
    return (!kinds[kind].private || put_half(t, CKO_PRIVATE_KEY, kind, i))
        && (!kinds[kind].public || put_half(t, CKO_PUBLIC_KEY, kind, i));
}

int main(int argc, char **argv)
{
    const unsigned char n_kinds = sizeof(kinds) / sizeof(kinds[0]);
    unsigned char kind = 0;
    struct bare_token t;
    unsigned long n;
    bool good = true;

    while (argc == 6 && kind < n_kinds
           && strcmp(kinds[kind].name, argv[4]) != 0) {
        kind++;
    }
    if (argc != 6 || kind == n_kinds) {
        fprintf(stderr, "usage: many_key MODULE TOKEN PIN KIND N\n");
        return 2;
    }
    if (!bare_open(&t, argv + 1, CKF_RW_SESSION)) {
        return 1;
    }
    n = strtoul(argv[5], NULL, 10);
    for (unsigned int i = 0; i < n && good; i++) {
        good = put(&t, kind, i);
    }
    return good && bare_said("C_Finalize", t.f->C_Finalize(NULL)) ? 0 : 1;
}
