/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/op.h"

#include "src/crypto/op_key.h"

struct once {
    struct hsm_key *key;
    enum hsm_op_kind kind;
    struct hsm_mech mech;
    struct hsm_bytes in;
    unsigned char *out;
    size_t room;
    size_t used;
};

struct with_key {
    struct hsm_key *key;
    hsm_op_key_fn fn;
    void *arg;
};

/* A copy of a key may be able to do less than the key. It cannot help it that a
 * call does not return, and the session is not there to try again. */
static bool may_be_the_copys(hsm_rc rc)
{
    enum hsm_class cls =
        rc.rv != HSM_E_CALL_TIMEOUT ? hsm_class_of(rc) : HSM_CLASS_OK;

    return cls == HSM_CLASS_UNSUPPORTED || cls == HSM_CLASS_FATAL;
}

/* Again with the key itself. Only if that serves, the copy was to blame. */
static hsm_rc with_stored(struct hsm_session *s, struct with_key *w,
                          CK_OBJECT_HANDLE copy)
{
    CK_OBJECT_HANDLE h = 0;
    hsm_rc rc;

    TRY(hsm_key_stored_handle(w->key, s, &h));
    rc = w->fn(s, h, w->arg);
    if (hsm_ok(rc)) {
        hsm_key_copy_useless(w->key, s, copy);
    }
    return rc;
}

/* hsm_run_fn: resolves the handle, and says when it was refused. */
static hsm_rc with_handle(struct hsm_session *s, void *arg)
{
    struct with_key *w = arg;
    CK_OBJECT_HANDLE h = 0;
    hsm_rc rc;

    TRY(hsm_key_handle(w->key, s, &h));
    rc = w->fn(s, h, w->arg);
    if (hsm_class_of(rc) == HSM_CLASS_STALE_OBJECT) {
        hsm_key_doubt(w->key, h);
    } else if (may_be_the_copys(rc) && hsm_key_copy_is(w->key, h)) {
        rc = with_stored(s, w, h);
    }
    return rc;
}

hsm_rc hsm_op_with_key(struct hsm_key *key, hsm_op_key_fn fn, void *arg)
{
    struct hsm_context *ctx = hsm_key_context(key);
    struct with_key w = { key, fn, arg };
    struct hsm_run run = { .ctx = ctx, .kind = HSM_RO };
    struct hsm_cred cred;
    hsm_rc rc = hsm_key_resolve(key, NULL);

    if (hsm_ok(rc)) {
        hsm_key_cred(key, &cred);
        run.cred = &cred;
        run.tok = hsm_key_token(key);
        run.login = hsm_context_settings(ctx)->login != HSM_LOGIN_NEVER;
        rc = hsm_run(&run, with_handle, &w);
    }
    return hsm_blame(rc, "%s", hsm_key_name(key));
}

static hsm_rc init(struct hsm_session *s, enum hsm_op_kind kind,
                   CK_MECHANISM *mech, CK_OBJECT_HANDLE h)
{
    if (kind == HSM_OP_SIGN) {
        return hsm_session_call(s, C_SignInit, (s->h, mech, h));
    }
    return hsm_session_call(s, C_DecryptInit, (s->h, mech, h));
}

/* Modules take a NULL pointer for a mistake, also for no octets. */
static hsm_rc act(struct hsm_session *s, struct once *o)
{
    static const unsigned char nothing = 0;
    union {
        const unsigned char *c;
        CK_BYTE *p;
    } in = { .c = o->in.p != NULL ? o->in.p : &nothing };
    CK_ULONG len = o->room;
    hsm_rc rc;

    if (o->kind == HSM_OP_SIGN) {
        rc = hsm_session_call(s, C_Sign,
                      (s->h, in.p, o->in.len, o->out, &len));
    } else {
        rc = hsm_session_call(s, C_Decrypt,
                      (s->h, in.p, o->in.len, o->out, &len));
    }
    if (hsm_ok(rc) && len > o->room) {
        return hsm_fail(HSM_E_BAD_DATA,
                        o->kind == HSM_OP_SIGN ? "C_Sign" : "C_Decrypt",
                        "the token says it wrote %lu bytes to %zu", len,
                        o->room);
    }
    o->used = len;
    return rc;
}

/* The session still has an operation, for all that is known. */
static bool is_unfinished(hsm_rc rc)
{
    return rc.rv == CKR_BUFFER_TOO_SMALL
        || (!hsm_ok(rc) && hsm_class_of(rc) != HSM_CLASS_INPUT);
}

/* hsm_op_key_fn. Between Init and the end of the act the session is dirty:
 * whatever goes wrong there may leave the operation active. */
static hsm_rc once(struct hsm_session *s, CK_OBJECT_HANDLE h, void *arg)
{
    struct once *o = arg;
    struct hsm_cred cred;
    CK_MECHANISM mech;
    bool dirty = s->dirty;
    hsm_rc rc;

    s->acting = true;
    s->dirty = true;
    hsm_mech_native(&o->mech, &mech);
    rc = init(s, o->kind, &mech, h);
    if (!hsm_ok(rc)) {
        s->dirty = dirty || rc.rv == CKR_OPERATION_ACTIVE
            || rc.rv == CKR_GENERAL_ERROR;
        return rc;
    }
    if (hsm_key_usage(o->key).always_authenticate) {
        hsm_key_cred(o->key, &cred);
        TRY(hsm_login_for_operation(hsm_key_context(o->key), s, &cred));
    }
    rc = act(s, o);
    s->dirty = dirty || is_unfinished(rc);
    return rc;
}

hsm_rc hsm_op_once(struct hsm_key *key, enum hsm_op_kind kind,
                   const struct hsm_mech *mech, struct hsm_bytes in,
                   unsigned char *out, size_t *out_len)
{
    struct once o = {
        .key = key, .kind = kind, .mech = *mech, .in = in, .out = out,
        .room = *out_len,
    };

    TRY(hsm_op_with_key(key, once, &o));
    *out_len = o.used;
    return HSM_OK;
}

struct offer {
    CK_MECHANISM_TYPE type;
    bool offers;
};

/* hsm_run_fn: who has a session knows that the module is up in this process. */
static hsm_rc ask_offer(struct hsm_session *s, void *arg)
{
    struct offer *o = arg;

    return hsm_token_offers(s->tok, o->type, &o->offers);
}

hsm_rc hsm_op_can(struct hsm_key *key, CK_MECHANISM_TYPE type, bool *can)
{
    struct hsm_run run = { .ctx = hsm_key_context(key), .kind = HSM_RO };
    struct offer o = { .type = type };

    TRY(hsm_key_resolve(key, NULL));
    run.tok = hsm_key_token(key);
    if (hsm_token_is_listed(run.tok)) {
        TRY(hsm_token_offers(run.tok, type, &o.offers));
    } else {
        TRY(hsm_run(&run, ask_offer, &o));
    }
    *can = o.offers && hsm_key_allows(key, type);
    return HSM_OK;
}

static struct hsm_mark mark_of(enum hsm_op_kind kind,
                               const struct hsm_mech *mech)
{
    struct hsm_mark mark = { { kind, mech->type, 0, 0, 0 } };

    if (mech->kind == HSM_MECH_PSS) {
        mark.v[2] = mech->u.pss.hashAlg;
        mark.v[3] = mech->u.pss.mgf;
        mark.v[4] = mech->u.pss.sLen;
    } else if (mech->kind == HSM_MECH_OAEP) {
        mark.v[2] = mech->u.oaep.native.hashAlg;
        mark.v[3] = mech->u.oaep.native.mgf;
        mark.v[4] = mech->u.oaep.native.ulSourceDataLen;
    }
    return mark;
}

void hsm_op_avoid(struct hsm_key *key, enum hsm_op_kind kind,
                  const struct hsm_mech *mech)
{
    const struct hsm_mark mark = mark_of(kind, mech);

    hsm_key_avoid(key, &mark);
}

bool hsm_op_avoids(struct hsm_key *key, enum hsm_op_kind kind,
                   const struct hsm_mech *mech)
{
    const struct hsm_mark mark = mark_of(kind, mech);

    return hsm_key_avoids(key, &mark);
}
