/*
 * Handshakes in memory: what the server's side of one costs, and both sides together.
 *
 *   handshake [-n CACHED] [-s SECONDS] [--once COUNT] PROTOCOL KEY KIND VARIANT
 *
 *   PROTOCOL  tls12 (session ids) or tls13 (stateful tickets)
 *   KEY       rsa (2048) or ec (P-256)
 *   KIND      full or resumed
 *   VARIANT   plain, external (callbacks, no internal cache) or store (each lookup asks the host
 *             store: run with libsesscache and SESSCACHE_STORE), or client_cert,
 *             external_client_cert, store_client_cert
 *   CACHED    so many sessions are in the cache, which is then full; 0: an empty one (external)
 *   --once    exactly COUNT handshakes, for valgrind --tool=callgrind with --toggle-collect set to
 *             measured_server or measured_handshakes: nothing varies, not even the random numbers
 *
 * Prints a line for the server's side and one for both (bench.h says which fields). Connections
 * are closed with close_notify both ways: SSL_free without it removes the session.
 */
#include "handshake.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct ends {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    SSL_SESSION *offer; /* what the client resumes, or NULL */
    uint64_t server_ns;
    void (*server_side)(struct ends *ends, int (*step)(struct ends *ends));
};

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

static void server_side(struct ends *ends, int (*step)(struct ends *ends))
{
    uint64_t before = now_ns();

    step(ends);
    ends->server_ns += now_ns() - before;
}

/* The same under a name that callgrind can be told. */
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
    if (ends->offer != NULL)
        REQUIRE(SSL_set_session(ends->client, ends->offer));
}

/* One handshake and a clean close; the client offers its newest session the next time. */
static void handshake(struct ends *ends, int resumed)
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

static void handshake_of(struct ends *ends, const struct kind *kind)
{
    if (!kind->is_resumed) {
        SSL_SESSION_free(ends->offer);
        ends->offer = NULL;
    }
    handshake(ends, kind->is_resumed);
}

/* ---- measuring ------------------------------------------------------------------------------- */

__attribute__((noinline)) void measured_handshakes(struct ends *ends, const struct kind *kind,
                                                   int count)
{
    for (int i = 0; i < count; i++)
        handshake_of(ends, kind);
}

static void report_time(const char *name, const struct kind *kind, uint64_t ns, uint64_t count,
                        struct switches switches)
{
    struct result result = { (double)ns / 1e3 / (double)count, "us", switches, count };
    char parameters[128];

    snprintf(parameters, sizeof(parameters), "%s %s %s %s n=%ld", kind->protocol, kind->key,
             kind->is_resumed ? "resumed" : "full", kind->variant, kind->cached);
    report(name, parameters, &result);
}

/* A handshake during which the kernel gave the core to another does not count. */
static void measure(struct ends *ends, const struct kind *kind, double seconds)
{
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9), server = 0, total = 0, count = 0;
    struct switches begin = switches_of(RUSAGE_SELF), before = begin, after;

    do {
        uint64_t start = now_ns();

        ends->server_ns = 0;
        handshake_of(ends, kind);
        start = now_ns() - start;
        after = switches_of(RUSAGE_SELF);
        if (after.involuntary == before.involuntary) {
            server += ends->server_ns;
            total += start;
            count++;
        }
        before = after;
    } while (now_ns() < deadline || count == 0);
    after.voluntary -= begin.voluntary;
    after.involuntary -= begin.involuntary;
    report_time("handshake_server", kind, server, count, after);
    report_time("handshake_both", kind, total, count, after);
}

static void fill_cache(struct ends *ends, const struct kind *kind)
{
    const struct filling filling = { .version = kind->version, .first = 1, .count = kind->cached,
                                     .time = time(NULL), .timeout = TIMEOUT };

    if (kind->cached == 0)
        return;
    SSL_CTX_sess_set_cache_size(ends->server_ctx, kind->cached);
    fill(ends->server_ctx, &filling);
}

/* ---- the command ----------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: handshake [-n CACHED] [-s SECONDS] [--once COUNT] tls12|tls13 rsa|ec "
                    "full|resumed plain|external|store|client_cert|"
                    "external_client_cert|store_client_cert\n");
    exit(2);
}

static int is_word(const char *word, const char *yes, const char *no)
{
    if (strcmp(word, yes) != 0 && strcmp(word, no) != 0)
        usage();
    return strcmp(word, yes) == 0;
}

static struct kind parse_kind(char **words, long cached)
{
    struct kind kind = { .protocol = words[0], .key = words[1], .variant = words[3],
                         .cached = cached };

    kind.version = is_word(words[0], "tls13", "tls12") ? TLS1_3_VERSION : TLS1_2_VERSION;
    kind.is_rsa = is_word(words[1], "rsa", "ec");
    kind.is_resumed = is_word(words[2], "resumed", "full");
    kind.is_external = strncmp(kind.variant, "external", 8) == 0;
    kind.is_store = strncmp(kind.variant, "store", 5) == 0;
    kind.has_client_cert = strstr(kind.variant, "client_cert") != NULL;
    if (!kind.is_external && !kind.is_store && !kind.has_client_cert)
        is_word(kind.variant, "plain", "plain");
    return kind;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = { { "once", required_argument, NULL, 'o' }, { 0 } };
    struct ends ends = { .server_side = server_side };
    struct kind kind;
    long cached = 20000;
    double seconds = 0.3;
    int option, once = 0;

    while ((option = getopt_long(argc, argv, "n:s:", long_options, NULL)) != -1) {
        switch (option) {
        case 'n': cached = atol(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'o': once = atoi(optarg); break;
        default: usage();
        }
    }
    if (argc - optind != 4)
        usage();
    kind = parse_kind(argv + optind, cached);
    if (once > 0)
        use_predictable_random();
    ends.server_ctx = make_handshake_server(&kind);
    ends.client_ctx = make_handshake_client(&kind, ends.server_ctx);
    fill_cache(&ends, &kind);
    /* What the first handshakes set up, and the session that is resumed, are not measured. */
    handshake(&ends, 0);
    handshake_of(&ends, &kind);
    if (once > 0) {
        ends.server_side = measured_server;
        measured_handshakes(&ends, &kind, once);
    } else {
        measure(&ends, &kind, seconds);
    }
    SSL_SESSION_free(ends.offer);
    SSL_CTX_free(ends.client_ctx);
    SSL_CTX_free(ends.server_ctx);
    return 0;
}
