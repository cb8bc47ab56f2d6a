/* SPDX-License-Identifier: Apache-2.0 */
/* How many Cryptoki calls things take, and keys that are found again. */
#include <sys/wait.h>
#include <unistd.h>

#include "src/crypto/derive.h"
#include "src/crypto/keygen.h"
#include "src/object/erase.h"
#include "tests/c/bare_token.h"
#include "tests/c/core.h"

static unsigned char ref[SIG_BYTES];

/* All of a process that signs once. */
static bool whole_process(void *arg)
{
    struct hsm_context *ctx = core_open(NULL);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    bool can = false;
    bool good = key != NULL && hsm_ok(hsm_op_can(key, CKM_RSA_PKCS, &can))
                && can && hsm_ok(core_sign(key, 1, ref));

    (void)arg;
    hsm_key_put(key);
    hsm_context_put(ctx);
    return good;
}

static void test_process(void)
{
    struct calls before, c;

    core_count_begin(&before);
    ok(core_in_child(whole_process, NULL), "a process signs");
    core_count_end(&before, &c);
    ok(calls_total(&c) <= 20, "its calls are at most 20: %lld",
       calls_total(&c));
    is_int(calls_of(&c, "C_Login"), 1, "one login");
    is_int(calls_of(&c, "C_Sign"), 1, "one signature");
    is_int(calls_of(&c, "C_OpenSession"), 1, "one session");
    is_int(calls_of(&c, "C_Finalize"), 1, "finalised once, without a child");
}

static void test_load(struct hsm_context *ctx)
{
    static const struct {
        const char *uri;
        long long calls;
    } rows[] = {
        { RSA_URI, 5 },
        { "pkcs11:token=tok;object=rsa;type=private", 5 },
        { "pkcs11:token=tok;id=%01;object=rsa;type=private", 5 },
        { EC_URI, 5 },
        /* Its public half has another label. */
        { "pkcs11:token=tok;object=apart;type=private", 9 },
    };
    struct calls before, c;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hsm_key *key;

        core_count_begin(&before);
        key = core_key(ctx, rows[i].uri);
        core_count_end(&before, &c);
        ok(key != NULL && hsm_key_public(key)->spki.len > 0, "%s is loaded",
           rows[i].uri);
        is_int(calls_total(&c), rows[i].calls, "its calls");
        hsm_key_put(key);
    }
}

static void test_sign(struct hsm_key *key)
{
    struct calls before, c;
    bool can = false;

    core_count_begin(&before);
    ok(hsm_ok(hsm_op_can(key, CKM_RSA_PKCS, &can)) && can, "RSA is offered");
    core_count_end(&before, &c);
    is_int(calls_total(&c), 2, "the list of mechanisms is read");
    core_count_begin(&before);
    ok(hsm_ok(core_sign(key, 1, ref)), "a signature");
    ok(hsm_ok(hsm_op_can(key, CKM_AES_GCM + 0x7000, &can)) && !can,
       "what is not offered is known");
    core_count_end(&before, &c);
    is_int(calls_total(&c), 2, "two calls");
    is_int(calls_of(&c, "C_Sign"), 1, "one of them C_Sign");
    core_write("rsa.sig", ref, SIG_BYTES);
    core_write("rsa.spki", hsm_key_public(key)->spki.p,
               hsm_key_public(key)->spki.len);
}

static void test_derive(struct hsm_context *ctx)
{
    struct hsm_key *key = core_key(ctx, EC_URI);
    struct hsm_bytes point = hsm_buf_bytes(&hsm_key_public(key)->point);
    unsigned char z[64];
    size_t len = sizeof(z);
    struct calls before, c;

    core_count_begin(&before);
    ok(hsm_ok(hsm_derive_ecdh(key, false, point, z, &len)) && len == 32,
       "key agreement");
    core_count_end(&before, &c);
    is_int(calls_total(&c), 3, "three calls");
    core_write("ec.z", z, len);
    len = 31;
    ok(!hsm_ok(hsm_derive_ecdh(key, false, point, z, &len)),
       "not into a buffer that is too small");
    len = sizeof(z);
    point.len--;
    ok(!hsm_ok(hsm_derive_ecdh(key, false, point, z, &len)),
       "not with half a point");
    hsm_key_put(key);
}

static bool sign_once(void *key)
{
    return core_signs(key, 1, ref);
}

static bool sign_twice(void *key)
{
    struct calls before, c;
    bool good = core_signs(key, 1, ref);

    core_count_begin(&before);
    good = core_signs(key, 1, ref) && good;
    core_count_end(&before, &c);
    return good && calls_total(&c) == 2;
}

/* The grandchild's world is new again. */
static bool sign_and_fork(void *key)
{
    return core_signs(key, 1, ref) && core_in_child(sign_once, key)
        && core_signs(key, 1, ref);
}

static void test_fork(struct hsm_key *key)
{
    struct calls before, c;

    core_count_begin(&before);
    ok(core_in_child(sign_once, key), "a forked child signs");
    core_count_end(&before, &c);
    ok(calls_total(&c) <= 12, "ready again and signed by at most 12: %lld",
       calls_total(&c));
    is_int(calls_of(&c, "C_Finalize") + calls_of(&c, "C_CloseSession"), 0,
           "it closes and finalises nothing of its parent's");
    ok(core_in_child(sign_twice, key), "its second signature: two calls");
    ok(core_in_child(sign_and_fork, key), "a grandchild signs too");
    core_count_begin(&before);
    ok(sign_once(key), "the parent signs on");
    core_count_end(&before, &c);
    is_int(calls_total(&c), 2, "as if nothing had been");
}

/* Commands of the recipe's, which replace the key on the token. */
static void test_replaced(struct hsm_key *key)
{
    unsigned char sig[SIG_BYTES];
    struct calls before, c;
    hsm_rc rc;

    core_tell("P11_SAME_KEY");
    ok(sign_once(key), "deleted and imported anew: it is found again");
    core_tell("P11_OTHER_KEY");
    core_count_begin(&before);
    rc = core_sign(key, 1, sig);
    core_count_end(&before, &c);
    is_str(hsm_ckr_row(rc.rv)->name, hsm_ckr_row(HSM_E_OTHER_KEY)->name,
           "another key of that name is refused");
    is_int(calls_of(&c, "C_Sign"), 0, "and does not sign");
    ok(!core_in_child(sign_once, key), "nor in a child");
    core_tell("P11_NO_KEY");
    rc = core_sign(key, 1, sig);
    is_str(hsm_ckr_row(rc.rv)->name, hsm_ckr_row(HSM_E_NO_KEY)->name,
           "a key that is deleted is missed");
    core_tell("P11_SAME_KEY");
    ok(sign_once(key), "and found when it is there once more");
}

static struct hsm_key *make_key(struct hsm_context *ctx, const char *text)
{
    struct hsm_keygen spec = { .kt = hsm_keytype_by_name("RSA"),
                               .bits = 2048 };
    hsm_autop(hsm_uri) uri = NULL;
    struct hsm_key *key = NULL;

    if (!hsm_ok(hsm_uri_parse(text, &uri))) {
        return NULL;
    }
    core_say(hsm_keygen_pair(ctx, uri, &spec, NULL, &key));
    return key;
}

static bool erase_key(struct hsm_context *ctx, const char *text)
{
    hsm_autop(hsm_uri) uri = NULL;

    return hsm_ok(hsm_uri_parse(text, &uri))
        && hsm_ok(hsm_erase(ctx, uri, NULL));
}

/* What is deleted here may leave its handle to another object. */
static void test_erased(enum hsm_tristate cache_keys)
{
    const struct core_setup how = { .cache_keys = cache_keys };
    struct hsm_context *ctx = core_open(&how);
    struct hsm_key *key = core_key(ctx, RSA_URI);
    struct hsm_key *doomed = make_key(ctx, "pkcs11:token=tok;object=doomed");
    unsigned char sig[SIG_BYTES];
    struct calls before, c;
    hsm_rc rc;

    ok(sign_once(key) && doomed != NULL && hsm_ok(core_sign(doomed, 1, sig)),
       "two keys sign, copies: %d", (int)cache_keys);
    ok(erase_key(ctx, "pkcs11:token=tok;object=doomed;type=private"),
       "one is deleted");
    core_count_begin(&before);
    ok(sign_once(key), "the other one signs");
    core_count_end(&before, &c);
    is_int(calls_of(&c, "C_GetAttributeValue"), 1, "when it is known again");
    is_int(calls_total(&c), 3, "by one call");
    core_count_begin(&before);
    ok(sign_once(key), "and again");
    core_count_end(&before, &c);
    is_int(calls_total(&c), 2, "by two calls");
    core_count_begin(&before);
    rc = core_sign(doomed, 1, sig);
    core_count_end(&before, &c);
    is_str(hsm_ckr_row(rc.rv)->name, hsm_ckr_row(HSM_E_NO_KEY)->name,
           "the one that was deleted is missed");
    is_int(calls_of(&c, "C_SignInit"), 0, "and nothing signs for it");
    ok(erase_key(ctx, "pkcs11:token=tok;object=doomed;type=public"),
       "its public half goes, too");
    hsm_key_put(doomed);
    hsm_key_put(key);
    hsm_context_put(ctx);
}

/* The module as another part of the program uses it. */
static void test_others(struct hsm_key *key)
{
    CK_FUNCTION_LIST *f = bare_functions(getenv("P11_MODULE"));
    CK_SLOT_ID slot = hsm_token_slot(hsm_key_token(key));
    CK_SESSION_HANDLE h = 0;
    struct calls before, c;

    ok(f != NULL && f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &h)
       == CKR_OK && f->C_Logout(h) == CKR_OK, "another part logs out");
    core_count_begin(&before);
    ok(sign_once(key), "it still signs");
    core_count_end(&before, &c);
    is_int(calls_of(&c, "C_Login"), 1, "after a login");
    ok(f != NULL && f->C_CloseAllSessions(slot) == CKR_OK,
       "another part closes all sessions");
    ok(sign_once(key), "it still signs");
    ok(f != NULL && f->C_Finalize(NULL) == CKR_OK,
       "another part finalises the module");
    core_count_begin(&before);
    ok(sign_once(key), "it still signs");
    core_count_end(&before, &c);
    is_int(calls_of(&c, "C_Initialize"), 1, "after C_Initialize");
    ok(core_in_child(sign_once, key), "so does a child");
}

int main(void)
{
    struct hsm_context *ctx;
    struct hsm_key *key;

    if (!core_is_here()) {
        return 0;
    }
    test_process();
    ctx = core_open(NULL);
    key = core_key(ctx, RSA_URI);
    if (!ok(key != NULL, "the key is there")) {
        return tap_done();
    }
    test_load(ctx);
    test_sign(key);
    test_derive(ctx);
    test_fork(key);
    test_others(key);
    test_replaced(key);
    test_erased(HSM_NO);
    test_erased(HSM_YES);
    hsm_key_put(key);
    hsm_context_put(ctx);
    return tap_done();
}
