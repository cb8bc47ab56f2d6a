/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/gen.h"

#include <stddef.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/softkey.h"
#include "provider/param.h"
#include "src/crypto/keygen.h"

#define PARAM_URI     "pkcs11_uri"
#define PARAM_TOKEN   "pkcs11_token"
#define PARAM_USAGE   "pkcs11_key_usage"
#define PARAM_STORAGE "pkcs11_storage"

#define DEFAULT_RSA_BITS 2048
#define UNSET_SALT_LEN   (-1)

/* What was asked for, as far as a token can be told or has to refuse. */
struct gen_in {
    char *uri, *token, *usage, *storage;
    char *group, *encoding;             /* EC */
    unsigned int bits, primes;          /* RSA */
    BIGNUM *e;
    char *digest, *mgf1_digest;         /* restrictions of an RSA-PSS key */
    int salt_len;
};

/* "rsa_keygen_bits" is how BIND names the size. Not to understand it would
 * make a smaller key than was asked for. */
static const struct prov_param gen_rows[] = {
    { PARAM_URI, PROV_PARAM_TEXT, offsetof(struct gen_in, uri) },
    { PARAM_TOKEN, PROV_PARAM_TEXT, offsetof(struct gen_in, token) },
    { PARAM_USAGE, PROV_PARAM_TEXT, offsetof(struct gen_in, usage) },
    { PARAM_STORAGE, PROV_PARAM_TEXT, offsetof(struct gen_in, storage) },
    { OSSL_PKEY_PARAM_GROUP_NAME, PROV_PARAM_TEXT,
      offsetof(struct gen_in, group) },
    { OSSL_PKEY_PARAM_EC_ENCODING, PROV_PARAM_TEXT,
      offsetof(struct gen_in, encoding) },
    { OSSL_PKEY_PARAM_RSA_BITS, PROV_PARAM_UINT,
      offsetof(struct gen_in, bits) },
    { "rsa_keygen_bits", PROV_PARAM_UINT, offsetof(struct gen_in, bits) },
    { OSSL_PKEY_PARAM_RSA_PRIMES, PROV_PARAM_UINT,
      offsetof(struct gen_in, primes) },
    { OSSL_PKEY_PARAM_RSA_E, PROV_PARAM_BN, offsetof(struct gen_in, e) },
    { OSSL_PKEY_PARAM_RSA_DIGEST, PROV_PARAM_TEXT,
      offsetof(struct gen_in, digest) },
    { OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, PROV_PARAM_TEXT,
      offsetof(struct gen_in, mgf1_digest) },
    { OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, PROV_PARAM_INT,
      offsetof(struct gen_in, salt_len) },
    { NULL, PROV_PARAM_TEXT, 0 }
};

#define OWN_PARAMS \
    OSSL_PARAM_utf8_string(PARAM_URI, NULL, 0), \
    OSSL_PARAM_utf8_string(PARAM_TOKEN, NULL, 0), \
    OSSL_PARAM_utf8_string(PARAM_USAGE, NULL, 0), \
    OSSL_PARAM_utf8_string(PARAM_STORAGE, NULL, 0), \
    OSSL_PARAM_END

static const OSSL_PARAM own_params[] = { OWN_PARAMS };

/* Names of key usage [RFC 5280, 4.2.1.3], as they are in use for tokens. */
static const struct {
    const char *name;
    unsigned int use;
} usage_rows[] = {
    { "digitalSignature", HSM_USE_SIGN },
    { "nonRepudiation", HSM_USE_SIGN },
    { "contentCommitment", HSM_USE_SIGN },
    { "keyCertSign", HSM_USE_SIGN },
    { "cRLSign", HSM_USE_SIGN },
    { "dataEncipherment", HSM_USE_DECRYPT },
    { "keyEncipherment", HSM_USE_DECRYPT | HSM_USE_WRAP },
    { "keyAgreement", HSM_USE_DERIVE },
    { "encipherOnly", HSM_USE_DERIVE },
    { "decipherOnly", HSM_USE_DERIVE },
};

/*
 * inner does the work for a software key. For a token it only judges: it gets
 * every parameter, so that a wrong one is refused as it is everywhere.
 */
struct prov_gen {
    struct prov_ctx *ctx;
    const struct prov_keytype *type;
    int selection;
    EVP_PKEY_CTX *inner;
    struct gen_in in;
    OSSL_PARAM *settable;       /* inner's list and ours; NULL: not asked */
    OSSL_CALLBACK *progress;
    void *progress_arg;
};

struct prov_gen *prov_gen_new(struct prov_ctx *ctx,
                              const struct prov_keytype *type, int selection)
{
    bool pair = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
    struct prov_gen *gen = OPENSSL_zalloc(sizeof(*gen));

    if (gen == NULL) {
        (void)prov_raise(ctx, CKR_HOST_MEMORY, "no memory to make a key");
        return NULL;
    }
    gen->ctx = ctx;
    gen->type = type;
    gen->selection = selection;
    gen->in.salt_len = UNSET_SALT_LEN;
    gen->inner = EVP_PKEY_CTX_new_from_name(ctx->libctx, type->name, NULL);
    if (gen->inner == NULL
        || (pair ? EVP_PKEY_keygen_init(gen->inner)
                 : EVP_PKEY_paramgen_init(gen->inner)) <= 0) {
        prov_gen_cleanup(gen);
        return NULL;
    }
    return gen;
}

void prov_gen_cleanup(void *genctx)
{
    struct prov_gen *gen = genctx;

    if (gen == NULL) {
        return;
    }
    EVP_PKEY_CTX_free(gen->inner);
    prov_params_clear(gen_rows, &gen->in);
    OPENSSL_free(gen->settable);
    OPENSSL_free(gen);
}

/* libcrypto refuses a value of a wrong type or size without a word. */
static int name_refused(struct prov_gen *gen, const OSSL_PARAM *p)
{
    OSSL_PARAM one[2] = { OSSL_PARAM_END, OSSL_PARAM_END };

    for (; p->key != NULL; p++) {
        one[0] = *p;
        if (EVP_PKEY_CTX_set_params(gen->inner, one) <= 0) {
            break;
        }
    }
    if (ERR_peek_last_error() != 0) {
        return 0;
    }
    return prov_raise(gen->ctx, HSM_E_PARAMETER, "%s has a type or a "
                      "value that OpenSSL does not take",
                      p->key != NULL ? p->key : "a parameter");
}

int prov_gen_set_params(void *genctx, const OSSL_PARAM params[])
{
    struct prov_gen *gen = genctx;

    if (params == NULL || params[0].key == NULL) {
        return 1;
    }
    if (EVP_PKEY_CTX_set_params(gen->inner, params) <= 0) {
        return ERR_peek_last_error() != 0 ? 0 : name_refused(gen, params);
    }
    return prov_params_decode(gen_rows, params, &gen->in);
}

static size_t count(const OSSL_PARAM *list)
{
    size_t n = 0;

    while (list != NULL && list[n].key != NULL) {
        n++;
    }
    return n;
}

/* Without a context libcrypto cannot be told more than our own. */
const OSSL_PARAM *prov_gen_settable_params(void *genctx, void *provctx)
{
    struct prov_gen *gen = genctx;
    const OSSL_PARAM *inner;
    size_t n;

    (void)provctx;
    if (gen == NULL) {
        return own_params;
    }
    if (gen->settable == NULL) {
        inner = EVP_PKEY_CTX_settable_params(gen->inner);
        n = count(inner);
        gen->settable = OPENSSL_zalloc(n * sizeof(*inner)
                                       + sizeof(own_params));
        if (gen->settable == NULL) {
            return own_params;
        }
        if (n > 0) {
            memcpy(gen->settable, inner, n * sizeof(*inner));
        }
        memcpy(gen->settable + n, own_params, sizeof(own_params));
    }
    return gen->settable;
}

/*
 * The domain parameters of another key, as if they had been set one by one:
 * they win over a group that was set before. A type without any has nothing
 * to take from a template.
 */
int prov_gen_set_template(void *genctx, void *templ)
{
    struct prov_gen *gen = genctx;
    const struct prov_key *key = templ;
    OSSL_PARAM *params = NULL;
    int ok = 1;

    if (gen == NULL || key == NULL || !prov_softkey_has_domain(key->soft)) {
        return 0;
    }
    ERR_set_mark();
    (void)EVP_PKEY_todata(key->soft, OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS,
                          &params);
    ERR_pop_to_mark();
    if (params != NULL) {
        ok = prov_gen_set_params(gen, params);
    }
    OSSL_PARAM_free(params);
    return ok;
}

/* libcrypto's callback of the inner context becomes ours' caller's. */
static int tell_progress(EVP_PKEY_CTX *inner)
{
    struct prov_gen *gen = EVP_PKEY_CTX_get_app_data(inner);
    int potential = EVP_PKEY_CTX_get_keygen_info(inner, 0);
    int iteration = EVP_PKEY_CTX_get_keygen_info(inner, 1);
    OSSL_PARAM params[3];

    params[0] = OSSL_PARAM_construct_int(OSSL_GEN_PARAM_POTENTIAL, &potential);
    params[1] = OSSL_PARAM_construct_int(OSSL_GEN_PARAM_ITERATION, &iteration);
    params[2] = OSSL_PARAM_construct_end();
    return gen->progress(params, gen->progress_arg);
}

static struct prov_key *make_in_software(struct prov_gen *gen)
{
    struct prov_key *key = prov_key_new(gen->ctx, gen->type);
    unsigned long before = ERR_peek_last_error();

    if (key == NULL) {
        return NULL;
    }
    if (gen->progress != NULL) {
        EVP_PKEY_CTX_set_app_data(gen->inner, gen);
        EVP_PKEY_CTX_set_cb(gen->inner, tell_progress);
    }
    if (EVP_PKEY_generate(gen->inner, &key->soft) <= 0) {
        if (ERR_peek_last_error() == before) {
            (void)prov_raise_prov(PROV_R_FAILED_TO_GENERATE_KEY,
                                  "%s: are all parameters given?",
                                  gen->type->name);
        }
        prov_key_put(key);
        return NULL;
    }
    key->has_private = (gen->selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    return key;
}

static unsigned int usage_by_name(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(usage_rows) / sizeof(usage_rows[0]); i++) {
        if (strlen(usage_rows[i].name) == len
            && OPENSSL_strncasecmp(usage_rows[i].name, name, len) == 0) {
            return usage_rows[i].use;
        }
    }
    return 0;
}

/* Names with blanks or commas between them. */
static int read_usage(const struct prov_gen *gen, unsigned int *out)
{
    const struct prov_keytype *type = gen->type;
    const char *p = gen->in.usage;
    unsigned int use, all = 0;
    size_t len;

    for (p += strspn(p, " ,"); *p != '\0'; p += len, p += strspn(p, " ,")) {
        len = strcspn(p, " ,");
        use = usage_by_name(p, len);
        if (use == 0) {
            return prov_raise(gen->ctx, HSM_E_PARAMETER,
                              "%s \"%.*s\" is no key usage; say"
                              " digitalSignature, keyEncipherment,"
                              " dataEncipherment, keyAgreement, keyCertSign",
                              PARAM_USAGE, (int)len, p);
        }
        if ((use & type->uses) == 0) {
            return prov_raise(gen->ctx, HSM_E_PARAMETER,
                              "%s \"%.*s\" is nothing that a key of type %s"
                              " can do; say another, or leave it out",
                              PARAM_USAGE, (int)len, p, type->name);
        }
        all |= use & type->uses;
    }
    if (all == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is empty; say digitalSignature, or leave it out",
                          PARAM_USAGE);
    }
    *out = all;
    return 1;
}

static int read_storage(const struct prov_gen *gen, bool *session_object)
{
    const char *storage = gen->in.storage;

    *session_object = strcmp(storage, "session") == 0;
    if (!*session_object && strcmp(storage, "token") != 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is \"%s\"; say token or session",
                          PARAM_STORAGE, storage);
    }
    return 1;
}

static int read_group(const struct prov_gen *gen, struct hsm_keygen *spec)
{
    const struct gen_in *in = &gen->in;
    const char *group = in->group != NULL ? in->group
                                          : gen->type->default_group;

    if (in->encoding != NULL
        && strcmp(in->encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT) == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "a key on a token cannot have explicit parameters;"
                          " say -pkeyopt ec_param_enc:named_curve");
    }
    if (group == NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "no named curve is given; say -pkeyopt group:P-256"
                          " (or another)");
    }
    spec->curve = hsm_curve_by_name(group);
    if (spec->curve == NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "the curve \"%s\" is not supported on tokens; say"
                          " group:P-256 or another",
                          group);
    }
    return 1;
}

/* The exponent's octets go to e, which spec then points to. */
static int read_rsa(const struct prov_gen *gen, struct hsm_keygen *spec,
                    struct hsm_buf *e)
{
    const struct gen_in *in = &gen->in;
    int len;

    if (in->primes != 0 && in->primes != 2) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA key on a token has 2 primes, not %u; leave"
                          " the number out",
                          in->primes);
    }
    if (in->bits != 0 && (in->bits < 512 || in->bits > 16384)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA key cannot have %u bits; say 512 to 16384",
                          in->bits);
    }
    spec->bits = in->bits != 0 ? in->bits : DEFAULT_RSA_BITS;
    if (in->e == NULL) {
        return 1;
    }
    if (!BN_is_odd(in->e) || BN_is_one(in->e) || BN_is_negative(in->e)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA public exponent is odd and at least 3; say"
                          " 65537");
    }
    len = BN_num_bytes(in->e);
    if (!prov_result(gen->ctx, hsm_buf_reserve(e, (size_t)len))) {
        return 0;
    }
    e->len = (size_t)BN_bn2bin(in->e, e->p);
    spec->exponent = hsm_buf_bytes(e);
    return 1;
}

/* Refuses what contradicts itself, before anything is made. What the private
 * context's own generator of this type takes tells what the type needs. */
static int read_spec(const struct prov_gen *gen, struct hsm_keygen *spec,
                     struct hsm_buf *e)
{
    const OSSL_PARAM *takes = EVP_PKEY_CTX_settable_params(gen->inner);
    const struct gen_in *in = &gen->in;

    memset(spec, 0, sizeof(*spec));
    if ((gen->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "parameters without a key are not made on a token;"
                          " leave the pkcs11_ parameters out");
    }
    spec->kt = hsm_keytype_of(gen->type->ckk);
    if (spec->kt == NULL) {
        return prov_raise(gen->ctx, CKR_KEY_TYPE_INCONSISTENT,
                          "%s keys cannot be made on a token",
                          gen->type->name);
    }
    if (OSSL_PARAM_locate_const(takes, OSSL_PKEY_PARAM_GROUP_NAME) != NULL
        && !read_group(gen, spec)) {
        return 0;
    }
    if (OSSL_PARAM_locate_const(takes, OSSL_PKEY_PARAM_RSA_BITS) != NULL
        && !read_rsa(gen, spec, e)) {
        return 0;
    }
    if (gen->type->uses == HSM_USE_SIGN) {
        spec->usage = HSM_USE_SIGN;
    }
    return (in->usage == NULL || read_usage(gen, &spec->usage))
           && (in->storage == NULL
               || read_storage(gen, &spec->session_object));
}

/* pkcs11_token:LABEL is short for a URI, which messages show. */
static hsm_rc uri_of_label(const char *label, struct hsm_uri **out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-._~";
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    const unsigned char *p = (const unsigned char *)label;

    TRY(hsm_buf_printf(&text, "pkcs11:token="));
    for (; *p != '\0'; p++) {
        TRY(hsm_buf_printf(&text, strchr(plain, *p) != NULL ? "%c" : "%%%02X",
                           *p));
    }
    return hsm_uri_parse((const char *)text.p, out);
}

/* Where no token is named, the only one there is has to do. */
static int read_uri(const struct prov_gen *gen, struct hsm_uri **out)
{
    const struct gen_in *in = &gen->in;
    hsm_rc rc;

    if (in->uri != NULL && in->token != NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s and %s are both given; say one of them",
                          PARAM_URI, PARAM_TOKEN);
    }
    if (in->token != NULL) {
        rc = uri_of_label(in->token, out);
    } else {
        rc = hsm_uri_parse(in->uri != NULL ? in->uri : "pkcs11:", out);
    }
    return prov_result(gen->ctx, rc);
}

/* The public numbers again, as a key of the restricted type. */
static EVP_PKEY *restrict_soft(const struct prov_gen *gen,
                               const EVP_PKEY *numbers)
{
    const struct gen_in *in = &gen->in;
    int salt_len = in->salt_len;
    OSSL_PARAM extra[4], *p = extra, *params = NULL, *all = NULL;
    EVP_PKEY *soft = NULL;

    if (in->digest != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST,
                                                in->digest, 0);
    }
    if (in->mgf1_digest != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(
            OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, in->mgf1_digest, 0);
    }
    if (salt_len != UNSET_SALT_LEN) {
        *p++ = OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN,
                                        &salt_len);
    }
    *p = OSSL_PARAM_construct_end();
    if (EVP_PKEY_todata(numbers, EVP_PKEY_PUBLIC_KEY, &params) <= 0) {
        return NULL;
    }
    all = p == extra ? params : OSSL_PARAM_merge(params, extra);
    if (all != NULL) {
        soft = prov_softkey_from_params(gen->ctx, gen->type->name,
                                        EVP_PKEY_PUBLIC_KEY, all);
    }
    if (all != params) {
        OPENSSL_free(all);
    }
    OSSL_PARAM_free(params);
    return soft;
}

/* Tokens know nothing of RSA-PSS keys: what came back says RSA. */
static bool settle_type(const struct prov_gen *gen, struct prov_key *key)
{
    EVP_PKEY *soft;

    if (key->type == gen->type) {
        return true;
    }
    if (key->soft != NULL) {
        soft = restrict_soft(gen, key->soft);
        if (soft == NULL) {
            return false;
        }
        EVP_PKEY_free(key->soft);
        key->soft = soft;
    }
    key->type = gen->type;
    return true;
}

static struct prov_key *make_on_token(struct prov_gen *gen)
{
    hsm_autop(hsm_uri) uri = NULL;
    hsm_autop(hsm_key) token = NULL;
    hsm_auto(hsm_buf) e = HSM_BUF_INIT;
    struct hsm_cred cred = { .uri = NULL };
    struct hsm_keygen spec;
    struct hsm_context *hsm;
    struct prov_key *key;

    if (!read_spec(gen, &spec, &e) || !read_uri(gen, &uri)) {
        return NULL;
    }
    hsm = prov_ctx_hsm(gen->ctx);
    if (hsm == NULL) {
        return NULL;
    }
    cred.uri = uri;
    if (!prov_result(gen->ctx, hsm_keygen_pair(hsm, uri, &spec, &cred,
                                               &token))) {
        return NULL;
    }
    key = prov_key_from_token(gen->ctx, token);
    if (key != NULL && !settle_type(gen, key)) {
        prov_key_putp(&key);
    }
    if (key != NULL) {
        key->is_session = spec.session_object;
    }
    return key;
}

void *prov_gen_run(void *genctx, OSSL_CALLBACK *cb, void *cbarg)
{
    struct prov_gen *gen = genctx;
    const struct gen_in *in;

    if (gen == NULL) {
        return NULL;
    }
    in = &gen->in;
    if (in->uri != NULL || in->token != NULL || in->usage != NULL
        || in->storage != NULL) {
        return make_on_token(gen);
    }
    gen->progress = cb;
    gen->progress_arg = cbarg;
    return make_in_software(gen);
}
