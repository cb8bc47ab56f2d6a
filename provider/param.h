/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters by rows: decoded once into a struct, which is then acted upon.
 */
#ifndef PROV_PARAM_H
#define PROV_PARAM_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/params.h>

#include "provider/ctx.h"

enum prov_param_kind {
    PROV_PARAM_TEXT,            /* char *, owned by the struct */
    PROV_PARAM_UINT,            /* unsigned int */
    PROV_PARAM_INT,             /* int */
    PROV_PARAM_BN               /* BIGNUM *, owned by the struct */
};

/* One settable parameter; the last row has a NULL name. A text parameter may
 * also come as an integer where the kind is a number, and the other way round:
 * the command line only has texts. */
struct prov_param {
    const char *name;
    enum prov_param_kind kind;
    size_t offset;
};

/*
 * Stores each parameter that has a row into the struct at out; others are
 * left alone. What is already owned there is replaced. Raises, and is 0, when
 * one has the wrong type or does not fit; out is then unchanged for that one.
 */
int prov_params_decode(const struct prov_param *rows, const OSSL_PARAM params[],
                       void *out);
/* true, yes, on, 1 and their opposites, in any case. False: none of them. */
bool prov_param_bool(const char *text, bool *out);
/* Frees the texts and numbers that the rows own in the struct. */
void prov_params_clear(const struct prov_param *rows, void *out);

#endif
