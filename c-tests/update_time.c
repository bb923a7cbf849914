/*
 * SSL_SESS_CACHE_UPDATE_TIME (clause 11). Its manual page: a session's time is set anew when it is
 * used. Stock does so only when one is added to the cache; ours does both (listed differences).
 */
#include "harness.h"

#include <time.h>

static const long update_time = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME
    | SSL_SESS_CACHE_NO_AUTO_CLEAR;

static long in(long seconds)
{
    return (long)time(NULL) + seconds;
}

/* 1 if the session's time is the present, 0 if it is still `before`. */
static int is_updated(const SSL_SESSION *session, long before)
{
    long when = SSL_SESSION_get_time(session);

    CHECK(when == before || (when >= in(-60) && when <= in(0)));
    return when != before;
}

/* A handshake's session on the server, made `age` seconds older; a reference to be freed. */
static SSL_SESSION *cached_and_older(SSL_CTX *server, const SSL_SESSION *client_session, long age)
{
    SSL_SESSION *cached = cached_on_server(server, client_session);

    REQUIRE(cached != NULL);
    SSL_SESSION_up_ref(cached);
    SSL_SESSION_set_time(cached, in(-age));
    return cached;
}

/* Added by hand, also a second time: updated with the flag, else not. */
static void added(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = make_session(ctx, p->version, 1);
    long before = in(-200);

    section("%s added", p->name);
    SSL_SESSION_set_time(session, before);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 0);
    CHECK_INT(is_updated(session, before), 0);
    SSL_CTX_set_session_cache_mode(ctx, update_time);
    CHECK_INT(is_updated(session, before), 0);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 0);
    CHECK_INT(is_updated(session, before), 1);
    SSL_CTX_flush_sessions(ctx, in(200));
    CHECK(is_cached(ctx, session));
    CHECK_INT(SSL_CTX_remove_session(ctx, session), 1);
    SSL_SESSION_set_time(session, before);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(is_updated(session, before), 1);
    SSL_CTX_flush_sessions(ctx, in(200));
    CHECK(is_cached(ctx, session));
    SSL_CTX_flush_sessions(ctx, in(400));
    CHECK(!is_cached(ctx, session));
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

/* Used by a resumption: the life that is left is a whole timeout again. */
static void used(const struct protocol *p, long mode)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;
    long before;

    section("%s used, mode %lx", p->name, mode);
    SSL_CTX_set_timeout(server, 300);
    SSL_CTX_set_session_cache_mode(server, mode);
    session = obtain_session(server, client);
    cached = cached_and_older(server, session, 200);
    before = SSL_SESSION_get_time(cached);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK(is_cached(server, cached));
    report("updated", is_updated(cached, before));
    if ((mode & SSL_SESS_CACHE_UPDATE_TIME) == 0)
        CHECK_INT(is_updated(cached, before), 0);
    SSL_CTX_flush_sessions(server, in(50));
    CHECK(is_cached(server, cached));
    SSL_CTX_flush_sessions(server, in(250));
    report("cached after the end it had before", is_cached(server, cached));
    if ((mode & SSL_SESS_CACHE_UPDATE_TIME) == 0)
        CHECK(!is_cached(server, cached));
    SSL_CTX_flush_sessions(server, in(350));
    CHECK(!is_cached(server, cached));
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* An expired session is not brought back to life by the attempt to use it. */
static void expired(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;
    long before;

    section("%s expired", p->name);
    SSL_CTX_set_timeout(server, 300);
    SSL_CTX_set_session_cache_mode(server, update_time);
    session = obtain_session(server, client);
    cached = cached_and_older(server, session, 400);
    before = SSL_SESSION_get_time(cached);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 1);
    CHECK_INT(is_updated(cached, before), 0);
    CHECK_INT(resumes(server, client, session), 0);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Looking for an id is no use of the session. */
static void looked_for(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;
    struct connection c;
    struct session_id id;
    long before;

    section("%s looked for", p->name);
    SSL_CTX_set_session_cache_mode(server, update_time);
    session = obtain_session(server, client);
    cached = cached_and_older(server, session, 100);
    before = SSL_SESSION_get_time(cached);
    id = id_of(cached);
    c = connect_offering(server, client, NULL);
    CHECK_INT(SSL_has_matching_session_id(c.server, id.bytes, id.length), 1);
    CHECK_INT(is_updated(cached, before), 0);
    connection_close(&c);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A session from get_cb is updated when it is cached (even an expired one), and only then. */
static void from_get_cb(const struct protocol *p, long mode, long age)
{
    struct recorder recorder = { .new_action = NEW_KEEPS, .get_copy = 1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *provided;
    int is_stored = (mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0;
    long before;

    section("%s from get_cb, mode %lx, age %ld", p->name, mode, age);
    SSL_CTX_set_timeout(server, 300);
    SSL_CTX_set_session_cache_mode(server, mode | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    record(server, &recorder);
    session = obtain_session(server, client);
    provided = recorder.kept;
    SSL_CTX_set_session_cache_mode(server, mode);
    recorder.new_action = NEW_FREES;
    recorder.get_result = provided;
    SSL_SESSION_set_time(provided, in(-age));
    before = SSL_SESSION_get_time(provided);
    CHECK_INT(resumes(server, client, session), is_stored || age < 300);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(is_cached(server, provided), is_stored);
    CHECK_INT(is_updated(provided, before), is_stored);
    SSL_SESSION_free(provided);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        added(p);
        used(p, update_time);
        used(p, update_time & ~SSL_SESS_CACHE_UPDATE_TIME);
        expired(p);
        looked_for(p);
        from_get_cb(p, update_time, 100);
        from_get_cb(p, update_time, 400);
        from_get_cb(p, update_time | SSL_SESS_CACHE_NO_INTERNAL_STORE, 100);
        from_get_cb(p, update_time | SSL_SESS_CACHE_NO_INTERNAL_STORE, 400);
    }
    return test_end();
}
