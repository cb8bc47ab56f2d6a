/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mechanism that no token here has: with COUNT_X931, CKM_RSA_X9_31 is made
 * of CKM_RSA_X_509. As PKCS #11 has it, the caller gives the hash and the
 * trailer, and the token what stands before them; what comes out is the power
 * itself. For one thread.
 */
#include "tests/c/count.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX 1024u

static CK_FUNCTION_LIST inner;
static const CK_FUNCTION_LIST *module;
static CK_SESSION_HANDLE signing;   /* by that mechanism */

static CK_RV x931_sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                            CK_OBJECT_HANDLE key)
{
    CK_MECHANISM raw = { CKM_RSA_X_509, NULL, 0 };
    CK_RV rv;

    if (m == NULL || m->mechanism != CKM_RSA_X9_31) {
        return inner.C_SignInit(s, m, key);
    }
    rv = module->C_SignInit(s, &raw, key);
    signing = rv == CKR_OK ? s : 0;
    return rv;
}

static CK_RV x931_sign(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len,
                       CK_BYTE *out, CK_ULONG *len)
{
    CK_BYTE em[KEY_MAX];
    CK_ULONG size = *len;

    if (signing != s || out == NULL) {
        return inner.C_Sign(s, in, in_len, out, len);
    }
    signing = 0;
    if (size > KEY_MAX || in_len + 2 > size || in_len == 0
        || in[in_len - 1] != 0xcc) {
        return CKR_DATA_LEN_RANGE;
    }
    memset(em, 0xbb, size);
    em[0] = 0x6b;
    em[size - in_len - 1] = 0xba;
    memcpy(em + size - in_len, in, in_len);
    return module->C_Sign(s, em, size, out, len);
}

void count_x931_install(CK_FUNCTION_LIST *list, const CK_FUNCTION_LIST *real)
{
    if (count_env("COUNT_X931") == NULL) {
        return;
    }
    inner = *list;
    module = real;
    list->C_SignInit = x931_sign_init;
    list->C_Sign = x931_sign;
}
