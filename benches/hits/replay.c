/*
 * The connections that `hits replay` prints, with real handshakes: how many resume.
 *
 *   replay VERSION SIZE <CLIENTS     VERSION is tls12 or tls13, SIZE that of the server's cache
 *
 * Reports how many per cent resumed of the connections after the first third.
 */
#include "../handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server of TLS 1.3 gives out two tickets, and one after a resumption. */
enum { MOST_HELD = 2, MOST_CONNECTIONS = 1 << 20 };

struct client {
    uint64_t number;
    int held;
    SSL_SESSION *sessions[MOST_HELD]; /* the newest last */
};

static struct client *current;

static void forget_oldest(struct client *client)
{
    SSL_SESSION_free(client->sessions[0]);
    client->held--;
    memmove(client->sessions, client->sessions + 1, (size_t)client->held * sizeof(SSL_SESSION *));
}

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (current->held == MOST_HELD)
        forget_oldest(current);
    current->sessions[current->held++] = session;
    return 1;
}

static int is_resumed_by(struct client *client, SSL_CTX *server_ctx, SSL_CTX *client_ctx, int once)
{
    enum { MOST_FLIGHTS = 10 };
    SSL *server = SSL_new(server_ctx), *ssl = SSL_new(client_ctx);
    SSL_SESSION *offer = client->held > 0 ? client->sessions[client->held - 1] : NULL;
    BIO *server_bio, *client_bio;
    char byte;
    int resumed;

    REQUIRE(server != NULL && ssl != NULL && BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(ssl, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(ssl);
    if (offer != NULL)
        REQUIRE(SSL_set_session(ssl, offer));
    if (offer != NULL && once) {
        SSL_SESSION_free(offer);
        client->held--;
    }
    current = client;
    for (int i = 0; i < MOST_FLIGHTS && !SSL_is_init_finished(server); i++) {
        SSL_do_handshake(ssl);
        SSL_do_handshake(server);
    }
    SSL_do_handshake(ssl);
    /* There is nothing to read but the tickets of TLS 1.3. */
    REQUIRE(SSL_read(ssl, &byte, 1) < 0 && SSL_is_init_finished(server));
    resumed = SSL_session_reused(server);
    SSL_shutdown(ssl);
    SSL_shutdown(server);
    SSL_free(ssl);
    SSL_free(server);
    return resumed;
}

static struct client *client_of(uint64_t number)
{
    static struct client clients[MOST_CONNECTIONS];
    uint64_t place = mix(number) % MOST_CONNECTIONS;

    while (clients[place].number != 0 && clients[place].number != number + 1)
        place = (place + 1) % MOST_CONNECTIONS;
    clients[place].number = number + 1;
    return &clients[place];
}

static SSL_CTX *make_client(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, version) == 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep);
    return ctx;
}

int main(int argc, char **argv)
{
    static uint64_t numbers[MOST_CONNECTIONS];
    int is_tls13 = argc > 1 && strcmp(argv[1], "tls13") == 0;
    struct kind kind = { .version = is_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION };
    SSL_CTX *server, *client;
    struct result result = { .unit = "%" };
    long count = 0, counted = 0, resumed = 0;
    unsigned long long number;

    REQUIRE(argc == 3);
    server = make_handshake_server(&kind);
    client = make_client(kind.version);
    SSL_CTX_sess_set_cache_size(server, atol(argv[2]));
    while (count < MOST_CONNECTIONS && scanf("%llu", &number) == 1)
        numbers[count++] = number;
    for (long i = 0; i < count; i++) {
        int is_resumed = is_resumed_by(client_of(numbers[i]), server, client, is_tls13);

        if (i >= count / 3) {
            counted++;
            resumed += is_resumed;
        }
    }
    result.value = 100.0 * (double)resumed / (double)counted;
    result.operations = (uint64_t)counted;
    report("hits", argv[1], &result);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return 0;
}
