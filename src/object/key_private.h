/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a key: for key.c, resolve.c and copy.c alone.
 */
#ifndef HSM_OBJECT_KEY_PRIVATE_H
#define HSM_OBJECT_KEY_PRIVATE_H

#include <stdatomic.h>

#include "src/object/key.h"

/* See copy.c. A session object of this key's alone. */
struct hsm_key_copy {
    struct hsm_session *home;           /* NULL: there is none */
    CK_OBJECT_HANDLE h;
    struct hsm_claim making;
    unsigned int refused_in;            /* epoch in which it was refused */
    bool useless;                       /* it was made and did not serve */
};

/* Mechanisms that were refused; the oldest make room. */
#define HSM_AVOIDED_MAX 8u
struct hsm_avoided {
    struct hsm_mark mark[HSM_AVOIDED_MAX];
    unsigned int n;                     /* so far, also those that had to go */
    unsigned int epoch;                 /* of the token */
};

struct hsm_key {
    atomic_uint refs;
    atomic_uint reissued;               /* of tok, when h was last looked at */
    struct hsm_context *ctx;
    struct hsm_uri *uri;                /* as the user named it */
    struct hsm_public pub;
    struct hsm_secret *pin;             /* asked for when it was loaded */
    struct hsm_lock lock;               /* guards all below */
    struct hsm_claim resolving;
    struct hsm_token *tok;              /* NULL: not resolved; set once */
    CK_OBJECT_HANDLE h;                 /* valid in this epoch only */
    unsigned int epoch;                 /* of tok; 0: none */
    unsigned int found;                 /* so often; h is of the last time */
    bool unsure;                        /* h shows no public half, pub is one */
    const struct hsm_keytype *kt;       /* as h says, set with tok; or NULL */
    struct hsm_buf id;                  /* set with tok */
    struct hsm_buf label;
    struct hsm_key_usage usage;
    CK_MECHANISM_TYPE *allowed;         /* n_allowed 0: all are */
    size_t n_allowed;
    struct hsm_avoided avoided;
    bool copyable;                      /* stored, and may be copied */
    struct hsm_key_copy copy;
    struct hsm_session *home;           /* of a session object, or NULL */
};

/* The copy's handle, where there is one that session s can use. */
bool hsm_key_copy_look(struct hsm_key *k, const struct hsm_session *s,
                       CK_OBJECT_HANDLE *out);
/* Makes one in session s, which becomes its home (1 call), where there is to be
 * one. The handle to use: the copy's, or the stored key's. */
CK_OBJECT_HANDLE hsm_key_copy_make(struct hsm_key *k, struct hsm_session *s,
                                   CK_OBJECT_HANDLE stored);
/* That handle was refused: the copy is forgotten. False: it is no copy's. */
bool hsm_key_copy_doubt(struct hsm_key *k, CK_OBJECT_HANDLE h);
/* Destroys it (1 call, where it still stands), and lets homes go. */
void hsm_key_copy_end(struct hsm_key *k);

#endif
