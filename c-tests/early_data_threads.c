/*
 * Fact 9 on several threads: of those that offer one ticket at once exactly one resumes, and those
 * that offer different ones do not get in each other's way, however small the cache.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static const struct protocol *tls13 = &protocols[1];

enum { THREADS = 4, ROUNDS = 25, REPEATS = 5000 };

static pthread_barrier_t together;
static SSL_CTX *shared_server;
static SSL_SESSION *tickets[ROUNDS];
static atomic_int resumed_in[ROUNDS];
static SSL_SESSION *provided[THREADS];
static atomic_int tried;

static void run_threads(void *(*body)(void *))
{
    pthread_t threads[THREADS];

    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, body, &tickets[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&together);
}

static void *offer_the_same(void *unused)
{
    SSL_CTX *client = new_client(tls13);

    for (int round = 0; round < ROUNDS; round++) {
        SSL_SESSION *mine = SSL_SESSION_dup(tickets[round]);

        pthread_barrier_wait(&together);
        atomic_fetch_add(&resumed_in[round], resumes(shared_server, client, mine));
        SSL_SESSION_free(mine);
    }
    SSL_CTX_free(client);
    return unused;
}

/* Of several threads that offer one ticket at once exactly one resumes. */
static void one_ticket(void)
{
    SSL_CTX *client = new_client(tls13);

    section("one ticket, several threads");
    shared_server = new_server(tls13);
    CHECK_INT(SSL_CTX_set_max_early_data(shared_server, 16384), 1);
    for (int round = 0; round < ROUNDS; round++)
        tickets[round] = obtain_session(shared_server, client);
    run_threads(offer_the_same);
    for (int round = 0; round < ROUNDS; round++) {
        CHECK_INT(atomic_load(&resumed_in[round]), 1);
        SSL_SESSION_free(tickets[round]);
    }
    /* Each handshake made a ticket of its own. */
    CHECK_INT(SSL_CTX_sess_number(shared_server), ROUNDS * THREADS);
    SSL_CTX_free(client);
    SSL_CTX_free(shared_server);
}

static SSL_SESSION *providing_get_cb(SSL *ssl, const unsigned char *bytes, int length, int *copy)
{
    (void)ssl;
    *copy = 0;
    for (int i = 0; i < THREADS; i++) {
        struct session_id id = id_of(provided[i]);

        if (length == (int)id.length && memcmp(bytes, id.bytes, id.length) == 0)
            return SSL_SESSION_dup(provided[i]);
    }
    return NULL;
}

/* One ClientHello again and again, for a second at most; get_cb knows nothing of a replay. */
static void *offer_my_own(void *ticket)
{
    SSL_CTX *client = new_client(tls13);
    clock_t end = clock() + CLOCKS_PER_SEC;
    unsigned char hello[2048];
    struct connection c;
    int length;

    /* The server will ask for another group: that costs it no key exchange. */
    CHECK_INT(SSL_CTX_set1_groups_list(client, "X25519:P-384"), 1);
    c = connection_new(shared_server, client);
    CHECK_INT(SSL_set_session(c.client, *(SSL_SESSION **)ticket), 1);
    CHECK_INT(SSL_do_handshake(c.client), -1);
    length = BIO_read(SSL_get_rbio(c.server), hello, sizeof(hello));
    REQUIRE(length > 0);
    connection_drop(&c);
    pthread_barrier_wait(&together);
    for (int i = 0; i < REPEATS && clock() < end; i++) {
        SSL *ssl = SSL_new(shared_server);

        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        CHECK_INT(BIO_write(SSL_get_rbio(ssl), hello, length), length);
        CHECK_INT(SSL_accept(ssl), -1);
        CHECK_INT(SSL_want_read(ssl), 1);
        atomic_fetch_add(&tried, 1);
        SSL_free(ssl);
    }
    SSL_CTX_free(client);
    return NULL;
}

/* A session that a thread has planted for libssl is not evicted by another thread. */
static void tickets_of_their_own(void)
{
    SSL_CTX *client = new_client(tls13);
    long alive = sessions_alive();
    SSL_SESSION *only;

    section("a ticket a thread");
    shared_server = new_server(tls13);
    CHECK_INT(SSL_CTX_set_max_early_data(shared_server, 16384), 1);
    CHECK_INT(SSL_CTX_set1_groups_list(shared_server, "P-384"), 1);
    for (int i = 0; i < THREADS; i++) {
        tickets[i] = obtain_session(shared_server, client);
        provided[i] = SSL_SESSION_dup(cached_on_server(shared_server, tickets[i]));
        REQUIRE(provided[i] != NULL);
    }
    SSL_CTX_flush_sessions(shared_server, 0);
    SSL_CTX_sess_set_cache_size(shared_server, 1);
    only = make_session(shared_server, TLS1_3_VERSION, 1);
    CHECK_INT(SSL_CTX_add_session(shared_server, only), 1);
    SSL_CTX_sess_set_get_cb(shared_server, providing_get_cb);
    run_threads(offer_my_own);
    note("%ld of %d", SSL_CTX_sess_hits(shared_server), atomic_load(&tried));
    CHECK(atomic_load(&tried) > 0);
    if (overlaid()) /* stock evicts what another thread is about to use */
        CHECK_INT(SSL_CTX_sess_hits(shared_server), atomic_load(&tried));
    report("the one that was cached stays", is_cached(shared_server, only));
    report("number", SSL_CTX_sess_number(shared_server));
    for (int i = 0; i < THREADS; i++) {
        SSL_SESSION_free(provided[i]);
        SSL_SESSION_free(tickets[i]);
    }
    SSL_SESSION_free(only);
    SSL_CTX_free(client);
    SSL_CTX_free(shared_server);
    CHECK_INT(sessions_alive(), alive);
}

int main(void)
{
    (void)sessions_alive();
    one_ticket();
    tickets_of_their_own();
    return test_end();
}
