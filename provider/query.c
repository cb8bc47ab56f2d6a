/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/query.h"

#include "src/base/gate.h"

/* Of an operation the first row whose OpenSSL it is. */
static const struct {
    int operation;
    const OSSL_ALGORITHM *algorithms;
    bool (*core_has)(unsigned int minor, unsigned int major);   /* NULL: any */
} tables[] = {
    { OSSL_OP_KEYMGMT, prov_keymgmt_algorithms, NULL },
    { OSSL_OP_SIGNATURE, prov_signature_composites, prov_core_signs_messages },
    { OSSL_OP_SIGNATURE, prov_signature_algorithms, NULL },
    { OSSL_OP_ASYM_CIPHER, prov_asymcipher_algorithms, NULL },
    { OSSL_OP_KEYEXCH, prov_keyexch_algorithms, NULL },
    { OSSL_OP_KEM, prov_kem_algorithms, prov_core_has_dhkem },
    { OSSL_OP_KEM, prov_kem_without_dhkem, NULL },
    { OSSL_OP_STORE, prov_store_algorithms, NULL },
    { OSSL_OP_DECODER, prov_decoder_algorithms, NULL },
    { OSSL_OP_ENCODER, prov_encoder_algorithms, NULL }
};

static bool is_for(size_t i, const struct prov_ctx *ctx, int operation)
{
    return tables[i].operation == operation
           && (tables[i].core_has == NULL
               || tables[i].core_has(ctx->core_minor, ctx->core_major));
}

/*
 * The answer is the same every time, so libcrypto may keep it: but a module
 * that uses libcrypto itself, and is called by us, must not be led back here.
 * That answer is for this once.
 */
const OSSL_ALGORITHM *prov_query_operation(void *provctx, int operation_id,
                                           int *no_cache)
{
    const struct prov_ctx *ctx = provctx;
    size_t i;

    *no_cache = 0;
    if (hsm_gate_is_inside()) {
        *no_cache = 1;
        return NULL;
    }
    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (is_for(i, ctx, operation_id)) {
            return prov_conf_blocks(&ctx->conf, operation_id)
                ? NULL : tables[i].algorithms;
        }
    }
    return NULL;
}
