/* SPDX-License-Identifier: Apache-2.0 */
/* A token is exchanged for another one while the program is idle, so that no
 * call tells of it: the other one gets no PIN and no key, and is asked for
 * nothing. Each case has a process of its own. */
#include "tests/c/core.h"

#include "src/crypto/keygen.h"
#include "src/object/keytype.h"
#include "src/session/run.h"

#define OTHER "serial=0123456789abcdef"
#define MOVED "shift=70000 left=0123456789abcdef"
#define MOVED_BY 70000

struct scene {
    struct hsm_context *ctx;
    struct hsm_key *key;
    CK_SLOT_ID slot;
};

static void put_in(const char *words)
{
    core_write("device", words, strlen(words));
}

/* A key that has signed, so that all is known of its token. */
static bool begin(struct scene *on, const struct core_setup *how)
{
    unsigned char sig[SIG_BYTES];
    char path[512];
    hsm_rc rc;

    snprintf(path, sizeof(path), "%s/device", getenv("P11_SCRATCH"));
    setenv("COUNT_DEVICE", path, 1);
    on->ctx = core_open(how);
    put_in("");
    on->key = core_key(on->ctx, RSA_URI);
    if (on->key == NULL) {
        return false;
    }
    on->slot = hsm_token_slot(hsm_key_token(on->key));
    rc = core_sign(on->key, 1, sig);
    core_say(rc);
    return hsm_ok(rc);
}

static hsm_rc sign(struct scene *on)
{
    unsigned char sig[SIG_BYTES];

    return core_sign(on->key, 1, sig);
}

/* As after a failure of whichever kind. */
static hsm_rc sign_when_void(struct scene *on)
{
    hsm_token_void(hsm_key_token(on->key));
    return sign(on);
}

/* Another thread has the session that was open. */
static hsm_rc sign_beside(struct scene *on)
{
    hsm_autop(hsm_session) s = hsm_pool_take_idle(hsm_key_token(on->key));

    (void)s;                    /* given back at the end */
    return sign(on);
}

static hsm_rc generate(struct scene *on)
{
    const struct hsm_keygen spec = {
        .kt = hsm_keytype_by_name("EC"),
        .curve = hsm_curve_by_name("P-256"),
        .session_object = true,
    };
    hsm_autop(hsm_uri) uri = NULL;
    struct hsm_key *made = NULL;
    char text[128];
    hsm_rc rc;

    snprintf(text, sizeof(text), "pkcs11:token=tok;serial=%s;object=made",
             hsm_key_token(on->key)->id.serial);
    TRY(hsm_uri_parse(text, &uri));
    rc = hsm_keygen_pair(on->ctx, uri, &spec, NULL, &made);
    hsm_key_put(made);
    return rc;
}

static bool signs_in_child(void *arg)
{
    hsm_rc rc = sign(arg);

    return rc.rv == CKR_OK;
}

static bool refuses_in_child(void *arg)
{
    hsm_rc rc = sign(arg);

    core_say(rc);
    return rc.rv == HSM_E_NO_TOKEN;
}

static hsm_rc sign_in_child(struct scene *on)
{
    bool moved = core_ended_well(core_fork(signs_in_child, on));

    if (moved) {
        return sign(on);
    }
    return core_ended_well(core_fork(refuses_in_child, on))
        ? hsm_fail_rv(HSM_E_NO_TOKEN, "child")
        : hsm_fail_rv(HSM_E_BAD_DATA, "child");
}

struct act {
    const char *what;
    hsm_rc (*fn)(struct scene *on);
    struct core_setup how;
};

static const struct act acts[] = {
    { "a signature", sign, { .pin = NULL } },
    { "a signature after a failure", sign_when_void, { .pin = NULL } },
    { "a signature in a second session", sign_beside, { .pin = NULL } },
    { "a key pair", generate, { .pin = NULL } },
    { "a key pair with one session", generate, { .max_sessions = 1 } },
    { "a signature in a child", sign_in_child, { .pin = NULL } },
};

/* Nothing that the other one was asked for is told by its results. */
static bool asked_for_nothing(const struct calls *c)
{
    static const char *const calls[] = {
        "C_Login", "C_GenerateKeyPair", "C_Sign", "C_CopyObject",
        "C_DestroyObject",
    };
    bool nothing = true;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (calls_of(c, calls[i]) != 0) {
            diag("%s: %lld", calls[i], calls_of(c, calls[i]));
            nothing = false;
        }
    }
    return nothing;
}

static bool is_refused(void *arg)
{
    const struct act *act = arg;
    struct scene on = { .ctx = NULL };
    struct calls before, c;
    bool good;
    hsm_rc rc;

    if (!begin(&on, &act->how)) {
        return false;
    }
    put_in(OTHER);
    core_count_begin(&before);
    rc = act->fn(&on);
    core_say(rc);
    /* The session that it has tells of it in its own way. */
    good = rc.rv == HSM_E_NO_TOKEN
        || (act->fn == sign && rc.rv == CKR_SESSION_HANDLE_INVALID);
    good = (act->fn == sign_in_child
            || strstr(hsm_detail(), "is in no slot") != NULL) && good;
    rc = act->fn(&on);
    good = rc.rv == HSM_E_NO_TOKEN && good;
    core_count_end(&before, &c);
    good = asked_for_nothing(&c) && good;
    /* Its own again. */
    put_in("");
    return hsm_ok(sign(&on)) && good;
}

/* It is in another slot, and another one in its own. */
static bool is_found(void *arg)
{
    const struct act *act = arg;
    struct scene on = { .ctx = NULL };
    hsm_rc rc;

    if (!begin(&on, &act->how)) {
        return false;
    }
    put_in(MOVED);
    rc = act->fn(&on);
    core_say(rc);
    return hsm_ok(rc)
        && hsm_token_slot(hsm_key_token(on.key)) == on.slot + MOVED_BY;
}

int main(void)
{
    if (!core_is_here()) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        struct act act = acts[i];

        ok(core_in_child(is_refused, &act),
           "%s: another token is asked for nothing", act.what);
        ok(core_in_child(is_found, &act), "%s: its own is found elsewhere",
           act.what);
    }
    return tap_done();
}
