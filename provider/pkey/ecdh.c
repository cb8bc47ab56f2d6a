/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/ecdh.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/pkey/proof.h"
#include "provider/keymgmt/softkey.h"
#include "src/crypto/derive.h"

int prov_ecdh_may(const struct prov_key *key)
{
    if (hsm_key_usage(key->token).derive) {
        return 1;
    }
    return prov_raise(key->ctx, HSM_E_KEY_USE, "%s: the token does not permit "
                      "this key to derive (CKA_DERIVE)",
                      hsm_key_name(key->token));
}

size_t prov_ecdh_size(const struct prov_key *key)
{
    const struct hsm_curve *curve = hsm_key_public(key->token)->curve;

    if (curve == NULL || curve->field_bytes > PROV_ECDH_MAX) {
        (void)prov_raise_prov(PROV_R_INVALID_CURVE, "%s: key agreement needs a "
                              "named curve", hsm_key_name(key->token));
        return 0;
    }
    return curve->field_bytes;
}

int prov_ecdh_check_peer(const struct prov_ctx *ctx, EVP_PKEY *peer)
{
    return prov_softkey_check(ctx, peer, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, true);
}

bool prov_ecdh_point(const EVP_PKEY *key, size_t half, unsigned char *point)
{
    BIGNUM *x = NULL, *y = NULL;
    int n = (int)half;
    bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) > 0
              && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) > 0
              && BN_bn2binpad(x, point + 1, n) == n
              && BN_bn2binpad(y, point + 1 + half, n) == n;

    point[0] = 0x04;
    BN_free(x);
    BN_free(y);
    return ok;
}

/* A secret does not prove whose it is: what may be another key has to agree
 * with one of ours first. Where it was found anew in between, afterwards, too:
 * what is the key before and after it is the key meanwhile. */
static hsm_rc derive(const struct prov_key *key, struct hsm_bytes point,
                     unsigned char *secret, size_t *n)
{
    struct prov_proof proof;
    hsm_rc rc;

    TRY(prov_proof_begin(key, &proof));
    TRY(prov_proof_by_ecdh(&proof));
    TRY(prov_proof_begin(key, &proof));
    TRY(hsm_derive_ecdh(key->token, false, point, secret, n));
    if (!prov_proof_is_due(&proof)) {
        return HSM_OK;
    }
    rc = prov_proof_begin(key, &proof);
    if (hsm_ok(rc)) {
        rc = prov_proof_by_ecdh(&proof);
    }
    if (!hsm_ok(rc)) {
        OPENSSL_cleanse(secret, *n);
    }
    return rc;
}

int prov_ecdh_on_token(const struct prov_key *key, const unsigned char *point,
                       unsigned char *secret)
{
    size_t size = prov_ecdh_size(key), n = size;
    struct hsm_bytes at = hsm_bytes_of(point, PROV_ECDH_POINT(size));

    if (size == 0
        || !prov_result(key->ctx, derive(key, at, secret, &n))) {
        return 0;
    }
    if (n != size) {
        return prov_raise(key->ctx, HSM_E_BAD_DATA, "the secret has %zu "
                          "octets instead of %zu", n, size);
    }
    return 1;
}
