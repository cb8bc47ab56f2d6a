/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/composite.h"

#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/proverr.h>
#include <openssl/rsa.h>

#include "provider/err.h"
#include "provider/signature/signature.h"
#include "src/crypto/hash.h"

/* What the default provider's take while a message is verified, and nothing
 * at other times; the key types; what goes on to the plain algorithm. */
static const OSSL_PARAM rsa_settable[] = {
    OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_SIGNATURE, NULL, 0),
    OSSL_PARAM_END
};

static const OSSL_PARAM ecdsa_settable[] = {
    OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_SIGNATURE, NULL, 0),
    OSSL_PARAM_uint(OSSL_SIGNATURE_PARAM_KAT, NULL),
    OSSL_PARAM_uint(OSSL_SIGNATURE_PARAM_NONCE_TYPE, NULL),
    OSSL_PARAM_END
};

static const char *rsa_key_types[] = { "RSA", NULL };
static const char *ecdsa_key_types[] = { "EC", NULL };

#define PASSED_MAX 2

static const struct family {
    const OSSL_PARAM *settable;
    const char **key_types;
    const char *passed[PASSED_MAX];
} families[] = {
    [PROV_SIG_RSA] = { rsa_settable, rsa_key_types, { NULL } },
    [PROV_SIG_ECDSA] = {
        ecdsa_settable, ecdsa_key_types,
        { OSSL_SIGNATURE_PARAM_KAT, OSSL_SIGNATURE_PARAM_NONCE_TYPE }
    }
};

static const struct family *family_of(const struct prov_sig *s)
{
    return &families[s->row->family];
}

/* ---- parameters ---- */

/* What libcrypto says of a wrong type, from 3.2 on, does not stand beside our
 * own words: a mark goes around what reads. */

static int agrees_on_digest(const struct prov_sig *s, const OSSL_PARAM *p)
{
    const char *name = NULL;

    ERR_set_mark();
    (void)OSSL_PARAM_get_utf8_string_ptr(p, &name);
    ERR_pop_to_mark();
    if (name == NULL
        || hsm_hash_by_name(name) != hsm_hash_by_name(s->row->digest)) {
        return prov_raise_prov(PROV_R_DIGEST_NOT_ALLOWED, "digest=%s: %s is "
                               "with %s only", name != NULL ? name : "?",
                               s->row->name, s->row->digest);
    }
    return 1;
}

/* Text or, of old, a number. */
static int agrees_on_padding(const struct prov_sig *s, const OSSL_PARAM *p)
{
    const char *name = NULL;
    int number = 0;
    bool good;

    ERR_set_mark();
    good = p->data_type == OSSL_PARAM_INTEGER
        ? OSSL_PARAM_get_int(p, &number) && number == RSA_PKCS1_PADDING
        : OSSL_PARAM_get_utf8_string_ptr(p, &name) && name != NULL
          && strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0;
    ERR_pop_to_mark();
    return good || prov_raise_prov(PROV_R_INVALID_PADDING_MODE, "%s is with "
                                   "padding pkcs1 only", s->row->name);
}

/*
 * The default provider's pass over what they do not know, these two as well.
 * Who asks for another digest or padding would be given a signature that he
 * did not ask for.
 */
static int agrees(const struct prov_sig *s, const OSSL_PARAM params[])
{
    const OSSL_PARAM *md =
        OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    const OSSL_PARAM *pad = s->row->family != PROV_SIG_RSA ? NULL
        : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);

    return (md == NULL || agrees_on_digest(s, md))
           && (pad == NULL || agrees_on_padding(s, pad));
}

/* Those of params that go on, with an end; out has PASSED_MAX + 1. */
static void pick(const struct prov_sig *s, const OSSL_PARAM params[],
                 OSSL_PARAM *out)
{
    size_t i = 0;

    for (i = 0; i < PASSED_MAX && family_of(s)->passed[i] != NULL; i++) {
        const OSSL_PARAM *p =
            OSSL_PARAM_locate_const(params, family_of(s)->passed[i]);

        if (p != NULL) {
            *out++ = *p;
        }
    }
    *out = OSSL_PARAM_construct_end();
}

static int take_signature(struct prov_sig *s, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p =
        OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_SIGNATURE);
    const void *octets = NULL;
    size_t len = 0;

    if (p == NULL || s->about != PROV_ABOUT_VERIFYING) {
        return 1;
    }
    hsm_buf_clear(&s->signature);
    ERR_set_mark();
    (void)OSSL_PARAM_get_octet_string_ptr(p, &octets, &len);
    ERR_pop_to_mark();
    if (octets == NULL || len == 0) {
        return prov_raise_prov(PROV_R_INVALID_SIGNATURE_SIZE,
                               "no signature to verify");
    }
    return prov_result(s->prov, hsm_buf_set(&s->signature,
                                            hsm_bytes_of(octets, len)));
}

int prov_composite_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct prov_sig *s = vctx;
    OSSL_PARAM told[PASSED_MAX + 1];

    if (s == NULL) {
        return 0;
    }
    pick(s, params, told);
    return agrees(s, params) && take_signature(s, params)
           && prov_soft_set(s->shadow.pctx, told);
}

const OSSL_PARAM *prov_composite_settable(void *vctx, void *provctx)
{
    const struct prov_sig *s = vctx;

    (void)provctx;
    return s != NULL && s->about == PROV_ABOUT_VERIFYING
           ? family_of(s)->settable : NULL;
}

const char **prov_composite_rsa_key_types(void)
{
    return rsa_key_types;
}

const char **prov_composite_ecdsa_key_types(void)
{
    return ecdsa_key_types;
}

/* ---- beginning ---- */

/* libcrypto has looked at query_key_types: an RSA-PSS key, which stays with
 * RSASSA-PSS, is not of type RSA. */
static int may_begin(const struct prov_sig *s, const struct prov_key *key,
                     const OSSL_PARAM params[])
{
    const char *wanted = family_of(s)->key_types[0];

    if (key == NULL) {
        return prov_raise_prov(PROV_R_NO_KEY_SET, "no key to sign or verify");
    }
    if (strcmp(key->type->name, wanted) != 0) {
        return prov_raise_prov(
            PROV_R_OPERATION_NOT_SUPPORTED_FOR_THIS_KEYTYPE,
            "%s is for keys of type %s, not %s", s->row->name, wanted,
            key->type->name);
    }
    return agrees(s, params);
}

typedef int begin_fn(void *vctx, void *vkey, const OSSL_PARAM params[]);

/* With a digest that is made elsewhere. */
static int begin(void *vctx, void *vkey, const OSSL_PARAM params[],
                 begin_fn *how)
{
    struct prov_sig *s = vctx;
    OSSL_PARAM told[1 + PASSED_MAX + 1];

    vkey = vkey != NULL ? vkey : s->key;
    if (!may_begin(s, vkey, params)) {
        return 0;
    }
    told[0] = OSSL_PARAM_construct_utf8_string(
        OSSL_SIGNATURE_PARAM_DIGEST, (char *)(uintptr_t)s->row->digest, 0);
    pick(s, params, told + 1);
    s->about = PROV_ABOUT_DIGEST;
    return how(s, vkey, told);
}

int prov_composite_sign_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    return begin(vctx, vkey, params, prov_sig_sign_init);
}

int prov_composite_verify_init(void *vctx, void *vkey,
                               const OSSL_PARAM params[])
{
    return begin(vctx, vkey, params, prov_sig_verify_init);
}

int prov_composite_recover_init(void *vctx, void *vkey,
                                const OSSL_PARAM params[])
{
    return begin(vctx, vkey, params, prov_sig_recover_init);
}

typedef int begin_message_fn(void *vctx, const char *mdname, void *vkey,
                             const OSSL_PARAM params[]);

static int begin_message(void *vctx, void *vkey, const OSSL_PARAM params[],
                         enum prov_sig_about about, begin_message_fn *how)
{
    struct prov_sig *s = vctx;
    OSSL_PARAM told[PASSED_MAX + 1];

    vkey = vkey != NULL ? vkey : s->key;
    if (!may_begin(s, vkey, params)) {
        return 0;
    }
    pick(s, params, told);
    s->about = about;
    return how(s, s->row->digest, vkey, told[0].key != NULL ? told : NULL)
           && take_signature(s, params);
}

int prov_composite_sign_message_init(void *vctx, void *vkey,
                                     const OSSL_PARAM params[])
{
    return begin_message(vctx, vkey, params, PROV_ABOUT_SIGNING,
                         prov_sig_digest_sign_init);
}

int prov_composite_verify_message_init(void *vctx, void *vkey,
                                       const OSSL_PARAM params[])
{
    return begin_message(vctx, vkey, params, PROV_ABOUT_VERIFYING,
                         prov_sig_digest_verify_init);
}

/* ---- in one go, and the end ---- */

static int not_begun(const struct prov_sig *s)
{
    return !s->begun
           || prov_raise_prov(PROV_R_NOT_SUPPORTED, "a part of the message "
                              "has come: what is left goes the same way");
}

int prov_composite_sign(void *vctx, unsigned char *sig, size_t *siglen,
                        size_t sigsize, const unsigned char *tbs,
                        size_t tbslen)
{
    const struct prov_sig *s = vctx;

    if (s->about != PROV_ABOUT_SIGNING) {
        return prov_sig_sign(vctx, sig, siglen, sigsize, tbs, tbslen);
    }
    return not_begun(s) && prov_sig_digest_sign(vctx, sig, siglen, sigsize,
                                                tbs, tbslen) > 0;
}

int prov_composite_verify(void *vctx, const unsigned char *sig, size_t siglen,
                          const unsigned char *tbs, size_t tbslen)
{
    const struct prov_sig *s = vctx;

    if (s->about != PROV_ABOUT_VERIFYING) {
        return prov_sig_verify(vctx, sig, siglen, tbs, tbslen);
    }
    return not_begun(s)
           && prov_sig_digest_verify(vctx, sig, siglen, tbs, tbslen) > 0;
}

int prov_composite_verify_message_final(void *vctx)
{
    const struct prov_sig *s = vctx;

    if (s->signature.len == 0) {
        return prov_raise_prov(PROV_R_INVALID_SIGNATURE_SIZE, "there is no "
                               "signature to verify: set \"%s\" first",
                               OSSL_SIGNATURE_PARAM_SIGNATURE);
    }
    return prov_sig_digest_verify_final(vctx, s->signature.p,
                                        s->signature.len) > 0;
}
