/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: composite_rules_ssl all URI FILE
 *
 * What contexts of composite signature algorithms may be told, and in which
 * order, with a token's key (URI) and with the same key of the default
 * provider (FILE). Prints TAP.
 */
#include "tests/c/composite.h"

#ifdef HAS_COMPOSITES

/* ---- its digest and its padding ---- */

static OSSL_PARAM text(const char *name, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0);
}

/* Its digest and its padding stay; who names them rightly does no harm. */
static void changed(const char *name)
{
    bool is_256 = strcmp(hash_of(name), "SHA2-256") == 0;
    const struct {
        OSSL_PARAM p;
        bool good;
    } rows[] = {
        { text(OSSL_SIGNATURE_PARAM_DIGEST, hash_of(name)), true },
        { text(OSSL_SIGNATURE_PARAM_DIGEST, is_256 ? "SHA512" : "sha256"),
          false },
        { text(OSSL_SIGNATURE_PARAM_DIGEST, "none-such"), false },
        { text(OSSL_SIGNATURE_PARAM_PAD_MODE, "pkcs1"), true },
        { text(OSSL_SIGNATURE_PARAM_PAD_MODE, "pss"), !is_rsa() },
        { text(OSSL_SIGNATURE_PARAM_PROPERTIES, "provider=none"), true },
    };
    size_t i;

    for (i = 0; i < N_OF(rows) * N_WAYS; i++) {
        OSSL_PARAM params[] = { rows[i / N_WAYS].p, OSSL_PARAM_END };
        start_fn *how = sign_starts[i % N_WAYS];
        bool good = rows[i / N_WAYS].good;
        const char *value = params[0].data;
        struct octets sig = { .len = 0 }, hash = { .len = 0 };
        EVP_PKEY_CTX *ctx = NULL;
        int got = start(&token, name, how, params, &ctx);

        ok((got == 1) == good && (good || is_told(got == 1)),
           "%s: %s=%s from the beginning: %s", name, params[0].key, value,
           good ? "well" : "refused");
        EVP_PKEY_CTX_free(ctx);
        ctx = started(&token, name, how);
        got = EVP_PKEY_CTX_set_params(ctx, params);
        ok((got > 0) == good && (good || is_told(got > 0)), "… or later");
        sig.len = sizeof(sig.p);
        ok(digest(name, message, &hash)
           && (i % N_WAYS == WAY_DIGEST
               ? EVP_PKEY_sign(ctx, sig.p, &sig.len, hash.p, hash.len) == 1
               : sign_pieces(ctx, message, &sig))
           && takes(&public, name, WAY_WHOLE, &sig, message),
           "… and signs as before");
        EVP_PKEY_CTX_free(ctx);
    }
}

/* By us, and not by libcrypto before. */
static bool is_told_by_us(bool result)
{
    bool ours = ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_PROV;

    return is_told(result) && ours;
}

/* Nor are they changed by a parameter of another type. */
static void types(const char *name)
{
    int64_t much = INT64_C(1) << 40;
    double real = 1.5;
    const OSSL_PARAM rows[] = {
        OSSL_PARAM_construct_int64(OSSL_SIGNATURE_PARAM_DIGEST, &much),
        OSSL_PARAM_construct_double(OSSL_SIGNATURE_PARAM_SIGNATURE, &real),
        /* RSA's: */
        OSSL_PARAM_construct_int64(OSSL_SIGNATURE_PARAM_PAD_MODE, &much),
        OSSL_PARAM_construct_double(OSSL_SIGNATURE_PARAM_PAD_MODE, &real)
    };
    size_t i;

    for (i = 0; i < (is_rsa() ? N_OF(rows) : 2); i++) {
        OSSL_PARAM params[] = { rows[i], OSSL_PARAM_END };
        EVP_PKEY_CTX *ctx = NULL;

        ok(is_told_by_us(start(&token, name, EVP_PKEY_verify_message_init,
                               params, &ctx) == 1),
           "%s: a %s of no such type, %zu", name, rows[i].key, i);
        EVP_PKEY_CTX_free(ctx);
        ctx = started(&token, name, EVP_PKEY_verify_message_init);
        ok(is_told_by_us(EVP_PKEY_CTX_set_params(ctx, params) > 0),
           "… or later");
        EVP_PKEY_CTX_free(ctx);
    }
}

/* By way of EVP_PKEY_CTX. The default provider's would take it, and go on. */
static void set_md(const char *name)
{
    EVP_MD *own = EVP_MD_fetch(NULL, hash_of(name), DEFAULT);
    EVP_MD *other = EVP_MD_fetch(NULL, "MD5", DEFAULT);
    EVP_PKEY_CTX *ctx = started(&token, name, EVP_PKEY_sign_message_init);

    ok(is_told(EVP_PKEY_CTX_set_signature_md(ctx, other) > 0),
       "%s: another digest is refused", name);
    ok(EVP_PKEY_CTX_set_signature_md(ctx, own) > 0 && is_quiet(),
       "… its own is well");
    EVP_PKEY_CTX_free(ctx);
    EVP_MD_free(other);
    EVP_MD_free(own);
}

/* What follows what. */
static void order(const char *name)
{
    struct octets sig = { .len = sizeof(sig.p) }, none = { .len = 0 };
    EVP_PKEY_CTX *ctx = started(&token, name, EVP_PKEY_sign_init_ex2);

    ok(EVP_PKEY_sign_message_update(ctx, message, 1) <= 0
       && EVP_PKEY_sign_message_final(ctx, sig.p, &sig.len) <= 0,
       "%s: of a digest there are no pieces", name);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    ctx = started(&token, name, EVP_PKEY_sign_message_init);
    ok(EVP_PKEY_CTX_set_signature(ctx, none.p, 0) == 1 && is_quiet(),
       "%s: who signs has no use for a signature", name);
    ok(EVP_PKEY_sign_message_update(ctx, message, 1) == 1
       && is_told(EVP_PKEY_sign(ctx, sig.p, &sig.len, message, 1) > 0),
       "%s: a message begun in pieces goes on so", name);
    ok(EVP_PKEY_sign_message_update(ctx, message + 1, sizeof(message) - 1) == 1
       && EVP_PKEY_sign_message_final(ctx, NULL, &sig.len) == 1
       && EVP_PKEY_sign_message_final(ctx, sig.p, &sig.len) == 1
       && takes(&public, name, WAY_PIECES, &sig, message),
       "… and its size changes nothing");
    ok(is_told(EVP_PKEY_sign_message_update(ctx, message, 1) > 0)
       && is_told(EVP_PKEY_sign_message_final(ctx, sig.p, &sig.len) > 0)
       && is_told(EVP_PKEY_sign(ctx, sig.p, &sig.len, message, 1) > 0),
       "… to its end");
    EVP_PKEY_CTX_free(ctx);
    ctx = started(&token, name, EVP_PKEY_verify_message_init);
    ok(EVP_PKEY_verify_message_update(ctx, message, sizeof(message)) == 1
       && is_told(EVP_PKEY_verify_message_final(ctx) > 0),
       "%s: no signature, no verdict", name);
    ok(is_told(EVP_PKEY_CTX_set_signature(ctx, none.p, 0) > 0),
       "… an empty one is none");
    ok(is_told(EVP_PKEY_verify(ctx, sig.p, sig.len, message, 1) > 0),
       "… what has begun in pieces goes on so");
    ok(EVP_PKEY_CTX_set_signature(ctx, sig.p, sig.len) == 1
       && EVP_PKEY_verify_message_final(ctx) == 1 && is_quiet(),
       "… and with it it is");
    ok(is_told(EVP_PKEY_verify_message_final(ctx) > 0), "… once");
    EVP_PKEY_CTX_free(ctx);
}

/* Copies go on by themselves. */
static void copies(const char *name)
{
    struct octets a = { .len = sizeof(a.p) }, b = { .len = sizeof(b.p) };
    EVP_PKEY_CTX *ctx = started(&token, name, EVP_PKEY_sign_message_init);
    EVP_PKEY_CTX *copy = NULL;
    size_t half = sizeof(message) / 2;

    ok(EVP_PKEY_sign_message_update(ctx, message, half) == 1
       && (copy = EVP_PKEY_CTX_dup(ctx)) != NULL, "%s: a copy", name);
    ok(EVP_PKEY_sign_message_update(ctx, another + half,
                                    sizeof(message) - half) == 1
       && EVP_PKEY_sign_message_final(ctx, a.p, &a.len) == 1
       && takes(&public, name, WAY_WHOLE, &a, another), "… the original");
    EVP_PKEY_CTX_free(ctx);
    ok(EVP_PKEY_sign_message_update(copy, message + half,
                                    sizeof(message) - half) == 1
       && EVP_PKEY_sign_message_final(copy, b.p, &b.len) == 1
       && takes(&public, name, WAY_WHOLE, &b, message), "… and the copy");
    ok(EVP_PKEY_sign_message_init(copy, NULL, NULL) <= 0,
       "… without an algorithm none is begun");
    ERR_clear_error();
    EVP_PKEY_CTX_free(copy);
    copy = NULL;
    ctx = started(&token, name, EVP_PKEY_verify_message_init);
    ok(EVP_PKEY_CTX_set_signature(ctx, b.p, b.len) == 1
       && (copy = EVP_PKEY_CTX_dup(ctx)) != NULL, "… of verifying");
    EVP_PKEY_CTX_free(ctx);
    ok(EVP_PKEY_verify_message_update(copy, message, sizeof(message)) == 1
       && EVP_PKEY_verify_message_final(copy) == 1 && is_quiet(),
       "… with the signature");
    EVP_PKEY_CTX_free(copy);
}

/* ---- parameters ---- */

static bool same_lists(const OSSL_PARAM *a, const OSSL_PARAM *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    for (; a->key != NULL && b->key != NULL; a++, b++) {
        if (strcmp(a->key, b->key) != 0 || a->data_type != b->data_type) {
            return false;
        }
    }
    return a->key == b->key;
}

/* Each value, as octets. */
static void same_values(const char *name, EVP_PKEY_CTX *ours,
                        EVP_PKEY_CTX *other, const OSSL_PARAM *list)
{
    for (; list != NULL && list->key != NULL; list++) {
        unsigned char a[256] = { 0 }, b[256] = { 0 };
        OSSL_PARAM get[] = { *list, OSSL_PARAM_END };
        OSSL_PARAM want[] = { *list, OSSL_PARAM_END };
        size_t size = list->data_type == OSSL_PARAM_UNSIGNED_INTEGER
                      ? sizeof(size_t) : sizeof(a);

        get[0].data = a;
        want[0].data = b;
        get[0].data_size = want[0].data_size = size;
        get[0].return_size = want[0].return_size = 0;
        ok(EVP_PKEY_CTX_get_params(ours, get)
           == EVP_PKEY_CTX_get_params(other, want), "%s: %s", name, list->key);
        is_bytes(a, get[0].return_size, b, want[0].return_size, "… the same");
        ERR_clear_error();
    }
}

static void parameters(const char *name)
{
    start_fn *const starts[] = {
        EVP_PKEY_sign_init_ex2, EVP_PKEY_sign_message_init,
        EVP_PKEY_verify_init_ex2, EVP_PKEY_verify_message_init
    };
    EVP_SIGNATURE *a = EVP_SIGNATURE_fetch(NULL, name, OURS);
    EVP_SIGNATURE *b = EVP_SIGNATURE_fetch(NULL, name, DEFAULT);
    size_t i;

    ok(same_lists(EVP_SIGNATURE_gettable_ctx_params(a),
                  EVP_SIGNATURE_gettable_ctx_params(b))
       && same_lists(EVP_SIGNATURE_settable_ctx_params(a),
                     EVP_SIGNATURE_settable_ctx_params(b)),
       "%s: the algorithm's lists", name);
    EVP_SIGNATURE_free(b);
    EVP_SIGNATURE_free(a);
    for (i = 0; i < N_OF(starts); i++) {
        EVP_PKEY_CTX *ours = started(&token, name, starts[i]);
        EVP_PKEY_CTX *other = started(&theirs, name, starts[i]);
        const OSSL_PARAM *list = EVP_PKEY_CTX_gettable_params(other);

        ok(same_lists(EVP_PKEY_CTX_gettable_params(ours), list)
           && same_lists(EVP_PKEY_CTX_settable_params(ours),
                         EVP_PKEY_CTX_settable_params(other)),
           "%s: the operation's lists, %zu", name, i);
        same_values(name, ours, other, list);
        EVP_PKEY_CTX_free(other);
        EVP_PKEY_CTX_free(ours);
    }
}

/* With deterministic nonces. */
static bool sign_so(const struct place *at, const char *name, enum way way,
                    struct octets *sig)
{
    unsigned int type = 1;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_SIGNATURE_PARAM_NONCE_TYPE, &type),
        OSSL_PARAM_construct_end()
    };
    struct octets hash = { .len = 0 };
    EVP_PKEY_CTX *ctx = NULL;
    bool good;

    sig->len = sizeof(sig->p);
    good = start(at, name, sign_starts[way], params, &ctx) == 1
           && digest(name, message, &hash)
           && (way == WAY_DIGEST
               ? EVP_PKEY_sign(ctx, sig->p, &sig->len, hash.p, hash.len) == 1
               : sign_pieces(ctx, message, sig));
    EVP_PKEY_CTX_free(ctx);
    return good;
}

/* They are not the token's to make. */
static void nonces(const char *name)
{
    struct octets sig = { .len = 0 }, same = sig;
    int way;

    for (way = 0; way < N_WAYS; way++) {
        ok(is_told(sign_so(&token, name, way, &sig)),
           "%s: %s: no nonces of a kind", name, way_names[way]);
        ok(sign_so(&software, name, way, &sig)
           && sign_so(&theirs, name, way, &same), "… in software so");
        is_bytes(sig.p, sig.len, same.p, same.len, "… the same");
    }
}

/* ---- other algorithms, other keys ---- */

static void plain(void)
{
    static start_fn *const starts[] = {
        EVP_PKEY_sign_init_ex2, EVP_PKEY_verify_init_ex2,
        EVP_PKEY_sign_message_init, EVP_PKEY_verify_message_init
    };
    const char *name = is_rsa() ? "RSA" : "ECDSA";
    size_t i;

    for (i = 0; i < N_OF(starts); i++) {
        EVP_PKEY_CTX *ours = NULL, *other = NULL;
        int got = start(&token, name, starts[i], NULL, &ours);
        int want = start(&theirs, name, starts[i], NULL, &other);

        ok(got == want, "plain %s, %zu: %d", name, i, want);
        ERR_clear_error();
        EVP_PKEY_CTX_free(other);
        EVP_PKEY_CTX_free(ours);
    }
}

/* The other type of key; by whom a token's key cannot be used. */
static void refused_keys(const char *name)
{
    const char *wrong = is_rsa() ? "ECDSA-SHA2-256" : "RSA-SHA2-256";
    const struct place foreign = { NULL, token.key, DEFAULT };
    struct calls before;
    size_t i;

    calls_read(&before);
    for (i = 0; i < 2 * N_WAYS; i++) {
        start_fn *how = (i < N_WAYS ? sign_starts
                                    : verify_starts)[i % N_WAYS];
        EVP_PKEY_CTX *ctx = NULL;
        int got = start(&token, wrong, how, NULL, &ctx);
        int want = start(&theirs, wrong, how, NULL, &ctx);

        ok(got == want && is_told(got > 0), "%s: not with such a key: %d",
           wrong, want);
        if (i < N_WAYS) {
            ok(start(&foreign, name, how, NULL, &ctx) <= 0,
               "%s: the default provider gets no key of a token's", name);
        }
        ERR_clear_error();
    }
    ok(calls_after(&before) == 0, "… and no call is made");
}

int main(int argc, char **argv)
{
    struct twins t;
    size_t i;

    if (!composite_load(&t, argc, argv)) {
        return 1;
    }
    for (i = 0; i < names.n; i++) {
        set_md(names.name[i]);
        parameters(names.name[i]);
    }
    for (i = 0; i < names.n; i += 4) {
        changed(names.name[i]);
        types(names.name[i]);
        order(names.name[i]);
        copies(names.name[i]);
    }
    if (!is_rsa()) {
        nonces(names.name[0]);
    }
    plain();
    refused_keys(names.name[0]);
    composite_free(&t);
    return tap_done();
}

#endif
