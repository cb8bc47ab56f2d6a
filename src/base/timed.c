/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/timed.h"

#include "src/base/gate.h"
#include "src/base/worker.h"

/*
 * Shapes: what functions of one kind take, how that is kept in a job, and how
 * it is handed to the module. j: the job; a: its arguments.
 */
#define S CK_SESSION_HANDLE s
#define KEEP_S hsm_job_value(j, 0, s);
/* What an object is made of, and its handle: the arguments from at on. */
#define KEEP_MADE(at) \
    hsm_job_template(j, (at), t, n); \
    hsm_job_result(j, (at) + 2, h, sizeof(*h));

#define NONE_TAKES (void *p)
#define NONE_KEEP hsm_job_in(j, 0, p, 0);
#define NONE_GIVE (a[0].p)

#define START_TAKES (void *p)
#define START_KEEP hsm_job_in(j, 0, p, sizeof(CK_C_INITIALIZE_ARGS));
#define START_GIVE (a[0].p)

#define INFO_TAKES (CK_INFO *p)
#define INFO_KEEP hsm_job_result(j, 0, p, sizeof(*p));
#define INFO_GIVE (a[0].p)

#define SLOTS_TAKES (CK_BBOOL present, CK_SLOT_ID *p, CK_ULONG *n)
#define SLOTS_KEEP \
    hsm_job_value(j, 0, present); \
    hsm_job_out(j, 1, p, n, sizeof(*p));
#define SLOTS_GIVE (a[0].u != 0 ? CK_TRUE : CK_FALSE, a[1].p, a[2].p)

#define SLOT_INFO_TAKES (CK_SLOT_ID slot, CK_SLOT_INFO *p)
#define SLOT_INFO_KEEP \
    hsm_job_value(j, 0, slot); \
    hsm_job_result(j, 1, p, sizeof(*p));
#define SLOT_INFO_GIVE (a[0].u, a[1].p)

#define TOKEN_INFO_TAKES (CK_SLOT_ID slot, CK_TOKEN_INFO *p)
#define TOKEN_INFO_KEEP SLOT_INFO_KEEP
#define TOKEN_INFO_GIVE SLOT_INFO_GIVE

#define MECHS_TAKES (CK_SLOT_ID slot, CK_MECHANISM_TYPE *p, CK_ULONG *n)
#define MECHS_KEEP \
    hsm_job_value(j, 0, slot); \
    hsm_job_out(j, 1, p, n, sizeof(*p));
#define MECHS_GIVE (a[0].u, a[1].p, a[2].p)

#define MECH_INFO_TAKES \
    (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *p)
#define MECH_INFO_KEEP \
    hsm_job_value(j, 0, slot); \
    hsm_job_value(j, 1, type); \
    hsm_job_result(j, 2, p, sizeof(*p));
#define MECH_INFO_GIVE (a[0].u, a[1].u, a[2].p)

/* We have no notifications: those arguments are NULL. */
#define OPEN_TAKES \
    (CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, \
     CK_SESSION_HANDLE *p)
#define OPEN_KEEP \
    (void)app; \
    (void)notify; \
    hsm_job_value(j, 0, slot); \
    hsm_job_value(j, 1, flags); \
    hsm_job_result(j, 4, p, sizeof(*p));
#define OPEN_GIVE (a[0].u, a[1].u, NULL, NULL, a[4].p)

#define SESSION_TAKES (S)
#define SESSION_KEEP KEEP_S
#define SESSION_GIVE (a[0].u)

#define SESSION_INFO_TAKES (S, CK_SESSION_INFO *p)
#define SESSION_INFO_KEEP KEEP_S hsm_job_result(j, 1, p, sizeof(*p));
#define SESSION_INFO_GIVE (a[0].u, a[1].p)

#define LOGIN_TAKES (S, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG n)
#define LOGIN_KEEP \
    KEEP_S \
    hsm_job_value(j, 1, user); \
    hsm_job_pin(j, 2, pin, n); \
    hsm_job_value(j, 3, n);
#define LOGIN_GIVE (a[0].u, a[1].u, a[2].p, a[3].u)

#define CREATE_TAKES (S, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *h)
#define CREATE_KEEP KEEP_S KEEP_MADE(1)
#define CREATE_GIVE (a[0].u, a[1].p, a[2].u, a[3].p)

#define COPY_TAKES \
    (S, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *h)
#define COPY_KEEP \
    KEEP_S \
    hsm_job_value(j, 1, o); \
    KEEP_MADE(2)
#define COPY_GIVE (a[0].u, a[1].u, a[2].p, a[3].u, a[4].p)

#define OBJECT_TAKES (S, CK_OBJECT_HANDLE o)
#define OBJECT_KEEP KEEP_S hsm_job_value(j, 1, o);
#define OBJECT_GIVE (a[0].u, a[1].u)

#define GET_TAKES (S, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *t, CK_ULONG n)
#define GET_KEEP \
    KEEP_S \
    hsm_job_value(j, 1, o); \
    hsm_job_attributes(j, 2, t, n);
#define GET_GIVE (a[0].u, a[1].u, a[2].p, a[3].u)

#define SET_TAKES GET_TAKES
#define SET_KEEP \
    KEEP_S \
    hsm_job_value(j, 1, o); \
    hsm_job_template(j, 2, t, n);
#define SET_GIVE GET_GIVE

#define FIND_INIT_TAKES (S, CK_ATTRIBUTE *t, CK_ULONG n)
#define FIND_INIT_KEEP KEEP_S hsm_job_template(j, 1, t, n);
#define FIND_INIT_GIVE (a[0].u, a[1].p, a[2].u)

/* The room is not the argument that tells how many there are. */
#define FIND_TAKES (S, CK_OBJECT_HANDLE *h, CK_ULONG max, CK_ULONG *n)
#define FIND_KEEP \
    KEEP_S \
    hsm_job_result(j, 1, h, max * sizeof(*h)); \
    hsm_job_value(j, 2, max); \
    hsm_job_result(j, 3, n, sizeof(*n));
#define FIND_GIVE (a[0].u, a[1].p, a[2].u, a[3].p)

#define INIT_TAKES (S, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
#define INIT_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    hsm_job_value(j, 2, key);
#define INIT_GIVE (a[0].u, a[1].p, a[2].u)

#define DIGEST_INIT_TAKES (S, CK_MECHANISM *m)
#define DIGEST_INIT_KEEP KEEP_S hsm_job_mechanism(j, 1, m);
#define DIGEST_INIT_GIVE (a[0].u, a[1].p)

#define IN_TAKES (S, CK_BYTE *in, CK_ULONG n)
#define IN_KEEP \
    KEEP_S \
    hsm_job_in(j, 1, in, n); \
    hsm_job_value(j, 2, n);
#define IN_GIVE (a[0].u, a[1].p, a[2].u)

#define OUT_TAKES (S, CK_BYTE *out, CK_ULONG *room)
#define OUT_KEEP KEEP_S hsm_job_out(j, 1, out, room, 1);
#define OUT_GIVE (a[0].u, a[1].p, a[2].p)

#define INOUT_TAKES \
    (S, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *room)
#define INOUT_KEEP IN_KEEP hsm_job_out(j, 3, out, room, 1);
#define INOUT_GIVE (a[0].u, a[1].p, a[2].u, a[3].p, a[4].p)

#define RANDOM_TAKES (S, CK_BYTE *out, CK_ULONG n)
#define RANDOM_KEEP \
    KEEP_S \
    hsm_job_result(j, 1, out, n); \
    hsm_job_value(j, 2, n);
#define RANDOM_GIVE (a[0].u, a[1].p, a[2].u)

#define VERIFY_TAKES \
    (S, CK_BYTE *in, CK_ULONG n, CK_BYTE *sig, CK_ULONG n_sig)
#define VERIFY_KEEP \
    IN_KEEP \
    hsm_job_in(j, 3, sig, n_sig); \
    hsm_job_value(j, 4, n_sig);
#define VERIFY_GIVE (a[0].u, a[1].p, a[2].u, a[3].p, a[4].u)

#define KEYGEN_TAKES \
    (S, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *h)
#define KEYGEN_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    KEEP_MADE(2)
#define KEYGEN_GIVE (a[0].u, a[1].p, a[2].p, a[3].u, a[4].p)

#define PAIR_TAKES \
    (S, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_ATTRIBUTE *t2, \
     CK_ULONG n2, CK_OBJECT_HANDLE *h, CK_OBJECT_HANDLE *h2)
#define PAIR_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    hsm_job_template(j, 2, t, n); \
    hsm_job_template(j, 4, t2, n2); \
    hsm_job_result(j, 6, h, sizeof(*h)); \
    hsm_job_result(j, 7, h2, sizeof(*h2));
#define PAIR_GIVE \
    (a[0].u, a[1].p, a[2].p, a[3].u, a[4].p, a[5].u, a[6].p, a[7].p)

#define WRAP_TAKES \
    (S, CK_MECHANISM *m, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key, \
     CK_BYTE *out, CK_ULONG *room)
#define WRAP_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    hsm_job_value(j, 2, by); \
    hsm_job_value(j, 3, key); \
    hsm_job_out(j, 4, out, room, 1);
#define WRAP_GIVE (a[0].u, a[1].p, a[2].u, a[3].u, a[4].p, a[5].p)

#define UNWRAP_TAKES \
    (S, CK_MECHANISM *m, CK_OBJECT_HANDLE by, CK_BYTE *in, CK_ULONG n_in, \
     CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *h)
#define UNWRAP_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    hsm_job_value(j, 2, by); \
    hsm_job_in(j, 3, in, n_in); \
    hsm_job_value(j, 4, n_in); \
    hsm_job_template(j, 5, t, n); \
    hsm_job_result(j, 7, h, sizeof(*h));
#define UNWRAP_GIVE \
    (a[0].u, a[1].p, a[2].u, a[3].p, a[4].u, a[5].p, a[6].u, a[7].p)

#define DERIVE_TAKES \
    (S, CK_MECHANISM *m, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *t, \
     CK_ULONG n, CK_OBJECT_HANDLE *h)
#define DERIVE_KEEP \
    KEEP_S \
    hsm_job_mechanism(j, 1, m); \
    hsm_job_value(j, 2, base); \
    hsm_job_template(j, 3, t, n); \
    hsm_job_result(j, 5, h, sizeof(*h));
#define DERIVE_GIVE (a[0].u, a[1].p, a[2].u, a[3].p, a[4].u, a[5].p)

/* X(function, role, shape) */
#define FUNCTIONS(X) \
    X(C_Initialize, START, START) \
    X(C_Finalize, END, NONE) \
    X(C_GetInfo, OTHER, INFO) \
    X(C_GetSlotList, OTHER, SLOTS) \
    X(C_GetSlotInfo, OTHER, SLOT_INFO) \
    X(C_GetTokenInfo, OTHER, TOKEN_INFO) \
    X(C_GetMechanismList, OTHER, MECHS) \
    X(C_GetMechanismInfo, OTHER, MECH_INFO) \
    X(C_OpenSession, OPEN, OPEN) \
    X(C_CloseSession, CLOSE, SESSION) \
    X(C_GetSessionInfo, SESSION, SESSION_INFO) \
    X(C_Login, SESSION, LOGIN) \
    X(C_Logout, SESSION, SESSION) \
    X(C_CreateObject, SESSION, CREATE) \
    X(C_CopyObject, SESSION, COPY) \
    X(C_DestroyObject, SESSION, OBJECT) \
    X(C_GetAttributeValue, SESSION, GET) \
    X(C_SetAttributeValue, SESSION, SET) \
    X(C_FindObjectsInit, SESSION, FIND_INIT) \
    X(C_FindObjects, SESSION, FIND) \
    X(C_FindObjectsFinal, SESSION, SESSION) \
    X(C_EncryptInit, SESSION, INIT) \
    X(C_Encrypt, SESSION, INOUT) \
    X(C_EncryptUpdate, SESSION, INOUT) \
    X(C_EncryptFinal, SESSION, OUT) \
    X(C_DecryptInit, SESSION, INIT) \
    X(C_Decrypt, SESSION, INOUT) \
    X(C_DecryptUpdate, SESSION, INOUT) \
    X(C_DecryptFinal, SESSION, OUT) \
    X(C_DigestInit, SESSION, DIGEST_INIT) \
    X(C_Digest, SESSION, INOUT) \
    X(C_DigestUpdate, SESSION, IN) \
    X(C_DigestKey, SESSION, OBJECT) \
    X(C_DigestFinal, SESSION, OUT) \
    X(C_SignInit, SESSION, INIT) \
    X(C_Sign, SESSION, INOUT) \
    X(C_SignUpdate, SESSION, IN) \
    X(C_SignFinal, SESSION, OUT) \
    X(C_VerifyInit, SESSION, INIT) \
    X(C_Verify, SESSION, VERIFY) \
    X(C_VerifyUpdate, SESSION, IN) \
    X(C_VerifyFinal, SESSION, IN) \
    X(C_GenerateKey, SESSION, KEYGEN) \
    X(C_GenerateKeyPair, PAIR, PAIR) \
    X(C_WrapKey, SESSION, WRAP) \
    X(C_UnwrapKey, SESSION, UNWRAP) \
    X(C_DeriveKey, SESSION, DERIVE) \
    X(C_SeedRandom, SESSION, IN) \
    X(C_GenerateRandom, SESSION, RANDOM)

/* The worker's side, the row, and the caller's side of each. */
#define X(fn, role_, shape) \
    static CK_RV run_##fn(const CK_FUNCTION_LIST *f, union hsm_arg *a) \
    { \
        return f->fn shape##_GIVE; \
    } \
    static const struct hsm_job_row row_##fn = { \
        .name = #fn, .role = HSM_JOB_##role_, .run = run_##fn, \
    }; \
    static CK_RV timed_##fn shape##_TAKES \
    { \
        const struct hsm_gate_use *use = hsm_gate_use_now(); \
        struct hsm_job *j = hsm_job_new(&row_##fn, use); \
        if (j == NULL) { \
            return CKR_HOST_MEMORY; \
        } \
        shape##_KEEP \
        return hsm_worker_run(j, use->limit_ms); \
    }
FUNCTIONS(X)
#undef X

void hsm_timed_list(const CK_FUNCTION_LIST *real, CK_FUNCTION_LIST *out)
{
    *out = *real;
#define X(fn, role_, shape) \
    if (real->fn != NULL) { \
        out->fn = timed_##fn; \
    }
    FUNCTIONS(X)
#undef X
}
