/*
 * Fact 9: with early data and OpenSSL's protection against replay a ticket is good for one use. The
 * engine makes sure of that by removing the session from the cache it takes to be its own.
 */
#include "harness_tickets.h"

static const struct protocol *tls13 = &protocols[1];

static SSL_CTX *new_early_server(struct recorder *recorder)
{
    SSL_CTX *server = new_server(tls13);

    accept_early_data(server);
    record(server, recorder);
    return server;
}

/* One handshake that offers a ticket and early data with it. */
struct offer {
    int resumed; /* -1: the handshake failed */
    int status;  /* SSL_EARLY_DATA_... as the server has it */
};

static struct offer offer_on(struct connection *c, SSL_SESSION *session)
{
    struct offer offer = { -1, -1 };
    size_t got = exchange_early_data(c, session);

    offer.status = SSL_get_early_data_status(c->server);
    CHECK_INT(SSL_get_early_data_status(c->client), offer.status);
    CHECK_INT(got, offer.status == SSL_EARLY_DATA_ACCEPTED ? sizeof(early) : 0);
    if (connection_handshake(c) && connection_exchange(c))
        offer.resumed = connection_resumed(c);
    return offer;
}

static struct offer offer_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);
    struct offer offer = offer_on(&c, session);

    connection_close(&c);
    return offer;
}

static void check_accepted(struct offer offer)
{
    CHECK_INT(offer.resumed, 1);
    CHECK_INT(offer.status, SSL_EARLY_DATA_ACCEPTED);
}

static void check_refused(struct offer offer)
{
    CHECK_INT(offer.resumed, 0);
    CHECK_INT(offer.status, SSL_EARLY_DATA_REJECTED);
}

static void report_counters(SSL_CTX *server, const struct recorder *recorder)
{
    report("number", SSL_CTX_sess_number(server));
    report("hits", SSL_CTX_sess_hits(server));
    report("misses", SSL_CTX_sess_misses(server));
    report("cb_hits", SSL_CTX_sess_cb_hits(server));
    report("new calls", recorder->new_calls);
    report("get calls", recorder->get_calls);
    report("remove calls", recorder->remove_calls);
}

/* The first use is good, the second is not; with SSL_OP_NO_TICKET and without. */
static void internal(unsigned long options)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    long alive = sessions_alive();
    SSL_SESSION *session;
    struct session_id id;

    section("internal, options %lx", options);
    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_options(server, options);
    session = obtain_session(server, client);
    id = server_id_of(session);
    CHECK(SSL_SESSION_get_max_early_data(session) > 0);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    check_accepted(offer_early(server, client, session));
    /* The one that was used left, the one of the next ticket came. */
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK(same_id(&recorder.last_removed, &id));
    CHECK_PTR(recorder.last_ctx, server);
    CHECK(cached_on_server(server, session) == NULL);
    check_refused(offer_early(server, client, session));
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(resumes(server, client, session), 0);
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(recorder.remove_calls, 4);
    CHECK_INT(sessions_alive(), alive);
}

/* A resumption without early data uses the ticket up, too; so does one after a second hello. */
static void used_up(int second_hello)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    SSL_SESSION *session = obtain_session(server, client);

    section("used up, second hello %d", second_hello);
    if (second_hello) {
        CHECK_INT(SSL_CTX_set1_groups_list(client, "X25519:P-256"), 1);
        CHECK_INT(SSL_CTX_set1_groups_list(server, "P-256"), 1);
        report("resumed", resumes(server, client, session));
    } else {
        CHECK_INT(resumes(server, client, session), 1);
    }
    check_refused(offer_early(server, client, session));
    CHECK(cached_on_server(server, session) == NULL);
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* An external cache as the manual has it: remove_cb takes the session out. */
static void forgetting_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct recorder *recorder = SSL_CTX_get_app_data(ctx);
    struct session_id id = id_of(session);

    recording_remove_cb(ctx, session);
    for (int i = 0; i < STORE_SIZE; i++) {
        if (recorder->external->der[i] != NULL && same_id(&recorder->external->ids[i], &id)) {
            OPENSSL_free(recorder->external->der[i]);
            recorder->external->der[i] = NULL;
        }
    }
}

/* The ticket is in the external cache: in another process made, say. */
static void external(long mode)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = &store };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    long alive = sessions_alive();
    SSL_SESSION *session;
    struct offer offer;

    section("external, mode %lx", mode);
    SSL_CTX_set_session_cache_mode(server, mode);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    recorder.remove_calls = 0;
    SSL_CTX_sess_set_remove_cb(server, forgetting_remove_cb);
    CHECK_INT(store_count(&store), 1);
    offer = offer_early(server, client, session);
    if ((mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0)
        check_accepted(offer);
    else /* OpenSSL cannot tell that this use is the first, so it refuses it. */
        check_refused(offer);
    CHECK_INT(recorder.remove_calls, 1);
    report_counters(server, &recorder);
    check_refused(offer_early(server, client, session));
    CHECK_INT(resumes(server, client, session), 0);
    section("external, mode %lx, in the end", mode);
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
    store_clear(&store);
}

/* Caching modes under which the ticket cannot be found. */
static void not_found(long mode)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    SSL_SESSION *session;

    section("not found, mode %lx", mode);
    SSL_CTX_set_session_cache_mode(server, mode);
    session = obtain_session(server, client);
    check_refused(offer_early(server, client, session));
    CHECK_INT(resumes(server, client, session), 0);
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Without the protection a stateful ticket is good for many uses, early data and all. */
static void no_anti_replay(int per_connection)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    SSL_SESSION *session;

    section("no anti replay, of the %s", per_connection ? "connection" : "ctx");
    if (!per_connection)
        SSL_CTX_set_options(server, SSL_OP_NO_ANTI_REPLAY);
    session = obtain_session(server, client);
    for (int i = 0; i < 3; i++) {
        struct connection c = connection_new(server, client);

        SSL_set_options(c.server, SSL_OP_NO_ANTI_REPLAY);
        check_accepted(offer_on(&c, session));
        connection_close(&c);
        CHECK(cached_on_server(server, session) != NULL);
    }
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 4);
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A connection that accepts no early data leaves the ticket for many uses, too. */
static void none_on_the_connection(void)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(tls13);
    SSL_SESSION *session = obtain_session(server, client);

    section("none on the connection");
    for (int i = 0; i < 2; i++) {
        struct connection c = connection_new(server, client);

        CHECK_INT(SSL_set_max_early_data(c.server, 0), 1);
        CHECK_INT(SSL_set_session(c.client, session), 1);
        CHECK(connection_handshake(&c) && connection_exchange(&c));
        CHECK_INT(connection_resumed(&c), 1);
        connection_close(&c);
        CHECK_INT(recorder.remove_calls, 0);
    }
    check_accepted(offer_early(server, client, session));
    check_refused(offer_early(server, client, session));
    report_counters(server, &recorder);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* On the same context sessions of TLS 1.2 resume as often as they like. */
static void tls12_beside(void)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_early_server(&recorder), *client = new_client(&protocols[0]);
    SSL_SESSION *session;

    section("tls12 beside");
    CHECK_INT(SSL_CTX_set_min_proto_version(server, TLS1_2_VERSION), 1);
    session = obtain_session(server, client);
    for (int i = 0; i < 3; i++)
        CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(recorder.remove_calls, 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    const long server = SSL_SESS_CACHE_SERVER;

    (void)sessions_alive();
    internal(SSL_OP_NO_TICKET);
    internal(0);
    used_up(0);
    used_up(1);
    external(server);
    external(server | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    external(server | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    external(server | SSL_SESS_CACHE_NO_INTERNAL);
    not_found(server | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    not_found(server | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    not_found(server | SSL_SESS_CACHE_NO_INTERNAL);
    not_found(SSL_SESS_CACHE_OFF);
    no_anti_replay(0);
    no_anti_replay(1);
    none_on_the_connection();
    tls12_beside();
    return test_end();
}
