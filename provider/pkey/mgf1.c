/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/mgf1.h"

void prov_hasher_clear(struct prov_hasher *h)
{
    EVP_MD_CTX_free(h->ctx);
    EVP_MD_free(h->md);
}

int prov_hasher_init(struct prov_hasher *h, OSSL_LIB_CTX *libctx,
                     const char *name)
{
    int n = 0;

    h->md = EVP_MD_fetch(libctx, name, NULL);
    h->ctx = EVP_MD_CTX_new();
    if (h->md == NULL || h->ctx == NULL) {
        return 0;
    }
    n = EVP_MD_get_size(h->md);
    h->bytes = n > 0 ? (size_t)n : 0;
    return n > 0;
}

int prov_hasher_run(const struct prov_hasher *h, struct hsm_bytes a,
                    struct hsm_bytes b, struct hsm_bytes c,
                    unsigned char *out)
{
    return EVP_DigestInit_ex2(h->ctx, h->md, NULL) > 0
           && EVP_DigestUpdate(h->ctx, a.p, a.len) > 0
           && EVP_DigestUpdate(h->ctx, b.p, b.len) > 0
           && EVP_DigestUpdate(h->ctx, c.p, c.len) > 0
           && EVP_DigestFinal_ex(h->ctx, out, NULL) > 0;
}

int prov_mgf1_xor(const struct prov_hasher *h, struct hsm_bytes seed,
                  unsigned char *db, size_t db_len)
{
    static const struct hsm_bytes none = { NULL, 0 };
    unsigned char block[EVP_MAX_MD_SIZE];
    size_t done = 0, i = 0;
    unsigned int counter = 0;
    int ok = 1;

    for (; ok && done < db_len; counter++) {
        const unsigned char c[4] = {
            (unsigned char)(counter >> 24), (unsigned char)(counter >> 16),
            (unsigned char)(counter >> 8), (unsigned char)counter
        };

        ok = prov_hasher_run(h, seed, hsm_bytes_of(c, sizeof(c)), none, block);
        for (i = 0; ok && i < h->bytes && done < db_len; i++, done++) {
            db[done] ^= block[i];
        }
    }
    hsm_wipe(block, sizeof(block));
    return ok;
}
