/*
 * Sessions for early data are used once, and so the store is asked about each of them. That must not
 * lose a context's own: after another certificate's names were loaded in place, after one connection
 * has a certificate callback, after the client's certificate has ended, after a chain of a day, and
 * where the application keeps them itself. The checks are the same on stock.
 */
#include "harness_admission.h"
#include "harness_tickets.h"

#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <openssl/err.h>

enum { HOUR = 3600, DAY = 24 * HOUR };

static const struct protocol *const tls13 = &protocols[1];
static const struct way *const stateful = &ways[2];

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

static SSL_CTX *make_server(void)
{
    SSL_CTX *server = new_host(tls13);

    SSL_CTX_set_timeout(server, 5 * DAY);
    accept_early_data(server);
    set_ahead(0);
    return server;
}

enum { NOTHING, BOTH = IS_RESUMED | IS_ACCEPTED };

/* OpenSSL 3.6 refuses the early data of an old ticket now and then, on stock as well: more often, the
   older it is. It goes by a difference of two 32-bit numbers that may wrap. */
static int may_refuse_early_data(void)
{
    return OpenSSL_version_num() >= 0x30300000L;
}

/* The client offers the session with early data. What the server makes of it, and what came of it. */
static int offer_early(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, SSL_SESSION **made)
{
    struct connection c = connection_new(server, client);
    int seen = 0;

    exchange_early_data(&c, session);
    /* A client who would be refused now is refused when the session is used up. */
    if (connection_handshake(&c) && connection_exchange(&c))
        seen |= connection_resumed(&c) ? IS_RESUMED : 0;
    seen |= SSL_get_early_data_status(c.server) == SSL_EARLY_DATA_ACCEPTED ? IS_ACCEPTED : 0;
    if (seen == IS_RESUMED && may_refuse_early_data())
        seen = BOTH;
    if (made != NULL)
        *made = SSL_get1_session(c.client);
    connection_close(&c);
    ERR_clear_error();
    return seen;
}

/* Used as on stock: once, and so is what comes of it. */
static void check_used_once(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session), *next, *copy_of_next;

    CHECK_INT(offer_early(server, client, session, &next), BOTH);
    CHECK_INT(offer_early(server, client, copy, NULL), NOTHING);
    copy_of_next = SSL_SESSION_dup(next);
    CHECK_INT(offer_early(server, client, next, NULL), BOTH);
    CHECK_INT(offer_early(server, client, copy_of_next, NULL), NOTHING);
    SSL_SESSION_free(copy);
    SSL_SESSION_free(next);
    SSL_SESSION_free(copy_of_next);
}

/* ---- what happens to the context in use ------------------------------------------------------ */

static int choose_certificate(SSL *ssl, void *argument)
{
    (void)ssl, (void)argument;
    return 1;
}

static void change_nothing_at_all(SSL_CTX *server, SSL_CTX *client)
{
    (void)server, (void)client;
}

static void other_names(SSL_CTX *server, SSL_CTX *client)
{
    struct identity other = new_identity("other.example", 9 * DAY);

    (void)client;
    use_identity(server, &other);
    free_identity(&other);
}

static void other_names_and_back(SSL_CTX *server, SSL_CTX *client)
{
    other_names(server, client);
    SSL_SESSION_free(obtain_session(server, client));
    use_identity(server, host_identity());
}

static void callback_of_connection(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c = connection_new(server, client);

    SSL_set_cert_cb(c.server, choose_certificate, NULL);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    connection_close(&c);
}

static void callback_of_context(SSL_CTX *server, SSL_CTX *client)
{
    (void)client;
    SSL_CTX_set_cert_cb(server, choose_certificate, NULL);
}

static void two_days_later(SSL_CTX *server, SSL_CTX *client)
{
    (void)server, (void)client;
    set_ahead(2 * DAY);
}

static void two_minutes_later(SSL_CTX *server, SSL_CTX *client)
{
    (void)server, (void)client;
    set_ahead(120);
}

static const struct happening {
    const char *what;
    void (*happen)(SSL_CTX *server, SSL_CTX *client);
    const char *client; /* "none": the server asks nobody */
} happenings[] = {
    { "nothing", change_nothing_at_all, "none" },
    { "nothing", change_nothing_at_all, "good" },
    { "other names", other_names, "none" },
    { "other names", other_names, "good" },
    { "other names, and back", other_names_and_back, "none" },
    { "a connection's certificate callback", callback_of_connection, "none" },
    { "the context's certificate callback", callback_of_context, "none" },
    { "two days", two_days_later, "none" },
    { "two days", two_days_later, "good" },
    { "the client's certificate has ended", two_minutes_later, "short" },
};

static void all_happenings(void)
{
    for (size_t i = 0; i < sizeof(happenings) / sizeof(happenings[0]); i++) {
        const struct happening *happening = &happenings[i];
        SSL_CTX *server = make_server(), *client = new_client_for(stateful, happening->client);
        SSL_SESSION *session;

        section("%s, client %s", happening->what, happening->client);
        if (strcmp(happening->client, "none") != 0) {
            trust(server, "root");
            require_client(server);
        }
        session = obtain_session(server, client);
        happening->happen(server, client);
        check_used_once(server, client, session);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

/* Each session comes of the one before it, up to and after a day from the first. */
static void chain_of_a_day(const char *who)
{
    static const long hours[] = { 12, 23, 24, 25, 48, 71 };
    SSL_CTX *server = make_server(), *client = new_client_for(stateful, who);
    SSL_SESSION *session, *next;

    section("a chain, client %s", who);
    if (strcmp(who, "none") != 0) {
        trust(server, "root");
        require_client(server);
    }
    session = obtain_session(server, client);
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        section("a chain, client %s, after %ld h", who, hours[i]);
        set_ahead(hours[i] * HOUR + 60);
        CHECK_INT(offer_early(server, client, session, &next), BOTH);
        SSL_SESSION_free(session);
        session = next;
    }
    check_used_once(server, client, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- where the application keeps them -------------------------------------------------------- */

static void demand_root(SSL_CTX *server) { trust(server, "root"); require_client(server); }

/* Shared or not, the session is the application's affair. */
static void out_of_get_cb(const char *what, void (*as)(SSL_CTX *), const char *who)
{
    static struct store external;
    struct recorder recorder = { .external = &external };
    SSL_CTX *server = make_server(), *client = new_client_for(stateful, who);
    SSL_SESSION *session, *next;

    section("get_cb, %s", what);
    SSL_CTX_set_session_cache_mode(
        server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    as(server);
    record(server, &recorder);
    session = obtain_session(server, client);
    CHECK_INT(offer_early(server, client, session, &next), BOTH);
    CHECK_INT(offer_early(server, client, next, NULL), BOTH);
    CHECK_INT(recorder.get_calls, 2);
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    store_clear(&external);
}

static int resumes_as(SSL_CTX *server, SSL_CTX *client, const char *name, SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);
    int resumed;

    CHECK_INT(SSL_set_tlsext_host_name(c.client, name), 1);
    if (session != NULL)
        CHECK_INT(SSL_set_session(c.client, session), 1);
    REQUIRE(connection_handshake(&c) && connection_exchange(&c));
    resumed = connection_resumed(&c);
    connection_close(&c);
    return resumed;
}

static void trust_others(SSL_CTX *server, SSL_CTX *client)
{
    (void)client;
    trust(server, "others");
}

/* What has changed since is the application's affair, too: on this context, or on another one that
   asks the same get_cb. */
static void out_of_get_cb_later(const char *what, void (*happen)(SSL_CTX *, SSL_CTX *), const char *name,
                                const char *who, int is_other)
{
    static struct store external;
    struct recorder recorder = { .external = &external };
    SSL_CTX *servers[2], *client = new_client_for(stateful, who);
    SSL_SESSION *session;

    section("get_cb, %s, %s context", what, is_other ? "another" : "the same");
    for (int i = 0; i < 2; i++) {
        servers[i] = make_server();
        SSL_CTX_set_session_cache_mode(
            servers[i], SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
        if (strcmp(who, "none") != 0)
            demand_root(servers[i]);
        record(servers[i], &recorder);
    }
    session = obtain_session(servers[0], client);
    happen(servers[is_other], client);
    CHECK_INT(resumes_as(servers[is_other], client, name, session), 1);
    CHECK_INT(recorder.get_calls, 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(servers[0]);
    SSL_CTX_free(servers[1]);
    SSL_CTX_free(client);
    store_clear(&external);
}

static void changed_meanwhile(void)
{
    for (int is_other = 0; is_other < 2; is_other++) {
        out_of_get_cb_later("nothing", change_nothing_at_all, "host.example", "none", is_other);
        out_of_get_cb_later("another name", change_nothing_at_all, "other.example", "none", is_other);
        out_of_get_cb_later("another authority", trust_others, "host.example", "good", is_other);
    }
    out_of_get_cb_later("other names", other_names, "host.example", "none", 0);
}

static void kept_by_application(void)
{
    changed_meanwhile();
    out_of_get_cb("nobody asked", change_nothing, "none");
    out_of_get_cb("asked, none given", ask_client, "none");
    out_of_get_cb("verified", demand_root, "good");
}

static void all(void)
{
    all_happenings();
    chain_of_a_day("none");
    chain_of_a_day("good");
    kept_by_application();
}

static const struct named_function functions[] = { NAMED(all), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(all, file_store("store"), key_file("keys"));
    RUN_AGAIN(all, "SESSCACHE_STORE=shm:?size=1MiB", "SESSCACHE_CLIENT_CERTS=never");
    return test_end();
}
