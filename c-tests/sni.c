/*
 * Fact 4: a servername or ClientHello callback switches the connection to another context, as
 * nginx, HAProxy and Apache do. The cache, the callbacks and the settings that count are those of
 * the context the connection started with.
 */
#include "harness.h"

#include <string.h>
#include <time.h>

enum { FIRST, SECOND, THIRD, SERVERS };

/* Which callback switches, and by which steps. */
enum switcher { BY_SERVERNAME, BY_CLIENT_HELLO };

/* Seen by a context's own callbacks; they are different functions for each context. */
struct seen {
    int new_calls, get_calls, remove_calls;
    SSL_SESSION *kept, *provides;
};

static struct seen seen[SERVERS];
static SSL_CTX *servers[SERVERS];
static const int *steps; /* the contexts to be switched to, ended by -1 */

static int saw_new(struct seen *by, SSL_SESSION *session)
{
    by->new_calls++;
    SSL_SESSION_free(by->kept);
    by->kept = session;
    return 1;
}

static SSL_SESSION *saw_get(struct seen *by, int *copy)
{
    by->get_calls++;
    *copy = 1;
    return by->provides;
}

#define CALLBACKS(server) \
    static int new_of_##server(SSL *ssl, SSL_SESSION *session) \
    { \
        (void)ssl; \
        return saw_new(&seen[server], session); \
    } \
    static SSL_SESSION *get_of_##server(SSL *ssl, const unsigned char *id, int length, int *copy) \
    { \
        (void)ssl, (void)id, (void)length; \
        return saw_get(&seen[server], copy); \
    } \
    static void remove_of_##server(SSL_CTX *ctx, SSL_SESSION *session) \
    { \
        (void)session; \
        CHECK_PTR(ctx, servers[server]); \
        seen[server].remove_calls++; \
    }

CALLBACKS(FIRST)
CALLBACKS(SECOND)
CALLBACKS(THIRD)

static const struct {
    int (*new_cb)(SSL *, SSL_SESSION *);
    SSL_SESSION *(*get_cb)(SSL *, const unsigned char *, int, int *);
    void (*remove_cb)(SSL_CTX *, SSL_SESSION *);
} callbacks[SERVERS] = {
    { new_of_FIRST, get_of_FIRST, remove_of_FIRST },
    { new_of_SECOND, get_of_SECOND, remove_of_SECOND },
    { new_of_THIRD, get_of_THIRD, remove_of_THIRD },
};

static void take_steps(SSL *ssl)
{
    for (const int *step = steps; *step >= 0; step++) {
        CHECK_PTR(SSL_set_SSL_CTX(ssl, servers[*step]), servers[*step]);
        CHECK_PTR(SSL_get_SSL_CTX(ssl), servers[*step]);
    }
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    take_steps(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int client_hello_cb(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    take_steps(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static SSL_CTX *open_servers(const struct protocol *p, enum switcher switcher, const int *path)
{
    steps = path;
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < SERVERS; i++) {
        servers[i] = new_server(p);
        SSL_CTX_sess_set_new_cb(servers[i], callbacks[i].new_cb);
        SSL_CTX_sess_set_get_cb(servers[i], callbacks[i].get_cb);
        SSL_CTX_sess_set_remove_cb(servers[i], callbacks[i].remove_cb);
    }
    if (switcher == BY_SERVERNAME)
        SSL_CTX_set_tlsext_servername_callback(servers[FIRST], servername_cb);
    else
        SSL_CTX_set_client_hello_cb(servers[FIRST], client_hello_cb, NULL);
    return new_client(p);
}

static void close_servers(SSL_CTX *client)
{
    for (int i = 0; i < SERVERS; i++) {
        SSL_SESSION_free(seen[i].kept);
        SSL_CTX_free(servers[i]);
    }
    SSL_CTX_free(client);
}

/* A handshake with the first server, naming a host; the connection is left open. */
static struct connection open_connection(SSL_CTX *client, SSL_SESSION *offer)
{
    struct connection c = connection_new(servers[FIRST], client);

    CHECK_INT(SSL_set_tlsext_host_name(c.client, "second.example"), 1);
    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    return c;
}

static void check_seen(int server, int new_calls, int get_calls, int remove_calls)
{
    CHECK_INT(seen[server].new_calls, new_calls);
    CHECK_INT(seen[server].get_calls, get_calls);
    CHECK_INT(seen[server].remove_calls, remove_calls);
}

/* Nothing of the session business reached the contexts that were switched to. */
static void check_others_untouched(void)
{
    for (int i = SECOND; i < SERVERS; i++) {
        check_seen(i, 0, 0, 0);
        CHECK_INT(SSL_CTX_sess_number(servers[i]), 0);
        CHECK_INT(SSL_CTX_sess_hits(servers[i]), 0);
        CHECK_INT(SSL_CTX_sess_misses(servers[i]), 0);
        CHECK_INT(SSL_CTX_sess_cb_hits(servers[i]), 0);
        CHECK_INT(SSL_CTX_sess_timeouts(servers[i]), 0);
    }
}

static void report_counters(void)
{
    report("first accepts", SSL_CTX_sess_accept(servers[FIRST]));
    report("first good accepts", SSL_CTX_sess_accept_good(servers[FIRST]));
    report("second accepts", SSL_CTX_sess_accept(servers[SECOND]));
    report("second good accepts", SSL_CTX_sess_accept_good(servers[SECOND]));
    report("first misses", SSL_CTX_sess_misses(servers[FIRST]));
}

/* Full, resumed from the cache, resumed by get_cb, expired, closed uncleanly. */
static void life_of_a_session(
    const struct protocol *p, enum switcher switcher, const char *name, const int *path)
{
    static const char *const by[] = { "servername", "client_hello" };
    const int tickets = p->version == TLS1_3_VERSION; /* a resumption makes a session, too */
    SSL_CTX *client = open_servers(p, switcher, path);
    int last = FIRST;
    SSL_SESSION *session, *provided;
    struct session_id id;
    struct connection c;

    section("%s %s %s", p->name, by[switcher], name);
    for (const int *step = path; *step >= 0; step++)
        last = *step;
    c = open_connection(client, NULL);
    CHECK_PTR(SSL_get_SSL_CTX(c.server), servers[last]);
    session = SSL_get1_session(c.client);
    id = server_id_of(session);
    CHECK_INT(SSL_has_matching_session_id(c.server, id.bytes, id.length), 1);
    connection_close(&c);
    check_seen(FIRST, 1, 0, 0);
    CHECK_INT(SSL_CTX_sess_number(servers[FIRST]), 1);
    CHECK(cached_on_server(servers[FIRST], session) != NULL);

    c = open_connection(client, session);
    CHECK_INT(connection_resumed(&c), 1);
    connection_close(&c);
    check_seen(FIRST, 1 + tickets, 0, 0);
    CHECK_INT(SSL_CTX_sess_hits(servers[FIRST]), 1);

    /* By get_cb: a copy, because a flush marks what was cached. */
    REQUIRE((provided = cached_on_server(servers[FIRST], session)) != NULL);
    provided = SSL_SESSION_dup(provided);
    SSL_CTX_flush_sessions(servers[FIRST], 0);
    check_seen(FIRST, 1 + tickets, 0, 1 + tickets);
    seen[FIRST].provides = provided;
    c = open_connection(client, session);
    CHECK_INT(connection_resumed(&c), 1);
    connection_close(&c);
    check_seen(FIRST, 1 + 2 * tickets, 1, 1 + tickets);
    CHECK(is_cached(servers[FIRST], provided));
    CHECK_INT(SSL_CTX_sess_cb_hits(servers[FIRST]), 1);
    seen[FIRST].provides = NULL;

    SSL_SESSION_set_time(provided, (long)time(NULL) - 100000);
    c = open_connection(client, session);
    CHECK_INT(connection_resumed(&c), 0);
    CHECK_INT(SSL_CTX_sess_timeouts(servers[FIRST]), 1);
    seen[FIRST].remove_calls = 0;
    connection_drop(&c);
    CHECK_INT(seen[FIRST].remove_calls, 1);

    check_others_untouched();
    report_counters();
    SSL_SESSION_free(provided);
    SSL_SESSION_free(session);
    close_servers(client);
}

/* The mode is the first's, too, but in 1.2 the other's SERVER bit is needed for an id. */
static void settings(const struct protocol *p, enum switcher switcher)
{
    static const int path[] = { SECOND, -1 };
    SSL_CTX *client = open_servers(p, switcher, path);
    SSL_SESSION *session;
    struct connection c;

    section("%s settings %d", p->name, (int)switcher);
    SSL_CTX_set_session_cache_mode(servers[FIRST], SSL_SESS_CACHE_OFF);
    c = open_connection(client, NULL);
    connection_close(&c);
    check_seen(FIRST, 0, 0, 0);
    CHECK_INT(SSL_CTX_sess_number(servers[FIRST]), 0);
    SSL_CTX_set_session_cache_mode(servers[FIRST], SSL_SESS_CACHE_SERVER);
    SSL_CTX_set_session_cache_mode(servers[SECOND], SSL_SESS_CACHE_OFF);
    c = open_connection(client, NULL);
    connection_close(&c);
    check_seen(FIRST, p->version == TLS1_3_VERSION, 0, 0);
    SSL_CTX_flush_sessions(servers[FIRST], 0);
    SSL_SESSION_free(seen[FIRST].kept);
    memset(seen, 0, sizeof(seen));
    SSL_CTX_set_session_cache_mode(
        servers[SECOND], SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    c = open_connection(client, NULL);
    session = SSL_get1_session(c.client);
    connection_close(&c);
    check_seen(FIRST, 1, 0, 0);
    CHECK_INT(SSL_CTX_sess_number(servers[FIRST]), 1);

    SSL_CTX_set_session_cache_mode(
        servers[FIRST], SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    c = open_connection(client, session);
    CHECK_INT(connection_resumed(&c), 0);
    connection_close(&c);
    check_seen(FIRST, 2, 1, 0);
    SSL_CTX_set_session_cache_mode(servers[FIRST], SSL_SESS_CACHE_SERVER);
    c = open_connection(client, session);
    CHECK_INT(connection_resumed(&c), 1);
    connection_close(&c);
    check_others_untouched();
    SSL_SESSION_free(session);
    close_servers(client);
}

/* The program lets go of the first context; the connection keeps it, and its cache. */
static void first_is_freed(const struct protocol *p)
{
    static const int path[] = { SECOND, -1 };
    SSL_CTX *client = open_servers(p, BY_SERVERNAME, path);
    struct connection c = connection_new(servers[FIRST], client);

    section("%s first is freed", p->name);
    CHECK_INT(SSL_set_tlsext_host_name(c.client, "second.example"), 1);
    SSL_CTX_free(servers[FIRST]);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    check_seen(FIRST, 1, 0, 0);
    CHECK_INT(SSL_CTX_sess_number(servers[FIRST]), 1);
    connection_close(&c);
    check_seen(FIRST, 1, 0, 1);
    check_others_untouched();
    SSL_CTX_up_ref(servers[SECOND]);
    SSL_CTX_free(servers[SECOND]);
    servers[FIRST] = NULL;
    close_servers(client);
}

/* NULL goes back to the context the connection started with. */
static void back(const struct protocol *p)
{
    static const int nowhere[] = { -1 };
    SSL_CTX *client = open_servers(p, BY_SERVERNAME, nowhere);
    struct connection c = connection_new(servers[FIRST], client);

    section("%s back", p->name);
    CHECK_PTR(SSL_set_SSL_CTX(c.server, servers[SECOND]), servers[SECOND]);
    CHECK_PTR(SSL_set_SSL_CTX(c.server, servers[SECOND]), servers[SECOND]);
    CHECK_PTR(SSL_set_SSL_CTX(c.server, NULL), servers[FIRST]);
    CHECK_PTR(SSL_get_SSL_CTX(c.server), servers[FIRST]);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    check_seen(FIRST, 1, 0, 0);
    CHECK_INT(SSL_CTX_sess_number(servers[FIRST]), 1);
    connection_close(&c);
    check_others_untouched();
    close_servers(client);
}

/* The server's end becomes a copy of itself, on the same wire. */
static void become_copy(struct connection *c)
{
    SSL *copy = SSL_dup(c->server);
    BIO *wire = SSL_get_rbio(c->server);

    REQUIRE(copy != NULL && copy != c->server);
    BIO_up_ref(wire);
    SSL_set_bio(copy, wire, wire);
    if (SSL_is_dtls(copy))
        SSL_set_mtu(copy, 1400);
    SSL_free(c->server);
    c->server = copy;
}

/* A copy starts with the context that its original has been switched to, not with the first. */
static void copied(const struct protocol *p, int after_switch)
{
    static const int nowhere[] = { -1 };
    SSL_CTX *client = open_servers(p, BY_SERVERNAME, nowhere);
    struct connection c = connection_new(servers[FIRST], client);
    int owner = after_switch ? SECOND : FIRST;

    section("%s copied %s", p->name, after_switch ? "after" : "before");
    if (after_switch)
        CHECK_PTR(SSL_set_SSL_CTX(c.server, servers[SECOND]), servers[SECOND]);
    become_copy(&c);
    CHECK_PTR(SSL_get_SSL_CTX(c.server), servers[owner]);
    if (!after_switch)
        CHECK_PTR(SSL_set_SSL_CTX(c.server, servers[SECOND]), servers[SECOND]);
    else
        CHECK_PTR(SSL_set_SSL_CTX(c.server, servers[THIRD]), servers[THIRD]);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    for (int i = 0; i < SERVERS; i++) {
        check_seen(i, i == owner, 0, 0);
        CHECK_INT(SSL_CTX_sess_number(servers[i]), i == owner);
    }
    connection_drop(&c);
    check_seen(owner, 1, 0, 1);
    close_servers(client);
}

int main(void)
{
    static const int once[] = { SECOND, -1 };
    static const int twice[] = { SECOND, THIRD, -1 };
    static const int there_and_back[] = { SECOND, FIRST, -1 };

    FOR_EACH_PROTOCOL(p) {
        life_of_a_session(p, BY_SERVERNAME, "once", once);
        life_of_a_session(p, BY_SERVERNAME, "twice", twice);
        life_of_a_session(p, BY_SERVERNAME, "there and back", there_and_back);
        life_of_a_session(p, BY_CLIENT_HELLO, "once", once);
        life_of_a_session(p, BY_CLIENT_HELLO, "twice", twice);
        settings(p, BY_SERVERNAME);
        settings(p, BY_CLIENT_HELLO);
        first_is_freed(p);
        back(p);
        copied(p, 0);
        copied(p, 1);
    }
    return test_end();
}
