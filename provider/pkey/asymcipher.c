/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA encryption and decryption. The private library context encrypts, and
 * decrypts with software keys, with every parameter handed through. For the
 * decryption by a token it holds an encryption with the public half: it judges
 * parameters, remembers them, and answers for them.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/key.h"
#include "provider/pkey/decrypt.h"
#include "provider/pkey/held.h"
#include "provider/query.h"
#include "provider/soft.h"

#define NAME "RSA"

struct asym {
    struct prov_held h;
    bool by_token;              /* this operation is a token's decryption */
    bool reject;                /* implicitly; see decrypt.h */
};

static OSSL_FUNC_asym_cipher_newctx_fn asym_new;
static OSSL_FUNC_asym_cipher_freectx_fn asym_free;
static OSSL_FUNC_asym_cipher_dupctx_fn asym_dup;
static OSSL_FUNC_asym_cipher_encrypt_init_fn asym_encrypt_init;
static OSSL_FUNC_asym_cipher_encrypt_fn asym_encrypt;
static OSSL_FUNC_asym_cipher_decrypt_init_fn asym_decrypt_init;
static OSSL_FUNC_asym_cipher_decrypt_fn asym_decrypt;
static OSSL_FUNC_asym_cipher_set_ctx_params_fn asym_set_ctx_params;
static OSSL_FUNC_asym_cipher_settable_ctx_params_fn asym_settable;
static OSSL_FUNC_asym_cipher_gettable_ctx_params_fn asym_gettable;

static void *asym_new(void *provctx)
{
    return prov_held_new(provctx, sizeof(struct asym));
}

static void asym_free(void *vctx)
{
    struct asym *a = vctx;

    if (a == NULL) {
        return;
    }
    prov_held_clear(&a->h);
    OPENSSL_free(a);
}

static void *asym_dup(void *vctx)
{
    const struct asym *src = vctx;

    return prov_held_dup(&src->h, sizeof(*src));
}

static int begin(struct asym *a, struct prov_key *key,
                 prov_soft_init_fn *how, const OSSL_PARAM params[])
{
    return prov_held_begin(&a->h, key, how, params,
                           "encrypt or decrypt with");
}

static int asym_encrypt_init(void *vctx, void *vkey,
                             const OSSL_PARAM params[])
{
    struct asym *a = vctx;

    a->by_token = false;
    return begin(a, vkey, EVP_PKEY_encrypt_init_ex, params);
}

/* The default is the default provider's: on, where it knows of it. */
static bool has_rejection(const struct asym *a)
{
    const OSSL_PARAM *list =
        prov_soft_settable(a->h.prov, a->h.pctx, PROV_SOFT_CIPHER, NAME);

    return list != NULL
           && OSSL_PARAM_locate_const(
                  list, OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION) != NULL;
}

static int set_rejection(struct asym *a, const OSSL_PARAM params[])
{
    unsigned int on = 0;
    const OSSL_PARAM *p =
        params != NULL
        ? OSSL_PARAM_locate_const(params,
                                  OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION)
        : NULL;

    if (p == NULL || !a->by_token) {
        return 1;
    }
    if (!OSSL_PARAM_get_uint(p, &on)) {
        return prov_raise_prov(PROV_R_FAILED_TO_SET_PARAMETER, "%s: neither 0 "
                               "nor 1", p->key);
    }
    a->reject = on != 0;
    return 1;
}

static struct prov_decrypt token_decrypt(const struct asym *a)
{
    struct prov_decrypt d = { a->h.prov, a->h.key, a->h.pctx, a->reject };

    return d;
}

static int asym_decrypt_init(void *vctx, void *vkey,
                             const OSSL_PARAM params[])
{
    struct asym *a = vctx;
    struct prov_decrypt d;

    a->by_token = prov_key_is_on_token(vkey);
    if (!a->by_token) {
        return begin(a, vkey, EVP_PKEY_decrypt_init_ex, params);
    }
    if (!begin(a, vkey, EVP_PKEY_encrypt_init_ex, params)) {
        return 0;
    }
    a->reject = has_rejection(a);
    d = token_decrypt(a);
    return prov_decrypt_may(&d) && set_rejection(a, params);
}

static int asym_encrypt(void *vctx, unsigned char *out, size_t *outlen,
                        size_t outsize, const unsigned char *in, size_t inlen)
{
    struct asym *a = vctx;
    size_t n = outsize;
    int ok = prov_soft_done(EVP_PKEY_encrypt(a->h.pctx, out, &n, in, inlen));

    if (ok > 0) {
        *outlen = n;
    }
    return ok;
}

/* Whether it succeeded is a secret of the padding: the result and the length
 * are passed on without a look at either. */
static int asym_decrypt(void *vctx, unsigned char *out, size_t *outlen,
                        size_t outsize, const unsigned char *in, size_t inlen)
{
    struct asym *a = vctx;
    struct prov_decrypt d = token_decrypt(a);

    if (a->by_token && out == NULL) {
        *outlen = prov_decrypt_size(&d);
        return *outlen != 0;
    }
    *outlen = outsize;
    if (a->by_token) {
        return prov_decrypt_on_token(&d, hsm_bytes_of(in, inlen), out, outlen);
    }
    return prov_soft_done(EVP_PKEY_decrypt(a->h.pctx, out, outlen, in, inlen));
}

static int asym_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct asym *a = vctx;

    return a != NULL && prov_soft_set(a->h.pctx, params)
           && set_rejection(a, params);
}

static const OSSL_PARAM *asym_gettable(void *vctx, void *provctx)
{
    const struct asym *a = vctx;

    return prov_soft_gettable(provctx, a != NULL ? a->h.pctx : NULL,
                              PROV_SOFT_CIPHER, NAME);
}

static const OSSL_PARAM *asym_settable(void *vctx, void *provctx)
{
    const struct asym *a = vctx;

    return prov_soft_settable(provctx, a != NULL ? a->h.pctx : NULL,
                              PROV_SOFT_CIPHER, NAME);
}

#define ENTRY(name, fn) { OSSL_FUNC_ASYM_CIPHER_##name, (void (*)(void))(fn) }

static const OSSL_DISPATCH functions[] = {
    ENTRY(NEWCTX, asym_new),
    ENTRY(FREECTX, asym_free),
    ENTRY(DUPCTX, asym_dup),
    ENTRY(ENCRYPT_INIT, asym_encrypt_init),
    ENTRY(ENCRYPT, asym_encrypt),
    ENTRY(DECRYPT_INIT, asym_decrypt_init),
    ENTRY(DECRYPT, asym_decrypt),
    ENTRY(SET_CTX_PARAMS, asym_set_ctx_params),
    ENTRY(SETTABLE_CTX_PARAMS, asym_settable),
    ENTRY(GET_CTX_PARAMS, prov_held_get_ctx_params),
    ENTRY(GETTABLE_CTX_PARAMS, asym_gettable),
    { 0, NULL }
};

const OSSL_ALGORITHM prov_asymcipher_algorithms[] = {
    { "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROV_PROPS, functions,
      NAME " encryption" },
    { NULL, NULL, NULL, NULL }
};
