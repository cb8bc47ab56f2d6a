/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: make_key TYPE CANCEL NAME=VALUE…
 *
 * Generates a key as an application does, with a callback that prints what it
 * is told, "told POTENTIAL ITERATION", and cancels at the CANCEL-th call (0:
 * never). VALUE is a text; NAME:VALUE an int. Signs with the key and prints
 * "made"; status 1 and the error queue where there is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define PARAMS_MAX 32

static int cancel_at, n_told;
static int number[PARAMS_MAX];

static int tell(EVP_PKEY_CTX *ctx)
{
    printf("told %d %d\n", EVP_PKEY_CTX_get_keygen_info(ctx, 0),
           EVP_PKEY_CTX_get_keygen_info(ctx, 1));
    fflush(stdout);
    return ++n_told != cancel_at;
}

static int set_params(EVP_PKEY_CTX *ctx, char **argv)
{
    OSSL_PARAM params[PARAMS_MAX];
    int n = 0;

    for (; *argv != NULL && n + 1 < PARAMS_MAX; argv++, n++) {
        char *at = *argv + strcspn(*argv, "=:");
        int is_text = *at == '=';

        if (*at == '\0') {
            return 0;
        }
        *at++ = '\0';
        number[n] = (int)strtol(at, NULL, 10);
        params[n] = is_text
            ? OSSL_PARAM_construct_utf8_string(*argv, at, 0)
            : OSSL_PARAM_construct_int(*argv, &number[n]);
    }
    params[n] = OSSL_PARAM_construct_end();
    return EVP_PKEY_CTX_set_params(ctx, params) > 0;
}

static int signs(EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    int good = ctx != NULL
        && EVP_DigestSignInit_ex(ctx, NULL, "SHA2-256", NULL, NULL, key,
                                 NULL) > 0
        && EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"x", 1) > 0;

    EVP_MD_CTX_free(ctx);
    return good;
}

int main(int argc, char **argv)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx;
    int good;

    if (argc < 3) {
        fprintf(stderr, "usage: make_key TYPE CANCEL NAME=VALUE...\n");
        return 2;
    }
    cancel_at = (int)strtol(argv[2], NULL, 10);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, argv[1], "?provider=pkcs11");
    good = ctx != NULL && EVP_PKEY_keygen_init(ctx) > 0
        && set_params(ctx, argv + 3);
    if (good) {
        EVP_PKEY_CTX_set_cb(ctx, tell);
        good = EVP_PKEY_generate(ctx, &key) > 0 && signs(key);
    }
    ERR_print_errors_fp(stderr);
    printf("%s\n", good ? "made" : "not made");
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return good ? 0 : 1;
}
