/* SPDX-License-Identifier: Apache-2.0 */
/* A key by its URI, as an application gets it. */
#ifndef TESTS_STORED_KEY_H
#define TESTS_STORED_KEY_H

#include <openssl/store.h>

/* The first private key under a URI, or NULL. ui asks for a PIN; NULL: none. */
static inline EVP_PKEY *stored_key(OSSL_LIB_CTX *ctx, const char *uri,
                                   const UI_METHOD *ui, void *ui_data)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, ctx, NULL, ui, ui_data, NULL, NULL, NULL);
    EVP_PKEY *found = NULL;

    if (store == NULL || !OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY)) {
        OSSL_STORE_close(store);
        return NULL;
    }
    while (found == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL) {
            break;
        }
        found = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return found;
}

#endif
