/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 [Aumasson, Bernstein: SipHash, a fast short-input PRF, 2012],
 * with its 128-bit variant: a keyed hash for short texts that the core can
 * have without a cryptographic library.
 */
#ifndef HSM_SESSION_SIPHASH_H
#define HSM_SESSION_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/buf.h"

#define HSM_SIPHASH_KEY_BYTES 16
#define HSM_SIPHASH_BYTES 16

/* The 128-bit variant. out may be key. */
void hsm_siphash(const uint8_t key[HSM_SIPHASH_KEY_BYTES],
                 struct hsm_bytes in, uint8_t out[HSM_SIPHASH_BYTES]);
/* The original 64-bit one, of the same rounds: what its inventors' test
 * values check. */
uint64_t hsm_siphash_64(const uint8_t key[HSM_SIPHASH_KEY_BYTES],
                        struct hsm_bytes in);

#endif
