/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a key: for key.c and resolve.c alone.
 */
#ifndef HSM_OBJECT_KEY_PRIVATE_H
#define HSM_OBJECT_KEY_PRIVATE_H

#include <stdatomic.h>

#include "src/object/key.h"

struct hsm_key {
    atomic_uint refs;
    struct hsm_context *ctx;
    struct hsm_uri *uri;                /* as the user named it */
    struct hsm_public pub;
    struct hsm_secret *pin;             /* asked for when it was loaded */
    struct hsm_lock lock;               /* guards all below */
    struct hsm_claim resolving;
    struct hsm_token *tok;              /* NULL: not resolved; set once */
    CK_OBJECT_HANDLE h;                 /* valid in this epoch only */
    unsigned int epoch;                 /* of tok; 0: none */
    struct hsm_buf id;                  /* set with tok */
    struct hsm_buf label;
    struct hsm_key_usage usage;
    CK_MECHANISM_TYPE *allowed;         /* n_allowed 0: all are */
    size_t n_allowed;
};

#endif
