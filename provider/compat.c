/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/compat.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>

/* strtoul() alone would take blanks and signs. */
static bool read_number(const char **at, unsigned int *out)
{
    unsigned long n;
    char *end;

    if (!isdigit((unsigned char)**at)) {
        return false;
    }
    errno = 0;
    n = strtoul(*at, &end, 10);
    if (errno != 0 || n > UINT_MAX) {
        return false;
    }
    *at = end;
    *out = (unsigned int)n;
    return true;
}

bool prov_version_parse(const char *text, unsigned int *major,
                        unsigned int *minor)
{
    unsigned int first, second;
    int saved = errno;
    bool good;

    if (text == NULL) {
        return false;
    }
    good = read_number(&text, &first) && *text++ == '.'
        && read_number(&text, &second);
    errno = saved;
    if (!good) {
        return false;
    }
    *major = first;
    *minor = second;
    return true;
}

/*
 * libssl dropped that rule somewhere on the way from 3.0 to 3.5. In between a
 * group that is offered twice is found once, while one that nobody offers is
 * lost, so all of them get ours.
 */
bool prov_core_needs_tls_groups(unsigned int minor, unsigned int major)
{
    return major == 3 && minor < 5;
}

static bool is_since(unsigned int first, unsigned int minor,
                     unsigned int major)
{
    return major > 3 || (major == 3 && minor >= first);
}

bool prov_core_has_dhkem(unsigned int minor, unsigned int major)
{
    return is_since(2, minor, major)
           && is_since(2, OPENSSL_version_minor(), OPENSSL_version_major());
}

bool prov_core_signs_messages(unsigned int minor, unsigned int major)
{
    return is_since(4, minor, major);
}

void prov_drop_bare_failure(void)
{
    unsigned long e = ERR_peek_last_error();
    int reason = ERR_GET_REASON(e);

    if (ERR_GET_LIB(e) == ERR_LIB_EVP && PROV_CAN_POP_ERRORS
        && (reason == EVP_R_PROVIDER_SIGNATURE_FAILURE
            || reason == EVP_R_PROVIDER_ASYM_CIPHER_FAILURE)) {
        (void)ERR_pop();
    }
}
