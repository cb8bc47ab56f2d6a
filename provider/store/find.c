/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/find.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "src/base/der.h"
#include "src/object/cert.h"

#define DEFAULT_DIGEST "SHA1"

void prov_find_clear(struct prov_find *find)
{
    X509_NAME_free(find->parsed);
    find->parsed = NULL;
    hsm_buf_clear(&find->name);
    hsm_buf_clear(&find->serial);
    hsm_buf_clear(&find->fingerprint);
    hsm_str_clear(&find->digest);
    hsm_str_clear(&find->alias);
    find->kind = PROV_FIND_ALL;
}

static bool get_octets(const OSSL_PARAM *p, struct hsm_buf *out)
{
    const void *octets = NULL;
    size_t n = 0;

    return OSSL_PARAM_get_octet_string_ptr(p, &octets, &n) && n > 0
           && octets != NULL
           && hsm_ok(hsm_buf_set(out, hsm_bytes_of(octets, n)));
}

/* A NUL need not follow it: parameters also come from OSSL_STORE_open_ex(). */
static bool get_text(const OSSL_PARAM *p, char **out)
{
    const char *text = NULL;

    if (!OSSL_PARAM_get_utf8_string_ptr(p, &text) || text == NULL) {
        return false;
    }
    hsm_strfree(*out);
    *out = p->data_type == OSSL_PARAM_UTF8_STRING
        ? strndup(text, p->data_size) : hsm_strdup(text);
    return *out != NULL;
}

static bool set_name(struct prov_find *find, const OSSL_PARAM *p)
{
    const unsigned char *der;

    if (!get_octets(p, &find->name)) {
        return false;
    }
    der = find->name.p;
    X509_NAME_free(find->parsed);
    find->parsed = d2i_X509_NAME(NULL, &der, (long)find->name.len);
    return find->parsed != NULL && der == find->name.p + find->name.len;
}

static bool set_serial(struct prov_find *find, const OSSL_PARAM *p)
{
    BIGNUM *bn = NULL;
    bool good = p != NULL && OSSL_PARAM_get_BN(p, &bn)
        && hsm_ok(hsm_buf_reserve(&find->serial, (size_t)BN_num_bytes(bn) + 1));

    if (good) {
        find->serial.len = (size_t)BN_bn2bin(bn, find->serial.p);
    }
    BN_free(bn);
    return good;
}

/* Without a digest's name it is the one of key identifiers [RFC 5280,
 * 4.2.1.2]. */
static bool set_fingerprint(struct prov_find *find, const OSSL_PARAM *p,
                            const OSSL_PARAM *digest)
{
    hsm_str_clear(&find->digest);
    if (digest != NULL) {
        (void)get_text(digest, &find->digest);
    }
    return get_octets(p, &find->fingerprint);
}

static bool read_search(struct prov_find *find, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p;

    p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SUBJECT);
    if (p != NULL) {
        find->kind = PROV_FIND_SUBJECT;
        return set_name(find, p);
    }
    p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ISSUER);
    if (p != NULL) {
        find->kind = PROV_FIND_ISSUER;
        return set_name(find, p)
               && set_serial(find, OSSL_PARAM_locate_const(
                                       params, OSSL_STORE_PARAM_SERIAL));
    }
    p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_FINGERPRINT);
    if (p != NULL) {
        find->kind = PROV_FIND_FINGERPRINT;
        return set_fingerprint(find, p, OSSL_PARAM_locate_const(
                                            params, OSSL_STORE_PARAM_DIGEST));
    }
    p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ALIAS);
    if (p != NULL) {
        find->kind = PROV_FIND_ALIAS;
        return get_text(p, &find->alias) && find->alias[0] != '\0';
    }
    return true;
}

static EVP_MD *digest_of(const struct prov_find *find,
                         const struct prov_ctx *ctx)
{
    const char *name = find->digest;

    if (name == NULL || name[0] == '\0' || strcmp(name, "UNDEF") == 0) {
        name = DEFAULT_DIGEST;
    }
    return EVP_MD_fetch(ctx->libctx, name, NULL);
}

/* libcrypto has seen to it that the hash has the digest's length. */
static int check_fingerprint(const struct prov_find *find,
                             const struct prov_ctx *ctx)
{
    EVP_MD *md;

    ERR_set_mark();
    md = digest_of(find, ctx);
    ERR_pop_to_mark();
    EVP_MD_free(md);
    return md != NULL
           || prov_raise(ctx, HSM_E_URI,
                         "the digest \"%s\" of a key's fingerprint is not"
                         " known here; say another", find->digest);
}

int prov_find_set(struct prov_find *find, const struct prov_ctx *ctx,
                  const OSSL_PARAM params[])
{
    bool good;

    ERR_set_mark();
    good = read_search(find, params);
    ERR_pop_to_mark();
    if (!good) {
        return prov_raise(ctx, HSM_E_URI, "there is nothing in a store's"
                          " search to look for; give a name in DER, a number,"
                          " a hash or a label");
    }
    return find->kind != PROV_FIND_FINGERPRINT || check_fingerprint(find, ctx);
}

bool prov_find_by(const struct prov_find *find, struct hsm_by *out)
{
    struct hsm_bytes none = { NULL, 0 };

    *out = (struct hsm_by){ none, none, none };
    switch (find->kind) {
    case PROV_FIND_SUBJECT:
        out->subject = hsm_buf_bytes(&find->name);
        return true;
    case PROV_FIND_ISSUER:
        out->issuer = hsm_buf_bytes(&find->name);
        return true;
    case PROV_FIND_ALIAS:
        out->label = hsm_bytes_of(find->alias, strlen(find->alias));
        return true;
    default:
        return false;
    }
}

bool prov_find_is_by_name(const struct prov_find *find)
{
    return find->kind == PROV_FIND_SUBJECT || find->kind == PROV_FIND_ISSUER;
}

static bool is_name(const struct prov_find *find, struct hsm_bytes der)
{
    const unsigned char *p = der.p;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.len);
    bool same = name != NULL && X509_NAME_cmp(name, find->parsed) == 0;

    X509_NAME_free(name);
    return same;
}

/* DER INTEGER of the certificate, magnitude of the search. */
static bool is_serial(const struct prov_find *find, struct hsm_bytes der)
{
    struct hsm_bytes content;

    return hsm_der_only(der, HSM_DER_INTEGER, &content)
           && hsm_bytes_equal(hsm_bytes_strip(content),
                              hsm_bytes_strip(hsm_buf_bytes(&find->serial)));
}

static bool cert_fits(const struct prov_find *find, struct hsm_bytes der)
{
    struct hsm_cert_view v;

    if (!hsm_ok(hsm_cert_read(der, &v))) {
        hsm_detail_clear();
        return false;
    }
    return find->kind == PROV_FIND_SUBJECT
        ? is_name(find, v.subject)
        : is_name(find, v.issuer) && is_serial(find, v.serial);
}

static bool hash_fits(const struct prov_find *find, const EVP_MD *md,
                      struct hsm_bytes data)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    return data.len > 0 && EVP_Digest(data.p, data.len, hash, &n, md, NULL)
           && hsm_bytes_equal(hsm_bytes_of(hash, n),
                              hsm_buf_bytes(&find->fingerprint));
}

/* Of the SubjectPublicKeyInfo, or of the key's bits in it, as in key
 * identifiers. */
static bool key_fits(const struct prov_find *find, const EVP_MD *md,
                     struct hsm_bytes spki)
{
    struct hsm_bytes in, algorithm, bits;

    if (hash_fits(find, md, spki)) {
        return true;
    }
    return hsm_der_only(spki, HSM_DER_SEQUENCE, &in)
           && hsm_der_get(&in, HSM_DER_SEQUENCE, &algorithm)
           && hsm_der_get_bits(&in, &bits) && hash_fits(find, md, bits);
}

/* Of a certificate also the hash of all of it. */
static bool fingerprint_fits(const struct prov_find *find, const EVP_MD *md,
                             const struct hsm_item *item)
{
    struct hsm_bytes der = hsm_buf_bytes(&item->cert);
    struct hsm_cert_view v;

    if (item->kind == HSM_WANT_PRIVATE) {
        return key_fits(find, md,
                        hsm_buf_bytes(&hsm_key_public(item->key)->spki));
    }
    if (item->kind == HSM_WANT_PUBLIC) {
        return key_fits(find, md, hsm_buf_bytes(&item->pub.spki));
    }
    return hash_fits(find, md, der)
           || (hsm_ok(hsm_cert_read(der, &v)) && key_fits(find, md, v.spki));
}

bool prov_find_fits(const struct prov_find *find, const struct prov_ctx *ctx,
                    const struct hsm_item *item)
{
    EVP_MD *md;
    bool fits;

    if (prov_find_is_by_name(find)) {
        return item->kind == HSM_WANT_CERT
               && cert_fits(find, hsm_buf_bytes(&item->cert));
    }
    if (find->kind != PROV_FIND_FINGERPRINT) {
        return true;            /* the token has compared */
    }
    ERR_set_mark();
    md = digest_of(find, ctx);
    fits = md != NULL && fingerprint_fits(find, md, item);
    EVP_MD_free(md);
    ERR_pop_to_mark();
    return fits;
}
