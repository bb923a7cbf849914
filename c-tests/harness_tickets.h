/*
 * Shared by the tests of stateless tickets and of early data: an application with ticket keys of its
 * own, and the exchange of early data.
 */
#ifndef SESSCACHE_TEST_HARNESS_TICKETS_H
#define SESSCACHE_TEST_HARNESS_TICKETS_H

#include "harness.h"

#include <openssl/hmac.h>

/* ---- tickets --------------------------------------------------------------------------------- */

/* 1 if both sessions of a client have the same ticket. */
int same_ticket(const SSL_SESSION *a, const SSL_SESSION *b);

/* connect_offering() by a client whose clock is right: it offers no session from the future. */
struct connection connect_by_right_clock(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session);

/* ---- an application's ticket keys -------------------------------------------------------------- */

/* As SSL_CTX_set_tlsext_ticket_keys takes them: name, key of the MAC, key of the cipher. */
extern unsigned char application_keys[80];

/* The answer of the callbacks while they open, and what they were asked. */
struct ticket_application {
    int answer;         /* 1 at first */
    int sealed, opened; /* calls; the latter with tickets of other keys, too */
    int strangers;      /* those among the latter, which are answered with 0 */
    SSL_CTX *ctx;       /* NULL, or the context of all connections */
};
extern struct ticket_application ticket_application;

int application_evp_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac, int enc);
int application_hmac_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        HMAC_CTX *mac, int enc);

/* The three doors. */
void set_application_keys(SSL_CTX *server);
void set_application_evp_cb(SSL_CTX *server);
void set_application_hmac_cb(SSL_CTX *server);

/* ---- early data ------------------------------------------------------------------------------- */

static const char early[] = "early";

void accept_early_data(SSL_CTX *server);

/* The client offers the session, if there is one, and sends early data. How many bytes of it the server
   has read; the handshake is to be gone on with. */
size_t exchange_early_data(struct connection *c, SSL_SESSION *session);

/* A server whose BIO has a client's first flight reads it: what it makes of that. */
enum flight_seen { IS_RESUMED = 1, IS_ACCEPTED = 2, IS_READ = 4 };
long see_flight(SSL *server);

#endif
