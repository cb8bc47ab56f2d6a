/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process or a thread of use_key.c works with, and what a step is.
 */
#ifndef TESTS_USE_KEY_WORKER_H
#define TESTS_USE_KEY_WORKER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#define KEYS_MAX 64
#define PROVIDERS_MAX 8
#define SIGNATURE_MAX 1024

struct key {
    EVP_PKEY *own;
    EVP_PKEY *public;           /* in the judge's context */
};

struct worker {
    OSSL_LIB_CTX *ctx;          /* NULL: the default one */
    OSSL_PROVIDER *provider[PROVIDERS_MAX];
    size_t n_providers;
    struct key key[KEYS_MAX];
    size_t n_keys;
    unsigned int index;         /* among its siblings */
    bool unverified;
    bool prepared;
    bool pss;
    EVP_PKEY_CTX *decrypting;   /* with the first key; NULL: nothing is */
    long resident_kib;
    const char *answer;         /* to who asks for a PIN; NULL: none */
    const char *answers;        /* a file that has it; or NULL */
    const char *hold;           /* but not while there is this file; or NULL */
};

struct step {
    const char *name;
    const char *arg;            /* behind "=", or "" */
    char **body;                /* between the brackets; NULL: none */
    char **body_end;
};

static bool fail(const char *what, const char *arg)
{
    fprintf(stderr, "use_key: %s %s\n", what, arg);
    ERR_print_errors_fp(stderr);
    return false;
}

/* Of "30,4" the first number or the second; a default where it is missing. */
static unsigned int number(const char *arg, int which, unsigned int missing)
{
    const char *at = which == 0 ? arg : strchr(arg, ',');

    if (at == NULL || *at == '\0') {
        return missing;
    }
    return (unsigned int)strtoul(at + (which == 0 ? 0 : 1), NULL, 10);
}

#endif
