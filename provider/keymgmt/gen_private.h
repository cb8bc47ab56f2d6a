/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a generation: for gen.c and gen_*.c alone.
 */
#ifndef PROV_KEYMGMT_GEN_PRIVATE_H
#define PROV_KEYMGMT_GEN_PRIVATE_H

#include <limits.h>

#include "provider/keymgmt/curve.h"
#include "provider/keymgmt/gen.h"
#include "provider/keymgmt/gen_table.h"
#include "src/crypto/keygen.h"

#define PROV_GEN_NO_SALT_LEN INT_MIN

/* What was asked for, as far as a token can be told or has to refuse. */
struct prov_gen_in {
    char *own[PROV_GEN_N];              /* as the rows say */
    char *group, *encoding;             /* EC */
    bool from_ikm;                      /* it is to come of known octets */
    struct prov_curve_manner manner;
    unsigned int bits, primes;          /* RSA */
    BIGNUM *e;
    char *digest, *mgf1_digest;         /* restrictions of an RSA-PSS key */
    int salt_len;
};

/*
 * inner does the work for a software key. For a token it only judges: it gets
 * every parameter, so that a wrong one is refused as it is everywhere.
 */
struct prov_gen {
    struct prov_ctx *ctx;
    const struct prov_keytype *type;
    int selection;
    EVP_PKEY_CTX *inner;
    struct prov_gen_in in;
    OSSL_PARAM *settable;       /* inner's list and ours; NULL: not asked */
    OSSL_CALLBACK *progress;    /* or NULL */
    void *progress_arg;
};

/* What the core is told, and the bytes that it points to. */
struct prov_gen_spec {
    struct hsm_keygen core;
    struct hsm_buf exponent, id;
};

#define PROV_GEN_SPEC_INIT { .exponent = HSM_BUF_INIT, .id = HSM_BUF_INIT }

/*
 * Judges all that was asked for, but the URI, without touching a token: what is
 * wrong by itself, then what contradicts something else. 0 and raised, or 1.
 */
int prov_gen_read(const struct prov_gen *gen, const struct hsm_uri *uri,
                  struct prov_gen_spec *out);
void prov_gen_spec_clear(struct prov_gen_spec *spec);

/* gen_pss.c: 1 where there is nothing to restrict, or a key of so many bits can
 * be restricted as asked for; 0 and raised otherwise. */
int prov_gen_check_pss(const struct prov_gen *gen, unsigned int bits);
/* The public numbers again, as a key of the type asked for, restricted. NULL:
 * libcrypto has raised why. */
EVP_PKEY *prov_gen_restrict(const struct prov_gen *gen,
                            const EVP_PKEY *numbers);

/* False: the application does not want to go on. */
bool prov_gen_tell(struct prov_gen *gen, int potential, int iteration);

/* The key pair on the one token that the parameters name. NULL and raised. */
struct prov_key *prov_gen_on_token(struct prov_gen *gen);

#endif
