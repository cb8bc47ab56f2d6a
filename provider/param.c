/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/param.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/proverr.h>

#include "provider/err.h"

static const struct {
    const char *text;
    bool value;
} booleans[] = {
    { "true", true }, { "false", false }, { "yes", true }, { "no", false },
    { "on", true }, { "off", false }, { "1", true }, { "0", false }
};

bool prov_param_bool(const char *text, bool *out)
{
    size_t i;

    for (i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
        if (strcasecmp(text, booleans[i].text) == 0) {
            *out = booleans[i].value;
            return true;
        }
    }
    return false;
}

static bool is_text(const OSSL_PARAM *p)
{
    return p->data_type == OSSL_PARAM_UTF8_STRING
        || p->data_type == OSSL_PARAM_UTF8_PTR;
}

/* A copy, up to a NUL as everywhere in libcrypto; NULL when there is none. */
static char *copy_text(const OSSL_PARAM *p)
{
    const char *from = NULL;
    char *text;

    if (p->data_type == OSSL_PARAM_UTF8_PTR) {
        if (!OSSL_PARAM_get_utf8_ptr(p, &from) || from == NULL) {
            return NULL;
        }
        return hsm_strdup(from);
    }
    if (p->data == NULL) {
        return NULL;
    }
    text = hsm_zalloc(p->data_size + 1);
    if (text != NULL) {
        memcpy(text, p->data, p->data_size);
    }
    return text;
}

/* Decimal or 0x…, with nothing around it. */
static bool text_is_number(const char *text, bool may_be_negative)
{
    if (may_be_negative && *text == '-') {
        text++;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return text[2] != '\0'
            && text[2 + strspn(text + 2, "0123456789abcdefABCDEF")] == '\0';
    }
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool read_number(const char *text, int64_t min, int64_t max,
                        int64_t *out)
{
    bool is_hex = strchr(text, 'x') != NULL || strchr(text, 'X') != NULL;
    int saved = errno;
    long long n;
    bool good;

    if (!text_is_number(text, min < 0)) {
        return false;
    }
    errno = 0;
    n = strtoll(text, NULL, is_hex ? 16 : 10);
    good = errno == 0 && n >= min && n <= max;
    errno = saved;
    if (good) {
        *out = n;
    }
    return good;
}

static bool get_number(const OSSL_PARAM *p, int64_t min, int64_t max,
                       int64_t *out)
{
    hsm_auto_str text = NULL;
    int64_t n;

    if (is_text(p)) {
        text = copy_text(p);
        return text != NULL && read_number(text, min, max, out);
    }
    if (!OSSL_PARAM_get_int64(p, &n) || n < min || n > max) {
        return false;
    }
    *out = n;
    return true;
}

static bool set_uint(const OSSL_PARAM *p, unsigned int *out)
{
    int64_t n;

    if (!get_number(p, 0, UINT_MAX, &n)) {
        return false;
    }
    *out = (unsigned int)n;
    return true;
}

static bool set_int(const OSSL_PARAM *p, int *out)
{
    int64_t n;

    if (!get_number(p, INT_MIN, INT_MAX, &n)) {
        return false;
    }
    *out = (int)n;
    return true;
}

static bool set_text(const OSSL_PARAM *p, char **out)
{
    char number[32];
    char *text;
    int64_t n;

    if (is_text(p)) {
        text = copy_text(p);
    } else if (OSSL_PARAM_get_int64(p, &n)) {
        snprintf(number, sizeof(number), "%" PRId64, n);
        text = hsm_strdup(number);
    } else {
        return false;
    }
    if (text == NULL) {
        return false;
    }
    hsm_strfree(*out);
    *out = text;
    return true;
}

/* OpenSSL 3.0 makes no big number of a signed parameter. */
static bool get_bn(const OSSL_PARAM *p, BIGNUM **bn)
{
    int64_t n;

    if (p->data_type != OSSL_PARAM_INTEGER) {
        return OSSL_PARAM_get_BN(p, bn);
    }
    if (!OSSL_PARAM_get_int64(p, &n) || n < 0) {
        return false;
    }
    *bn = BN_new();
    return *bn != NULL && BN_set_word(*bn, (BN_ULONG)n);
}

static bool set_bn(const OSSL_PARAM *p, BIGNUM **out)
{
    hsm_auto_str text = NULL;
    BIGNUM *bn = NULL;
    bool good;

    if (is_text(p)) {
        text = copy_text(p);
        good = text != NULL && text_is_number(text, false)
            && BN_asc2bn(&bn, text);
    } else {
        good = get_bn(p, &bn);
    }
    if (!good) {
        BN_free(bn);
        return false;
    }
    BN_clear_free(*out);
    *out = bn;
    return true;
}

static bool set_one(const struct prov_param *row, const OSSL_PARAM *p,
                    char *out)
{
    void *at = out + row->offset;

    switch (row->kind) {
    case PROV_PARAM_TEXT:
        return set_text(p, at);
    case PROV_PARAM_UINT:
        return set_uint(p, at);
    case PROV_PARAM_INT:
        return set_int(p, at);
    case PROV_PARAM_BN:
        return set_bn(p, at);
    }
    return false;
}

static const char *wanted(enum prov_param_kind kind)
{
    switch (kind) {
    case PROV_PARAM_TEXT:
        return "a text";
    case PROV_PARAM_UINT:
        return "a number that is not negative";
    case PROV_PARAM_INT:
    case PROV_PARAM_BN:
        break;
    }
    return "a number";
}

/* libcrypto's own words about the wrong type say less than ours. */
static bool set_quietly(const struct prov_param *row, const OSSL_PARAM *p,
                        char *out)
{
    bool good;

    ERR_set_mark();
    good = set_one(row, p, out);
    ERR_pop_to_mark();
    return good;
}

int prov_params_decode(const struct prov_param *rows, const OSSL_PARAM params[],
                       void *out)
{
    const OSSL_PARAM *p;

    if (params == NULL) {
        return 1;
    }
    for (; rows->name != NULL; rows++) {
        p = OSSL_PARAM_locate_const(params, rows->name);
        if (p != NULL && !set_quietly(rows, p, out)) {
            return prov_raise_prov(PROV_R_FAILED_TO_GET_PARAMETER,
                                   "parameter %s must be %s", rows->name,
                                   wanted(rows->kind));
        }
    }
    return 1;
}

void prov_params_clear(const struct prov_param *rows, void *out)
{
    char *base = out;
    BIGNUM **bn;

    for (; rows->name != NULL; rows++) {
        if (rows->kind == PROV_PARAM_TEXT) {
            hsm_str_clear((char **)(void *)(base + rows->offset));
        } else if (rows->kind == PROV_PARAM_BN) {
            bn = (BIGNUM **)(void *)(base + rows->offset);
            BN_clear_free(*bn);
            *bn = NULL;
        }
    }
}
