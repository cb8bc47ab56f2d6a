/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/gen_table.h"

#include <string.h>

#include <openssl/crypto.h>

#include "src/crypto/keygen.h"

/*      id, name, kind, words, half, attribute, default, help */
#define GEN_ROWS(X) \
    X(URI, "pkcs11_uri", TEXT, NULL, NEITHER, 0, \
      "the only token that there is", \
      "Where the key goes and how it is called: the token by token and its " \
      "other attributes, CKA_LABEL by object, CKA_ID by id, the PIN by " \
      "pin-source.") \
    X(TOKEN, "pkcs11_token", TEXT, NULL, NEITHER, 0, NULL, \
      "The token's label, where nothing else is to be said of it.") \
    X(LABEL, "pkcs11_label", TEXT, NULL, NEITHER, 0, "none", \
      "CKA_LABEL of both halves.") \
    X(KEY_ID, "pkcs11_id", BYTES, NULL, NEITHER, 0, "16 random bytes", \
      "CKA_ID of both halves.") \
    X(USAGE, "pkcs11_key_usage", TEXT, NULL, NEITHER, 0, \
      "signatures and decryption for RSA, signatures for RSA-PSS, signatures " \
      "and agreement for EC", \
      "What the key may do, names with blanks or commas between them, from " \
      "the list below.") \
    X(STORAGE, "pkcs11_storage", WORD, "token session", NEITHER, 0, "token", \
      "Whether the token keeps the key, or it ends with the session and " \
      "cannot be written to a file.") \
    X(EXTRACTABLE, "pkcs11_extractable", BOOL, NULL, PRIVATE, \
      CKA_EXTRACTABLE, "no", \
      "The private key may leave the token, wrapped by another key.") \
    X(SENSITIVE, "pkcs11_sensitive", BOOL, NULL, PRIVATE, CKA_SENSITIVE, \
      "yes", \
      "The private key is never shown in the clear. The opposite makes sense " \
      "only of a key that is extractable.") \
    X(ALWAYS_AUTHENTICATE, "pkcs11_always_authenticate", BOOL, NULL, PRIVATE, \
      CKA_ALWAYS_AUTHENTICATE, "no", \
      "Every operation with the private key needs the PIN.") \
    X(ALLOWED_MECHANISMS, "pkcs11_allowed_mechanisms", MECHANISMS, NULL, \
      PRIVATE, CKA_ALLOWED_MECHANISMS, "all", \
      "The only mechanisms that the private key may be used with.") \
    X(MODIFIABLE, "pkcs11_modifiable", BOOL, NULL, BOTH, CKA_MODIFIABLE, \
      "yes", \
      "Attributes may be changed later.") \
    X(COPYABLE, "pkcs11_copyable", BOOL, NULL, BOTH, CKA_COPYABLE, "yes", \
      "The token may be asked for a copy, with other attributes.") \
    X(DESTROYABLE, "pkcs11_destroyable", BOOL, NULL, BOTH, CKA_DESTROYABLE, \
      "yes", \
      "The key may be deleted.") \
    X(START_DATE, "pkcs11_start_date", DATE, NULL, BOTH, CKA_START_DATE, \
      "none", \
      "The first day of use, which the token notes.") \
    X(END_DATE, "pkcs11_end_date", DATE, NULL, BOTH, CKA_END_DATE, "none", \
      "The last day of use, which the token notes.")

#define ROW(id, name, kind, words, half, type, preset, help) \
    [PROV_GEN_##id] = { name, PROV_GEN_KIND_##kind, PROV_GEN_##half, type, \
                        words, preset, help },
const struct prov_gen_row prov_gen_rows[PROV_GEN_N] = { GEN_ROWS(ROW) };

#define PARAM(id, name, kind, words, half, type, preset, help) \
    [PROV_GEN_##id] = { name, PROV_PARAM_TEXT, \
                        PROV_GEN_##id * sizeof(char *) },
const struct prov_param prov_gen_params[PROV_GEN_N + 1] = {
    GEN_ROWS(PARAM)
    [PROV_GEN_N] = { NULL, PROV_PARAM_TEXT, 0 }
};

#define SETTABLE(id, name, kind, words, half, type, preset, help) \
    [PROV_GEN_##id] = OSSL_PARAM_utf8_string(name, NULL, 0),
const OSSL_PARAM prov_gen_settable[PROV_GEN_N + 1] = {
    GEN_ROWS(SETTABLE)
    [PROV_GEN_N] = OSSL_PARAM_END
};

/* Names of key usage [RFC 5280, 4.2.1.3], as they are in use for tokens. */
static const struct {
    const char *name;
    unsigned int use;
} usage_rows[] = {
    { "digitalSignature", HSM_USE_SIGN },
    { "nonRepudiation", HSM_USE_SIGN },
    { "contentCommitment", HSM_USE_SIGN },
    { "keyCertSign", HSM_USE_SIGN },
    { "cRLSign", HSM_USE_SIGN },
    { "dataEncipherment", HSM_USE_DECRYPT },
    { "keyEncipherment", HSM_USE_DECRYPT | HSM_USE_WRAP },
    { "keyAgreement", HSM_USE_DERIVE },
    { "encipherOnly", HSM_USE_DERIVE },
    { "decipherOnly", HSM_USE_DERIVE },
};

#define ANY_RSA (HSM_USE_SIGN | HSM_USE_DECRYPT | HSM_USE_WRAP)
#define TAKEN (HSM_USE_DECRYPT | HSM_USE_WRAP)

/* [PKCS#11 3.1, 6.1 and 6.3] The first that is part of a name counts. */
static const struct prov_gen_mech mech_rows[] = {
    { "KEY_PAIR_GEN", CKK_VENDOR_DEFINED, 0, false },
    { "ECDSA", CKK_EC, HSM_USE_SIGN, false },
    { "ECDH1_", CKK_EC, HSM_USE_DERIVE, false },
    { "ECMQV_", CKK_EC, HSM_USE_DERIVE, false },
    { "ECDH_", CKK_EC, HSM_USE_WRAP, false },
    { "RSA_PKCS_PSS", CKK_RSA, HSM_USE_SIGN, true },
    { "RSA_PKCS_OAEP", CKK_RSA, TAKEN, false },
    { "RSA_PKCS_TPM", CKK_RSA, TAKEN, false },
    { "RSA_AES_KEY_WRAP", CKK_RSA, HSM_USE_WRAP, false },
    { "_RSA_PKCS", CKK_RSA, HSM_USE_SIGN, false },
    { "RSA_PKCS", CKK_RSA, ANY_RSA, false },
    { "RSA_X_509", CKK_RSA, ANY_RSA, true },
    { "RSA_X9_31", CKK_RSA, HSM_USE_SIGN, false },
    { "RSA_9796", CKK_RSA, HSM_USE_SIGN, false },
};

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

const char *prov_gen_name_of(CK_ATTRIBUTE_TYPE type)
{
    size_t i;

    for (i = 0; i < PROV_GEN_N; i++) {
        if (prov_gen_rows[i].half != PROV_GEN_NEITHER
            && prov_gen_rows[i].type == type) {
            return prov_gen_rows[i].name;
        }
    }
    return NULL;
}

unsigned int prov_gen_usage(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < N_OF(usage_rows); i++) {
        if (strlen(usage_rows[i].name) == len
            && OPENSSL_strncasecmp(usage_rows[i].name, name, len) == 0) {
            return usage_rows[i].use;
        }
    }
    return 0;
}

const struct prov_gen_mech *prov_gen_mech_of(const char *name)
{
    static const char prefix[] = "CKM_";
    size_t i;

    if (strncmp(name, prefix, strlen(prefix)) != 0) {
        return NULL;
    }
    name += strlen(prefix);
    for (i = 0; i < N_OF(mech_rows); i++) {
        if (strstr(name, mech_rows[i].part) != NULL) {
            return mech_rows[i].uses != 0 ? &mech_rows[i] : NULL;
        }
    }
    return NULL;
}
