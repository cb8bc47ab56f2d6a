/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Implicit rejection: what PKCS#1 v1.5 decryption gives where the padding is
 * wrong, so that nobody learns that it is [OpenSSL 3.2 and later].
 *
 * A message of any length that looks random, and is the same each time for
 * one ciphertext. OpenSSL makes it of the private exponent, which a token does
 * not give; here it is made of a random secret of the provider context, which
 * forked processes share. Two processes that have nothing in common give
 * different ones: who can ask both learns what was to be hidden.
 */
#ifndef PROV_REJECT_H
#define PROV_REJECT_H

#include "provider/ctx.h"
#include "src/base/buf.h"

/*
 * The message for this ciphertext under this modulus: fills out->len octets
 * (less than 64 Ki) of out, of which the first *len are to be used. The time
 * does not depend on what comes out. Raises, and is 0, without HMAC.
 */
int prov_reject_message(const struct prov_ctx *ctx, struct hsm_bytes modulus,
                        struct hsm_bytes ciphertext, struct hsm_buf *out,
                        size_t *len);

#endif
