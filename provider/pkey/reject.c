/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/reject.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/proverr.h>

#include "provider/pkey/ct.h"

#define BLOCK_BYTES 32          /* of HMAC with SHA-256 */
/* So many guesses at a length: that none fits is as good as impossible. */
#define GUESSES 128

/* Once: to look the digest up takes much longer than to use it. */
static int set_digest(EVP_MAC_CTX *mac)
{
    static char sha256[] = "SHA2-256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end()
    };

    return EVP_MAC_CTX_set_params(mac, params);
}

/* out = HMAC(key, a ‖ b) */
static int hmac(EVP_MAC_CTX *mac, const unsigned char key[BLOCK_BYTES],
                struct hsm_bytes a, struct hsm_bytes b,
                unsigned char out[BLOCK_BYTES])
{
    size_t n = 0;

    return EVP_MAC_init(mac, key, BLOCK_BYTES, NULL)
           && EVP_MAC_update(mac, a.p, a.len)
           && EVP_MAC_update(mac, b.p, b.len)
           && EVP_MAC_final(mac, out, &n, BLOCK_BYTES) && n == BLOCK_BYTES;
}

/* out = HMAC(key, label ‖ 0) ‖ HMAC(key, label ‖ 1) ‖ …, to len octets */
static int expand(EVP_MAC_CTX *mac, const unsigned char key[BLOCK_BYTES],
                  const char *label, unsigned char *out, size_t len)
{
    unsigned char block[BLOCK_BYTES];
    size_t done = 0, n = 0;
    int ok = 1;

    for (; ok && done < len; done += n) {
        const unsigned char i[2] = { (unsigned char)(done / BLOCK_BYTES >> 8),
                                     (unsigned char)(done / BLOCK_BYTES) };

        n = len - done < BLOCK_BYTES ? len - done : BLOCK_BYTES;
        ok = hmac(mac, key, hsm_bytes_of(label, strlen(label)),
                  hsm_bytes_of(i, sizeof(i)), block);
        if (ok) {
            memcpy(out + done, block, n);
        }
    }
    hsm_wipe(block, sizeof(block));
    return ok;
}

/* The last guess that is not above max, as evenly spread as can be. */
static size_t length_of(const unsigned char guess[2 * GUESSES], size_t max)
{
    size_t mask = max, len = 0, i = 0;

    for (i = 1; i < 16; i <<= 1) {
        mask |= mask >> i;
    }
    for (i = 0; i < GUESSES; i++) {
        size_t one = ((size_t)guess[2 * i] << 8 | guess[2 * i + 1]) & mask;

        len = prov_ct_pick(~prov_ct_less(max, one), one, len);
    }
    return len;
}

static int make(const struct prov_ctx *ctx, EVP_MAC_CTX *mac,
                struct hsm_bytes modulus, struct hsm_bytes ciphertext,
                struct hsm_buf *out, size_t *len)
{
    unsigned char key[BLOCK_BYTES], guess[2 * GUESSES];
    int ok = set_digest(mac) && hmac(mac, ctx->secret, modulus, ciphertext, key)
             && expand(mac, key, "length", guess, sizeof(guess))
             && expand(mac, key, "message", out->p, out->len);

    if (ok) {
        *len = length_of(guess, out->len);
    }
    hsm_wipe(key, sizeof(key));
    hsm_wipe(guess, sizeof(guess));
    return ok;
}

int prov_reject_message(const struct prov_ctx *ctx, struct hsm_bytes modulus,
                        struct hsm_bytes ciphertext, struct hsm_buf *out,
                        size_t *len)
{
    EVP_MAC *hmac_sha256 = EVP_MAC_fetch(ctx->libctx, "HMAC", NULL);
    EVP_MAC_CTX *mac =
        hmac_sha256 != NULL ? EVP_MAC_CTX_new(hmac_sha256) : NULL;
    int ok = mac != NULL && make(ctx, mac, modulus, ciphertext, out, len);

    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(hmac_sha256);
    return ok;
}
