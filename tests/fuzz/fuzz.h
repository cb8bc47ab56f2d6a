/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz targets share. A target is a file NAME_fuzz.c with the one function
 * below. "make check-fuzz" links it with libFuzzer; the build links it with
 * replay.c, which runs it over inputs that were kept.
 *
 * Not only crashes count: a target says by fuzz_check() what must hold.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/result.h"

/* One input. Always 0. */
__attribute__((visibility("default")))
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_check(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, \
                    __LINE__, #what); \
            abort(); \
        } \
    } while (0)

/* A failure has its words, and is one of these; 0 is none. */
static inline bool fuzz_is_clean(hsm_rc rc, CK_RV one, CK_RV other)
{
    return (rc.rv == one || rc.rv == other) && rc.rv != 0 && rc.at != NULL;
}

/* The input, eaten from its front: what is not there is 0 or short. */
static inline unsigned int fuzz_byte(struct hsm_bytes *in)
{
    if (in->len == 0) {
        return 0;
    }
    in->len--;
    return *in->p++;
}

static inline struct hsm_bytes fuzz_take(struct hsm_bytes *in, size_t len)
{
    struct hsm_bytes taken;

    taken = hsm_bytes_of(in->p, len < in->len ? len : in->len);
    in->p += taken.len;
    in->len -= taken.len;
    return taken;
}

/* A text of exactly these bytes, so that a read behind it is noticed. */
static inline char *fuzz_text(struct hsm_bytes of)
{
    char *text = malloc(of.len + 1);

    fuzz_check(text != NULL);
    if (of.len > 0) {
        memcpy(text, of.p, of.len);
    }
    text[of.len] = '\0';
    return text;
}

#endif
