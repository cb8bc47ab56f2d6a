/* SPDX-License-Identifier: Apache-2.0 */
#include "src/session/siphash.h"

#define ROUNDS_EACH_WORD 2
#define ROUNDS_AT_END 4

struct sip {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t x, unsigned int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(struct sip *s, unsigned int rounds)
{
    uint64_t *v = s->v;

    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

/* Little-endian, of up to 8 bytes. */
static uint64_t word_of(const uint8_t *p, size_t len)
{
    uint64_t w = 0;

    while (len > 0) {
        w = w << 8 | p[--len];
    }
    return w;
}

static void put_word(uint64_t w, uint8_t out[8])
{
    size_t i;

    for (i = 0; i < 8; i++) {
        out[i] = (uint8_t)(w >> (8 * i));
    }
}

static void absorb(struct sip *s, uint64_t word)
{
    s->v[3] ^= word;
    mix(s, ROUNDS_EACH_WORD);
    s->v[0] ^= word;
}

static uint64_t squeeze(struct sip *s)
{
    mix(s, ROUNDS_AT_END);
    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

/* The constants spell "somepseudorandomlygeneratedbytes". */
static struct sip begin(const uint8_t *key)
{
    uint64_t k0 = word_of(key, 8), k1 = word_of(key + 8, 8);
    struct sip s = { {
        k0 ^ UINT64_C(0x736f6d6570736575),
        k1 ^ UINT64_C(0x646f72616e646f6d),
        k0 ^ UINT64_C(0x6c7967656e657261),
        k1 ^ UINT64_C(0x7465646279746573),
    } };

    return s;
}

/* All of the input; the last word carries the length in its top byte. */
static void absorb_all(struct sip *s, struct hsm_bytes in)
{
    size_t total = in.len;

    for (; in.len >= 8; in.len -= 8, in.p += 8) {
        absorb(s, word_of(in.p, 8));
    }
    absorb(s, word_of(in.p, in.len) | (uint64_t)(total & 0xff) << 56);
}

void hsm_siphash(const uint8_t key[HSM_SIPHASH_KEY_BYTES],
                 struct hsm_bytes in, uint8_t out[HSM_SIPHASH_BYTES])
{
    struct sip s = begin(key);

    s.v[1] ^= 0xee;
    absorb_all(&s, in);
    s.v[2] ^= 0xee;
    put_word(squeeze(&s), out);
    s.v[1] ^= 0xdd;
    put_word(squeeze(&s), out + 8);
    hsm_wipe(&s, sizeof(s));
}

uint64_t hsm_siphash_64(const uint8_t key[HSM_SIPHASH_KEY_BYTES],
                        struct hsm_bytes in)
{
    struct sip s = begin(key);
    uint64_t hash;

    absorb_all(&s, in);
    s.v[2] ^= 0xff;
    hash = squeeze(&s);
    hsm_wipe(&s, sizeof(s));
    return hash;
}
