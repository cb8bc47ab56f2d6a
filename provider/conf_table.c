/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/conf_table.h"

#include <limits.h>
#include <stddef.h>

#define NAME(rest) PROV_SETTING_PREFIX PROV_SETTING_MODULE rest

#define TEXT(name, preset, help) \
    { NAME(name), PROV_SETTING_TEXT, NULL, 0, 0, preset, help }
#define SECRET(name, help) \
    { NAME(name), PROV_SETTING_SECRET, NULL, 0, 0, NULL, help }
#define BOOL(name, words, preset, help) \
    { NAME(name), PROV_SETTING_BOOL, words, 0, 0, preset, help }
#define NUMBER(name, min, max, preset, help) \
    { NAME(name), PROV_SETTING_NUMBER, NULL, min, max, preset, help }
#define CHOICE(name, words, preset, help) \
    { NAME(name), PROV_SETTING_CHOICE, words, 0, 0, preset, help }
#define WORDS(name, words, help) \
    { NAME(name), PROV_SETTING_WORDS, words, 0, 0, NULL, help }

const struct prov_setting prov_settings[PROV_SETTINGS] = {
    [PROV_SET_PATH] = TEXT("path", NULL,
        "File of the PKCS#11 module. Without it the modules that p11-kit "
        "knows are used. The environment variable PKCS11_PROVIDER_MODULE "
        "takes its place."),
    [PROV_SET_INIT_ARGS] = TEXT("init-args", NULL,
        "Text that this module wants in C_Initialize; NSS does."),
    [PROV_SET_PIN] = SECRET("token-pin",
        "The PIN, or better where it is: file:PATH, env:NAME, fd:N or "
        "credential:NAME. What looks like the name of a file is refused. A "
        "PIN in the URI goes before it."),
    [PROV_SET_LOGIN] = CHOICE("login-behavior", "auto always never", "auto",
        "When to log in: auto, where private keys are wanted; always, before "
        "any object is searched; never."),
    [PROV_SET_CACHE_PINS] = BOOL("cache-pins", "cache", "true",
        "Keep an accepted PIN in locked memory for later logins, as they are "
        "needed after a fork or when the token was restarted."),
    [PROV_SET_FINAL_TRY] = BOOL("final-try", NULL, "false",
        "Send a PIN even if the token says that it is the last try before it "
        "locks."),
    [PROV_SET_MAX_SESSIONS] = NUMBER("max-sessions", 0, UINT_MAX, "0",
        "At most so many sessions on a token; 0: as many as it grants. Who "
        "finds none free waits. Calls through p11-kit's client are made one "
        "after the other, however many sessions there are, unless "
        "pkcs11-module-call-timeout is set."),
    [PROV_SET_WAIT_MS] = NUMBER("wait-ms", 1, 3600000, "30000",
        "Milliseconds to wait at most for a session, a login or a token that "
        "is being restarted."),
    [PROV_SET_CALL_TIMEOUT] = NUMBER("call-timeout", 0, 3600000, "0",
        "Milliseconds that one call into the module may take; 0: any time. "
        "With a limit calls are made by threads of their own: one that does "
        "not return is left behind with its thread and session, and the "
        "application gets an error. Allow for what is slow: key generation, "
        "and a PIN that is typed at the device. Calls through p11-kit's "
        "client overlap then: where its server dies, more threads than one "
        "may be left behind. The first to load a module in a process "
        "decides."),
    [PROV_SET_ENV] = {
        NAME("env"), PROV_SETTING_ENVIRONMENT, NULL, 0, 0, NULL,
        "Environment variables that the module needs, NAME or NAME=VALUE, "
        "separated by blanks. They are set again, where missing, before the "
        "module is started: a server's workers may have lost them." },
    [PROV_SET_LOAD_DEFAULT] = CHOICE("load-default", "auto never", "auto",
        "A module in this process that hashes by OpenSSL fails where no "
        "provider is active but this one. auto: load the default provider "
        "then; never: report it."),
    [PROV_SET_CLOSE_AT_EXIT] = BOOL("close-at-exit", "auto", "auto",
        "Close idle sessions when the process ends. auto: for modules that "
        "are known to talk to a server."),
    [PROV_SET_REMOTE] = BOOL("remote", "auto", "auto",
        "The module talks to another process, whose end must not end this "
        "one by SIGPIPE. auto: as known of the module."),
    [PROV_SET_REFERENCE_PUBLIC] = BOOL("reference-public-key", NULL, "true",
        "Write the public key into PEM references, so that loading them "
        "needs no token."),
    [PROV_SET_CERTIFICATE_CHAIN] = BOOL("certificate-chain", NULL, "true",
        "A certificate that a URI names, and that is no CA's, is followed by "
        "those of its issuers that the token has, for applications that load "
        "more than one."),
    [PROV_SET_TLS_RSA_BY_TOKEN] = BOOL("tls-rsa-by-token", NULL, "false",
        "Let a token that has no raw RSA take the padding away in TLS's RSA "
        "key exchange. How long it takes may tell an attacker whether the "
        "padding was right, and with that decrypt recorded connections. With "
        "raw RSA (CKM_RSA_X_509) it is taken away here, in constant time."),
    [PROV_SET_CACHE_KEYS] = BOOL("cache-keys", "auto", "auto",
        "Work with a copy of a stored key, made in a session object at its "
        "first use and destroyed when the key is freed. Each process has its "
        "own. auto: for software tokens that read their storage at every use "
        "(NSS). true: for any token. Never for a key that wants the PIN each "
        "time (CKA_ALWAYS_AUTHENTICATE) or must not be copied "
        "(CKA_COPYABLE). Where the token makes none, the key itself is "
        "used. A copy is of its time: when another process deletes the key, "
        "those that have copies sign on until they free theirs. What this "
        "process deletes through OSSL_STORE_delete() it does not use any "
        "more."),
    [PROV_SET_BLOCK] = WORDS("block-operations",
        "store keymgmt signature asym-cipher asymcipher keyexch exchange kem "
        "encoder decoder digest cipher mac kdf rand skeymgmt",
        "Operations that are not to be offered to OpenSSL, separated by "
        "blanks."),
    [PROV_SET_LOG] = TEXT("log", NULL,
        "Where to log to: file:PATH,level:N with N from 1 (errors, and what "
        "else a person should know) to 3 (every call); PATH stderr is the "
        "terminal. The environment variable PKCS11_PROVIDER_DEBUG takes its "
        "place."),
    [PROV_SET_CACHE_SESSIONS] = NUMBER("cache-sessions", 0, UINT_MAX, NULL,
        "Understood, and without effect: see max-sessions."),
    [PROV_SET_LOAD_BEHAVIOR] = CHOICE("load-behavior", "auto early", "auto",
        "Understood, and without effect: everything is offered before the "
        "module is loaded, which is when it is first needed."),
    [PROV_SET_QUIRKS] = WORDS("quirks",
        "no-deinit no-allowed-mechanisms no-operation-state "
        "no-session-callbacks",
        "Understood, and without effect: nothing has to be worked around."),
    [PROV_SET_ENCODE_URI] = BOOL("encode-provider-uri-to-pem", NULL, "true",
        "Understood, and without effect: keys on a token are always written "
        "as PEM references."),
    [PROV_SET_ALLOW_EXPORT] = CHOICE("allow-export", "0 1", "0",
        "Understood, and without effect: public keys can be exported, and "
        "are used in software."),
    [PROV_SET_ASSUME_FIPS] = BOOL("assume-fips", NULL, "false",
        "Understood, and without effect: nothing is offered as fips=yes.")
};

const struct prov_setting prov_module_settings[PROV_MODULE_SETTINGS] = {
    [PROV_MODULE_NAME] = { "name", PROV_SETTING_TEXT, NULL, 0, 0, NULL,
        "What messages and the URI attribute module-name call it." },
    [PROV_MODULE_PATH] = { "path", PROV_SETTING_TEXT, NULL, 0, 0, NULL,
        "Its file." },
    [PROV_MODULE_INIT_ARGS] = { "init-args", PROV_SETTING_TEXT, NULL, 0, 0,
        NULL, "As pkcs11-module-init-args." },
    [PROV_MODULE_PIN] = { "token-pin", PROV_SETTING_SECRET, NULL, 0, 0, NULL,
        "As pkcs11-module-token-pin." }
};

const struct prov_wrong_name prov_wrong_names[] = {
    { "pkcs11-module", NAME("path") },
    { "pkcs11_module", NAME("path") },
    { "pkcs11-module-file", NAME("path") },
    { "pkcs11-module-pin", NAME("token-pin") },
    { "pkcs11-module-tokenpin", NAME("token-pin") },
    { "pkcs11-module-user-pin", NAME("token-pin") },
    { "pkcs11-pin", NAME("token-pin") },
    { "pin", NAME("token-pin") },
    { "PIN", NAME("token-pin") },
    { "user_pin", NAME("token-pin") },
    { "MODULE_PATH", NAME("path") },
    { "INIT_ARGS", NAME("init-args") },
    { "pkcs11-module-initargs", NAME("init-args") },
    { "pkcs11-module-login-behaviour", NAME("login-behavior") },
    { "pkcs11-module-login", NAME("login-behavior") },
    { "force_login", NAME("login-behavior") },
    { "pkcs11-module-load-behaviour", NAME("load-behavior") },
    { "pkcs11-module-cache-pin", NAME("cache-pins") },
    { "pkcs11-module-cache-key", NAME("cache-keys") },
    { "pkcs11-module-cache-session", NAME("cache-sessions") },
    { "pkcs11-module-max-session", NAME("max-sessions") },
    { "pkcs11-module-quirk", NAME("quirks") },
    { "pkcs11-module-environment", NAME("env") },
    { "pkcs11-module-block-operation", NAME("block-operations") },
    { "pkcs11-module-blocked-operations", NAME("block-operations") },
    { "pkcs11-module-debug", NAME("log") },
    { "debug_level", NAME("log") },
    { "debug", NAME("log") },
    { NULL, NULL }
};

const struct prov_wrong_name prov_wrong_module_names[] = {
    { "module", "path" },
    { "file", "path" },
    { "module-path", "path" },
    { "pkcs11-module-path", "path" },
    { "init_args", "init-args" },
    { "module-init-args", "init-args" },
    { "pkcs11-module-init-args", "init-args" },
    { "pin", "token-pin" },
    { "token_pin", "token-pin" },
    { "module-token-pin", "token-pin" },
    { "pkcs11-module-token-pin", "token-pin" },
    { NULL, NULL }
};
