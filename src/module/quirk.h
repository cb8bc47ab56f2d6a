/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What known modules need that others do not: rows found at run time by what
 * C_GetInfo says, and where that is what another one says, by the module's
 * file. No user sets them.
 */
#ifndef HSM_MODULE_QUIRK_H
#define HSM_MODULE_QUIRK_H

#include <stdbool.h>

#include "src/base/cryptoki.h"

struct hsm_quirk {
    const char *name;           /* for the log */
    const char *manufacturer;   /* beginning of manufacturerID, "" any */
    const char *description;    /* beginning of libraryDescription, "" any */
    const char *file;           /* beginning of the file's name, "" any */
    bool remote;                /* guard SIGPIPE, close sessions at exit */
    bool one_call;              /* calls must not overlap */
    bool lengths_first;         /* ignores ulValueLen: ask lengths first */
    bool slow_storage;          /* reads it at every use of a stored key */
    bool login_race;            /* processes logging in disturb each other */
    bool reuses_handles;        /* of what is gone, for what it finds next */
    bool start_race;            /* of processes that start it at once, one may
                                 * miss a token until it is started anew */
};

/* The first row that fits; the last row fits all. Never NULL. path: the
 * module's file. */
const struct hsm_quirk *hsm_quirk_of(const CK_INFO *info, const char *path);

#endif
