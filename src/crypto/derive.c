/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/derive.h"

#include <string.h>

#include "src/base/der.h"
#include "src/crypto/ladder.h"
#include "src/crypto/mech.h"
#include "src/crypto/op_key.h"

/* So many leading zeros may be missing from a shared secret: some tokens leave
 * them out, and more are less likely than a mistake. */
#define ZEROS_MAX 8u

/* What the shared secret is made as, for tokens that refuse some of it. That it
 * is neither sensitive nor unextractable is said for as long as it can be. */
static const struct rung {
    bool length;                /* CKA_VALUE_LEN is given */
    bool sensitive, extractable, token;     /* these are told */
} rungs[] = {
    { false, true, true, true },
    { true, true, true, true },
    { false, true, true, false },
    { false, false, true, true },
    { false, false, false, true },
    { true, false, false, false },
};
#define RUNGS (sizeof(rungs) / sizeof(rungs[0]))

struct ecdh {
    struct hsm_key *key;
    CK_MECHANISM_TYPE type;
    struct hsm_bytes point;
    struct hsm_bytes wrapped;   /* the point as a DER OCTET STRING */
    unsigned char *out;
    size_t field_bytes, order_bytes;
};

/*
 * A raw point may look like a DER OCTET STRING (its second octet being the
 * right length); a token that unwraps those would take it for a shorter one.
 * Such a point is sent wrapped.
 */
static bool is_ambiguous(struct hsm_bytes point)
{
    struct hsm_bytes content;

    return hsm_der_only(point, HSM_DER_OCTETS, &content);
}

static hsm_rc fill(const struct ecdh *e, const struct rung *r,
                   struct hsm_attrs *tmpl)
{
    TRY(hsm_attrs_add_ulong(tmpl, CKA_CLASS, CKO_SECRET_KEY));
    TRY(hsm_attrs_add_ulong(tmpl, CKA_KEY_TYPE, CKK_GENERIC_SECRET));
    if (r->token) {
        TRY(hsm_attrs_add_bool(tmpl, CKA_TOKEN, false));
    }
    if (r->sensitive) {
        TRY(hsm_attrs_add_bool(tmpl, CKA_SENSITIVE, false));
    }
    if (r->extractable) {
        TRY(hsm_attrs_add_bool(tmpl, CKA_EXTRACTABLE, true));
    }
    return r->length
        ? hsm_attrs_add_ulong(tmpl, CKA_VALUE_LEN, e->field_bytes) : HSM_OK;
}

static hsm_rc derive_as(struct hsm_session *s, CK_OBJECT_HANDLE base,
                        const struct ecdh *e, const struct rung *r,
                        CK_OBJECT_HANDLE *secret)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
    struct hsm_bytes point = is_ambiguous(e->point) ? e->wrapped : e->point;
    union {
        const unsigned char *c;
        CK_BYTE *p;
    } peer = { .c = point.p };
    CK_ECDH1_DERIVE_PARAMS params = {
        .kdf = CKD_NULL,
        .ulPublicDataLen = point.len,
        .pPublicData = peer.p,
    };
    CK_MECHANISM mech = { e->type, &params, sizeof(params) };

    TRY(fill(e, r, &tmpl));
    return hsm_session_call(s, C_DeriveKey,
                    (s->h, &mech, base, tmpl.a, tmpl.n, secret));
}

static struct hsm_mark mark_of(size_t rung)
{
    struct hsm_mark mark = { { HSM_MARK_DERIVE, rung, 0, 0, 0 } };

    return mark;
}

/* What was refused once, while another template served, is not sent again. */
static hsm_rc derive(struct hsm_session *s, CK_OBJECT_HANDLE base,
                     const struct ecdh *e, CK_OBJECT_HANDLE *secret)
{
    hsm_rc first = HSM_OK;
    hsm_rc rc = HSM_OK;
    size_t i;

    for (i = 0; i < RUNGS; i++) {
        const struct hsm_mark mark = mark_of(i);

        if (hsm_key_avoids(e->key, &mark)) {
            continue;
        }
        rc = derive_as(s, base, e, &rungs[i], secret);
        if (!hsm_ladder_is_refusal(rc)) {
            break;
        }
        first = hsm_ok(first) ? rc : first;
    }
    for (size_t refused = 0; hsm_ok(rc) && refused < i; refused++) {
        const struct hsm_mark mark = mark_of(refused);

        hsm_key_avoid(e->key, &mark);
    }
    return i < RUNGS ? rc : first;
}

/*
 * The secret is a coordinate. Octets that are too many have to be zeros before
 * it, and a few zeros there may be missing. But SoftHSM, for one, makes room
 * for as many octets as the order has: where these are fewer it is the secret's
 * end that is missing.
 */
static hsm_rc settle(const struct ecdh *e, struct hsm_bytes z)
{
    while (z.len > e->field_bytes && z.p[0] == 0) {
        z.p++;
        z.len--;
    }
    if (z.len > e->field_bytes || z.len + ZEROS_MAX < e->field_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "the token's shared secret has %zu bytes, a "
                        "coordinate has %zu", z.len, e->field_bytes);
    }
    if (z.len < e->field_bytes && z.len == e->order_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "the token cuts the shared secret to the %zu bytes of "
                        "the curve's order, of %zu; use another curve",
                        z.len, e->field_bytes);
    }
    memset(e->out, 0, e->field_bytes - z.len);
    memcpy(e->out + e->field_bytes - z.len, z.p, z.len);
    return HSM_OK;
}

/* C_DestroyObject. The words are those of what came before. */
static void away_with(struct hsm_session *s, CK_OBJECT_HANDLE secret)
{
    struct hsm_words words;

    hsm_words_keep(&words);
    if (!hsm_ok(hsm_session_call(s, C_DestroyObject, (s->h, secret)))) {
        s->dirty = true;        /* it goes with its session then */
    }
    hsm_words_put_back(&words);
}

/* hsm_op_key_fn */
static hsm_rc ecdh(struct hsm_session *s, CK_OBJECT_HANDLE base, void *arg)
{
    static const CK_ATTRIBUTE_TYPE value[] = { CKA_VALUE };
    struct ecdh *e = arg;
    hsm_auto(hsm_attrs) as = HSM_ATTRS_INIT;
    CK_OBJECT_HANDLE secret = 0;
    struct hsm_bytes z = { NULL, 0 };
    hsm_rc read;

    s->acting = true;
    TRY(derive(s, base, e, &secret));
    read = hsm_attrs_read(s, secret, value, 1, &as);
    away_with(s, secret);
    TRY(read);
    if (!hsm_attrs_get(&as, CKA_VALUE, &z) || z.len == 0) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "the token does not give the shared secret out");
    }
    return settle(e, z);
}

hsm_rc hsm_derive_ecdh(struct hsm_key *key, bool cofactor,
                       struct hsm_bytes point, unsigned char *out,
                       size_t *out_len)
{
    const struct hsm_curve *curve = hsm_key_public(key)->curve;
    hsm_auto(hsm_buf) wrapped = HSM_BUF_INIT;
    char unnamed[24];
    struct ecdh e = {
        .key = key,
        .type = cofactor ? CKM_ECDH1_COFACTOR_DERIVE : CKM_ECDH1_DERIVE,
        .point = point,
        .out = out,
    };

    if (curve == NULL || *out_len < curve->field_bytes) {
        return hsm_fail(CKR_ARGUMENTS_BAD, __func__,
                        "key agreement needs a named curve, and room for a "
                        "coordinate");
    }
    if (!hsm_key_usage(key).derive) {
        return hsm_fail(HSM_E_KEY_USE, "C_DeriveKey",
                        "the key's CKA_DERIVE is false");
    }
    TRY(hsm_key_resolve(key, NULL));
    if (!hsm_key_allows(key, e.type)) {
        return hsm_fail(HSM_E_KEY_USE, "C_DeriveKey",
                        "the key's CKA_ALLOWED_MECHANISMS are without %s",
                        hsm_mech_name(e.type, unnamed));
    }
    TRY(hsm_der_put(&wrapped, HSM_DER_OCTETS, point));
    e.wrapped = hsm_buf_bytes(&wrapped);
    e.field_bytes = curve->field_bytes;
    e.order_bytes = curve->order_bytes;
    TRY(hsm_op_with_key(key, ecdh, &e));
    *out_len = curve->field_bytes;
    return HSM_OK;
}
