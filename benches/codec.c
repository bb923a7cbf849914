/*
 * What OpenSSL itself takes to make bytes of a session and a session of bytes: part of every put
 * into a host store and of every hit in one, whoever's it is.
 *
 *   codec [-s SECONDS | -o COUNT] tls12|tls13 plain|client_cert
 *
 * With -o it does each COUNT times, for valgrind --tool=callgrind with --toggle-collect=encode or =decode.
 * Prints a line for i2d_SSL_SESSION and one for d2i_SSL_SESSION with SSL_SESSION_free (bench.h says
 * which fields). The session is the server's of a real handshake in memory.
 */
#include "handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Few, because those with certificates take long. */
enum { BATCH = 8, MOST_FLIGHTS = 10 };

/* On a busy machine the batches that count may never come: after so many times the time, all do. */
enum { PATIENCE = 4 };

static unsigned char der[16384];
static long der_length;

/* The newest session of the server. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    unsigned char *end = der;

    (void)ssl;
    REQUIRE(i2d_SSL_SESSION(session, NULL) <= (int)sizeof(der));
    der_length = i2d_SSL_SESSION(session, &end);
    return 0;
}

static void obtain_session(const struct kind *kind)
{
    SSL_CTX *server_ctx = make_handshake_server(kind);
    SSL_CTX *client_ctx = make_handshake_client(kind, server_ctx);
    SSL *server, *client;
    BIO *server_bio, *client_bio;

    SSL_CTX_sess_set_new_cb(server_ctx, keep_session);
    server = SSL_new(server_ctx);
    client = SSL_new(client_ctx);
    REQUIRE(server != NULL && client != NULL && BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < MOST_FLIGHTS && !SSL_is_init_finished(server); i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    REQUIRE(SSL_is_init_finished(server) && der_length > 0);
    SSL_free(server);
    SSL_free(client);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
}

static __attribute__((noinline)) void encode(const SSL_SESSION *session)
{
    unsigned char buffer[sizeof(der)], *end = buffer;

    REQUIRE(i2d_SSL_SESSION(session, &end) == der_length);
}

static __attribute__((noinline)) void decode(const SSL_SESSION *session)
{
    const unsigned char *end = der;
    SSL_SESSION *decoded = d2i_SSL_SESSION(NULL, &end, der_length);

    (void)session;
    REQUIRE(decoded != NULL);
    SSL_SESSION_free(decoded);
}

static void repeat(void (*operation)(const SSL_SESSION *), int count)
{
    const unsigned char *end = der;
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &end, der_length);

    REQUIRE(session != NULL);
    for (int i = 0; i < count; i++)
        operation(session);
    SSL_SESSION_free(session);
}

/* A batch during which the kernel gave the core to another does not count. */
static void measure(const char *name, void (*operation)(const SSL_SESSION *), double seconds)
{
    const unsigned char *end = der;
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &end, der_length);
    uint64_t begin_ns = now_ns(), wanted = (uint64_t)(seconds * 1e9), ns = 0;
    struct switches begin = switches_of(RUSAGE_SELF), before = begin, after;
    struct result result = { .unit = "ns" };
    char parameters[32];

    REQUIRE(session != NULL);
    do {
        uint64_t start = now_ns();

        for (int i = 0; i < BATCH; i++) {
            operation(session);
            settle();
        }
        start = now_ns() - start;
        after = switches_of(RUSAGE_SELF);
        if (after.involuntary == before.involuntary || now_ns() - begin_ns > PATIENCE * wanted) {
            ns += start;
            result.operations += BATCH;
        }
        before = after;
    } while (now_ns() - begin_ns < wanted || result.operations == 0);
    result.value = (double)ns / (double)result.operations;
    result.switches = (struct switches){ after.voluntary - begin.voluntary,
                                         after.involuntary - begin.involuntary };
    snprintf(parameters, sizeof(parameters), "der=%ld", der_length);
    report(name, parameters, &result);
    SSL_SESSION_free(session);
}

int main(int argc, char **argv)
{
    struct kind kind = { 0 };
    double seconds = 0.2;
    int option, once = 0;

    while ((option = getopt(argc, argv, "s:o:")) != -1) {
        switch (option) {
        case 's': seconds = atof(optarg); break;
        case 'o': once = atoi(optarg); break;
        default: return 2;
        }
    }
    if (argc - optind != 2) {
        fprintf(stderr, "usage: codec [-s SECONDS | -o COUNT] tls12|tls13 plain|client_cert\n");
        return 2;
    }
    kind.version = strcmp(argv[optind], "tls13") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    kind.has_client_cert = strcmp(argv[optind + 1], "client_cert") == 0;
    obtain_session(&kind);
    if (once > 0) {
        repeat(encode, once);
        repeat(decode, once);
        return 0;
    }
    measure("codec_i2d", encode, seconds);
    measure("codec_d2i", decode, seconds);
    return 0;
}
