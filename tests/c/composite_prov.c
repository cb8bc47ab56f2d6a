/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composite signatures by their dispatch tables, as no libcrypto of today calls
 * them: again without a key, with keys of other types, in the wrong order. With
 * keys in software, on any OpenSSL. Prints TAP.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "provider/compat.h"
#include "provider/query.h"
#include "tests/c/tap.h"

#define SIG_MAX 512

extern int OSSL_provider_init(const OSSL_CORE_HANDLE *handle,
                              const OSSL_DISPATCH *in,
                              const OSSL_DISPATCH **out, void **provctx);

static const unsigned char message[] = "what was said";
static void *provctx;

typedef void (*any_fn)(void);

static void missing(void)
{
    fprintf(stderr, "a function is missing: see tests/c/tables_prov.c\n");
    abort();
}

static any_fn find(const OSSL_ALGORITHM *all, const char *names, int id)
{
    const OSSL_DISPATCH *d = NULL;

    for (; all->algorithm_names != NULL; all++) {
        if (strncmp(all->algorithm_names, names, strlen(names)) == 0
            && strchr(":", all->algorithm_names[strlen(names)]) != NULL) {
            d = all->implementation;
        }
    }
    for (; d != NULL && d->function_id != 0; d++) {
        if (d->function_id == id) {
            return d->function;
        }
    }
    return missing;
}

/* The functions of one algorithm. */
struct algorithm {
    const char *name;
    OSSL_FUNC_signature_newctx_fn *newctx;
    OSSL_FUNC_signature_freectx_fn *freectx;
    OSSL_FUNC_signature_sign_init_fn *sign_init, *verify_init;
    OSSL_FUNC_signature_sign_init_fn *sign_message, *verify_message;
    OSSL_FUNC_signature_sign_message_update_fn *sign_update, *verify_update;
    OSSL_FUNC_signature_sign_message_final_fn *sign_final;
    OSSL_FUNC_signature_verify_message_final_fn *verify_final;
    OSSL_FUNC_signature_sign_fn *sign;
    OSSL_FUNC_signature_verify_fn *verify;
    OSSL_FUNC_signature_set_ctx_params_fn *set;
    OSSL_FUNC_signature_settable_ctx_params_fn *settable;
};

#define FN(id, type) \
    (type *)find(prov_signature_composites, name, OSSL_FUNC_SIGNATURE_##id)

static struct algorithm algorithm_of(const char *name)
{
    struct algorithm a = {
        name,
        FN(NEWCTX, OSSL_FUNC_signature_newctx_fn),
        FN(FREECTX, OSSL_FUNC_signature_freectx_fn),
        FN(SIGN_INIT, OSSL_FUNC_signature_sign_init_fn),
        FN(VERIFY_INIT, OSSL_FUNC_signature_sign_init_fn),
        FN(SIGN_MESSAGE_INIT, OSSL_FUNC_signature_sign_init_fn),
        FN(VERIFY_MESSAGE_INIT, OSSL_FUNC_signature_sign_init_fn),
        FN(SIGN_MESSAGE_UPDATE, OSSL_FUNC_signature_sign_message_update_fn),
        FN(VERIFY_MESSAGE_UPDATE, OSSL_FUNC_signature_sign_message_update_fn),
        FN(SIGN_MESSAGE_FINAL, OSSL_FUNC_signature_sign_message_final_fn),
        FN(VERIFY_MESSAGE_FINAL, OSSL_FUNC_signature_verify_message_final_fn),
        FN(SIGN, OSSL_FUNC_signature_sign_fn),
        FN(VERIFY, OSSL_FUNC_signature_verify_fn),
        FN(SET_CTX_PARAMS, OSSL_FUNC_signature_set_ctx_params_fn),
        FN(SETTABLE_CTX_PARAMS, OSSL_FUNC_signature_settable_ctx_params_fn)
    };

    return a;
}

/* A key in software. option: what it is made by, and how. */
static void *make_key(const char *type, const char *option, const char *value)
{
    unsigned int bits = 1024;
    OSSL_PARAM params[] = {
        option != NULL
            ? OSSL_PARAM_construct_utf8_string(
                option, (char *)(uintptr_t)value, 0)
            : OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_BITS, &bits),
        OSSL_PARAM_construct_end()
    };
    OSSL_FUNC_keymgmt_gen_init_fn *init = (OSSL_FUNC_keymgmt_gen_init_fn *)
        find(prov_keymgmt_algorithms, type, OSSL_FUNC_KEYMGMT_GEN_INIT);
    OSSL_FUNC_keymgmt_gen_fn *gen = (OSSL_FUNC_keymgmt_gen_fn *)
        find(prov_keymgmt_algorithms, type, OSSL_FUNC_KEYMGMT_GEN);
    OSSL_FUNC_keymgmt_gen_cleanup_fn *cleanup =
        (OSSL_FUNC_keymgmt_gen_cleanup_fn *)
        find(prov_keymgmt_algorithms, type, OSSL_FUNC_KEYMGMT_GEN_CLEANUP);
    void *genctx = init(provctx, OSSL_KEYMGMT_SELECT_KEYPAIR, params);
    void *key = genctx != NULL ? gen(genctx, NULL, NULL) : NULL;

    cleanup(genctx);
    ok(key != NULL, "a key of type %s", type);
    return key;
}

static void free_key(void *key)
{
    ((OSSL_FUNC_keymgmt_free_fn *)find(prov_keymgmt_algorithms, "RSA",
                                       OSSL_FUNC_KEYMGMT_FREE))(key);
}

/* Refused, with an error. */
static bool is_told(int result)
{
    bool told = result <= 0 && ERR_peek_error() != 0;

    ERR_clear_error();
    return told;
}

struct signature {
    unsigned char p[SIG_MAX];
    size_t len;
};

static bool signs(const struct algorithm *a, void *ctx, struct signature *sig)
{
    sig->len = sizeof(sig->p);
    return a->sign_update(ctx, message, sizeof(message)) > 0
           && a->sign_final(ctx, sig->p, &sig->len, sizeof(sig->p)) > 0;
}

static bool verifies(const struct algorithm *a, void *ctx,
                     const struct signature *sig)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_SIGNATURE,
                                          (void *)(uintptr_t)sig->p, sig->len),
        OSSL_PARAM_construct_end()
    };

    return a->verify_update(ctx, message, sizeof(message)) > 0
           && a->set(ctx, params) > 0 && a->verify_final(ctx) > 0;
}

/* Every operation after every other, in one context, without naming the key
 * again. */
static void again(const struct algorithm *a, void *key)
{
    static const unsigned char hash[32] = { 0x5a };
    void *ctx = a->newctx(provctx, NULL);
    struct signature sig = { .len = 0 }, direct = { .len = SIG_MAX };
    int i;

    ok(is_told(a->sign_message(ctx, NULL, NULL))
       && is_told(a->verify_message(ctx, NULL, NULL))
       && is_told(a->sign_init(ctx, NULL, NULL)), "%s: no key yet", a->name);
    ok(a->sign_message(ctx, key, NULL) > 0 && signs(a, ctx, &sig),
       "%s: signed", a->name);
    for (i = 0; i < 2; i++) {
        ok(a->verify_message(ctx, NULL, NULL) > 0 && verifies(a, ctx, &sig),
           "… verified by the key of before");
        ok(is_told(a->verify_final(ctx)), "… once");
        ok(a->sign_message(ctx, NULL, NULL) > 0 && signs(a, ctx, &sig),
           "… signed again");
        ok(is_told(signs(a, ctx, &sig)), "… once");
        ok(a->sign_init(ctx, NULL, NULL) > 0
           && a->sign(ctx, direct.p, &direct.len, SIG_MAX, hash,
                      sizeof(hash)) > 0, "… a digest is signed");
        ok(is_told(a->sign_update(ctx, message, 1))
           && is_told(a->sign_final(ctx, sig.p, &sig.len, SIG_MAX)),
           "… which has no pieces");
        ok(a->verify_init(ctx, NULL, NULL) > 0
           && a->verify(ctx, direct.p, direct.len, hash, sizeof(hash)) > 0
           && a->verify(ctx, direct.p, direct.len, hash, sizeof(hash) - 1) <= 0
           && a->verify(ctx, sig.p, sig.len, hash, sizeof(hash)) <= 0,
           "… and verified, as nothing else is");
        ERR_clear_error();
        direct.len = SIG_MAX;
        sig.len = 0;
        ok(a->sign_message(ctx, NULL, NULL) > 0 && signs(a, ctx, &sig),
           "… signed after that");
    }
    ok(a->verify_message(ctx, NULL, NULL) > 0
       && a->verify_update(ctx, message, sizeof(message)) > 0
       && is_told(a->verify_final(ctx)),
       "… a signature does not outlive its operation");
    a->freectx(ctx);
}

/* libcrypto asks query_key_types() before; who does not is told here. */
static void other_key(const struct algorithm *a, void *key, void *wrong,
                      const char *type)
{
    void *ctx = a->newctx(provctx, NULL);
    struct signature sig = { .len = 0 };

    ok(is_told(a->sign_init(ctx, wrong, NULL))
       && is_told(a->verify_init(ctx, wrong, NULL))
       && is_told(a->sign_message(ctx, wrong, NULL))
       && is_told(a->verify_message(ctx, wrong, NULL)),
       "%s: not with a key of type %s", a->name, type);
    ok(a->sign_message(ctx, key, NULL) > 0
       && is_told(a->sign_message(ctx, wrong, NULL))
       && signs(a, ctx, &sig), "… and what was begun goes on");
    a->freectx(ctx);
}

static void before_init(const struct algorithm *a)
{
    unsigned int one = 1;
    OSSL_PARAM nonce[] = {
        OSSL_PARAM_construct_uint(OSSL_SIGNATURE_PARAM_NONCE_TYPE, &one),
        OSSL_PARAM_construct_end()
    };
    OSSL_PARAM none[] = { OSSL_PARAM_construct_end() };
    void *ctx = a->newctx(provctx, NULL);
    struct signature sig = { .len = 0 };

    ok(a->set(NULL, none) <= 0 && a->set(ctx, none) > 0
       && a->set(ctx, NULL) > 0, "%s: nothing is set", a->name);
    ok(a->settable(NULL, provctx) == NULL && a->settable(ctx, provctx) == NULL,
       "%s: nothing can be", a->name);
    ok((a->set(ctx, nonce) > 0) == (strncmp(a->name, "RSA", 3) == 0),
       "%s: a nonce is for ECDSA, in an operation", a->name);
    ok(is_told(signs(a, ctx, &sig))
       && is_told(a->verify_update(ctx, message, 1))
       && is_told(a->verify_final(ctx))
       && a->sign(ctx, sig.p, &sig.len, SIG_MAX, message, 20) <= 0
       && a->verify(ctx, sig.p, 20, message, 20) <= 0,
       "%s: nothing is done", a->name);
    ERR_clear_error();
    a->freectx(ctx);
}

int main(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *ours = NULL;
    struct algorithm rsa = algorithm_of("RSA-SHA2-256");
    struct algorithm ecdsa = algorithm_of("ECDSA-SHA2-256");
    void *rsa_key, *ec_key, *pss_key;

    if (OSSL_PROVIDER_add_builtin(libctx, "pkcs11", OSSL_provider_init) == 1) {
        ours = OSSL_PROVIDER_load(libctx, "pkcs11");
    }
    if (!ok(ours != NULL, "provider")) {
        return tap_done();
    }
    provctx = OSSL_PROVIDER_get0_provider_ctx(ours);
    rsa_key = make_key("RSA", NULL, NULL);
    ec_key = make_key("EC", OSSL_PKEY_PARAM_GROUP_NAME, "P-256");
    pss_key = make_key("RSA-PSS", NULL, NULL);
    again(&rsa, rsa_key);
    again(&ecdsa, ec_key);
    other_key(&rsa, rsa_key, ec_key, "EC");
    other_key(&rsa, rsa_key, pss_key, "RSA-PSS");
    other_key(&ecdsa, ec_key, rsa_key, "RSA");
    before_init(&rsa);
    before_init(&ecdsa);
    free_key(pss_key);
    free_key(ec_key);
    free_key(rsa_key);
    OSSL_PROVIDER_unload(ours);
    OSSL_LIB_CTX_free(libctx);
    return tap_done();
}
