/*
 * 0-RTT on one host: a ticket's early data is accepted once among all workers that share a store,
 * also when one captured flight is offered to all of them at once, again and again. With
 * SSL_OP_NO_ANTI_REPLAY, too, where the ticket goes on resuming without its early data.
 */
#include "harness_store.h"
#include "harness_tickets.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { WORKERS = 4, ROUNDS = 200, FLIGHT_SIZE = 8192 };

static int rounds = ROUNDS;


/* All processes see this. */
static struct shared {
    atomic_int arrived; /* workers, in all rounds */
    int length;
    unsigned char flight[FLIGHT_SIZE];
} *shared;

static void make_shared(void)
{
    shared = mmap(
        NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
}

/* Until all workers are here. Not asleep: who is woken comes late. */
static void wait_for_all(void)
{
    int mine = atomic_fetch_add(&shared->arrived, 1), all = (mine / WORKERS + 1) * WORKERS;

    while (atomic_load(&shared->arrived) < all)
        sched_yield();
}

static void make_contexts(void)
{
    own_server = new_host(&protocols[1]);
    own_client = new_client(&protocols[1]);
    accept_early_data(own_server);
}

static SSL *new_end(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    REQUIRE(ssl != NULL);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

/* The client's first flight, ClientHello and early data, as it would be on the wire. */
static void capture(SSL_SESSION *session)
{
    SSL *client = new_end(own_client);
    size_t written;

    SSL_set_connect_state(client);
    CHECK_INT(SSL_set_session(client, session), 1);
    CHECK_INT(SSL_write_early_data(client, early, sizeof(early), &written), 1);
    shared->length = BIO_read(SSL_get_wbio(client), shared->flight, FLIGHT_SIZE);
    CHECK(shared->length > 0 && BIO_ctrl_pending(SSL_get_wbio(client)) == 0);
    SSL_free(client);
}

/* A server that is sent the flight: what it makes of it. */
static long receive_flight(long wait_for_others, SSL_SESSION **session)
{
    SSL *server = new_end(own_server);
    long seen;

    (void)session;
    SSL_set_accept_state(server);
    CHECK_INT(BIO_write(SSL_get_rbio(server), shared->flight, shared->length), shared->length);
    if (wait_for_others)
        wait_for_all();
    seen = see_flight(server);
    SSL_free(server);
    return seen;
}

/* The flight that was captured, offered to all workers; how many saw that. */
struct sum {
    int accepted, resumed, read;
};

static int winners[WORKERS];

static struct sum offer_to_all(struct worker *workers)
{
    struct sum sum = { 0, 0, 0 };

    for (int i = 0; i < WORKERS; i++)
        send_task(&workers[i], receive_flight, 1, NULL);
    for (int i = 0; i < WORKERS; i++) {
        SSL_SESSION *nothing;
        long seen = receive_answer(&workers[i], &nothing);

        sum.accepted += (seen & IS_ACCEPTED) != 0;
        sum.resumed += (seen & IS_RESUMED) != 0;
        sum.read += (seen & IS_READ) != 0;
        winners[i] += (seen & IS_ACCEPTED) != 0;
    }
    return sum;
}

/* A ticket of one of the workers, or of none of them, offered to all. */
static void offered_at_once(void)
{
    struct worker workers[WORKERS];
    struct sesscache_stats before, after;
    int none = 0, several = 0; /* rounds in which so many accepted it */

    section("offered at once");
    make_contexts();
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    before = stats_of(own_server);
    for (int round = 0; round < rounds; round++) {
        int maker = round % (WORKERS + 1);
        SSL_SESSION *session = maker < WORKERS ? obtain_in(&workers[maker]) : obtain_here();
        struct sum sum;

        capture(session);
        sum = offer_to_all(workers);
        none += sum.accepted == 0;
        several += sum.accepted > 1;
        CHECK(sum.resumed == sum.accepted && sum.read == sum.accepted);
        /* Nor later, in one that was not there, or in the one that made it. */
        CHECK_INT(receive_flight(0, NULL), 0);
        CHECK_INT(ask(&workers[round % WORKERS], receive_flight, 0, NULL), 0);
        SSL_SESSION_free(session);
    }
    CHECK_INT(none, 0);
    CHECK_INT(several, 0);
    after = stats_of(own_server);
    CHECK_INT(after.takes - before.takes, rounds);
    for (int i = 0; i < WORKERS; i++) {
        note("worker %d accepted %d of %d", i, winners[i], rounds);
        end_worker(&workers[i]);
    }
    free_own_contexts();
}

/* An ordinary client, closed or dropped in the end: what the server saw of it. */
static long offer_early(long is_dropped, SSL_SESSION **session)
{
    struct connection c = open_own(*session);
    long seen = 0;

    exchange_early_data(&c, NULL);
    if (SSL_get_early_data_status(c.server) == SSL_EARLY_DATA_ACCEPTED)
        seen |= IS_ACCEPTED;
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    if (connection_resumed(&c))
        seen |= IS_RESUMED;
    CHECK_INT(SSL_get_early_data_status(c.client), SSL_get_early_data_status(c.server));
    if (is_dropped)
        connection_drop(&c);
    else
        connection_close(&c);
    return seen;
}

/* One offer after the other, each ticket in another worker than the one that made it. */
static void offered_again(unsigned long options, int is_reusable)
{
    enum { A, B, C, THREE };
    const long good = IS_ACCEPTED | IS_RESUMED, again = is_reusable ? IS_RESUMED : 0;
    struct worker workers[THREE];
    SSL_SESSION *session;

    section("offered again, options %lx", options);
    make_contexts();
    SSL_CTX_set_options(own_server, options);
    for (int i = 0; i < THREE; i++)
        workers[i] = fork_worker();
    session = obtain_in(&workers[A]);
    CHECK_INT(ask(&workers[B], offer_early, 0, session), good);
    CHECK_INT(ask(&workers[B], offer_early, 0, session), again);
    CHECK_INT(ask(&workers[A], offer_early, 0, session), again);
    CHECK_INT(ask(&workers[C], offer_early, 0, session), again);
    SSL_SESSION_free(session);

    /* First by its maker. */
    session = obtain_in(&workers[A]);
    CHECK_INT(ask(&workers[A], offer_early, 0, session), good);
    CHECK_INT(ask(&workers[C], offer_early, 0, session), again);
    CHECK_INT(ask(&workers[A], offer_early, 0, session), again);
    SSL_SESSION_free(session);

    /* Without early data a ticket for one use is used up just the same. */
    session = obtain_in(&workers[A]);
    CHECK_INT(resumes_in(&workers[B], session), 1);
    CHECK_INT(ask(&workers[A], offer_early, 0, session), is_reusable ? good : 0);
    CHECK_INT(resumes_in(&workers[C], session), is_reusable);
    SSL_SESSION_free(session);

    /* And by a connection that comes to a bad end, whose next ticket may be left. */
    session = obtain_in(&workers[A]);
    CHECK_INT(ask(&workers[B], offer_early, 1, session), good);
    CHECK_INT(ask(&workers[C], offer_early, 0, session), again);
    SSL_SESSION_free(session);
    for (int i = 0; i < THREE; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static int enlarging_new_cb(SSL *ssl, SSL_SESSION *session)
{
    static const unsigned char data[1200];

    (void)ssl;
    CHECK_INT(SSL_SESSION_set1_ticket_appdata(session, data, sizeof(data)), 1);
    return 0;
}

/* Puts more than the store has room for, in sessions of several slots. */
static void make_store_forget(void)
{
    SSL_CTX *server = new_host(&protocols[1]);
    struct sesscache_stats before = stats_of(server), after;

    SSL_CTX_sess_set_new_cb(server, enlarging_new_cb);
    /* Under valgrind, which is for memory, so many take too long. */
    for (int i = 0; i < (is_under_valgrind() ? 100 : 1500); i++)
        SSL_SESSION_free(obtain_session(server, own_client));
    after = stats_of(server);
    CHECK(is_under_valgrind() || after.evicted - before.evicted > before.entries);
    SSL_CTX_free(server);
}

/* A ticket that was used up stays so when the store has forgotten it. */
static void forgotten(void)
{
    struct worker a, b;
    SSL_SESSION *session, *used;

    section("forgotten");
    make_contexts();
    a = fork_worker();
    b = fork_worker();
    session = obtain_in(&a);
    used = obtain_in(&a);
    CHECK_INT(ask(&b, offer_early, 0, used), IS_ACCEPTED | IS_RESUMED);
    make_store_forget();
    CHECK_INT(ask(&a, offer_early, 0, used), 0);
    if (!is_under_valgrind())
        CHECK_INT(ask(&b, offer_early, 0, session), 0);
    SSL_SESSION_free(session);
    SSL_SESSION_free(used);
    end_worker(&a);
    end_worker(&b);
    free_own_contexts();
}

static int switch_nowhere(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)alert, (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

/*
 * The store has forgotten it, and all processes have it: it was cached before they were forked, or
 * an external cache has it that each of them can ask; there also where it is not known whom a
 * server name leads to.
 */
static void known_to_all(const char *what, struct recorder *recorder, SSL_CTX *asking)
{
    enum { TICKETS = 60 };
    struct worker workers[WORKERS];
    SSL_SESSION *sessions[TICKETS];
    int accepted = 0, several = 0;

    section("known to all, %s", what);
    make_contexts();
    if (recorder != NULL)
        record(own_server, recorder);
    for (int i = 0; i < TICKETS; i++)
        sessions[i] = obtain_here();
    if (recorder != NULL)
        SSL_CTX_flush_sessions(own_server, 0);
    make_store_forget();
    if (asking != NULL) {
        SSL_CTX_set_tlsext_servername_callback(own_server, switch_nowhere);
        SSL_CTX_set_verify(asking, SSL_VERIFY_PEER, accept_every);
    }
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    for (int i = 0; i < TICKETS; i++) {
        struct sum sum;

        capture(sessions[i]);
        sum = offer_to_all(workers);
        CHECK_INT(sum.accepted, sum.read);
        accepted += sum.accepted;
        several += sum.accepted > 1;
        SSL_SESSION_free(sessions[i]);
    }
    CHECK_INT(several, 0);
    note("%s: %d of %d accepted", what, accepted, (int)TICKETS);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static void external(void)
{
    static struct store cache;
    struct recorder recorder = { .external = &cache };
    SSL_CTX *asking = new_host(&protocols[1]);

    known_to_all("by an external cache", &recorder, NULL);
    store_clear(&cache);
    known_to_all("by an external cache, beside a host that asks", &recorder, asking);
    store_clear(&cache);
    SSL_CTX_free(asking);
}

static const struct named_function functions[] = {
    NAMED(receive_flight), NAMED(offer_early), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_shared();
    if (is_under_valgrind())
        rounds = ROUNDS / 10;
    offered_at_once();
    offered_again(0, 0);
    offered_again(SSL_OP_NO_ANTI_REPLAY, 1);
    forgotten();
    known_to_all("by inheritance", NULL, NULL);
    external();
    return test_end();
}
