/*
 * Handshakes in memory: what the server's side of one costs, and both sides together.
 *
 *   handshake [-n CACHED] [-s SECONDS] [--once COUNT] PROTOCOL KEY KIND VARIANT
 *
 *   PROTOCOL  tls12 (session ids) or tls13 (stateful tickets)
 *   KEY       rsa (2048) or ec (P-256)
 *   KIND      full or resumed
 *   VARIANT   plain, external (callbacks, no internal cache) or store (each lookup asks the host
 *             store: run with libsesscache and SESSCACHE_STORE), tickets (stateless ones, in TLS 1.2
 *             too), or client_cert, external_client_cert, store_client_cert, tickets_client_cert
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
#include <time.h>

static void handshake_of(struct ends *ends, const struct kind *kind)
{
    if (!kind->is_resumed) {
        SSL_SESSION_free(ends->offer);
        ends->offer = NULL;
    }
    handshake(ends, kind->is_resumed);
}

static void handshake_of_kind(struct ends *ends, const void *kind)
{
    handshake_of(ends, kind);
}

/* ---- measuring ------------------------------------------------------------------------------- */

__attribute__((noinline)) void measured_handshakes(struct ends *ends, const struct kind *kind,
                                                   int count)
{
    for (int i = 0; i < count; i++)
        handshake_of(ends, kind);
}

static void report_time(const char *name, const struct kind *kind, uint64_t ns,
                        const struct measured *measured)
{
    struct result result = { (double)ns / 1e3 / (double)measured->count, "us", measured->switches,
                             measured->count };
    char parameters[128];

    snprintf(parameters, sizeof(parameters), "%s %s %s %s n=%ld", kind->protocol, kind->key,
             kind->is_resumed ? "resumed" : "full", kind->variant, kind->cached);
    report(name, parameters, &result);
}

static void measure(struct ends *ends, const struct kind *kind, double seconds)
{
    struct measured measured = measure_handshakes(ends, handshake_of_kind, kind, seconds);

    report_time("handshake_server", kind, measured.server_ns, &measured);
    report_time("handshake_both", kind, measured.both_ns, &measured);
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
                    "full|resumed plain|external|store|tickets|"
                    "client_cert|external_client_cert|store_client_cert|tickets_client_cert\n");
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
    kind.has_tickets = strncmp(kind.variant, "tickets", 7) == 0;
    kind.has_client_cert = strstr(kind.variant, "client_cert") != NULL;
    if (!kind.is_external && !kind.is_store && !kind.has_tickets && !kind.has_client_cert)
        is_word(kind.variant, "plain", "plain");
    return kind;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = { { "once", required_argument, NULL, 'o' }, { 0 } };
    struct ends ends = { .server_side = timed_server };
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
        use_predictable_random(0);
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
