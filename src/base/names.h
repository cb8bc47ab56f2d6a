/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of names in one string, "SHA2-256:SHA-256:SHA256", as libcrypto
 * writes them. Letters compare without regard to case, in ASCII only: what
 * the user's locale says about case does not matter.
 */
#ifndef HSM_BASE_NAMES_H
#define HSM_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* The len bytes of name are one of the list. An empty name never is. */
bool hsm_names_have(const char *list, const char *name, size_t len);

#endif
