/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/p11kit.h"

#include <pthread.h>
#include <stdlib.h>

#include <p11-kit/p11-kit.h>

#include "src/base/gate.h"
#include "src/base/log.h"
#include "src/base/sync.h"

#define ROWS_MAX 64

static struct hsm_lock lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct hsm_p11kit_module rows_known[ROWS_MAX];
static size_t n_known;
static CK_FUNCTION_LIST **modules_kept;     /* (lock) for the whole process */

static void setup(void)
{
    hsm_gate_setup();
    hsm_lock_init(&lock);
}

/* Inside the gate, since p11-kit has locks of its own that a fork would
 * leave taken in the child. */
static CK_FUNCTION_LIST **ask(hsm_rc *rc)
{
    static const struct hsm_gate_use plain = { .guard_sigpipe = false };
    struct hsm_gate_frame frame = { .name = "p11_kit_modules_load" };
    CK_FUNCTION_LIST **list = NULL;
    const char *why = NULL;

    if (hsm_gate_enter(&plain, &frame)) {
        list = p11_kit_modules_load(NULL, P11_KIT_MODULE_UNMANAGED);
        why = list == NULL ? p11_kit_message() : NULL;
    }
    *rc = hsm_gate_leave(&frame, CKR_OK);
    if (hsm_ok(*rc) && list == NULL) {
        *rc = hsm_fail(HSM_E_NO_MODULE, frame.name,
                       "p11-kit cannot read its configuration: %s",
                       why != NULL ? why : "no reason given");
    }
    return list;
}

static void free_row(struct hsm_p11kit_module *row)
{
    free(row->name);
    free(row->path);
    free(row->init_args);
}

static void add(CK_FUNCTION_LIST *module)
{
    struct hsm_p11kit_module row = {
        .name = p11_kit_module_get_name(module),
        .path = p11_kit_module_get_filename(module),
        .init_args = p11_kit_config_option(module, "x-init-reserved"),
    };

    if (row.path == NULL || n_known == ROWS_MAX
        || (p11_kit_module_get_flags(module) & P11_KIT_MODULE_TRUSTED) != 0) {
        hsm_log(HSM_LOG_INFO, "p11-kit's module %s is left out",
                row.name != NULL ? row.name : "without a name");
        free_row(&row);
        return;
    }
    rows_known[n_known++] = row;
}

hsm_rc hsm_p11kit_modules(const struct hsm_p11kit_module **rows, size_t *n)
{
    CK_FUNCTION_LIST **list = NULL;
    bool known;
    hsm_rc rc;

    (void)pthread_once(&once, setup);
    hsm_lock(&lock);
    known = modules_kept != NULL;
    hsm_unlock(&lock);
    if (!known) {
        list = ask(&rc);
        if (list == NULL) {
            return rc;
        }
    }
    hsm_lock(&lock);
    if (modules_kept == NULL && list != NULL) {
        for (CK_FUNCTION_LIST **m = list; *m != NULL; m++) {
            add(*m);
        }
        modules_kept = list;
        list = NULL;
    }
    hsm_unlock(&lock);
    if (list != NULL) {
        p11_kit_modules_release(list);      /* another thread was faster */
    }
    *rows = rows_known;
    *n = n_known;
    return HSM_OK;
}
