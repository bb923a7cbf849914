/*
 * Clauses 1, 2, 4, 6 and 9: when new_cb and get_cb are called and when not, with what, and what the
 * getters return. Facts 11 (get_cb with caching off; a miss for every new TLS 1.3-capable client)
 * and 14 (OFF comes with other bits set).
 */
#include "harness.h"

static int other_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    return 0;
}

/* Clause 9. */
static void getters(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);

    section("%s getters", p->name);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == NULL);
    CHECK(SSL_CTX_sess_get_remove_cb(ctx) == NULL);
    CHECK(SSL_CTX_sess_get_get_cb(ctx) == NULL);
    SSL_CTX_sess_set_new_cb(ctx, recording_new_cb);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == recording_new_cb);
    CHECK(SSL_CTX_sess_get_remove_cb(ctx) == NULL);
    CHECK(SSL_CTX_sess_get_get_cb(ctx) == NULL);
    SSL_CTX_sess_set_remove_cb(ctx, recording_remove_cb);
    SSL_CTX_sess_set_get_cb(ctx, recording_get_cb);
    CHECK(SSL_CTX_sess_get_remove_cb(ctx) == recording_remove_cb);
    CHECK(SSL_CTX_sess_get_get_cb(ctx) == recording_get_cb);
    SSL_CTX_sess_set_new_cb(ctx, other_new_cb);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == other_new_cb);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == other_new_cb);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == NULL);
    CHECK(SSL_CTX_sess_get_remove_cb(ctx) == NULL);
    CHECK(SSL_CTX_sess_get_get_cb(ctx) == NULL);
    SSL_CTX_free(ctx);
}

/* How many calls of new_cb a full handshake and then a resumption make on each side. */
static void count_new_calls(const struct protocol *p, long mode, int tickets)
{
    struct recorder at_server = { .get_copy = -1 }, at_client = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    int is_server = (mode & SSL_SESS_CACHE_SERVER) != 0;
    /* In 1.2 a server without the SERVER bit gives its sessions no id: nothing to resume. */
    int is_client = (mode & SSL_SESS_CACHE_CLIENT) != 0
        && (is_server || p->version == TLS1_3_VERSION);
    int per_handshake = p->version == TLS1_3_VERSION ? tickets : 1;
    int per_resumption = p->version == TLS1_3_VERSION && tickets > 0 ? 1 : 0;
    int full_at_server, full_at_client;
    SSL_SESSION *session;

    section("%s new_cb mode %lx tickets %d", p->name, mode, tickets);
    record(server, &at_server);
    record(client, &at_client);
    SSL_CTX_set_session_cache_mode(server, mode);
    SSL_CTX_set_session_cache_mode(client, mode);
    CHECK_INT(SSL_CTX_set_num_tickets(server, (size_t)tickets), 1);
    session = obtain_session(server, client);
    full_at_server = at_server.new_calls;
    full_at_client = at_client.new_calls;
    CHECK_INT(full_at_server, is_server ? per_handshake : 0);
    CHECK_INT(full_at_client, is_client ? per_handshake : 0);

    report("resumed", resumes(server, client, session));
    if (is_server && per_handshake > 0 && (mode & SSL_SESS_CACHE_NO_INTERNAL) == 0) {
        CHECK_INT(at_server.new_calls - full_at_server, per_resumption);
        CHECK_INT(at_client.new_calls - full_at_client, is_client ? per_resumption : 0);
    }
    report("calls at the server", at_server.new_calls);
    report("calls at the client", at_client.new_calls);
    CHECK_INT(at_client.get_calls, 0);
    report("get_cb calls", at_server.get_calls);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Clause 1. */
static void new_calls(const struct protocol *p)
{
    static const long modes[] = {
        SSL_SESS_CACHE_OFF,
        SSL_SESS_CACHE_CLIENT,
        SSL_SESS_CACHE_SERVER,
        SSL_SESS_CACHE_BOTH,
        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL,
        SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE,
        SSL_SESS_CACHE_OFF | SSL_SESS_CACHE_NO_INTERNAL,
        SSL_SESS_CACHE_OFF | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR,
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        count_new_calls(p, modes[i], 1);
    if (p->version == TLS1_3_VERSION) {
        count_new_calls(p, SSL_SESS_CACHE_BOTH, 0);
        count_new_calls(p, SSL_SESS_CACHE_BOTH, 3);
    }
}

/* Clauses 2 and 4: what new_cb is given, and that the reference it keeps is its own. */
static void new_arguments(const struct protocol *p)
{
    struct recorder recorder = { .new_action = NEW_KEEPS, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long before = sessions_alive();
    SSL_SESSION *session;
    struct session_id id;
    struct connection c;

    section("%s new_cb arguments", p->name);
    record(server, &recorder);
    c = connect_offering(server, client, NULL);
    session = SSL_get1_session(c.client);
    id = server_id_of(session);
    CHECK(recorder.last_connection == c.server);
    CHECK(same_id(&recorder.last_new, &id));
    CHECK_PTR(recorder.kept, SSL_get_session(c.server));
    CHECK_PTR(cached_on_server(server, session), recorder.kept);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    connection_close(&c);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive() - before, 1);
    CHECK_INT(SSL_SESSION_get_protocol_version(recorder.kept), p->version);
    SSL_SESSION_free(recorder.kept);
    CHECK_INT(sessions_alive(), before);
}

/* Clause 6: whether get_cb is asked, and what it is told. */
static void get_calls(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;
    struct session_id id;

    section("%s get_cb", p->name);
    record(server, &recorder);
    session = obtain_session(server, client);
    id = server_id_of(session);
    CHECK_INT(recorder.get_calls, 0);

    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(recorder.get_calls, 0);

    SSL_CTX_set_session_cache_mode(
        server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(recorder.copy_on_entry, 1);
    CHECK(same_id(&recorder.last_asked, &id));

    /* Fact 11: with caching off the internal cache is still looked up, and get_cb after it. */
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(recorder.get_calls, 1);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 2);

    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_CLIENT);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 3);
    CHECK(same_id(&recorder.last_asked, &id));

    SSL_CTX_sess_set_get_cb(server, NULL);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 3);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Fact 11: such a client sends a random id, which no cache knows. */
static void unknown_id_of_new_clients(void)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(&protocols[0]), *client = new_client(&protocols[0]);
    struct connection c;

    section("tls12 server, tls13 client");
    record(server, &recorder);
    CHECK_INT(SSL_CTX_set_max_proto_version(client, TLS1_3_VERSION), 1);
    c = connect_offering(server, client, NULL);
    CHECK_INT(SSL_version(c.server), TLS1_2_VERSION);
    connection_close(&c);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(recorder.last_asked.length, 32);
    CHECK_INT(SSL_CTX_sess_misses(server), 1);
    CHECK_INT(recorder.new_calls, 1);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Callbacks that are changed between handshakes are those that are called. */
static void replaced(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);

    section("%s replaced", p->name);
    SSL_SESSION_free(obtain_session(server, client));
    record(server, &recorder);
    SSL_SESSION_free(obtain_session(server, client));
    CHECK_INT(recorder.new_calls, 1);
    SSL_CTX_sess_set_new_cb(server, NULL);
    SSL_SESSION_free(obtain_session(server, client));
    CHECK_INT(recorder.new_calls, 1);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    CHECK_INT(SSL_CTX_sess_number(server), 3);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(recorder.remove_calls, 0);
}

int main(void)
{
    sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        getters(p);
        new_calls(p);
        new_arguments(p);
        get_calls(p);
        replaced(p);
    }
    unknown_id_of_new_clients();
    return test_end();
}
