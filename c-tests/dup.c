/*
 * SSL_SESSION_dup of a cached session (fact 6): the copy is in no cache. What is done to it does
 * not move, remove or free what is cached, and the other way round.
 */
#include "harness.h"

#include <time.h>

static long in(long seconds)
{
    return (long)time(NULL) + seconds;
}

static SSL_SESSION *add_made(SSL_CTX *ctx, const struct protocol *p, unsigned int number)
{
    SSL_SESSION *session = make_session(ctx, p->version, number);

    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    return session;
}

static SSL_SESSION *copy_of(SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);

    REQUIRE(copy != NULL && copy != session);
    return copy;
}

/* The copy's life ends sooner, later, and by being freed: the cached one does not notice. */
static void copy_changes(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    long alive = sessions_alive();
    SSL_SESSION *session = add_made(ctx, p, 1), *copy = copy_of(session);

    section("%s copy changes", p->name);
    record(ctx, &recorder);
    CHECK(!is_cached(ctx, copy));
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    SSL_SESSION_set_timeout(copy, 10);
    SSL_SESSION_set_time(copy, in(-1000));
    SSL_CTX_flush_sessions(ctx, in(0));
    SSL_CTX_flush_sessions(ctx, in(200));
    CHECK(is_cached(ctx, session));
    CHECK_INT(SSL_SESSION_get_timeout(session), 300);
    SSL_SESSION_set_timeout(copy, 100000);
    SSL_SESSION_set_time(copy, in(0));
    SSL_SESSION_free(copy);
    CHECK(is_cached(ctx, session));
    CHECK_INT(recorder.remove_calls, 0);
    SSL_CTX_flush_sessions(ctx, in(400));
    CHECK(!is_cached(ctx, session));
    CHECK_INT(recorder.remove_calls, 1);
    SSL_SESSION_free(session);
    CHECK_INT(sessions_alive(), alive);
    SSL_CTX_free(ctx);
}

/* The cached one expires: the copy is as good as before, and may be cached itself. */
static void original_changes(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = add_made(ctx, p, 1), *copy = copy_of(session), *late;

    section("%s original changes", p->name);
    record(ctx, &recorder);
    SSL_SESSION_set_time(session, in(-1000));
    SSL_CTX_flush_sessions(ctx, in(0));
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(SSL_SESSION_is_resumable(session), 0);
    CHECK_INT(SSL_SESSION_is_resumable(copy), 1);
    CHECK_INT(SSL_CTX_add_session(ctx, copy), 1);
    CHECK(is_cached(ctx, copy));
    /* A copy of what is marked is marked as well. */
    late = copy_of(session);
    report("a copy of a removed one is resumable", SSL_SESSION_is_resumable(late));
    SSL_SESSION_free(late);
    SSL_SESSION_free(session);
    CHECK(is_cached(ctx, copy));
    SSL_SESSION_set_time(copy, in(-1000));
    SSL_CTX_flush_sessions(ctx, in(0));
    CHECK_INT(recorder.remove_calls, 2);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    SSL_SESSION_free(copy);
    SSL_CTX_free(ctx);
}

/* The copy takes the place of the original, which is not cached from then on, but is not marked. */
static void copy_replaces(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = add_made(ctx, p, 1), *copy = copy_of(session);

    section("%s copy replaces", p->name);
    record(ctx, &recorder);
    CHECK_INT(SSL_CTX_add_session(ctx, copy), 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    CHECK(is_cached(ctx, copy) && !is_cached(ctx, session));
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(SSL_SESSION_is_resumable(session), 1);
    /* Its lifetime is nobody's business any more. */
    SSL_SESSION_set_timeout(session, 10);
    SSL_SESSION_set_time(session, in(-1000));
    SSL_SESSION_free(session);
    SSL_CTX_flush_sessions(ctx, in(0));
    CHECK(is_cached(ctx, copy));
    SSL_SESSION_set_timeout(copy, 1000);
    SSL_CTX_flush_sessions(ctx, in(500));
    CHECK(is_cached(ctx, copy));
    CHECK_INT(SSL_CTX_remove_session(ctx, copy), 1);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    SSL_SESSION_free(copy);
    SSL_CTX_free(ctx);
}

/* The copy goes to another context: two caches, two lives. */
static void two_contexts(const struct protocol *p)
{
    SSL_CTX *one = new_server(p), *two = new_server(p);
    SSL_SESSION *session = add_made(one, p, 1), *copy = copy_of(session);

    section("%s two contexts", p->name);
    CHECK_INT(SSL_CTX_add_session(two, copy), 1);
    SSL_SESSION_set_timeout(copy, 1000);
    SSL_CTX_flush_sessions(one, in(500));
    SSL_CTX_flush_sessions(two, in(500));
    CHECK_INT(SSL_CTX_sess_number(one), 0);
    CHECK_INT(SSL_CTX_sess_number(two), 1);
    CHECK_INT(SSL_SESSION_is_resumable(session), 0);
    CHECK_INT(SSL_SESSION_is_resumable(copy), 1);
    SSL_CTX_free(one);
    CHECK(is_cached(two, copy));
    SSL_SESSION_free(session);
    SSL_SESSION_free(copy);
    SSL_CTX_free(two);
}

/* Made by a handshake, held by its connection, copied, resumed: nothing goes astray. */
static void of_a_connection(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long alive = sessions_alive();
    struct connection c = connect_offering(server, client, NULL);
    SSL_SESSION *copy = copy_of(SSL_get_session(c.server));
    SSL_SESSION *offered = copy_of(SSL_get_session(c.client));

    section("%s of a connection", p->name);
    SSL_SESSION_set_timeout(copy, 0);
    SSL_SESSION_set_time(copy, 1);
    SSL_SESSION_free(copy);
    connection_close(&c);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(resumes(server, client, offered), 1);
    CHECK_INT(resumes(server, client, offered), 1);
    SSL_SESSION_free(offered);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(sessions_alive(), alive);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    (void)sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        copy_changes(p);
        original_changes(p);
        copy_replaces(p);
        two_contexts(p);
        of_a_connection(p);
    }
    return test_end();
}
