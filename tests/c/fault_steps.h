/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of an application that uses keys on a token, and goes on when one
 * fails. Results are compared with what software says.
 */
#ifndef TESTS_FAULT_STEPS_H
#define TESTS_FAULT_STEPS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>

enum { KEY_RSA,
       KEY_EC,
       KEY_ALWAYS, /* wants its PIN at each use; in the one that has it */
       KEY_MADE,
       N_KEYS };

/* What is known before, by software alone. Freed by nobody. */
struct fault_known {
    OSSL_LIB_CTX *judge; /* has the default provider only */
    EVP_PKEY *public_key[N_KEYS];
    EVP_PKEY *peer; /* for key agreement with KEY_EC */
    unsigned char secret[64]; /* of both */
    size_t secret_len;
    unsigned char message[32];
    unsigned char oaep[512], pkcs1[512]; /* it, encrypted for KEY_RSA */
    size_t oaep_len, pkcs1_len;
    const char *key_uri[N_KEYS];
    const char *token_uri;
};

/* A run through the steps. */
struct fault_run {
    struct fault_known *known;
    OSSL_LIB_CTX *ctx; /* has us */
    EVP_PKEY *key[N_KEYS];
    bool may_miss; /* objects, when the store is walked */
    bool may_differ; /* keys: the module lies about them */
    unsigned int n_made, n_attempts; /* key pairs */
    unsigned int n_deleted, n_deletions; /* objects, and attempts at that */
    char made_uri[300]; /* of the key pair made last */
    const char *wrong; /* a step's result is; NULL: it is not */
};

/* False is a failure; a wrong result is none, and sets wrong. */
struct fault_step {
    const char *name;
    bool (*run)(struct fault_run *r);
    int needs; /* this key; N_KEYS: none */
    bool makes; /* a key pair */
    bool deletes; /* an object: that can be done once */
};

struct fault_scenario {
    const char *name;
    const struct fault_step *steps;
    size_t n;
};

extern const struct fault_scenario fault_use; /* of keys, and a walk */
extern const struct fault_scenario fault_keep; /* what else a store can do */

/* Everything of known that follows from public keys. False: it cannot be. */
bool fault_know(struct fault_known *known);
void fault_free(struct fault_run *r);

/* ---- what steps are made of ---- */

bool fault_load(struct fault_run *r, int which);
bool fault_sign(struct fault_run *r, int which);
/* Of this type, with a parameter that is an int (number > 0) or a text. */
bool fault_generate(struct fault_run *r, const char *type, const char *name,
                    int number, char *text);
/* The same public key. */
bool fault_is_same(EVP_PKEY *own, EVP_PKEY *public);

#endif
