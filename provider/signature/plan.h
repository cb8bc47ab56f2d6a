/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parameters of a signature come to, and the octets that a token is
 * given by them, whichever way it goes.
 */
#ifndef PROV_SIG_PLAN_H
#define PROV_SIG_PLAN_H

#include "provider/signature/sig_table.h"
#include "provider/signature/signature.h"
#include "src/base/buf.h"
#include "src/crypto/hash.h"

/* Longer than any name of a digest that libcrypto takes. */
#define PROV_SIG_NAME_SIZE 64

/* What the shadow's parameters come to. */
struct prov_sig_plan {
    enum prov_sig_scheme scheme;
    int padding;                /* of RSA, libcrypto's number */
    const struct hsm_hash *md;  /* NULL: no digest was set */
    const struct hsm_hash *mgf1;            /* NULL: one without a row */
    char md_name[PROV_SIG_NAME_SIZE];
    char mgf1_name[PROV_SIG_NAME_SIZE];
    size_t md_bytes;            /* 0: input of any length */
    size_t salt_bytes;
    size_t key_bytes;           /* of the modulus, or of the order */
    unsigned int key_bits;
};

/* From the shadow. Raises, and is 0, where no token can go by them. */
int prov_sig_plan_make(const struct prov_sig *s, struct prov_sig_plan *p);
/* Raises, and is 0, where tbs cannot be signed by this plan. */
int prov_sig_plan_check(const struct prov_sig *s,
                        const struct prov_sig_plan *p, struct hsm_bytes tbs);
/* What the token is to sign: in is tbs, and refers to that or to made
 * afterwards. Raises, and is 0, where it is too long for the key. */
int prov_sig_plan_input(const struct prov_sig *s,
                        const struct prov_sig_plan *p,
                        enum prov_sig_input kind, struct hsm_bytes *in,
                        struct hsm_buf *made);
/* sig is one of tbs by the key whose public half is here. Raises nothing. */
bool prov_sig_plan_proves(const struct prov_sig *s,
                          const struct prov_sig_plan *p, struct hsm_bytes tbs,
                          struct hsm_bytes sig);

#endif
