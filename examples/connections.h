/* The connections of the HTTPS server. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <openssl/ssl.h>

/* Serves what arrives at listener, a non-blocking socket, until signals, a signalfd, has one to
 * read. Returns 0 then, or -1 with the reason on stderr. No connection is left either way. */
int connections_serve(SSL_CTX *ctx, int listener, int signals);

#endif
