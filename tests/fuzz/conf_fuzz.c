/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: lines of NAME=VALUE, as the core would have them. They are read
 * whatever they say, and judged: good, or one error that names what is wrong.
 */
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "provider/conf.h"
#include "tests/fuzz/fuzz.h"

#define LINES_MAX 64

struct lines {
    char *text;
    char *name[LINES_MAX], *value[LINES_MAX];
    size_t n;
};

static void split(struct lines *l)
{
    char *save = NULL;
    char *line = strtok_r(l->text, "\n", &save);

    while (line != NULL && l->n < LINES_MAX) {
        char *equals = strchr(line, '=');

        if (equals != NULL) {
            *equals = '\0';
            l->name[l->n] = line;
            l->value[l->n++] = equals + 1;
        }
        line = strtok_r(NULL, "\n", &save);
    }
}

/* OSSL_FUNC_core_get_params_fn: pointers into the lines. */
static int get_params(const OSSL_CORE_HANDLE *handle, OSSL_PARAM params[])
{
    const struct lines *l = (const void *)handle;

    for (OSSL_PARAM *p = params; p->key != NULL; p++) {
        for (size_t i = 0; i < l->n; i++) {
            if (strcmp(p->key, l->name[i]) == 0) {
                OSSL_PARAM_set_utf8_ptr(p, l->value[i]);
            }
        }
    }
    return 1;
}

/* Asked before anything is judged. */
static void ask_switches(const struct prov_conf *c)
{
    (void)prov_conf_reference_has_public(c);
    (void)prov_conf_tls_rsa_by_token(c);
    (void)prov_conf_load_default(c);
    (void)prov_conf_is_remote(c);
    for (int operation = 0; operation < 32; operation++) {
        (void)prov_conf_blocks(c, operation);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lines l = { .text = fuzz_text(hsm_bytes_of(data, size)) };
    struct hsm_settings settings;
    struct prov_conf c;
    hsm_rc rc;

    split(&l);
    hsm_settings_init(&settings);
    fuzz_check(prov_conf_read(&c, (const OSSL_CORE_HANDLE *)&l, get_params));
    ask_switches(&c);
    rc = prov_conf_judge(&c, &settings);
    fuzz_check(hsm_ok(rc) || fuzz_is_clean(rc, HSM_E_SETTING, 0));
    fuzz_check(hsm_ok(rc) || hsm_detail()[0] != '\0');
    fuzz_check(settings.n_modules <= HSM_MODULES_MAX);
    hsm_settings_clear(&settings);
    prov_conf_clear(&c);
    free(l.text);
    return 0;
}
