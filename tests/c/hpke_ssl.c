/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: hpke_ssl CURVE URI FILE URI FILE
 *
 * HPKE [RFC 9180] of OpenSSL 3.2 and newer with EC keys of a token, the
 * recipient's and the sender's, against the same keys of the default provider
 * (FILE). Prints TAP, and how often the token agreed on a secret.
 */
#include "tests/c/dhkem.h"

#if __has_include(<openssl/hpke.h>)
#include <openssl/hpke.h>

#define PREFERRED "?provider=pkcs11"
#define N(array) (sizeof(array) / sizeof((array)[0]))

static const unsigned char info[] = "info", aad[] = "aad";
static const unsigned char text[] = "what is sent";
static const unsigned char psk[32] = { 1, 2, 3 };
static char psk_id[] = "psk";

static OSSL_HPKE_SUITE suite = { 0, OSSL_HPKE_KDF_ID_HKDF_SHA256,
                                 OSSL_HPKE_AEAD_ID_AES_GCM_128 };
static unsigned int by_token;   /* agreements */

static const struct curve {
    const char *name;
    uint16_t id;
} curves[] = {
    { "P-256", OSSL_HPKE_KEM_ID_P256 },
    { "P-384", OSSL_HPKE_KEM_ID_P384 },
    { "P-521", OSSL_HPKE_KEM_ID_P521 }
};

struct mode {
    const char *name;
    int mode;
    bool auth, psk;
};

static const struct mode modes[] = {
    { "base", OSSL_HPKE_MODE_BASE, false, false },
    { "psk", OSSL_HPKE_MODE_PSK, false, true },
    { "auth", OSSL_HPKE_MODE_AUTH, true, false },
    { "pskauth", OSSL_HPKE_MODE_PSKAUTH, true, true }
};

/* One end: where it works, and with which keys. */
struct end {
    const char *name;
    OSSL_LIB_CTX *libctx;
    const char *query;
    EVP_PKEY *recipient, *sender;
    bool on_token;
};

static bool encoded(EVP_PKEY *key, struct octets *out)
{
    return EVP_PKEY_get_octet_string_param(key,
               OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out->p, sizeof(out->p),
               &out->len) > 0;
}

static OSSL_HPKE_CTX *context(const struct end *e, const struct mode *m,
                              int role)
{
    OSSL_HPKE_CTX *ctx = OSSL_HPKE_CTX_new(m->mode, suite, role, e->libctx,
                                           e->query);

    if (ctx != NULL && m->psk
        && !OSSL_HPKE_CTX_set1_psk(ctx, psk_id, psk, sizeof(psk))) {
        OSSL_HPKE_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* From one end to the recipient's public key. */
static bool seal_text(const struct end *from, const struct mode *m,
                      const struct octets *to, struct octets *enc,
                      struct octets *sealed)
{
    OSSL_HPKE_CTX *ctx = context(from, m, OSSL_HPKE_ROLE_SENDER);
    bool good = false;

    enc->len = sizeof(enc->p);
    sealed->len = sizeof(sealed->p);
    good = ctx != NULL
           && (!m->auth || OSSL_HPKE_CTX_set1_authpriv(ctx, from->sender) == 1)
           && OSSL_HPKE_encap(ctx, enc->p, &enc->len, to->p, to->len, info,
                              sizeof(info)) == 1
           && OSSL_HPKE_seal(ctx, sealed->p, &sealed->len, aad, sizeof(aad),
                             text, sizeof(text)) == 1;
    OSSL_HPKE_CTX_free(ctx);
    return good;
}

static bool open_text(const struct end *to, const struct mode *m,
                      const struct octets *sender, const struct octets *enc,
                      const struct octets *sealed)
{
    OSSL_HPKE_CTX *ctx = context(to, m, OSSL_HPKE_ROLE_RECEIVER);
    struct octets got = { .len = sizeof(got.p) };
    bool good = false;

    good = ctx != NULL
           && (!m->auth
               || OSSL_HPKE_CTX_set1_authpub(ctx, sender->p, sender->len) == 1)
           && OSSL_HPKE_decap(ctx, enc->p, enc->len, to->recipient, info,
                              sizeof(info)) == 1
           && OSSL_HPKE_open(ctx, got.p, &got.len, aad, sizeof(aad), sealed->p,
                             sealed->len) == 1
           && got.len == sizeof(text) && memcmp(got.p, text, got.len) == 0;
    OSSL_HPKE_CTX_free(ctx);
    return good;
}

static void sends(const struct end *from, const struct end *to,
                  const struct mode *m)
{
    struct octets r, s, enc, sealed;
    char what[80];

    snprintf(what, sizeof(what), "%s, %s to %s", m->name, from->name,
             to->name);
    if (!ok(encoded(to->recipient, &r) && encoded(from->sender, &s)
            && seal_text(from, m, &r, &enc, &sealed) && is_quiet(),
            "%s: sealed", what)) {
        return;
    }
    ok(open_text(to, m, &s, &enc, &sealed) && is_quiet(), "%s: opened", what);
    if (m->auth) {
        ok(!open_text(to, m, &r, &enc, &sealed), "%s: not another's", what);
    }
    enc.p[enc.len - 1] ^= 1;
    ok(!open_text(to, m, &s, &enc, &sealed),
       "%s: not with another encapsulation", what);
    enc.p[enc.len - 1] ^= 1;
    sealed.p[0] ^= 1;
    ok(!open_text(to, m, &s, &enc, &sealed), "%s: nor changed", what);
    ERR_clear_error();
    by_token += from->on_token && m->auth ? 1 : 0;
    by_token += to->on_token ? (m->auth ? 6 : 2) : 0;
}

int main(int argc, char **argv)
{
    struct pair p;
    size_t i = 0;

    if (argc != 6 || !pair_load(&p, argv + 2)) {
        return 1;
    }
    struct end ends[] = {
        { "software", p.r.libctx, NULL, p.r.software, p.s.software, false },
        { "token", NULL, PREFERRED, p.r.token, p.s.token, true },
        { "preferred", NULL, PREFERRED, p.r.software, p.s.software, false }
    };
    for (i = 0; i < N(curves); i++) {
        if (strcmp(argv[1], curves[i].name) == 0) {
            suite.kem_id = curves[i].id;
        }
    }
    for (i = 0; i < N(ends) * N(ends) * N(modes); i++) {
        sends(&ends[i % N(ends)], &ends[i / N(ends) % N(ends)],
              &modes[i / N(ends) / N(ends)]);
    }
    /* The recipient's key is found without a property query, too. */
    ends[1].query = NULL;
    for (i = 0; i < N(modes); i++) {
        sends(&ends[0], &ends[1], &modes[i]);
    }
    pair_free(&p);
    printf("# by the token: %u\n", by_token);
    return tap_done();
}
#else
TAP_SKIPPED("this OpenSSL has no HPKE")
#endif
