/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private key on a token: what it is (never changes), and where it was last
 * seen (a cache).
 *
 * Reference counted; any thread may use it at any time. A key made from a
 * reference with a public half has no token until its first private operation.
 */
#ifndef HSM_OBJECT_KEY_H
#define HSM_OBJECT_KEY_H

#include "src/module/context.h"
#include "src/object/attr.h"
#include "src/object/spki.h"
#include "src/session/login.h"
#include "src/session/uri.h"

struct hsm_key;

/* A mechanism with its parameters, as far as they can be refused. */
struct hsm_mark {
    CK_ULONG v[5];              /* the first: an operation's kind, or this */
};
#define HSM_MARK_DERIVE 0x100UL

/* What the token says the key may do; unknown (unresolved): all true. */
struct hsm_key_usage {
    bool sign, decrypt, derive;
    bool always_authenticate;
};

struct hsm_key *hsm_key_get(struct hsm_key *k);
void hsm_key_put(struct hsm_key *k);
void hsm_key_putp(struct hsm_key **k);

/*
 * A key known by its URI and its public half alone: touches no token. uri is
 * counted, pub copied. The URI must not name another type than private.
 */
HSM_CHECKED hsm_rc hsm_key_from_reference(struct hsm_context *ctx,
                                          struct hsm_uri *uri,
                                          const struct hsm_public *pub,
                                          struct hsm_key **out);
/*
 * A key that was just read or made: as are the attributes of its private
 * object h, seen through a session of tok; pub may be empty. uri is how the
 * user named it (for its PIN source). All but the counted are copied.
 */
struct hsm_key_origin {
    struct hsm_context *ctx;
    struct hsm_uri *uri;
    struct hsm_token *tok;
    unsigned int epoch;             /* of tok, when h was seen */
    unsigned int reissued;          /* likewise, before attrs were read */
    CK_OBJECT_HANDLE h;
    const struct hsm_attrs *attrs;
    const struct hsm_public *pub;
};
HSM_CHECKED hsm_rc hsm_key_from_object(const struct hsm_key_origin *from,
                                       struct hsm_key **out);

/*
 * Asks for the PIN of a key from a reference now, since nobody can be asked
 * later: only where no other source has one (of the URI, of any module's
 * settings). No answer is no failure. Before the key is handed out.
 */
HSM_CHECKED hsm_rc hsm_key_ask_pin(struct hsm_key *k,
                                   const struct hsm_cred *cred);

/* Never NULL; spki is empty when the public half was not found. */
const struct hsm_public *hsm_key_public(const struct hsm_key *k);
struct hsm_context *hsm_key_context(const struct hsm_key *k);
struct hsm_key_usage hsm_key_usage(struct hsm_key *k);
/* A mechanism is allowed by CKA_ALLOWED_MECHANISMS (empty: all are). */
bool hsm_key_allows(struct hsm_key *k, CK_MECHANISM_TYPE type);
/* The token lists the mechanism, and refused it for this key while another one
 * served: not to be tried again in this epoch. Some are forgotten. */
bool hsm_key_avoids(struct hsm_key *k, const struct hsm_mark *mark);
void hsm_key_avoid(struct hsm_key *k, const struct hsm_mark *mark);
/* For messages: the URI without PIN and public key. Lives as long as the key.*/
const char *hsm_key_name(const struct hsm_key *k);
/*
 * The URI to write into a reference: token, id, object and type=private, or
 * the one the key came from where the token was not yet touched; pin-source
 * of the original is kept, a PIN never. NUL-terminated in out.
 */
HSM_CHECKED hsm_rc hsm_key_uri(struct hsm_key *k, struct hsm_buf *out);

/*
 * Finds the token of the key where that has not been done: by its URI, then
 * the object on it, compared with the public half (HSM_E_OTHER_KEY). May
 * start modules, log in, wait. cred is the prompt to use, or NULL.
 */
HSM_CHECKED hsm_rc hsm_key_resolve(struct hsm_key *k,
                                   const struct hsm_cred *cred);
/* NULL before it is resolved. */
struct hsm_token *hsm_key_token(struct hsm_key *k);
/*
 * The handle of the private object in this epoch of the session's token; finds
 * the object again and compares the public half where the cache is stale. It
 * is the handle of a copy in a session object where cache_keys asks for one.
 */
HSM_CHECKED hsm_rc hsm_key_handle(struct hsm_key *k, struct hsm_session *s,
                                  CK_OBJECT_HANDLE *out);
/*
 * The token shows no public half of the private object, so nobody has compared
 * it with this key's: until a result has proved it, it may be another key's.
 * *found tells which finding that is of (a key is found anew in each epoch).
 */
bool hsm_key_is_unsure(struct hsm_key *k, unsigned int *found);
/* The object of that finding, if no other has followed, is the key; or is not,
 * and is looked for again. */
void hsm_key_settle(struct hsm_key *k, unsigned int found, bool is_it);
/* The error for that: HSM_E_OTHER_KEY. */
HSM_CHECKED hsm_rc hsm_key_other(const struct hsm_key *k);
/* The handle was refused: forget it, if it is still the one remembered. */
void hsm_key_doubt(struct hsm_key *k, CK_OBJECT_HANDLE h);
/* The handle is that of a copy of the key (cache_keys). */
bool hsm_key_copy_is(struct hsm_key *k, CK_OBJECT_HANDLE h);
/* The key itself did what its copy could not: there will be no more of them
 * (1 call). */
void hsm_key_copy_useless(struct hsm_key *k, struct hsm_session *s,
                          CK_OBJECT_HANDLE h);
/* The handle of the key itself, whatever copies there are. */
HSM_CHECKED hsm_rc hsm_key_stored_handle(struct hsm_key *k,
                                         struct hsm_session *s,
                                         CK_OBJECT_HANDLE *out);
/* The key is a session object made in s, which is kept for it. Before the key
 * is handed out. */
void hsm_key_live_in(struct hsm_key *k, struct hsm_session *s);
/* The credentials that serve this key's later logins (no prompt). */
void hsm_key_cred(const struct hsm_key *k, struct hsm_cred *out);

/* These are the attributes of a copy, which is no object to be found. */
bool hsm_attrs_of_copy(const struct hsm_attrs *as);

/* The attribute types that describe a key, for one C_GetAttributeValue. */
const CK_ATTRIBUTE_TYPE *hsm_key_attr_types(size_t *n);

#endif
