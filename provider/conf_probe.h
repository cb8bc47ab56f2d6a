/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the core for settings. It answers to names but does not list them, so
 * likely wrong names are asked for as well.
 */
#ifndef PROV_CONF_PROBE_H
#define PROV_CONF_PROBE_H

#include "provider/conf.h"
#include "provider/conf_table.h"

/* The place of a value: single settings by their id, then those of modules,
 * which are numbered from 1. */
#define PROV_CONF_SLOT(n, id) \
    ((size_t)PROV_SETTINGS \
     + (size_t)((n) - 1) * PROV_MODULE_SETTINGS + (size_t)(id))
#define PROV_CONF_SLOTS PROV_CONF_SLOT(PROV_MODULES_MAX + 1, 0)

/* Fills c->value, which has PROV_CONF_SLOTS places, and c->unknown. False only
 * when memory is short. */
bool prov_conf_probe(struct prov_conf *c, const OSSL_CORE_HANDLE *handle,
                     OSSL_FUNC_core_get_params_fn *get_params);

#endif
