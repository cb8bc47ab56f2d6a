/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What use_key.c does with keys: loading them, signing, key agreement. What was
 * signed is verified in the default provider of a library context that has no
 * configuration, with the public key as exported when loaded.
 */
#ifndef TESTS_USE_KEY_H
#define TESTS_USE_KEY_H

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/ui.h>

#include "tests/c/agree.h"
#include "tests/c/stored_key.h"
#include "tests/c/use_key_prompt.h"
#include "tests/c/use_key_worker.h"

static OSSL_LIB_CTX *judge;
static pthread_once_t judge_once = PTHREAD_ONCE_INIT;

/* ---- keys ---- */

static void make_judge(void)
{
    judge = OSSL_LIB_CTX_new();
    if (judge == NULL || OSSL_PROVIDER_load(judge, "default") == NULL) {
        fail("no context to verify in", "");
        abort();
    }
}

static EVP_PKEY *public_of(const EVP_PKEY *own)
{
    EVP_PKEY *public = NULL;
    EVP_PKEY_CTX *ctx = NULL;
    OSSL_PARAM *params = NULL;

    pthread_once(&judge_once, make_judge);
    ctx = EVP_PKEY_CTX_new_from_name(judge, EVP_PKEY_get0_type_name(own),
                                     NULL);
    if (ctx == NULL || EVP_PKEY_todata(own, EVP_PKEY_PUBLIC_KEY, &params) != 1
        || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &public, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        public = NULL;
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return public;
}

/* What the file has goes nowhere but there. */
static int answer_from(const char *path, char *buf, int size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, (size_t)size) : -1;

    close(fd);
    return (int)n;
}

static int answer(char *buf, int size, int rwflag, void *arg)
{
    const struct worker *w = arg;
    size_t len = w->answer != NULL ? strlen(w->answer) : 0;

    (void)rwflag;
    printf("asked\n");
    fflush(stdout);
    while (w->hold != NULL && access(w->hold, F_OK) == 0) {
        usleep(2000);
    }
    wait_while_stalled();
    if (w->answers != NULL) {
        return answer_from(w->answers, buf, size);
    }
    if (len == 0 || len > (size_t)size) {
        return -1;
    }
    memcpy(buf, w->answer, len);
    return (int)len;
}

static EVP_PKEY *load_from_file(struct worker *w, const char *path)
{
    EVP_PKEY *found = NULL;
    FILE *in = fopen(path, "re");

    if (in == NULL) {
        return NULL;
    }
    found = PEM_read_PrivateKey_ex(in, NULL, answer, w, w->ctx, NULL);
    fclose(in);
    return found;
}

static EVP_PKEY *load(struct worker *w, const char *name)
{
    UI_METHOD *ui = NULL;
    EVP_PKEY *found = NULL;

    if (strstr(name, "pkcs11:") != name) {
        return load_from_file(w, name);
    }
    ui = UI_UTIL_wrap_read_pem_callback(answer, 0);
    found = stored_key(w->ctx, name, ui, w);
    UI_destroy_method(ui);
    return found;
}

/* The index-th of the names that blanks separate, counted round. */
static char *pick(const char *names, unsigned int index)
{
    size_t n = 0;
    char *copy = strdup(names), *rest = copy, *word = NULL, *picked = NULL;
    char *all[KEYS_MAX];

    if (copy == NULL) {
        return NULL;
    }
    while (n < KEYS_MAX && (word = strsep(&rest, " ")) != NULL) {
        all[n++] = word;
    }
    picked = strdup(all[index % n]);
    free(copy);
    return picked;
}

static bool step_load(struct worker *w, const struct step *s)
{
    struct key key = { NULL, NULL };
    char *name = pick(s->arg, w->index);

    if (name == NULL || w->n_keys == KEYS_MAX) {
        free(name);
        return fail("too many keys:", s->arg);
    }
    key.own = load(w, name);
    key.public = key.own != NULL ? public_of(key.own) : NULL;
    if (key.public == NULL) {
        fail("no key:", name);
        EVP_PKEY_free(key.own);
        free(name);
        return false;
    }
    free(name);
    w->key[w->n_keys++] = key;
    return true;
}

/* Opens a store, and closes it with what it has first. */
static bool step_peek(struct worker *w, const struct step *s)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(s->arg, w->ctx, NULL, NULL, NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = store != NULL ? OSSL_STORE_load(store) : NULL;
    bool good = info != NULL;

    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    return good || fail("nothing in", s->arg);
}

/* Cannot be loaded, and why not is told. */
static bool step_refused(struct worker *w, const struct step *s)
{
    char *name = pick(s->arg, w->index);
    EVP_PKEY *key = name != NULL ? load(w, name) : NULL;

    free(name);
    ERR_print_errors_fp(stderr);
    EVP_PKEY_free(key);
    return key == NULL || fail("is not refused:", s->arg);
}

static bool step_answer(struct worker *w, const struct step *s)
{
    w->answer = s->arg;
    w->answers = NULL;
    return true;
}

static bool step_answers(struct worker *w, const struct step *s)
{
    w->answers = s->arg;
    return true;
}

static bool step_hold(struct worker *w, const struct step *s)
{
    w->hold = s->arg;
    return true;
}

static bool step_free(struct worker *w, const struct step *s)
{
    (void)s;
    while (w->n_keys > 0) {
        w->n_keys--;
        EVP_PKEY_free(w->key[w->n_keys].own);
        EVP_PKEY_free(w->key[w->n_keys].public);
    }
    return true;
}

/* The key loaded last is the one in the file, which holds a public key. */
static bool step_is(struct worker *w, const struct step *s)
{
    BIO *in = BIO_new_file(s->arg, "r");
    EVP_PKEY *want = NULL;
    bool same = false;

    pthread_once(&judge_once, make_judge);
    want = in != NULL ? PEM_read_bio_PUBKEY_ex(in, NULL, NULL, NULL, judge,
                                               NULL) : NULL;
    BIO_free(in);
    if (want != NULL && w->n_keys > 0) {
        same = EVP_PKEY_eq(w->key[w->n_keys - 1].public, want) == 1;
    }
    EVP_PKEY_free(want);
    return same || fail("not the key of", s->arg);
}

/* An EC key in the token, as the URI says; it is not kept here. */
static bool step_generate(struct worker *w, const struct step *s)
{
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(w->ctx, "EC", "provider=pkcs11");
    char *uri = strdup(s->arg);
    char group[] = "P-256", group_name[] = "group", uri_name[] = "pkcs11_uri";
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(group_name, group, 0),
        OSSL_PARAM_construct_utf8_string(uri_name, uri, 0),
        OSSL_PARAM_construct_end(),
    };

    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1
        && EVP_PKEY_CTX_set_params(ctx, params) == 1) {
        (void)EVP_PKEY_generate(ctx, &key);
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    free(uri);
    return key != NULL || fail("nothing is generated as", s->arg);
}

/* ---- operations ---- */

static EVP_MD_CTX *begin(struct worker *w, EVP_PKEY *key, bool sign,
                         OSSL_LIB_CTX *where)
{
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good = 0;

    if (ctx != NULL) {
        good = sign ? EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", where, NULL,
                                            key, NULL)
                    : EVP_DigestVerifyInit_ex(ctx, &pctx, "SHA256", where,
                                              NULL, key, NULL);
    }
    if (good == 1 && w->pss && EVP_PKEY_is_a(key, "RSA")) {
        good = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
    }
    if (good != 1) {
        EVP_MD_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool verify(struct worker *w, EVP_PKEY *key, OSSL_LIB_CTX *where,
                   const unsigned char *sig, size_t len)
{
    static const unsigned char data[] = "what is signed";
    EVP_MD_CTX *ctx = begin(w, key, false, where);
    bool good = ctx != NULL
                && EVP_DigestVerify(ctx, sig, len, data, sizeof(data)) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

static bool sign(struct worker *w, const struct key *key, unsigned char *sig,
                 size_t *len)
{
    static const unsigned char data[] = "what is signed";
    EVP_MD_CTX *ctx = begin(w, key->own, true, w->ctx);
    bool good = false;

    *len = SIGNATURE_MAX;
    good = ctx != NULL
           && EVP_DigestSign(ctx, sig, len, data, sizeof(data)) == 1;
    EVP_MD_CTX_free(ctx);
    return good && (w->unverified
                    || verify(w, key->public, judge, sig, *len));
}

/* Signs what the context has seen, and that is this text. */
static bool ends_as(struct worker *w, const struct key *key, EVP_MD_CTX *ctx,
                    const char *text)
{
    unsigned char sig[SIGNATURE_MAX];
    size_t len = sizeof(sig);
    EVP_MD_CTX *judged = NULL;
    bool good = EVP_DigestSignFinal(ctx, sig, &len) == 1;

    judged = begin(w, key->public, false, judge);
    good = good && judged != NULL
           && EVP_DigestVerify(judged, sig, len, (const unsigned char *)text,
                               strlen(text)) == 1;
    EVP_MD_CTX_free(judged);
    return good || fail("not signed:", text);
}

/* A copy in the middle of a message goes its own way. */
static bool sign_copies(struct worker *w, const struct key *key)
{
    EVP_MD_CTX *ctx = begin(w, key->own, true, w->ctx);
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    EVP_MD_CTX *empty = begin(w, key->own, true, w->ctx);
    bool good = ctx != NULL && copy != NULL && empty != NULL
        && EVP_DigestSignUpdate(ctx, "begun", 5) == 1
        && EVP_MD_CTX_copy_ex(copy, ctx) == 1
        && EVP_DigestSignUpdate(copy, ", copied", 8) == 1
        && EVP_DigestSignUpdate(ctx, ", went", 6) == 1
        && EVP_DigestSignUpdate(ctx, " on", 3) == 1
        && ends_as(w, key, ctx, "begun, went on")
        && ends_as(w, key, copy, "begun, copied")
        && ends_as(w, key, empty, "");

    EVP_MD_CTX_free(empty);
    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(ctx);
    return good;
}

static bool step_copies(struct worker *w, const struct step *s)
{
    for (size_t k = 0; k < w->n_keys; k++) {
        if (!sign_copies(w, &w->key[k])) {
            return fail("copies failed", s->arg);
        }
    }
    return w->n_keys > 0 || fail("no key to sign with", "");
}

/* For signatures of a digest, one after the other. */
static EVP_PKEY_CTX *prepare(struct worker *w, const struct key *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(w->ctx, key->own, NULL);

    if (ctx == NULL || EVP_PKEY_sign_init(ctx) != 1
        || EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool sign_prepared(EVP_PKEY_CTX *ctx)
{
    static const unsigned char digest[32] = "of what is signed";
    unsigned char sig[SIGNATURE_MAX];
    size_t len = sizeof(sig);

    return EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)) == 1;
}

static bool step_sign(struct worker *w, const struct step *s)
{
    unsigned char sig[SIGNATURE_MAX];
    size_t len = 0;

    for (unsigned int i = 0; i < number(s->arg, 0, 1); i++) {
        for (size_t k = 0; k < w->n_keys; k++) {
            if (!sign(w, &w->key[k], sig, &len)) {
                return fail("signature failed:", s->arg);
            }
        }
    }
    return w->n_keys > 0 || fail("no key to sign with", "");
}

/* Signs once, verifies so often, with the key as it was loaded. */
static bool step_verify(struct worker *w, const struct step *s)
{
    unsigned char sig[SIGNATURE_MAX];
    size_t len = 0;

    if (w->n_keys == 0 || !sign(w, &w->key[0], sig, &len)) {
        return fail("signature failed", "");
    }
    for (unsigned int i = 0; i < number(s->arg, 0, 1); i++) {
        if (!verify(w, w->key[0].own, w->ctx, sig, len)) {
            return fail("verification failed", "");
        }
    }
    sig[len - 1] ^= 1;
    return !verify(w, w->key[0].own, w->ctx, sig, len)
           || fail("a wrong signature is taken", "");
}

/* Key agreement with a key pair of software: both sides get the same. */
static bool step_derive(struct worker *w, const struct step *s)
{
    unsigned char ours[SIGNATURE_MAX], theirs[SIGNATURE_MAX];

    for (unsigned int i = 0; i < number(s->arg, 0, 1); i++) {
        size_t our_len = sizeof(ours), their_len = sizeof(theirs);
        EVP_PKEY_CTX *ctx =
            w->n_keys > 0
            ? EVP_PKEY_CTX_new_from_pkey(judge, w->key[0].public, NULL) : NULL;
        EVP_PKEY *peer = NULL;
        bool good = ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1
                    && EVP_PKEY_generate(ctx, &peer) == 1
                    && agree(w->ctx, w->key[0].own, peer, ours, &our_len)
                    && agree(judge, peer, w->key[0].public, theirs, &their_len)
                    && our_len == their_len
                    && memcmp(ours, theirs, our_len) == 0;

        EVP_PKEY_free(peer);
        EVP_PKEY_CTX_free(ctx);
        if (!good) {
            return fail("derivation failed", "");
        }
    }
    return true;
}

/* Raw octets go to the token as if they were encrypted: what comes out is
 * what the public half makes the same octets of. */
static bool step_decrypt(struct worker *w, const struct step *s)
{
    unsigned char in[SIGNATURE_MAX] = { 0 }, out[SIGNATURE_MAX];
    EVP_PKEY_CTX *ctx = w->n_keys > 0
        ? EVP_PKEY_CTX_new_from_pkey(w->ctx, w->key[0].own, NULL) : NULL;
    EVP_PKEY_CTX *back = w->n_keys > 0
        ? EVP_PKEY_CTX_new_from_pkey(judge, w->key[0].public, NULL) : NULL;
    bool good = ctx != NULL && back != NULL
                && EVP_PKEY_decrypt_init(ctx) == 1
                && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1
                && EVP_PKEY_encrypt_init(back) == 1
                && EVP_PKEY_CTX_set_rsa_padding(back, RSA_NO_PADDING) == 1;

    for (unsigned int i = 0; good && i < number(s->arg, 0, 1); i++) {
        size_t n = sizeof(out);
        size_t m = n;
        size_t len = (size_t)EVP_PKEY_get_size(w->key[0].own);

        memset(in, (int)i + 1, sizeof(in));
        in[0] = 0;
        good = len <= sizeof(in)
               && EVP_PKEY_decrypt(ctx, out, &n, in, len) == 1
               && EVP_PKEY_encrypt(back, out, &m, out, n) == 1
               && m == len && memcmp(out, in, len) == 0;
    }
    EVP_PKEY_CTX_free(back);
    EVP_PKEY_CTX_free(ctx);
    return good || fail("decryption failed", "");
}

/* What the public half encrypts, with OAEP's own defaults. */
static bool step_oaep(struct worker *w, const struct step *s)
{
    EVP_PKEY_CTX *to = w->n_keys > 0
        ? EVP_PKEY_CTX_new_from_pkey(judge, w->key[0].public, NULL) : NULL;
    EVP_PKEY_CTX *from = w->n_keys > 0
        ? EVP_PKEY_CTX_new_from_pkey(w->ctx, w->key[0].own, NULL) : NULL;
    unsigned char in[32], sent[SIGNATURE_MAX], out[SIGNATURE_MAX];
    bool good =
        to != NULL && from != NULL && EVP_PKEY_encrypt_init(to) == 1
        && EVP_PKEY_CTX_set_rsa_padding(to, RSA_PKCS1_OAEP_PADDING) == 1
        && EVP_PKEY_decrypt_init(from) == 1
        && EVP_PKEY_CTX_set_rsa_padding(from, RSA_PKCS1_OAEP_PADDING) == 1;

    for (unsigned int i = 0; good && i < number(s->arg, 0, 1); i++) {
        size_t n = sizeof(sent), m = sizeof(out);

        memset(in, (int)i, sizeof(in));
        good = EVP_PKEY_encrypt(to, sent, &n, in, sizeof(in)) == 1
               && EVP_PKEY_decrypt(from, out, &m, sent, n) == 1
               && m == sizeof(in) && memcmp(out, in, m) == 0;
    }
    EVP_PKEY_CTX_free(to);
    EVP_PKEY_CTX_free(from);
    return good || fail("decryption failed", "");
}

static bool step_unverified(struct worker *w, const struct step *s)
{
    (void)s;
    w->unverified = true;
    return true;
}

static bool step_prepared(struct worker *w, const struct step *s)
{
    (void)s;
    w->prepared = true;
    return true;
}

static bool step_pss(struct worker *w, const struct step *s)
{
    (void)s;
    w->pss = true;
    return true;
}

#endif
