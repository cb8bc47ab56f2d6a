/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA key encapsulation: RSASVE of NIST SP 800-56B, a random number below the
 * modulus as the secret. The private library context encapsulates, and
 * decapsulates with software keys. Where a token decapsulates, it holds an
 * encapsulation with the public half, which judges and remembers parameters.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/proverr.h>
#include <openssl/rsa.h>

#include "provider/err.h"
#include "provider/keymgmt/key.h"
#include "provider/pkey/decrypt.h"
#include "provider/pkey/dhkem.h"
#include "provider/pkey/held.h"
#include "provider/query.h"
#include "provider/soft.h"

#define NAME "RSA"

/* What libcrypto answers where no kind of encapsulation was chosen, which
 * OpenSSL 3.0 wants. */
#define NO_KIND (-2)

struct kem {
    struct prov_held h;
    bool by_token;              /* this operation is a token's decapsulation */
};

static OSSL_FUNC_kem_newctx_fn kem_new;
static OSSL_FUNC_kem_freectx_fn kem_free;
static OSSL_FUNC_kem_dupctx_fn kem_dup;
static OSSL_FUNC_kem_encapsulate_init_fn kem_encapsulate_init;
static OSSL_FUNC_kem_encapsulate_fn kem_encapsulate;
static OSSL_FUNC_kem_decapsulate_init_fn kem_decapsulate_init;
static OSSL_FUNC_kem_decapsulate_fn kem_decapsulate;
static OSSL_FUNC_kem_settable_ctx_params_fn kem_settable;
static OSSL_FUNC_kem_gettable_ctx_params_fn kem_gettable;

static void *kem_new(void *provctx)
{
    return prov_held_new(provctx, sizeof(struct kem));
}

static void kem_free(void *vctx)
{
    struct kem *k = vctx;

    if (k == NULL) {
        return;
    }
    prov_held_clear(&k->h);
    OPENSSL_free(k);
}

static void *kem_dup(void *vctx)
{
    const struct kem *src = vctx;

    return prov_held_dup(&src->h, sizeof(*src));
}

static int begin(struct kem *k, struct prov_key *key,
                 prov_soft_init_fn *how, const OSSL_PARAM params[])
{
    return prov_held_begin(&k->h, key, how, params,
                           "encapsulate or decapsulate with");
}

static int kem_encapsulate_init(void *vctx, void *vkey,
                                const OSSL_PARAM params[])
{
    struct kem *k = vctx;

    k->by_token = false;
    return begin(k, vkey, EVP_PKEY_encapsulate_init, params);
}

static int kem_decapsulate_init(void *vctx, void *vkey,
                                const OSSL_PARAM params[])
{
    struct kem *k = vctx;
    struct prov_decrypt d = { .prov = k->h.prov, .key = vkey };

    k->by_token = prov_key_is_on_token(vkey);
    if (!k->by_token) {
        return begin(k, vkey, EVP_PKEY_decapsulate_init, params);
    }
    return begin(k, vkey, EVP_PKEY_encapsulate_init, params)
           && prov_decrypt_may(&d);
}

/* result: of the private context's operation. */
static int explained(int result)
{
    if (result == NO_KIND) {
        (void)prov_raise_prov(PROV_R_INVALID_MODE, "%s is not set; RSA has %s",
                              OSSL_KEM_PARAM_OPERATION,
                              OSSL_KEM_PARAM_OPERATION_RSASVE);
    }
    return result;
}

static int kem_encapsulate(void *vctx, unsigned char *out, size_t *outlen,
                           unsigned char *secret, size_t *secretlen)
{
    struct kem *k = vctx;

    return explained(EVP_PKEY_encapsulate(k->h.pctx, out, outlen, secret,
                                          secretlen));
}

/* Of the secret, and of its encapsulation. 1, or what the private context
 * answers. */
static int get_size(const struct kem *k, size_t *bytes)
{
    size_t sealed = 0;

    return explained(EVP_PKEY_encapsulate(k->h.pctx, NULL, &sealed, NULL,
                                          bytes));
}

/* RSADP: raw RSA with the private exponent. */
static int by_token(const struct kem *k, struct hsm_bytes in,
                    unsigned char *secret, size_t *len)
{
    int padding = RSA_NO_PADDING, ok = 0;
    OSSL_PARAM raw[] = {
        OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding),
        OSSL_PARAM_construct_end()
    };
    struct prov_decrypt d = { .prov = k->h.prov, .key = k->h.key };

    d.shadow = prov_soft_new(d.prov, d.key->soft, EVP_PKEY_encrypt_init_ex,
                             raw);
    ok = d.shadow != NULL && prov_decrypt_on_token(&d, in, secret, len);
    EVP_PKEY_CTX_free(d.shadow);
    return ok;
}

static int check_lengths(size_t in, size_t room, size_t size)
{
    if (in != size) {
        return prov_raise_prov(PROV_R_BAD_LENGTH, "the encapsulated secret "
                               "has %zu octets, should have %zu", in, size);
    }
    if (room < size) {
        return prov_raise_prov(PROV_R_INVALID_OUTPUT_LENGTH, "the room for the "
                               "secret has %zu octets, should have %zu", room,
                               size);
    }
    return 1;
}

/* As libcrypto has it, without secretlen the room is enough. */
static int decapsulate_on_token(const struct kem *k, struct hsm_bytes in,
                                unsigned char *secret, size_t *secretlen)
{
    size_t size = 0, n = 0;
    int ok = get_size(k, &size);

    if (ok <= 0) {
        return ok;
    }
    if (secret != NULL) {
        n = secretlen != NULL ? *secretlen : size;
        ok = check_lengths(in.len, n, size) && by_token(k, in, secret, &n);
    }
    if (ok > 0 && secretlen != NULL) {
        *secretlen = size;
    }
    return ok;
}

static int kem_decapsulate(void *vctx, unsigned char *secret,
                           size_t *secretlen, const unsigned char *in,
                           size_t inlen)
{
    struct kem *k = vctx;

    if (k->by_token) {
        return decapsulate_on_token(k, hsm_bytes_of(in, inlen), secret,
                                    secretlen);
    }
    return explained(EVP_PKEY_decapsulate(k->h.pctx, secret, secretlen, in,
                                          inlen));
}

static const OSSL_PARAM *kem_gettable(void *vctx, void *provctx)
{
    const struct kem *k = vctx;

    return prov_soft_gettable(provctx, k != NULL ? k->h.pctx : NULL,
                              PROV_SOFT_KEM, NAME);
}

static const OSSL_PARAM *kem_settable(void *vctx, void *provctx)
{
    const struct kem *k = vctx;

    return prov_soft_settable(provctx, k != NULL ? k->h.pctx : NULL,
                              PROV_SOFT_KEM, NAME);
}

#define ENTRY(name, fn) { OSSL_FUNC_KEM_##name, (void (*)(void))(fn) }

static const OSSL_DISPATCH functions[] = {
    ENTRY(NEWCTX, kem_new),
    ENTRY(FREECTX, kem_free),
    ENTRY(DUPCTX, kem_dup),
    ENTRY(ENCAPSULATE_INIT, kem_encapsulate_init),
    ENTRY(ENCAPSULATE, kem_encapsulate),
    ENTRY(DECAPSULATE_INIT, kem_decapsulate_init),
    ENTRY(DECAPSULATE, kem_decapsulate),
    ENTRY(SET_CTX_PARAMS, prov_held_set_ctx_params),
    ENTRY(SETTABLE_CTX_PARAMS, kem_settable),
    ENTRY(GET_CTX_PARAMS, prov_held_get_ctx_params),
    ENTRY(GETTABLE_CTX_PARAMS, kem_gettable),
    { 0, NULL }
};

#define RSA_ROW \
    { "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROV_PROPS, functions, \
      NAME " key encapsulation" }
#define EC_ROW \
    { "EC:id-ecPublicKey:1.2.840.10045.2.1", PROV_PROPS, \
      prov_dhkem_functions, "EC key encapsulation" }
#define NO_MORE { NULL, NULL, NULL, NULL }

const OSSL_ALGORITHM prov_kem_algorithms[] = { RSA_ROW, EC_ROW, NO_MORE };
const OSSL_ALGORITHM prov_kem_without_dhkem[] = { RSA_ROW, NO_MORE };
