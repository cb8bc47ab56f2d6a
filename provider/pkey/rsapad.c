/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/rsapad.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/proverr.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "provider/err.h"
#include "provider/pkey/mgf1.h"

/* What is encoded leaves room for the least of a padding. */
static int fits(size_t len, size_t em_len, size_t least)
{
    if (em_len < least || len > em_len - least) {
        return prov_raise_bare(ERR_LIB_RSA, RSA_R_DATA_TOO_LARGE_FOR_KEY_SIZE);
    }
    return 1;
}

int prov_rsapad_pkcs1(struct hsm_bytes t, unsigned char *em, size_t em_len)
{
    size_t fill = 0;

    if (!fits(t.len, em_len, PROV_RSAPAD_PKCS1_LEAST)) {
        return 0;
    }
    fill = em_len - t.len - 3;
    em[0] = 0x00;
    em[1] = 0x01;
    memset(em + 2, 0xff, fill);
    em[2 + fill] = 0x00;
    if (t.len > 0) {
        memcpy(em + 3 + fill, t.p, t.len);
    }
    return 1;
}

/* em: exactly the octets of an encoding of em_bits bits. */
static int pss_encode(OSSL_LIB_CTX *libctx, const struct prov_hasher *md,
                      const struct prov_hasher *mgf1, size_t salt_bytes,
                      struct hsm_bytes hash, struct hsm_buf *em)
{
    static const unsigned char zeros[8] = { 0 };
    size_t db_len = em->len - md->bytes - 1;
    unsigned char *salt = em->p + db_len - salt_bytes;
    unsigned char *h = em->p + db_len;

    memset(em->p, 0, db_len - salt_bytes);
    salt[-1] = 0x01;
    if (salt_bytes > 0
        && RAND_bytes_ex(libctx, salt, salt_bytes, 0) <= 0) {
        return 0;
    }
    em->p[em->len - 1] = 0xbc;
    return prov_hasher_run(md, hsm_bytes_of(zeros, sizeof(zeros)), hash,
                           hsm_bytes_of(salt, salt_bytes), h)
           && prov_mgf1_xor(mgf1, hsm_bytes_of(h, md->bytes), em->p, db_len);
}

int prov_rsapad_pss(OSSL_LIB_CTX *libctx, const struct prov_rsapad_pss *pss,
                    struct hsm_bytes hash, unsigned char *em)
{
    hsm_auto(prov_hasher) md = PROV_HASHER_INIT;
    hsm_auto(prov_hasher) mgf1 = PROV_HASHER_INIT;
    unsigned int em_bits = pss->key_bits - 1;
    struct hsm_buf part = { em, (em_bits + 7) / 8, 0 };

    if (!prov_hasher_init(&md, libctx, pss->md)
        || !prov_hasher_init(&mgf1, libctx, pss->mgf1)) {
        return 0;
    }
    if (hash.len != md.bytes) {
        return prov_raise_prov(PROV_R_INVALID_DIGEST_LENGTH,
                               "is %zu, should be %zu", hash.len, md.bytes);
    }
    if (!fits(pss->salt_bytes, part.len, md.bytes + 2)) {
        return 0;
    }
    if (em_bits % 8 == 0) {
        *part.p++ = 0;      /* the encoding is an octet shorter than the key */
    }
    if (!pss_encode(libctx, &md, &mgf1, pss->salt_bytes, hash, &part)) {
        return 0;
    }
    part.p[0] &= (unsigned char)(0xff >> (8 * part.len - em_bits));
    return 1;
}

int prov_rsapad_x931(struct hsm_bytes t, unsigned char *em, size_t em_len)
{
    size_t fill = 0;

    if (!fits(t.len, em_len, PROV_RSAPAD_X931_LEAST)) {
        return 0;
    }
    fill = em_len - t.len - PROV_RSAPAD_X931_LEAST;
    if (fill == 0) {
        *em++ = 0x6a;
    } else {
        *em++ = 0x6b;
        memset(em, 0xbb, fill - 1);
        em += fill - 1;
        *em++ = 0xba;
    }
    if (t.len > 0) {
        memcpy(em, t.p, t.len);
    }
    em[t.len] = PROV_RSAPAD_X931_END;
    return 1;
}

/* A signature is public: nothing here has to take a constant time. */
void prov_rsapad_lesser(struct hsm_bytes n, unsigned char *sig)
{
    unsigned int borrow = 0;
    bool above = false;
    size_t i;

    /* The first octet in which n - sig and sig differ decides; n - sig comes
     * from its last octet on, so every one may decide anew. */
    for (i = n.len; i-- > 0;) {
        unsigned int d = 0x100u + n.p[i] - sig[i] - borrow;
        unsigned char octet = (unsigned char)d;

        borrow = d < 0x100u ? 1 : 0;
        above = octet != sig[i] ? sig[i] > octet : above;
    }
    borrow = 0;
    for (i = n.len; above && i-- > 0;) {
        unsigned int d = 0x100u + n.p[i] - sig[i] - borrow;

        borrow = d < 0x100u ? 1 : 0;
        sig[i] = (unsigned char)d;
    }
}
