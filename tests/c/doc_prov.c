/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual pages and doc/errors.md tell of every row that was compiled:
 * build-aux/update-doc read the same from the source. Prints TAP.
 *
 *     doc_prov SETTINGS-PAGE PROVIDER-PAGE ERRORS-PAGE
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

#include "provider/conf_table.h"
#include "provider/query.h"
#include "provider/signature/sig_table.h"
#include "src/base/result.h"
#include "src/crypto/hash.h"
#include "src/crypto/mech.h"
#include "src/object/curve_table.h"
#include "src/session/uri_part.h"
#include "tests/c/tap.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define OWN_PARAM "pkcs11_"

extern int OSSL_provider_init(const OSSL_CORE_HANDLE *handle,
                              const OSSL_DISPATCH *in,
                              const OSSL_DISPATCH **out, void **provctx);

static char *settings_page, *provider_page, *errors_page;

/* The whole file, to be freed; of manual pages "\-" is "-" and "\%" nothing. */
static char *read_page(const char *name)
{
    FILE *in = fopen(name, "r");
    char *text = calloc(1, 1 << 20);
    size_t from, to = 0, n = 0;

    if (in != NULL && text != NULL) {
        n = fread(text, 1, (1 << 20) - 1, in);
    }
    if (in != NULL) {
        fclose(in);
    }
    for (from = 0; from < n; from++) {
        if (text[from] == '\\' && text[from + 1] == '%') {
            from++;
        } else if (text[from] != '\\' || text[from + 1] != '-') {
            text[to++] = text[from];
        }
    }
    if (text != NULL) {
        text[to] = '\0';
    }
    ok(text != NULL && to > 0, "%s is read", name);
    return text;
}

static bool is_end_of_name(char c)
{
    return c != '\0' && strchr(" ,;.:\n|", c) != NULL;
}

/* len bytes of name, as a word of its own, in the text up to end. */
static bool has_word(const char *text, const char *end, const char *name,
                     size_t len)
{
    const char *p;

    for (p = text; p + len < end; p++) {
        if (strncmp(p, name, len) == 0 && is_end_of_name(p[len])
            && (p == text || is_end_of_name(p[-1]))) {
            return true;
        }
    }
    return false;
}

static bool has(const char *page, const char *name)
{
    return has_word(page, page + strlen(page), name, strlen(name));
}

/* All names of a list with one separator between them. */
static bool has_all(const char *text, const char *end, const char *names,
                    const char *separator)
{
    size_t len;

    for (; names != NULL && *names != '\0'; names += len) {
        names += strspn(names, separator);
        len = strcspn(names, separator);
        if (!has_word(text, end, names, len)) {
            return false;
        }
    }
    return true;
}

/* Behind ".It Cm NAME", up to the next item; NULL where there is none. */
static const char *find_item(const char *page, const char *name,
                             const char **end)
{
    char item[128];
    const char *at;

    snprintf(item, sizeof(item), "\n.It Cm %s\n", name);
    at = strstr(page, item);
    if (at == NULL) {
        return NULL;
    }
    at += strlen(item);
    *end = strstr(at, "\n.It ");
    if (*end == NULL || strstr(at, "\n.El") < *end) {
        *end = strstr(at, "\n.El");
    }
    return at;
}

static size_t count(const char *page, const char *text)
{
    size_t n = 0;

    for (page = strstr(page, text); page != NULL;
         page = strstr(page + 1, text)) {
        n++;
    }
    return n;
}

static bool has_number(const char *text, const char *end, unsigned int n)
{
    char digits[16];

    snprintf(digits, sizeof(digits), "%u", n);
    return has_word(text, end, digits, strlen(digits));
}

static void check_setting(const struct prov_setting *s)
{
    const char *end = NULL;
    const char *at = find_item(settings_page, s->name, &end);
    char preset[64];

    if (!ok(at != NULL, "%s is in the page", s->name)) {
        return;
    }
    snprintf(preset, sizeof(preset), "Default: %s",
             s->preset != NULL ? s->preset : "");
    ok(has_all(at, end, s->words, " "), "%s: and its words", s->name);
    ok(s->kind != PROV_SETTING_NUMBER
       || (has_number(at, end, s->min) && has_number(at, end, s->max)),
       "%s: and its limits", s->name);
    ok(s->preset != NULL ? has_word(at, end, preset, strlen(preset))
       : strstr(at, "Default:") == NULL || strstr(at, "Default:") > end,
       "%s: and its default", s->name);
}

static void check_settings(void)
{
    size_t i;

    for (i = 0; i < PROV_SETTINGS; i++) {
        check_setting(&prov_settings[i]);
    }
    for (i = 0; i < PROV_MODULE_SETTINGS; i++) {
        check_setting(&prov_module_settings[i]);
    }
    ok(count(settings_page, "\n.It Cm ")
       == PROV_SETTINGS + PROV_MODULE_SETTINGS, "and no other is");
}

static void check_names(int operation, const OSSL_ALGORITHM *a)
{
    for (; a != NULL && a->algorithm_names != NULL; a++) {
        ok(has_all(provider_page, provider_page + strlen(provider_page),
                   a->algorithm_names, ":"),
           "operation %d: %s", operation, a->algorithm_names);
    }
}

static void check_algorithms(OSSL_PROVIDER *ours)
{
    static const int operations[] = {
        OSSL_OP_KEYMGMT, OSSL_OP_SIGNATURE, OSSL_OP_ASYM_CIPHER,
        OSSL_OP_KEYEXCH, OSSL_OP_KEM, OSSL_OP_STORE
    };
    int no_cache;
    size_t i;

    for (i = 0; i < N(operations); i++) {
        check_names(operations[i], OSSL_PROVIDER_query_operation(
                        ours, operations[i], &no_cache));
    }
    /* Those that this OpenSSL does not take as well. */
    check_names(OSSL_OP_SIGNATURE, prov_signature_composites);
}

static void check_rows(void)
{
    const char *sha256 = (const char *)hsm_hash_by_name("SHA256");
    const char *end = NULL;
    char unnamed[24];
    size_t i;

    for (i = 0; i < HSM_URI_N; i++) {
        const char *name = hsm_uri_row((enum hsm_uri_attr)i)->name;

        ok(find_item(provider_page, name, &end) != NULL, "attribute %s", name);
    }
    for (i = 0; i < hsm_curve_table_n; i++) {
        const char *names = hsm_curve_table[i].names;

        ok(has_all(provider_page, provider_page + strlen(provider_page), names,
                   ":"), "curve %s", names);
    }
    for (i = 0; i < prov_sig_n_ways; i++) {
        CK_MECHANISM_TYPE type = prov_sig_ways[i].mechanism;
        const char *name;

        if (prov_sig_ways[i].by_hash != 0) {
            memcpy(&type, sha256 + prov_sig_ways[i].by_hash, sizeof(type));
        }
        name = hsm_mech_name(type, unnamed);
        ok(has(provider_page, name), "mechanism %s", name);
    }
}

/* Our own generation parameters, of each type of key. */
static void check_parameters(OSSL_LIB_CTX *libctx, const char *type)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(libctx, type,
                                                 "provider=pkcs11");
    const OSSL_PARAM *p = NULL;
    const char *end = NULL;
    size_t n = 0;

    if (c != NULL && EVP_PKEY_keygen_init(c) > 0) {
        p = EVP_PKEY_CTX_settable_params(c);
    }
    for (; p != NULL && p->key != NULL; p++) {
        if (strncmp(p->key, OWN_PARAM, strlen(OWN_PARAM)) == 0) {
            ok(find_item(provider_page, p->key, &end) != NULL,
               "%s: parameter %s", type, p->key);
            n++;
        }
    }
    ok(n > 0 && count(provider_page, "\n.It Cm " OWN_PARAM) == n,
       "%s: and no other parameter", type);
    EVP_PKEY_CTX_free(c);
}

static void check_reasons(void)
{
    size_t n = 0, i;
    const struct hsm_ckr *rows = hsm_ckr_rows(&n);
    char line[256];

    for (i = 0; i < n; i++) {
        if (rows[i].cls == HSM_CLASS_OK) {
            continue;
        }
        snprintf(line, sizeof(line), strncmp(rows[i].name, "CKR_", 4) == 0
                 ? "| `%s` | %s |\n" : "| %s | %s |\n", rows[i].name,
                 rows[i].advice != NULL ? rows[i].advice : "");
        ok(strstr(errors_page, line) != NULL, "reason %s", rows[i].name);
    }
}

int main(int argc, char **argv)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *ours = NULL;

    if (!ok(argc == 4, "three pages are named")) {
        return tap_done();
    }
    if (OSSL_PROVIDER_add_builtin(libctx, "pkcs11", OSSL_provider_init) == 1) {
        ours = OSSL_PROVIDER_load(libctx, "pkcs11");
    }
    settings_page = read_page(argv[1]);
    provider_page = read_page(argv[2]);
    errors_page = read_page(argv[3]);
    if (ok(ours != NULL, "the provider")) {
        check_settings();
        check_algorithms(ours);
        check_rows();
        check_parameters(libctx, "RSA");
        check_parameters(libctx, "RSA-PSS");
        check_parameters(libctx, "EC");
        check_reasons();
    }
    free(settings_page);
    free(provider_page);
    free(errors_page);
    OSSL_PROVIDER_unload(ours);
    OSSL_LIB_CTX_free(libctx);
    return tap_done();
}
