/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key types: one row each. A row gives the type its names, and stamps the
 * functions that libcrypto calls without saying which type it means.
 */
#include <string.h>

#include <openssl/params.h>

#include "provider/keymgmt/gen.h"
#include "provider/keymgmt/keymgmt.h"
#include "provider/query.h"
#include "src/crypto/keygen.h"

#define USES_RSA (HSM_USE_SIGN | HSM_USE_DECRYPT | HSM_USE_WRAP)
#define USES_EC  (HSM_USE_SIGN | HSM_USE_DERIVE)

/* id, algorithm names (libcrypto's own, in its order, or it refuses them),
 * operation and agreement names, default group, token's type, uses, lists */
#define KEY_ROWS(X) \
    X(rsa, "RSA", "RSA:rsaEncryption:1.2.840.113549.1.1.1", \
      "RSA", NULL, NULL, CKK_RSA, USES_RSA, rsa) \
    X(rsapss, "RSA-PSS", "RSA-PSS:RSASSA-PSS:1.2.840.113549.1.1.10", \
      "RSA", NULL, NULL, CKK_RSA, HSM_USE_SIGN, rsa) \
    X(ec, "EC", "EC:id-ecPublicKey:1.2.840.10045.2.1", \
      "ECDSA", "ECDH", NULL, CKK_EC, USES_EC, ec)

/*
 * What import takes and export gives. libcrypto asks for it without a provider
 * context, so the default provider's lists cannot be handed on.
 */
#define NUMBER(name) OSSL_PARAM_BN((name), NULL, 0)
#define TEXT(name)   OSSL_PARAM_utf8_string((name), NULL, 0)
#define OCTETS(name) OSSL_PARAM_octet_string((name), NULL, 0)
#define INTEGER(name) OSSL_PARAM_int((name), NULL)

static const OSSL_PARAM rsa_keypair[] = {
    NUMBER("n"), NUMBER("e"), NUMBER("d"),
    NUMBER("rsa-factor1"), NUMBER("rsa-factor2"), NUMBER("rsa-factor3"),
    NUMBER("rsa-factor4"), NUMBER("rsa-factor5"), NUMBER("rsa-factor6"),
    NUMBER("rsa-factor7"), NUMBER("rsa-factor8"), NUMBER("rsa-factor9"),
    NUMBER("rsa-factor10"),
    NUMBER("rsa-exponent1"), NUMBER("rsa-exponent2"), NUMBER("rsa-exponent3"),
    NUMBER("rsa-exponent4"), NUMBER("rsa-exponent5"), NUMBER("rsa-exponent6"),
    NUMBER("rsa-exponent7"), NUMBER("rsa-exponent8"), NUMBER("rsa-exponent9"),
    NUMBER("rsa-exponent10"),
    NUMBER("rsa-coefficient1"), NUMBER("rsa-coefficient2"),
    NUMBER("rsa-coefficient3"), NUMBER("rsa-coefficient4"),
    NUMBER("rsa-coefficient5"), NUMBER("rsa-coefficient6"),
    NUMBER("rsa-coefficient7"), NUMBER("rsa-coefficient8"),
    NUMBER("rsa-coefficient9"),
    OSSL_PARAM_END
};

static const OSSL_PARAM *rsa_types(int selection)
{
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? rsa_keypair : NULL;
}

#define EC_PRIVATE NUMBER("priv")
#define EC_PUBLIC  OCTETS("pub")
#define EC_DOMAIN \
    TEXT("group"), TEXT("encoding"), TEXT("point-format"), \
    TEXT("field-type"), NUMBER("p"), NUMBER("a"), NUMBER("b"), \
    OCTETS("generator"), NUMBER("order"), NUMBER("cofactor"), \
    OCTETS("seed"), INTEGER("decoded-from-explicit")
#define EC_OTHER INTEGER("use-cofactor-flag"), INTEGER("include-public")

#define LIST(name, ...) \
    static const OSSL_PARAM name[] = { __VA_ARGS__, OSSL_PARAM_END }

LIST(ec_1, EC_PRIVATE);
LIST(ec_2, EC_PUBLIC);
LIST(ec_3, EC_PRIVATE, EC_PUBLIC);
LIST(ec_4, EC_DOMAIN);
LIST(ec_5, EC_PRIVATE, EC_DOMAIN);
LIST(ec_6, EC_PUBLIC, EC_DOMAIN);
LIST(ec_7, EC_PRIVATE, EC_PUBLIC, EC_DOMAIN);
LIST(ec_8, EC_OTHER);
LIST(ec_9, EC_PRIVATE, EC_OTHER);
LIST(ec_10, EC_PUBLIC, EC_OTHER);
LIST(ec_11, EC_PRIVATE, EC_PUBLIC, EC_OTHER);
LIST(ec_12, EC_DOMAIN, EC_OTHER);
LIST(ec_13, EC_PRIVATE, EC_DOMAIN, EC_OTHER);
LIST(ec_14, EC_PUBLIC, EC_DOMAIN, EC_OTHER);
LIST(ec_15, EC_PRIVATE, EC_PUBLIC, EC_DOMAIN, EC_OTHER);

/* By what is selected: private 1, public 2, domain 4, other 8. */
static const OSSL_PARAM *const ec_lists[16] = {
    NULL, ec_1, ec_2, ec_3, ec_4, ec_5, ec_6, ec_7,
    ec_8, ec_9, ec_10, ec_11, ec_12, ec_13, ec_14, ec_15
};

static const OSSL_PARAM *ec_types(int selection)
{
    unsigned int i = 0;

    i |= (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? 1 : 0;
    i |= (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? 2 : 0;
    i |= (selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0 ? 4 : 0;
    i |= (selection & OSSL_KEYMGMT_SELECT_OTHER_PARAMETERS) != 0 ? 8 : 0;
    return ec_lists[i];
}

static void *gen_start(struct prov_ctx *ctx, const struct prov_keytype *type,
                       int selection, const OSSL_PARAM params[])
{
    struct prov_gen *gen = prov_gen_new(ctx, type, selection);

    if (gen != NULL && !prov_gen_set_params(gen, params)) {
        prov_gen_cleanup(gen);
        gen = NULL;
    }
    return gen;
}

#define STAMP(id, name, names, op, agree, group, ckk, uses, lists) \
    static const struct prov_keytype id##_row = { \
        (name), (names), (op), (agree), (group), (ckk), (uses), lists##_types \
    }; \
    static OSSL_FUNC_keymgmt_new_fn id##_new; \
    static void *id##_new(void *provctx) \
    { \
        return prov_key_new(provctx, &id##_row); \
    } \
    static OSSL_FUNC_keymgmt_load_fn id##_load; \
    static void *id##_load(const void *reference, size_t size) \
    { \
        return prov_keymgmt_load(&id##_row, reference, size); \
    } \
    static OSSL_FUNC_keymgmt_gen_init_fn id##_gen_init; \
    static void *id##_gen_init(void *provctx, int selection, \
                               const OSSL_PARAM params[]) \
    { \
        return gen_start(provctx, &id##_row, selection, params); \
    } \
    static OSSL_FUNC_keymgmt_gettable_params_fn id##_gettable; \
    static const OSSL_PARAM *id##_gettable(void *provctx) \
    { \
        return prov_keymgmt_gettable(provctx, &id##_row); \
    } \
    static OSSL_FUNC_keymgmt_settable_params_fn id##_settable; \
    static const OSSL_PARAM *id##_settable(void *provctx) \
    { \
        return prov_keymgmt_settable(provctx, &id##_row); \
    } \
    static OSSL_FUNC_keymgmt_query_operation_name_fn id##_operation; \
    static const char *id##_operation(int operation_id) \
    { \
        return prov_keymgmt_operation(&id##_row, operation_id); \
    }
KEY_ROWS(STAMP)

#define ENTRY(number, function) { (number), (void (*)(void))(function) }

#define DISPATCH(id, name, names, op, agree, group, ckk, uses, lists) \
    static const OSSL_DISPATCH id##_functions[] = { \
        ENTRY(OSSL_FUNC_KEYMGMT_NEW, id##_new), \
        ENTRY(OSSL_FUNC_KEYMGMT_FREE, prov_keymgmt_free), \
        ENTRY(OSSL_FUNC_KEYMGMT_LOAD, id##_load), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN_INIT, id##_gen_init), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, prov_gen_set_template), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, prov_gen_set_params), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, \
              prov_gen_settable_params), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN, prov_gen_run), \
        ENTRY(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, prov_gen_cleanup), \
        ENTRY(OSSL_FUNC_KEYMGMT_GET_PARAMS, prov_keymgmt_get_params), \
        ENTRY(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, id##_gettable), \
        ENTRY(OSSL_FUNC_KEYMGMT_SET_PARAMS, prov_keymgmt_set_params), \
        ENTRY(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, id##_settable), \
        ENTRY(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, id##_operation), \
        ENTRY(OSSL_FUNC_KEYMGMT_HAS, prov_keymgmt_has), \
        ENTRY(OSSL_FUNC_KEYMGMT_VALIDATE, prov_keymgmt_validate), \
        ENTRY(OSSL_FUNC_KEYMGMT_MATCH, prov_keymgmt_match), \
        ENTRY(OSSL_FUNC_KEYMGMT_IMPORT, prov_keymgmt_import), \
        ENTRY(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, lists##_types), \
        ENTRY(OSSL_FUNC_KEYMGMT_EXPORT, prov_keymgmt_export), \
        ENTRY(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, lists##_types), \
        ENTRY(OSSL_FUNC_KEYMGMT_DUP, prov_keymgmt_dup), \
        { 0, NULL } \
    };
KEY_ROWS(DISPATCH)

#define ROW_OF(id, name, names, op, agree, group, ckk, uses, lists) &id##_row,
static const struct prov_keytype *const keytypes[] = {
    KEY_ROWS(ROW_OF) NULL
};

const struct prov_keytype *const *prov_keytypes(void)
{
    return keytypes;
}

static bool is_among(const char *names, const char *name)
{
    size_t n, len = strlen(name);

    for (; *names != '\0'; names += n + (names[n] == ':' ? 1 : 0)) {
        n = strcspn(names, ":");
        if (n == len && OPENSSL_strncasecmp(names, name, n) == 0) {
            return true;
        }
    }
    return false;
}

const struct prov_keytype *prov_keytype_by_name(const char *name)
{
    const struct prov_keytype *const *row;

    for (row = keytypes; name != NULL && *row != NULL; row++) {
        if (is_among((*row)->names, name)) {
            return *row;
        }
    }
    return NULL;
}

#define ALGORITHM(id, name, names, op, agree, group, ckk, uses, lists) \
    { (names), PROV_PROPS, id##_functions, "PKCS#11 " name " keys" },
#define NO_MORE { NULL, NULL, NULL, NULL }
const OSSL_ALGORITHM prov_keymgmt_algorithms[] = {
    KEY_ROWS(ALGORITHM) NO_MORE
};
