/*
 * Clause 3: when new_cb returns 0 the session leaves the internal cache at once, without remove_cb,
 * and the reference given to new_cb is released. Stock keeps the session cached (listed
 * differences); with SESSCACHE_NEW_CB_ZERO=keep so do we (zero_keep.c). Which of the two it is unless
 * the variable is set: zero_came_in.sh.
 */
#include "harness.h"

/* On the side that is observed: what is left of a session that new_cb declined. */
static void declined(const struct protocol *p, int at_client)
{
    struct recorder recorder = { .new_action = NEW_DECLINES, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_CTX *observed = at_client ? client : server;
    long before = sessions_alive();
    struct connection c;
    SSL_SESSION *session;

    section("%s declined at the %s", p->name, at_client ? "client" : "server");
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    record(observed, &recorder);
    c = connect_offering(server, client, NULL);
    session = SSL_get1_session(c.client);
    CHECK_INT(recorder.new_calls, 1);
    CHECK_INT(recorder.remove_calls, 0);
    report("number", SSL_CTX_sess_number(observed));
    /* The connection goes on with it, and it is as good as before. */
    CHECK_INT(SSL_SESSION_is_resumable(SSL_get_session(at_client ? c.client : c.server)), 1);
    CHECK_INT(connection_exchange(&c), 1);
    connection_close(&c);
    report("sessions alive", sessions_alive() - before);
    if (!at_client) {
        report("cached", cached_on_server(server, session) != NULL);
        report("resumed", resumes(server, client, session));
        report("get_cb calls", recorder.get_calls);
    }
    CHECK_INT(recorder.remove_calls, 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    report("remove calls with the context", recorder.remove_calls);
    CHECK_INT(sessions_alive(), before);
}

/* nginx and others: new_cb copies the session away and returns 0. get_cb must find the copy. */
static void declined_but_saved(const struct protocol *p, long mode)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .new_action = NEW_DECLINES, .external = &store };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s declined but saved, mode %lx", p->name, mode);
    SSL_CTX_set_session_cache_mode(server, mode);
    record(server, &recorder);
    session = obtain_session(server, client);
    report("number", SSL_CTX_sess_number(server));
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(store_count(&store), 1);
    CHECK_INT(resumes(server, client, session), 1);
    report("get_cb calls", recorder.get_calls);
    /* A session that get_cb returned is cached: it was not declined. */
    report("cached after get_cb", cached_on_server(server, session) != NULL);
    CHECK_INT(resumes(server, client, session), 1);
    report("get_cb calls in the end", recorder.get_calls);
    CHECK_INT(recorder.remove_calls, 0);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_SESSION_free(session);
    store_clear(&store);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* new_cb caches a copy of its own under the same id and returns 0. */
static int caching_new_cb(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);

    REQUIRE(copy != NULL);
    CHECK_INT(SSL_CTX_add_session(SSL_get_SSL_CTX(ssl), copy), 1);
    SSL_SESSION_free(copy);
    return 0;
}

/* Only the declined object leaves, not another that took its place. */
static void declined_for_a_copy(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s declined for a copy", p->name);
    record(server, &recorder);
    SSL_CTX_sess_set_new_cb(server, caching_new_cb);
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(recorder.remove_calls, 0);
    SSL_CTX_sess_set_new_cb(server, recording_new_cb);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(recorder.get_calls, 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        declined(p, 0);
        declined(p, 1);
        declined_but_saved(p, SSL_SESS_CACHE_SERVER);
        declined_but_saved(p, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
        declined_for_a_copy(p);
    }
    return test_end();
}
