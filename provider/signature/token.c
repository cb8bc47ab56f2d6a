/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/token.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/proverr.h>
#include <openssl/rsa.h>

#include "provider/err.h"
#include "provider/pkey/rsapad.h"
#include "provider/signature/sig_table.h"
#include "src/base/der.h"
#include "src/crypto/hash.h"
#include "src/crypto/op.h"

/* Longer than any name of a digest that libcrypto takes. */
#define NAME_SIZE 64

/* Of OpenSSL 3.1 and later: the digest's length, or less where the key is too
 * short. Earlier ones never answer it. */
#define SALTLEN_AUTO_DIGEST_MAX (-4)

/* What the shadow's parameters come to. */
struct plan {
    enum prov_sig_scheme scheme;
    const struct hsm_hash *md;  /* NULL: no digest was set */
    const struct hsm_hash *mgf1;            /* NULL: one without a row */
    char md_name[NAME_SIZE];
    char mgf1_name[NAME_SIZE];
    size_t md_bytes;            /* 0: input of any length */
    size_t salt_bytes;
    size_t key_bytes;           /* of the modulus, or of the order */
    unsigned int key_bits;
};

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

int prov_sig_token_may(const struct prov_sig *s)
{
    const EVP_MD *md = prov_shadow_md(&s->shadow);

    if (!hsm_key_usage(s->key->token).sign) {
        return prov_raise(s->prov, HSM_E_KEY_USE, "%s: the token does not "
                          "permit this key to sign (CKA_SIGN)",
                          hsm_key_name(s->key->token));
    }
    if (md != NULL && s->row->family == PROV_SIG_RSA
        && hsm_hash_by_name(EVP_MD_get0_name(md)) == NULL) {
        return prov_raise_prov(PROV_R_DIGEST_NOT_ALLOWED, "digest=%s",
                               EVP_MD_get0_name(md));
    }
    return 1;
}

size_t prov_sig_token_size(const struct prov_sig *s)
{
    int size = EVP_PKEY_get_size(s->key->soft);

    return size > 0 ? (size_t)size : 0;
}

/* RSA_PSS_SALTLEN_… as for signing; false when the key is too small. */
static bool salt_bytes(const struct plan *p, int setting, size_t *out)
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

static int plan_pss(const struct prov_sig *s, int setting, struct plan *p)
{
    int least = 0;

    p->mgf1 = strcasecmp(p->md_name, p->mgf1_name) == 0
              ? p->md : hash_of(s, p->mgf1_name);
    if (p->md_bytes == 0) {
        return prov_raise_prov(PROV_R_INVALID_DIGEST, "PSS needs a digest");
    }
    if (!salt_bytes(p, setting, &p->salt_bytes)) {
        ERR_raise(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
        return 0;
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

static int plan_rsa(const struct prov_sig *s, struct plan *p)
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

static int plan_ecdsa(const struct prov_sig *s, struct plan *p)
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

static int make_plan(const struct prov_sig *s, struct plan *p)
{
    int bits = EVP_PKEY_get_bits(s->key->soft);

    memset(p, 0, sizeof(*p));
    p->key_bits = bits > 0 ? (unsigned int)bits : 0;
    return s->row->family == PROV_SIG_RSA ? plan_rsa(s, p) : plan_ecdsa(s, p);
}

/* Raw RSA takes a number below the modulus, of the same length. */
static int check_raw(const struct prov_sig *s, const struct plan *p,
                     struct hsm_bytes tbs)
{
    const struct hsm_public *pub = hsm_key_public(s->key->token);
    int reason = 0;

    if (tbs.len > p->key_bytes) {
        reason = RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE;
    } else if (tbs.len < p->key_bytes) {
        reason = RSA_R_DATA_TOO_SMALL_FOR_KEY_SIZE;
    } else if (pub->modulus.len == tbs.len
               && memcmp(tbs.p, pub->modulus.p, tbs.len) >= 0) {
        reason = RSA_R_DATA_TOO_LARGE_FOR_MODULUS;
    }
    if (reason != 0) {
        ERR_raise(ERR_LIB_RSA, reason);
    }
    return reason == 0;
}

static int check_input(const struct prov_sig *s, const struct plan *p,
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
static int digest_info(const struct prov_sig *s, const struct plan *p,
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
        ERR_raise(ERR_LIB_RSA, p->md != NULL
                  ? RSA_R_DIGEST_TOO_BIG_FOR_RSA_KEY
                  : RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
        return 0;
    }
    return prov_result(s->prov, rc);
}

static int emsa_pkcs1(const struct prov_sig *s, const struct plan *p,
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

static int emsa_pss(const struct prov_sig *s, const struct plan *p,
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
static int x931(const struct prov_sig *s, const struct plan *p, bool whole,
                struct hsm_bytes tbs, struct hsm_buf *out)
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
static int make_input(const struct prov_sig *s, const struct plan *p,
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

/* Of a way that goes by the hash, the mechanism for this one. */
static CK_MECHANISM_TYPE mechanism_of(const struct plan *p,
                                      const struct prov_sig_way *way)
{
    CK_MECHANISM_TYPE type = CK_UNAVAILABLE_INFORMATION;

    if (way->by_hash == 0) {
        return way->mechanism;
    }
    if (p->md != NULL) {
        memcpy(&type, (const char *)p->md + way->by_hash, sizeof(type));
    }
    return type;
}

static struct hsm_mech make_mech(const struct plan *p,
                                 const struct prov_sig_way *way)
{
    CK_MECHANISM_TYPE type = mechanism_of(p, way);

    return way->pss ? hsm_mech_pss(type, p->md->ckm, p->mgf1->mgf,
                                   p->salt_bytes)
                    : hsm_mech_plain(type);
}

/* The way serves this plan, whatever the token says. */
static bool suits(const struct plan *p, const struct prov_sig_way *way)
{
    return way->scheme == p->scheme
           && mechanism_of(p, way) != CK_UNAVAILABLE_INFORMATION
           && (!way->pss
               || (p->md != NULL && p->md == p->mgf1 && p->md->mgf != 0));
}

/* Another way may do: the token does not know this one after all. */
static bool is_refusal(hsm_rc rc)
{
    return hsm_class_of(rc) == HSM_CLASS_UNSUPPORTED;
}

static hsm_rc act_ecdsa(struct hsm_key *key, const struct hsm_mech *mech,
                        struct hsm_bytes in, size_t order_bytes,
                        struct hsm_buf *der)
{
    hsm_auto(hsm_buf) rs = HSM_BUF_INIT;
    size_t n = 2 * order_bytes;

    TRY(hsm_buf_reserve(&rs, n));
    TRY(hsm_op_once(key, HSM_OP_SIGN, mech, in, rs.p, &n));
    return hsm_der_from_rs(hsm_bytes_of(rs.p, n), der);
}

static hsm_rc act(const struct prov_sig *s, const struct plan *p,
                  const struct hsm_mech *mech, struct hsm_bytes in,
                  struct hsm_buf *out)
{
    struct hsm_bytes modulus =
        hsm_buf_bytes(&hsm_key_public(s->key->token)->modulus);
    size_t n = p->key_bytes;

    out->len = 0;
    if (p->scheme == PROV_SCHEME_ECDSA) {
        return act_ecdsa(s->key->token, mech, in, p->key_bytes, out);
    }
    TRY(hsm_buf_reserve(out, n));
    TRY(hsm_op_once(s->key->token, HSM_OP_SIGN, mech, in, out->p, &n));
    out->len = n;
    if (n != p->key_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, "C_Sign", "the signature has %zu "
                        "octets instead of %zu", n, p->key_bytes);
    }
    if (p->scheme == PROV_SCHEME_X931 && modulus.len == n) {
        prov_rsapad_lesser(modulus, out->p);
    }
    return HSM_OK;
}

/* The names of the mechanisms that would do: of those that hash, or of the
 * others. */
static hsm_rc list_ways(const struct plan *p, bool that_hash,
                        struct hsm_buf *names)
{
    char unnamed[24];
    size_t i = 0;

    for (i = 0; i < prov_sig_n_ways; i++) {
        const struct prov_sig_way *way = &prov_sig_ways[i];

        if (suits(p, way) && (way->by_hash != 0) == that_hash) {
            TRY(hsm_buf_printf(names, "%s%s", names->len > 0 ? " nor " : "",
                               hsm_mech_name(mechanism_of(p, way), unnamed)));
        }
    }
    return HSM_OK;
}

/* hashing: what the token could do, if it had the message. */
static hsm_rc no_way(const struct prov_sig *s, const struct plan *p,
                     const struct prov_sig_way *hashing)
{
    hsm_auto(hsm_buf) names = HSM_BUF_INIT;
    const struct hsm_token *tok = hsm_key_token(s->key->token);
    const char *label = tok != NULL ? tok->id.label : "";
    char unnamed[24];

    TRY(list_ways(p, false, &names));
    if (hashing == NULL) {
        TRY(list_ways(p, true, &names));
    }
    if (names.p == NULL) {
        TRY(hsm_buf_printf(&names, "a mechanism"));
    }
    if (hashing == NULL) {
        return hsm_fail(HSM_E_NO_MECHANISM, "C_SignInit", "token \"%s\" does "
                        "not offer %s for key %s", label,
                        (const char *)names.p, hsm_key_name(s->key->token));
    }
    return hsm_fail(HSM_E_NO_MECHANISM, "C_SignInit", "token \"%s\" does not "
                    "offer %s for key %s, which would sign a digest, but %s, "
                    "which must have the message: let it be hashed while it "
                    "is signed (dgst -sign, pkeyutl -rawin)", label,
                    (const char *)names.p, hsm_key_name(s->key->token),
                    hsm_mech_name(mechanism_of(p, hashing), unnamed));
}

static hsm_rc way_can(const struct prov_sig *s, const struct plan *p,
                      const struct prov_sig_way *way, bool *can)
{
    struct hsm_mech mech;

    *can = false;
    if (!suits(p, way)) {
        return HSM_OK;
    }
    TRY(hsm_op_can(s->key->token, mechanism_of(p, way), can));
    mech = make_mech(p, way);
    *can = *can && !hsm_op_avoids(s->key->token, HSM_OP_SIGN, &mech);
    return HSM_OK;
}

/* These were refused where another way served. */
static void avoid(const struct prov_sig *s, const struct plan *p,
                  unsigned long ways)
{
    size_t i = 0;

    for (i = 0; i < prov_sig_n_ways; i++) {
        if ((ways >> i & 1UL) != 0) {
            struct hsm_mech mech = make_mech(p, &prov_sig_ways[i]);

            hsm_op_avoid(s->key->token, HSM_OP_SIGN, &mech);
        }
    }
}

static int use_way(const struct prov_sig *s, const struct plan *p,
                   const struct prov_sig_way *way, struct hsm_bytes in,
                   struct hsm_buf *out, hsm_rc *rc)
{
    hsm_auto(hsm_buf) made = HSM_BUF_INIT;
    struct hsm_mech mech = make_mech(p, way);

    if (way->input == PROV_INPUT_MESSAGE) {
        in = hsm_buf_bytes(&s->message);
    } else if (!make_input(s, p, way->input, &in, &made)) {
        return 0;
    }
    *rc = act(s, p, &mech, in, out);
    return 1;
}

static int try_ways(const struct prov_sig *s, const struct plan *p,
                    struct hsm_bytes tbs, struct hsm_buf *out)
{
    const struct prov_sig_way *hashing = NULL;
    hsm_rc refused = HSM_OK;
    unsigned long tried = 0;
    size_t i = 0;

    for (i = 0; i < prov_sig_n_ways; i++) {
        const struct prov_sig_way *way = &prov_sig_ways[i];
        bool can = false;
        hsm_rc rc = way_can(s, p, way, &can);

        if (can && way->by_hash != 0 && s->gives != PROV_GIVES_MESSAGE) {
            hashing = way;
            can = false;
        }
        if (hsm_ok(rc) && !can) {
            continue;
        }
        if (hsm_ok(rc) && !use_way(s, p, way, tbs, out, &rc)) {
            return 0;
        }
        if (!is_refusal(rc)) {
            avoid(s, p, hsm_ok(rc) ? tried : 0);
            return prov_result(s->prov, rc);
        }
        tried |= 1UL << i;
        refused = rc;
    }
    return prov_result(s->prov, hsm_ok(refused) ? no_way(s, p, hashing)
                                                : refused);
}

/* The first way that the token can go decides. */
static hsm_rc first_way(const struct prov_sig *s, const struct plan *p,
                        enum prov_sig_gives *gives)
{
    bool can = false;
    size_t i = 0;

    for (i = 0; i < prov_sig_n_ways && !can; i++) {
        TRY(way_can(s, p, &prov_sig_ways[i], &can));
        if (can && prov_sig_ways[i].by_hash != 0) {
            *gives = PROV_GIVES_MESSAGE;
        }
    }
    return HSM_OK;
}

int prov_sig_token_decide(const struct prov_sig *s,
                          enum prov_sig_gives *gives)
{
    enum prov_sig_gives found = PROV_GIVES_DIGEST;
    bool serves_all = false;
    struct plan p;

    if (!prov_result(s->prov, hsm_op_can(s->key->token, s->row->serves_all,
                                         &serves_all))) {
        return 0;
    }
    if (!serves_all
        && (!make_plan(s, &p)
            || !prov_result(s->prov, first_way(s, &p, &found)))) {
        return 0;
    }
    *gives = found;
    return 1;
}

int prov_sig_on_token(const struct prov_sig *s, struct hsm_bytes tbs,
                      unsigned char *sig, size_t *sig_len)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    struct plan p;

    if (!make_plan(s, &p) || !check_input(s, &p, tbs)
        || !try_ways(s, &p, tbs, &out)) {
        return 0;
    }
    if (out.p == NULL || out.len > *sig_len) {
        return prov_raise_prov(PROV_R_INVALID_SIGNATURE_SIZE,
                               "is %zu, should be at least %zu", *sig_len,
                               out.len);
    }
    memcpy(sig, out.p, out.len);
    *sig_len = out.len;
    return 1;
}
