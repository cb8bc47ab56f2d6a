/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: try_key CONF NAME…        keys by URI or file name, under one
 *        try_key -c NAME CONF…     configuration; one under each of them
 *        try_key -p CONF FILE…     public keys, from PEM
 *
 * Tries to load a private key from each, all in one process, and prints a line
 * for each, with TABs between: how many keys came out, how many entries of ours
 * and of others are on the error queue, "clean" or, where an entry of ours has
 * control characters, "dirty", and the words of our last entry.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#define HANGS_AFTER 60

static int load(OSSL_LIB_CTX *ctx, const char *name)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(name, ctx, NULL, NULL, NULL, NULL, NULL, NULL);
    int n = 0;

    if (store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY)) {
        while (!OSSL_STORE_eof(store)) {
            OSSL_STORE_INFO *info = OSSL_STORE_load(store);

            if (info == NULL) {
                break;
            }
            n++;
            OSSL_STORE_INFO_free(info);
        }
    }
    OSSL_STORE_close(store);
    return n;
}

static int load_public(OSSL_LIB_CTX *ctx, const char *name)
{
    BIO *in = BIO_new_file(name, "r");
    EVP_PKEY *key = in != NULL
        ? PEM_read_bio_PUBKEY_ex(in, NULL, NULL, NULL, ctx, NULL) : NULL;
    int n = key != NULL ? 1 : 0;

    EVP_PKEY_free(key);
    BIO_free(in);
    return n;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Empties the queue. */
static void tell(int loaded)
{
    const char *data = NULL;
    char words[2048] = "";
    int ours = 0, others = 0, flags = 0;
    bool clean = true;
    unsigned long e;

    while ((e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        const char *lib = ERR_lib_error_string(e);
        const char *reason = ERR_reason_error_string(e);

        if (lib == NULL || strcmp(lib, "pkcs11") != 0) {
            others++;
            continue;
        }
        ours++;
        clean = clean && !has_control(data);
        snprintf(words, sizeof(words), "%s: %s", reason != NULL ? reason : "?",
                 data);
    }
    printf("%d\t%d\t%d\t%s\t%s\n", loaded, ours, others,
           clean ? "clean" : "dirty", clean ? words : "");
    fflush(stdout);
}

static OSSL_LIB_CTX *configured(const char *conf)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();

    if (ctx == NULL || !OSSL_LIB_CTX_load_config(ctx, conf)) {
        fprintf(stderr, "try_key: %s cannot be used\n", conf);
        ERR_print_errors_fp(stderr);
        OSSL_LIB_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool try_one(const char *conf, const char *name)
{
    OSSL_LIB_CTX *ctx = configured(conf);

    if (ctx != NULL) {
        alarm(HANGS_AFTER);
        tell(load(ctx, name));
        OSSL_LIB_CTX_free(ctx);
    }
    return ctx != NULL;
}

static bool try_all(const char *conf, char *const *name,
                    int (*how)(OSSL_LIB_CTX *ctx, const char *name))
{
    OSSL_LIB_CTX *ctx = configured(conf);

    for (; ctx != NULL && *name != NULL; name++) {
        alarm(HANGS_AFTER);
        tell(how(ctx, *name));
    }
    OSSL_LIB_CTX_free(ctx);
    return ctx != NULL;
}

int main(int argc, char **argv)
{
    bool good = true;

    if (argc < 3) {
        fprintf(stderr, "usage: try_key CONF NAME…, try_key -c NAME CONF…, "
                "try_key -p CONF FILE…\n");
        return 2;
    }
    if (strcmp(argv[1], "-p") == 0) {
        return try_all(argv[2], argv + 3, load_public) ? 0 : 1;
    }
    if (strcmp(argv[1], "-c") != 0) {
        return try_all(argv[1], argv + 2, load) ? 0 : 1;
    }
    for (int i = 3; i < argc; i++) {
        good = try_one(argv[i], argv[2]) && good;
    }
    return good ? 0 : 1;
}
