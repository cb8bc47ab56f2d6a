/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: tls_client_ssl HOST:PORT N|FILE CA CERTIFICATE KEY [retry]
 *
 * N times, or until there is a file of that name: a new connection, a full
 * TLS 1.3 handshake (nothing is resumed) with a client certificate, one request
 * and its answer. Prints TAP. With "retry" a connection from which no byte came
 * is tried again: some servers close their listening socket when they are
 * reloaded, and drop who queues there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/c/tap.h"

enum visit { SERVED, FAILED, UNHEARD };

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

static enum visit visit(SSL_CTX *ctx, char *where)
{
    BIO *io = BIO_new_ssl_connect(ctx);
    SSL *ssl = NULL;
    bool good, heard;

    if (io == NULL) {
        return FAILED;
    }
    BIO_get_ssl(io, &ssl);
    BIO_set_conn_hostname(io, where);
    good = BIO_do_handshake(io) == 1 && SSL_session_reused(ssl) == 0
           && BIO_write(io, request, sizeof(request) - 1) > 0 && answered(io);
    heard = SSL_get_rbio(ssl) != NULL
            && BIO_number_read(SSL_get_rbio(ssl)) > 0;
    BIO_free_all(io);
    return good ? SERVED : heard ? FAILED : UNHEARD;
}

/* How long: a number of visits, or until a file is there. */
struct until {
    long n;
    const char *file;
};

static struct until until_of(const char *text)
{
    struct until until = { .n = -1, .file = text };
    char *end = NULL;
    long n = strtol(text, &end, 10);

    if (*text != '\0' && *end == '\0') {
        until.n = n;
    }
    return until;
}

static bool is_over(const struct until *until, long visits)
{
    return until->n >= 0 ? visits >= until->n : access(until->file, F_OK) == 0;
}

/* All visits; those that were served. */
static long visit_all(SSL_CTX *ctx, char *where, const struct until *until,
                      bool retry, long *visits)
{
    long served = 0;

    for (*visits = 0; !is_over(until, *visits); ++*visits) {
        enum visit was = visit(ctx, where);

        for (int i = 0; i < 200 && was == UNHEARD && retry; i++) {
            ERR_clear_error();
            usleep(5000);
            was = visit(ctx, where);
        }
        served += was == SERVED ? 1 : 0;
        if (was != SERVED) {
            ERR_print_errors_fp(stderr);
        }
        /* The end without a close_notify is an entry on the queue, too. */
        ERR_clear_error();
    }
    return served;
}

int main(int argc, char **argv)
{
    bool retry = argc == 7 && strcmp(argv[6], "retry") == 0;
    struct until until;
    SSL_CTX *ctx;
    long served, visits;

    if (argc != 6 && !retry) {
        fprintf(stderr, "usage: tls_client_ssl HOST:PORT N|FILE CA CERT KEY"
                        " [retry]\n");
        return 2;
    }
    until = until_of(argv[2]);
    ctx = client_ctx(argv[3], argv[4], argv[5]);
    if (ok(ctx != NULL, "certificate and key are read")) {
        served = visit_all(ctx, argv[1], &until, retry, &visits);
        is_int(served, visits, "%ld handshakes and answers", visits);
    } else {
        ERR_print_errors_fp(stderr);
    }
    SSL_CTX_free(ctx);
    return tap_done();
}
