/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/token.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/pkey/proof.h"
#include "provider/pkey/rsapad.h"
#include "provider/signature/plan.h"
#include "provider/signature/sig_table.h"
#include "src/base/der.h"
#include "src/crypto/hash.h"
#include "src/crypto/op.h"

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

/* Of a way that goes by the hash, the mechanism for this one. */
static CK_MECHANISM_TYPE mechanism_of(const struct prov_sig_plan *p,
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

static struct hsm_mech make_mech(const struct prov_sig_plan *p,
                                 const struct prov_sig_way *way)
{
    CK_MECHANISM_TYPE type = mechanism_of(p, way);

    return way->pss ? hsm_mech_pss(type, p->md->ckm, p->mgf1->mgf,
                                   p->salt_bytes)
                    : hsm_mech_plain(type);
}

/* The way serves this plan, whatever the token says. */
static bool suits(const struct prov_sig_plan *p, const struct prov_sig_way *way)
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

static hsm_rc act(const struct prov_sig *s, const struct prov_sig_plan *p,
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
static hsm_rc list_ways(const struct prov_sig_plan *p, bool that_hash,
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
static hsm_rc no_way(const struct prov_sig *s, const struct prov_sig_plan *p,
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

static hsm_rc way_can(const struct prov_sig *s, const struct prov_sig_plan *p,
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
static void avoid(const struct prov_sig *s, const struct prov_sig_plan *p,
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

static int use_way(const struct prov_sig *s, const struct prov_sig_plan *p,
                   const struct prov_sig_way *way, struct hsm_bytes in,
                   struct hsm_buf *out, hsm_rc *rc)
{
    hsm_auto(hsm_buf) made = HSM_BUF_INIT;
    struct hsm_mech mech = make_mech(p, way);

    if (way->input == PROV_INPUT_MESSAGE) {
        in = hsm_buf_bytes(&s->message);
    } else if (!prov_sig_plan_input(s, p, way->input, &in, &made)) {
        return 0;
    }
    *rc = act(s, p, &mech, in, out);
    return 1;
}

static int try_ways(const struct prov_sig *s, const struct prov_sig_plan *p,
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
static hsm_rc first_way(const struct prov_sig *s, const struct prov_sig_plan *p,
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
    struct prov_sig_plan p;

    if (!prov_result(s->prov, hsm_op_can(s->key->token, s->row->serves_all,
                                         &serves_all))) {
        return 0;
    }
    if (!serves_all
        && (!prov_sig_plan_make(s, &p)
            || !prov_result(s->prov, first_way(s, &p, &found)))) {
        return 0;
    }
    *gives = found;
    return 1;
}

/* Every signature goes through here. */
static int sign(const struct prov_sig *s, const struct prov_sig_plan *p,
                struct hsm_bytes tbs, struct hsm_buf *out)
{
    struct prov_proof proof;

    if (!prov_result(s->prov, prov_proof_begin(s->key, &proof))
        || !try_ways(s, p, tbs, out)) {
        return 0;
    }
    return !prov_proof_is_due(&proof)
           || prov_result(s->prov, prov_proof_end(&proof,
                  prov_sig_plan_proves(s, p, tbs, hsm_buf_bytes(out))));
}

int prov_sig_on_token(const struct prov_sig *s, struct hsm_bytes tbs,
                      unsigned char *sig, size_t *sig_len)
{
    hsm_auto(hsm_buf) out = HSM_BUF_INIT;
    struct prov_sig_plan p;

    if (!prov_sig_plan_make(s, &p) || !prov_sig_plan_check(s, &p, tbs)
        || !sign(s, &p, tbs, &out)) {
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
