/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work with a key's private object: what all operations share.
 */
#ifndef HSM_CRYPTO_OP_KEY_H
#define HSM_CRYPTO_OP_KEY_H

#include "src/object/key.h"
#include "src/session/run.h"

typedef hsm_rc (*hsm_op_key_fn)(struct hsm_session *s, CK_OBJECT_HANDLE h,
                                void *arg);

/* Resolves the key, takes a session, logs in, finds the handle, and calls fn
 * with it, under hsm_run()'s care. Failures name the key. */
HSM_CHECKED hsm_rc hsm_op_with_key(struct hsm_key *key, hsm_op_key_fn fn,
                                   void *arg);

#endif
