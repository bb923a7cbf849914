/*
 * The session id context: a session of another context is a miss and stays where it is; an empty
 * one under SSL_VERIFY_PEER is not cached and breaks a resumption; it can be set per connection.
 */
#include "harness.h"

#include <string.h>
#include <openssl/err.h>

static void set_context(SSL_CTX *ctx, const char *name)
{
    unsigned int length = (unsigned int)strlen(name);

    CHECK_INT(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)name, length), 1);
}

static void report_lookups(SSL_CTX *ctx)
{
    report("hits", SSL_CTX_sess_hits(ctx));
    report("misses", SSL_CTX_sess_misses(ctx));
    report("cb_hits", SSL_CTX_sess_cb_hits(ctx));
    report("number", SSL_CTX_sess_number(ctx));
}

/* Refused under another context, good again under its own. */
static void of_the_ctx(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;

    section("%s of the ctx", p->name);
    record(server, &recorder);
    session = obtain_session(server, client);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    set_context(server, "other");
    CHECK_INT(resumes(server, client, session), 0);
    /* The internal cache did find it: nobody else is asked. */
    CHECK_INT(recorder.get_calls, 0);
    CHECK_INT(recorder.remove_calls, 0);
    CHECK(is_cached(server, cached));
    CHECK_INT(SSL_SESSION_is_resumable(cached), 1);
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    CHECK_INT(SSL_CTX_sess_hits(server), 0);
    report_lookups(server);
    /* A prefix is another context too. */
    set_context(server, "tes");
    CHECK_INT(resumes(server, client, session), 0);
    set_context(server, "test");
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_sess_hits(server), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* One handshake under a context of the connection's own. */
static SSL_SESSION *under(
    SSL_CTX *server, SSL_CTX *client, const char *name, SSL_SESSION *offer, int *resumed)
{
    struct connection c = connection_new(server, client);
    SSL_SESSION *session;

    CHECK_INT(SSL_set_session_id_context(
                  c.server, (const unsigned char *)name, (unsigned int)strlen(name)),
        1);
    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    *resumed = connection_resumed(&c);
    session = SSL_get1_session(c.client);
    connection_close(&c);
    return session;
}

static void of_the_connection(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *a, *b, *next;
    int resumed;

    section("%s of the connection", p->name);
    a = under(server, client, "a", NULL, &resumed);
    b = under(server, client, "b", NULL, &resumed);
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    next = under(server, client, "b", a, &resumed);
    CHECK_INT(resumed, 0);
    SSL_SESSION_free(next);
    next = under(server, client, "a", b, &resumed);
    CHECK_INT(resumed, 0);
    SSL_SESSION_free(next);
    CHECK_INT(resumes(server, client, a), 0);
    CHECK(cached_on_server(server, a) != NULL && cached_on_server(server, b) != NULL);
    next = under(server, client, "a", a, &resumed);
    CHECK_INT(resumed, 1);
    SSL_SESSION_free(next);
    next = under(server, client, "b", b, &resumed);
    CHECK_INT(resumed, 1);
    SSL_SESSION_free(next);
    report_lookups(server);
    SSL_SESSION_free(a);
    SSL_SESSION_free(b);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A session from get_cb is held to the same rule, but is cached before that. */
static void from_get_cb(const struct protocol *p)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = &store };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s from get_cb", p->name);
    record(server, &recorder);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    set_context(server, "other");
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(SSL_CTX_sess_hits(server), 0);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 1);
    CHECK(cached_on_server(server, session) != NULL);
    set_context(server, "test");
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(recorder.get_calls, 1);
    report_lookups(server);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    store_clear(&store);
}

static int accept_any(int preverified, X509_STORE_CTX *store)
{
    (void)preverified, (void)store;
    return 1;
}

/* With client certificates asked for and no context set, a session is not cached at all. */
static void not_cached(const struct protocol *p, int has_certificate)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s verify, no context, %s", p->name, has_certificate ? "certificate" : "none");
    record(server, &recorder);
    set_context(server, "");
    if (has_certificate)
        use_client_certificate(server, client);
    else
        SSL_CTX_set_verify(server, SSL_VERIFY_PEER, accept_any);
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    CHECK_INT(recorder.new_calls, 0);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.remove_calls, 0);
    SSL_SESSION_free(session);
    /* With a context it is cached and resumes, with the certificate. */
    set_context(server, "test");
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(recorder.new_calls, 1);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A session without context that is found nevertheless ends the handshake, by an alert. */
static void breaks_a_handshake(const struct protocol *p, int by_get_cb)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = &store };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;
    struct connection c;

    section("%s verify, context gone, %s", p->name, by_get_cb ? "get_cb" : "cache");
    record(server, &recorder);
    set_context(server, "");
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(resumes(server, client, session), 1);
    if (by_get_cb)
        SSL_CTX_flush_sessions(server, 0);
    recorder.remove_calls = recorder.get_calls = 0;
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, accept_any);
    c = connection_new(server, client);
    CHECK_INT(SSL_set_session(c.client, session), 1);
    ERR_clear_error();
    CHECK_INT(SSL_do_handshake(c.client), -1);
    CHECK_INT(SSL_do_handshake(c.server), -1);
    CHECK_INT(ERR_GET_REASON(ERR_peek_error()), SSL_R_SESSION_ID_CONTEXT_UNINITIALIZED);
    CHECK_INT(recorder.get_calls, by_get_cb);
    connection_drop(&c);
    report("is cached", cached_on_server(server, session) != NULL);
    report("remove calls", recorder.remove_calls);
    report_lookups(server);
    /* Nothing is spoilt: without verification it goes on. */
    SSL_CTX_set_verify(server, SSL_VERIFY_NONE, NULL);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    store_clear(&store);
}

/* A client verifies its server as a rule, and has no context as a rule: it caches all the same. */
static void client_verifies(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s client verifies", p->name);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, accept_any);
    record(client, &recorder);
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(client), 1);
    CHECK_INT(recorder.new_calls, 1);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        of_the_ctx(p);
        of_the_connection(p);
        from_get_cb(p);
        not_cached(p, 0);
        not_cached(p, 1);
        breaks_a_handshake(p, 0);
        breaks_a_handshake(p, 1);
        client_verifies(p);
    }
    return test_end();
}
