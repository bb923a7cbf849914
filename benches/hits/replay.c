/*
 * The connections that `hits replay` prints, with real handshakes: how many resume.
 *
 *   replay VERSION SIZE LIFETIME <CONNECTIONS
 *
 * VERSION is tls12 or tls13, SIZE that of the process's cache, LIFETIME that of a session in seconds. A line
 * is a connection: when (in seconds), whose, and 1 if it counts. The clock is set to that time, for OpenSSL
 * and sesscache too (-rdynamic), so that hours of traffic pass in seconds. Reports how many per cent
 * resumed of the connections that count.
 */
#include "../handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* A server of TLS 1.3 gives out two tickets, and one after a resumption. */
enum { MOST_HELD = 2, MOST_CLIENTS = 1 << 20 };

struct client {
    uint64_t number;
    int held;
    SSL_SESSION *sessions[MOST_HELD]; /* the newest last */
};

static struct client *current;

/* ---- the clock ------------------------------------------------------------------------------- */

/* How far it is ahead of the system's clock when the program starts; 0 until then. */
static double ahead;
static struct timespec start;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (start.tv_sec == 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return (int)syscall(SYS_clock_gettime, clock, now);
    *now = start;
    now->tv_sec += (time_t)ahead;
    now->tv_nsec = (long)((ahead - (double)(time_t)ahead) * 1e9);
    return 0;
}

time_t time(time_t *place)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (place != NULL)
        *place = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* ---- clients --------------------------------------------------------------------------------- */

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
    static struct client clients[MOST_CLIENTS];
    uint64_t place = mix(number) % MOST_CLIENTS;

    while (clients[place].number != 0 && clients[place].number != number + 1)
        place = (place + 1) % MOST_CLIENTS;
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
    int is_tls13 = argc > 1 && strcmp(argv[1], "tls13") == 0;
    struct kind kind = { .version = is_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION };
    SSL_CTX *server, *client;
    struct result result = { .unit = "%" };
    long counted = 0, resumed = 0;
    unsigned long long number;
    double seconds;
    int counts;

    REQUIRE(argc == 4);
    REQUIRE(clock_gettime(CLOCK_REALTIME, &start) == 0);
    server = make_handshake_server(&kind);
    client = make_client(kind.version);
    SSL_CTX_sess_set_cache_size(server, atol(argv[2]));
    SSL_CTX_set_timeout(server, atol(argv[3]));
    while (scanf("%lf %llu %d", &seconds, &number, &counts) == 3) {
        int is_resumed;

        ahead = seconds;
        is_resumed = is_resumed_by(client_of(number), server, client, is_tls13);
        counted += counts;
        resumed += counts & is_resumed;
    }
    result.value = 100.0 * (double)resumed / (double)counted;
    result.operations = (uint64_t)counted;
    report("hits", argv[1], &result);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return 0;
}
