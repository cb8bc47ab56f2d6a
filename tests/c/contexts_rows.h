/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of calls on contexts, for contexts_ssl.c, which has the words. A word
 * may have an argument behind a colon. Every key, or those of one type.
 */
#ifndef TESTS_CONTEXTS_ROWS_H
#define TESTS_CONTEXTS_ROWS_H

#include <stddef.h>

static const char *const any_rows[] = {
    "init:SHA256 update size update size final",
    "init:SHA512 update final update final",
    "init:SHA1 short final",
    "init:SHA256 once-size once",
    "init:SHA256 update once",
    "init:SHA256 once again update final",
    "init:SHA256 once again once",
    "init:SHA256 id",
    "init:SHA256 update copy update drop update final",
    "init:SHA256 update copy update swap update update final drop size final",
    "init:SHA256 update again:SHA256 update final",
    "init:SHA256 update again:SHA512",
    "init:SHA256 again:SHA512 update final",
    "init:SHA256 update again:SHA512 update final",
    "init:SHA256 update again:NO-SUCH-DIGEST update final",
    "init:SHA256 update final again:SHA512 update final",
    "verify-init:SHA256 verify-update again:SHA512 update final",
    "init:SHA512 update again update final",
    "init:SHA256 update final again update update final",
    "init:SHA256 update init:SHA512 update final",
    "again:SHA256 update final",
    "init update final",
    "init:SHA256 update final verify-init:SHA256 verify-update verify-final",
    "init:SHA256 update final verify-again:SHA256 verify-update verify-final",
    "init:SHA256 update final verify-init:SHA256 verify-update copy drop"
        " verify-final",
    "init:SHA256 update final verify-init:SHA256 verify-update verify-update"
        " verify-final",
    "verify-init:SHA256 verify-update again:SHA256 update final",
    "init:SHA256 verify-update",
    "verify-init:SHA256 update final",
    "init:NO-SUCH-DIGEST update",
    "init:SHA256 init:NO-SUCH-DIGEST update final",
    "sign-init sign-size sign:32 sign:32 check-init check:32 check:31",
    "sign-init set:digest=SHA256 sign-size sign:32",
    "sign-init set:digest=SHA512 sign:64 sign:32",
    "sign-init set:digest=SHA256 dup dup-drop sign-size sign:32",
    "sign-init set:digest=SHA256 sign-short sign:32 check-init"
        " set:digest=SHA256 check:32 dup dup-drop check:32",
    "sign-init set:digest=NO-SUCH-DIGEST",
    "sign-init set:no-such-parameter=1",
    "sign-init check:32",
    "check-init sign:32",
    "sign:32",
    "sign-init check-init sign-init sign:20",
    NULL
};

static const char *const rsa_rows[] = {
    "init:SHA256 padding:pss update final id",
    "init:SHA256 padding:pss update copy drop update final id",
    "init:SHA256 update padding:pss final",
    "init:SHA256 padding:none update final",
    "init:SHA256 padding:oaep",
    "init:MD5-SHA1 update size final",
    "init:SHA256 padding:pss again update final id",
    "init:SHA256 copy drop id",     /* OpenSSL 3.0 reads freed memory for EC */
    "sign-init set:rsa_padding_mode=pss set:digest=SHA256 sign-id sign:32",
    "sign-init set:rsa_padding_mode=pss sign:32",
    "sign-init set:rsa_padding_mode=pss set:digest=SHA256"
        " set:rsa_pss_saltlen=0 sign:32",
    "sign-init set:rsa_padding_mode=pss set:digest=SHA256"
        " set:rsa_pss_saltlen=max dup dup-drop sign:32 sign-id",
    "sign-init set:rsa_padding_mode=pss set:digest=SHA256"
        " set:rsa_pss_saltlen=4000 sign:32",
    "sign-init set:rsa_padding_mode=pss set:digest=SHA256"
        " set:rsa_mgf1_md=SHA512 sign:32",
    "sign-init set:rsa_pss_saltlen=32",
    "sign-init set:rsa_padding_mode=none sign:32",
    "sign-init set:rsa_padding_mode=x931 set:digest=SHA256",
    "sign-init sign:64 recover-init recover dup dup-drop recover",
    "sign-init set:digest=SHA256 sign:32 recover-init set:digest=SHA256"
        " recover",
    "recover",
    NULL
};

/* A key that prescribes SHA-256 and salts of 32 octets or more. */
static const char *const pss_rows[] = {
    "init:SHA256 update final id",
    "init update final id",
    "init:SHA512",
    "init:SHA256 padding:pkcs1",
    "init:SHA256 padding:pss update copy drop final id",
    "sign-init sign-size sign:32",
    "sign-init set:digest=SHA512",
    "sign-init set:digest=SHA256 sign:32 sign-id",
    "sign-init set:rsa_padding_mode=pkcs1",
    "sign-init set:rsa_mgf1_md=SHA512",
    "sign-init set:rsa_pss_saltlen=20",
    "sign-init set:rsa_pss_saltlen=40 sign:32 sign-id",
    "sign-init set:rsa_pss_saltlen=digest dup dup-drop sign:32",
    "sign-init set:rsa_pss_saltlen=max sign:32",
    "sign-init sign:32 check-init set:rsa_pss_saltlen=digest check:32",
    "recover-init",
    NULL
};

static const char *const ec_rows[] = {
    "sign-init sign:20 sign:64 check-init check:64",
    "recover-init",
    NULL
};

#endif
