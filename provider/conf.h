/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: rows of name, type, default and help.
 *
 * They are copied in OSSL_provider_init(), where nothing may fail, and judged
 * at the first use that needs a token: a wrong one is then an error that names
 * the setting, the value and what is allowed. Environment variables that
 * settings name are captured at the same moment as the settings.
 */
#ifndef PROV_CONF_H
#define PROV_CONF_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include "src/module/context.h"

#define PROV_MODULES_MAX HSM_MODULES_MAX

struct prov_conf {
    char *unknown;              /* what is wrong with a key that no row has */
    char **value;               /* by row, owned; NULL: not set */
    char *env_module;           /* PKCS11_PROVIDER_MODULE */
    char *env_debug;            /* PKCS11_PROVIDER_DEBUG */
    char **captured_env;        /* module-env with values of init time */
};

/* Copies what the core has. False only when memory is short. */
bool prov_conf_read(struct prov_conf *c, const OSSL_CORE_HANDLE *handle,
                    OSSL_FUNC_core_get_params_fn *get_params);
void prov_conf_clear(struct prov_conf *c);

/* The core's settings, or HSM_E_SETTING naming key, value and what is
 * allowed. out must have been initialised by hsm_settings_init(). */
HSM_CHECKED hsm_rc prov_conf_judge(const struct prov_conf *c,
                                   struct hsm_settings *out);

/* Switches that the provider itself needs, readable before judging: a wrong
 * value counts as the default until judged. */
bool prov_conf_reference_has_public(const struct prov_conf *c);
bool prov_conf_certificate_chain(const struct prov_conf *c);
bool prov_conf_tls_rsa_by_token(const struct prov_conf *c);
bool prov_conf_blocks(const struct prov_conf *c, int operation_id);
bool prov_conf_load_default(const struct prov_conf *c);
/* All modules are said to live in other processes. */
bool prov_conf_is_remote(const struct prov_conf *c);

#endif
