/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes: templates to send, and sets that were read.
 *
 * A set owns its values, which are wiped when it is cleared. An attribute that
 * a token does not have, or does not tell, is in a read set without a value.
 */
#ifndef HSM_OBJECT_ATTR_H
#define HSM_OBJECT_ATTR_H

#include "src/base/buf.h"
#include "src/session/session.h"

#define HSM_ATTRS_MAX 40

struct hsm_attrs {
    CK_ATTRIBUTE a[HSM_ATTRS_MAX];
    CK_ULONG n;
};

#define HSM_ATTRS_INIT { .n = 0 }

/* Each copies the value. An attribute that is there already is replaced. */
HSM_CHECKED hsm_rc hsm_attrs_add(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                                 struct hsm_bytes value);
HSM_CHECKED hsm_rc hsm_attrs_add_bool(struct hsm_attrs *as,
                                      CK_ATTRIBUTE_TYPE type, bool value);
HSM_CHECKED hsm_rc hsm_attrs_add_ulong(struct hsm_attrs *as,
                                       CK_ATTRIBUTE_TYPE type,
                                       CK_ULONG value);
/* False: it was not in the set. */
bool hsm_attrs_remove(struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type);
void hsm_attrs_clear(struct hsm_attrs *as);

/* False: not in the set, no value (an empty one is none), or of another
 * size. */
bool hsm_attrs_has(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type);
bool hsm_attrs_get(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                   struct hsm_bytes *out);
bool hsm_attrs_get_ulong(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                         CK_ULONG *out);
/* The value, or otherwise where it is not told. */
bool hsm_attrs_get_bool(const struct hsm_attrs *as, CK_ATTRIBUTE_TYPE type,
                        bool otherwise);

/*
 * Reads the n attributes of an object into the (empty) set. One
 * C_GetAttributeValue where every value fits (8 KiB each, 16 of CKA_VALUE),
 * two more (lengths, then values of at most 1 MiB) when one was too short;
 * lengths first where the module's quirk asks for it.
 * CKR_ATTRIBUTE_SENSITIVE and _TYPE_INVALID are not failures. Lengths that a
 * module reports beyond the buffer it had are HSM_E_BAD_DATA.
 */
HSM_CHECKED hsm_rc hsm_attrs_read(struct hsm_session *s, CK_OBJECT_HANDLE h,
                                  const CK_ATTRIBUTE_TYPE *types, size_t n,
                                  struct hsm_attrs *out);

#endif
