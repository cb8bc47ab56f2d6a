/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/conf.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "provider/compat.h"
#include "provider/conf_probe.h"
#include "provider/conf_table.h"
#include "provider/param.h"

#define NAME_MAX_BYTES 64
#define SHOWN_BYTES 128         /* of a value that is refused, with a NUL */
#define BLANKS " \t"
#define SEPARATORS " \t,"

struct word {
    const char *p;
    size_t len;
};

static const struct {
    const char *name;
    int operation;
} operations[] = {
    { "store", OSSL_OP_STORE },
    { "keymgmt", OSSL_OP_KEYMGMT },
    { "signature", OSSL_OP_SIGNATURE },
    { "asym-cipher", OSSL_OP_ASYM_CIPHER },
    { "asymcipher", OSSL_OP_ASYM_CIPHER },
    { "keyexch", OSSL_OP_KEYEXCH },
    { "exchange", OSSL_OP_KEYEXCH },
    { "kem", OSSL_OP_KEM },
    { "encoder", OSSL_OP_ENCODER },
    { "decoder", OSSL_OP_DECODER },
    { "digest", OSSL_OP_DIGEST },
    { "cipher", OSSL_OP_CIPHER },
    { "mac", OSSL_OP_MAC },
    { "kdf", OSSL_OP_KDF },
    { "rand", OSSL_OP_RAND },
    { "skeymgmt", OSSL_OP_SKEYMGMT }
};

/* The next word of text, which moves on. False at the end. */
static bool next_word(const char **text, const char *separators,
                      struct word *out)
{
    const char *p = *text + strspn(*text, separators);

    if (*p == '\0') {
        return false;
    }
    out->p = p;
    out->len = strcspn(p, separators);
    *text = p + out->len;
    return true;
}

static bool word_is(struct word w, const char *text)
{
    return strlen(text) == w.len && strncasecmp(w.p, text, w.len) == 0;
}

/* The place of w in a list of words, or -1. */
static int word_index(const char *words, struct word w)
{
    struct word each;
    int i;

    for (i = 0; words != NULL && next_word(&words, BLANKS, &each); i++) {
        if (each.len == w.len && strncasecmp(each.p, w.p, w.len) == 0) {
            return i;
        }
    }
    return -1;
}

static int value_index(const char *words, const char *value)
{
    struct word w = { value, strlen(value) };

    return word_index(words, w);
}

static bool read_number(const char *value, unsigned int *out)
{
    unsigned long long n;
    char *end;

    if (!isdigit((unsigned char)*value)) {
        return false;
    }
    errno = 0;
    n = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || n > UINT_MAX) {
        return false;
    }
    *out = (unsigned int)n;
    return true;
}

/* NAME or NAME=VALUE. */
static bool is_environment(struct word w)
{
    size_t i;

    if (isdigit((unsigned char)w.p[0]) || w.p[0] == '=') {
        return false;
    }
    for (i = 0; i < w.len && w.p[i] != '='; i++) {
        if (!isalnum((unsigned char)w.p[i]) && w.p[i] != '_') {
            return false;
        }
    }
    return true;
}

/* Reading */

/* Environment variables are not believed where a program runs with the rights
 * of another user than the one who set them. */
static bool read_environment(const char *name, char **out)
{
    const char *value = secure_getenv(name);

    if (value == NULL || *value == '\0') {
        return true;
    }
    *out = hsm_strdup(value);
    return *out != NULL;
}

/* Makes "NAME=VALUE" of a word; *out stays NULL when it is not set now. */
static bool capture_one(struct word w, char **out)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    const char *value;

    if (!hsm_ok(hsm_buf_printf(&text, "%.*s", (int)w.len, w.p))) {
        return false;
    }
    if (memchr(w.p, '=', w.len) == NULL) {
        value = getenv((const char *)text.p);
        if (value == NULL) {
            return true;
        }
        if (!hsm_ok(hsm_buf_printf(&text, "=%s", value))) {
            return false;
        }
    }
    *out = hsm_strdup((const char *)text.p);
    return *out != NULL;
}

static bool capture_environment(struct prov_conf *c)
{
    const char *at = c->value[PROV_SET_ENV];
    struct word w;
    size_t n = 0;

    if (at == NULL) {
        return true;
    }
    /* Two bytes a word, at least. */
    c->captured_env = hsm_zalloc((strlen(at) / 2 + 2) * sizeof(char *));
    if (c->captured_env == NULL) {
        return false;
    }
    while (next_word(&at, BLANKS, &w)) {
        if (!is_environment(w)) {
            continue;
        }
        if (!capture_one(w, &c->captured_env[n])) {
            return false;
        }
        if (c->captured_env[n] != NULL) {
            n++;
        }
    }
    return true;
}

bool prov_conf_read(struct prov_conf *c, const OSSL_CORE_HANDLE *handle,
                    OSSL_FUNC_core_get_params_fn *get_params)
{
    memset(c, 0, sizeof(*c));
    c->value = hsm_zalloc(PROV_CONF_SLOTS * sizeof(char *));
    return c->value != NULL
        && (get_params == NULL || prov_conf_probe(c, handle, get_params))
        && read_environment("PKCS11_PROVIDER_MODULE", &c->env_module)
        && read_environment("PKCS11_PROVIDER_DEBUG", &c->env_debug)
        && capture_environment(c);
}

void prov_conf_clear(struct prov_conf *c)
{
    size_t i;

    for (i = 0; c->value != NULL && i < PROV_CONF_SLOTS; i++) {
        hsm_strfree(c->value[i]);
    }
    for (i = 0; c->captured_env != NULL && c->captured_env[i] != NULL; i++) {
        hsm_strfree(c->captured_env[i]);
    }
    free(c->value);
    free(c->captured_env);
    hsm_strfree(c->unknown);
    hsm_strfree(c->env_module);
    hsm_strfree(c->env_debug);
    memset(c, 0, sizeof(*c));
}

/* Judging */

/* Enough to recognise it by: what is allowed comes behind it. */
static void shorten(const char *value, char out[SHOWN_BYTES])
{
    size_t len = strlen(value), cut = SHOWN_BYTES - 4;

    if (len < SHOWN_BYTES) {
        memcpy(out, value, len + 1);
        return;
    }
    while (cut > 0 && ((unsigned char)value[cut] & 0xc0u) == 0x80u) {
        cut--;
    }
    memcpy(out, value, cut);
    memcpy(out + cut, "...", 4);
}

static hsm_rc refuse(const char *name, const struct prov_setting *row,
                     const char *whole)
{
    const char *words = row->words != NULL ? row->words : "";
    char value[SHOWN_BYTES];

    shorten(whole, value);
    switch (row->kind) {
    case PROV_SETTING_BOOL:
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is \"%s\"; allowed are true, false%s%s", name,
                        value, *words != '\0' ? ", " : "", words);
    case PROV_SETTING_NUMBER:
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is \"%s\"; allowed are numbers from %u to %u",
                        name, value, row->min, row->max);
    case PROV_SETTING_ENVIRONMENT:
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is \"%s\"; allowed are NAME or NAME=VALUE, "
                        "separated by blanks", name, value);
    default:
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is \"%s\"; allowed are: %s", name, value, words);
    }
}

static bool all_words_fit(const struct prov_setting *row, const char *value)
{
    bool is_env = row->kind == PROV_SETTING_ENVIRONMENT;
    struct word w;

    while (next_word(&value, is_env ? BLANKS : SEPARATORS, &w)) {
        if (is_env ? !is_environment(w) : word_index(row->words, w) < 0) {
            return false;
        }
    }
    return true;
}

static bool value_fits(const struct prov_setting *row, const char *value)
{
    unsigned int n;
    bool b;

    switch (row->kind) {
    case PROV_SETTING_BOOL:
        return prov_param_bool(value, &b)
            || value_index(row->words, value) >= 0;
    case PROV_SETTING_NUMBER:
        return read_number(value, &n) && n >= row->min && n <= row->max;
    case PROV_SETTING_CHOICE:
        return value_index(row->words, value) >= 0;
    case PROV_SETTING_WORDS:
    case PROV_SETTING_ENVIRONMENT:
        return all_words_fit(row, value);
    default:
        return true;
    }
}

/* How somebody begins who means the place of a PIN; as it stands it would be
 * sent to the token. A source's name is one in small letters only. */
static const struct {
    const char *begin;
    bool is_source;
    const char *advice;
} no_pins[] = {
    { "/", false, "write \"file:\" before it" },
    { "./", false, "write \"file:\" and the file's absolute name" },
    { "../", false, "write \"file:\" and the file's absolute name" },
    { "~/", false, "write \"file:\" and the file's absolute name" },
    { "pass:", false, "leave that away, or write \"file:\" and the absolute "
      "name of a file" },
    { "file:", true, "write \"file:\", in small letters" },
    { "env:", true, "write \"env:\", in small letters" },
    { "fd:", true, "write \"fd:\", in small letters" },
    { "credential:", true, "write \"credential:\", in small letters" }
};

/* Nothing is looked at: whether there is such a file, and can be seen from
 * here and now, says nothing of what was meant. */
static hsm_rc judge_pin(const char *name, const char *value)
{
    size_t i, n;

    for (i = 0; i < sizeof(no_pins) / sizeof(no_pins[0]); i++) {
        n = strlen(no_pins[i].begin);
        if (strncasecmp(value, no_pins[i].begin, n) == 0
            && !(no_pins[i].is_source
                 && strncmp(value, no_pins[i].begin, n) == 0)) {
            return hsm_fail(HSM_E_SETTING, "settings",
                            "%s begins with \"%.*s\", as no PIN may here; %s",
                            name, (int)n, value, no_pins[i].advice);
        }
    }
    return HSM_OK;
}

static hsm_rc judge_value(const char *name, const struct prov_setting *row,
                          const char *value)
{
    if (value == NULL) {
        return HSM_OK;
    }
    if (*value == '\0') {
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is empty; give it a value or remove it", name);
    }
    if (row->kind == PROV_SETTING_SECRET) {
        return judge_pin(name, value);
    }
    return value_fits(row, value) ? HSM_OK : refuse(name, row, value);
}

static hsm_rc copy_text(const char *text, char **out)
{
    if (text == NULL) {
        return HSM_OK;
    }
    *out = hsm_strdup(text);
    return *out != NULL ? HSM_OK : hsm_fail_rv(CKR_HOST_MEMORY, "settings");
}

static hsm_rc add_main_module(const struct prov_conf *c,
                              struct hsm_settings *out)
{
    const char *path = c->env_module != NULL ? c->env_module
                                             : c->value[PROV_SET_PATH];
    const char *args = c->value[PROV_SET_INIT_ARGS];
    const char *pin = c->value[PROV_SET_PIN];
    struct hsm_module_settings *m = &out->module[0];

    if (path == NULL && args == NULL && pin == NULL) {
        return HSM_OK;
    }
    if (path == NULL && args != NULL) {
        return hsm_fail(HSM_E_SETTING, "settings",
                        "%s is for the module of %s, which is not set",
                        prov_settings[PROV_SET_INIT_ARGS].name,
                        prov_settings[PROV_SET_PATH].name);
    }
    out->n_modules = 1;
    TRY(copy_text(path, &m->path));
    TRY(copy_text(args, &m->init_args));
    return copy_text(pin, &m->pin);
}

static hsm_rc add_module(const struct prov_conf *c, unsigned int n,
                         struct hsm_settings *out)
{
    char *const *v = &c->value[PROV_CONF_SLOT(n, 0)];
    struct hsm_module_settings *m;
    char name[NAME_MAX_BYTES];
    bool any = false;
    size_t id;

    for (id = 0; id < PROV_MODULE_SETTINGS; id++) {
        snprintf(name, sizeof(name), "module%u.%s", n,
                 prov_module_settings[id].name);
        TRY(judge_value(name, &prov_module_settings[id], v[id]));
        any = any || v[id] != NULL;
    }
    if (!any) {
        return HSM_OK;
    }
    if (v[PROV_MODULE_PATH] == NULL) {
        return hsm_fail(HSM_E_SETTING, "settings",
                        "module%u has no path; say module%u.path", n, n);
    }
    if (out->n_modules == HSM_MODULES_MAX) {
        return hsm_fail(HSM_E_SETTING, "settings",
                        "there are more than %d modules; that of %s is one",
                        HSM_MODULES_MAX, prov_settings[PROV_SET_PATH].name);
    }
    m = &out->module[out->n_modules++];
    TRY(copy_text(v[PROV_MODULE_NAME], &m->name));
    TRY(copy_text(v[PROV_MODULE_PATH], &m->path));
    TRY(copy_text(v[PROV_MODULE_INIT_ARGS], &m->init_args));
    return copy_text(v[PROV_MODULE_PIN], &m->pin);
}

static hsm_rc add_environment(const struct prov_conf *c,
                              struct hsm_settings *out)
{
    size_t i, n = 0;

    if (c->captured_env == NULL) {
        return HSM_OK;
    }
    while (c->captured_env[n] != NULL) {
        n++;
    }
    out->env = hsm_zalloc((n + 1) * sizeof(char *));
    if (out->env == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "settings");
    }
    for (i = 0; i < n; i++) {
        TRY(copy_text(c->captured_env[i], &out->env[i]));
    }
    return HSM_OK;
}

/* The setting, or its preset; a value that does not fit counts as not set. */
static const char *value_of(const struct prov_conf *c, enum prov_setting_id id)
{
    const char *value = c->value != NULL ? c->value[id] : NULL;

    if (value == NULL || !value_fits(&prov_settings[id], value)) {
        return prov_settings[id].preset;
    }
    return value;
}

/* A BOOL; one of its words counts as other. */
static bool bool_of(const struct prov_conf *c, enum prov_setting_id id,
                    bool other)
{
    bool b;

    return prov_param_bool(value_of(c, id), &b) ? b : other;
}

static enum hsm_tristate tristate_of(const struct prov_conf *c,
                                     enum prov_setting_id id)
{
    bool b;

    if (!prov_param_bool(value_of(c, id), &b)) {
        return HSM_AUTO;
    }
    return b ? HSM_YES : HSM_NO;
}

static void set_number(const struct prov_conf *c, enum prov_setting_id id,
                       unsigned int *out)
{
    (void)read_number(value_of(c, id), out);
}

/* The words stand in the order of the enumeration. */
static enum hsm_login_behavior login_of(const struct prov_conf *c)
{
    static const enum hsm_login_behavior by_index[] = {
        HSM_LOGIN_AUTO, HSM_LOGIN_ALWAYS, HSM_LOGIN_NEVER
    };
    int i = value_index(prov_settings[PROV_SET_LOGIN].words,
                        value_of(c, PROV_SET_LOGIN));

    return by_index[i < 0 ? 0 : i];
}

hsm_rc prov_conf_judge(const struct prov_conf *c, struct hsm_settings *out)
{
    unsigned int n;
    size_t i;

    if (c->unknown != NULL) {
        return hsm_fail(HSM_E_SETTING, "settings", "%s", c->unknown);
    }
    for (i = 0; i < PROV_SETTINGS; i++) {
        TRY(judge_value(prov_settings[i].name, &prov_settings[i],
                        c->value[i]));
    }
    TRY(add_main_module(c, out));
    for (n = 1; n <= PROV_MODULES_MAX; n++) {
        TRY(add_module(c, n, out));
    }
    TRY(add_environment(c, out));
    out->login = login_of(c);
    out->cache_pins = bool_of(c, PROV_SET_CACHE_PINS, true);
    out->final_try = bool_of(c, PROV_SET_FINAL_TRY, false);
    set_number(c, PROV_SET_MAX_SESSIONS, &out->max_sessions);
    set_number(c, PROV_SET_WAIT_MS, &out->wait_ms);
    out->cache_keys = tristate_of(c, PROV_SET_CACHE_KEYS);
    set_number(c, PROV_SET_CALL_TIMEOUT, &out->call_timeout_ms);
    out->close_at_exit = tristate_of(c, PROV_SET_CLOSE_AT_EXIT);
    out->remote = tristate_of(c, PROV_SET_REMOTE);
    return HSM_OK;
}

/* Switches */

bool prov_conf_reference_has_public(const struct prov_conf *c)
{
    return bool_of(c, PROV_SET_REFERENCE_PUBLIC, true);
}

bool prov_conf_certificate_chain(const struct prov_conf *c)
{
    return bool_of(c, PROV_SET_CERTIFICATE_CHAIN, true);
}

bool prov_conf_tls_rsa_by_token(const struct prov_conf *c)
{
    return bool_of(c, PROV_SET_TLS_RSA_BY_TOKEN, false);
}

bool prov_conf_load_default(const struct prov_conf *c)
{
    return strcasecmp(value_of(c, PROV_SET_LOAD_DEFAULT), "auto") == 0;
}

bool prov_conf_is_remote(const struct prov_conf *c)
{
    return tristate_of(c, PROV_SET_REMOTE) == HSM_YES;
}

bool prov_conf_blocks(const struct prov_conf *c, int operation_id)
{
    const char *at = value_of(c, PROV_SET_BLOCK);
    struct word w;
    size_t i;

    while (at != NULL && next_word(&at, SEPARATORS, &w)) {
        for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
            if (operations[i].operation == operation_id
                && word_is(w, operations[i].name)) {
                return true;
            }
        }
    }
    return false;
}
