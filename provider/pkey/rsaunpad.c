/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/pkey/rsaunpad.h"

#include "provider/pkey/ct.h"
#include "provider/pkey/mgf1.h"
#include "provider/pkey/rsapad.h"

/*
 * Moves the message, which starts by octets later than it could, to the front
 * of its room: by powers of two, each of them taken or not.
 */
static void move_front(unsigned char *room, size_t max, size_t by)
{
    size_t step = 1, i = 0;

    for (; step <= max; step <<= 1) {
        size_t take = ~prov_ct_equal(by & step, 0);

        for (i = 0; i + step < max; i++) {
            room[i] = prov_ct_octet(take, room[i + step], room[i]);
        }
    }
}

/* u has at and max; the message starts behind octet "end" of em, if good. */
static void found(struct prov_unpadded *u, unsigned char *em, size_t em_len,
                  size_t good, size_t end)
{
    size_t start = prov_ct_pick(good, end + 1, em_len);

    u->good = good;
    u->len = em_len - start;
    move_front(em + u->at, u->max, start - u->at);
}

int prov_rsaunpad_pkcs1(unsigned char *em, size_t em_len,
                        struct prov_unpadded *u)
{
    size_t good = 0, seen = 0, end = 0, i = 0;

    if (em_len < PROV_RSAPAD_PKCS1_LEAST) {
        return 0;
    }
    u->at = PROV_RSAPAD_PKCS1_LEAST;
    u->max = em_len - u->at;
    for (i = 2; i < em_len; i++) {
        size_t zero = prov_ct_equal(em[i], 0);

        end = prov_ct_pick(zero & ~seen, i, end);
        seen |= zero;
    }
    good = prov_ct_equal(em[0], 0x00) & prov_ct_equal(em[1], 0x02) & seen
           & ~prov_ct_less(end, PROV_RSAPAD_PKCS1_LEAST - 1);
    found(u, em, em_len, good, end);
    return 1;
}

/* DB = hash of the label ‖ 00 … 00 ‖ 01 ‖ message */
static size_t scan_db(const unsigned char *db, size_t db_len,
                      struct hsm_bytes label_hash, size_t *end)
{
    size_t good = ~(size_t)0, seen = 0, i = 0;

    for (i = 0; i < label_hash.len; i++) {
        good &= prov_ct_equal(db[i], label_hash.p[i]);
    }
    for (; i < db_len; i++) {
        size_t one = prov_ct_equal(db[i], 0x01);

        *end = prov_ct_pick(one & ~seen, i, *end);
        seen |= one;
        good &= seen | prov_ct_equal(db[i], 0x00);
    }
    return good & seen;
}

int prov_rsaunpad_oaep(OSSL_LIB_CTX *libctx,
                       const struct prov_rsaunpad_oaep *oaep,
                       unsigned char *em, size_t em_len,
                       struct prov_unpadded *u)
{
    static const struct hsm_bytes none = { NULL, 0 };
    hsm_auto(prov_hasher) md = PROV_HASHER_INIT;
    hsm_auto(prov_hasher) mgf1 = PROV_HASHER_INIT;
    unsigned char label[EVP_MAX_MD_SIZE];
    unsigned char *seed = em + 1, *db = NULL;
    size_t good = 0, end = 0, db_len = 0;

    if (!prov_hasher_init(&md, libctx, oaep->md)
        || !prov_hasher_init(&mgf1, libctx, oaep->mgf1)
        || em_len < 2 * md.bytes + 2) {
        return 0;
    }
    db = seed + md.bytes;
    db_len = em_len - 1 - md.bytes;
    if (!prov_hasher_run(&md, oaep->label, none, none, label)
        || !prov_mgf1_xor(&mgf1, hsm_bytes_of(db, db_len), seed, md.bytes)
        || !prov_mgf1_xor(&mgf1, hsm_bytes_of(seed, md.bytes), db, db_len)) {
        return 0;
    }
    u->at = 2 * md.bytes + 2;
    u->max = em_len - u->at;
    good = prov_ct_equal(em[0], 0x00)
           & scan_db(db, db_len, hsm_bytes_of(label, md.bytes), &end);
    found(u, em, em_len, good, (size_t)(db - em) + end);
    return 1;
}

void prov_rsaunpad_copy(const struct prov_unpadded *u, const unsigned char *em,
                        unsigned char *out)
{
    size_t i = 0;

    for (; i < u->max; i++) {
        out[i] = prov_ct_octet(prov_ct_less(i, u->len), em[u->at + i], out[i]);
    }
}

void prov_rsaunpad_or(struct prov_unpadded *u, unsigned char *em,
                      const unsigned char *other, size_t len)
{
    size_t i = 0;

    for (; i < u->max; i++) {
        em[u->at + i] = prov_ct_octet(u->good, em[u->at + i], other[i]);
    }
    u->len = prov_ct_pick(u->good, u->len, len);
    u->good = ~(size_t)0;
}

static size_t is_version(const unsigned char *premaster, unsigned int version)
{
    return ~prov_ct_equal(version, 0)
           & prov_ct_equal(premaster[0], version >> 8 & 0xff)
           & prov_ct_equal(premaster[1], version & 0xff);
}

void prov_rsaunpad_premaster(const struct prov_unpadded *u,
                             const unsigned char *em,
                             const unsigned int version[2],
                             unsigned char out[PROV_PREMASTER_BYTES])
{
    const unsigned char *message = em + u->at;
    size_t good = 0, i = 0;

    if (u->max < PROV_PREMASTER_BYTES) {
        return;
    }
    good = u->good & prov_ct_equal(u->len, PROV_PREMASTER_BYTES)
           & (is_version(message, version[0])
              | is_version(message, version[1]));
    for (i = 0; i < PROV_PREMASTER_BYTES; i++) {
        out[i] = prov_ct_octet(good, message[i], out[i]);
    }
}
