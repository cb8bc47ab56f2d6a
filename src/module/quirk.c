/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/quirk.h"

#include <string.h>

static const struct hsm_quirk rows[] = {
    {
        .name = "SoftHSM",
        .manufacturer = "SoftHSM",
        .description = "",
        .login_race = true,     /* rewrites its token file at C_Login */
        .start_race = true,     /* and reads it at C_Initialize only */
    }, {
        .name = "openCryptoki",
        .manufacturer = "IBM",
        .description = "",
        .start_race = true,     /* C_GetSlotList then shows no slot */
    }, {
        .name = "NSS",
        .manufacturer = "Mozilla Foundation",
        .description = "",
        .lengths_first = true,  /* writes past short attribute buffers */
        .slow_storage = true,   /* one PBKDF2 for each attribute of the key */
    }, {
        .name = "p11-kit remote",
        .manufacturer = "PKCS#11 Kit",
        .description = "",
        .remote = true,
        .login_race = true,     /* SoftHSM may be behind it */
    }, {
        .name = "p11-kit remote, without a server",
        .manufacturer = "p11-kit",
        .description = "",
        .remote = true,
        .login_race = true,
    }, {
        .name = "pkcs11-proxy",
        .manufacturer = "",
        .description = "PKCS#11 Proxy",
        .remote = true,
        .login_race = true,
    }, {
        .name = "tpm2-pkcs11",
        .manufacturer = "tpm2-software",
        .description = "",
        .remote = true,         /* the TPM or its broker can go away */
    }, {
        .name = "none",
        .manufacturer = "",
        .description = "",
    }
};

static bool begins(const CK_UTF8CHAR field[32], const char *with)
{
    size_t len = strlen(with);

    return len <= 32 && memcmp(field, with, len) == 0;
}

const struct hsm_quirk *hsm_quirk_of(const CK_INFO *info)
{
    size_t last = sizeof(rows) / sizeof(rows[0]) - 1;
    size_t i = 0;

    while (i < last
           && !(begins(info->manufacturerID, rows[i].manufacturer)
                && begins(info->libraryDescription, rows[i].description))) {
        i++;
    }
    return &rows[i];
}
