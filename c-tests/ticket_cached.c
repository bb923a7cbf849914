/*
 * A TLS 1.2 session that was resumed by ticket, and that the application then puts into the cache,
 * is an object that several connections have at once. They resume it by id with an empty ticket
 * extension, so that each of them issues a ticket of it: nobody may write to it.
 */
#include "harness_admission.h"

#include <pthread.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 300 };

static const struct way *const by_ticket = &ways[1];
static pthread_barrier_t together;
static SSL_CTX *server;
static SSL_SESSION *by_id; /* what clients offer: an id and no ticket */
static int rounds = ROUNDS;

static SSL_SESSION *copy_of(SSL_SESSION *session)
{
    unsigned char *der = NULL;
    const unsigned char *start;
    int length = i2d_SSL_SESSION(session, &der);
    SSL_SESSION *copy;

    REQUIRE(length > 0);
    start = der;
    REQUIRE((copy = d2i_SSL_SESSION(NULL, &start, length)) != NULL);
    OPENSSL_free(der);
    return copy;
}

static void put_into_cache(SSL_CTX *client)
{
    SSL_SESSION *session = obtain_session(server, client), *cached;
    struct connection c = connect_offering(server, client, session);

    CHECK_INT(connection_resumed(&c), 1);
    cached = SSL_get1_session(c.server);
    connection_close(&c);
    CHECK_INT(SSL_CTX_add_session(server, cached), 1);
    CHECK_PTR(cached_on_server(server, cached), cached);
    by_id = copy_of(cached);
    /* The id context is the server's. */
    CHECK_INT(SSL_SESSION_set1_id_context(by_id, NULL, 0), 1);
    CHECK_INT(SSL_SESSION_has_ticket(by_id), 0);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
}

static void *resume_by_id(void *unused)
{
    SSL_CTX *client = new_client_for(by_ticket, "none");
    SSL_SESSION *mine = copy_of(by_id);
    int resumed = 0, with_ticket = 0;

    pthread_barrier_wait(&together);
    for (int i = 0; i < rounds; i++) {
        struct connection c = connect_offering(server, client, mine);

        resumed += connection_resumed(&c);
        with_ticket += SSL_SESSION_has_ticket(SSL_get0_session(c.client));
        connection_close(&c);
    }
    CHECK_INT(resumed, rounds);
    CHECK_INT(with_ticket, rounds);
    SSL_SESSION_free(mine);
    SSL_CTX_free(client);
    return unused;
}

/* The tickets are good, and no two connections were in each other's way. */
static void check_ticket(SSL_CTX *client)
{
    struct connection c = connect_offering(server, client, by_id);
    SSL_SESSION *issued = SSL_get1_session(c.client);
    void *data = NULL;
    size_t length = 0;

    CHECK_INT(SSL_SESSION_get0_ticket_appdata(SSL_get0_session(c.server), &data, &length), 1);
    CHECK_INT(length, 0);
    connection_close(&c);
    CHECK_INT(SSL_SESSION_has_ticket(issued), 1);
    CHECK_INT(resumes(server, client, issued), 1);
    SSL_SESSION_free(issued);
}

static void share_object(void)
{
    SSL_CTX *client = new_client_for(by_ticket, "none");
    pthread_t threads[THREADS];

    section("shared object");
    rounds = is_under_valgrind() ? ROUNDS / 10 : ROUNDS;
    server = new_host_for(by_ticket);
    put_into_cache(client);
    check_ticket(client);
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, resume_by_id, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&together);
    check_ticket(client);
    SSL_SESSION_free(by_id);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static const struct named_function functions[] = { NAMED(share_object), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    RUN_AGAIN(share_object, key_file("keys"));
    RUN_AGAIN(share_object, key_file("keys"), file_store("store"));
    RUN_AGAIN(share_object, "SESSCACHE_LOG=off");
    return test_end();
}
