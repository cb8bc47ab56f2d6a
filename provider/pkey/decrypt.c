/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/decrypt.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/proverr.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "provider/conf_table.h"
#include "provider/err.h"
#include "provider/pkey/ct.h"
#include "provider/pkey/pkey_table.h"
#include "provider/pkey/proof.h"
#include "provider/pkey/reject.h"
#include "provider/pkey/rsapad.h"
#include "provider/pkey/rsaunpad.h"
#include "provider/soft.h"
#include "src/crypto/hash.h"
#include "src/crypto/op.h"

/* Longer than any name of a digest that libcrypto tells. */
#define NAME_SIZE 64

/* libcrypto's numbers of paddings. */
static const struct {
    int padding;
    enum prov_dec_scheme scheme;
} schemes[] = {
    { RSA_PKCS1_PADDING, PROV_DEC_PKCS1 },
    { RSA_PKCS1_OAEP_PADDING, PROV_DEC_OAEP },
    { RSA_NO_PADDING, PROV_DEC_RAW },
    { RSA_PKCS1_WITH_TLS_PADDING, PROV_DEC_TLS }
};

/* What the shadow's parameters come to. */
struct plan {
    enum prov_dec_scheme scheme;
    char md[NAME_SIZE], mgf1[NAME_SIZE];
    struct hsm_bytes label;     /* the shadow's own */
    unsigned int version[2];    /* of TLS: offered, and also accepted */
    size_t key_bytes;           /* of the modulus */
};

/* One decryption under way. */
struct work {
    const struct prov_decrypt *d;
    const struct plan *p;
    struct hsm_bytes in;        /* as long as the modulus */
    unsigned char *out;
    size_t out_len;
};

static size_t key_bytes(const struct prov_decrypt *d)
{
    int size = EVP_PKEY_get_size(d->key->soft);

    return size > 0 ? (size_t)size : 0;
}

int prov_decrypt_may(const struct prov_decrypt *d)
{
    if (hsm_key_usage(d->key->token).decrypt) {
        return 1;
    }
    return prov_raise(d->prov, HSM_E_KEY_USE, "%s: the token does not permit "
                      "this key to decrypt (CKA_DECRYPT)",
                      hsm_key_name(d->key->token));
}

static int scheme_of(const struct prov_decrypt *d, enum prov_dec_scheme *out)
{
    int padding = 0;
    size_t i = 0;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(d->shadow, ask)) {
        return 0;
    }
    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (schemes[i].padding == padding) {
            *out = schemes[i].scheme;
            return 1;
        }
    }
    return prov_raise_prov(PROV_R_INVALID_PADDING_MODE, "a key in a token "
                           "decrypts with padding pkcs1, oaep or none only");
}

size_t prov_decrypt_size(const struct prov_decrypt *d)
{
    enum prov_dec_scheme scheme = PROV_DEC_RAW;
    size_t size = key_bytes(d);

    if (!scheme_of(d, &scheme)) {
        return 0;
    }
    if (size == 0) {
        (void)prov_raise_prov(PROV_R_INVALID_KEY,
                              "the size of the key's modulus is not known");
        return 0;
    }
    return scheme == PROV_DEC_TLS ? PROV_PREMASTER_BYTES : size;
}

static int plan_oaep(const struct prov_decrypt *d, struct plan *p)
{
    void *label = NULL;
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST,
                                         p->md, sizeof(p->md)),
        OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST,
                                         p->mgf1, sizeof(p->mgf1)),
        OSSL_PARAM_construct_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL,
                                       &label, 0),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(d->shadow, ask)) {
        return 0;
    }
    p->label = hsm_bytes_of(label, label != NULL ? ask[2].return_size : 0);
    return 1;
}

static int plan_tls(const struct prov_decrypt *d, struct plan *p)
{
    OSSL_PARAM ask[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
                                  &p->version[0]),
        OSSL_PARAM_construct_uint(
            OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, &p->version[1]),
        OSSL_PARAM_construct_end()
    };

    if (!prov_soft_get(d->shadow, ask)) {
        return 0;
    }
    if (p->version[0] == 0) {
        return prov_raise_bare(ERR_LIB_PROV, PROV_R_BAD_TLS_CLIENT_VERSION);
    }
    return 1;
}

static int make_plan(const struct prov_decrypt *d, struct plan *p)
{
    memset(p, 0, sizeof(*p));
    p->key_bytes = key_bytes(d);
    if (!scheme_of(d, &p->scheme)) {
        return 0;
    }
    switch (p->scheme) {
    case PROV_DEC_OAEP:
        return plan_oaep(d, p);
    case PROV_DEC_TLS:
        return plan_tls(d, p);
    default:
        return 1;
    }
}

static struct hsm_bytes modulus_of(const struct prov_decrypt *d)
{
    return hsm_buf_bytes(&hsm_key_public(d->key->token)->modulus);
}

/* A number below the modulus, with as many octets: public, all of it. */
static int take_input(const struct prov_decrypt *d, const struct plan *p,
                      struct hsm_bytes in, struct hsm_buf *whole)
{
    struct hsm_bytes modulus = modulus_of(d);
    size_t fill = 0;

    if (in.len > p->key_bytes) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_GREATER_THAN_MOD_LEN);
    }
    if (!prov_result(d->prov, hsm_buf_reserve(whole, p->key_bytes))) {
        return 0;
    }
    fill = p->key_bytes - in.len;
    whole->len = p->key_bytes;
    memset(whole->p, 0, fill);
    if (in.len > 0) {
        memcpy(whole->p + fill, in.p, in.len);
    }
    if (modulus.len == whole->len
        && memcmp(whole->p, modulus.p, whole->len) >= 0) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_MODULUS);
    }
    return 1;
}

/* Not in the log: applications may keep it from who asks (CMS does), and the
 * log is not to tell it instead. */
static int bad_padding(int reason)
{
    ERR_raise(ERR_LIB_RSA, reason);
    return 0;
}

/* Who cannot be told of wrong padding is told something else. */
static int reject(const struct work *w, struct prov_unpadded *u,
                  unsigned char *em)
{
    hsm_auto(hsm_buf) other = HSM_BUF_INIT;
    size_t len = 0;

    if (!w->d->reject) {
        return 1;
    }
    if (!prov_result(w->d->prov, hsm_buf_reserve(&other, u->max + 1))) {
        return 0;
    }
    other.len = u->max;
    if (!prov_reject_message(w->d->prov, modulus_of(w->d), w->in, &other,
                             &len)) {
        return prov_raise_prov(PROV_R_FAILED_TO_DECRYPT, "no HMAC");
    }
    prov_rsaunpad_or(u, em, other.p, len);
    return 1;
}

/* Only here the secret is told, where it has to be. */
static int give_message(struct work *w, const struct prov_unpadded *u,
                        const unsigned char *em, int reason)
{
    prov_rsaunpad_copy(u, em, w->out);
    w->out_len = u->len;
    return u->good != 0 || bad_padding(reason);
}

static int give_premaster(struct work *w, const struct prov_unpadded *u,
                          const unsigned char *em)
{
    unsigned char premaster[PROV_PREMASTER_BYTES];

    if (u->max < sizeof(premaster)) {
        return bad_padding(RSA_R_PKCS_DECODING_ERROR);
    }
    if (RAND_priv_bytes_ex(w->d->prov->libctx, premaster, sizeof(premaster),
                           0) <= 0) {
        return 0;
    }
    prov_rsaunpad_premaster(u, em, w->p->version, premaster);
    memcpy(w->out, premaster, sizeof(premaster));
    w->out_len = sizeof(premaster);
    OPENSSL_cleanse(premaster, sizeof(premaster));
    return 1;
}

static int give_oaep(struct work *w, struct hsm_buf *em)
{
    struct prov_rsaunpad_oaep oaep = {
        .md = w->p->md, .mgf1 = w->p->mgf1, .label = w->p->label
    };
    struct prov_unpadded u;

    if (!prov_rsaunpad_oaep(w->d->prov->libctx, &oaep, em->p, em->len, &u)) {
        return bad_padding(RSA_R_OAEP_DECODING_ERROR);
    }
    return give_message(w, &u, em->p, RSA_R_OAEP_DECODING_ERROR);
}

/* em: what raw RSA gave. */
static int give_unpadded(struct work *w, struct hsm_buf *em)
{
    struct prov_unpadded u;

    switch (w->p->scheme) {
    case PROV_DEC_RAW:
        memcpy(w->out, em->p, em->len);
        w->out_len = em->len;
        return 1;
    case PROV_DEC_OAEP:
        return give_oaep(w, em);
    default:
        break;
    }
    if (!prov_rsaunpad_pkcs1(em->p, em->len, &u)) {
        return bad_padding(RSA_R_PKCS_DECODING_ERROR);
    }
    if (w->p->scheme == PROV_DEC_TLS) {
        return give_premaster(w, &u, em->p);
    }
    return reject(w, &u, em->p)
           && give_message(w, &u, em->p, RSA_R_PKCS_DECODING_ERROR);
}

static int by_raw_rsa(struct work *w, const struct hsm_mech *mech, hsm_rc *rc)
{
    hsm_auto(hsm_buf) em = HSM_BUF_INIT;
    size_t n = w->p->key_bytes, fill = 0;
    struct prov_proof proof;

    *rc = prov_proof_begin(w->d->key, &proof);
    if (hsm_ok(*rc)) {
        *rc = hsm_buf_reserve(&em, n);
    }
    if (hsm_ok(*rc)) {
        *rc = hsm_op_once(w->d->key->token, HSM_OP_DECRYPT, mech, w->in, em.p,
                          &n);
    }
    if (!hsm_ok(*rc)) {
        return 0;
    }
    /* A token may leave zeros in front away. */
    fill = w->p->key_bytes - n;
    memmove(em.p + fill, em.p, n);
    memset(em.p, 0, fill);
    em.len = w->p->key_bytes;
    if (prov_proof_is_due(&proof)) {
        *rc = prov_proof_end(&proof, prov_proof_is_root(w->d->key,
                                         hsm_buf_bytes(&em), w->in));
    }
    return hsm_ok(*rc) && give_unpadded(w, &em);
}

/* That padding is good does not prove a key: what may be another key decrypts
 * something of ours first. Where it was found anew in between, afterwards, too:
 * what is the key before and after it is the key meanwhile. Good OAEP says that
 * it was made for the key on the token, and no more: it settles nothing.
 * *n: the room, then what was written. */
static hsm_rc decrypt_unpadded(const struct work *w,
                               const struct hsm_mech *mech,
                               unsigned char *out, size_t *n)
{
    bool is_oaep = w->p->scheme == PROV_DEC_OAEP;
    const struct prov_key *key = w->d->key;
    struct prov_proof proof;
    size_t room = *n;
    hsm_rc rc, proved;

    TRY(prov_proof_begin(key, &proof));
    if (!is_oaep) {
        TRY(prov_proof_by_pkcs1(&proof, mech));
        TRY(prov_proof_begin(key, &proof));
    }
    rc = hsm_op_once(key->token, HSM_OP_DECRYPT, mech, w->in, out, n);
    if (is_oaep || !prov_proof_is_due(&proof)
        || (!hsm_ok(rc) && !prov_dec_is_bad_padding(rc.rv))) {
        return rc;
    }
    proved = prov_proof_begin(key, &proof);
    if (hsm_ok(proved)) {
        proved = prov_proof_by_pkcs1(&proof, mech);
    }
    if (!hsm_ok(proved)) {
        OPENSSL_cleanse(out, room);
    }
    return hsm_ok(proved) ? rc : proved;
}

/* The token has said whether padding is good, by its result and by the time
 * that it took: what can still be hidden is hidden. */
static int by_token(struct work *w, const struct hsm_mech *mech, hsm_rc *rc)
{
    hsm_auto(hsm_buf) message = HSM_BUF_INIT;
    struct prov_unpadded u = { 0, w->p->key_bytes, 0, 0 };
    size_t n = w->p->key_bytes;

    *rc = hsm_buf_reserve(&message, n);
    if (!hsm_ok(*rc)) {
        return 0;
    }
    memset(message.p, 0, n);
    *rc = decrypt_unpadded(w, mech, message.p, &n);
    if (w->p->scheme != PROV_DEC_OAEP) {
        u.max -= PROV_RSAPAD_PKCS1_LEAST;
    }
    u.good = hsm_ok(*rc) ? ~prov_ct_less(u.max, n) : 0;
    u.len = u.good & n;
    if (w->p->scheme == PROV_DEC_OAEP || (w->p->scheme == PROV_DEC_PKCS1
                                          && !w->d->reject)) {
        return hsm_ok(*rc) && give_message(w, &u, message.p,
                                           RSA_R_PADDING_CHECK_FAILED);
    }
    if (!hsm_ok(*rc) && !prov_dec_is_bad_padding(rc->rv)) {
        return 0;
    }
    *rc = HSM_OK;
    hsm_detail_clear();
    if (w->p->scheme == PROV_DEC_TLS) {
        return give_premaster(w, &u, message.p);
    }
    return reject(w, &u, message.p)
           && give_message(w, &u, message.p, RSA_R_PKCS_DECODING_ERROR);
}

/* False: the token has no such variant, whatever it says. */
static bool make_mech(const struct plan *p, const struct prov_dec_way *way,
                      struct hsm_mech *mech)
{
    const struct hsm_hash *md = NULL, *mgf1 = NULL;

    if (!way->unpads || p->scheme != PROV_DEC_OAEP) {
        *mech = hsm_mech_plain(way->mechanism);
        return true;
    }
    md = hsm_hash_by_name(p->md);
    mgf1 = hsm_hash_by_name(p->mgf1);
    return md != NULL && md->ckm != CK_UNAVAILABLE_INFORMATION
           && mgf1 != NULL && mgf1->mgf != 0
           && p->label.len <= HSM_MECH_LABEL_MAX
           && hsm_ok(hsm_mech_oaep(way->mechanism, md->ckm, mgf1->mgf,
                                   p->label, mech));
}

static bool is_allowed(const struct prov_decrypt *d,
                       const struct prov_dec_way *way)
{
    return !way->if_allowed || prov_conf_tls_rsa_by_token(&d->prov->conf);
}

/* Another way may do: the token does not know this one after all. */
static bool is_refusal(hsm_rc rc)
{
    return hsm_class_of(rc) == HSM_CLASS_UNSUPPORTED;
}

/* Names what the token would need, and what could be set. */
static hsm_rc no_way(const struct work *w)
{
    hsm_auto(hsm_buf) names = HSM_BUF_INIT;
    const struct hsm_token *tok = hsm_key_token(w->d->key->token);
    bool setting = false;
    char unnamed[24];
    size_t i = 0;

    for (i = 0; i < prov_dec_n_ways; i++) {
        const struct prov_dec_way *way = &prov_dec_ways[i];

        if (way->scheme != w->p->scheme) {
            continue;
        }
        setting = setting || !is_allowed(w->d, way);
        if (is_allowed(w->d, way)) {
            TRY(hsm_buf_printf(&names, "%s%s", names.len > 0 ? " nor " : "",
                               hsm_mech_name(way->mechanism, unnamed)));
        }
    }
    return hsm_fail(HSM_E_NO_MECHANISM, "C_DecryptInit", "token \"%s\" does "
                    "not offer %s for key %s%s%s",
                    tok != NULL ? tok->id.label : "", (const char *)names.p,
                    hsm_key_name(w->d->key->token),
                    setting ? "; read about the setting " : "",
                    setting ? prov_settings[PROV_SET_TLS_RSA_BY_TOKEN].name
                            : "");
}

/* 1: done. 0 with rc good: raised; otherwise rc says why not, and is
 * HSM_E_NO_MECHANISM where nothing was tried. */
static int try_way(struct work *w, const struct prov_dec_way *way, hsm_rc *rc)
{
    static const hsm_rc not_this_way = { HSM_E_NO_MECHANISM, NULL };
    struct hsm_mech mech;
    bool can = false;

    *rc = not_this_way;
    if (way->scheme != w->p->scheme || !is_allowed(w->d, way)
        || !make_mech(w->p, way, &mech)) {
        return 0;
    }
    *rc = hsm_op_can(w->d->key->token, way->mechanism, &can);
    if (!hsm_ok(*rc)) {
        return 0;
    }
    if (!can || hsm_op_avoids(w->d->key->token, HSM_OP_DECRYPT, &mech)) {
        *rc = not_this_way;
        return 0;
    }
    return way->unpads ? by_token(w, &mech, rc) : by_raw_rsa(w, &mech, rc);
}

/* This one was refused where another served. */
static void avoid(const struct work *w, const struct prov_dec_way *way)
{
    struct hsm_mech mech;

    if (way != NULL && make_mech(w->p, way, &mech)) {
        hsm_op_avoid(w->d->key->token, HSM_OP_DECRYPT, &mech);
    }
}

static int try_ways(struct work *w)
{
    hsm_rc rc = HSM_OK, refused = HSM_OK;
    const struct prov_dec_way *tried = NULL;
    size_t i = 0;

    for (i = 0; i < prov_dec_n_ways; i++) {
        if (try_way(w, &prov_dec_ways[i], &rc)) {
            avoid(w, tried);
            return 1;
        }
        if (rc.rv == HSM_E_NO_MECHANISM) {
            continue;
        }
        if (!is_refusal(rc)) {
            return hsm_ok(rc) ? 0 : prov_result(w->d->prov, rc);
        }
        refused = rc;
        tried = &prov_dec_ways[i];
    }
    return prov_result(w->d->prov, hsm_ok(refused) ? no_way(w) : refused);
}

int prov_decrypt_on_token(const struct prov_decrypt *d, struct hsm_bytes in,
                          unsigned char *out, size_t *out_len)
{
    hsm_auto(hsm_buf) whole = HSM_BUF_INIT;
    size_t need = prov_decrypt_size(d);
    struct plan p;
    struct work w = { .d = d, .p = &p, .out = out };

    if (need == 0) {
        return 0;
    }
    if (*out_len < need) {
        return prov_raise_prov(PROV_R_BAD_LENGTH, "the room for the message "
                               "has %zu octets, should have %zu", *out_len,
                               need);
    }
    if (!make_plan(d, &p) || !take_input(d, &p, in, &whole)) {
        return 0;
    }
    w.in = hsm_buf_bytes(&whole);
    if (!try_ways(&w)) {
        return 0;
    }
    *out_len = w.out_len;
    return 1;
}
