/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one result type of the core, and what is known about every CKR_ value.
 *
 * A result is a struct, so that it cannot be mixed up with libcrypto's 0/1.
 * The words that go with a failure (which token, which value, what to do) are
 * kept per thread: a failure overwrites them, whoever reports it takes them.
 */
#ifndef HSM_BASE_RESULT_H
#define HSM_BASE_RESULT_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/cryptoki.h"

/* rv: CKR_OK or why not; at: the C_ function, or the core's, that said so. */
typedef struct {
    CK_RV rv;
    const char *at;
} hsm_rc;

#define HSM_CHECKED __attribute__((warn_unused_result))
#define HSM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Octets of a failure's words, with the NUL. */
#define HSM_DETAIL_MAX 1024
#define HSM_WHERE_MAX 512

#define HSM_OK ((hsm_rc){ CKR_OK, NULL })

/* The core's own failures, in the space that Cryptoki leaves to vendors. */
#define HSM_RV(n) (CKR_VENDOR_DEFINED | (0x48534D00UL + (n)))
#define HSM_E_URI           HSM_RV(1)   /* not an RFC 7512 URI */
#define HSM_E_NO_MODULE     HSM_RV(2)   /* no PKCS#11 module is configured */
#define HSM_E_MODULE        HSM_RV(3)   /* a module cannot be loaded */
#define HSM_E_NO_TOKEN      HSM_RV(4)   /* no token matches the URI */
#define HSM_E_NO_KEY        HSM_RV(5)   /* no object matches the URI */
#define HSM_E_SEVERAL       HSM_RV(6)   /* more than one matches */
#define HSM_E_NO_PIN        HSM_RV(7)   /* a PIN is needed, none was given */
#define HSM_E_PIN_REFUSED   HSM_RV(8)   /* this PIN was refused before */
#define HSM_E_PIN_FINAL     HSM_RV(9)   /* the token grants one last try */
#define HSM_E_PIN_SOURCE    HSM_RV(10)  /* a PIN source cannot be read */
#define HSM_E_SETTING       HSM_RV(11)  /* a setting is wrong */
#define HSM_E_NO_MECHANISM  HSM_RV(12)  /* the token offers no way to do it */
#define HSM_E_OTHER_KEY     HSM_RV(13)  /* found, but its public key differs */
#define HSM_E_NO_PUBLIC     HSM_RV(14)  /* the public half is nowhere found */
#define HSM_E_TIMEOUT       HSM_RV(15)  /* waited until the deadline */
#define HSM_E_DEAD          HSM_RV(16)  /* the process is ending */
#define HSM_E_REENTERED     HSM_RV(17)  /* called from inside a module */
#define HSM_E_NO_DEFAULT    HSM_RV(18)  /* no SHA2-256 in the process */
#define HSM_E_BAD_DATA      HSM_RV(19)  /* a token's or file's data is broken */
#define HSM_E_END           HSM_RV(20)  /* nothing more to come */
#define HSM_E_KEY_USE       HSM_RV(21)  /* the key does not permit this use */
#define HSM_E_PARAMETER     HSM_RV(22)  /* what a key is to be is wrong */
#define HSM_E_CANCELLED     HSM_RV(23)  /* the application did not go on */
#define HSM_E_CALL_TIMEOUT  HSM_RV(24)  /* a call did not come back in time */

/* What to do about a failure; hsm_op_once() and login are steered by it. */
enum hsm_class {
    HSM_CLASS_OK,
    HSM_CLASS_STALE_OBJECT,     /* find the object again, retry once */
    HSM_CLASS_STALE_SESSION,    /* new session (and login), retry once */
    HSM_CLASS_STALE_LIBRARY,    /* initialise or reconnect, retry once */
    HSM_CLASS_AUTH,             /* about a PIN: never retried */
    HSM_CLASS_BUSY,             /* wait, then try again */
    HSM_CLASS_UNSUPPORTED,      /* another mechanism may do */
    HSM_CLASS_INPUT,            /* the caller's data or the URI is wrong */
    HSM_CLASS_FATAL
};

/* One row per CKR_ and HSM_E_ value. advice: what a person does next. */
struct hsm_ckr {
    CK_RV rv;
    enum hsm_class cls;
    const char *name;
    const char *advice;         /* NULL: nothing better than the name */
};

static inline bool hsm_ok(hsm_rc rc)
{
    return rc.rv == CKR_OK;
}

/* Return early on failure. */
#define TRY(call) \
    do { \
        hsm_rc try_rc_ = (call); \
        if (try_rc_.rv != CKR_OK) { \
            return try_rc_; \
        } \
    } while (0)

/*
 * A failure of the core's own, with its words. at must be a literal. The text
 * is cut at 1 KiB and must not hold a secret. Overwrites the words of before.
 */
HSM_CHECKED hsm_rc hsm_fail(CK_RV rv, const char *at, const char *fmt, ...)
    HSM_PRINTF(3, 4);

/* A failure without words of its own; those of before are dropped. */
HSM_CHECKED hsm_rc hsm_fail_rv(CK_RV rv, const char *at);

/* Says where the failure rc happened (token, then URI), unless the words tell
 * it already, and hands it on. */
HSM_CHECKED hsm_rc hsm_blame(hsm_rc rc, const char *fmt, ...)
    HSM_PRINTF(2, 3);

/* This thread's words of the last failure; "" where there are none. */
const char *hsm_detail(void);
const char *hsm_where(void);
void hsm_detail_clear(void);

/* These words, put aside: what is tidied up after a failure may fail as well,
 * and does not say why. */
struct hsm_words {
    char detail[HSM_DETAIL_MAX];
    char where[HSM_WHERE_MAX];
};

void hsm_words_keep(struct hsm_words *out);
void hsm_words_put_back(const struct hsm_words *w);

/* The row of a value. Never NULL: an unknown value has the thread's own row,
 * "CKR_0x…", which the next unknown value of this thread overwrites. */
const struct hsm_ckr *hsm_ckr_row(CK_RV rv);
enum hsm_class hsm_class_of(hsm_rc rc);

/* All rows, for tables of reasons; n receives their number. */
const struct hsm_ckr *hsm_ckr_rows(size_t *n);

#endif
