/*
 * One connection of the resuming client, and the files that sessions are kept in.
 */
#ifndef HARNESS_CONNECTION_H
#define HARNESS_CONNECTION_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stddef.h>

struct bytes {
    const char *data;
    size_t length;
};

/* What a connection says. The server answers the request, after a greeting or not, and closes;
   or it waits for more, and the client closes after the first answer. */
struct application {
    const char *name;
    struct bytes prelude; /* sent in the clear; the server agrees to TLS with one 'S' */
    int greets;           /* the server begins, with a packet of MySQL, and agrees without a word */
    struct bytes request;
    struct bytes after_name; /* if there is any, the server's name stands between the two */
    int waits;
};

struct client {
    int version;
    int in_tickets;   /* sessions are carried in a ticket that is all of it, not by their id */
    const char *name; /* for SNI; NULL sends none */
    const char *certificate; /* a file of key, certificate and chain, to show; or NULL */
    const char *shared_key;  /* a pre-shared key, "IDENTITY:HEX"; or NULL */
    const struct application *application;
    SSL_CTX *ctx;
};

struct visit {
    int met;              /* TCP connects: if the visit fails nevertheless, the server ended it */
    int resumed;
    const char *cipher;   /* NULL before the handshake ends */
    char answer[40];      /* the first line of it, as far as it fits */
    double began, handshaken; /* by seconds() */
    SSL_SESSION *session;     /* the caller's, or NULL */
};

/* A monotonic clock. */
double seconds(void);

/* Says what is wrong and ends the program. */
_Noreturn void die(const char *what);

/* "ADDRESS:PORT"; 1 or 0. */
int parse_place(const char *text, struct sockaddr_in *place);

/* NULL if there is no such application. */
const struct application *find_application(const char *name);

/* Sets the client's context: of exactly its version, which checks no certificate. */
void make_context(struct client *client);

/* One whole connection: handshake, request, answer, end. 1, or 0 after saying why on stderr. */
int visit(const struct client *client, const struct sockaddr_in *place, SSL_SESSION *offered,
          struct visit *result);

/* A connection that must resume the session and then gets a fatal alert. 1, or 0 as above. */
int visit_badly(const struct client *client, const struct sockaddr_in *place,
                SSL_SESSION *offered);

/* Whether the session is carried as the client wants it. */
int is_of_kind(const SSL_SESSION *session, const struct client *client);

/* Whether the two are carried in the same ticket, so that the server has sent no other. */
int has_ticket_of(const SSL_SESSION *session, const SSL_SESSION *other);

/* The sessions of a file, read anew; their number. libssl marks the objects that it has used. */
int load_sessions(const char *path, SSL_SESSION ***sessions);
void free_sessions(SSL_SESSION **sessions, int count);

#endif
