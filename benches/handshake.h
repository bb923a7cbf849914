/* The two ends of the handshake benchmark (handshake.c). */
#ifndef SESSCACHE_BENCH_HANDSHAKE_H
#define SESSCACHE_BENCH_HANDSHAKE_H

#include "bench.h"

/* Of all sessions, in seconds. */
enum { TIMEOUT = 7200 };

/* What is measured: the words of the command line and what they mean. */
struct kind {
    const char *protocol, *key, *variant;
    int version;
    int is_rsa, is_resumed, is_external, is_store, has_client_cert;
    long cached;
};

SSL_CTX *make_handshake_server(const struct kind *kind);
SSL_CTX *make_handshake_client(const struct kind *kind, SSL_CTX *server);

/* From now on OpenSSL's random numbers are the same in every process. */
void use_predictable_random(void);

#endif
