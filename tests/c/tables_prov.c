/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lint over what is offered to libcrypto. It drops an algorithm silently
 * when its dispatch table is not in order or its names are not the default
 * provider's, so everything that is listed is also fetched. Prints TAP.
 */
#include <string.h>

#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#include "provider/keymgmt/keymgmt.h"
#include "provider/pkey/pkey_table.h"
#include "provider/query.h"
#include "provider/signature/sig_table.h"
#include "src/crypto/mech.h"
#include "src/object/keytype.h"
#include "tests/c/tap.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

extern int OSSL_provider_init(const OSSL_CORE_HANDLE *handle,
                              const OSSL_DISPATCH *in,
                              const OSSL_DISPATCH **out, void **provctx);

static OSSL_LIB_CTX *libctx;
static OSSL_PROVIDER *ours, *theirs;

/* ---- what each operation has to have, on OpenSSL 3.0 ---- */

/* Ids by number, each list ends with 0. A set is all there, or not at all. */
struct rule {
    int operation;
    const char *name;
    bool composite;             /* signatures of one hash, or those of any */
    int must[12];
    int sets[12][5];
    bool default_has;           /* the default provider has the same names */
};

static const struct rule rules[] = {
    { OSSL_OP_KEYMGMT, "keymgmt", false,
      { OSSL_FUNC_KEYMGMT_NEW, OSSL_FUNC_KEYMGMT_FREE, OSSL_FUNC_KEYMGMT_HAS,
        OSSL_FUNC_KEYMGMT_MATCH, OSSL_FUNC_KEYMGMT_LOAD, OSSL_FUNC_KEYMGMT_DUP,
        OSSL_FUNC_KEYMGMT_IMPORT, OSSL_FUNC_KEYMGMT_EXPORT,
        OSSL_FUNC_KEYMGMT_GET_PARAMS, OSSL_FUNC_KEYMGMT_GEN, 0 },
      { { OSSL_FUNC_KEYMGMT_GET_PARAMS, OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS },
        { OSSL_FUNC_KEYMGMT_SET_PARAMS, OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS },
        { OSSL_FUNC_KEYMGMT_GEN, OSSL_FUNC_KEYMGMT_GEN_INIT,
          OSSL_FUNC_KEYMGMT_GEN_CLEANUP },
        { OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS,
          OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS },
        { OSSL_FUNC_KEYMGMT_IMPORT, OSSL_FUNC_KEYMGMT_IMPORT_TYPES },
        { OSSL_FUNC_KEYMGMT_EXPORT, OSSL_FUNC_KEYMGMT_EXPORT_TYPES } },
      true },
    { OSSL_OP_SIGNATURE, "signature", false,
      { OSSL_FUNC_SIGNATURE_NEWCTX, OSSL_FUNC_SIGNATURE_FREECTX,
        OSSL_FUNC_SIGNATURE_DUPCTX, OSSL_FUNC_SIGNATURE_SIGN,
        OSSL_FUNC_SIGNATURE_VERIFY, OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL,
        OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL,
        OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, 0 },
      { { OSSL_FUNC_SIGNATURE_SIGN_INIT, OSSL_FUNC_SIGNATURE_SIGN },
        { OSSL_FUNC_SIGNATURE_VERIFY_INIT, OSSL_FUNC_SIGNATURE_VERIFY },
        { OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT,
          OSSL_FUNC_SIGNATURE_VERIFY_RECOVER },
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT,
          OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE,
          OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL,
          OSSL_FUNC_SIGNATURE_DIGEST_SIGN },
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT,
          OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE,
          OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL,
          OSSL_FUNC_SIGNATURE_DIGEST_VERIFY },
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS,
          OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS },
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS,
          OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS },
        { OSSL_FUNC_SIGNATURE_GET_CTX_MD_PARAMS,
          OSSL_FUNC_SIGNATURE_GETTABLE_CTX_MD_PARAMS },
        { OSSL_FUNC_SIGNATURE_SET_CTX_MD_PARAMS,
          OSSL_FUNC_SIGNATURE_SETTABLE_CTX_MD_PARAMS } },
      true },
    { OSSL_OP_SIGNATURE, "composite signature", true,
      { OSSL_FUNC_SIGNATURE_NEWCTX, OSSL_FUNC_SIGNATURE_FREECTX,
        OSSL_FUNC_SIGNATURE_DUPCTX, OSSL_FUNC_SIGNATURE_SIGN,
        OSSL_FUNC_SIGNATURE_VERIFY, OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT,
        OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT,
        OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS,
        OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, 0 },
      { { OSSL_FUNC_SIGNATURE_SIGN_INIT, OSSL_FUNC_SIGNATURE_SIGN },
        { OSSL_FUNC_SIGNATURE_VERIFY_INIT, OSSL_FUNC_SIGNATURE_VERIFY },
        { OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT,
          OSSL_FUNC_SIGNATURE_VERIFY_RECOVER },
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT,
          OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE,
          OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL },
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT,
          OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE,
          OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL },
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS,
          OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS },
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS,
          OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS } },
      true },
    { OSSL_OP_ASYM_CIPHER, "asymmetric cipher", false,
      { OSSL_FUNC_ASYM_CIPHER_NEWCTX, OSSL_FUNC_ASYM_CIPHER_FREECTX,
        OSSL_FUNC_ASYM_CIPHER_DUPCTX, OSSL_FUNC_ASYM_CIPHER_ENCRYPT,
        OSSL_FUNC_ASYM_CIPHER_DECRYPT, 0 },
      { { OSSL_FUNC_ASYM_CIPHER_ENCRYPT_INIT, OSSL_FUNC_ASYM_CIPHER_ENCRYPT },
        { OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, OSSL_FUNC_ASYM_CIPHER_DECRYPT },
        { OSSL_FUNC_ASYM_CIPHER_GET_CTX_PARAMS,
          OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS },
        { OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS,
          OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS } },
      true },
    { OSSL_OP_KEYEXCH, "key exchange", false,
      { OSSL_FUNC_KEYEXCH_NEWCTX, OSSL_FUNC_KEYEXCH_FREECTX,
        OSSL_FUNC_KEYEXCH_DUPCTX, OSSL_FUNC_KEYEXCH_INIT,
        OSSL_FUNC_KEYEXCH_SET_PEER, OSSL_FUNC_KEYEXCH_DERIVE, 0 },
      { { OSSL_FUNC_KEYEXCH_GET_CTX_PARAMS,
          OSSL_FUNC_KEYEXCH_GETTABLE_CTX_PARAMS },
        { OSSL_FUNC_KEYEXCH_SET_CTX_PARAMS,
          OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS } },
      true },
    { OSSL_OP_KEM, "key encapsulation", false,
      { OSSL_FUNC_KEM_NEWCTX, OSSL_FUNC_KEM_FREECTX, OSSL_FUNC_KEM_DUPCTX,
        OSSL_FUNC_KEM_ENCAPSULATE, OSSL_FUNC_KEM_DECAPSULATE, 0 },
      { { OSSL_FUNC_KEM_ENCAPSULATE_INIT, OSSL_FUNC_KEM_ENCAPSULATE },
        { OSSL_FUNC_KEM_DECAPSULATE_INIT, OSSL_FUNC_KEM_DECAPSULATE },
        { OSSL_FUNC_KEM_AUTH_ENCAPSULATE_INIT,
          OSSL_FUNC_KEM_AUTH_DECAPSULATE_INIT },
        { OSSL_FUNC_KEM_GET_CTX_PARAMS,
          OSSL_FUNC_KEM_GETTABLE_CTX_PARAMS },
        { OSSL_FUNC_KEM_SET_CTX_PARAMS,
          OSSL_FUNC_KEM_SETTABLE_CTX_PARAMS } },
      true },
    { OSSL_OP_STORE, "store", false,
      { OSSL_FUNC_STORE_OPEN, OSSL_FUNC_STORE_LOAD, OSSL_FUNC_STORE_EOF,
        OSSL_FUNC_STORE_CLOSE, OSSL_FUNC_STORE_EXPORT_OBJECT, 0 },
      { { OSSL_FUNC_STORE_SET_CTX_PARAMS,
          OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS } },
      false },
    { OSSL_OP_DECODER, "decoder", false,
      { OSSL_FUNC_DECODER_NEWCTX, OSSL_FUNC_DECODER_FREECTX,
        OSSL_FUNC_DECODER_DECODE, OSSL_FUNC_DECODER_DOES_SELECTION,
        OSSL_FUNC_DECODER_EXPORT_OBJECT, 0 },
      { { OSSL_FUNC_DECODER_SET_CTX_PARAMS,
          OSSL_FUNC_DECODER_SETTABLE_CTX_PARAMS } },
      false },
    { OSSL_OP_ENCODER, "encoder", false,
      { OSSL_FUNC_ENCODER_NEWCTX, OSSL_FUNC_ENCODER_FREECTX,
        OSSL_FUNC_ENCODER_ENCODE, OSSL_FUNC_ENCODER_DOES_SELECTION, 0 },
      { { OSSL_FUNC_ENCODER_IMPORT_OBJECT, OSSL_FUNC_ENCODER_FREE_OBJECT } },
      false }
};

static int count_id(const OSSL_DISPATCH *table, int id)
{
    int n = 0;

    for (; table->function_id != 0; table++) {
        n += table->function_id == id ? 1 : 0;
    }
    return n;
}

static bool is_once_each(const OSSL_DISPATCH *table)
{
    const OSSL_DISPATCH *d;

    for (d = table; d->function_id != 0; d++) {
        if (count_id(table, d->function_id) != 1 || d->function == NULL) {
            diag("function %d is doubled, or NULL", d->function_id);
            return false;
        }
    }
    return d != table;
}

static bool is_complete(const struct rule *rule, const OSSL_DISPATCH *table)
{
    size_t i, k;

    for (i = 0; rule->must[i] != 0; i++) {
        if (count_id(table, rule->must[i]) == 0) {
            diag("function %d is missing", rule->must[i]);
            return false;
        }
    }
    for (i = 0; i < N(rule->sets) && rule->sets[i][0] != 0; i++) {
        int first = count_id(table, rule->sets[i][0]);

        for (k = 1; k < 5 && rule->sets[i][k] != 0; k++) {
            if (count_id(table, rule->sets[i][k]) != first) {
                diag("%d or %d is missing", rule->sets[i][0],
                     rule->sets[i][k]);
                return false;
            }
        }
    }
    return true;
}

/* The default provider has a row of just these names. */
static bool are_names_of_default(int operation, const char *names)
{
    int no_cache = 0;
    const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(theirs, operation,
                                                            &no_cache);

    for (; a != NULL && a->algorithm_names != NULL; a++) {
        if (strcmp(a->algorithm_names, names) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_properties(const struct rule *rule, const char *properties)
{
    if (rule->operation == OSSL_OP_ENCODER) {
        return strncmp(properties, PROV_PROPS ",output=",
                       strlen(PROV_PROPS ",output=")) == 0;
    }
    if (rule->operation == OSSL_OP_DECODER) {
        return strncmp(properties, PROV_PROPS ",input=",
                       strlen(PROV_PROPS ",input=")) == 0;
    }
    return strcmp(properties, PROV_PROPS) == 0;
}

static bool is_alone(const OSSL_ALGORITHM *all, const OSSL_ALGORITHM *a)
{
    size_t n = 0;

    for (; all->algorithm_names != NULL; all++) {
        n += strcmp(all->algorithm_names, a->algorithm_names) == 0
             && strcmp(all->property_definition, a->property_definition) == 0;
    }
    return n == 1;
}

/* Whether libcrypto has kept it, by its first name. */
static bool is_fetched(int operation, const char *names, const char *query)
{
    char name[64];
    bool there = false;

#define FETCH(op, TYPE) \
    if (operation == (op)) { \
        void *got = TYPE##_fetch(libctx, name, query); \
        there = got != NULL; \
        TYPE##_free(got); \
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(names, ":"), names);
    FETCH(OSSL_OP_KEYMGMT, EVP_KEYMGMT)
    FETCH(OSSL_OP_SIGNATURE, EVP_SIGNATURE)
    FETCH(OSSL_OP_ASYM_CIPHER, EVP_ASYM_CIPHER)
    FETCH(OSSL_OP_KEYEXCH, EVP_KEYEXCH)
    FETCH(OSSL_OP_KEM, EVP_KEM)
    FETCH(OSSL_OP_STORE, OSSL_STORE_LOADER)
    FETCH(OSSL_OP_DECODER, OSSL_DECODER)
    FETCH(OSSL_OP_ENCODER, OSSL_ENCODER)
    return there;
}

static bool is_composite(const OSSL_DISPATCH *table)
{
    return count_id(table, OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES) != 0;
}

static bool is_for(const struct rule *rule, const OSSL_DISPATCH *table)
{
    return rule->operation != OSSL_OP_SIGNATURE
           || rule->composite == is_composite(table);
}

static void check_operation(const struct rule *rule)
{
    int no_cache = 0;
    const OSSL_ALGORITHM *all, *a;

    all = OSSL_PROVIDER_query_operation(ours, rule->operation, &no_cache);
    ok(all != NULL && no_cache == 0, "%s: offered, and may be kept",
       rule->name);
    ok(all == OSSL_PROVIDER_query_operation(ours, rule->operation, &no_cache),
       "%s: always the same", rule->name);
    for (a = all; a != NULL && a->algorithm_names != NULL; a++) {
        if (!is_for(rule, a->implementation)) {
            continue;
        }
        ok(is_once_each(a->implementation), "%s %s: each function once",
           rule->name, a->algorithm_names);
        ok(is_complete(rule, a->implementation), "%s %s: complete", rule->name,
           a->algorithm_names);
        ok(has_properties(rule, a->property_definition)
           && is_alone(all, a), "%s %s: properties %s", rule->name,
           a->algorithm_names, a->property_definition);
        ok(a->algorithm_description != NULL, "%s %s: described", rule->name,
           a->algorithm_names);
        ok(!rule->default_has
           || are_names_of_default(rule->operation, a->algorithm_names),
           "%s %s: the default provider's names", rule->name,
           a->algorithm_names);
        ok(is_fetched(rule->operation, a->algorithm_names,
                      a->property_definition), "%s %s: fetched", rule->name,
           a->algorithm_names);
    }
}

/* ---- composite signatures, of the OpenSSL that has them ---- */

static size_t count_composites(const OSSL_ALGORITHM *all)
{
    size_t n = 0;

    for (; all != NULL && all->algorithm_names != NULL; all++) {
        n += is_composite(all->implementation) ? 1 : 0;
    }
    return n;
}

/* What the default provider has for RSA and ECDSA, by its names. */
static bool is_wanted(const OSSL_ALGORITHM *theirs_row)
{
    return is_composite(theirs_row->implementation)
           && (strncmp(theirs_row->algorithm_names, "RSA-", 4) == 0
               || strncmp(theirs_row->algorithm_names, "ECDSA-", 6) == 0);
}

static void check_composites(void)
{
    int no_cache = 0;
    const OSSL_ALGORITHM *row, *all = OSSL_PROVIDER_query_operation(
        ours, OSSL_OP_SIGNATURE, &no_cache);
    size_t wanted = 0;
    static const struct {
        unsigned int major, minor;
        bool offered;
    } cores[] = {
        { 3, 0, false }, { 3, 3, false }, { 3, 4, true }, { 3, 5, true },
        { 4, 0, true }
    };
    size_t i;

    for (row = OSSL_PROVIDER_query_operation(theirs, OSSL_OP_SIGNATURE,
                                             &no_cache);
         row != NULL && row->algorithm_names != NULL; row++) {
        wanted += is_wanted(row) ? 1 : 0;
    }
    is_int((long long)count_composites(all), (long long)wanted,
           "as many composites as the default provider has");
    is_int((long long)count_composites(prov_signature_algorithms), 0,
           "none for an older OpenSSL");
    ok(count_composites(prov_signature_composites) >= 20, "20 and more");
    for (i = 0; i < N(cores); i++) {
        struct prov_ctx ctx = { .core_major = cores[i].major,
                                .core_minor = cores[i].minor };
        const OSSL_ALGORITHM *got = prov_query_operation(
            &ctx, OSSL_OP_SIGNATURE, &no_cache);

        ok((count_composites(got) > 0) == cores[i].offered && no_cache == 0,
           "%u.%u: composites are %s", cores[i].major, cores[i].minor,
           cores[i].offered ? "offered" : "not offered");
    }
}

static void check_operations(void)
{
    int operation, no_cache;
    size_t i;

    for (i = 0; i < N(rules); i++) {
        check_operation(&rules[i]);
    }
    for (operation = 1; operation <= OSSL_OP__HIGHEST; operation++) {
        for (i = 0; i < N(rules) && rules[i].operation != operation; i++) {
            continue;
        }
        ok(i < N(rules) || OSSL_PROVIDER_query_operation(
               ours, operation, &no_cache) == NULL,
           "operation %d has a rule, or is not offered", operation);
    }
}

/* ---- rows of keys and of ways to sign ---- */

static void check_keytypes(void)
{
    const struct prov_keytype *const *row;
    static const char *const outputs[] = {
        "output=pem,structure=PrivateKeyInfo",
        "output=pem,structure=EncryptedPrivateKeyInfo",
        "output=der,structure=PrivateKeyInfo", "output=text"
    };
    size_t i;

    for (row = prov_keytypes(); *row != NULL; row++) {
        const struct prov_keytype *t = *row;

        ok(prov_keytype_by_name(t->name) == t, "%s: found by name", t->name);
        ok(hsm_keytype_of(t->ckk) != NULL, "%s: the core's type", t->name);
        ok(t->uses != 0 && t->types(OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != NULL
           && t->types(0) == NULL, "%s: uses and lists", t->name);
        ok(is_fetched(OSSL_OP_SIGNATURE, t->operation, PROV_PROPS),
           "%s: signs by %s", t->name, t->operation);
        ok(t->agreement == NULL
           || is_fetched(OSSL_OP_KEYEXCH, t->agreement, PROV_PROPS),
           "%s: agreement", t->name);
        ok(is_fetched(OSSL_OP_DECODER, t->name, PROV_PROPS),
           "%s: decoder", t->name);
        for (i = 0; i < N(outputs); i++) {
            char query[128];

            snprintf(query, sizeof(query), PROV_PROPS ",%s", outputs[i]);
            ok(is_fetched(OSSL_OP_ENCODER, t->name, query), "%s: %s", t->name,
               outputs[i]);
        }
    }
}

static void check_ways(void)
{
    char unnamed[24];
    size_t i;

    for (i = 0; i < prov_sig_n_ways; i++) {
        const struct prov_sig_way *w = &prov_sig_ways[i];
        const char *name = hsm_mech_name(w->mechanism, unnamed);

        ok(strncmp(name, "CKM_", 4) == 0, "way %zu: %s has a name", i, name);
        ok(!w->pss || (w->scheme == PROV_SCHEME_PSS
                       && (w->input == PROV_INPUT_AS_IS
                           || w->input == PROV_INPUT_MESSAGE)),
           "way %zu: parameters where the token encodes", i);
        ok((w->input == PROV_INPUT_MESSAGE) == (w->by_hash != 0)
           && (w->by_hash == 0 || w->mechanism == 0),
           "way %zu: goes by the hash where the token hashes", i);
        ok(i == 0 || w->scheme != w[-1].scheme || w[-1].by_hash == 0,
           "way %zu: not behind one that needs the message", i);
    }
    for (i = 0; i < prov_dec_n_ways; i++) {
        const struct prov_dec_way *w = &prov_dec_ways[i];
        const char *name = hsm_mech_name(w->mechanism, unnamed);

        ok(strncmp(name, "CKM_", 4) == 0, "decryption %zu: %s has a name", i,
           name);
        ok((w->mechanism == CKM_RSA_X_509) != w->unpads,
           "decryption %zu: raw RSA is unpadded here", i);
        ok(!w->if_allowed || (w->unpads && w->scheme == PROV_DEC_TLS),
           "decryption %zu: what tells of padding is not for TLS", i);
        ok(i == 0 || w[-1].scheme != w->scheme || (!w[-1].unpads && w->unpads),
           "decryption %zu: the best first", i);
    }
    ok(prov_dec_is_bad_padding(CKR_ENCRYPTED_DATA_INVALID)
       && !prov_dec_is_bad_padding(CKR_DEVICE_REMOVED)
       && !prov_dec_is_bad_padding(CKR_USER_NOT_LOGGED_IN),
       "what is said of padding, and of other things");
}

/* ---- TLS groups ---- */

struct groups {
    size_t n;
    bool good;
    char name[128][32];         /* a group has several, "P-256" is one */
};

static int see_group(const OSSL_PARAM params[], void *arg)
{
    static const char *const texts[] = {
        "tls-group-name", "tls-group-name-internal", "tls-group-alg"
    };
    static const char *const numbers[] = {
        "tls-group-id", "tls-group-sec-bits", "tls-min-tls", "tls-max-tls",
        "tls-min-dtls", "tls-max-dtls"
    };
    struct groups *g = arg;
    const OSSL_PARAM *p;
    const char *text = NULL;
    size_t i;

    for (i = 0; i < N(texts); i++) {
        p = OSSL_PARAM_locate_const(params, texts[i]);
        g->good = g->good && p != NULL
                  && OSSL_PARAM_get_utf8_string_ptr(p, &text)
                  && text[0] != '\0';
    }
    g->good = g->good && prov_keytype_by_name(text) != NULL;
    for (i = 0; i < N(numbers); i++) {
        p = OSSL_PARAM_locate_const(params, numbers[i]);
        g->good = g->good && p != NULL;
    }
    p = OSSL_PARAM_locate_const(params, texts[0]);
    g->good = g->good && g->n < N(g->name)
              && OSSL_PARAM_get_utf8_string_ptr(p, &text);
    for (i = 0; g->good && i < g->n; i++) {
        g->good = strcmp(g->name[i], text) != 0;
    }
    if (g->good) {
        snprintf(g->name[g->n++], sizeof(g->name[0]), "%s", text);
    }
    return 1;
}

static void check_groups(void)
{
    OSSL_LIB_CTX *private = OSSL_LIB_CTX_new();
    struct prov_ctx ctx = { .libctx = private, .core_major = 3 };
    struct groups g = { .good = true }, none = { .good = true };
    int said = prov_get_capabilities(&ctx, "TLS-GROUP", see_group, &g);

    ok(said == 1 && g.good && g.n >= 3,
       "%zu TLS groups on 3.0, each once, of our key types", g.n);
    said = prov_get_capabilities(&ctx, "TLS-SIGALG", see_group, &none);
    ok(said == 1 && none.n == 0, "no signature algorithms");
    ctx.core_minor = 5;
    said = prov_get_capabilities(&ctx, "TLS-GROUP", see_group, &none);
    ok(said == 1 && none.n == 0, "no groups on 3.5");
    OSSL_LIB_CTX_free(private);
}

static size_t count_kem(unsigned int minor)
{
    struct prov_ctx ctx = { .core_major = 3, .core_minor = minor };
    int no_cache = 0;
    const OSSL_ALGORITHM *a = prov_query_operation(&ctx, OSSL_OP_KEM,
                                                   &no_cache);
    size_t n = 0;

    for (; a != NULL && a[n].algorithm_names != NULL; n++) {
        continue;
    }
    return n;
}

/* EC keys encapsulate where the default provider's do, too. */
static void check_kem(void)
{
    size_t newest = are_names_of_default(OSSL_OP_KEM,
                                         "EC:id-ecPublicKey:1.2.840.10045.2.1")
                    ? 2 : 1;

    is_int((long long)count_kem(0), 1, "3.0 encapsulates by RSA");
    is_int((long long)count_kem(1), 1, "so does 3.1");
    is_int((long long)count_kem(2), (long long)newest,
           "3.2 by EC too, if our libcrypto does");
}

int main(void)
{
    libctx = OSSL_LIB_CTX_new();
    if (OSSL_PROVIDER_add_builtin(libctx, "pkcs11", OSSL_provider_init) == 1) {
        theirs = OSSL_PROVIDER_load(libctx, "default");
        ours = OSSL_PROVIDER_load(libctx, "pkcs11");
    }
    if (!ok(ours != NULL && theirs != NULL, "providers")) {
        return tap_done();
    }
    check_operations();
    check_composites();
    check_keytypes();
    check_ways();
    check_groups();
    check_kem();
    OSSL_PROVIDER_unload(ours);
    OSSL_PROVIDER_unload(theirs);
    OSSL_LIB_CTX_free(libctx);
    return tap_done();
}
