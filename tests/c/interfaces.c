/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counting module's functions once more, as a module of version 3.0 has
 * them: in a list of interfaces, behind one of a vendor and one of 2.40, and
 * nowhere else. What 3.0 has besides is not there.
 */
#include <string.h>

#include "src/base/cryptoki.h"

#define N 3

/* By that name in the module: p11-kit's header has it with other types, from
 * 0.25 on. */
CK_RV get_interfaces(struct hsm_interface *list, CK_ULONG *count)
    __asm__("C_GetInterfaceList") __attribute__((visibility("default")));

static CK_VERSION vendor = { 1, 0 };

CK_RV get_interfaces(struct hsm_interface *list, CK_ULONG *count)
{
    static struct hsm_functions_3_0 three;
    static CK_UTF8CHAR standard[] = "PKCS 11", other[] = "Vendor of none";
    CK_FUNCTION_LIST *two = NULL;
    CK_RV rv = count == NULL ? CKR_ARGUMENTS_BAD : C_GetFunctionList(&two);

    if (rv != CKR_OK) {
        return rv;
    }
    if (list != NULL && *count < N) {
        *count = N;
        return CKR_BUFFER_TOO_SMALL;
    }
    *count = N;
    if (list != NULL) {
        memcpy(&three.base, two, sizeof(three.base));
        three.base.version = (CK_VERSION){ 3, 0 };
        list[0] = (struct hsm_interface){ other, &vendor, 0 };
        list[1] = (struct hsm_interface){ standard, two, 0 };
        list[2] = (struct hsm_interface){ standard, &three, 0 };
    }
    return CKR_OK;
}
