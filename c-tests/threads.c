/*
 * One context, many threads: handshakes and resumptions while callbacks, mode and size are changed
 * and the cache is flushed. In the end the counts agree, nothing leaked, and the number of sessions
 * was never above the size.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { WORKERS = 4, TURNS = 30, SMALL = 8 };

/* Shared by all threads; the callbacks count and look at the number of cached sessions. */
static SSL_CTX *server;
static const struct protocol *protocol;
static atomic_int new_calls, get_calls, remove_calls, calls_by_set[2], highest, is_done;
static atomic_int rounds, full, resumed, failed;
static pthread_barrier_t start;
static int workers_replace; /* the threads with the handshakes also replace the callbacks */

static void look_at_number(SSL_CTX *ctx)
{
    int number = (int)SSL_CTX_sess_number(ctx), before = atomic_load(&highest);

    while (number > before && !atomic_compare_exchange_weak(&highest, &before, number))
        ;
}

static int count_new(SSL *ssl, SSL_SESSION *session, int set)
{
    CHECK_PTR(SSL_get_SSL_CTX(ssl), server);
    atomic_fetch_add(&new_calls, 1);
    atomic_fetch_add(&calls_by_set[set], 1);
    look_at_number(server);
    SSL_SESSION_free(session);
    return 1;
}

static void count_remove(SSL_CTX *ctx, int set)
{
    CHECK_PTR(ctx, server);
    atomic_fetch_add(&remove_calls, 1);
    atomic_fetch_add(&calls_by_set[set], 1);
}

/* Two sets of callbacks that count alike: whichever is set, no event is lost. */
static int new_cb_0(SSL *ssl, SSL_SESSION *session)
{
    return count_new(ssl, session, 0);
}

static int new_cb_1(SSL *ssl, SSL_SESSION *session)
{
    return count_new(ssl, session, 1);
}

static void remove_cb_0(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    count_remove(ctx, 0);
}

static void remove_cb_1(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    count_remove(ctx, 1);
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)copy;
    CHECK(length > 0);
    atomic_fetch_add(&get_calls, 1);
    return NULL;
}

static void set_callbacks(int set)
{
    SSL_CTX_sess_set_new_cb(server, set ? new_cb_1 : new_cb_0);
    SSL_CTX_sess_set_remove_cb(server, set ? remove_cb_1 : remove_cb_0);
    SSL_CTX_sess_set_get_cb(server, set ? get_cb : NULL);
}

static void count_handshake(struct connection *c)
{
    if (!connection_handshake(c) || !connection_exchange(c))
        atomic_fetch_add(&failed, 1);
    else if (connection_resumed(c))
        atomic_fetch_add(&resumed, 1);
    else
        atomic_fetch_add(&full, 1);
}

/* Rounds of a full handshake and two resumptions of what it brought; fewer on a slow machine. */
static void *shake_hands(void *unused)
{
    SSL_CTX *client = new_client(protocol);
    clock_t end = clock() + 2 * CLOCKS_PER_SEC;

    pthread_barrier_wait(&start);
    for (int turn = 0; turn < TURNS && (turn < 2 || clock() < end); turn++) {
        struct connection c = connection_new(server, client);
        SSL_SESSION *session;

        if (workers_replace)
            set_callbacks(turn % 2);
        count_handshake(&c);
        session = SSL_get1_session(c.client);
        connection_close(&c);
        for (int again = 0; again < 2; again++) {
            c = connection_new(server, client);
            CHECK_INT(SSL_set_session(c.client, session), 1);
            count_handshake(&c);
            connection_close(&c);
        }
        SSL_SESSION_free(session);
        atomic_fetch_add(&rounds, 1);
    }
    SSL_CTX_free(client);
    return unused;
}

/* Meanwhile, until they are done. */
static void *replace_callbacks(void *unused)
{
    pthread_barrier_wait(&start);
    for (int set = 0; !atomic_load(&is_done); set ^= 1) {
        set_callbacks(set);
        look_at_number(server);
    }
    set_callbacks(0);
    return unused;
}

static void *change_size_and_flush(void *unused)
{
    /* Below the number of threads too: they then look for each other's places. */
    static const long sizes[] = { 3, 2, 5, SMALL };

    pthread_barrier_wait(&start);
    for (unsigned int i = 0; !atomic_load(&is_done); i++) {
        SSL_CTX_sess_set_cache_size(server, sizes[i % 4]);
        SSL_CTX_flush_sessions(server, i % 64 == 0 ? 0 : (long)time(NULL) - 10);
    }
    SSL_CTX_sess_set_cache_size(server, SMALL);
    return unused;
}

static void *change_mode(void *unused)
{
    static const long modes[] = { SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_BOTH,
        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL,
        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP,
        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR,
        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME };

    pthread_barrier_wait(&start);
    for (unsigned int i = 0; !atomic_load(&is_done); i++)
        SSL_CTX_set_session_cache_mode(server, modes[i % 7]);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    return unused;
}

/* Sessions by hand, which the same threads' handshakes push out. */
static void *add_and_remove(void *unused)
{
    pthread_barrier_wait(&start);
    for (unsigned int i = 0; !atomic_load(&is_done); i++) {
        SSL_SESSION *session = make_session(server, protocol->version, i % 16);

        SSL_CTX_add_session(server, session);
        if (overlaid()) /* stock reads the session's owner before it locks, and crashes */
            SSL_SESSION_set_timeout(session, 100 + i % 100);
        if (i % 2 == 0)
            SSL_CTX_remove_session(server, session);
        SSL_SESSION_free(session);
    }
    return unused;
}

static void run(void *(*const *others)(void *), int count)
{
    pthread_t workers[WORKERS], meanwhile[4];

    set_callbacks(0);
    atomic_store(&new_calls, 0);
    atomic_store(&get_calls, 0);
    atomic_store(&remove_calls, 0);
    atomic_store(&calls_by_set[0], 0);
    atomic_store(&calls_by_set[1], 0);
    atomic_store(&highest, 0);
    atomic_store(&is_done, 0);
    atomic_store(&rounds, 0);
    atomic_store(&full, 0);
    atomic_store(&resumed, 0);
    atomic_store(&failed, 0);
    pthread_barrier_init(&start, NULL, (unsigned int)(WORKERS + count));
    for (int i = 0; i < WORKERS; i++)
        REQUIRE(pthread_create(&workers[i], NULL, shake_hands, NULL) == 0);
    for (int i = 0; i < count; i++)
        REQUIRE(pthread_create(&meanwhile[i], NULL, others[i], NULL) == 0);
    for (int i = 0; i < WORKERS; i++)
        REQUIRE(pthread_join(workers[i], NULL) == 0);
    atomic_store(&is_done, 1);
    for (int i = 0; i < count; i++)
        REQUIRE(pthread_join(meanwhile[i], NULL) == 0);
    pthread_barrier_destroy(&start);
    CHECK_INT(atomic_load(&full) + atomic_load(&resumed), 3 * atomic_load(&rounds));
    CHECK_INT(atomic_load(&failed), 0);
}

static void open_server(const struct protocol *p, const char *name, long size)
{
    section("%s %s", p->name, name);
    protocol = p;
    server = new_server(p);
    SSL_CTX_sess_set_cache_size(server, size);
}

static void close_server(long alive)
{
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
}

/* Handshakes only, in a cache large enough: every count is known. */
static void undisturbed(const struct protocol *p)
{
    long alive = sessions_alive();
    int done;

    open_server(p, "undisturbed", 0);
    run(NULL, 0);
    done = atomic_load(&rounds);
    CHECK_INT(atomic_load(&full), done);
    CHECK_INT(atomic_load(&resumed), 2 * done);
    CHECK_INT(atomic_load(&new_calls), p->version == TLS1_3_VERSION ? 3 * done : done);
    CHECK_INT(SSL_CTX_sess_number(server), atomic_load(&new_calls));
    CHECK_INT(SSL_CTX_sess_hits(server), 2 * done);
    CHECK_INT(SSL_CTX_sess_misses(server), 0);
    CHECK_INT(SSL_CTX_sess_accept_good(server), 3 * done);
    CHECK_INT(atomic_load(&remove_calls), 0);
    close_server(alive);
    CHECK_INT(atomic_load(&remove_calls), atomic_load(&new_calls));
}

/* Callbacks replaced, size changed and flushed meanwhile: what came and did not go is there. */
static void disturbed(const struct protocol *p)
{
    void *(*const others[])(void *) = { replace_callbacks, change_size_and_flush };
    long alive = sessions_alive();

    open_server(p, "disturbed", SMALL);
    workers_replace = 1;
    run(others, 2);
    workers_replace = 0;
    CHECK_INT(SSL_CTX_sess_number(server), atomic_load(&new_calls) - atomic_load(&remove_calls));
    CHECK(SSL_CTX_sess_number(server) <= SMALL);
    CHECK(atomic_load(&highest) <= SMALL);
    CHECK_INT(SSL_CTX_sess_hits(server), atomic_load(&resumed));
    CHECK(atomic_load(&calls_by_set[0]) > 0 && atomic_load(&calls_by_set[1]) > 0);
    note("%d full, %d resumed, %d new, %d get, %d removed", atomic_load(&full),
        atomic_load(&resumed), atomic_load(&new_calls), atomic_load(&get_calls),
        atomic_load(&remove_calls));
    close_server(alive);
    CHECK_INT(atomic_load(&remove_calls), atomic_load(&new_calls));
}

/* Everything at once: it must hold together, and nothing may leak. */
static void everything(const struct protocol *p)
{
    void *(*const others[])(void *) = {
        replace_callbacks, change_size_and_flush, change_mode, add_and_remove };
    long alive = sessions_alive();

    open_server(p, "everything", SMALL);
    run(others, 4);
    CHECK(SSL_CTX_sess_number(server) <= SMALL);
    CHECK(atomic_load(&highest) <= SMALL);
    close_server(alive);
}

int main(void)
{
    (void)sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        undisturbed(p);
        disturbed(p);
        everything(p);
    }
    return test_end();
}
