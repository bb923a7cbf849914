/*
 * One connection of the fleet's client, and the files that sessions are kept in.
 */
#ifndef FLEET_CONNECTION_H
#define FLEET_CONNECTION_H

#include <netinet/in.h>
#include <openssl/ssl.h>

/* How sessions are carried: by their id, or in a ticket that is all of it. */
struct kind {
    int version;
    int in_tickets;
};

struct visit {
    int resumed;
    double began, handshaken; /* by seconds() */
    SSL_SESSION *session;     /* the caller's, or NULL */
};

/* A monotonic clock. */
double seconds(void);

/* Says what is wrong and ends the program. */
_Noreturn void die(const char *what);

/* "ADDRESS:PORT"; 1 or 0. */
int parse_place(const char *text, struct sockaddr_in *place);

/* A context of exactly one version, which checks no certificate. */
SSL_CTX *client_context(const struct kind *kind);

/* One whole connection: handshake, request, answer, end. 1, or 0 after saying why on stderr. */
int visit(SSL_CTX *ctx, const struct sockaddr_in *place, SSL_SESSION *offered,
          struct visit *result);

/* A connection that must resume the session and then gets a fatal alert. 1, or 0 as above. */
int visit_badly(SSL_CTX *ctx, const struct sockaddr_in *place, SSL_SESSION *offered);

/* Whether the session is carried as the kind says. */
int is_of_kind(const SSL_SESSION *session, const struct kind *kind);

/* The sessions of a file, read anew; their number. libssl marks the objects that it has used. */
int load_sessions(const char *path, SSL_SESSION ***sessions);
void free_sessions(SSL_SESSION **sessions, int count);

#endif
