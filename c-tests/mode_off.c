/*
 * An application's SSL_SESS_CACHE_OFF reaches libssl as that: libssl after 4.0 compares the mode
 * with OFF. A session that get_cb or the application brings nevertheless is cached by nobody else.
 */
#include "harness.h"

#include <stdio.h>

typedef long ctrl(SSL_CTX *ctx, int command, long number, void *pointer);

static long stock(SSL_CTX *ctx, int command)
{
    ctrl *stock_ctrl = (ctrl *)stock_function("SSL_CTX_ctrl");

    return stock_ctrl(ctx, command, 0, NULL);
}

static long mode_of_libssl(SSL_CTX *ctx)
{
    return stock(ctx, SSL_CTRL_GET_SESS_CACHE_MODE);
}

/* What libssl itself caches; on stock that is the application's cache. */
static long number_of_libssl(SSL_CTX *ctx)
{
    return is_ours(ctx) ? stock(ctx, SSL_CTRL_SESS_NUMBER) : 0;
}

static void off_is_off(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    CHECK_INT(mode_of_libssl(server), SSL_SESS_CACHE_OFF);
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    CHECK_INT(mode_of_libssl(server), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    CHECK(mode_of_libssl(server) & SSL_SESS_CACHE_SERVER);
    SSL_SESSION_free(session);
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* The application still has sessions of before, and sets OFF. */
static void cached_before(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session = obtain_session(server, client);

    CHECK_INT(SSL_CTX_sess_number(server), 1);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    report("cached before, resumed", resumes(server, client, session));
    report("cached before, number", SSL_CTX_sess_number(server));
    CHECK_INT(number_of_libssl(server), 0);
    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    CHECK_INT(mode_of_libssl(server), SSL_SESS_CACHE_OFF);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* It adds one although the cache is off. */
static void added(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session = obtain_session(server, client), *cached;

    cached = cached_on_server(server, session);
    REQUIRE(cached != NULL);
    cached = SSL_SESSION_dup(cached);
    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    CHECK_INT(mode_of_libssl(server), SSL_SESS_CACHE_OFF);
    CHECK_INT(SSL_CTX_add_session(server, cached), 1);
    report("added, resumed", resumes(server, client, session));
    CHECK_INT(number_of_libssl(server), 0);
    (void)SSL_CTX_remove_session(server, cached);
    report("added and removed, resumed", resumes(server, client, session));
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* get_cb has what was made before; set before OFF or after it. */
static void by_get_cb(const struct protocol *p, int first_off)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = &store, .get_copy = -1 };
    SSL_CTX *maker = new_server(p), *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    record(maker, &recorder);
    session = obtain_session(maker, client);
    if (first_off)
        SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    record(server, &recorder);
    if (!first_off)
        SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    section("%s, get_cb, first off %d", p->name, first_off);
    report("resumed", resumes(server, client, session));
    report("number", SSL_CTX_sess_number(server));
    CHECK_INT(number_of_libssl(server), 0);
    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_sess_set_get_cb(server, NULL);
    report("without get_cb, resumed", resumes(server, client, session));
    if (!is_ours(server) || SSL_CTX_sess_number(server) == 0)
        CHECK_INT(mode_of_libssl(server), SSL_SESS_CACHE_OFF);
    SSL_SESSION_free(session);
    store_clear(&store);
    SSL_CTX_free(maker);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        section("%s", p->name);
        off_is_off(p);
        cached_before(p);
        added(p);
        by_get_cb(p, 0);
        by_get_cb(p, 1);
    }
    return test_end();
}
