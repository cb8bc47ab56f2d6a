/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: tls_memory_ssl DIR
 *
 * Handshakes between a server and a client in this process, over memory. DIR
 * has, for each NAME of those below, NAME.pem (a certificate of ca.pem),
 * NAME.key (a private key, or a reference to one) and, for keys on a token,
 * NAME.uri:
 *
 *      rsa ec      on the token
 *      soft        in the file
 *      stranger    in the file, of another CA
 *      gone        a reference to a key that the token has no more
 *
 * COUNT_FILE is where the token's calls are counted. Prints TAP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/c/calls.h"
#include "tests/c/stored_key.h"
#include "tests/c/tap.h"
#include "tests/c/tls_pair.h"

/* How the key gets into its SSL_CTX. */
enum way {
    BY_REFERENCE,               /* SSL_CTX_use_PrivateKey_file() */
    URI_FIRST,                  /* by URI, before there is an SSL_CTX */
    URI_LATER                   /* by URI, when there is one */
};

static const char *const way_names[] = { "reference", "URI, then SSL_CTX",
                                         "SSL_CTX, then URI" };

struct side {
    const char *name;           /* of the files */
    enum way way;
    int min_version, max_version;
    const char *group;          /* the only one, or NULL */
};

static EVP_PKEY *load_by_uri(const char *name)
{
    char text[1024] = "";
    FILE *in;

    snprintf(text, sizeof(text), "%s.uri", name);
    in = fopen(text, "r");
    if (in == NULL || fgets(text, sizeof(text), in) == NULL) {
        perror(text);
        exit(99);
    }
    fclose(in);
    return stored_key(NULL, text, NULL, NULL);
}

/* Certificate and key; true when they belong together. */
static bool introduce(SSL_CTX *ctx, const char *name, EVP_PKEY *key)
{
    char file[64];
    bool good;

    snprintf(file, sizeof(file), "%s.pem", name);
    good = SSL_CTX_use_certificate_file(ctx, file, SSL_FILETYPE_PEM) == 1;
    snprintf(file, sizeof(file), "%s.key", name);
    good = good
           && (key != NULL
                   ? SSL_CTX_use_PrivateKey(ctx, key)
                   : SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM))
                  == 1;
    return good && SSL_CTX_check_private_key(ctx) == 1;
}

/* OpenSSL's macro takes a name that may be written to. */
static bool set_group(SSL_CTX *ctx, const char *name)
{
    char copy[20];

    snprintf(copy, sizeof(copy), "%s", name);
    return SSL_CTX_set1_groups_list(ctx, copy) == 1;
}

static bool restrict_to(SSL_CTX *ctx, const struct side *s)
{
    bool old = s->min_version < TLS1_2_VERSION;

    return SSL_CTX_set_min_proto_version(ctx, s->min_version) == 1
           && SSL_CTX_set_max_proto_version(ctx, s->max_version) == 1
           && (!old || SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0") == 1)
           && (s->group == NULL || set_group(ctx, s->group));
}

static SSL_CTX *side_new(const struct side *s)
{
    EVP_PKEY *key = s->way == URI_FIRST ? load_by_uri(s->name) : NULL;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    bool good = ctx != NULL;

    if (good && s->way == URI_LATER) {
        key = load_by_uri(s->name);
    }
    good = good && (s->way == BY_REFERENCE || key != NULL)
           && introduce(ctx, s->name, key) && restrict_to(ctx, s)
           && SSL_CTX_load_verify_file(ctx, "ca.pem") == 1;
    EVP_PKEY_free(key);
    if (!good) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    return ctx;
}

static bool pass(SSL *from, SSL *to)
{
    char text[6] = "";

    return SSL_write(from, "hello", 5) == 5 && SSL_read(to, text, 5) == 5
           && strcmp(text, "hello") == 0;
}

/* A mutual handshake, and something said both ways. */
static bool handshake(SSL_CTX *server, SSL_CTX *client)
{
    struct tls_pair p;
    bool good = tls_pair_new(&p, server, client);

    good = good && tls_pair_shake(&p) && pass(p.client, p.server)
           && pass(p.server, p.client)
           && SSL_get_verify_result(p.server) == X509_V_OK
           && SSL_get_verify_result(p.client) == X509_V_OK
           && SSL_session_reused(p.server) == 0;
    tls_pair_free(&p);
    return good;
}

static bool is_on_token(const struct side *s)
{
    return strcmp(s->name, "rsa") == 0 || strcmp(s->name, "ec") == 0;
}

/* n handshakes, after one in which keys are found: how many were good. */
static int many(SSL_CTX *server, SSL_CTX *client, int n, struct calls *calls)
{
    struct calls before;
    int good = 0;

    if (server == NULL || client == NULL || !handshake(server, client)) {
        return 0;
    }
    calls_read(&before);
    for (int i = 0; i < n; i++) {
        good += handshake(server, client) ? 1 : 0;
    }
    calls_read(calls);
    calls_since(calls, &before);
    return good;
}

/* All n succeed, with two calls for each signature of a key on the token. */
static void succeeds(const struct side *server, const struct side *client,
                     int n)
{
    long long signatures =
        (long long)n * (is_on_token(server) + is_on_token(client));
    SSL_CTX *s = side_new(server);
    SSL_CTX *c = side_new(client);
    struct calls calls = { .n = 0 };

    if (!is_int(many(s, c, n, &calls), n, "%s to %s, %s, TLS 1.%d%s%s: %d",
                client->name, server->name, way_names[server->way],
                server->max_version - TLS1_VERSION,
                server->group != NULL ? ", " : "",
                server->group != NULL ? server->group : "", n)) {
        ERR_print_errors_fp(stderr);
    }
    is_int(calls_of(&calls, "C_SignInit"), signatures, "C_SignInit");
    is_int(calls_of(&calls, "C_Sign"), signatures, "C_Sign");
    is_int(calls_total(&calls), 2LL * signatures, "and no other call");
    if (!ok(ERR_peek_error() == 0, "no error is left over")) {
        ERR_print_errors_fp(stderr);
    }
    ERR_clear_error();
    SSL_CTX_free(s);
    SSL_CTX_free(c);
}

/* Versions, key types on either side, and ways to load the key. */
static void try_versions(void)
{
    static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION,
                                    TLS1_2_VERSION, TLS1_3_VERSION };
    static const char *const pairs[][2] = { { "rsa", "ec" }, { "ec", "rsa" } };

    for (int i = 0; i < 4 * 2 * 3; i++) {
        struct side s = { pairs[i / 3 % 2][0], (enum way)(i % 3),
                          versions[i / 6], versions[i / 6], NULL };
        struct side c = s;

        c.name = pairs[i / 3 % 2][1];
        succeeds(&s, &c, 1);
    }
}

/* Keys of the exchange are made in software, whoever is preferred. */
static void try_groups(void)
{
    static const char *const groups[] = { "X25519", "X448", "P-256", "P-384",
                                          "P-521", "ffdhe2048" };

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        struct side s = { "ec", BY_REFERENCE, TLS1_3_VERSION, TLS1_3_VERSION,
                          groups[i] };

        succeeds(&s, &s, 1);
    }
}

/* Where one side's or neither's key is on the token. */
static void try_software(void)
{
    static const char *const pairs[][2] = { { "soft", "soft" },
                                            { "rsa", "soft" },
                                            { "soft", "ec" } };

    for (int i = 0; i < 2 * 3; i++) {
        int version = i / 3 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        struct side s = { pairs[i % 3][0], BY_REFERENCE, version, version,
                          NULL };
        struct side c = s;

        c.name = pairs[i % 3][1];
        succeeds(&s, &c, 1);
    }
}

static void try_hundred(void)
{
    struct side s = { "rsa", BY_REFERENCE, TLS1_3_VERSION, TLS1_3_VERSION,
                      NULL };
    struct side c = s;

    c.name = "ec";
    succeeds(&s, &c, 100);
}

/* Which parties do not come together, and what the last error says of it. */
static const struct refusal {
    struct side server, client;
    const char *reason;
} refusals[] = {
    { { "rsa", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      { "stranger", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      "certificate verify failed" },
    { { "stranger", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      { "rsa", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      "certificate verify failed" },
    { { "rsa", BY_REFERENCE, TLS1_3_VERSION, TLS1_3_VERSION, NULL },
      { "ec", BY_REFERENCE, TLS1_2_VERSION, TLS1_2_VERSION, NULL },
      "unsupported protocol" },
    { { "rsa", BY_REFERENCE, TLS1_3_VERSION, TLS1_3_VERSION, "P-256" },
      { "ec", BY_REFERENCE, TLS1_3_VERSION, TLS1_3_VERSION, "X25519" },
      "no suitable key share" },
    { { "gone", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      { "ec", BY_REFERENCE, TLS1_2_VERSION, TLS1_3_VERSION, NULL },
      "no such object" },
    { { "ec", BY_REFERENCE, TLS1_2_VERSION, TLS1_2_VERSION, NULL },
      { "gone", BY_REFERENCE, TLS1_2_VERSION, TLS1_2_VERSION, NULL },
      "no such object" },
};

static void try_refusals(void)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *r = &refusals[i];
        SSL_CTX *s = side_new(&r->server);
        SSL_CTX *c = side_new(&r->client);
        const char *why;

        ok(s != NULL && c != NULL && !handshake(s, c),
           "%s to %s is refused", r->client.name, r->server.name);
        why = ERR_reason_error_string(ERR_peek_error());
        is_str(why, r->reason, "with that error");
        ERR_clear_error();
        SSL_CTX_free(s);
        SSL_CTX_free(c);
    }
}

/* Another key's certificate is noticed when the key is loaded. */
static void try_mismatch(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EVP_PKEY *key = load_by_uri("ec");

    ok(ctx != NULL && key != NULL && !introduce(ctx, "gone", key),
       "a key and another key's certificate are refused");
    ERR_clear_error();
    EVP_PKEY_free(key);
    SSL_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    struct calls calls;

    if (argc != 2 || chdir(argv[1]) != 0) {
        fprintf(stderr, "usage: tls_memory_ssl DIR\n");
        return 2;
    }
    try_versions();
    try_groups();
    try_software();
    try_hundred();
    try_refusals();
    try_mismatch();
    calls_read(&calls);
    is_int(calls_of(&calls, "C_CreateObject"), 0, "nothing was created");
    is_int(calls_of(&calls, "C_VerifyInit"), 0, "nor verified by the token");
    is_int(calls_of(&calls, "C_GenerateKeyPair"), 0, "nor generated there");
    is_int(calls_of(&calls, "C_Login"), 1, "one login was enough");
    return tap_done();
}
