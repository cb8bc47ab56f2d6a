/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference: a file's name for a key on a token. The format is in use
 * elsewhere, and is kept byte for byte:
 *
 *     SEQUENCE {
 *         VisibleString "PKCS#11 Provider URI v1.0",
 *         UTF8String    uri
 *     }
 *
 * alone as DER, or in PEM under a label of its own. The URI may carry the
 * public key; then reading it needs no token.
 *
 * Readers take exactly one element or one PEM block, and leave what follows.
 * What is not a reference at all is HSM_E_END, quickly and without words; what
 * claims to be one and is broken is HSM_E_BAD_DATA or HSM_E_URI.
 */
#ifndef PROV_STORE_REFERENCE_H
#define PROV_STORE_REFERENCE_H

#include <openssl/bio.h>

#include "src/base/buf.h"
#include "src/session/uri.h"

#define PROV_REFERENCE_LABEL "PKCS#11 PROVIDER URI"
/* The name of the structure, among decoders. */
#define PROV_REFERENCE_STRUCTURE "pkcs11-uri"

/* Appends the DER of the next PEM block. A foreign block is passed over. */
HSM_CHECKED hsm_rc prov_reference_read_pem(BIO *in, struct hsm_buf *der);
/* Appends the next DER element. Of a foreign one only the first bytes are
 * read. */
HSM_CHECKED hsm_rc prov_reference_read_der(BIO *in, struct hsm_buf *der);

/* The URI of a whole reference; the caller owns it. */
HSM_CHECKED hsm_rc prov_reference_decode(struct hsm_bytes der,
                                         struct hsm_uri **out);
/* Appends the reference of that URI. */
HSM_CHECKED hsm_rc prov_reference_encode(const char *uri, struct hsm_buf *der);

#endif
