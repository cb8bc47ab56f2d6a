/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/conf_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/params.h>

#include "provider/conf_table.h"

#define NAME_MAX_BYTES 64
/* Each setting has at most 8 names, each module 4 and those of the table. */
#define PROBES_MAX (8 * PROV_SETTINGS + 24 * PROV_MODULES_MAX + 128)

/* A name to ask the core for: a setting, or what is written in its stead. */
struct probe {
    char name[NAME_MAX_BYTES];
    char right[NAME_MAX_BYTES]; /* wrong names: how it is written */
    const char *why;            /* wrong names: what else is the matter */
    size_t slot;                /* PROV_CONF_SLOTS: a wrong name */
    char *found;                /* the core's, or NULL */
};

struct probes {
    struct probe v[PROBES_MAX];
    OSSL_PARAM params[PROBES_MAX + 1];
    size_t n;
};

static struct probe *probe_next(struct probes *ps, size_t slot)
{
    struct probe *p = &ps->v[ps->n < PROBES_MAX - 1 ? ps->n++ : ps->n];

    memset(p, 0, sizeof(*p));
    p->slot = slot;
    return p;
}

static void probe_wrong(struct probes *ps, const char *name, const char *right)
{
    struct probe *p = probe_next(ps, PROV_CONF_SLOTS);

    snprintf(p->name, sizeof(p->name), "%s", name);
    snprintf(p->right, sizeof(p->right), "%s", right);
}

/* The name as it is, and with underscores. */
static void probe_both(struct probes *ps, const char *name, const char *right)
{
    struct probe *p;
    char *c;

    if (strcmp(name, right) != 0) {
        probe_wrong(ps, name, right);
    }
    if (strchr(name, '-') == NULL) {
        return;
    }
    probe_wrong(ps, name, right);
    p = &ps->v[ps->n - 1];
    for (c = strchr(p->name, '-'); c != NULL; c = strchr(c, '-')) {
        *c = '_';
    }
}

/* One setting, and the names that come from leaving a part of it out. */
static void probe_setting(struct probes *ps, size_t id)
{
    const char *name = prov_settings[id].name;
    const char *short_name = name + strlen(PROV_SETTING_PREFIX);
    const char *bare = short_name + strlen(PROV_SETTING_MODULE);
    struct probe *p = probe_next(ps, id);
    char partly[NAME_MAX_BYTES];

    snprintf(p->name, sizeof(p->name), "%s", name);
    snprintf(partly, sizeof(partly), "%s%s", PROV_SETTING_PREFIX, bare);
    probe_both(ps, name, name);
    probe_both(ps, partly, name);
    probe_both(ps, short_name, name);
    probe_both(ps, bare, name);
}

static void probe_module(struct probes *ps, unsigned int n)
{
    const struct prov_wrong_name *w;
    struct probe *p;
    size_t id;

    for (id = 0; id < PROV_MODULE_SETTINGS; id++) {
        p = probe_next(ps, PROV_CONF_SLOT(n, id));
        snprintf(p->name, sizeof(p->name), "module%u.%s", n,
                 prov_module_settings[id].name);
    }
    for (w = prov_wrong_module_names; w->wrong != NULL; w++) {
        p = probe_next(ps, PROV_CONF_SLOTS);
        snprintf(p->name, sizeof(p->name), "module%u.%s", n, w->wrong);
        snprintf(p->right, sizeof(p->right), "module%u.%s", n, w->right);
    }
    p = probe_next(ps, PROV_CONF_SLOTS);
    snprintf(p->name, sizeof(p->name), "module%u", n);
    p->why = "names a section that is not there";
}

static void probe_all(struct probes *ps)
{
    static const unsigned int beyond[] = { 0, PROV_MODULES_MAX + 1 };
    const struct prov_wrong_name *w;
    struct probe *p;
    unsigned int n;
    size_t i;

    for (i = 0; i < PROV_SETTINGS; i++) {
        probe_setting(ps, i);
    }
    for (w = prov_wrong_names; w->wrong != NULL; w++) {
        probe_wrong(ps, w->wrong, w->right);
    }
    for (n = 1; n <= PROV_MODULES_MAX; n++) {
        probe_module(ps, n);
    }
    for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        p = probe_next(ps, PROV_CONF_SLOTS);
        snprintf(p->name, sizeof(p->name), "module%u.path", beyond[i]);
        p->why = "is not used: modules are numbered from 1 to 16";
    }
}

static bool probe_keep_wrong(const struct probe *p, char **out)
{
    char text[2 * NAME_MAX_BYTES + 64];

    if (p->why != NULL) {
        snprintf(text, sizeof(text), "\"%s\" %s", p->name, p->why);
    } else {
        snprintf(text, sizeof(text), "\"%s\" is no setting; write \"%s\"",
                 p->name, p->right);
    }
    *out = hsm_strdup(text);
    return *out != NULL;
}

/* Copies what the core has put into the probes. */
static bool probe_keep(struct prov_conf *c, const struct probes *ps)
{
    const struct probe *p;
    bool good = true;
    size_t i;

    for (i = 0; i < ps->n && good; i++) {
        p = &ps->v[i];
        if (p->found == NULL) {
            continue;
        }
        if (p->slot < PROV_CONF_SLOTS) {
            c->value[p->slot] = hsm_strdup(p->found);
            good = c->value[p->slot] != NULL;
        } else if (c->unknown == NULL) {
            good = probe_keep_wrong(p, &c->unknown);
        }
    }
    return good;
}

bool prov_conf_probe(struct prov_conf *c, const OSSL_CORE_HANDLE *handle,
                     OSSL_FUNC_core_get_params_fn *get_params)
{
    struct probes *ps = hsm_zalloc(sizeof(*ps));
    bool good = true;
    size_t i;

    if (ps == NULL) {
        return false;
    }
    probe_all(ps);
    for (i = 0; i < ps->n; i++) {
        ps->params[i] = OSSL_PARAM_construct_utf8_ptr(ps->v[i].name,
                                                      &ps->v[i].found, 0);
    }
    ps->params[ps->n] = OSSL_PARAM_construct_end();
    if (get_params(handle, ps->params)) {
        good = probe_keep(c, ps);
    }
    free(ps);
    return good;
}
