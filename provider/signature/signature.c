/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/signature/signature.h"

#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/err.h"
#include "provider/signature/fresh.h"
#include "provider/signature/token.h"

void *prov_sig_new(void *provctx, const struct prov_sig_row *row)
{
    struct prov_sig *s = OPENSSL_zalloc(sizeof(*s));

    if (s == NULL) {
        (void)prov_raise_bare(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    s->prov = provctx;
    s->row = row;
    return s;
}

void prov_sig_free(void *vctx)
{
    struct prov_sig *s = vctx;

    if (s == NULL) {
        return;
    }
    prov_shadow_clear(&s->shadow);
    EVP_MD_CTX_free(s->hash);
    hsm_buf_clear(&s->message);
    hsm_buf_clear(&s->signature);
    prov_key_put(s->key);
    OPENSSL_free(s);
}

static bool copy_buf(struct hsm_buf *dst, const struct hsm_buf *src)
{
    return src->len == 0 || hsm_ok(hsm_buf_set(dst, hsm_buf_bytes(src)));
}

void *prov_sig_dup(void *vctx)
{
    const struct prov_sig *src = vctx;
    struct prov_sig *dst = OPENSSL_malloc(sizeof(*dst));
    bool ok = true;

    if (dst == NULL) {
        (void)prov_raise_bare(ERR_LIB_PROV, ERR_R_MALLOC_FAILURE);
        return NULL;
    }
    *dst = *src;
    dst->key = src->key != NULL ? prov_key_get(src->key) : NULL;
    dst->hash = NULL;
    dst->message = (struct hsm_buf)HSM_BUF_INIT;
    dst->signature = (struct hsm_buf)HSM_BUF_INIT;
    ok = prov_shadow_dup(&dst->shadow, &src->shadow) != 0
         && copy_buf(&dst->message, &src->message)
         && copy_buf(&dst->signature, &src->signature);
    if (ok && src->hash != NULL) {
        dst->hash = EVP_MD_CTX_new();
        ok = dst->hash != NULL
             && EVP_MD_CTX_copy_ex(dst->hash, src->hash) > 0;
    }
    if (!ok) {
        prov_sig_free(dst);
        return NULL;
    }
    return dst;
}

/* The key to use from now on: a new one, or the one of before. */
static int take_key(struct prov_sig *s, void *vkey)
{
    struct prov_key *key = vkey != NULL ? vkey : s->key;

    if (key == NULL) {
        return prov_raise_prov(PROV_R_NO_KEY_SET, "no key to sign or verify");
    }
    if (key->soft == NULL) {
        return prov_raise(s->prov, HSM_E_NO_PUBLIC, "the key's public half "
                          "is needed to sign or verify");
    }
    if (key != s->key) {
        prov_key_get(key);
        prov_key_put(s->key);
        s->key = key;
    }
    return 1;
}

static void start_over(struct prov_sig *s)
{
    s->begun = false;
    s->finished = false;
    s->gives = PROV_GIVES_UNDECIDED;
    hsm_buf_clear(&s->message);
    hsm_buf_clear(&s->signature);
}

static int init(struct prov_sig *s, void *vkey, prov_soft_init_fn *how,
                const OSSL_PARAM params[])
{
    if (!take_key(s, vkey)) {
        return 0;
    }
    start_over(s);
    EVP_MD_CTX_free(s->hash);
    s->hash = NULL;
    s->on_token = false;
    return prov_shadow_init(&s->shadow, s->prov, s->key->soft, how, params);
}

int prov_sig_verify_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    return init(vctx, vkey, EVP_PKEY_verify_init_ex, params);
}

int prov_sig_recover_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    return init(vctx, vkey, EVP_PKEY_verify_recover_init_ex, params);
}

int prov_sig_sign_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct prov_sig *s = vctx;

    if (!init(s, vkey, EVP_PKEY_sign_init_ex, params)) {
        return 0;
    }
    s->on_token = prov_key_is_on_token(s->key);
    return !s->on_token || prov_sig_token_may(s);
}

/* A buffer that is too small is refused before anything is done. */
static int sign_on_token(struct prov_sig *s, struct hsm_bytes tbs,
                         unsigned char *sig, size_t *sig_len)
{
    size_t need = prov_sig_token_size(s);

    if (need == 0) {
        return prov_raise(s->prov, HSM_E_NO_PUBLIC, "the size of the key's "
                          "signatures is not known");
    }
    if (*sig_len < need) {
        return prov_raise_prov(PROV_R_INVALID_SIGNATURE_SIZE,
                               "is %zu, should be at least %zu", *sig_len,
                               need);
    }
    return prov_sig_on_token(s, tbs, sig, sig_len);
}

int prov_sig_sign(void *vctx, unsigned char *sig, size_t *siglen,
                  size_t sigsize, const unsigned char *tbs, size_t tbslen)
{
    struct prov_sig *s = vctx;
    size_t n = sigsize;
    int ok = 0;

    if (s->on_token && sig == NULL) {
        *siglen = prov_sig_token_size(s);
        return *siglen != 0;
    }
    if (s->on_token) {
        ok = sign_on_token(s, hsm_bytes_of(tbs, tbslen), sig, &n);
    } else {
        ok = prov_soft_done(EVP_PKEY_sign(s->shadow.pctx, sig, &n, tbs,
                                          tbslen));
    }
    if (ok > 0) {
        *siglen = n;
    }
    return ok;
}

int prov_sig_verify(void *vctx, const unsigned char *sig, size_t siglen,
                    const unsigned char *tbs, size_t tbslen)
{
    struct prov_sig *s = vctx;

    return prov_soft_done(EVP_PKEY_verify(s->shadow.pctx, sig, siglen, tbs,
                                          tbslen));
}

int prov_sig_recover(void *vctx, unsigned char *rout, size_t *routlen,
                     size_t routsize, const unsigned char *sig, size_t siglen)
{
    struct prov_sig *s = vctx;
    size_t n = routsize;
    int ok = prov_soft_done(EVP_PKEY_verify_recover(s->shadow.pctx, rout, &n,
                                                    sig, siglen));

    if (ok > 0) {
        *routlen = n;
    }
    return ok;
}

/* The digest is the shadow's, which has fetched it. */
static int start_hash(struct prov_sig *s, const OSSL_PARAM params[])
{
    const EVP_MD *md = prov_shadow_md(&s->shadow);

    if (md == NULL) {
        return prov_raise_prov(PROV_R_INVALID_DIGEST, "no digest is set");
    }
    if (s->hash == NULL) {
        s->hash = EVP_MD_CTX_new();
    }
    return s->hash != NULL && EVP_DigestInit_ex2(s->hash, md, params) > 0;
}

static int start_shadow(struct prov_sig *s, const struct prov_shadow_digest *d)
{
    if (s->on_token && d->key != NULL && d->params == NULL) {
        prov_shadow_clear(&s->shadow);
        return prov_fresh_shadow(s->key, d->mdname, &s->shadow);
    }
    return prov_shadow_digest_init(&s->shadow, s->prov, d);
}

static int digest_init(struct prov_sig *s, void *vkey,
                       struct prov_shadow_digest *d)
{
    bool before = s->on_token;

    if (!take_key(s, vkey)) {
        return 0;
    }
    if (vkey != NULL || s->shadow.md == NULL) {
        d->key = s->key->soft;
    }
    s->on_token = !d->verify && prov_key_is_on_token(s->key);
    if (!start_shadow(s, d)) {
        /* Where the shadow is still there, so is all that belongs to it. */
        s->on_token = before;
        return 0;
    }
    start_over(s);
    if (s->on_token) {
        return prov_sig_token_may(s) && start_hash(s, d->params);
    }
    EVP_MD_CTX_free(s->hash);
    s->hash = NULL;
    return 1;
}

int prov_sig_digest_sign_init(void *vctx, const char *mdname, void *vkey,
                              const OSSL_PARAM params[])
{
    struct prov_shadow_digest d = { false, mdname, NULL, params };

    return digest_init(vctx, vkey, &d);
}

int prov_sig_digest_verify_init(void *vctx, const char *mdname, void *vkey,
                                const OSSL_PARAM params[])
{
    struct prov_shadow_digest d = { true, mdname, NULL, params };

    return digest_init(vctx, vkey, &d);
}

/* A message can be hashed: the digest was set, and not yet taken out. */
static int can_go_on(const struct prov_sig *s)
{
    if (s->shadow.md == NULL || (s->on_token && s->hash == NULL)) {
        return prov_raise_prov(PROV_R_NOT_INSTANTIATED,
                               "the operation was not initialised");
    }
    if (s->finished) {
        return prov_raise_prov(PROV_R_NOT_SUPPORTED, "the operation is "
                               "finished; initialise it again");
    }
    return 1;
}

/* The message goes on; where the token is to hash it, it is kept. */
static int update_for_token(struct prov_sig *s, const unsigned char *data,
                            size_t len)
{
    if (s->gives == PROV_GIVES_UNDECIDED
        && !prov_sig_token_decide(s, &s->gives)) {
        return 0;
    }
    if (s->gives == PROV_GIVES_MESSAGE && len > 0
        && !prov_result(s->prov, hsm_buf_append(&s->message, data, len))) {
        return 0;
    }
    return EVP_DigestUpdate(s->hash, data, len);
}

int prov_sig_digest_sign_update(void *vctx, const unsigned char *data,
                                size_t datalen)
{
    struct prov_sig *s = vctx;

    if (!can_go_on(s)) {
        return 0;
    }
    s->begun = true;
    return s->on_token ? update_for_token(s, data, datalen)
                       : EVP_DigestSignUpdate(s->shadow.md, data, datalen);
}

int prov_sig_digest_verify_update(void *vctx, const unsigned char *data,
                                  size_t datalen)
{
    struct prov_sig *s = vctx;

    if (!can_go_on(s)) {
        return 0;
    }
    s->begun = true;
    return EVP_DigestVerifyUpdate(s->shadow.md, data, datalen);
}

static int final_on_token(struct prov_sig *s, unsigned char *sig,
                          size_t *sig_len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    int ok = 0;

    /* A message without an octet may never have begun. */
    if (!update_for_token(s, NULL, 0)) {
        return 0;
    }
    s->finished = true;
    if (EVP_DigestFinal_ex(s->hash, digest, &n) <= 0) {
        return 0;
    }
    ok = sign_on_token(s, hsm_bytes_of(digest, n), sig, sig_len);
    hsm_buf_clear(&s->message);
    return ok;
}

int prov_sig_digest_sign_final(void *vctx, unsigned char *sig, size_t *siglen,
                               size_t sigsize)
{
    struct prov_sig *s = vctx;
    size_t n = sigsize;
    int ok = 0;

    if (!can_go_on(s)) {
        return 0;
    }
    if (s->on_token && sig == NULL) {
        *siglen = prov_sig_token_size(s);
        return *siglen != 0;
    }
    if (s->on_token) {
        ok = final_on_token(s, sig, &n);
    } else {
        s->finished = sig != NULL;
        ok = EVP_DigestSignFinal(s->shadow.md, sig, &n);
    }
    if (ok > 0) {
        *siglen = n;
    }
    return ok;
}

int prov_sig_digest_sign(void *vctx, unsigned char *sig, size_t *siglen,
                         size_t sigsize, const unsigned char *tbs,
                         size_t tbslen)
{
    if (sig != NULL && prov_sig_digest_sign_update(vctx, tbs, tbslen) <= 0) {
        return 0;
    }
    return prov_sig_digest_sign_final(vctx, sig, siglen, sigsize);
}

int prov_sig_digest_verify_final(void *vctx, const unsigned char *sig,
                                 size_t siglen)
{
    struct prov_sig *s = vctx;

    if (!can_go_on(s)) {
        return 0;
    }
    s->finished = true;
    return EVP_DigestVerifyFinal(s->shadow.md, sig, siglen);
}

int prov_sig_digest_verify(void *vctx, const unsigned char *sig,
                           size_t siglen, const unsigned char *tbs,
                           size_t tbslen)
{
    if (prov_sig_digest_verify_update(vctx, tbs, tbslen) <= 0) {
        return -1;
    }
    return prov_sig_digest_verify_final(vctx, sig, siglen);
}

int prov_sig_get_ctx_params(void *vctx, OSSL_PARAM params[])
{
    const struct prov_sig *s = vctx;

    return s != NULL && prov_soft_get(s->shadow.pctx, params);
}

int prov_sig_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct prov_sig *s = vctx;

    return s != NULL && prov_soft_set(s->shadow.pctx, params);
}

const OSSL_PARAM *prov_sig_gettable(void *vctx, void *provctx,
                                    const char *name)
{
    const struct prov_sig *s = vctx;

    return prov_soft_gettable(provctx, s != NULL ? s->shadow.pctx : NULL,
                              PROV_SOFT_SIGNATURE, name);
}

const OSSL_PARAM *prov_sig_settable(void *vctx, void *provctx,
                                    const char *name)
{
    const struct prov_sig *s = vctx;

    return prov_soft_settable(provctx, s != NULL ? s->shadow.pctx : NULL,
                              PROV_SOFT_SIGNATURE, name);
}

/* The context that hashes. NULL: none does. */
static EVP_MD_CTX *hasher(const struct prov_sig *s)
{
    return s->hash != NULL ? s->hash : s->shadow.md;
}

int prov_sig_get_md_params(void *vctx, OSSL_PARAM params[])
{
    EVP_MD_CTX *md = hasher(vctx);

    return md != NULL && EVP_MD_CTX_get_params(md, params);
}

const OSSL_PARAM *prov_sig_gettable_md_params(void *vctx)
{
    EVP_MD_CTX *md = hasher(vctx);

    return md != NULL ? EVP_MD_CTX_gettable_params(md) : NULL;
}

int prov_sig_set_md_params(void *vctx, const OSSL_PARAM params[])
{
    EVP_MD_CTX *md = hasher(vctx);

    return md != NULL && EVP_MD_CTX_set_params(md, params);
}

const OSSL_PARAM *prov_sig_settable_md_params(void *vctx)
{
    EVP_MD_CTX *md = hasher(vctx);

    return md != NULL ? EVP_MD_CTX_settable_params(md) : NULL;
}
