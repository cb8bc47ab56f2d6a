/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/proof.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "provider/pkey/ecdh.h"
#include "provider/pkey/pkey_table.h"
#include "provider/soft.h"
#include "src/crypto/derive.h"
#include "src/crypto/op.h"

/* Of what the token is to decrypt; with its padding no longer than the shortest
 * modulus. */
#define PROBE_BYTES 32

hsm_rc prov_proof_begin(const struct prov_key *key, struct prov_proof *p)
{
    TRY(hsm_key_resolve(key->token, NULL));
    p->key = key;
    p->unsure = hsm_key_is_unsure(key->token, &p->found);
    return HSM_OK;
}

/* It may have been found once more meanwhile: one finding after a sure one, and
 * now sure, is sure; of more the operation may have used any. */
bool prov_proof_is_due(const struct prov_proof *p)
{
    unsigned int found = 0;
    bool unsure = hsm_key_is_unsure(p->key->token, &found);

    return unsure || p->unsure || found - p->found > 1;
}

hsm_rc prov_proof_end(const struct prov_proof *p, bool good)
{
    hsm_key_settle(p->key->token, p->found, good);
    return good ? HSM_OK : hsm_key_other(p->key->token);
}

/* Encrypts with the public half: *out_len is the room, and becomes what was
 * written. Raises nothing. */
static bool encrypt(const struct prov_key *key, int padding,
                    struct hsm_bytes in, unsigned char *out, size_t *out_len)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY_CTX *pctx = NULL;
    bool good = false;

    ERR_set_mark();
    pctx = prov_soft_new(key->ctx, key->soft, EVP_PKEY_encrypt_init_ex,
                         params);
    good = pctx != NULL
           && EVP_PKEY_encrypt(pctx, out, out_len, in.p, in.len) > 0;
    EVP_PKEY_CTX_free(pctx);
    ERR_pop_to_mark();
    return good;
}

bool prov_proof_is_root(const struct prov_key *key, struct hsm_bytes m,
                        struct hsm_bytes c)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    size_t n = c.len;

    return hsm_ok(hsm_buf_reserve(&out, c.len))
           && encrypt(key, RSA_NO_PADDING, m, out.p, &n) && n == c.len
           && memcmp(out.p, c.p, n) == 0;
}

hsm_rc prov_proof_by_pkcs1(const struct prov_proof *p,
                           const struct hsm_mech *mech)
{
    hsm_auto(hsm_buf) c = HSM_BUF_INIT;
    hsm_auto(hsm_buf) m = HSM_BUF_INIT;
    unsigned char probe[PROBE_BYTES];
    int size = EVP_PKEY_get_size(p->key->soft);
    size_t n = size > 0 ? (size_t)size : 0, m_len = n;
    hsm_rc rc;

    if (!p->unsure) {
        return HSM_OK;
    }
    TRY(hsm_buf_reserve(&c, n));
    TRY(hsm_buf_reserve(&m, n));
    if (RAND_bytes_ex(p->key->ctx->libctx, probe, sizeof(probe), 0) <= 0
        || !encrypt(p->key, RSA_PKCS1_PADDING,
                    hsm_bytes_of(probe, sizeof(probe)), c.p, &n)) {
        return hsm_key_other(p->key->token);
    }
    rc = hsm_op_once(p->key->token, HSM_OP_DECRYPT, mech,
                     hsm_bytes_of(c.p, n), m.p, &m_len);
    /* For another key they are bad, in whichever words the token has. */
    if (!hsm_ok(rc) && !prov_dec_is_bad_padding(rc.rv)) {
        return rc;
    }
    return prov_proof_end(p, hsm_ok(rc) && m_len == sizeof(probe)
                          && CRYPTO_memcmp(m.p, probe, m_len) == 0);
}

/* A key of the same curve. */
static EVP_PKEY *make_peer(const struct prov_key *key)
{
    EVP_PKEY_CTX *pctx =
        EVP_PKEY_CTX_new_from_pkey(key->ctx->libctx, key->soft, NULL);
    EVP_PKEY *peer = NULL;

    if (pctx != NULL && EVP_PKEY_keygen_init(pctx) > 0) {
        (void)EVP_PKEY_keygen(pctx, &peer);
    }
    EVP_PKEY_CTX_free(pctx);
    return peer;
}

static bool agree(const struct prov_key *key, EVP_PKEY *peer,
                  unsigned char secret[PROV_ECDH_MAX], size_t size)
{
    EVP_PKEY_CTX *pctx = prov_soft_new(key->ctx, peer, EVP_PKEY_derive_init_ex,
                                       NULL);
    size_t n = PROV_ECDH_MAX;
    bool good = pctx != NULL && EVP_PKEY_derive_set_peer(pctx, key->soft) > 0
                && EVP_PKEY_derive(pctx, secret, &n) > 0 && n == size;

    EVP_PKEY_CTX_free(pctx);
    return good;
}

hsm_rc prov_proof_by_ecdh(const struct prov_proof *p)
{
    unsigned char point[PROV_ECDH_POINT(PROV_ECDH_MAX)];
    unsigned char ours[PROV_ECDH_MAX], theirs[PROV_ECDH_MAX];
    size_t size = prov_ecdh_size(p->key), n = size;
    EVP_PKEY *peer = NULL;
    bool made = false;

    if (!p->unsure || size == 0) {
        return HSM_OK;
    }
    ERR_set_mark();
    peer = make_peer(p->key);
    made = peer != NULL && prov_ecdh_point(peer, size, point)
           && agree(p->key, peer, ours, size);
    EVP_PKEY_free(peer);
    ERR_pop_to_mark();
    if (!made) {
        return hsm_key_other(p->key->token);
    }
    TRY(hsm_derive_ecdh(p->key->token, false,
                        hsm_bytes_of(point, PROV_ECDH_POINT(size)), theirs,
                        &n));
    return prov_proof_end(p, n == size
                          && CRYPTO_memcmp(ours, theirs, size) == 0);
}
