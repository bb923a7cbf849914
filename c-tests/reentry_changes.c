/*
 * Clause 10: callbacks that change what is going on under them. They take the session out that is
 * being cached, empty the cache, put back what is leaving it, remove others, unset themselves.
 */
#include "harness.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum action {
    NOTHING,
    REMOVE_IT,
    REMOVE_IT_AND_DECLINE,
    FLUSH_ALL,
    FLUSH_ALL_AND_DECLINE,
    UNSET_ALL,
    SWITCH_OFF,
    SHRINK,
    ADD_AND_RETURN, /* get_cb: caches what it returns, with copy 1 */
    FLUSH_AND_RETURN,
    PUT_BACK, /* remove_cb: caches a copy of what is leaving */
    REMOVE_OTHERS
};

static struct {
    enum action in_new, in_get, in_remove;
    SSL_SESSION *provides;
    int new_calls, get_calls, remove_calls;
} test;

static void unset_all(SSL_CTX *ctx)
{
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
}

static void act(SSL_CTX *ctx, enum action action, SSL_SESSION *session)
{
    switch (action) {
    case REMOVE_IT:
    case REMOVE_IT_AND_DECLINE:
        CHECK_INT(SSL_CTX_remove_session(ctx, session), 1);
        break;
    case FLUSH_ALL:
    case FLUSH_ALL_AND_DECLINE:
    case FLUSH_AND_RETURN:
        SSL_CTX_flush_sessions(ctx, 0);
        break;
    case UNSET_ALL:
        unset_all(ctx);
        break;
    case SWITCH_OFF:
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        break;
    case SHRINK:
        SSL_CTX_sess_set_cache_size(ctx, 1);
        break;
    case ADD_AND_RETURN:
        CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
        break;
    default:
        break;
    }
}

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    test.new_calls++;
    act(SSL_get_SSL_CTX(ssl), test.in_new, session);
    if (test.in_new == REMOVE_IT_AND_DECLINE || test.in_new == FLUSH_ALL_AND_DECLINE)
        return 0;
    SSL_SESSION_free(session);
    return 1;
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)id, (void)length;
    test.get_calls++;
    act(SSL_get_SSL_CTX(ssl), test.in_get, test.provides);
    *copy = 1;
    return test.provides;
}

static void remove_others(SSL_CTX *ctx)
{
    SSL_SESSION *other = make_session(ctx, TLS1_2_VERSION, 0);

    for (unsigned int number = 0; number < 10; number++) {
        struct session_id id = made_id(number);

        SSL_SESSION_set1_id(other, id.bytes, id.length);
        SSL_CTX_remove_session(ctx, other);
    }
    SSL_SESSION_free(other);
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    enum action action = test.in_remove;
    SSL_SESSION *copy;

    if (test.remove_calls++ > 0 && action != PUT_BACK)
        return;
    switch (action) {
    case PUT_BACK:
        /* Not for ever. */
        if (test.remove_calls > 100)
            return;
        copy = SSL_SESSION_dup(session);
        (void)SSL_CTX_add_session(ctx, copy);
        SSL_SESSION_free(copy);
        break;
    case REMOVE_OTHERS:
        remove_others(ctx);
        break;
    default:
        act(ctx, action, session);
        break;
    }
}

static SSL_CTX *new_tested_server(const struct protocol *p)
{
    SSL_CTX *server = new_server(p);

    alarm(10); /* a deadlock must not cost a minute */
    memset(&test, 0, sizeof(test));
    SSL_CTX_sess_set_new_cb(server, new_cb);
    SSL_CTX_sess_set_get_cb(server, get_cb);
    SSL_CTX_sess_set_remove_cb(server, remove_cb);
    return server;
}

static void report_all(SSL_CTX *server)
{
    report("number", SSL_CTX_sess_number(server));
    report("new calls", test.new_calls);
    report("get calls", test.get_calls);
    report("remove calls", test.remove_calls);
}

/* Changes that new_cb makes to the cache, with another session there. */
static void in_new_cb(const struct protocol *p, const char *name, enum action action)
{
    SSL_CTX *server = new_tested_server(p), *client = new_client(p);
    long alive = sessions_alive();
    SSL_SESSION *first, *second;

    section("%s new_cb %s", p->name, name);
    first = obtain_session(server, client);
    test.in_new = action;
    second = obtain_session(server, client);
    report_all(server);
    report("first is cached", cached_on_server(server, first) != NULL);
    report("second is cached", cached_on_server(server, second) != NULL);
    test.in_new = NOTHING;
    report("second resumes", resumes(server, client, second));
    report("first resumes", resumes(server, client, first));
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    report("remove calls in the end", test.remove_calls);
    CHECK_INT(sessions_alive(), alive);
}

static void in_get_cb(const struct protocol *p, const char *name, enum action action)
{
    SSL_CTX *server = new_tested_server(p), *client = new_client(p);
    long alive = sessions_alive();
    SSL_SESSION *session, *cached;

    section("%s get_cb %s", p->name, name);
    session = obtain_session(server, client);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    test.provides = SSL_SESSION_dup(cached);
    SSL_CTX_flush_sessions(server, 0);
    test.in_get = action;
    report("resumed", resumes(server, client, session));
    report_all(server);
    report("is cached", is_cached(server, test.provides));
    SSL_SESSION_free(test.provides);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
}

/* The session that leaves is number 0 of five; then all are flushed; then the context goes. */
static void in_remove_cb(const struct protocol *p, const char *name, enum action action)
{
    SSL_CTX *server = new_tested_server(p);
    long alive = sessions_alive();

    section("%s remove_cb %s", p->name, name);
    test.in_remove = action;
    for (unsigned int number = 0; number < 5; number++) {
        SSL_SESSION *session = make_session(server, TLS1_2_VERSION, number);

        CHECK_INT(SSL_CTX_add_session(server, session), 1);
        if (number == 4)
            CHECK_INT(SSL_CTX_remove_session(server, session), 1);
        SSL_SESSION_free(session);
    }
    report_all(server);
    test.remove_calls = 0;
    SSL_CTX_flush_sessions(server, 0);
    section("%s remove_cb %s, flushed", p->name, name);
    report_all(server);
    CHECK(test.remove_calls < 100);
    SSL_CTX_free(server);
    /* Stock 3.6.5 loses what remove_cb adds while the context is freed. */
    if (overlaid() || action != PUT_BACK)
        CHECK_INT(sessions_alive(), alive);
}

/*
 * From the removal in a full cache: another one is added, which must not push the next one out, and
 * so on. One eviction an addition, with stock to 3.6.3 (whose cache is full at three) and with us.
 */
static void put_back_when_evicted(const struct protocol *p)
{
    SSL_CTX *server = new_tested_server(p);
    long alive = sessions_alive();

    section("%s remove_cb puts back what is evicted", p->name);
    SSL_CTX_sess_set_cache_size(server, 4);
    for (unsigned int number = 0; number < 6; number++) {
        SSL_SESSION *session = make_session(server, p->version, number);

        if (number == 3)
            test.in_remove = PUT_BACK;
        CHECK_INT(SSL_CTX_add_session(server, session), 1);
        SSL_SESSION_free(session);
    }
    CHECK(SSL_CTX_sess_number(server) <= 4);
    if (overlaid())
        CHECK(test.remove_calls >= 2 && test.remove_calls <= 3);
    test.in_remove = NOTHING;
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
}

int main(void)
{
    (void)sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        in_new_cb(p, "removes it", REMOVE_IT);
        in_new_cb(p, "removes it and declines", REMOVE_IT_AND_DECLINE);
        in_new_cb(p, "flushes all", FLUSH_ALL);
        in_new_cb(p, "flushes all and declines", FLUSH_ALL_AND_DECLINE);
        in_new_cb(p, "unsets all callbacks", UNSET_ALL);
        in_new_cb(p, "switches caching off", SWITCH_OFF);
        in_new_cb(p, "makes the cache small", SHRINK);
        in_get_cb(p, "adds what it returns", ADD_AND_RETURN);
        in_get_cb(p, "flushes all", FLUSH_AND_RETURN);
        in_get_cb(p, "unsets all callbacks", UNSET_ALL);
        in_get_cb(p, "switches caching off", SWITCH_OFF);
        in_remove_cb(p, "puts it back", PUT_BACK);
        in_remove_cb(p, "flushes all", FLUSH_ALL);
        in_remove_cb(p, "unsets all callbacks", UNSET_ALL);
        in_remove_cb(p, "removes others", REMOVE_OTHERS);
        put_back_when_evicted(p);
    }
    return test_end();
}
