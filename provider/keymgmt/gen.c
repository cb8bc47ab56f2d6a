/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/gen.h"

#include <stddef.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/gen_private.h"
#include "provider/keymgmt/softkey.h"
#include "provider/param.h"

/* "rsa_keygen_bits" is how BIND names the size. Not to understand it would
 * make a smaller key than was asked for. */
static const struct prov_param common_rows[] = {
    { OSSL_PKEY_PARAM_GROUP_NAME, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, group) },
    { OSSL_PKEY_PARAM_EC_ENCODING, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, encoding) },
    { OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, manner.point_format) },
    { OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, manner.group_check) },
    { OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, PROV_PARAM_INT,
      offsetof(struct prov_gen_in, manner.cofactor) },
    { OSSL_PKEY_PARAM_RSA_BITS, PROV_PARAM_UINT,
      offsetof(struct prov_gen_in, bits) },
    { "rsa_keygen_bits", PROV_PARAM_UINT,
      offsetof(struct prov_gen_in, bits) },
    { OSSL_PKEY_PARAM_RSA_PRIMES, PROV_PARAM_UINT,
      offsetof(struct prov_gen_in, primes) },
    { OSSL_PKEY_PARAM_RSA_E, PROV_PARAM_BN, offsetof(struct prov_gen_in, e) },
    { OSSL_PKEY_PARAM_RSA_DIGEST, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, digest) },
    { OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, PROV_PARAM_TEXT,
      offsetof(struct prov_gen_in, mgf1_digest) },
    { OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, PROV_PARAM_INT,
      offsetof(struct prov_gen_in, salt_len) },
    { NULL, PROV_PARAM_TEXT, 0 }
};

struct prov_gen *prov_gen_new(struct prov_ctx *ctx,
                              const struct prov_keytype *type, int selection)
{
    bool pair = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
    struct prov_gen *gen = OPENSSL_zalloc(sizeof(*gen));

    if (gen == NULL) {
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "no memory to make a key");
        return NULL;
    }
    gen->ctx = ctx;
    gen->type = type;
    gen->selection = selection;
    gen->in.salt_len = PROV_GEN_NO_SALT_LEN;
    gen->in.manner.cofactor = PROV_CURVE_UNSET;
    gen->inner = EVP_PKEY_CTX_new_from_name(ctx->libctx, type->name, NULL);
    if (gen->inner == NULL
        || (pair ? EVP_PKEY_keygen_init(gen->inner)
                 : EVP_PKEY_paramgen_init(gen->inner)) <= 0) {
        prov_gen_cleanup(gen);
        return NULL;
    }
    return gen;
}

void prov_gen_cleanup(void *genctx)
{
    struct prov_gen *gen = genctx;

    if (gen == NULL) {
        return;
    }
    EVP_PKEY_CTX_free(gen->inner);
    prov_params_clear(common_rows, &gen->in);
    prov_params_clear(prov_gen_params, gen->in.own);
    OPENSSL_free(gen->settable);
    OPENSSL_free(gen);
}

/* libcrypto refuses a value of a wrong type or size without a word. What was
 * on the queue before is the application's. */
static int name_refused(struct prov_gen *gen, const OSSL_PARAM *p,
                        unsigned long before)
{
    OSSL_PARAM one[2] = { OSSL_PARAM_END, OSSL_PARAM_END };

    for (; p->key != NULL; p++) {
        one[0] = *p;
        if (EVP_PKEY_CTX_set_params(gen->inner, one) <= 0) {
            break;
        }
    }
    if (ERR_peek_last_error() != before) {
        return 0;
    }
    return prov_raise(gen->ctx, HSM_E_PARAMETER, "%s has a type or a "
                      "value that OpenSSL does not take",
                      p->key != NULL ? p->key : "a parameter");
}

int prov_gen_set_params(void *genctx, const OSSL_PARAM params[])
{
    struct prov_gen *gen = genctx;
    unsigned long before = ERR_peek_last_error();
    const OSSL_PARAM *ikm = NULL;

    if (params == NULL || params[0].key == NULL) {
        return 1;
    }
    if (EVP_PKEY_CTX_set_params(gen->inner, params) <= 0) {
        return ERR_peek_last_error() != before
            ? 0 : name_refused(gen, params, before);
    }
    ikm = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_DHKEM_IKM);
    if (ikm != NULL) {
        gen->in.from_ikm = ikm->data != NULL && ikm->data_size > 0;
    }
    return prov_params_decode(common_rows, params, &gen->in)
           && prov_params_decode(prov_gen_params, params, gen->in.own);
}

static size_t count(const OSSL_PARAM *list)
{
    size_t n = 0;

    while (list != NULL && list[n].key != NULL) {
        n++;
    }
    return n;
}

/* Without a context libcrypto cannot be told more than our own. */
const OSSL_PARAM *prov_gen_settable_params(void *genctx, void *provctx)
{
    struct prov_gen *gen = genctx;
    const OSSL_PARAM *inner;
    size_t n;

    (void)provctx;
    if (gen == NULL) {
        return prov_gen_settable;
    }
    if (gen->settable == NULL) {
        inner = EVP_PKEY_CTX_settable_params(gen->inner);
        n = count(inner);
        gen->settable = OPENSSL_zalloc(n * sizeof(*inner)
                                       + sizeof(prov_gen_settable));
        if (gen->settable == NULL) {
            return prov_gen_settable;
        }
        if (n > 0) {
            memcpy(gen->settable, inner, n * sizeof(*inner));
        }
        memcpy(gen->settable + n, prov_gen_settable, sizeof(prov_gen_settable));
    }
    return gen->settable;
}

/*
 * The domain parameters of another key, as if they had been set one by one:
 * they win over a group that was set before. A type without any has nothing
 * to take from a template.
 */
int prov_gen_set_template(void *genctx, void *templ)
{
    struct prov_gen *gen = genctx;
    const struct prov_key *key = templ;
    OSSL_PARAM *params = NULL;
    int ok = 1;

    if (gen == NULL || key == NULL || !prov_softkey_has_domain(key->soft)) {
        return 0;
    }
    ERR_set_mark();
    (void)EVP_PKEY_todata(key->soft, OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS,
                          &params);
    ERR_pop_to_mark();
    if (params != NULL) {
        ok = prov_gen_set_params(gen, params);
    }
    OSSL_PARAM_free(params);
    /* Parameters that spell a named curve out are still that curve. */
    if (gen->in.group != NULL) {
        hsm_str_clear(&gen->in.encoding);
    }
    return ok;
}

bool prov_gen_tell(struct prov_gen *gen, int potential, int iteration)
{
    OSSL_PARAM params[3];

    params[0] = OSSL_PARAM_construct_int(OSSL_GEN_PARAM_POTENTIAL, &potential);
    params[1] = OSSL_PARAM_construct_int(OSSL_GEN_PARAM_ITERATION, &iteration);
    params[2] = OSSL_PARAM_construct_end();
    return gen->progress == NULL || gen->progress(params, gen->progress_arg);
}

/* libcrypto's callback of the inner context becomes ours' caller's. */
static int tell_progress(EVP_PKEY_CTX *inner)
{
    return prov_gen_tell(EVP_PKEY_CTX_get_app_data(inner),
                         EVP_PKEY_CTX_get_keygen_info(inner, 0),
                         EVP_PKEY_CTX_get_keygen_info(inner, 1));
}

static struct prov_key *make_in_software(struct prov_gen *gen)
{
    struct prov_key *key = prov_key_new(gen->ctx, gen->type);
    unsigned long before = ERR_peek_last_error();

    if (key == NULL) {
        return NULL;
    }
    if (gen->progress != NULL) {
        EVP_PKEY_CTX_set_app_data(gen->inner, gen);
        EVP_PKEY_CTX_set_cb(gen->inner, tell_progress);
    }
    if (EVP_PKEY_generate(gen->inner, &key->soft) <= 0) {
        if (ERR_peek_last_error() == before) {
            (void)prov_raise_prov(PROV_R_FAILED_TO_GENERATE_KEY,
                                  "%s: are all parameters given?",
                                  gen->type->name);
        }
        prov_key_put(key);
        return NULL;
    }
    key->has_private = (gen->selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    return key;
}

static bool is_for_token(const struct prov_gen *gen)
{
    size_t i = 0;

    while (i < PROV_GEN_N && gen->in.own[i] == NULL) {
        i++;
    }
    return i < PROV_GEN_N;
}

void *prov_gen_run(void *genctx, OSSL_CALLBACK *cb, void *cbarg)
{
    struct prov_gen *gen = genctx;

    if (gen == NULL) {
        return NULL;
    }
    gen->progress = cb;
    gen->progress_arg = cbarg;
    return is_for_token(gen) ? prov_gen_on_token(gen) : make_in_software(gen);
}
