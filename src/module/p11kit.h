/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules that p11-kit's configuration names.
 */
#ifndef HSM_MODULE_P11KIT_H
#define HSM_MODULE_P11KIT_H

#include "src/base/result.h"

struct hsm_p11kit_module {
    char *name;                 /* of its configuration file */
    char *path;                 /* of the module's file */
    char *init_args;            /* x-init-reserved, or NULL */
};

/*
 * Those that are not merely for trust. Asked once in a process; the rows stay.
 * p11-kit maps the modules' files into the process, but calls none of them.
 * HSM_E_NO_MODULE when its configuration cannot be read.
 */
HSM_CHECKED hsm_rc hsm_p11kit_modules(const struct hsm_p11kit_module **rows,
                                      size_t *n);

#endif
