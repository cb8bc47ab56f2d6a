/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: keydata_ssl URI FILE
 *
 * What a token's key says of itself, against the same key of the default
 * provider (FILE): parameters, parts, equality, export, copies. No error stays
 * on the queue where something succeeds. Prints TAP.
 */
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/params.h>

#include "tests/c/twins.h"

#define PRIVATE OSSL_KEYMGMT_SELECT_PRIVATE_KEY
#define PUBLIC  OSSL_KEYMGMT_SELECT_PUBLIC_KEY
#define DOMAIN  OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS
#define OTHER   OSSL_KEYMGMT_SELECT_OTHER_PARAMETERS

/* ---- parameters ---- */

/* Everything that is asked for by name; both, or neither, have an answer. */
static const char *const names[] = {
    "bits", "security-bits", "max-size", "default-digest", "mandatory-digest",
    "n", "e", "group", "pub", "encoded-pub-key", "qx", "qy", "point-format",
    "field-type", "encoding", "decoded-from-explicit", "use-cofactor-flag",
    "p", "a", "b", "order", "cofactor", "generator", "include-public",
    "no-such-parameter"
};
/* None of these is ever told. */
static const char *const secrets[] = {
    "d", "priv", "rsa-factor1", "rsa-factor2", "rsa-exponent1",
    "rsa-exponent2", "rsa-coefficient1"
};

struct value {
    int result, modified;
    size_t size;
    unsigned char bytes[2048];
};

static void ask(const EVP_PKEY *key, const char *name, unsigned int type,
                struct value *v)
{
    OSSL_PARAM params[] = { OSSL_PARAM_END, OSSL_PARAM_END };

    memset(v, 0, sizeof(*v));
    params[0].key = name;
    params[0].data_type = type;
    params[0].data = v->bytes;
    params[0].data_size = type == OSSL_PARAM_INTEGER ? sizeof(int)
                                                     : sizeof(v->bytes);
    OSSL_PARAM_set_all_unmodified(params);
    v->result = EVP_PKEY_get_params(key, params);
    v->modified = OSSL_PARAM_modified(params);
    v->size = v->modified ? params[0].return_size : 0;
}

static void same_parameters(const struct twins *t)
{
    static const unsigned int types[] = {
        OSSL_PARAM_INTEGER, OSSL_PARAM_UNSIGNED_INTEGER,
        OSSL_PARAM_UTF8_STRING, OSSL_PARAM_OCTET_STRING
    };
    static struct value ours, theirs;
    size_t i, k;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
            ask(t->public, names[i], types[k], &theirs);
            ERR_clear_error();
            ask(t->token, names[i], types[k], &ours);
            if (!theirs.modified && !ours.modified) {
                ERR_clear_error();
                continue;
            }
            ok(ours.result == theirs.result
               && ours.modified == theirs.modified, "%s as type %u: answered",
               names[i], types[k]);
            is_bytes(ours.bytes, ours.size, theirs.bytes, theirs.size,
                     "%s as type %u: the same", names[i], types[k]);
            ok(ours.result <= 0 || is_quiet(), "%s as type %u: no error",
               names[i], types[k]);
            ERR_clear_error();
        }
    }
}

static void no_secrets(const struct twins *t)
{
    size_t i;

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        BIGNUM *n = NULL;

        ok(EVP_PKEY_get_bn_param(t->token, secrets[i], &n) <= 0 && n == NULL,
           "%s is not told", secrets[i]);
        BN_clear_free(n);
    }
    ERR_clear_error();
}

static void same_numbers(const struct twins *t)
{
    char ours[80] = "", theirs[80] = "";
    size_t n = 0;

    is_int(EVP_PKEY_get_bits(t->token), EVP_PKEY_get_bits(t->public), "bits");
    is_int(EVP_PKEY_get_size(t->token), EVP_PKEY_get_size(t->public), "size");
    is_int(EVP_PKEY_get_security_bits(t->token),
           EVP_PKEY_get_security_bits(t->public), "security bits");
    is_int(EVP_PKEY_get_base_id(t->token), EVP_PKEY_get_base_id(t->software),
           "type");
    is_int(EVP_PKEY_get_default_digest_name(t->token, ours, sizeof(ours)),
           EVP_PKEY_get_default_digest_name(t->public, theirs,
                                            sizeof(theirs)),
           "the default digest is told");
    is_str(ours, theirs, "the default digest");
    is_int(EVP_PKEY_get_ec_point_conv_form(t->token),
           EVP_PKEY_get_ec_point_conv_form(t->public), "the point's form");
    is_int(EVP_PKEY_get_field_type(t->token),
           EVP_PKEY_get_field_type(t->public), "the field's type");
    is_int(EVP_PKEY_missing_parameters(t->token), 0, "no parameter is missing");
    is_int(EVP_PKEY_can_sign(t->token), 1, "it can sign");
    is_int(EVP_PKEY_get_group_name(t->token, ours, sizeof(ours), &n),
           EVP_PKEY_get_group_name(t->public, theirs, sizeof(theirs), &n),
           "a group's name is told");
    ERR_clear_error();
}

/* ---- equality ---- */

static void equal(const char *what, EVP_PKEY *a, EVP_PKEY *b, int want)
{
    ERR_clear_error();
    is_int(EVP_PKEY_eq(a, b) == 1, want, "%s", what);
    ok(!want || is_quiet(), "%s: no error", what);
    is_int(EVP_PKEY_eq(b, a) == 1, want, "%s, the other way round", what);
    ok(!want || is_quiet(), "%s, the other way round: no error", what);
    ERR_clear_error();
}

static EVP_PKEY *like(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    EVP_PKEY *made = NULL;

    if (EVP_PKEY_keygen_init(ctx) > 0) {
        (void)EVP_PKEY_generate(ctx, &made);
    }
    EVP_PKEY_CTX_free(ctx);
    return made;
}

static void equality(const struct twins *t, const char *uri)
{
    EVP_PKEY *again = key_of_uri(uri);
    EVP_PKEY *copy = EVP_PKEY_dup(t->token);
    EVP_PKEY *other = like(t->token);
    EVP_PKEY *other_public = other != NULL ? public_half(other) : NULL;
    EVP_PKEY *foreign = EVP_PKEY_Q_keygen(NULL, DEFAULT, "ED25519");

    is_str(owner_of(other), "pkcs11", "a key made like it is ours");
    equal("itself", t->token, t->token, 1);
    equal("its public half", t->token, t->public, 1);
    equal("its twin in software", t->token, t->software, 1);
    equal("loaded again", t->token, again, 1);
    equal("its copy", t->token, copy, 1);
    equal("another key", t->token, other, 0);
    equal("another key's public half", t->token, other_public, 0);
    equal("another type", t->token, foreign, 0);
    is_int(EVP_PKEY_parameters_eq(t->token, t->public), 1, "parameters");
    is_int(EVP_PKEY_parameters_eq(t->public, t->token), 1,
           "parameters, the other way round");
    is_int(EVP_PKEY_parameters_eq(t->token, other), 1,
           "parameters of a key made like it");
    EVP_PKEY_free(foreign);
    EVP_PKEY_free(other_public);
    EVP_PKEY_free(other);
    EVP_PKEY_free(copy);
    EVP_PKEY_free(again);
    ERR_clear_error();
}

/* ---- export ---- */

static const struct {
    const char *what;
    int selection;
    bool is_private;
} parts[] = {
    { "nothing", 0, false },
    { "public", PUBLIC, false },
    { "domain", DOMAIN, false },
    { "public and parameters", EVP_PKEY_PUBLIC_KEY, false },
    { "parameters", EVP_PKEY_KEY_PARAMETERS, false },
    { "other", OTHER, false },
    { "private", PRIVATE, true },
    { "private and public", PRIVATE | PUBLIC, true },
    { "pair", EVP_PKEY_KEYPAIR, true },
    { "all", OSSL_KEYMGMT_SELECT_ALL, true }
};

static size_t count_private(const OSSL_PARAM *params)
{
    size_t i, n = 0;

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        n += params != NULL
             && OSSL_PARAM_locate_const(params, secrets[i]) != NULL;
    }
    return n;
}

/* Every name and value is in the other list, too. */
static bool same_lists(const OSSL_PARAM *a, const OSSL_PARAM *b)
{
    for (; a != NULL && a->key != NULL; a++) {
        const OSSL_PARAM *p = b != NULL ? OSSL_PARAM_locate_const(b, a->key)
                                        : NULL;

        if (p == NULL || p->data_size != a->data_size
            || memcmp(p->data, a->data, a->data_size) != 0) {
            diag("\"%s\" differs", a->key);
            return false;
        }
    }
    return true;
}

/* Neither the private half, nor parameters of a type that has none. */
static bool is_refused(const struct twins *t, size_t part)
{
    return parts[part].is_private
           || (!EVP_PKEY_is_a(t->token, "EC")
               && (parts[part].selection & OSSL_KEYMGMT_SELECT_KEYPAIR)
                  == 0);
}

static void export_parts(const struct twins *t)
{
    size_t i;

    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        OSSL_PARAM *ours = NULL, *theirs = NULL;
        int good = EVP_PKEY_todata(t->token, parts[i].selection, &ours);

        ok(good <= 0 || is_quiet(), "%s: no error", parts[i].what);
        if (is_refused(t, i)) {
            is_int(good > 0, 0, "%s: is not exported", parts[i].what);
        } else {
            is_int(good, EVP_PKEY_todata(t->public, parts[i].selection,
                                         &theirs),
                   "%s: exported, or not", parts[i].what);
            ok(same_lists(ours, theirs) && same_lists(theirs, ours),
               "%s: the same values", parts[i].what);
        }
        is_int((long long)count_private(ours), 0, "%s: no secret",
               parts[i].what);
        OSSL_PARAM_free(ours);
        OSSL_PARAM_free(theirs);
        ERR_clear_error();
    }
}

static void same_spki(const char *what, EVP_PKEY *a, EVP_PKEY *b)
{
    unsigned char *ours = NULL, *theirs = NULL;
    int n = i2d_PUBKEY(a, &ours), m = i2d_PUBKEY(b, &theirs);

    ok(n > 0 && is_quiet(), "%s: SubjectPublicKeyInfo", what);
    is_bytes(ours, n > 0 ? (size_t)n : 0, theirs, m > 0 ? (size_t)m : 0,
             "%s: the same SubjectPublicKeyInfo", what);
    OPENSSL_free(ours);
    OPENSSL_free(theirs);
    ERR_clear_error();
}

/* ---- copies ---- */

static bool signs(EVP_PKEY *key, EVP_PKEY *public)
{
    unsigned char sig[1024];
    size_t n = sizeof(sig);
    EVP_MD_CTX *s = EVP_MD_CTX_new(), *v = EVP_MD_CTX_new();
    bool good = EVP_DigestSignInit_ex(s, NULL, "SHA256", NULL, NULL, key,
                                      NULL) > 0
                && EVP_DigestSign(s, sig, &n, sig, 0) > 0
                && EVP_DigestVerifyInit_ex(v, NULL, "SHA256", NULL, DEFAULT,
                                           public, NULL) > 0
                && EVP_DigestVerify(v, sig, n, sig, 0) > 0;

    EVP_MD_CTX_free(s);
    EVP_MD_CTX_free(v);
    return good;
}

static void copies(const struct twins *t, const char *uri)
{
    EVP_PKEY *first = key_of_uri(uri);
    EVP_PKEY *copy = EVP_PKEY_dup(first);
    EVP_PKEY *blank = EVP_PKEY_new(), *reference = EVP_PKEY_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, first, NULL);
    EVP_PKEY_CTX *second = NULL;

    EVP_PKEY_free(first);
    ok(copy != NULL && is_quiet(), "it is copied");
    ok(signs(copy, t->public), "the copy signs when the original is gone");
    ok(is_quiet(), "without an error");
    ok(ctx != NULL && EVP_PKEY_sign_init(ctx) > 0
       && (second = EVP_PKEY_CTX_dup(ctx)) != NULL, "a context outlives it");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_CTX_free(second);
    is_int(EVP_PKEY_copy_parameters(blank, t->token),
           EVP_PKEY_copy_parameters(reference, t->public),
           "parameters are copied, or not");
    is_int(EVP_PKEY_eq(blank, t->token) == 1, 0, "a copy of them is no key");
    is_int(EVP_PKEY_copy_parameters(t->public, t->token),
           1, "and into a key that has them");
    EVP_PKEY_free(blank);
    EVP_PKEY_free(reference);
    EVP_PKEY_free(copy);
    ERR_clear_error();
}

/* ---- words ---- */

/* OpenSSL 3.0's own encoder reads through NULL where it gets half a key. */
static void prints(const struct twins *t)
{
    BIO *out = BIO_new(BIO_s_mem());

    is_int(EVP_PKEY_print_public(out, t->token, 0, NULL), 1, "public half");
    is_int(EVP_PKEY_print_params(out, t->token, 0, NULL), 1, "parameters");
    is_int(EVP_PKEY_print_private(out, t->token, 0, NULL), 1, "private half");
    ok(is_quiet(), "are described without an error");
    BIO_free(out);
}

/* ---- checks ---- */

static void checks(const struct twins *t)
{
    static const struct {
        const char *what;
        int (*check)(EVP_PKEY_CTX *);
    } rows[] = {
        { "public check", EVP_PKEY_public_check },
        { "quick public check", EVP_PKEY_public_check_quick },
        { "private check", EVP_PKEY_private_check },
        { "pairwise check", EVP_PKEY_pairwise_check },
        { "check", EVP_PKEY_check },
        { "check of parameters", EVP_PKEY_param_check }
    };
    size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY_CTX *ours = EVP_PKEY_CTX_new_from_pkey(NULL, t->token, NULL);
        EVP_PKEY_CTX *theirs = EVP_PKEY_CTX_new_from_pkey(t->libctx,
                                                          t->software, NULL);

        is_int(rows[i].check(ours), rows[i].check(theirs), "%s", rows[i].what);
        EVP_PKEY_CTX_free(ours);
        EVP_PKEY_CTX_free(theirs);
        ERR_clear_error();
    }
}

/* ---- what is set ---- */

/* A name that keys of the type do not know is passed over by all of them. */
static void sets_unknown(const struct twins *t)
{
    int n = 1;
    OSSL_PARAM set[] = {
        OSSL_PARAM_int("no-such-parameter", &n), OSSL_PARAM_END
    };

    is_int(EVP_PKEY_set_params(t->token, set),
           EVP_PKEY_set_params(t->software, set), "an unknown name is set");
    ok(is_quiet(), "without an error");
    ERR_clear_error();
}

/* ---- refusals ---- */

/* A signature that is none leaves so many entries. -1: it is one. */
static int bad_signature(EVP_PKEY *key, OSSL_LIB_CTX *libctx)
{
    static const unsigned char sig[512] = { 1 }, hash[32] = { 2 };
    size_t len = (size_t)EVP_PKEY_get_size(key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    int n = 0;

    if (ctx == NULL || len > sizeof(sig) || EVP_PKEY_verify_init(ctx) <= 0
        || EVP_PKEY_verify(ctx, sig, len, hash, sizeof(hash)) > 0) {
        n = -1;
    }
    EVP_PKEY_CTX_free(ctx);
    while (n >= 0 && ERR_get_error() != 0) {
        n++;
    }
    return n;
}

static void tells_once(const struct twins *t)
{
    int theirs = bad_signature(t->software, t->libctx);

    ok(theirs >= 0, "a bad signature is none");
    is_int(bad_signature(t->token, NULL), theirs,
           "as many errors of it");
}

/* A part of the key, whether the default provider would set it or not. */
static void refuses_part(const struct twins *t, const char *name)
{
    char text[] = "P-256";
    OSSL_PARAM set[] = {
        OSSL_PARAM_utf8_string(name, text, sizeof(text) - 1), OSSL_PARAM_END
    };
    const char *data = NULL;

    ok(EVP_PKEY_set_params(t->token, set) <= 0, "%s is not changed", name);
    (void)ERR_peek_error_all(NULL, NULL, NULL, &data, NULL);
    ok(data != NULL && strstr(data, name) != NULL, "… with an error: %s",
       data != NULL ? data : "none");
    ERR_clear_error();
}

static void refusals(const struct twins *t)
{
    unsigned char infinity = 0;
    OSSL_PARAM set[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, &infinity,
                                1),
        OSSL_PARAM_END
    };
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(t->token);

    ok(p8 == NULL, "it is no PKCS#8");
    PKCS8_PRIV_KEY_INFO_free(p8);
    ERR_clear_error();
    /* No name that RSA keys know. */
    if (EVP_PKEY_is_a(t->token, "EC")) {
        ok(EVP_PKEY_set_params(t->token, set) <= 0, "it is not changed");
        ok(ERR_peek_error() != 0, "with an error");
        ERR_clear_error();
    }
    refuses_part(t, EVP_PKEY_is_a(t->token, "EC") ? "group" : "n");
    ok(signs(t->token, t->public), "and signs afterwards");
    ok(is_quiet(), "without an error");
}

int main(int argc, char *argv[])
{
    struct twins t = { 0 };

    if (argc != 3 || !ok(twins_load(&t, argv[1], argv[2]), "keys")) {
        return tap_done();
    }
    ok(is_quiet(), "loaded without an error");
    is_str(owner_of(t.token), "pkcs11", "the token's key is ours");
    same_parameters(&t);
    no_secrets(&t);
    same_numbers(&t);
    equality(&t, argv[1]);
    export_parts(&t);
    same_spki("token", t.token, t.public);
    copies(&t, argv[1]);
    prints(&t);
    checks(&t);
    sets_unknown(&t);
    tells_once(&t);
    refusals(&t);
    same_spki("afterwards", t.token, t.public);
    twins_free(&t);
    return tap_done();
}
