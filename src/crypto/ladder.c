/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/ladder.h"

#include "src/base/log.h"
#include "src/object/object.h"

/* What is left out, in this order. The last of a token's own defaults are of no
 * harm: a public half is never used there, and a use that is not asked for is
 * none of the key's before somebody sets it. */
static const struct rung {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    bool of_private;
    bool also_true;             /* not only where it is false */
} rungs[] = {
    { CKA_DERIVE, "CKA_DERIVE", true, false },
    { CKA_UNWRAP, "CKA_UNWRAP", true, false },
    { CKA_WRAP, "CKA_WRAP", false, true },
    { CKA_DECRYPT, "CKA_DECRYPT", true, false },
    { CKA_ENCRYPT, "CKA_ENCRYPT", false, true },
    { CKA_VERIFY, "CKA_VERIFY", false, true },
    { CKA_PRIVATE, "CKA_PRIVATE of the public half", false, false },
};

bool hsm_ladder_is_refusal(hsm_rc rc)
{
    return rc.rv == CKR_ATTRIBUTE_TYPE_INVALID
        || rc.rv == CKR_ATTRIBUTE_VALUE_INVALID
        || rc.rv == CKR_ATTRIBUTE_READ_ONLY
        || rc.rv == CKR_TEMPLATE_INCOMPLETE
        || rc.rv == CKR_TEMPLATE_INCONSISTENT;
}

static bool leave_out(const struct rung *r, struct hsm_attrs *as)
{
    return (r->also_true || !hsm_attrs_get_bool(as, r->type, true))
        && hsm_attrs_remove(as, r->type);
}

static hsm_rc try_pair(struct hsm_session *s, CK_MECHANISM *mech,
                       struct hsm_attrs *pub, struct hsm_attrs *priv,
                       CK_OBJECT_HANDLE h[2])
{
    return hsm_session_call(s, C_GenerateKeyPair,
                    (s->h, mech, pub->a, pub->n, priv->a, priv->n, &h[0],
                     &h[1]));
}

/* Who was refused and finds a key of that id, which was free before, has to do
 * with a token that made it all the same: another would make both useless. */
static hsm_rc check_none_made(struct hsm_session *s,
                              const struct hsm_attrs *priv, hsm_rc refusal)
{
    hsm_auto(hsm_objects) objects = HSM_OBJECTS_INIT;
    struct hsm_search search = { .cls = CKO_PRIVATE_KEY };

    if (!hsm_attrs_get(priv, CKA_ID, &search.id)) {
        return HSM_OK;
    }
    TRY(hsm_objects_look(s, &search, &objects));
    if (objects.n > 0) {
        return hsm_fail(HSM_E_BAD_DATA, refusal.at,
                        "token \"%s\" says %s, but a private key with that "
                        "CKA_ID is there now; delete it by the token's own "
                        "tool", s->tok->id.label,
                        hsm_ckr_row(refusal.rv)->name);
    }
    return HSM_OK;
}

hsm_rc hsm_ladder_generate(struct hsm_session *s, CK_MECHANISM *mech,
                           struct hsm_attrs *pub, struct hsm_attrs *priv,
                           CK_OBJECT_HANDLE h[2])
{
    hsm_rc first = try_pair(s, mech, pub, priv, h);
    hsm_rc rc = first;

    for (size_t i = 0; i < sizeof(rungs) / sizeof(rungs[0]); i++) {
        const struct rung *r = &rungs[i];

        if (!hsm_ladder_is_refusal(rc)) {
            break;
        }
        if (leave_out(r, r->of_private ? priv : pub)) {
            TRY(check_none_made(s, priv, rc));
            hsm_log(HSM_LOG_WARN, "token %s refuses the template of a key "
                    "(%s): it is made without %s", s->tok->id.label,
                    hsm_ckr_row(rc.rv)->name, r->name);
            rc = try_pair(s, mech, pub, priv, h);
        }
    }
    return hsm_ladder_is_refusal(rc) ? first : rc;
}
