/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/quirk.h"

#include <string.h>

static const struct hsm_quirk rows[] = {
    {
        /* It passes on what the other side says of itself. From 0.23.17 on (to
         * 0.25.5 at least) a thread waits in rpc_socket_read() for the answer
         * whose header it read to be taken by the thread that it is for; when
         * the server ends in between, that one fails and wakes nobody. The
         * server does one call of a connection at a time anyhow. */
        .name = "p11-kit remote",
        .manufacturer = "",
        .description = "",
        .file = "p11-kit-client",
        .remote = true,
        .one_call = true,
        .login_race = true,     /* SoftHSM may be behind it */
        .reuses_handles = true, /* or openCryptoki */
    }, {
        .name = "SoftHSM",
        .manufacturer = "SoftHSM",
        .description = "",
        .file = "",
        .login_race = true,     /* rewrites its token file at C_Login */
        .start_race = true,     /* and reads it at C_Initialize only */
    }, {
        .name = "openCryptoki",
        .manufacturer = "IBM",
        .description = "",
        .file = "",
        .start_race = true,     /* C_GetSlotList then shows no slot */
        .reuses_handles = true, /* what another process deleted, too */
    }, {
        .name = "NSS",
        .manufacturer = "Mozilla Foundation",
        .description = "",
        .file = "",
        .lengths_first = true,  /* writes past short attribute buffers */
        .slow_storage = true,   /* one PBKDF2 for each attribute of the key */
    }, {
        /* Its client by another name, or here; they cannot be told apart. */
        .name = "p11-kit proxy",
        .manufacturer = "PKCS#11 Kit",
        .description = "",
        .file = "",
        .remote = true,
        .login_race = true,
        .reuses_handles = true,
    }, {
        .name = "p11-kit remote, without a server",
        .manufacturer = "p11-kit",
        .description = "",
        .file = "",
        .remote = true,
        .one_call = true,       /* its client, by whatever name */
        .login_race = true,
        .reuses_handles = true,
    }, {
        .name = "pkcs11-proxy",
        .manufacturer = "",
        .description = "PKCS#11 Proxy",
        .file = "",
        .remote = true,
        .login_race = true,
        .reuses_handles = true,
    }, {
        .name = "tpm2-pkcs11",
        .manufacturer = "tpm2-software",
        .description = "",
        .file = "",
        .remote = true,         /* the TPM or its broker can go away */
    }, {
        .name = "none",
        .manufacturer = "",
        .description = "",
        .file = "",
    }
};

static bool begins(const CK_UTF8CHAR field[32], const char *with)
{
    size_t len = strlen(with);

    return len <= 32 && memcmp(field, with, len) == 0;
}

const struct hsm_quirk *hsm_quirk_of(const CK_INFO *info, const char *path)
{
    size_t last = sizeof(rows) / sizeof(rows[0]) - 1;
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    size_t i = 0;

    while (i < last
           && !(begins(info->manufacturerID, rows[i].manufacturer)
                && begins(info->libraryDescription, rows[i].description)
                && strncmp(file, rows[i].file, strlen(rows[i].file)) == 0)) {
        i++;
    }
    return &rows[i];
}
