/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of settings, and of names that people write in their stead.
 */
#ifndef PROV_CONF_TABLE_H
#define PROV_CONF_TABLE_H

/* What every name of a single setting begins with. */
#define PROV_SETTING_PREFIX "pkcs11-"
#define PROV_SETTING_MODULE "module-"

enum prov_setting_kind {
    PROV_SETTING_TEXT,
    PROV_SETTING_SECRET,        /* text that no message may show */
    PROV_SETTING_BOOL,          /* or one of the words */
    PROV_SETTING_NUMBER,        /* from min to max */
    PROV_SETTING_CHOICE,        /* one of the words */
    PROV_SETTING_WORDS,         /* any number of the words */
    PROV_SETTING_ENVIRONMENT    /* NAME or NAME=VALUE, any number */
};

struct prov_setting {
    const char *name;
    enum prov_setting_kind kind;
    const char *words;          /* separated by blanks, or NULL */
    unsigned int min, max;
    const char *preset;         /* what holds when it is not set */
    const char *help;
};

enum prov_setting_id {
    PROV_SET_PATH,
    PROV_SET_INIT_ARGS,
    PROV_SET_PIN,
    PROV_SET_LOGIN,
    PROV_SET_CACHE_PINS,
    PROV_SET_FINAL_TRY,
    PROV_SET_MAX_SESSIONS,
    PROV_SET_WAIT_MS,
    PROV_SET_CALL_TIMEOUT,
    PROV_SET_ENV,
    PROV_SET_LOAD_DEFAULT,
    PROV_SET_CLOSE_AT_EXIT,
    PROV_SET_REMOTE,
    PROV_SET_REFERENCE_PUBLIC,
    PROV_SET_CERTIFICATE_CHAIN,
    PROV_SET_TLS_RSA_BY_TOKEN,
    PROV_SET_CACHE_KEYS,
    PROV_SET_BLOCK,
    PROV_SET_LOG,
    PROV_SET_CACHE_SESSIONS,
    PROV_SET_LOAD_BEHAVIOR,
    PROV_SET_QUIRKS,
    PROV_SET_ENCODE_URI,
    PROV_SET_ALLOW_EXPORT,
    PROV_SET_ASSUME_FIPS,
    PROV_SETTINGS
};

/* One row per id above. */
extern const struct prov_setting prov_settings[PROV_SETTINGS];

/* Settings of a numbered module, "module1.path" and so on. */
enum prov_module_setting_id {
    PROV_MODULE_NAME,
    PROV_MODULE_PATH,
    PROV_MODULE_INIT_ARGS,
    PROV_MODULE_PIN,
    PROV_MODULE_SETTINGS
};

extern const struct prov_setting prov_module_settings[PROV_MODULE_SETTINGS];

/*
 * Names that are wrong but likely, and the right ones; ends with NULLs. The
 * core lets a provider ask for a name but not list what there is, so this is
 * the only way to notice that a line of the configuration does nothing. Names
 * made from the right ones by rule (underscores, parts left out) are not
 * repeated here.
 */
struct prov_wrong_name {
    const char *wrong;
    const char *right;
};

extern const struct prov_wrong_name prov_wrong_names[];
/* The same behind "moduleN.". */
extern const struct prov_wrong_name prov_wrong_module_names[];

#endif
