/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/offer.h"

#include <stdint.h>
#include <string.h>

#include <openssl/core_object.h>
#include <openssl/params.h>

#include "provider/keymgmt/keymgmt.h"

/* OSSL_PARAM knows no const; libcrypto does not write to what it reads. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

int prov_offer_key(struct prov_key *key, OSSL_CALLBACK *cb, void *cbarg)
{
    int ok, kind = OSSL_OBJECT_PKEY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &kind),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                               unconst(key->type->name),
                               strlen(key->type->name)),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key,
                                sizeof(struct prov_key *)),
        OSSL_PARAM_END
    };

    ok = cb(params, cbarg);
    /* Loading has cleared the pointer when it took the key. */
    prov_key_put(key);
    return ok;
}

int prov_offer_cert(struct hsm_bytes der, OSSL_CALLBACK *cb, void *cbarg)
{
    int kind = OSSL_OBJECT_CERT;
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &kind),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, unconst(der.p),
                                der.len),
        OSSL_PARAM_END
    };

    return cb(params, cbarg);
}

int prov_offer_der(struct hsm_bytes der, const char *structure,
                   const char *key_type, OSSL_CALLBACK *cb, void *cbarg)
{
    int kind = OSSL_OBJECT_PKEY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &kind),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                               unconst(key_type), strlen(key_type)),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                               unconst(structure), strlen(structure)),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, unconst(der.p),
                                der.len),
        OSSL_PARAM_END
    };

    return cb(params, cbarg);
}

int prov_offer_export(void *ctx, const void *reference, size_t size,
                      OSSL_CALLBACK *cb, void *cbarg)
{
    struct prov_key *const *key = reference;

    (void)ctx;
    if (key == NULL || size != sizeof(struct prov_key *) || *key == NULL) {
        return 0;
    }
    return prov_keymgmt_export(*key, OSSL_KEYMGMT_SELECT_ALL, cb, cbarg);
}
