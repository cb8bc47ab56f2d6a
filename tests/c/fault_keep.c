/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scenario of what is kept on a token: RSA keys that are made there and
 * deleted again, what searches find, keys that want their PIN at each use, keys
 * that are copied (with cache-keys).
 */
#include "tests/c/fault_steps.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/store.h>
#include <openssl/x509.h>

/* Small, so that it is soon made: a case makes one. */
#define MADE_BITS 1024

static bool step_load_always(struct fault_run *r)
{
    return fault_load(r, KEY_ALWAYS);
}

static bool step_sign_always(struct fault_run *r)
{
    return fault_sign(r, KEY_ALWAYS);
}

static bool step_load_ec(struct fault_run *r)
{
    return fault_load(r, KEY_EC);
}

static bool step_sign_ec(struct fault_run *r)
{
    return fault_sign(r, KEY_EC);
}

/* Its copy goes with it. */
static bool step_free_ec(struct fault_run *r)
{
    EVP_PKEY_free(r->key[KEY_EC]);
    r->key[KEY_EC] = NULL;
    return true;
}

static bool step_generate(struct fault_run *r)
{
    return fault_generate(r, "RSA", OSSL_PKEY_PARAM_RSA_BITS, MADE_BITS, NULL);
}

static bool step_sign_made(struct fault_run *r)
{
    return fault_sign(r, KEY_MADE);
}

/* ---- searches ---- */

/* What comes: how many, and the last of the kind that is asked for. */
struct found {
    int n;
    EVP_PKEY *key;
    X509 *cert;
};

static void found_clear(struct found *f)
{
    EVP_PKEY_free(f->key);
    X509_free(f->cert);
    memset(f, 0, sizeof(*f));
}

static void found_add(struct found *f, OSSL_STORE_INFO *info)
{
    EVP_PKEY *key = OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY
        ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
    X509 *cert = OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_CERT
        ? OSSL_STORE_INFO_get1_CERT(info) : NULL;

    f->n++;
    if (key != NULL) {
        EVP_PKEY_free(f->key);
        f->key = key;
    }
    if (cert != NULL) {
        X509_free(f->cert);
        f->cert = cert;
    }
}

/* True when all came that there is. */
static bool search(struct fault_run *r, OSSL_STORE_SEARCH *by, int expect,
                   struct found *f)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(r->known->token_uri, r->ctx,
                                               NULL, NULL, NULL, NULL, NULL,
                                               NULL);
    bool good = store != NULL && by != NULL
        && OSSL_STORE_expect(store, expect) == 1
        && OSSL_STORE_find(store, by) == 1;

    while (good && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL) {
            good = !OSSL_STORE_error(store);
            continue;
        }
        found_add(f, info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return good;
}

static bool step_find_subject(struct fault_run *r)
{
    X509_NAME *name = X509_NAME_new();
    OSSL_STORE_SEARCH *by = NULL;
    struct found f = { 0, NULL, NULL };
    bool good = name != NULL
        && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                      (const unsigned char *)"fault", -1, -1,
                                      0) == 1;

    by = good ? OSSL_STORE_SEARCH_by_name(name) : NULL;
    good = search(r, by, OSSL_STORE_INFO_CERT, &f);
    if (good && !r->may_miss
        && (f.n != 1
            || X509_NAME_cmp(X509_get_subject_name(f.cert), name) != 0)) {
        r->wrong = "a search for a subject that misses it";
    }
    found_clear(&f);
    OSSL_STORE_SEARCH_free(by);
    X509_NAME_free(name);
    return good;
}

static bool step_find_alias(struct fault_run *r)
{
    OSSL_STORE_SEARCH *by = OSSL_STORE_SEARCH_by_alias("rsa");
    struct found f = { 0, NULL, NULL };
    bool good = search(r, by, OSSL_STORE_INFO_PKEY, &f);

    if (good && !r->may_miss
        && (f.n != 1
            || !fault_is_same(f.key, r->known->public_key[KEY_RSA]))) {
        r->wrong = "a search for an alias that misses its key";
    }
    found_clear(&f);
    OSSL_STORE_SEARCH_free(by);
    return good;
}

/* ---- deleting ---- */

/* Not there before OpenSSL 3.2, so it is not linked; then it is left out. */
static bool delete_half(struct fault_run *r, const char *type)
{
    union {
        void *p;
        int (*f)(const char *uri, OSSL_LIB_CTX *libctx, const char *propq,
                 const UI_METHOD *ui, void *ui_data,
                 const OSSL_PARAM params[]);
    } store_delete = { .p = dlsym(RTLD_DEFAULT, "OSSL_STORE_delete") };
    char uri[sizeof(r->made_uri) + 20];

    if (store_delete.p == NULL) {
        return true;
    }
    snprintf(uri, sizeof(uri), "%s;type=%s", r->made_uri, type);
    r->n_deletions++;
    if (store_delete.f(uri, r->ctx, NULL, NULL, NULL, NULL) != 1) {
        return false;
    }
    r->n_deleted++;
    return true;
}

static bool step_delete_private(struct fault_run *r)
{
    return delete_half(r, "private");
}

static bool step_delete_public(struct fault_run *r)
{
    return delete_half(r, "public");
}

/* ---- all of them ---- */

static bool step_free(struct fault_run *r)
{
    fault_free(r);
    return true;
}

static const struct fault_step steps[] = {
    { "load always", step_load_always, N_KEYS, false, false },
    { "sign always", step_sign_always, KEY_ALWAYS, false, false },
    { "load EC", step_load_ec, N_KEYS, false, false },
    { "sign EC", step_sign_ec, KEY_EC, false, false },
    { "sign EC again", step_sign_ec, KEY_EC, false, false },
    { "generate RSA", step_generate, N_KEYS, true, false },
    { "sign RSA made", step_sign_made, KEY_MADE, false, false },
    { "find a subject", step_find_subject, N_KEYS, false, false },
    { "find an alias", step_find_alias, N_KEYS, false, false },
    { "delete private", step_delete_private, KEY_MADE, false, true },
    { "delete public", step_delete_public, KEY_MADE, false, true },
    { "free EC", step_free_ec, KEY_EC, false, false },
    { "sign always again", step_sign_always, KEY_ALWAYS, false, false },
    { "free", step_free, N_KEYS, false, false },
};

const struct fault_scenario fault_keep = {
    "keep", steps, sizeof(steps) / sizeof(steps[0])
};
