/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: see_key MODULE TOKEN PIN LABEL
 *
 * Says what a token has under that label, by nothing but the module itself:
 * a line for each object, "private EXTRACTABLE=0 …", with the attributes that
 * it tells. Numbers are hexadecimal, lists have commas between them.
 */
#include "tests/c/bare_token.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define OBJECTS_MAX 16
#define VALUE_MAX 1024

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

static void show(const struct bare_token *t, CK_OBJECT_HANDLE h)
{
    unsigned char value[VALUE_MAX];
    CK_OBJECT_CLASS cls = 0;
    CK_ATTRIBUTE class_of = { CKA_CLASS, &cls, sizeof(cls) };

    if (t->f->C_GetAttributeValue(t->session, h, &class_of, 1) != CKR_OK) {
        return;
    }
    printf("%s", cls == CKO_PRIVATE_KEY ? "private"
           : cls == CKO_PUBLIC_KEY ? "public"
           : cls == CKO_CERTIFICATE ? "cert" : "other");
    for (size_t i = 0; i < N(rows); i++) {
        CK_ATTRIBUTE a = { rows[i].type, value, sizeof(value) };

        if (t->f->C_GetAttributeValue(t->session, h, &a, 1) != CKR_OK
            || a.ulValueLen > sizeof(value)) {
            continue;
        }
        printf(" %s=", rows[i].name);
        show_value(value, a.ulValueLen, rows[i].form);
    }
    printf("\n");
}

static bool find(const struct bare_token *t, char *label)
{
    CK_OBJECT_HANDLE found[OBJECTS_MAX];
    CK_ATTRIBUTE a = { CKA_LABEL, label, strlen(label) };
    CK_ULONG n = 0;

    if (!bare_said("C_FindObjectsInit",
                   t->f->C_FindObjectsInit(t->session, &a, 1))
        || !bare_said("C_FindObjects",
                      t->f->C_FindObjects(t->session, found, OBJECTS_MAX, &n))
        || !bare_said("C_FindObjectsFinal",
                      t->f->C_FindObjectsFinal(t->session))) {
        return false;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        show(t, found[i]);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct bare_token t;

    if (argc != 5) {
        fprintf(stderr, "usage: see_key MODULE TOKEN PIN LABEL\n");
        return 2;
    }
    return bare_open(&t, argv + 1, 0) && find(&t, argv[4]) ? 0 : 1;
}
