/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a PIN comes from, and which PINs were refused.
 *
 * Sources, in order: one asked for before, the URI's pin-value, its
 * pin-source, the module's setting, the application's prompt. The first that
 * is there decides; another is not tried in its stead. PINs are in locked
 * memory from the first moment.
 *
 * The page of refused PINs is one locked page shared with all forked children:
 * salted hashes, never PINs. It is made by hsm_pin_page_setup() before any
 * fork that matters.
 */
#ifndef HSM_SESSION_PIN_H
#define HSM_SESSION_PIN_H

#include "src/base/buf.h"
#include "src/base/sync.h"
#include "src/module/token.h"
#include "src/session/uri.h"

/*
 * Asks a person. prompt is the text to show, e.g. PKCS#11 token "tok" PIN.
 * Writes at most size bytes to pin, their number to *len. False: no answer.
 */
typedef bool (*hsm_prompt_fn)(void *arg, const char *prompt, char *pin,
                              size_t size, size_t *len);

/* What is known about who wants to log in. Nothing is owned. */
struct hsm_cred {
    const struct hsm_secret *known;     /* asked for before, or NULL */
    const struct hsm_uri *uri;  /* for pin-value and pin-source, or NULL */
    bool not_of_uri;            /* it is a stranger's: what PIN it has is not
                                 * used, and uri is NULL */
    const char *setting;        /* the module's PIN or its source, or NULL */
    hsm_prompt_fn prompt;       /* NULL: there is nobody to ask */
    void *prompt_arg;
};

/*
 * The PIN for a token. *out is NULL with HSM_OK when no source is there at
 * all. HSM_E_PIN_SOURCE: a source is there and fails: unreadable, empty, too
 * long; a setting that is the name of an existing file is refused with the
 * advice to write "file:". A file readable by others than its owner and group,
 * or of an owner who is neither root nor the effective user, is only logged.
 * One trailing newline (LF or CRLF) is dropped.
 */
HSM_CHECKED hsm_rc hsm_pin_find(const struct hsm_cred *cred,
                                const struct hsm_identity *token,
                                struct hsm_secret **out);
/* Only asks: the person's answer, or HSM_E_NO_PIN without one. */
HSM_CHECKED hsm_rc hsm_pin_ask(const struct hsm_cred *cred,
                               const char *token_label,
                               struct hsm_secret **out);
/* Would hsm_pin_find() find one without asking anybody? */
bool hsm_pin_is_at_hand(const struct hsm_cred *cred);
/* Reads "file:PATH", "env:NAME", "fd:N", "credential:NAME" (systemd, a file
 * below $CREDENTIALS_DIRECTORY) or, with bare_is_pin, the PIN itself; without
 * it a bare absolute path is a file [RFC 7512]. file:///p and file:/p alike.
 * fd:N is read once and remembered, for it cannot be read again; anew where the
 * number is another file's by then. */
HSM_CHECKED hsm_rc hsm_pin_read_source(const char *source, bool bare_is_pin,
                                       struct hsm_secret **out);

/* The page of refused PINs. Without a page nothing is remembered (logged). */
void hsm_pin_page_setup(void);

enum hsm_pin_fame {
    HSM_PIN_UNTRIED,
    HSM_PIN_ACCEPTED,
    HSM_PIN_REFUSED,
    HSM_PIN_SENT,               /* by a process that lives: no answer yet */
    HSM_PIN_FRESH               /* accepted, lately; never noted */
};

/* Who was let in before does not wait longer for a process that hangs. */
#define HSM_PIN_PATIENCE_MS 5000u

/* FRESH: accepted after that moment of hsm_now_ms(), which processes share. */
enum hsm_pin_fame hsm_pin_page_look(const struct hsm_identity *token,
                                    const struct hsm_secret *pin,
                                    hsm_deadline_ms since);
/*
 * Remembers what the token said. SENT: it was sent; of one that was accepted
 * before, look() says so again when HSM_PIN_PATIENCE_MS have passed, or its
 * sender has ended. UNTRIED: what was sent has failed for other reasons, and
 * it is as before. A full page forgets accepted PINs first.
 */
void hsm_pin_page_note(const struct hsm_identity *token,
                       const struct hsm_secret *pin, enum hsm_pin_fame fame);
/*
 * The lock between processes that is held while a PIN is tried that a token may
 * refuse. Does not block: false when another process (or thread) has it; poll
 * with hsm_pause_ms(). The lock of a process that died is taken over.
 */
bool hsm_pin_page_trylock(const struct hsm_identity *token);
void hsm_pin_page_unlock(const struct hsm_identity *token);

#endif
