/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict DER reader and a small writer (X.690): definite, shortest lengths,
 * tags below 31, no more than what is needed for keys and certificates.
 *
 * The reader never copies: results point into the input. A function that
 * returns false leaves its outputs and the cursor untouched.
 */
#ifndef HSM_BASE_DER_H
#define HSM_BASE_DER_H

#include "src/base/buf.h"

#define HSM_DER_BOOLEAN     0x01u
#define HSM_DER_INTEGER     0x02u
#define HSM_DER_BIT_STRING  0x03u
#define HSM_DER_OCTETS      0x04u
#define HSM_DER_NULL        0x05u
#define HSM_DER_OID         0x06u
#define HSM_DER_UTF8        0x0cu
#define HSM_DER_VISIBLE     0x1au
#define HSM_DER_SEQUENCE    0x30u
#define HSM_DER_SET         0x31u
#define HSM_DER_CONTEXT(n)  (0xa0u | (n))   /* constructed, [n] */

/* The next element of in, with any tag. whole: with header. Advances in, and
 * then sets content, which may be in itself: to go inside. */
bool hsm_der_next(struct hsm_bytes *in, unsigned int *tag,
                  struct hsm_bytes *content, struct hsm_bytes *whole);
/* The next element must have this tag; content is what is inside. */
bool hsm_der_get(struct hsm_bytes *in, unsigned int tag,
                 struct hsm_bytes *content);
/* Like hsm_der_get, but with the header: for keeping an element as it is. */
bool hsm_der_get_whole(struct hsm_bytes *in, unsigned int tag,
                       struct hsm_bytes *whole);
/* True when the next element has this tag. Reads nothing. */
bool hsm_der_peek(struct hsm_bytes in, unsigned int tag);
/* A non-negative, minimal INTEGER, without its sign octet; 0 has length 1. */
bool hsm_der_get_uint(struct hsm_bytes *in, struct hsm_bytes *magnitude);
/* A BIT STRING of whole octets (0 unused bits). */
bool hsm_der_get_bits(struct hsm_bytes *in, struct hsm_bytes *octets);
/* True when in holds exactly one element of this tag and nothing behind it. */
bool hsm_der_only(struct hsm_bytes in, unsigned int tag,
                  struct hsm_bytes *content);

/* Appends one element to out. Fails only for memory. */
HSM_CHECKED hsm_rc hsm_der_put(struct hsm_buf *out, unsigned int tag,
                               struct hsm_bytes content);
/* Appends an INTEGER from a big-endian magnitude (leading zeros allowed). */
HSM_CHECKED hsm_rc hsm_der_put_uint(struct hsm_buf *out,
                                    struct hsm_bytes magnitude);
/* Appends a BIT STRING of whole octets. */
HSM_CHECKED hsm_rc hsm_der_put_bits(struct hsm_buf *out,
                                    struct hsm_bytes octets);

/*
 * ECDSA signatures: Cryptoki's r‖s of 2 * half_bytes octets and the DER form
 * SEQUENCE { r, s } [SEC 1, C.5]. From DER: strict, nothing behind it, and a
 * number that needs more than half_bytes is HSM_E_BAD_DATA.
 */
HSM_CHECKED hsm_rc hsm_der_from_rs(struct hsm_bytes rs, struct hsm_buf *out);
HSM_CHECKED hsm_rc hsm_der_to_rs(struct hsm_bytes der, size_t half_bytes,
                                 unsigned char *rs);

#endif
