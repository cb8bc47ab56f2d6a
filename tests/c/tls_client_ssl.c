/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: tls_client_ssl HOST:PORT N CA CERTIFICATE KEY
 *
 * N times: a new connection, a full TLS 1.3 handshake (nothing is resumed) with
 * a client certificate, one request and its answer. Prints TAP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/c/tap.h"

static const char request[] = "GET / HTTP/1.0\r\n\r\n";

static SSL_CTX *client_ctx(const char *ca, const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL
        || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_load_verify_file(ctx, ca) != 1
        || SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

/* Reads to the end; true where the answer begins with HTTP's 200. */
static bool answered(BIO *io)
{
    char text[4096];
    size_t have = 0;
    int n;

    do {
        n = BIO_read(io, text + have, (int)(sizeof(text) - 1 - have));
        have += n > 0 ? (size_t)n : 0;
    } while (n > 0 && have < sizeof(text) - 1);
    text[have] = '\0';
    return strncmp(text, "HTTP/1.1 200", 12) == 0;
}

static bool visit(SSL_CTX *ctx, char *where)
{
    BIO *io = BIO_new_ssl_connect(ctx);
    SSL *ssl = NULL;
    bool good;

    if (io == NULL) {
        return false;
    }
    BIO_get_ssl(io, &ssl);
    BIO_set_conn_hostname(io, where);
    good = BIO_do_handshake(io) == 1 && SSL_session_reused(ssl) == 0
           && BIO_write(io, request, sizeof(request) - 1) > 0 && answered(io);
    BIO_free_all(io);
    return good;
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx;
    long n, good = 0;

    if (argc != 6) {
        fprintf(stderr, "usage: tls_client_ssl HOST:PORT N CA CERT KEY\n");
        return 2;
    }
    n = strtol(argv[2], NULL, 10);
    ctx = client_ctx(argv[3], argv[4], argv[5]);
    if (!ok(ctx != NULL, "certificate and key are read")) {
        ERR_print_errors_fp(stderr);
    }
    for (long i = 0; ctx != NULL && i < n; i++) {
        bool visited = visit(ctx, argv[1]);

        good += visited ? 1 : 0;
        if (!visited) {
            ERR_print_errors_fp(stderr);
        }
        /* The end without a close_notify is an entry on the queue, too. */
        ERR_clear_error();
    }
    is_int(good, n, "%ld handshakes and answers", n);
    SSL_CTX_free(ctx);
    return tap_done();
}
