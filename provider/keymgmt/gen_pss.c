/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an RSA-PSS key is restricted to. No token knows of that: the software
 * half does, and the reference that is written of it.
 */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "provider/keymgmt/gen_private.h"
#include "provider/keymgmt/softkey.h"
#include "src/crypto/hash.h"

/* Of a restriction that names none [RFC 4055, 3.1]. */
#define DEFAULT_HASH "SHA1"
#define DEFAULT_SALT_LEN 20

EVP_PKEY *prov_gen_restrict(const struct prov_gen *gen,
                            const EVP_PKEY *numbers)
{
    const struct prov_gen_in *in = &gen->in;
    int salt_len = in->salt_len;
    OSSL_PARAM extra[4], *p = extra, *params = NULL, *all = NULL;
    EVP_PKEY *soft = NULL;

    if (in->digest != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST,
                                                in->digest, 0);
    }
    if (in->mgf1_digest != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(
            OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, in->mgf1_digest, 0);
    }
    if (salt_len != PROV_GEN_NO_SALT_LEN) {
        *p++ = OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN,
                                        &salt_len);
    }
    *p = OSSL_PARAM_construct_end();
    if (EVP_PKEY_todata(numbers, EVP_PKEY_PUBLIC_KEY, &params) <= 0) {
        return NULL;
    }
    all = p == extra ? params : OSSL_PARAM_merge(params, extra);
    if (all != NULL) {
        soft = prov_softkey_from_params(gen->ctx, gen->type->name,
                                        EVP_PKEY_PUBLIC_KEY, all);
    }
    if (all != params) {
        OPENSSL_free(all);
    }
    OSSL_PARAM_free(params);
    return soft;
}

/* Numbers of that size, which are nobody's. */
static EVP_PKEY *any_numbers(const struct prov_gen *gen, unsigned int bits)
{
    const unsigned int size = (bits + 7) / 8;
    unsigned char *n = OPENSSL_zalloc(size);
    unsigned int e = 65537;
    OSSL_PARAM params[3];
    EVP_PKEY *soft = NULL;
    BIGNUM *bn = BN_new();

    if (n != NULL && bn != NULL && BN_set_bit(bn, (int)bits - 1)
        && BN_set_bit(bn, 0)
        && BN_bn2nativepad(bn, n, (int)size) == (int)size) {
        params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, size);
        params[1] = OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_E, &e);
        params[2] = OSSL_PARAM_construct_end();
        soft = prov_softkey_from_params(gen->ctx, "RSA", EVP_PKEY_PUBLIC_KEY,
                                        params);
    }
    BN_free(bn);
    OPENSSL_free(n);
    return soft;
}

/* libcrypto takes more than it can write, and what cannot be written is lost:
 * the next one who reads the key would find it unrestricted. */
static bool can_be_written(const struct prov_gen *gen, unsigned int bits)
{
    hsm_auto(hsm_buf) spki = HSM_BUF_INIT;
    EVP_PKEY *numbers, *soft = NULL;
    bool can;

    ERR_set_mark();
    numbers = any_numbers(gen, bits);
    if (numbers != NULL) {
        soft = prov_gen_restrict(gen, numbers);
    }
    can = soft != NULL && hsm_ok(prov_softkey_spki(soft, &spki))
          && spki.len > 0;
    EVP_PKEY_free(soft);
    EVP_PKEY_free(numbers);
    ERR_pop_to_mark();
    return can;
}

static int least_salt(const struct prov_gen_in *in)
{
    return in->salt_len != PROV_GEN_NO_SALT_LEN ? in->salt_len
                                                : DEFAULT_SALT_LEN;
}

/* EMSA-PSS [RFC 8017, 9.1.1] */
static bool salt_fits(const struct prov_gen_in *in, unsigned int bits)
{
    const struct hsm_hash *md =
        hsm_hash_by_name(in->digest != NULL ? in->digest : DEFAULT_HASH);
    size_t room = (bits + 6) / 8;
    int least = least_salt(in);

    return md == NULL
           || (least >= 0 && (size_t)least + md->bytes + 2 <= room);
}

int prov_gen_check_pss(const struct prov_gen *gen, unsigned int bits)
{
    const struct prov_gen_in *in = &gen->in;

    if (strcmp(gen->type->name, "RSA-PSS") != 0
        || (in->digest == NULL && in->mgf1_digest == NULL
            && in->salt_len == PROV_GEN_NO_SALT_LEN)) {
        return 1;
    }
    if (!salt_fits(in, bits)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "a key of %u bits cannot sign with a salt of at"
                          " least %d octets; say another %s", bits,
                          least_salt(in), OSSL_PKEY_PARAM_RSA_PSS_SALTLEN);
    }
    return can_be_written(gen, bits)
           || prov_raise(gen->ctx, HSM_E_PARAMETER,
                         "no key can be restricted to PSS with digest %s%s%s;"
                         " say SHA256, or leave it out",
                         in->digest != NULL ? in->digest : DEFAULT_HASH,
                         in->mgf1_digest != NULL ? ", MGF1 with " : "",
                         in->mgf1_digest != NULL ? in->mgf1_digest : "");
}
