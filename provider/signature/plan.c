/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/plan.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/proverr.h>
#include <openssl/rsa.h>

#include "provider/err.h"
#include "provider/pkey/rsapad.h"
#include "provider/signature/token.h"

/* Of OpenSSL 3.1 and later: the digest's length, or less where the key is too
 * short. Earlier ones never answer it. */
#define SALTLEN_AUTO_DIGEST_MAX (-4)

static const struct hsm_hash *hash_of(const struct prov_sig *s,
                                      const char *name)
{
    const struct hsm_hash *h = hsm_hash_by_name(name);
    EVP_MD *md = NULL;

    if (h != NULL || name[0] == '\0') {
        return h;
    }
    /* An object identifier, or another name that only libcrypto knows. */
    ERR_set_mark();
    md = EVP_MD_fetch(s->prov->libctx, name, NULL);
    ERR_pop_to_mark();
    if (md != NULL) {
        h = hsm_hash_by_name(EVP_MD_get0_name(md));
        EVP_MD_free(md);
    }
    return h;
}

/* RSA_PSS_SALTLEN_… as for signing; false when the key is too small. */
static bool salt_bytes(const struct prov_sig_plan *p, int setting, size_t *out)
{
    size_t em_len = (p->key_bits + 6) / 8;
    size_t max = em_len - p->md_bytes - 2;

    if (em_len < p->md_bytes + 2) {
        return false;
    }
    switch (setting) {
    case RSA_PSS_SALTLEN_DIGEST:
        *out = p->md_bytes;
        break;
    case RSA_PSS_SALTLEN_AUTO:
    case RSA_PSS_SALTLEN_MAX:
        *out = max;
        break;
    case SALTLEN_AUTO_DIGEST_MAX:
        *out = max < p->md_bytes ? max : p->md_bytes;
        break;
    default:
        *out = (size_t)setting;
        return setting >= 0 && *out <= max;
    }
    return *out <= max;
}

static int plan_pss(const struct prov_sig *s, int setting,
                    struct prov_sig_plan *p)
{
    int least = 0;

    p->mgf1 = strcasecmp(p->md_name, p->mgf1_name) == 0
              ? p->md : hash_of(s, p->mgf1_name);
    if (p->md_bytes == 0) {
        return prov_raise_prov(PROV_R_INVALID_DIGEST, "PSS needs a digest");
    }
    if (!salt_bytes(p, setting, &p->salt_bytes)) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
    }
    /* A key that prescribes parameters prescribes the shortest salt. */
    if (EVP_PKEY_is_a(s->key->soft, "RSA-PSS")
        && EVP_PKEY_get_int_param(s->key->soft, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN,
                                  &least)
        && least > 0 && p->salt_bytes < (size_t)least) {
        return prov_raise_prov(PROV_R_PSS_SALTLEN_TOO_SMALL, "minimum salt "
                               "length: %d, actual salt length: %zu", least,
                               p->salt_bytes);
    }
    return 1;
}

static int plan_rsa(const struct prov_sig *s, struct prov_sig_plan *p)
{
    int pad = 0, salt = 0;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &pad),
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST,
                                         p->md_name, sizeof(p->md_name)),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST,
                                         p->mgf1_name, sizeof(p->mgf1_name)),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(s->shadow.pctx, ask)) {
        return 0;
    }
    p->md = hash_of(s, p->md_name);
    if (p->md == NULL && p->md_name[0] != '\0') {
        return prov_raise_prov(PROV_R_DIGEST_NOT_ALLOWED, "digest=%s",
                               p->md_name);
    }
    p->md_bytes = p->md != NULL ? p->md->bytes : 0;
    p->key_bytes = prov_sig_token_size(s);
    p->padding = pad;
    switch (pad) {
    case RSA_PKCS1_PADDING:
        p->scheme = PROV_SCHEME_PKCS1;
        return 1;
    case RSA_PKCS1_PSS_PADDING:
        p->scheme = PROV_SCHEME_PSS;
        return plan_pss(s, salt, p);
    case RSA_X931_PADDING:
        p->scheme = PROV_SCHEME_X931;
        return 1;
    case RSA_NO_PADDING:
        p->scheme = PROV_SCHEME_RAW;
        return 1;
    default:
        return prov_raise_prov(PROV_R_INVALID_PADDING_MODE, "a key in a token "
                               "signs with padding pkcs1, pss, x931 or none");
    }
}

static int plan_ecdsa(const struct prov_sig *s, struct prov_sig_plan *p)
{
    unsigned int nonce_type = 0;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST,
                                         p->md_name, sizeof(p->md_name)),
        OSSL_PARAM_construct_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE,
                                    &p->md_bytes),
        OSSL_PARAM_construct_uint(OSSL_SIGNATURE_PARAM_NONCE_TYPE,
                                  &nonce_type),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(s->shadow.pctx, ask)) {
        return 0;
    }
    if (nonce_type != 0) {
        return prov_raise_prov(PROV_R_NOT_SUPPORTED, "the token chooses the "
                               "nonce: leave %s at 0",
                               OSSL_SIGNATURE_PARAM_NONCE_TYPE);
    }
    p->scheme = PROV_SCHEME_ECDSA;
    p->md = hash_of(s, p->md_name);
    p->key_bytes = (p->key_bits + 7) / 8;
    return 1;
}

int prov_sig_plan_make(const struct prov_sig *s, struct prov_sig_plan *p)
{
    int bits = EVP_PKEY_get_bits(s->key->soft);

    memset(p, 0, sizeof(*p));
    p->key_bits = bits > 0 ? (unsigned int)bits : 0;
    return s->row->family == PROV_SIG_RSA ? plan_rsa(s, p) : plan_ecdsa(s, p);
}

/* Raw RSA takes a number below the modulus, of the same length. */
static int check_raw(const struct prov_sig *s, const struct prov_sig_plan *p,
                     struct hsm_bytes tbs)
{
    const struct hsm_public *pub = hsm_key_public(s->key->token);

    if (tbs.len > p->key_bytes) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
    }
    if (tbs.len < p->key_bytes) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_SMALL_FOR_KEY_SIZE);
    }
    if (pub->modulus.len == tbs.len
        && memcmp(tbs.p, pub->modulus.p, tbs.len) >= 0) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_MODULUS);
    }
    return 1;
}

int prov_sig_plan_check(const struct prov_sig *s, const struct prov_sig_plan *p,
                        struct hsm_bytes tbs)
{
    if (p->md_bytes != 0 && tbs.len != p->md_bytes) {
        return prov_raise_prov(PROV_R_INVALID_DIGEST_LENGTH,
                               "is %zu, should be %zu", tbs.len, p->md_bytes);
    }
    return p->scheme != PROV_SCHEME_RAW || check_raw(s, p, tbs);
}

/* DigestInfo of the hash; what has no digest, or MD5-SHA1, stands for itself.
 */
static int digest_info(const struct prov_sig *s, const struct prov_sig_plan *p,
                       struct hsm_bytes tbs, struct hsm_buf *out)
{
    hsm_rc rc = HSM_OK;

    out->len = 0;
    if (p->md != NULL && p->md->digest_info_len != 0) {
        rc = hsm_buf_append(out, p->md->digest_info, p->md->digest_info_len);
    }
    if (hsm_ok(rc)) {
        rc = hsm_buf_append(out, tbs.p, tbs.len);
    }
    if (hsm_ok(rc) && out->len + PROV_RSAPAD_PKCS1_LEAST > p->key_bytes) {
        return p->md != NULL
            ? prov_raise_bare(ERR_LIB_RSA, RSA_R_DIGEST_TOO_BIG_FOR_RSA_KEY)
            : prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
    }
    return prov_result(s->prov, rc);
}

static int emsa_pkcs1(const struct prov_sig *s, const struct prov_sig_plan *p,
                      struct hsm_bytes tbs, struct hsm_buf *out)
{
    hsm_auto(hsm_buf) t = HSM_BUF_INIT;

    if (!digest_info(s, p, tbs, &t)) {
        return 0;
    }
    if (!prov_result(s->prov, hsm_buf_reserve(out, p->key_bytes))) {
        return 0;
    }
    out->len = p->key_bytes;
    return prov_rsapad_pkcs1(hsm_buf_bytes(&t), out->p, out->len);
}

static int emsa_pss(const struct prov_sig *s, const struct prov_sig_plan *p,
                    struct hsm_bytes tbs, struct hsm_buf *out)
{
    struct prov_rsapad_pss pss = {
        .md = p->md_name, .mgf1 = p->mgf1_name, .salt_bytes = p->salt_bytes,
        .key_bits = p->key_bits
    };

    if (!prov_result(s->prov, hsm_buf_reserve(out, p->key_bytes))) {
        return 0;
    }
    out->len = p->key_bytes;
    return prov_rsapad_pss(s->prov->libctx, &pss, tbs, out->p);
}

/* X9.31: the hash and its identifier; what has no digest stands for itself. */
static int x931(const struct prov_sig *s, const struct prov_sig_plan *p,
                bool whole, struct hsm_bytes tbs, struct hsm_buf *out)
{
    static const unsigned char end = PROV_RSAPAD_X931_END;
    hsm_auto(hsm_buf) t = HSM_BUF_INIT;
    hsm_rc rc = hsm_buf_append(&t, tbs.p, tbs.len);

    if (hsm_ok(rc) && p->md != NULL) {
        rc = hsm_buf_append(&t, &p->md->x931, 1);
    }
    if (hsm_ok(rc)) {
        rc = hsm_buf_reserve(out, p->key_bytes);
    }
    if (!prov_result(s->prov, rc)) {
        return 0;
    }
    out->len = p->key_bytes;
    if (!prov_rsapad_x931(hsm_buf_bytes(&t), out->p, out->len)
        || !check_raw(s, p, hsm_buf_bytes(out))) {
        return 0;
    }
    if (whole) {
        return 1;
    }
    rc = hsm_buf_append(&t, &end, 1);
    return prov_result(s->prov, hsm_ok(rc)
                       ? hsm_buf_set(out, hsm_buf_bytes(&t)) : rc);
}

/* What the token is to sign. in refers to tbs, or to made. */
int prov_sig_plan_input(const struct prov_sig *s, const struct prov_sig_plan *p,
                        enum prov_sig_input kind, struct hsm_bytes *in,
                        struct hsm_buf *made)
{
    int ok = 1;

    switch (kind) {
    case PROV_INPUT_DIGEST_INFO:
        ok = digest_info(s, p, *in, made);
        break;
    case PROV_INPUT_EMSA_PKCS1:
        ok = emsa_pkcs1(s, p, *in, made);
        break;
    case PROV_INPUT_EMSA_PSS:
        ok = emsa_pss(s, p, *in, made);
        break;
    case PROV_INPUT_X931_TRAILER:
    case PROV_INPUT_EMSA_X931:
        ok = x931(s, p, kind == PROV_INPUT_EMSA_X931, *in, made);
        break;
    case PROV_INPUT_LEFTMOST:
        /* Some tokens do not shorten a hash longer than the order. */
        in->len = in->len < p->key_bytes ? in->len : p->key_bytes;
        return 1;
    default:
        return 1;
    }
    *in = hsm_buf_bytes(made);
    return ok;
}

/* The parameters of a verification by this plan: ECDSA has none, of a digest it
 * takes what fits the order. */
static void verify_params(struct prov_sig_plan *p, int *salt,
                          OSSL_PARAM params[5])
{
    size_t n = 0;

    *salt = (int)p->salt_bytes;
    if (p->scheme != PROV_SCHEME_ECDSA) {
        params[n++] = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE,
                                               &p->padding);
    }
    if (p->scheme != PROV_SCHEME_ECDSA && p->md != NULL) {
        params[n++] = OSSL_PARAM_construct_utf8_string(
            OSSL_SIGNATURE_PARAM_DIGEST, p->md_name, 0);
    }
    if (p->scheme == PROV_SCHEME_PSS) {
        params[n++] = OSSL_PARAM_construct_utf8_string(
            OSSL_SIGNATURE_PARAM_MGF1_DIGEST, p->mgf1_name, 0);
        params[n++] = OSSL_PARAM_construct_int(
            OSSL_SIGNATURE_PARAM_PSS_SALTLEN, salt);
    }
    params[n] = OSSL_PARAM_construct_end();
}

bool prov_sig_plan_proves(const struct prov_sig *s,
                          const struct prov_sig_plan *plan,
                          struct hsm_bytes tbs, struct hsm_bytes sig)
{
    struct prov_sig_plan p = *plan;
    OSSL_PARAM params[5];
    EVP_PKEY_CTX *pctx = NULL;
    bool good = false;
    int salt = 0;

    verify_params(&p, &salt, params);
    ERR_set_mark();
    pctx = prov_soft_new(s->prov, s->key->soft, EVP_PKEY_verify_init_ex,
                         params);
    good = pctx != NULL
           && EVP_PKEY_verify(pctx, sig.p, sig.len, tbs.p, tbs.len) > 0;
    EVP_PKEY_CTX_free(pctx);
    ERR_pop_to_mark();
    return good;
}
