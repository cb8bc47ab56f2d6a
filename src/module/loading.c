/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/loading.h"

#include <dlfcn.h>
#include <string.h>

#include "src/base/buf.h"

/* More interfaces than any module has; the rest would be ignored. */
#define INTERFACES_MAX 32

/* dlsym gives an object pointer; a union makes a function of it. */
union symbol {
    void *p;
    CK_C_GetFunctionList function_list;
    hsm_get_interface_list_fn interface_list;
};

static bool is_standard_3(const struct hsm_interface *i)
{
    const CK_VERSION *v = i->functions;

    return i->name != NULL && v != NULL && v->major == 3
        && strcmp((const char *)i->name, "PKCS 11") == 0;
}

/* The first standard list of version 3, or NULL. */
static struct hsm_functions_3_0 *list_of_3(hsm_get_interface_list_fn get)
{
    struct hsm_interface list[INTERFACES_MAX];
    CK_ULONG n = 0;

    /* Some modules leave the count as it was: ask first, skip empty rows. */
    memset(list, 0, sizeof(list));
    if (get(NULL, &n) != CKR_OK || n > INTERFACES_MAX
        || get(list, &n) != CKR_OK || n > INTERFACES_MAX) {
        return NULL;
    }
    for (CK_ULONG i = 0; i < n; i++) {
        if (is_standard_3(&list[i])) {
            return list[i].functions;
        }
    }
    return NULL;
}

hsm_rc hsm_loading_functions(void *dl, CK_FUNCTION_LIST **f)
{
    union symbol s = { .p = dlsym(dl, "C_GetInterfaceList") };
    struct hsm_functions_3_0 *three =
        s.p != NULL ? list_of_3(s.interface_list) : NULL;
    CK_FUNCTION_LIST *list = NULL;
    CK_RV rv;

    if (three != NULL) {
        *f = &three->base;
        return HSM_OK;
    }
    s.p = dlsym(dl, "C_GetFunctionList");
    if (s.p == NULL) {
        return hsm_fail_rv(CKR_FUNCTION_NOT_SUPPORTED, "C_GetFunctionList");
    }
    rv = s.function_list(&list);
    if (rv != CKR_OK || list == NULL) {
        return hsm_fail_rv(rv != CKR_OK ? rv : CKR_GENERAL_ERROR,
                           "C_GetFunctionList");
    }
    *f = list;
    return HSM_OK;
}
