/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What known modules need that others do not: rows found by what C_GetInfo
 * says at run time. No user sets them.
 */
#ifndef HSM_MODULE_QUIRK_H
#define HSM_MODULE_QUIRK_H

#include <stdbool.h>

#include "src/base/cryptoki.h"

struct hsm_quirk {
    const char *name;           /* for the log */
    const char *manufacturer;   /* beginning of manufacturerID, "" any */
    const char *description;    /* beginning of libraryDescription, "" any */
    bool remote;                /* guard SIGPIPE, close sessions at exit */
    bool lengths_first;         /* ignores ulValueLen: ask lengths first */
    bool slow_storage;          /* reads it at every use of a stored key */
    bool login_race;            /* processes logging in disturb each other */
    bool start_race;            /* of processes that start it at once, one may
                                 * miss a token until it is started anew */
};

/* The first row that fits; the last row fits all. Never NULL. */
const struct hsm_quirk *hsm_quirk_of(const CK_INFO *info);

#endif
