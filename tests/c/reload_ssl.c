/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: reload_ssl CERTIFICATE KEY WARM_UP TIMES
 *
 * What a server does when it is told to read its configuration again: a new
 * SSL_CTX with certificate and key, a handshake with it over memory, and the
 * old one freed. KEY is a file or a pkcs11: URI. After the warm-up, TIMES more
 * must not take memory. The first two handshakes are made before the old
 * SSL_CTX is freed, as by connections that outlive a reload. Prints TAP.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/c/resident.h"
#include "tests/c/stored_key.h"
#include "tests/c/tap.h"
#include "tests/c/tls_pair.h"

#define GROWTH_MAX_KIB 300

static bool introduce(SSL_CTX *ctx, const char *certificate, const char *name)
{
    EVP_PKEY *key = NULL;
    bool good = SSL_CTX_use_certificate_file(ctx, certificate,
                                             SSL_FILETYPE_PEM) == 1;

    if (strncmp(name, "pkcs11:", 7) == 0) {
        key = stored_key(NULL, name, NULL, NULL);
        good = good && key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
        EVP_PKEY_free(key);
    } else {
        good = good
               && SSL_CTX_use_PrivateKey_file(ctx, name,
                                              SSL_FILETYPE_PEM) == 1;
    }
    return good && SSL_CTX_check_private_key(ctx) == 1;
}

/* The client knows the certificate and no other. */
static bool handshake(SSL_CTX *server, SSL_CTX *client)
{
    struct tls_pair p;
    bool good = tls_pair_new(&p, server, client);

    good = good && tls_pair_shake(&p)
           && SSL_get_verify_result(p.client) == X509_V_OK;
    tls_pair_free(&p);
    return good;
}

static SSL_CTX *make_client(const char *certificate)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL || SSL_CTX_load_verify_file(ctx, certificate) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* The certificate of a server may be the whole chain. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
                                X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

/* How many of so many reloads were good. */
static int reload(char **what, SSL_CTX *client, int times)
{
    SSL_CTX *old = NULL;
    int good = 0;

    for (int i = 0; i < times; i++) {
        SSL_CTX *new = SSL_CTX_new(TLS_server_method());

        if (new != NULL && introduce(new, what[0], what[1])
            && handshake(new, client)
            && (old == NULL || i > 2 || handshake(old, client))) {
            good++;
        } else if (good == i) {
            ERR_print_errors_fp(stderr);
        }
        SSL_CTX_free(old);
        old = new;
    }
    SSL_CTX_free(old);
    return good;
}

int main(int argc, char **argv)
{
    SSL_CTX *client = NULL;
    int warm_up, times;
    long before, grown;

    if (argc != 5) {
        fprintf(stderr, "usage: reload_ssl CERTIFICATE KEY WARM_UP TIMES\n");
        return 2;
    }
    warm_up = (int)strtol(argv[3], NULL, 10);
    times = (int)strtol(argv[4], NULL, 10);
    client = make_client(argv[1]);
    ok(client != NULL, "a client");
    is_int(reload(argv + 1, client, warm_up), warm_up, "reloads, to warm up");
    before = resident_kib();
    is_int(reload(argv + 1, client, times), times, "reloads");
    grown = resident_kib() - before;
    ok(before > 0 && grown < GROWTH_MAX_KIB, "grown by %ld KiB", grown);
    ok(ERR_peek_error() == 0, "no error is left over");
    SSL_CTX_free(client);
    return tap_done();
}
