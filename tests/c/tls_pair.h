/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS connection inside one process, over memory. */
#ifndef TESTS_TLS_PAIR_H
#define TESTS_TLS_PAIR_H

#include <stdbool.h>

#include <openssl/ssl.h>

#define TLS_PAIR_ROUNDS_MAX 100

struct tls_pair {
    SSL *server, *client;
};

/* To be freed by tls_pair_free(), where this fails, too. */
static inline bool tls_pair_new(struct tls_pair *p, SSL_CTX *server,
                                SSL_CTX *client)
{
    BIO *at_server = NULL, *at_client = NULL;

    p->server = SSL_new(server);
    p->client = SSL_new(client);
    if (p->server == NULL || p->client == NULL
        || BIO_new_bio_pair(&at_server, 0, &at_client, 0) != 1) {
        return false;
    }
    SSL_set_bio(p->server, at_server, at_server);
    SSL_set_bio(p->client, at_client, at_client);
    SSL_set_accept_state(p->server);
    SSL_set_connect_state(p->client);
    return true;
}

static inline void tls_pair_free(struct tls_pair *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
}

/* True while the handshake may go on, or is over. */
static inline bool tls_pair_step(SSL *ssl)
{
    int n = SSL_do_handshake(ssl);

    return n == 1 || SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ;
}

/* The whole handshake. */
static inline bool tls_pair_shake(struct tls_pair *p)
{
    bool good = true, over = false;

    for (int i = 0; i < TLS_PAIR_ROUNDS_MAX && good && !over; i++) {
        good = tls_pair_step(p->client) && tls_pair_step(p->server);
        over = SSL_is_init_finished(p->server)
            && SSL_is_init_finished(p->client);
    }
    return good && over;
}

#endif
