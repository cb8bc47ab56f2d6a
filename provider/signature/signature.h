/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context of a signature, one for all algorithms.
 *
 * Initialising it makes no call to a token: libssl does so for every candidate
 * of every handshake. Messages are hashed here, so copying a context copies a
 * hash, and a token sees nothing but the digest. Only where a token, or the
 * key's CKA_ALLOWED_MECHANISMS, has nothing but mechanisms that hash is the
 * message kept as well, from its first octet on. One context serves one thread
 * at a time, as libcrypto's contexts do.
 */
#ifndef PROV_SIGNATURE_H
#define PROV_SIGNATURE_H

#include "provider/keymgmt/key.h"
#include "provider/signature/shadow.h"

enum prov_sig_family { PROV_SIG_RSA, PROV_SIG_ECDSA };

/* A row per signature algorithm. */
struct prov_sig_row {
    const char *name;           /* libcrypto's, "RSA" */
    enum prov_sig_family family;
    CK_MECHANISM_TYPE serves_all;           /* signs digests of any kind */
    const char *digest;         /* of a composite, its only one; else NULL */
};

/* What a token will be given: known when the message begins. */
enum prov_sig_gives {
    PROV_GIVES_UNDECIDED,
    PROV_GIVES_DIGEST,
    PROV_GIVES_MESSAGE          /* its mechanisms hash by themselves */
};

/* What a composite was initialised for. */
enum prov_sig_about {
    PROV_ABOUT_DIGEST,          /* made elsewhere; all that is no composite */
    PROV_ABOUT_SIGNING,         /* a message */
    PROV_ABOUT_VERIFYING
};

struct prov_sig {
    struct prov_ctx *prov;
    const struct prov_sig_row *row;
    struct prov_key *key;       /* NULL until the first init */
    struct prov_shadow shadow;
    EVP_MD_CTX *hash;           /* what a token will sign; NULL otherwise */
    enum prov_sig_gives gives;
    struct hsm_buf message;     /* all of it so far, where a token hashes */
    enum prov_sig_about about;
    struct hsm_buf signature;   /* of a composite: what is to be verified */
    bool on_token;              /* this operation is a token's signature */
    bool begun;                 /* part of a message has come */
    bool finished;              /* the hash has been taken out */
};

/* What sig_table.c stamps per row, because libcrypto gives no context. */
void *prov_sig_new(void *provctx, const struct prov_sig_row *row);
const OSSL_PARAM *prov_sig_gettable(void *vctx, void *provctx,
                                    const char *name);
const OSSL_PARAM *prov_sig_settable(void *vctx, void *provctx,
                                    const char *name);

extern OSSL_FUNC_signature_freectx_fn prov_sig_free;
extern OSSL_FUNC_signature_dupctx_fn prov_sig_dup;
extern OSSL_FUNC_signature_sign_init_fn prov_sig_sign_init;
extern OSSL_FUNC_signature_sign_fn prov_sig_sign;
extern OSSL_FUNC_signature_verify_init_fn prov_sig_verify_init;
extern OSSL_FUNC_signature_verify_fn prov_sig_verify;
extern OSSL_FUNC_signature_verify_recover_init_fn prov_sig_recover_init;
extern OSSL_FUNC_signature_verify_recover_fn prov_sig_recover;
extern OSSL_FUNC_signature_digest_sign_init_fn prov_sig_digest_sign_init;
extern OSSL_FUNC_signature_digest_sign_update_fn prov_sig_digest_sign_update;
extern OSSL_FUNC_signature_digest_sign_final_fn prov_sig_digest_sign_final;
extern OSSL_FUNC_signature_digest_sign_fn prov_sig_digest_sign;
extern OSSL_FUNC_signature_digest_verify_init_fn prov_sig_digest_verify_init;
extern OSSL_FUNC_signature_digest_verify_update_fn
    prov_sig_digest_verify_update;
extern OSSL_FUNC_signature_digest_verify_final_fn
    prov_sig_digest_verify_final;
extern OSSL_FUNC_signature_digest_verify_fn prov_sig_digest_verify;
extern OSSL_FUNC_signature_get_ctx_params_fn prov_sig_get_ctx_params;
extern OSSL_FUNC_signature_set_ctx_params_fn prov_sig_set_ctx_params;
extern OSSL_FUNC_signature_get_ctx_md_params_fn prov_sig_get_md_params;
extern OSSL_FUNC_signature_gettable_ctx_md_params_fn
    prov_sig_gettable_md_params;
extern OSSL_FUNC_signature_set_ctx_md_params_fn prov_sig_set_md_params;
extern OSSL_FUNC_signature_settable_ctx_md_params_fn
    prov_sig_settable_md_params;

#endif
