/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: rsa_both_ssl URI FILE
 *
 * RSA by a token's key (URI) and by the default provider with the same key
 * (FILE): every padding with every hash, both ways. What one makes the other
 * takes; what one refuses the other refuses. Prints TAP.
 */
#include <openssl/rsa.h>

#include "tests/c/both_ways.h"

static struct place token, software, public;

static const char *text(const struct manner *m)
{
    static char line[128];

    snprintf(line, sizeof(line), "%s %s%s%s%s%s", m->pad, m->md,
             m->salt != NULL ? ", salt " : "", m->salt != NULL ? m->salt : "",
             m->mgf1 != NULL ? ", MGF1 " : "", m->mgf1 != NULL ? m->mgf1 : "");
    return line;
}

/* ---- signatures ---- */

/* Each changes a good signature. */
static void flip_first(struct octets *sig)
{
    sig->p[1] ^= 1;
}

static void flip_last(struct octets *sig)
{
    sig->p[sig->len - 1] ^= 1;
}

static void cut(struct octets *sig)
{
    sig->len--;
}

static void lengthen(struct octets *sig)
{
    sig->p[sig->len++] = 0;
}

static void cut_all(struct octets *sig)
{
    sig->len = 0;
}

static void lead(struct octets *sig)
{
    memmove(sig->p + 1, sig->p, sig->len++);
    sig->p[0] = 0;
}

static void fill(struct octets *sig)
{
    memset(sig->p, 0xff, sig->len);             /* not below the modulus */
}

static void clear(struct octets *sig)
{
    memset(sig->p, 0, sig->len);
}

static const struct {
    const char *what;
    void (*change)(struct octets *sig);
} changes[] = {
    { "a bit of the first octets", flip_first },
    { "a bit of the last octet", flip_last },
    { "an octet less", cut },
    { "an octet more", lengthen },
    { "a zero before it", lead },
    { "no octet", cut_all },
    { "above the modulus", fill },
    { "zero", clear },
};

static void refuse_changed(const struct manner *m, const struct octets *sig)
{
    size_t i;

    for (i = 0; i < N_OF(changes); i++) {
        struct octets bad = *sig;

        changes[i].change(&bad);
        judged(&token, &public, m, &bad, false, changes[i].what);
    }
}

/* With another padding, another hash, another salt it is none. */
static void refuse_manner(const struct manner *m, const struct octets *sig)
{
    struct manner pad = *m, md = *m, salt = *m;

    pad.pad = strcmp(m->pad, "pss") == 0 ? "pkcs1" : "pss";
    judged(&token, &public, &pad, sig, false, "another padding");
    md.md = strcmp(m->md, "SHA2-256") == 0 ? "SHA2-384" : "SHA2-256";
    judged(&token, &public, &md, sig, false, "another hash");
    if (strcmp(m->pad, "pss") == 0) {
        salt.salt = "7";
        judged(&token, &public, &salt, sig, false, "another salt");
        salt = *m;
        salt.mgf1 = "SHA2-224";
        judged(&token, &public, &salt, sig, false, "another MGF1");
    }
}

static bool is_random(const struct manner *m)
{
    return strcmp(m->pad, "pss") == 0
           && (m->salt == NULL || strcmp(m->salt, "0") != 0);
}

/* Signed by both, verified by both. False: neither signs. */
static bool sign_both(const struct manner *m, struct octets *ours)
{
    struct octets theirs = { .len = 0 };
    bool a, b;

    b = sign_message(&software, m, &theirs);
    ERR_clear_error();
    a = sign_message(&token, m, ours);
    ok(a == b, "%s: %s", text(m), b ? "signed" : "refused");
    if (!a || !b) {
        ok(a || ERR_peek_error() != 0, "%s: with an error", text(m));
        ERR_clear_error();
        return false;
    }
    ok(is_quiet(), "%s: quietly", text(m));
    judged(&token, &public, m, ours, true, "the token's signature");
    judged(&token, &public, m, &theirs, true, "the software's signature");
    ok(!verifies(&token, m, ours, another)
       && !verifies(&public, m, &theirs, another), "nothing else is");
    if (!is_random(m)) {
        is_bytes(ours->p, ours->len, theirs.p, theirs.len, "%s: the same",
                 text(m));
    }
    return true;
}

static void hashes(void)
{
    static const char *const pads[] = { "pkcs1", "pss", "x931" };
    struct octets sig = { .len = 0 };
    size_t i;

    for (i = 0; i < N_OF(pads) * N_OF(hash_rows); i++) {
        struct manner m = { hash_rows[i / N_OF(pads)], pads[i % N_OF(pads)],
                            NULL, NULL };

        if (sign_both(&m, &sig) && strcmp(m.md, "SHA2-256") == 0) {
            refuse_changed(&m, &sig);
            refuse_manner(&m, &sig);
        }
    }
}

static void salts(void)
{
    static const char *const lengths[] = {
        "digest", "max", "auto", "auto-digestmax", "0", "1", "20", "32",
        "222", "223", "-5", "x",
    };
    static const char *const masks[] = {
        NULL, "SHA1", "SHA2-512", "SHA3-256", "MD5",
    };
    struct octets sig = { .len = 0 };
    size_t i;

    for (i = 0; i < N_OF(lengths) * N_OF(masks); i++) {
        struct manner m = { "SHA2-256", "pss", lengths[i / N_OF(masks)],
                            masks[i % N_OF(masks)] };

        if (sign_both(&m, &sig) && strcmp(m.salt, "digest") == 0) {
            refuse_manner(&m, &sig);
        }
    }
}

/* A digest, or any octets, are signed as they come. */
static bool sign_octets(const struct place *at, const struct manner *m,
                        const struct octets *in, struct octets *sig)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(at->libctx, at->key,
                                                   at->query);
    OSSL_PARAM params[5];
    size_t n = manner_params(m, params);
    bool good;

    if (m->md != NULL) {
        params[n++] = OSSL_PARAM_construct_utf8_string(
            OSSL_SIGNATURE_PARAM_DIGEST, (char *)(uintptr_t)m->md, 0);
        params[n] = OSSL_PARAM_construct_end();
    }
    sig->len = sizeof(sig->p);
    good = ctx != NULL && EVP_PKEY_sign_init_ex(ctx, params) > 0
           && EVP_PKEY_sign(ctx, sig->p, &sig->len, in->p, in->len) > 0;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* The length that is signed, from the end of the modulus where it is < 0. */
static const struct {
    struct manner m;
    int len;
    unsigned char first;
} octet_rows[] = {
    { { NULL, "pkcs1", NULL, NULL }, 0, 0 },
    { { NULL, "pkcs1", NULL, NULL }, 1, 0 },
    { { NULL, "pkcs1", NULL, NULL }, 100, 7 },
    { { NULL, "pkcs1", NULL, NULL }, -11, 7 },
    { { NULL, "pkcs1", NULL, NULL }, -10, 7 },
    { { "SHA2-256", "pkcs1", NULL, NULL }, 32, 7 },
    { { "SHA2-256", "pkcs1", NULL, NULL }, 31, 7 },
    { { "SHA2-256", "pkcs1", NULL, NULL }, 33, 7 },
    { { "MD5-SHA1", "pkcs1", NULL, NULL }, 36, 7 },
    { { "SHA3-512", "pkcs1", NULL, NULL }, 64, 7 },
    { { "SHA2-256", "pss", "0", NULL }, 32, 7 },
    { { "SHA2-256", "pss", "0", NULL }, 20, 7 },
    { { NULL, "none", NULL, NULL }, -0x400, 0 },
    { { NULL, "none", NULL, NULL }, -0x400, 1 },
    { { NULL, "none", NULL, NULL }, -0x400, 0xff },
    { { NULL, "none", NULL, NULL }, -1, 1 },
    { { NULL, "none", NULL, NULL }, 0, 0 },
    { { "SHA2-256", "none", NULL, NULL }, 32, 7 },
    { { NULL, "x931", NULL, NULL }, 33, 7 },
    { { NULL, "x931", NULL, NULL }, 0, 0 },
    { { NULL, "x931", NULL, NULL }, -2, 7 },
    { { NULL, "x931", NULL, NULL }, -1, 7 },
    { { "SHA2-256", "x931", NULL, NULL }, 32, 7 },
    { { "SHA2-256", "x931", NULL, NULL }, 31, 7 },
    { { "SHA2-224", "x931", NULL, NULL }, 28, 7 },
    { { NULL, "oaep", NULL, NULL }, 32, 7 },
};

static void octets(void)
{
    size_t bytes = (size_t)EVP_PKEY_get_size(software.key);
    size_t i;

    for (i = 0; i < N_OF(octet_rows); i++) {
        struct octets in, a = { .len = 0 }, b = { .len = 0 };
        int len = octet_rows[i].len;
        bool want, got;

        in.len = len >= 0 ? (size_t)len
                 : bytes - (len == -0x400 ? 0 : (size_t)-len);
        memset(in.p, 0x5a, in.len);
        in.p[0] = octet_rows[i].first;
        want = sign_octets(&software, &octet_rows[i].m, &in, &b);
        ERR_clear_error();
        got = sign_octets(&token, &octet_rows[i].m, &in, &a);
        ok(got == want, "%s, %zu octets from %02x: %s", octet_rows[i].m.pad,
           in.len, in.p[0], want ? "signed" : "refused");
        if (got && want) {
            is_bytes(a.p, a.len, b.p, b.len, "and the same");
        } else {
            ok(ERR_peek_error() != 0, "and says why");
        }
        ERR_clear_error();
    }
}

/* ---- encryption ---- */

struct sealing {
    const char *pad;
    const char *md, *mgf1;      /* of OAEP */
    const char *label;
};

static size_t sealing_params(const struct sealing *s, OSSL_PARAM *p)
{
    const struct {
        const char *name, *value;
    } rows[] = {
        { OSSL_ASYM_CIPHER_PARAM_PAD_MODE, s->pad },
        { OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, s->md },
        { OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, s->mgf1 },
    };
    size_t i, n = 0;

    for (i = 0; i < N_OF(rows); i++) {
        if (rows[i].value != NULL) {
            p[n++] = OSSL_PARAM_construct_utf8_string(
                rows[i].name, (char *)(uintptr_t)rows[i].value, 0);
        }
    }
    if (s->label != NULL) {
        p[n++] = OSSL_PARAM_construct_octet_string(
            OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, (char *)(uintptr_t)s->label,
            strlen(s->label));
    }
    p[n] = OSSL_PARAM_construct_end();
    return n;
}

typedef int init_fn(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]);
typedef int act_fn(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *out_len,
                   const unsigned char *in, size_t in_len);

static bool crypt(const struct place *at, const struct sealing *s,
                  bool encrypts, const struct octets *in, struct octets *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(at->libctx, at->key,
                                                   at->query);
    init_fn *init = encrypts ? EVP_PKEY_encrypt_init_ex
                             : EVP_PKEY_decrypt_init_ex;
    act_fn *act = encrypts ? EVP_PKEY_encrypt : EVP_PKEY_decrypt;
    OSSL_PARAM params[5];
    bool good;

    (void)sealing_params(s, params);
    out->len = sizeof(out->p);
    good = ctx != NULL && init(ctx, params) > 0
           && act(ctx, out->p, &out->len, in->p, in->len) > 0;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* What is sealed by one is opened by the other. False: neither seals. */
static bool seal_both(const struct sealing *s, const struct octets *in,
                      struct octets *sealed)
{
    struct octets by_us = { .len = 0 }, out = { .len = 0 };
    const char *md = s->md != NULL ? s->md : "";
    const char *mgf1 = s->mgf1 != NULL ? s->mgf1 : "";
    bool theirs = crypt(&public, s, true, in, sealed);
    bool ours = crypt(&token, s, true, in, &by_us);

    ok(ours == theirs, "%s %s %s: %s", s->pad, md, mgf1,
       theirs ? "encrypted" : "refused");
    ERR_clear_error();
    if (!ours || !theirs) {
        return false;
    }
    ok(crypt(&token, s, false, sealed, &out) && is_quiet()
       && out.len == in->len && memcmp(out.p, in->p, in->len) == 0,
       "default encrypts, the token decrypts");
    ok(crypt(&software, s, false, &by_us, &out) && out.len == in->len
       && memcmp(out.p, in->p, in->len) == 0,
       "ours encrypts, default decrypts");
    ERR_clear_error();
    return true;
}

/* Both refuse, or, where a padding is implicitly rejected, give octets that
 * are not what was said. */
static void opened(const struct sealing *s, const struct octets *sealed,
                   const struct octets *in, const char *what)
{
    struct octets a = { .len = 0 }, b = { .len = 0 };
    bool ours = crypt(&token, s, false, sealed, &a);
    bool theirs = crypt(&software, s, false, sealed, &b);

    ok(!(ours && a.len == in->len && memcmp(a.p, in->p, in->len) == 0)
       && !(theirs && b.len == in->len && memcmp(b.p, in->p, in->len) == 0),
       "%s %s: %s does not decrypt", s->pad, s->md != NULL ? s->md : "",
       what);
    if (strcmp(s->pad, "oaep") == 0) {
        ok(!ours && !theirs, "both refuse it");
    }
    ERR_clear_error();
}

static void refuse_sealed(const struct sealing *s, const struct octets *sealed,
                          const struct octets *in)
{
    struct octets bad = *sealed;

    flip_last(&bad);
    opened(s, &bad, in, "a changed bit");
    bad = *sealed;
    cut(&bad);
    opened(s, &bad, in, "an octet less");
    bad = *sealed;
    lengthen(&bad);
    opened(s, &bad, in, "an octet more");
    bad = *sealed;
    fill(&bad);
    opened(s, &bad, in, "a number above the modulus");
    bad.len = 0;
    opened(s, &bad, in, "nothing");
}

static void oaep(const struct octets *in)
{
    static const char *const others[] = {
        NULL, "SHA1", "SHA2-256", "SHA2-512", "SHA3-384",
    };
    struct octets sealed = { .len = 0 };
    size_t i;

    for (i = 0; i < N_OF(hash_rows) * N_OF(others); i++) {
        struct sealing s = { "oaep", hash_rows[i / N_OF(others)],
                             others[i % N_OF(others)],
                             i % 3 == 0 ? "a label" : NULL };
        struct sealing other = s;

        if (!seal_both(&s, in, &sealed) || i % 7 != 0) {
            continue;
        }
        refuse_sealed(&s, &sealed, in);
        other.label = "another";
        opened(&other, &sealed, in, "another label");
        other = s;
        other.md = strcmp(s.md, "SHA1") == 0 ? "SHA2-256" : "SHA1";
        opened(&other, &sealed, in, "another hash");
    }
}

static void encryption(void)
{
    static const struct sealing plain = { "oaep", NULL, NULL, NULL };
    static const struct sealing pkcs1 = { "pkcs1", NULL, NULL, NULL };
    static const struct sealing none = { "none", NULL, NULL, NULL };
    struct octets in = { .len = 30 }, sealed = { .len = 0 };

    memset(in.p, 0x77, sizeof(in.p));
    oaep(&in);
    ok(seal_both(&plain, &in, &sealed), "OAEP without a hash");
    ok(seal_both(&pkcs1, &in, &sealed), "PKCS#1");
    refuse_sealed(&pkcs1, &sealed, &in);
    in.len = 0;
    ok(seal_both(&pkcs1, &in, &sealed), "PKCS#1, no octet");
    in.len = (size_t)EVP_PKEY_get_size(software.key) - 10;
    ok(!seal_both(&pkcs1, &in, &sealed), "PKCS#1, an octet too many");
    in.len += 10;
    in.p[0] = 0;
    ok(seal_both(&none, &in, &sealed), "raw");
    refuse_sealed(&none, &sealed, &in);
    in.p[0] = 0xff;
    in.p[1] = 0xff;
    ok(!seal_both(&none, &in, &sealed), "raw, above the modulus");
}

int main(int argc, char **argv)
{
    struct twins t;

    if (argc != 3) {
        return 2;
    }
    if (!twins_load(&t, argv[1], argv[2])) {
        return 1;
    }
    token = (struct place){ NULL, t.token, NULL };
    software = (struct place){ t.libctx, t.software, NULL };
    public = (struct place){ NULL, t.public, DEFAULT };
    is_str(owner_of(t.token), "pkcs11", "the key is the token's");
    hashes();
    salts();
    octets();
    encryption();
    twins_free(&t);
    return tap_done();
}
