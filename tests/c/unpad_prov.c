/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSA encodings undone: what is good, what is not, and that nobody can tell.
 *
 *   unpad_prov              TAP
 *   unpad_prov case NAME    undoes one encoding; under valgrind: callgrind
 *                           counts the instructions of measured(), memcheck
 *                           takes the encoding for undefined, and complains of
 *                           every branch and address that depends on it
 *   unpad_prov room NAME    undoes one encoding into memory that memcheck takes
 *                           for undefined, and has it say what still is
 *   unpad_prov cases        names of cases: those alike in the part before
 *                           the dot must not differ
 *   unpad_prov many KIND SEED   so many encodings, at random but for what makes
 *                           some of them good; prints how many were
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "provider/ctx.h"
#include "provider/pkey/mgf1.h"
#include "provider/pkey/reject.h"
#include "provider/pkey/rsapad.h"
#include "provider/pkey/rsaunpad.h"
#include "tests/c/tap.h"

#if defined(__has_include)
# if __has_include(<valgrind/memcheck.h>)
#  include <valgrind/memcheck.h>
# endif
#endif
#ifndef VALGRIND_MAKE_MEM_UNDEFINED
# define VALGRIND_MAKE_MEM_UNDEFINED(p, n) ((void)(p), (void)(n))
# define VALGRIND_MAKE_MEM_DEFINED(p, n) ((void)(p), (void)(n))
# define VALGRIND_CHECK_MEM_IS_DEFINED(p, n) ((void)(p), (void)(n), 0)
#endif

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define EM 256
#define HASH 32

static const struct prov_rsaunpad_oaep oaep = {
    "SHA2-256", "SHA1", { (const unsigned char *)"label", 5 }
};
static const unsigned int versions[2] = { 0x0303, 0x0301 };

/* ---- encodings ---- */

/* 00 02 fill… 00 message, then some octet of it is changed. */
struct pkcs1 {
    const char *name;
    size_t message;             /* octets of it */
    size_t at;                  /* what is changed: */
    int to;                     /* … to this, or not: -1 */
    bool good;
};

static const struct pkcs1 pkcs1_cases[] = {
    { "pkcs1.good", 32, 0, -1, true },
    { "pkcs1.empty", 0, 0, -1, true },
    { "pkcs1.long", EM - 11, 0, -1, true },
    { "pkcs1.first", 32, 0, 1, false },
    { "pkcs1.type1", 32, 1, 1, false },
    { "pkcs1.type0", 32, 1, 0, false },
    { "pkcs1.early", 32, 2, 0, false },
    { "pkcs1.seven", 32, 9, 0, false },
    { "pkcs1.eight", 32, 10, 0, true },
    { "pkcs1.endless", 32, EM - 33, 7, false },
};

static void make_pkcs1(const struct pkcs1 *c, unsigned char *em)
{
    size_t i;

    em[0] = 0;
    em[1] = 2;
    memset(em + 2, 0x5a, EM - 2);
    for (i = EM - c->message; i < EM; i++) {
        em[i] = (unsigned char)(i | 1);
    }
    em[EM - c->message - 1] = 0;
    if (c->to >= 0) {
        em[c->at] = (unsigned char)c->to;
    }
}

/* DB = hash ‖ zeros ‖ 01 ‖ message; a change to it, or to the first octet. */
static const struct oaep_case {
    const char *name;
    size_t message;
    int first;                  /* octet of the encoding */
    size_t at;                  /* of DB */
    int to;
    bool good;
} oaep_cases[] = {
    { "oaep.good", 32, 0, 0, -1, true },
    { "oaep.empty", 0, 0, 0, -1, true },
    { "oaep.long", EM - 2 * HASH - 2, 0, 0, -1, true },
    { "oaep.first", 32, 1, 0, -1, false },
    { "oaep.label", 32, 0, 0, 0x77, false },
    { "oaep.label-end", 32, 0, HASH - 1, 0x77, false },
    { "oaep.filler", 32, 0, HASH, 2, false },
    { "oaep.earlier", 32, 0, HASH, 1, true },
    { "oaep.endless", 32, 0, EM - 1 - HASH - 33, 0, false },
};

static bool make_oaep(const struct oaep_case *c, unsigned char *em)
{
    static const struct hsm_bytes none = { NULL, 0 };
    hsm_auto(prov_hasher) md = PROV_HASHER_INIT;
    hsm_auto(prov_hasher) mgf1 = PROV_HASHER_INIT;
    unsigned char *db = em + 1 + HASH;
    size_t n = EM - 1 - HASH;

    memset(em, 0, EM);
    memset(em + 1, 0x33, HASH);
    if (!prov_hasher_init(&md, NULL, oaep.md)
        || !prov_hasher_init(&mgf1, NULL, oaep.mgf1)
        || !prov_hasher_run(&md, oaep.label, none, none, db)) {
        return false;
    }
    memset(db + n - c->message, 'm', c->message);
    db[n - c->message - 1] = 1;
    if (c->to >= 0) {
        db[c->at] = (unsigned char)c->to;
    }
    em[0] = (unsigned char)c->first;
    return prov_mgf1_xor(&mgf1, hsm_bytes_of(em + 1, HASH), db, n)
           && prov_mgf1_xor(&mgf1, hsm_bytes_of(db, n), em + 1, HASH);
}

static const struct tls {
    const char *name;
    size_t message;
    unsigned int version;
    int type;                   /* the second octet */
    bool good;
} tls_cases[] = {
    { "tls.good", 48, 0x0303, 2, true },
    { "tls.other", 48, 0x0301, 2, true },
    { "tls.version", 48, 0x0302, 2, false },
    { "tls.short", 47, 0x0303, 2, false },
    { "tls.longer", 49, 0x0303, 2, false },
    { "tls.empty", 0, 0x0303, 2, false },
    { "tls.type", 48, 0x0303, 1, false },
};

static void make_tls(const struct tls *c, unsigned char *em)
{
    struct pkcs1 p = { c->name, c->message, 1, c->type, true };

    make_pkcs1(&p, em);
    if (c->message >= 2) {
        em[EM - c->message] = (unsigned char)(c->version >> 8);
        em[EM - c->message + 1] = (unsigned char)c->version;
    }
}

/* ---- one case, as it is measured ---- */

struct run {
    unsigned char em[EM], out[EM];
    struct prov_unpadded u;
    struct prov_ctx *ctx;
    int ok;
};

enum kind { PKCS1, OAEP, TLS, REJECT };

static void run_rejected(struct run *r)
{
    unsigned char other[EM] = { 0 };
    struct hsm_buf made = { other, EM - 11, sizeof(other) };
    size_t len = 0;

    r->ok = prov_rsaunpad_pkcs1(r->em, EM, &r->u)
            && prov_reject_message(r->ctx, hsm_bytes_of("n", 1),
                                   hsm_bytes_of("c", 1), &made, &len);
    prov_rsaunpad_or(&r->u, r->em, other, len);
    prov_rsaunpad_copy(&r->u, r->em, r->out);
}

static void run_case(struct run *r, enum kind kind)
{
    switch (kind) {
    case OAEP:
        r->ok = prov_rsaunpad_oaep(NULL, &oaep, r->em, EM, &r->u);
        prov_rsaunpad_copy(&r->u, r->em, r->out);
        break;
    case TLS:
        r->ok = prov_rsaunpad_pkcs1(r->em, EM, &r->u);
        prov_rsaunpad_premaster(&r->u, r->em, versions, r->out);
        break;
    case REJECT:
        run_rejected(r);
        break;
    default:
        r->ok = prov_rsaunpad_pkcs1(r->em, EM, &r->u);
        prov_rsaunpad_copy(&r->u, r->em, r->out);
        break;
    }
}

/* What callgrind is told to count. */
void measured(struct run *r, enum kind kind) __attribute__((noinline));
void measured(struct run *r, enum kind kind)
{
    run_case(r, kind);
}

/* False: no case of that name. Rejected are the same as of PKCS#1. */
static bool make_case(const char *name, struct run *r, enum kind *kind)
{
    bool reject = strncmp(name, "reject.", 7) == 0;
    const char *part = reject ? name + 7 : "";
    size_t i;

    *kind = reject ? REJECT : PKCS1;
    for (i = 0; i < N(pkcs1_cases); i++) {
        if (strcmp(pkcs1_cases[i].name, name) == 0
            || (reject && strcmp(pkcs1_cases[i].name + 6, part) == 0)) {
            make_pkcs1(&pkcs1_cases[i], r->em);
            return true;
        }
    }
    *kind = OAEP;
    for (i = 0; i < N(oaep_cases); i++) {
        if (strcmp(oaep_cases[i].name, name) == 0) {
            return make_oaep(&oaep_cases[i], r->em);
        }
    }
    *kind = TLS;
    for (i = 0; i < N(tls_cases); i++) {
        if (strcmp(tls_cases[i].name, name) == 0) {
            make_tls(&tls_cases[i], r->em);
            return true;
        }
    }
    return false;
}

/* The encoding is a secret, until a result is told. Done twice: what
 * libcrypto only does once is not measured. */
static int measure(const char *name)
{
    struct prov_ctx ctx = { .secret = "a secret of thirty-two octets." };
    struct run warm = { .ctx = &ctx }, r = { .ctx = &ctx };
    enum kind kind;

    if (!make_case(name, &warm, &kind) || !make_case(name, &r, &kind)) {
        return 2;
    }
    run_case(&warm, kind);
    VALGRIND_MAKE_MEM_UNDEFINED(r.em, sizeof(r.em));
    measured(&r, kind);
    VALGRIND_MAKE_MEM_DEFINED(&r, sizeof(r));
    printf("%d %zx %zu\n", r.ok, r.u.good, r.u.len);
    return r.ok ? 0 : 1;
}

/* An application's buffer is not written before: no octet of the message may
 * depend on what was there. */
static int fill_room(const char *name)
{
    struct prov_ctx ctx = { .secret = "a secret of thirty-two octets." };
    struct run r = { .ctx = &ctx };
    enum kind kind;
    size_t len;

    if (!make_case(name, &r, &kind)) {
        return 2;
    }
    VALGRIND_MAKE_MEM_UNDEFINED(r.out, sizeof(r.out));
    run_case(&r, kind);
    len = kind == TLS ? 48 : r.u.len;
    printf("%d octets\n", (int)len);
    return r.ok && len > 0
           && VALGRIND_CHECK_MEM_IS_DEFINED(r.out, len) == 0 ? 0 : 1;
}

#define MANY 400

/* xorshift32: the same for the same seed. */
static unsigned int random_of(unsigned int *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Half of them have the first two octets that are wanted, and half of these
 * have a premaster secret, or are well-made for OAEP. */
static bool make_random(struct run *r, enum kind kind, unsigned int *state)
{
    unsigned int how = random_of(state) % 4;
    size_t i;

    for (i = 0; i < EM; i++) {
        r->em[i] = (unsigned char)(random_of(state) >> 8);
    }
    if (kind == OAEP && how > 1) {
        return make_oaep(&oaep_cases[random_of(state) % N(oaep_cases)], r->em);
    }
    if (how > 0) {
        r->em[0] = 0;
        r->em[1] = 2;
    }
    for (i = 2; i < EM && how > 1; i++) {
        r->em[i] |= 1;
    }
    if (how > 1) {
        r->em[how == 2 ? 2 + random_of(state) % (EM - 2) : EM - 49] = 0;
        r->em[EM - 48] = 3;
        r->em[EM - 47] = 3;
    }
    return true;
}

static int measure_many(const char *name, const char *seed)
{
    struct prov_ctx ctx = { .secret = "a secret of thirty-two octets." };
    struct run r = { .ctx = &ctx };
    unsigned int state = (unsigned int)strtoul(seed, NULL, 10) | 1, good = 0;
    enum kind kind;

    if (!make_case(name, &r, &kind)) {
        return 2;
    }
    run_case(&r, kind);
    for (int i = 0; i < MANY; i++) {
        if (!make_random(&r, kind, &state)) {
            return 1;
        }
        memset(r.out, 'r', EM);
        measured(&r, kind);
        good += kind == TLS ? r.out[0] == 3 : (unsigned int)(r.u.good & 1);
    }
    printf("good %u\n", good);
    return 0;
}

static int list(void)
{
    size_t i;

    for (i = 0; i < N(pkcs1_cases); i++) {
        printf("%s\nreject.%s\n", pkcs1_cases[i].name,
               strchr(pkcs1_cases[i].name, '.') + 1);
    }
    for (i = 0; i < N(oaep_cases); i++) {
        puts(oaep_cases[i].name);
    }
    for (i = 0; i < N(tls_cases); i++) {
        puts(tls_cases[i].name);
    }
    return 0;
}

/* ---- what comes out ---- */

static bool all(const unsigned char *p, size_t from, size_t to, int octet)
{
    for (; from < to; from++) {
        if (p[from] != octet) {
            return false;
        }
    }
    return true;
}

static void check_pkcs1(void)
{
    size_t i;

    for (i = 0; i < N(pkcs1_cases); i++) {
        const struct pkcs1 *c = &pkcs1_cases[i];
        struct run r = { .ok = 0 };
        unsigned char em[EM];
        /* The end of the padding moved to the front. */
        size_t len = !c->good ? 0 : c->to == 0 ? EM - c->at - 1 : c->message;

        make_pkcs1(c, em);
        memcpy(r.em, em, EM);
        memset(r.out, 'o', EM);
        run_case(&r, PKCS1);
        ok(r.ok && r.u.good == (c->good ? ~(size_t)0 : 0), "%s: %s", c->name,
           c->good ? "good" : "not good");
        is_int((long long)r.u.len, (long long)len, "%s: octets", c->name);
        ok(memcmp(r.out, em + EM - len, len) == 0 && all(r.out, len, EM, 'o'),
           "%s: message, and nothing but it", c->name);
    }
}

static void check_oaep(void)
{
    size_t i;

    for (i = 0; i < N(oaep_cases); i++) {
        const struct oaep_case *c = &oaep_cases[i];
        struct run r = { .ok = 0 };
        size_t len = !c->good ? 0
                     : c->to == 1 ? EM - 2 * HASH - 2 : c->message;

        ok(make_oaep(c, r.em), "%s: is made", c->name);
        memset(r.out, 'o', EM);
        run_case(&r, OAEP);
        ok(r.ok && r.u.good == (c->good ? ~(size_t)0 : 0), "%s: %s", c->name,
           c->good ? "good" : "not good");
        is_int((long long)r.u.len, (long long)len, "%s: octets", c->name);
        ok(all(r.out, len - (c->good ? c->message : 0), len, 'm')
           && all(r.out, len, EM, 'o'), "%s: message, and nothing but it",
           c->name);
    }
}

static void check_tls(void)
{
    size_t i;

    for (i = 0; i < N(tls_cases); i++) {
        const struct tls *c = &tls_cases[i];
        struct run r = { .ok = 0 };
        unsigned char em[EM];

        make_tls(c, em);
        memcpy(r.em, em, EM);
        memset(r.out, 'r', EM);
        run_case(&r, TLS);
        ok(r.ok && (c->good ? memcmp(r.out, em + EM - 48, 48) == 0
                            : all(r.out, 0, 48, 'r'))
           && all(r.out, 48, EM, 'r'), "%s: %s", c->name,
           c->good ? "the premaster secret" : "random octets");
    }
}

/* The same ciphertext is always the same, another is not. */
static void check_rejected(void)
{
    struct prov_ctx ctx = { .secret = "a secret of thirty-two octets." };
    unsigned char one[EM - 11] = { 0 }, two[EM - 11] = { 0 };
    struct hsm_buf first = { one, sizeof(one), sizeof(one) };
    struct hsm_buf second = { two, sizeof(two), sizeof(two) };
    size_t len[2] = { 999, 999 }, lengths = 0, long_ones = 0, i;
    const struct hsm_bytes n = hsm_bytes_of("n", 1);

    ok(prov_reject_message(&ctx, n, hsm_bytes_of("c", 1), &first, &len[0])
       && prov_reject_message(&ctx, n, hsm_bytes_of("c", 1), &second, &len[1]),
       "a message instead");
    ok(len[0] == len[1] && memcmp(one, two, sizeof(one)) == 0,
       "the same for the same ciphertext");
    ok(prov_reject_message(&ctx, n, hsm_bytes_of("d", 1), &second, &len[1])
       && memcmp(one, two, sizeof(one)) != 0, "another for another");
    ok(prov_reject_message(&ctx, hsm_bytes_of("m", 1), hsm_bytes_of("c", 1),
                           &second, &len[1])
       && memcmp(one, two, sizeof(one)) != 0, "another for another key");
    ctx.secret[0] ^= 1;
    ok(prov_reject_message(&ctx, n, hsm_bytes_of("c", 1), &second, &len[1])
       && memcmp(one, two, sizeof(one)) != 0, "another for another secret");
    for (i = 0; i < 256; i++) {
        const unsigned char c = (unsigned char)i;

        if (prov_reject_message(&ctx, n, hsm_bytes_of(&c, 1), &second,
                                &len[1]) && len[1] <= sizeof(two)) {
            lengths++;
            long_ones += len[1] > sizeof(two) / 2 ? 1 : 0;
        }
    }
    ok(lengths == 256 && long_ones > 80 && long_ones < 176,
       "lengths are spread: %zu of 256 in the upper half", long_ones);
}

static void check_rejected_cases(void)
{
    struct prov_ctx ctx = { .secret = "a secret of thirty-two octets." };
    size_t i;

    for (i = 0; i < N(pkcs1_cases); i++) {
        const struct pkcs1 *c = &pkcs1_cases[i];
        struct run r = { .ctx = &ctx };
        unsigned char em[EM];
        size_t len = c->to == 0 ? EM - c->at - 1 : c->message;

        make_pkcs1(c, em);
        memcpy(r.em, em, EM);
        run_case(&r, REJECT);
        ok(r.ok && r.u.good == ~(size_t)0 && r.u.len <= EM - 11
           && c->good == (r.u.len == len
                          && memcmp(r.out, em + EM - len, len) == 0),
           "%s: %s", c->name, c->good ? "the message" : "another message");
    }
}

static void check_sizes(void)
{
    unsigned char em[2 * HASH + 2] = { 0 };
    struct prov_unpadded u;
    static const struct prov_rsaunpad_oaep none = {
        "SHA2-256", "no such hash", { NULL, 0 }
    };

    ok(!prov_rsaunpad_pkcs1(em, 10, &u) && prov_rsaunpad_pkcs1(em, 11, &u),
       "eleven octets at least for PKCS#1");
    ok(!prov_rsaunpad_oaep(NULL, &oaep, em, sizeof(em) - 1, &u)
       && prov_rsaunpad_oaep(NULL, &oaep, em, sizeof(em), &u),
       "two hashes and two octets at least for OAEP");
    ERR_clear_error();
    ok(!prov_rsaunpad_oaep(NULL, &none, em, sizeof(em), &u)
       && ERR_peek_error() != 0, "no OAEP without its hash");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "case") == 0) {
        return measure(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "room") == 0) {
        return fill_room(argv[2]);
    }
    if (argc == 4 && strcmp(argv[1], "many") == 0) {
        return measure_many(argv[2], argv[3]);
    }
    if (argc == 2 && strcmp(argv[1], "cases") == 0) {
        return list();
    }
    check_pkcs1();
    check_oaep();
    check_tls();
    check_rejected();
    check_rejected_cases();
    check_sizes();
    return tap_done();
}
