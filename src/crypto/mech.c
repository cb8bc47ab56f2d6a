/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/mech.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/crypto/mech_table.h"

/* Where the parameter of a kind stands in a struct hsm_mech. */
static const struct {
    size_t offset, size;
} parameters[] = {
    [HSM_MECH_PLAIN] = { 0, 0 },
    [HSM_MECH_PSS] = { offsetof(struct hsm_mech, u.pss),
                       sizeof(CK_RSA_PKCS_PSS_PARAMS) },
    [HSM_MECH_OAEP] = { offsetof(struct hsm_mech, u.oaep.native),
                        sizeof(CK_RSA_PKCS_OAEP_PARAMS) }
};

struct hsm_mech hsm_mech_pss(CK_MECHANISM_TYPE type, CK_MECHANISM_TYPE hash,
                             CK_ULONG mgf, CK_ULONG salt_bytes)
{
    struct hsm_mech m = { .type = type, .kind = HSM_MECH_PSS };

    m.u.pss.hashAlg = hash;
    m.u.pss.mgf = mgf;
    m.u.pss.sLen = salt_bytes;
    return m;
}

hsm_rc hsm_mech_oaep(CK_MECHANISM_TYPE type, CK_MECHANISM_TYPE hash,
                     CK_ULONG mgf, struct hsm_bytes label,
                     struct hsm_mech *out)
{
    struct hsm_mech m = { .type = type, .kind = HSM_MECH_OAEP };

    if (label.len > sizeof(m.u.oaep.label)) {
        return hsm_fail(CKR_ARGUMENTS_BAD, __func__, "a label of %zu octets "
                        "is longer than %zu", label.len,
                        sizeof(m.u.oaep.label));
    }
    m.u.oaep.native.hashAlg = hash;
    m.u.oaep.native.mgf = mgf;
    m.u.oaep.native.source = CKZ_DATA_SPECIFIED;
    m.u.oaep.native.ulSourceDataLen = label.len;
    if (label.len > 0) {
        memcpy(m.u.oaep.label, label.p, label.len);
    }
    *out = m;
    return HSM_OK;
}

void hsm_mech_native(struct hsm_mech *m, CK_MECHANISM *out)
{
    size_t size = parameters[m->kind].size;

    if (m->kind == HSM_MECH_OAEP) {
        m->u.oaep.native.pSourceData =
            m->u.oaep.native.ulSourceDataLen > 0 ? m->u.oaep.label : NULL;
    }
    out->mechanism = m->type;
    out->pParameter = size > 0 ? (char *)m + parameters[m->kind].offset : NULL;
    out->ulParameterLen = size;
}

const char *hsm_mech_name(CK_MECHANISM_TYPE type, char buf[24])
{
    size_t low = 0, high = hsm_mech_table_n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (hsm_mech_table[mid].type == type) {
            return hsm_mech_table[mid].name;
        }
        if (hsm_mech_table[mid].type < type) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    (void)snprintf(buf, 24, "0x%08lx", type);
    return buf;
}

static bool read_number(const char *text, size_t len, CK_MECHANISM_TYPE *out)
{
    char number[24] = "";
    int saved = errno;
    char *end = number;
    unsigned long n;

    if (len == 0 || len >= sizeof(number) || text[0] < '0'
        || text[0] > '9') {
        return false;
    }
    memcpy(number, text, len);
    errno = 0;
    n = strtoul(number, &end, 0);
    if (errno == 0 && *end == '\0') {
        *out = n;
    } else {
        end = number;
    }
    errno = saved;
    return end != number;
}

bool hsm_mech_by_name(const char *name, size_t len, CK_MECHANISM_TYPE *type)
{
    static const char prefix[] = "CKM_";
    const size_t skip = sizeof(prefix) - 1;

    if (len > skip && strncasecmp(name, prefix, skip) == 0) {
        name += skip;
        len -= skip;
    }
    for (size_t i = 0; i < hsm_mech_table_n; i++) {
        const char *row = hsm_mech_table[i].name + skip;

        if (strlen(row) == len && strncasecmp(row, name, len) == 0) {
            *type = hsm_mech_table[i].type;
            return true;
        }
    }
    return read_number(name, len, type);
}
