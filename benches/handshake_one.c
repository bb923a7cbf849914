/* One handshake in memory, and many of them measured (handshake.h). */
#include "handshake.h"

#include <sys/resource.h>

/* ---- the server's side, step by step --------------------------------------------------------- */

static int server_new(struct ends *ends)
{
    ends->server = SSL_new(ends->server_ctx);
    SSL_set_accept_state(ends->server);
    return ends->server != NULL;
}

static int server_handshake(struct ends *ends)
{
    return SSL_do_handshake(ends->server);
}

static int server_shutdown(struct ends *ends)
{
    return SSL_shutdown(ends->server);
}

static int server_free(struct ends *ends)
{
    SSL_free(ends->server);
    return 1;
}

void timed_server(struct ends *ends, int (*step)(struct ends *ends))
{
    uint64_t before = now_ns();

    step(ends);
    ends->server_ns += now_ns() - before;
}

__attribute__((noinline)) void measured_server(struct ends *ends, int (*step)(struct ends *ends))
{
    step(ends);
}

/* ---- a handshake ----------------------------------------------------------------------------- */

static void connect_ends(struct ends *ends)
{
    BIO *server_bio, *client_bio;

    ends->server_side(ends, server_new);
    ends->client = SSL_new(ends->client_ctx);
    REQUIRE(ends->server != NULL && ends->client != NULL);
    REQUIRE(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(ends->server, server_bio, server_bio);
    SSL_set_bio(ends->client, client_bio, client_bio);
    SSL_set_connect_state(ends->client);
    if (ends->name != NULL)
        REQUIRE(SSL_set_tlsext_host_name(ends->client, ends->name));
    if (ends->offer != NULL)
        REQUIRE(SSL_set_session(ends->client, ends->offer));
}

void handshake(struct ends *ends, int resumed)
{
    enum { MOST_FLIGHTS = 10 };
    char byte;

    connect_ends(ends);
    for (int i = 0; i < MOST_FLIGHTS && !SSL_is_init_finished(ends->server); i++) {
        SSL_do_handshake(ends->client);
        ends->server_side(ends, server_handshake);
    }
    SSL_do_handshake(ends->client);
    REQUIRE(SSL_is_init_finished(ends->server) && SSL_is_init_finished(ends->client));
    REQUIRE(SSL_session_reused(ends->server) == resumed);
    REQUIRE(SSL_session_reused(ends->client) == resumed);
    /* There is nothing to read but the tickets of TLS 1.3. */
    REQUIRE(SSL_read(ends->client, &byte, 1) < 0);
    if (resumed || ends->offer == NULL) {
        SSL_SESSION_free(ends->offer);
        ends->offer = SSL_get1_session(ends->client);
    }
    SSL_shutdown(ends->client);
    ends->server_side(ends, server_shutdown);
    ends->server_side(ends, server_shutdown);
    REQUIRE(SSL_get_shutdown(ends->server) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN));
    REQUIRE(SSL_shutdown(ends->client) == 1);
    ends->server_side(ends, server_free);
    SSL_free(ends->client);
}

/* ---- many of them ---------------------------------------------------------------------------- */

struct measured measure_handshakes(struct ends *ends, void (*one)(struct ends *, const void *),
                                   const void *kind, double seconds)
{
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9);
    struct switches begin = switches_of(RUSAGE_SELF), before = begin, after;
    struct measured measured = { 0 };

    do {
        uint64_t start = now_ns();

        ends->server_ns = 0;
        one(ends, kind);
        start = now_ns() - start;
        after = switches_of(RUSAGE_SELF);
        if (after.involuntary == before.involuntary) {
            measured.server_ns += ends->server_ns;
            measured.both_ns += start;
            measured.count++;
        }
        before = after;
    } while (now_ns() < deadline || measured.count == 0);
    measured.switches.voluntary = after.voluntary - begin.voluntary;
    measured.switches.involuntary = after.involuntary - begin.involuntary;
    return measured;
}
