/* The two ends of the handshake benchmarks (handshake.c, admission.c). */
#ifndef SESSCACHE_BENCH_HANDSHAKE_H
#define SESSCACHE_BENCH_HANDSHAKE_H

#include "bench.h"

/* Of all sessions, in seconds. */
enum { TIMEOUT = 7200 };

/* What is measured: the words of the command line and what they mean. */
struct kind {
    const char *protocol, *key, *variant;
    int version;
    int is_rsa, is_resumed, is_external, is_store, has_tickets, has_client_cert;
    long cached;
};

SSL_CTX *make_handshake_server(const struct kind *kind);
SSL_CTX *make_handshake_client(const struct kind *kind, SSL_CTX *server);

EVP_PKEY *make_key(int is_rsa);

/*
 * A certificate of that common name, signed by the issuer's key or, with NULL, by its own. With that
 * of AUTHORITY it may be an issuer.
 */
#define AUTHORITY "authority"
X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key);

/* From now on OpenSSL's random numbers are the same in every process, those from `first` on. */
void use_predictable_random(uint64_t first);

struct ends {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    SSL_SESSION *offer; /* what the client resumes, or NULL */
    const char *name;   /* the server name that it asks for, or NULL */
    uint64_t server_ns;
    void (*server_side)(struct ends *ends, int (*step)(struct ends *ends));
};

/* How the server's side runs: on the clock, or under a name that callgrind can be told. */
void timed_server(struct ends *ends, int (*step)(struct ends *ends));
void measured_server(struct ends *ends, int (*step)(struct ends *ends));

/* One handshake and a clean close; the client offers its newest session the next time. */
void handshake(struct ends *ends, int resumed);

/* Many of them. One during which the kernel gave the core to another does not count. */
struct measured {
    uint64_t server_ns, both_ns, count;
    struct switches switches;
};
struct measured measure_handshakes(struct ends *ends, void (*one)(struct ends *, const void *),
                                   const void *kind, double seconds);

#endif
