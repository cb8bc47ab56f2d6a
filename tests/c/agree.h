/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_AGREE_H
#define TESTS_AGREE_H

#include <stdbool.h>

#include <openssl/evp.h>

/* What two keys have in common, by way of own. len: the room, then of what. */
static inline bool agree(OSSL_LIB_CTX *where, EVP_PKEY *own, EVP_PKEY *peer,
                         unsigned char *secret, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(where, own, NULL);
    bool good = ctx != NULL && EVP_PKEY_derive_init(ctx) == 1
                && EVP_PKEY_derive_set_peer(ctx, peer) == 1
                && EVP_PKEY_derive(ctx, secret, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return good;
}

#endif
