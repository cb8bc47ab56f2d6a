/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said of a key that is to be made on a token: rows. The manual
 * page has them from here, by build-aux/update-doc.
 */
#ifndef PROV_KEYMGMT_GEN_TABLE_H
#define PROV_KEYMGMT_GEN_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/params.h>

#include "provider/param.h"
#include "src/base/cryptoki.h"

/* In the order of the rows. */
enum prov_gen_id {
    PROV_GEN_URI,
    PROV_GEN_TOKEN,
    PROV_GEN_LABEL,
    PROV_GEN_KEY_ID,
    PROV_GEN_USAGE,
    PROV_GEN_STORAGE,
    PROV_GEN_EXTRACTABLE,
    PROV_GEN_SENSITIVE,
    PROV_GEN_ALWAYS_AUTHENTICATE,
    PROV_GEN_ALLOWED_MECHANISMS,
    PROV_GEN_MODIFIABLE,
    PROV_GEN_COPYABLE,
    PROV_GEN_DESTROYABLE,
    PROV_GEN_START_DATE,
    PROV_GEN_END_DATE,
    PROV_GEN_N
};

enum prov_gen_kind {
    PROV_GEN_KIND_TEXT,         /* understood by code of its own */
    PROV_GEN_KIND_BYTES,        /* hexadecimal */
    PROV_GEN_KIND_WORD,         /* one of those in "words" */
    PROV_GEN_KIND_BOOL,
    PROV_GEN_KIND_DATE,         /* YYYY-MM-DD */
    PROV_GEN_KIND_MECHANISMS    /* names or numbers, blanks or commas between */
};

enum prov_gen_half { PROV_GEN_NEITHER, PROV_GEN_PRIVATE, PROV_GEN_BOTH };

struct prov_gen_row {
    const char *name;           /* "pkcs11_…" */
    enum prov_gen_kind kind;
    enum prov_gen_half half;    /* whose attribute it is */
    CK_ATTRIBUTE_TYPE type;     /* which; not where half is neither */
    const char *words;          /* of a WORD, with blanks between */
    const char *preset;         /* for the manual page, or NULL */
    const char *help;           /* likewise: a sentence */
};

extern const struct prov_gen_row prov_gen_rows[PROV_GEN_N];
/* The same for decoding, into a char *[PROV_GEN_N], and for libcrypto. */
extern const struct prov_param prov_gen_params[PROV_GEN_N + 1];
extern const OSSL_PARAM prov_gen_settable[PROV_GEN_N + 1];

/* The name of the parameter that an attribute comes from, or NULL. */
const char *prov_gen_name_of(CK_ATTRIBUTE_TYPE type);

/* A name of key usage, enum hsm_usage; 0: no such name. */
unsigned int prov_gen_usage(const char *name, size_t len);

/* What a mechanism is for, by its name. */
struct prov_gen_mech {
    const char *part;           /* of the name, behind "CKM_" */
    CK_KEY_TYPE ckk;
    unsigned int uses;          /* enum hsm_usage */
    bool pss;                   /* keys restricted to PSS may have it */
};

/* The first row that fits a mechanism's name; NULL: none, it is for something
 * else than the keys that are made here. */
const struct prov_gen_mech *prov_gen_mech_of(const char *name);

#endif
