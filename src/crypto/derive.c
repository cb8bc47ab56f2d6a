/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/derive.h"

#include <string.h>

#include "src/base/der.h"
#include "src/crypto/mech.h"
#include "src/crypto/op_key.h"

/* So many leading zeros may be missing from a shared secret: some tokens leave
 * them out, and more are less likely than a mistake. */
#define ZEROS_MAX 8u

struct ecdh {
    CK_MECHANISM_TYPE type;
    struct hsm_bytes point;
    struct hsm_bytes wrapped;   /* the point as a DER OCTET STRING */
    unsigned char *out;
    size_t field_bytes;
};

static hsm_rc derive(struct hsm_session *s, CK_OBJECT_HANDLE base,
                     const struct ecdh *e, struct hsm_bytes point,
                     CK_OBJECT_HANDLE *secret)
{
    hsm_auto(hsm_attrs) tmpl = HSM_ATTRS_INIT;
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

    TRY(hsm_attrs_add_ulong(&tmpl, CKA_CLASS, CKO_SECRET_KEY));
    TRY(hsm_attrs_add_ulong(&tmpl, CKA_KEY_TYPE, CKK_GENERIC_SECRET));
    TRY(hsm_attrs_add_bool(&tmpl, CKA_TOKEN, false));
    TRY(hsm_attrs_add_bool(&tmpl, CKA_SENSITIVE, false));
    TRY(hsm_attrs_add_bool(&tmpl, CKA_EXTRACTABLE, true));
    return hsm_session_call(s, C_DeriveKey,
                    (s->h, &mech, base, tmpl.a, tmpl.n, secret));
}

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
    TRY(derive(s, base, e, is_ambiguous(e->point) ? e->wrapped : e->point,
               &secret));
    read = hsm_attrs_read(s, secret, value, 1, &as);
    if (!hsm_ok(hsm_session_call(s, C_DestroyObject, (s->h, secret)))) {
        s->dirty = true;        /* it goes with its session then */
    }
    TRY(read);
    if (!hsm_attrs_get(&as, CKA_VALUE, &z) || z.len == 0) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "the token does not give the shared secret out");
    }
    if (z.len > e->field_bytes || z.len + ZEROS_MAX < e->field_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetAttributeValue",
                        "the token's shared secret has %zu bytes, a "
                        "coordinate has %zu", z.len, e->field_bytes);
    }
    memset(e->out, 0, e->field_bytes - z.len);
    memcpy(e->out + e->field_bytes - z.len, z.p, z.len);
    return HSM_OK;
}

hsm_rc hsm_derive_ecdh(struct hsm_key *key, bool cofactor,
                       struct hsm_bytes point, unsigned char *out,
                       size_t *out_len)
{
    const struct hsm_curve *curve = hsm_key_public(key)->curve;
    hsm_auto(hsm_buf) wrapped = HSM_BUF_INIT;
    char unnamed[24];
    struct ecdh e = {
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
    TRY(hsm_op_with_key(key, ecdh, &e));
    *out_len = curve->field_bytes;
    return HSM_OK;
}
