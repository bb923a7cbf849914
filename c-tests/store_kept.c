/*
 * Events that do not remove a session from the host store: an unclean close, eviction, expiry and
 * flush in one process, the end of its context or of the process itself, and whatever a client's
 * context does. The session resumes in another worker that never had it.
 */
#include "harness_store.h"

#include <string.h>
#include <time.h>

static const struct protocol *protocol;

static long make_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    return argument;
}

static SSL_SESSION *cached(SSL_SESSION *client_session)
{
    SSL_SESSION *found = cached_on_server(own_server, client_session);

    REQUIRE(found != NULL);
    return found;
}

/* ---- what the first worker does with the session it made ------------------------------------- */

static long nothing(long argument, SSL_SESSION **session)
{
    (void)session;
    return argument;
}

static long close_uncleanly(long argument, SSL_SESSION **session)
{
    struct connection c = open_own(*session);

    CHECK(connection_handshake(&c) && connection_exchange(&c));
    CHECK_INT(connection_resumed(&c), 1);
    connection_drop(&c);
    if (protocol->version != TLS1_3_VERSION)
        CHECK(cached_on_server(own_server, *session) == NULL);
    return argument;
}

static long clear_connection(long argument, SSL_SESSION **session)
{
    struct connection c = open_own(*session);

    CHECK(connection_handshake(&c) && connection_exchange(&c));
    CHECK_INT(SSL_clear(c.server), 1);
    connection_drop(&c);
    return argument;
}

static long set_session_on_connection(long argument, SSL_SESSION **session)
{
    struct connection c = open_own(*session);

    CHECK(connection_handshake(&c) && connection_exchange(&c));
    CHECK_INT(SSL_set_session(c.server, NULL), 1);
    connection_drop(&c);
    return argument;
}

static long evict(long argument, SSL_SESSION **session)
{
    SSL_CTX_sess_set_cache_size(own_server, 1);
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(obtain_here());
    CHECK(cached_on_server(own_server, *session) == NULL);
    CHECK(SSL_CTX_sess_cache_full(own_server) > 0);
    return argument;
}

static long flush_ended(long argument, SSL_SESSION **session)
{
    SSL_CTX_flush_sessions(own_server, (long)time(NULL));
    CHECK(cached_on_server(own_server, *session) != NULL);
    return argument;
}

static long expire_on_lookup(long argument, SSL_SESSION **session)
{
    set_time_unseen(cached(*session), (long)time(NULL) - 100000);
    CHECK_INT(resumes_here(*session), 0);
    CHECK_INT(SSL_CTX_sess_timeouts(own_server), 1);
    /* In TLS 1.3 the engine leaves it there. */
    SSL_CTX_flush_sessions(own_server, (long)time(NULL));
    CHECK(cached_on_server(own_server, *session) == NULL);
    return argument;
}

static long expire_by_flush(long argument, SSL_SESSION **session)
{
    set_time_unseen(cached(*session), (long)time(NULL) - 100000);
    SSL_CTX_flush_sessions(own_server, (long)time(NULL));
    CHECK(cached_on_server(own_server, *session) == NULL);
    return argument;
}

static long free_context(long argument, SSL_SESSION **session)
{
    free_own_contexts();
    return make_contexts(argument, session);
}

/* A client with the server's certificate, which caches. */
static void cache_at_client(long mode)
{
    use_identity(own_client, host_identity());
    SSL_CTX_set_session_cache_mode(own_client, mode);
}

/* The program removes what it cached there. */
static long remove_at_client(long argument, SSL_SESSION **session)
{
    cache_at_client(SSL_SESS_CACHE_CLIENT);
    CHECK_INT(SSL_CTX_add_session(own_client, *session), 1);
    CHECK_INT(SSL_CTX_remove_session(own_client, *session), 1);
    return argument;
}

/* The server says goodbye, the client does not. */
static long client_closes_uncleanly(long mode, SSL_SESSION **session)
{
    struct connection c;

    cache_at_client(mode);
    c = open_own(*session);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    (void)SSL_shutdown(c.server);
    SSL_free(c.client);
    SSL_free(c.server);
    return mode;
}

static long as_a_client(long argument, SSL_SESSION **session)
{
    client_closes_uncleanly(SSL_SESS_CACHE_CLIENT, session);
    return argument;
}

static long as_both(long argument, SSL_SESSION **session)
{
    client_closes_uncleanly(SSL_SESS_CACHE_BOTH, session);
    return argument;
}

/* ---- and what comes of it -------------------------------------------------------------------- */

static void kept(const char *what, task *loss)
{
    enum { LOSES, HAS_NOT, LATE, WORKERS };
    struct worker workers[WORKERS];
    struct sesscache_stats before;
    SSL_SESSION *session;

    section("%s %s", protocol->name, what);
    make_contexts(0, NULL);
    for (int i = 0; i < LATE; i++)
        workers[i] = fork_worker();
    session = obtain_in(&workers[LOSES]);
    before = stats_of(own_server);
    ask(&workers[LOSES], loss, 0, session);
    CHECK_INT(stats_of(own_server).removes, before.removes);
    CHECK_INT(resumes_in(&workers[HAS_NOT], session), 1);
    CHECK_INT(resumes_in(&workers[LOSES], session), 1);
    end_worker(&workers[LOSES]);
    workers[LATE] = fork_worker();
    CHECK_INT(resumes_in(&workers[LATE], session), 1);
    CHECK_INT(resumes_in(&workers[HAS_NOT], session), 1);
    CHECK_INT(stats_of(own_server).removes, before.removes);
    SSL_SESSION_free(session);
    for (int i = HAS_NOT; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static const struct named_function functions[] = {
    NAMED(nothing), NAMED(close_uncleanly), NAMED(clear_connection),
    NAMED(set_session_on_connection), NAMED(evict), NAMED(flush_ended),
    NAMED(expire_on_lookup), NAMED(expire_by_flush), NAMED(free_context), NAMED(remove_at_client),
    NAMED(as_a_client), NAMED(as_both), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        kept("nothing", nothing);
        kept("unclean close", close_uncleanly);
        kept("SSL_clear", clear_connection);
        kept("SSL_set_session", set_session_on_connection);
        kept("evicted", evict);
        kept("flushed of what has ended", flush_ended);
        kept("expired on lookup", expire_on_lookup);
        kept("expired by flush", expire_by_flush);
        kept("context freed", free_context);
        kept("removed at a client", remove_at_client);
        kept("unclean close of a client", as_a_client);
        kept("unclean close of a client, both modes", as_both);
    }
    return test_end();
}
