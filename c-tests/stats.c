/*
 * Clause 12: the counters after known sequences, as SSL_CTX_sess_number(3) documents them and stock
 * counts them, with the internal cache, an external one, and on both sides.
 */
#include "harness.h"

#include <stdio.h>
#include <time.h>

/* NO_AUTO_CLEAR, or ours would clear away what has expired when it likes. */
#define SERVER_ONLY (SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR)

/* All twelve, in one line. */
static void report_counters(const char *name, SSL_CTX *ctx)
{
    char text[200];

    snprintf(text, sizeof(text),
        "number %ld, connect %ld good %ld again %ld, accept %ld good %ld again %ld, "
        "hits %ld cb_hits %ld misses %ld timeouts %ld full %ld",
        SSL_CTX_sess_number(ctx), SSL_CTX_sess_connect(ctx), SSL_CTX_sess_connect_good(ctx),
        SSL_CTX_sess_connect_renegotiate(ctx), SSL_CTX_sess_accept(ctx),
        SSL_CTX_sess_accept_good(ctx), SSL_CTX_sess_accept_renegotiate(ctx),
        SSL_CTX_sess_hits(ctx), SSL_CTX_sess_cb_hits(ctx), SSL_CTX_sess_misses(ctx),
        SSL_CTX_sess_timeouts(ctx), SSL_CTX_sess_cache_full(ctx));
    report_text(name, text);
}

/* The counters that clause 12 names, since the last time. */
static void check_lookups(SSL_CTX *ctx, int hits, int cb_hits, int misses, int timeouts)
{
    CHECK_INT(SSL_CTX_sess_hits(ctx), hits);
    CHECK_INT(SSL_CTX_sess_cb_hits(ctx), cb_hits);
    CHECK_INT(SSL_CTX_sess_misses(ctx), misses);
    CHECK_INT(SSL_CTX_sess_timeouts(ctx), timeouts);
}

static void internal(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;

    section("%s internal", p->name);
    SSL_CTX_set_session_cache_mode(server, SERVER_ONLY);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    report_counters("server at first", server);
    session = obtain_session(server, client);
    check_lookups(server, 0, 0, 0, 0);
    CHECK_INT(SSL_CTX_sess_accept(server), 1);
    CHECK_INT(SSL_CTX_sess_accept_good(server), 1);
    CHECK_INT(SSL_CTX_sess_connect(client), 1);
    CHECK_INT(SSL_CTX_sess_connect_good(client), 1);
    report_counters("server after a full handshake", server);
    report_counters("client after a full handshake", client);

    CHECK_INT(resumes(server, client, session), 1);
    check_lookups(server, 1, 0, 0, 0);
    CHECK_INT(SSL_CTX_sess_hits(client), 1);
    report_counters("server after a resumption", server);
    report_counters("client after a resumption", client);

    /* Another one: in TLS 1.3 a client that caches does not offer a ticket twice. */
    SSL_SESSION_free(session);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(resumes(server, client, session), 0);
    check_lookups(server, 1, 0, 1, 0);
    report_counters("server after a miss", server);
    report_counters("client after a miss", client);
    SSL_SESSION_free(session);

    session = obtain_session(server, client);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    SSL_SESSION_set_time(cached, (long)time(NULL) - 100000);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_hits(server), 1);
    report_counters("server after a timeout", server);
    report_counters("client after a timeout", client);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void external(const struct protocol *p, long mode)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = &store };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    int counts_misses = (mode & SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) == 0;
    SSL_SESSION *session, *refused;

    section("%s external, mode %lx", p->name, mode);
    SSL_CTX_set_session_cache_mode(server, mode);
    record(server, &recorder);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    check_lookups(server, 0, 0, 0, 0);

    /* A hit of get_cb is a miss of the internal cache before, if that was asked. */
    CHECK_INT(resumes(server, client, session), 1);
    check_lookups(server, 1, 1, counts_misses, 0);
    report_counters("server after a hit", server);
    SSL_CTX_flush_sessions(server, 0);
    store_clear(&store);
    CHECK_INT(resumes(server, client, session), 0);
    check_lookups(server, 1, 1, 2 * counts_misses, 0);
    report_counters("server after a miss", server);
    SSL_SESSION_free(session);

    /* A session from get_cb that libssl refuses: marked, it is no hit at all; expired, a timeout. */
    recorder = (struct recorder){ .new_action = NEW_KEEPS, .get_copy = 1 };
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    refused = recorder.kept;
    SSL_CTX_remove_session(server, refused);
    recorder = (struct recorder){ .get_result = refused, .get_copy = 1 };
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 1);
    report_counters("server after a refusal", server);
    SSL_SESSION_free(refused);
    SSL_SESSION_free(session);

    recorder = (struct recorder){ .new_action = NEW_KEEPS, .get_copy = 1 };
    session = obtain_session(server, client);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    refused = SSL_SESSION_dup(recorder.kept);
    SSL_SESSION_set_time(refused, (long)time(NULL) - 100000);
    SSL_CTX_flush_sessions(server, 0);
    SSL_SESSION_free(recorder.kept);
    recorder = (struct recorder){ .get_result = refused, .get_copy = 1 };
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 2);
    report_counters("server after a timeout", server);
    SSL_SESSION_free(refused);
    SSL_SESSION_free(session);
    store_clear(&store);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A handshake that dies is an accept and a connect that were not good. */
static void died(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c;

    section("%s died", p->name);
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
    c = connection_new(server, client);
    CHECK_INT(connection_handshake(&c), 0);
    connection_drop(&c);
    report_counters("server", server);
    report_counters("client", client);
    CHECK_INT(SSL_CTX_sess_connect_good(client), 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A renegotiation counts apart; it makes a session of its own. */
static void renegotiation(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c;
    char byte;

    section("%s renegotiation", p->name);
    c = connect_offering(server, client, NULL);
    SSL_set_options(c.server, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    CHECK_INT(SSL_renegotiate(c.client), 1);
    for (int turn = 0; turn < 4; turn++) {
        (void)SSL_do_handshake(c.client);
        CHECK(SSL_read(c.server, &byte, 1) <= 0);
    }
    CHECK_INT(connection_exchange(&c), 1);
    CHECK_INT(SSL_CTX_sess_accept_renegotiate(server), 1);
    CHECK_INT(SSL_CTX_sess_connect_renegotiate(client), 1);
    report_counters("server", server);
    report_counters("client", client);
    connection_close(&c);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The counters belong to a context: another one's are not touched. */
static void apart(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *other = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s apart", p->name);
    session = obtain_session(server, client);
    CHECK_INT(resumes(other, client, session), 0);
    check_lookups(server, 0, 0, 0, 0);
    check_lookups(other, 0, 0, 1, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(SSL_CTX_sess_number(other), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(other);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        internal(p);
        external(p, SERVER_ONLY);
        external(p, SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        external(p, SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
        external(p, SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL);
        died(p);
        if (p->version != TLS1_3_VERSION)
            renegotiation(p);
        apart(p);
    }
    return test_end();
}
