/*
 * 0-RTT in a fleet: where the server has set SSL_OP_NO_ANTI_REPLAY, a recorded flight is offered to two
 * hosts with one key file, four processes each, at once and again after all were started again. Its
 * early data is accepted once, at the host that issued the ticket. Elsewhere the ticket resumes.
 */
#include "clock.h"
#include "harness_store.h"
#include "harness_tickets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 2, WORKERS = 4, ALL = HOSTS * WORKERS, BATCH = 25, FLIGHT_SIZE = 8192 };

static const struct protocol *const tls13 = &protocols[1];

/* ---- in each process of a host --------------------------------------------------------------- */

/* Stateless tickets are sealed with the key file's keys, or with those that the application has. */
enum kind { STATELESS, STATEFUL, APPLICATION };

static const char *const kinds[] = { "stateless", "stateful", "application's keys" };

/* A server that issues tickets of that kind. */
static long make_server(long kind, SSL_SESSION **session)
{
    static unsigned char keys[80] = "the same everywhere";

    (void)session;
    own_server = new_host(tls13);
    own_client = new_client(tls13);
    if (kind != STATEFUL)
        SSL_CTX_clear_options(own_server, SSL_OP_NO_TICKET);
    if (kind == APPLICATION)
        CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(own_server, keys, sizeof(keys)), 1);
    SSL_CTX_set_options(own_server, SSL_OP_NO_ANTI_REPLAY);
    accept_early_data(own_server);
    return 0;
}

static long free_server(long argument, SSL_SESSION **session)
{
    (void)session;
    free_own_contexts();
    return argument;
}

static SSL *new_end(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    REQUIRE(ssl != NULL);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

static const char *flight_name(long number)
{
    static char name[32];

    snprintf(name, sizeof(name), "flight.%ld", number);
    return name;
}

enum { GOOD = IS_RESUMED | IS_ACCEPTED | IS_READ };

/* A connection on which that flight comes. */
static long receive_flight(long number, SSL_SESSION **session)
{
    SSL *server = new_end(own_server);
    size_t flight_length = 0;
    unsigned char *flight = read_file(flight_name(number), &flight_length);
    long seen;

    (void)session;
    REQUIRE(flight != NULL);
    SSL_set_accept_state(server);
    CHECK_INT(BIO_write(SSL_get_rbio(server), flight, (int)flight_length), (int)flight_length);
    free(flight);
    seen = see_flight(server);
    SSL_free(server);
    return seen;
}

/* ---- the hosts ------------------------------------------------------------------------------- */

static struct worker workers[ALL];

static int host_of(int worker)
{
    return worker / WORKERS;
}

static void start_host(int host, enum kind kind)
{
    const char *store = file_store(host == 0 ? "one" : "other"), *keys = key_file("keys");
    const char *const variables[] = { store, keys, NULL };

    for (int i = host * WORKERS; i < (host + 1) * WORKERS; i++) {
        workers[i] = start_worker(variables);
        ask(&workers[i], make_server, kind, NULL);
    }
}

static void stop_host(int host)
{
    for (int i = host * WORKERS; i < (host + 1) * WORKERS; i++) {
        ask(&workers[i], free_server, 0, NULL);
        end_worker(&workers[i]);
    }
}

/* Records the first flight of a client that got its ticket of that worker. */
static void record_flight(int worker, long number)
{
    static unsigned char flight[FLIGHT_SIZE];
    SSL_SESSION *session = obtain_in(&workers[worker]);
    SSL_CTX *ctx = new_client(tls13);
    SSL *client = new_end(ctx);
    size_t written;
    int length;

    SSL_set_connect_state(client);
    CHECK_INT(SSL_set_session(client, session), 1);
    CHECK_INT(SSL_write_early_data(client, early, sizeof(early), &written), 1);
    length = BIO_read(SSL_get_wbio(client), flight, FLIGHT_SIZE);
    REQUIRE(length > 0 && BIO_ctrl_pending(SSL_get_wbio(client)) == 0);
    write_file(flight_name(number), flight, (size_t)length, 0600);
    SSL_free(client);
    SSL_CTX_free(ctx);
    SSL_SESSION_free(session);
}

/* Offers it to all at once. How many accepted it; each of them must be of that host. */
static int offer_to_all(long number, int host, enum kind kind)
{
    int accepted = 0;

    for (int i = 0; i < ALL; i++)
        send_task(&workers[i], receive_flight, number, NULL);
    for (int i = 0; i < ALL; i++) {
        SSL_SESSION *nothing;
        long seen = receive_answer(&workers[i], &nothing);
        int is_there = host_of(i) == host;

        accepted += (seen & IS_ACCEPTED) != 0;
        CHECK(seen == GOOD || seen == (is_there || kind != STATEFUL ? IS_RESUMED : 0));
        CHECK(is_there || (seen & IS_ACCEPTED) == 0);
    }
    return accepted;
}

/* Every second flight is offered before the restart and after it, the others only after it. */
static void fleet(enum kind kind, int rounds)
{
    section("fleet, %s", kinds[kind]);
    for (int host = 0; host < HOSTS; host++)
        start_host(host, kind);
    for (int first = 0; first < rounds; first += BATCH) {
        for (int round = first; round < first + BATCH; round++) {
            record_flight(round % ALL, round);
            if (round % 2 == 0)
                CHECK_INT(offer_to_all(round, host_of(round % ALL), kind), 1);
        }
        for (int host = 0; host < HOSTS; host++) {
            stop_host(host);
            start_host(host, kind);
        }
        for (int round = first; round < first + BATCH; round++) {
            int host = host_of(round % ALL);

            CHECK_INT(offer_to_all(round, host, kind), round % 2);
            CHECK_INT(offer_to_all(round, host, kind), 0);
        }
    }
    for (int host = 0; host < HOSTS; host++)
        stop_host(host);
}

/* ---- the option is set later ----------------------------------------------------------------- */

static long set_option(long is_set, SSL_SESSION **session)
{
    (void)session;
    if (is_set)
        SSL_CTX_set_options(own_server, SSL_OP_NO_ANTI_REPLAY);
    else
        SSL_CTX_clear_options(own_server, SSL_OP_NO_ANTI_REPLAY);
    return 0;
}

/* A ticket that was issued for one use has no permit. */
static void set_later(void)
{
    section("set later");
    start_host(0, STATEFUL);
    ask(&workers[0], set_option, 0, NULL);
    record_flight(0, 0);
    ask(&workers[0], set_option, 1, NULL);
    for (int i = 0; i < WORKERS; i++)
        CHECK_INT(ask(&workers[i], receive_flight, 0, NULL), IS_RESUMED);
    stop_host(0);
}

/* ---- permits that are gone ------------------------------------------------------------------- */

/* A host whose store was lost, or has forgotten: the ticket resumes, its early data is refused. */
static void lost(void)
{
    section("lost");
    start_host(0, STATELESS);
    record_flight(0, 0);
    stop_host(0);
    CHECK_INT(remove(path_of("one")), 0);
    start_host(0, STATELESS);
    CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), IS_RESUMED);
    record_flight(1, 1);
    CHECK_INT(ask(&workers[2], receive_flight, 1, NULL), GOOD);
    stop_host(0);
}

static long make_many(long count, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_set_num_tickets(own_server, 64);
    for (long i = 0; i < count; i++)
        SSL_SESSION_free(obtain_here());
    SSL_CTX_set_num_tickets(own_server, 1);
    return 0;
}

static void full(void)
{
    section("full");
    start_host(0, STATELESS);
    record_flight(0, 0);
    ask(&workers[0], make_many, 700, NULL);
    CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), IS_RESUMED);
    record_flight(0, 1);
    CHECK_INT(ask(&workers[3], receive_flight, 1, NULL), GOOD);
    stop_host(0);
}

/* ---- a key file and no store ----------------------------------------------------------------- */

/* In a process that was forked later, and then here: how often. */
static long receive_in_child(long number, SSL_SESSION **session)
{
    struct worker child = fork_worker();
    long seen = ask(&child, receive_flight, number, NULL);
    int accepted = seen == GOOD;

    end_worker(&child);
    seen = receive_flight(number, session);
    return accepted + (seen == GOOD);
}

static void keys_only(void)
{
    const char *const variables[] = { key_file("keys"), NULL };

    section("keys only");
    for (int i = 0; i < 2; i++) {
        workers[i] = start_worker(variables);
        ask(&workers[i], make_server, STATELESS, NULL);
    }
    record_flight(0, 0);
    CHECK_INT(ask(&workers[1], receive_flight, 0, NULL), IS_RESUMED);
    CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), GOOD);
    CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), IS_RESUMED);
    record_flight(0, 1);
    CHECK_INT(ask(&workers[0], receive_in_child, 1, NULL), 1);
    CHECK_INT(ask(&workers[1], receive_flight, 1, NULL), IS_RESUMED);
    for (int i = 0; i < 2; i++) {
        ask(&workers[i], free_server, 0, NULL);
        end_worker(&workers[i]);
    }
}

/* ---- a store that is attached ---------------------------------------------------------------- */

static long attach_memory(long argument, SSL_SESSION **session)
{
    (void)session;
    CHECK_INT(attach_store(own_server, "shm:?size=1MiB"), 1);
    return argument;
}

/* Neither a store nor keys at first: early data is accepted as on stock. Then a store is attached. */
static void attached(void)
{
    const char *const variables[] = { NULL };

    section("attached");
    workers[0] = start_worker(variables);
    ask(&workers[0], make_server, STATELESS, NULL);
    record_flight(0, 0);
    for (int i = 0; i < 2; i++)
        CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), GOOD);
    ask(&workers[0], attach_memory, 0, NULL);
    CHECK_INT(ask(&workers[0], receive_flight, 0, NULL), IS_RESUMED);
    record_flight(0, 1);
    CHECK_INT(ask(&workers[0], receive_flight, 1, NULL), GOOD);
    CHECK_INT(ask(&workers[0], receive_flight, 1, NULL), IS_RESUMED);
    ask(&workers[0], free_server, 0, NULL);
    end_worker(&workers[0]);
}

static const struct named_function functions[] = {
    NAMED(make_server), NAMED(free_server), NAMED(receive_flight), NAMED(set_option),
    NAMED(make_many), NAMED(receive_in_child), NAMED(attach_memory), { NULL, NULL },
};

/* libssl accepts early data within ten seconds, and nothing here is about time: it stands still. */
static void stop_clock(void)
{
    char now[32];

    snprintf(now, sizeof(now), "%ld", (long)time(NULL));
    CHECK_INT(setenv("TEST_TIME", now, 0), 0);
}

int main(int argc, char **argv)
{
    stop_clock();
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    fleet(STATELESS, is_under_valgrind() ? BATCH : 200);
    fleet(STATEFUL, BATCH);
    fleet(APPLICATION, BATCH);
    set_later();
    lost();
    full();
    keys_only();
    attached();
    return test_end();
}
