/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHKEM with EC keys [RFC 9180, 4.1]. Two keys may have a private half in it:
 * the recipient's, which decapsulates, and that of a sender who is to be known,
 * who encapsulates. Where that half is in software, or none is needed, the
 * private library context does all of it. Where it is in a token it holds an
 * encapsulation with the recipient's public half, which judges parameters; the
 * token agrees on the secrets that take the private half, and what is made of
 * them is made here.
 */
#include "provider/pkey/dhkem.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/keymgmt/softkey.h"
#include "provider/pkey/dhkem_suite.h"
#include "provider/pkey/ecdh.h"
#include "provider/pkey/held.h"
#include "provider/soft.h"

#define NAME "EC"

/* What libcrypto answers to a curve that DHKEM does not have. */
#define NO_SUITE (-2)

struct dhkem {
    struct prov_held h;         /* the recipient's key */
    struct prov_key *auth;      /* the sender's; NULL: anybody's */
    const struct prov_dhkem_suite *suite;   /* NULL: no token's operation */
    bool seals;                 /* encapsulates */
    /* Parameters, which libcrypto does not tell again. */
    char kind[32];
    struct hsm_buf ikme;
};

static OSSL_FUNC_kem_newctx_fn dhkem_new;
static OSSL_FUNC_kem_freectx_fn dhkem_free;
static OSSL_FUNC_kem_dupctx_fn dhkem_dup;
static OSSL_FUNC_kem_encapsulate_init_fn dhkem_encapsulate_init;
static OSSL_FUNC_kem_auth_encapsulate_init_fn dhkem_auth_encapsulate_init;
static OSSL_FUNC_kem_encapsulate_fn dhkem_encapsulate;
static OSSL_FUNC_kem_decapsulate_init_fn dhkem_decapsulate_init;
static OSSL_FUNC_kem_auth_decapsulate_init_fn dhkem_auth_decapsulate_init;
static OSSL_FUNC_kem_decapsulate_fn dhkem_decapsulate;
static OSSL_FUNC_kem_set_ctx_params_fn dhkem_set_ctx_params;
static OSSL_FUNC_kem_settable_ctx_params_fn dhkem_settable;

static void *dhkem_new(void *provctx)
{
    return prov_held_new(provctx, sizeof(struct dhkem));
}

static void dhkem_free(void *vctx)
{
    struct dhkem *k = vctx;

    if (k == NULL) {
        return;
    }
    prov_held_clear(&k->h);
    prov_key_put(k->auth);
    hsm_buf_clear(&k->ikme);
    OPENSSL_free(k);
}

/* ---- beginning ---- */

/* Whose private half is used, if anybody's. */
static const struct prov_key *worker(const struct dhkem *k)
{
    return k->seals ? k->auth : k->h.key;
}

/* Is libcrypto's answer. */
static int no_suite(const struct dhkem *k)
{
    char name[64] = "unnamed";

    (void)EVP_PKEY_get_group_name(k->h.key->soft, name, sizeof(name), NULL);
    (void)prov_raise_prov(PROV_R_INVALID_CURVE, "DHKEM has P-256, P-384 and "
                          "P-521; the key's curve is %s", name);
    return NO_SUITE;
}

/* libcrypto refuses some of it without a word. What was on the queue before is
 * the application's. result: libcrypto's, and ours. */
static int explained(const struct dhkem *k, int result, unsigned long before)
{
    const struct prov_key *own = worker(k);

    if (result > 0 || ERR_peek_last_error() != before) {
        return result;
    }
    if (own != NULL && !own->has_private) {
        (void)prov_raise_prov(PROV_R_NOT_A_PRIVATE_KEY, "no private key to "
                              "%s", k->seals ? "encapsulate as the sender"
                                             : "decapsulate with");
    } else {
        (void)prov_raise_prov(PROV_R_FAILED_TO_SET_PARAMETER, "%s, %s or the "
                              "key has a type or a value that OpenSSL does not "
                              "take; the one operation is %s",
                              OSSL_KEM_PARAM_OPERATION, OSSL_KEM_PARAM_IKME,
                              OSSL_KEM_PARAM_OPERATION_DHKEM);
    }
    return result;
}

/* What libcrypto has taken: the kind up to a NUL, however much room for it the
 * application has. */
static int remember(struct dhkem *k, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_KEM_PARAM_IKME);

    if (p != NULL) {
        hsm_buf_clear(&k->ikme);
        if (p->data != NULL
            && !prov_result(k->h.prov, hsm_buf_append(&k->ikme, p->data,
                                                      p->data_size))) {
            return 0;
        }
    }
    p = OSSL_PARAM_locate_const(params, OSSL_KEM_PARAM_OPERATION);
    if (p != NULL) {
        (void)OPENSSL_strlcpy(k->kind, p->data, sizeof(k->kind));
    }
    return 1;
}

static int begin_pctx(struct dhkem *k, const OSSL_PARAM params[])
{
    EVP_PKEY *auth = k->auth != NULL ? k->auth->soft : NULL;
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(k->h.prov->libctx,
                                                    k->h.key->soft, NULL);

    EVP_PKEY_CTX_free(k->h.pctx);
    k->h.pctx = pctx;
    if (prov_key_is_on_token(worker(k)) || (k->seals && auth == NULL)) {
        return EVP_PKEY_encapsulate_init(pctx, params);
    }
    if (k->seals) {
        return EVP_PKEY_auth_encapsulate_init(pctx, auth, params);
    }
    return auth == NULL ? EVP_PKEY_decapsulate_init(pctx, params)
                        : EVP_PKEY_auth_decapsulate_init(pctx, auth, params);
}

/* The token does not know what its key is for, and libcrypto was not shown the
 * sender's. */
static int begin_on_token(struct dhkem *k)
{
    const struct prov_dhkem_suite *suite = prov_dhkem_suite_of(k->h.key->soft);

    if (suite == NULL) {
        return no_suite(k);
    }
    if (k->auth != NULL && prov_dhkem_suite_of(k->auth->soft) != suite) {
        return prov_raise_prov(PROV_R_MISMATCHING_DOMAIN_PARAMETERS, "the "
                               "sender's key is not on the curve of the "
                               "recipient's");
    }
    if (!prov_ecdh_may(worker(k))) {
        return 0;
    }
    k->suite = suite;
    return 1;
}

/* libcrypto's words about a curve, if any, do not name it. */
static int begin_held(struct dhkem *k, const OSSL_PARAM params[])
{
    unsigned long before = ERR_peek_last_error();
    int result = 0;

    ERR_set_mark();
    result = begin_pctx(k, params);
    if (result == NO_SUITE) {
        ERR_pop_to_mark();
        return no_suite(k);
    }
    ERR_clear_last_mark();
    result = explained(k, result, before);
    if (result > 0 && prov_key_is_on_token(worker(k))) {
        result = begin_on_token(k);
    }
    return result > 0 ? remember(k, params) : result;
}

static int begin(struct dhkem *k, struct prov_key *key, struct prov_key *auth,
                 const OSSL_PARAM params[])
{
    if (key == NULL || key->soft == NULL
        || (auth != NULL && auth->soft == NULL)) {
        return prov_raise_prov(PROV_R_NO_KEY_SET, "no key to encapsulate or "
                               "decapsulate with");
    }
    prov_key_get(key);
    prov_key_put(k->h.key);
    k->h.key = key;
    if (auth != NULL) {
        prov_key_get(auth);
    }
    prov_key_put(k->auth);
    k->auth = auth;
    k->suite = NULL;
    return begin_held(k, params);
}

static int dhkem_encapsulate_init(void *vctx, void *vkey,
                                  const OSSL_PARAM params[])
{
    struct dhkem *k = vctx;

    k->seals = true;
    return begin(k, vkey, NULL, params);
}

static int dhkem_auth_encapsulate_init(void *vctx, void *vkey, void *vauth,
                                       const OSSL_PARAM params[])
{
    struct dhkem *k = vctx;

    k->seals = true;
    return begin(k, vkey, vauth, params);
}

static int dhkem_decapsulate_init(void *vctx, void *vkey,
                                  const OSSL_PARAM params[])
{
    struct dhkem *k = vctx;

    k->seals = false;
    return begin(k, vkey, NULL, params);
}

static int dhkem_auth_decapsulate_init(void *vctx, void *vkey, void *vauth,
                                       const OSSL_PARAM params[])
{
    struct dhkem *k = vctx;

    k->seals = false;
    return begin(k, vkey, vauth, params);
}

/* libcrypto cannot copy its own: ours begins again. */
static void *dhkem_dup(void *vctx)
{
    struct dhkem *src = vctx, *dst = dhkem_new(src->h.prov);
    OSSL_PARAM params[3], *p = params;

    if (dst == NULL || src->h.key == NULL) {
        return dst;
    }
    if (src->kind[0] != '\0') {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_KEM_PARAM_OPERATION,
                                                src->kind, 0);
    }
    if (src->ikme.len > 0) {
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_KEM_PARAM_IKME,
                                                 src->ikme.p, src->ikme.len);
    }
    *p = OSSL_PARAM_construct_end();
    dst->seals = src->seals;
    if (begin(dst, src->h.key, src->auth, params) <= 0) {
        dhkem_free(dst);
        return NULL;
    }
    return dst;
}

static int dhkem_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct dhkem *k = vctx;
    unsigned long before = ERR_peek_last_error();

    if (k->h.key == NULL || params == NULL) {
        return prov_soft_set(k->h.pctx, params);
    }
    return explained(k, prov_soft_set(k->h.pctx, params), before)
           && remember(k, params);
}

/* ---- a token's part ---- */

/* For those who shall not be told apart: a new key each time, unless it is to
 * come of ikme. */
static EVP_PKEY *make_ephemeral(const struct dhkem *k)
{
    union {
        const char *c;
        char *p;
    } group = { .c = k->suite->group };
    OSSL_PARAM params[3], *p = params;
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_name(k->h.prov->libctx, NAME,
                                                    NULL);
    EVP_PKEY *key = NULL;

    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                            group.p, 0);
    if (k->ikme.len > 0) {
        *p++ = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_DHKEM_IKM,
                                                 k->ikme.p, k->ikme.len);
    }
    *p = OSSL_PARAM_construct_end();
    if (pctx != NULL && EVP_PKEY_keygen_init(pctx) > 0
        && EVP_PKEY_CTX_set_params(pctx, params) > 0) {
        (void)EVP_PKEY_generate(pctx, &key);
    }
    EVP_PKEY_CTX_free(pctx);
    return key;
}

static EVP_PKEY *public_of(const struct dhkem *k, struct hsm_bytes point)
{
    union {
        const void *c;
        void *p;
    } group = { .c = k->suite->group }, pub = { .c = point.p };
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.p,
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, pub.p,
                                          point.len),
        OSSL_PARAM_construct_end()
    };

    return prov_softkey_from_params(k->h.prov, NAME, EVP_PKEY_PUBLIC_KEY,
                                    params);
}

/* libcrypto looks at the peer's key. */
static int agree_in_software(const struct dhkem *k, EVP_PKEY *own,
                             EVP_PKEY *peer, unsigned char *secret)
{
    EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(k->h.prov->libctx, own,
                                                    NULL);
    size_t n = k->suite->field_bytes;
    int ok = pctx != NULL && EVP_PKEY_derive_init(pctx) > 0
             && EVP_PKEY_derive_set_peer(pctx, peer) > 0
             && EVP_PKEY_derive(pctx, secret, &n) > 0
             && n == k->suite->field_bytes;

    EVP_PKEY_CTX_free(pctx);
    return ok;
}

static int agree_on_token(const struct dhkem *k, EVP_PKEY *peer,
                          unsigned char *secret)
{
    unsigned char point[PROV_ECDH_POINT_MAX];

    if (!prov_ecdh_check_peer(k->h.prov, peer)) {
        return 0;
    }
    if (!prov_ecdh_point(peer, k->suite->field_bytes, point)) {
        return prov_raise_prov(PROV_R_INVALID_KEY, "the peer's public key is "
                               "no point");
    }
    return prov_ecdh_on_token(worker(k), point, secret);
}

/*
 * Of what both know: the secrets dh (two, where there is a sender), the
 * encapsulation, and their public keys.
 */
static int make_secret(const struct dhkem *k, const unsigned char *dh,
                       struct hsm_bytes sealed, unsigned char *secret)
{
    unsigned char context[3 * PROV_ECDH_POINT_MAX];
    size_t half = k->suite->field_bytes, n = 1, len = sealed.len;

    memcpy(context, sealed.p, len);
    if (!prov_ecdh_point(k->h.key->soft, half, context + len)) {
        return prov_raise_prov(PROV_R_NOT_A_PUBLIC_KEY, "the recipient's");
    }
    len += PROV_ECDH_POINT(half);
    if (k->auth != NULL) {
        if (!prov_ecdh_point(k->auth->soft, half, context + len)) {
            return prov_raise_prov(PROV_R_NOT_A_PUBLIC_KEY, "the sender's");
        }
        len += PROV_ECDH_POINT(half);
        n++;
    }
    return prov_dhkem_secret(k->h.prov, k->suite, hsm_bytes_of(dh, n * half),
                             hsm_bytes_of(context, len), secret);
}

/* What is given is written when all is done. 0: raised. */
static int seal_on_token(const struct dhkem *k, unsigned char *out,
                         unsigned char *secret)
{
    size_t half = k->suite->field_bytes, len = PROV_ECDH_POINT(half);
    unsigned char point[PROV_ECDH_POINT_MAX], dh[2 * PROV_ECDH_MAX];
    EVP_PKEY *ephemeral = make_ephemeral(k);
    int ok = ephemeral != NULL && prov_ecdh_point(ephemeral, half, point)
             && agree_in_software(k, ephemeral, k->h.key->soft, dh)
             && agree_on_token(k, k->h.key->soft, dh + half)
             && make_secret(k, dh, hsm_bytes_of(point, len), secret);

    if (ok) {
        memcpy(out, point, len);
    }
    OPENSSL_cleanse(dh, sizeof(dh));
    EVP_PKEY_free(ephemeral);
    return ok;
}

static int open_on_token(const struct dhkem *k, struct hsm_bytes in,
                         unsigned char *secret)
{
    unsigned char dh[2 * PROV_ECDH_MAX];
    EVP_PKEY *ephemeral = public_of(k, in);
    int ok = ephemeral != NULL && agree_on_token(k, ephemeral, dh)
             && (k->auth == NULL
                 || agree_on_token(k, k->auth->soft,
                                   dh + k->suite->field_bytes))
             && make_secret(k, dh, in, secret);

    OPENSSL_cleanse(dh, sizeof(dh));
    EVP_PKEY_free(ephemeral);
    return ok;
}

/* ---- the operations ---- */

/* As with RSA, without a length the room is enough; libcrypto, which has the
 * work in software, wants lengths here. */
static int check_room(const char *what, const size_t *room, size_t needed)
{
    if (room != NULL && *room < needed) {
        return prov_raise_prov(PROV_R_INVALID_OUTPUT_LENGTH, "the room for the "
                               "%s has %zu octets, should have %zu", what,
                               *room, needed);
    }
    return 1;
}

static void tell(size_t *len, size_t size)
{
    if (len != NULL) {
        *len = size;
    }
}

static int dhkem_encapsulate(void *vctx, unsigned char *out, size_t *outlen,
                             unsigned char *secret, size_t *secretlen)
{
    struct dhkem *k = vctx;
    size_t out_size = 0, secret_size = 0;
    int ok = 0;

    if (k->suite == NULL || out == NULL) {
        return EVP_PKEY_encapsulate(k->h.pctx, out, outlen, secret, secretlen);
    }
    ok = EVP_PKEY_encapsulate(k->h.pctx, NULL, &out_size, NULL, &secret_size);
    if (ok <= 0) {
        return ok;
    }
    if (!check_room("encapsulated secret", outlen, out_size)
        || !check_room("secret", secretlen, secret_size)
        || !seal_on_token(k, out, secret)) {
        return 0;
    }
    tell(outlen, out_size);
    tell(secretlen, secret_size);
    return 1;
}

static int dhkem_decapsulate(void *vctx, unsigned char *secret,
                             size_t *secretlen, const unsigned char *in,
                             size_t inlen)
{
    struct dhkem *k = vctx;
    size_t in_size = 0, secret_size = 0;
    int ok = 0;

    if (k->suite == NULL) {
        return EVP_PKEY_decapsulate(k->h.pctx, secret, secretlen, in, inlen);
    }
    ok = EVP_PKEY_encapsulate(k->h.pctx, NULL, &in_size, NULL, &secret_size);
    if (ok > 0 && secret != NULL && inlen != in_size) {
        ok = prov_raise_prov(PROV_R_BAD_LENGTH, "the encapsulated secret has "
                             "%zu octets, should have %zu", inlen, in_size);
    }
    if (ok > 0 && secret != NULL) {
        ok = check_room("secret", secretlen, secret_size)
             && open_on_token(k, hsm_bytes_of(in, inlen), secret);
    }
    if (ok > 0) {
        tell(secretlen, secret_size);
    }
    return ok;
}

static const OSSL_PARAM *dhkem_settable(void *vctx, void *provctx)
{
    const struct dhkem *k = vctx;

    return prov_soft_settable(provctx, k != NULL ? k->h.pctx : NULL,
                              PROV_SOFT_KEM, NAME);
}

#define ENTRY(name, fn) { OSSL_FUNC_KEM_##name, (void (*)(void))(fn) }

const OSSL_DISPATCH prov_dhkem_functions[] = {
    ENTRY(NEWCTX, dhkem_new),
    ENTRY(FREECTX, dhkem_free),
    ENTRY(DUPCTX, dhkem_dup),
    ENTRY(ENCAPSULATE_INIT, dhkem_encapsulate_init),
    ENTRY(AUTH_ENCAPSULATE_INIT, dhkem_auth_encapsulate_init),
    ENTRY(ENCAPSULATE, dhkem_encapsulate),
    ENTRY(DECAPSULATE_INIT, dhkem_decapsulate_init),
    ENTRY(AUTH_DECAPSULATE_INIT, dhkem_auth_decapsulate_init),
    ENTRY(DECAPSULATE, dhkem_decapsulate),
    ENTRY(SET_CTX_PARAMS, dhkem_set_ctx_params),
    ENTRY(SETTABLE_CTX_PARAMS, dhkem_settable),
    { 0, NULL }
};
