/*
 * What the sessions of one server take while no client is connected.
 *
 *   rest tls12|tls13 COUNT
 *
 * Makes so many full handshakes in memory, whose sessions are found by their id. Prints, in bytes a session,
 * what malloc has given out and what is resident of private memory. The client keeps nothing.
 */
#include "handshake.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int version;

static SSL_CTX *make_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    REQUIRE(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, version) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

static void shake_hands(SSL_CTX *server_ctx, SSL_CTX *client_ctx)
{
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    BIO *server_bio, *client_bio;

    REQUIRE(server != NULL && client != NULL && BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int i = 0; i < 10 && !(SSL_is_init_finished(server) && SSL_is_init_finished(client)); i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    REQUIRE(SSL_is_init_finished(server) && SSL_is_init_finished(client));
    SSL_shutdown(client);
    SSL_shutdown(server);
    SSL_free(server);
    SSL_free(client);
}

static long heap_bytes(void)
{
    struct mallinfo2 heap = mallinfo2();

    return (long)(heap.uordblks + heap.hblkhd);
}

static long private_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    long kib = 0;
    char line[256];

    REQUIRE(status != NULL);
    while (fgets(line, sizeof(line), status) != NULL)
        (void)sscanf(line, "RssAnon: %ld", &kib);
    fclose(status);
    return kib * 1024;
}

int main(int argc, char **argv)
{
    enum { WARM_UP = 20 };
    static const unsigned char name[] = "rest";
    SSL_CTX *server, *client;
    EVP_PKEY *key;
    X509 *certificate;
    long count, heap, private;

    REQUIRE(argc == 3);
    version = strcmp(argv[1], "tls13") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    count = atol(argv[2]);
    key = make_key(0);
    certificate = make_certificate("rest", key, NULL, NULL);
    client = make_context(TLS_client_method());
    server = make_context(TLS_server_method());
    REQUIRE(SSL_CTX_use_certificate(server, certificate) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(server, key) == 1);
    REQUIRE(SSL_CTX_set_session_id_context(server, name, sizeof(name)) == 1);
    REQUIRE(SSL_CTX_set_num_tickets(server, 1) == 1);
    SSL_CTX_sess_set_cache_size(server, count + 2 * WARM_UP);
    for (int i = 0; i < WARM_UP; i++)
        shake_hands(server, client);
    heap = heap_bytes();
    private = private_bytes();
    for (long i = 0; i < count; i++)
        shake_hands(server, client);
    REQUIRE(SSL_CTX_sess_number(server) == count + WARM_UP);
    printf("%ld %ld\n", (heap_bytes() - heap) / count, (private_bytes() - private) / count);
    return 0;
}
