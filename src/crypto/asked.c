/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/asked.h"

#include <string.h>

#include "src/crypto/ladder.h"
#include "src/crypto/mech.h"

static struct hsm_bytes value_of(const CK_ATTRIBUTE *a)
{
    return hsm_bytes_of(a->pValue, a->ulValueLen);
}

hsm_rc hsm_asked_add(const struct hsm_attrs *asked, struct hsm_attrs *tmpl)
{
    for (CK_ULONG i = 0; i < asked->n; i++) {
        TRY(hsm_attrs_add(tmpl, asked->a[i].type, value_of(&asked->a[i])));
    }
    return HSM_OK;
}

/* One of an array of CK_MECHANISM_TYPE, which may lie anywhere. */
static CK_MECHANISM_TYPE mech_at(struct hsm_bytes list, size_t i)
{
    CK_MECHANISM_TYPE type;

    memcpy(&type, list.p + i * sizeof(type), sizeof(type));
    return type;
}

hsm_rc hsm_asked_is_offered(const struct hsm_keygen *spec,
                            struct hsm_token *tok)
{
    struct hsm_bytes list = { NULL, 0 };
    bool offers = true;
    char name[24];

    (void)hsm_attrs_get(&spec->priv_asked, CKA_ALLOWED_MECHANISMS, &list);
    for (size_t i = 0; i < list.len / sizeof(CK_MECHANISM_TYPE); i++) {
        CK_MECHANISM_TYPE type = mech_at(list, i);

        TRY(hsm_token_offers(tok, type, &offers));
        if (!offers) {
            return hsm_fail(HSM_E_NO_MECHANISM, "C_GetMechanismList",
                            "token \"%s\" does not offer %s, which %s has",
                            tok->id.label, hsm_mech_name(type, name),
                            spec->name_of(CKA_ALLOWED_MECHANISMS));
        }
    }
    return HSM_OK;
}

hsm_rc hsm_asked_blame(const struct hsm_keygen *spec, hsm_rc rc)
{
    hsm_auto(hsm_buf) names = HSM_BUF_INIT;
    const struct hsm_attrs *asked = &spec->priv_asked;

    if (!hsm_ladder_is_refusal(rc) || asked->n == 0) {
        return rc;
    }
    for (CK_ULONG i = 0; i < asked->n; i++) {
        TRY(hsm_buf_printf(&names, "%s%s", i > 0 ? ", " : "",
                           spec->name_of(asked->a[i].type)));
    }
    return hsm_fail(rc.rv, rc.at, "the token makes no key with %s as given; "
                    "leave out what it does not have",
                    (const char *)names.p);
}

static const struct hsm_attrs *asked_of(const struct hsm_keygen *spec,
                                        bool is_private)
{
    return is_private ? &spec->priv_asked : &spec->pub_asked;
}

/* What a private half has unless something else is asked for. That a token does
 * not tell it is no breach: it may not know the attribute. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    bool value;
} defaults[] = {
    { CKA_SENSITIVE, true },
    { CKA_EXTRACTABLE, false },
};
#define N_DEFAULTS (sizeof(defaults) / sizeof(defaults[0]))

static bool is_told(CK_ATTRIBUTE_TYPE type, bool is_private)
{
    return !is_private || (type != CKA_START_DATE && type != CKA_END_DATE);
}

hsm_rc hsm_asked_read(const struct hsm_keygen *spec, struct hsm_session *s,
                      CK_OBJECT_HANDLE h, bool is_private,
                      struct hsm_attrs *out)
{
    const struct hsm_attrs *asked = asked_of(spec, is_private);
    CK_ATTRIBUTE_TYPE all[HSM_ATTRS_MAX];
    size_t n = 0;
    const CK_ATTRIBUTE_TYPE *types = hsm_key_attr_types(&n);

    if (n + N_DEFAULTS + asked->n > HSM_ATTRS_MAX) {
        return hsm_fail_rv(CKR_ARGUMENTS_BAD, __func__);
    }
    memcpy(all, types, n * sizeof(*types));
    for (size_t i = 0; is_private && i < N_DEFAULTS; i++) {
        all[n++] = defaults[i].type;
    }
    for (CK_ULONG i = 0; i < asked->n; i++) {
        CK_ATTRIBUTE_TYPE type = asked->a[i].type;
        size_t k = 0;

        while (k < n && all[k] != type) {
            k++;
        }
        if (k == n && is_told(type, is_private)) {
            all[n++] = type;
        }
    }
    return hsm_attrs_read(s, h, all, n, out);
}

/* Tokens keep a list of mechanisms in an order of their own. */
static bool same_mechanisms(struct hsm_bytes a, struct hsm_bytes b)
{
    size_t n = a.len / sizeof(CK_MECHANISM_TYPE);
    size_t found = 0;

    for (size_t i = 0; i < n && a.len == b.len; i++) {
        size_t k = 0;

        while (k < n && mech_at(a, i) != mech_at(b, k)) {
            k++;
        }
        found += k < n ? 1 : 0;
    }
    return a.len == b.len && found == n;
}

/* Any octet but zero is true. */
static bool same_flag(struct hsm_bytes a, struct hsm_bytes b)
{
    return a.len == 1 && b.len == 1 && (a.p[0] != 0) == (b.p[0] != 0);
}

static bool is_same(CK_ATTRIBUTE_TYPE type, struct hsm_bytes a,
                    struct hsm_bytes b)
{
    if (type == CKA_ALLOWED_MECHANISMS) {
        return same_mechanisms(a, b);
    }
    return hsm_bytes_equal(a, b) || same_flag(a, b);
}

static hsm_rc not_kept(const struct hsm_keygen *spec, CK_ATTRIBUTE_TYPE type,
                       const struct hsm_token *tok)
{
    return hsm_fail(HSM_E_BAD_DATA, "C_GenerateKeyPair",
                    "token \"%s\" made a key without %s as given, "
                    "which was deleted again; leave that out",
                    tok->id.label, spec->name_of(type));
}

/* Who asks for nothing counts on these. */
static hsm_rc are_defaults_kept(const struct hsm_keygen *spec,
                                const struct hsm_attrs *has,
                                const struct hsm_token *tok)
{
    struct hsm_bytes given;

    for (size_t i = 0; i < N_DEFAULTS; i++) {
        CK_ATTRIBUTE_TYPE type = defaults[i].type;
        bool want = defaults[i].value;

        if (!hsm_attrs_get(&spec->priv_asked, type, &given)
            && hsm_attrs_get_bool(has, type, want) != want) {
            return hsm_fail(HSM_E_BAD_DATA, "C_GenerateKeyPair",
                            "token \"%s\" made a key that is %s, which was "
                            "deleted again; if that is wanted, say so when "
                            "the key is made", tok->id.label,
                            type == CKA_SENSITIVE ? "not sensitive"
                                                  : "extractable");
        }
    }
    return HSM_OK;
}

hsm_rc hsm_asked_is_kept(const struct hsm_keygen *spec,
                         const struct hsm_attrs *has, bool is_private,
                         const struct hsm_token *tok)
{
    const struct hsm_attrs *asked = asked_of(spec, is_private);

    for (CK_ULONG i = 0; i < asked->n; i++) {
        CK_ATTRIBUTE_TYPE type = asked->a[i].type;
        struct hsm_bytes value = { NULL, 0 };

        if (is_told(type, is_private)
            && (!hsm_attrs_get(has, type, &value)
                || !is_same(type, value_of(&asked->a[i]), value))) {
            return not_kept(spec, type, tok);
        }
    }
    return is_private ? are_defaults_kept(spec, has, tok) : HSM_OK;
}
