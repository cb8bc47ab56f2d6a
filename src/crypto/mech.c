/* SPDX-License-Identifier: Apache-2.0 */
#include "src/crypto/mech.h"

#include <stdio.h>

#include "src/crypto/mech_table.h"

struct hsm_mech hsm_mech_pss(CK_MECHANISM_TYPE type, CK_MECHANISM_TYPE hash,
                             CK_ULONG mgf, CK_ULONG salt_bytes)
{
    struct hsm_mech m = { .type = type, .kind = HSM_MECH_PSS };

    m.u.pss.hashAlg = hash;
    m.u.pss.mgf = mgf;
    m.u.pss.sLen = salt_bytes;
    return m;
}

void hsm_mech_native(struct hsm_mech *m, CK_MECHANISM *out)
{
    out->mechanism = m->type;
    out->pParameter = NULL;
    out->ulParameterLen = 0;
    if (m->kind == HSM_MECH_PSS) {
        out->pParameter = &m->u.pss;
        out->ulParameterLen = sizeof(m->u.pss);
    }
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
