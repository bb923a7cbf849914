/*
 * Fact 14, what servers really do: HAProxy empties the id while its new_cb runs, Postfix frees the
 * session and returns 1, stunnel caches by hand and keeps ex_data on sessions, ProFTPD copies the
 * callbacks to another context and changes the mode for a moment, Node sets them per connection.
 */
#include "harness.h"

#include <string.h>

/* State that the callbacks of this file share with the test that runs. */
static struct {
    int new_calls, remove_calls, get_calls;
    int declines;              /* new_cb returns 0 */
    unsigned char *der;        /* what new_cb serialised */
    int der_length;
    struct session_id id, last_removed;
    SSL_CTX *last_ctx;
    SSL_SESSION *provides;
} test;

static void reset(void)
{
    OPENSSL_free(test.der);
    memset(&test, 0, sizeof(test));
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    test.remove_calls++;
    test.last_removed = id_of(session);
    test.last_ctx = ctx;
}

/* HAProxy (ssl_sock.c, sh_ssl_sess_new_cb): the id is not to be serialised, it is kept beside. */
static int emptying_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    test.new_calls++;
    test.id = id_of(session);
    CHECK_INT(SSL_SESSION_set1_id(session, test.id.bytes, 0), 1);
    OPENSSL_free(test.der);
    test.der = NULL;
    test.der_length = i2d_SSL_SESSION(session, &test.der);
    CHECK(test.der_length > 0);
    CHECK_INT(SSL_SESSION_set1_id(session, test.id.bytes, test.id.length), 1);
    if (test.declines)
        return 0;
    SSL_SESSION_free(session);
    return 1;
}

/* HAProxy (sh_ssl_sess_get_cb): the id is put back in. */
static SSL_SESSION *filling_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    const unsigned char *der = test.der;
    SSL_SESSION *session;

    (void)ssl;
    test.get_calls++;
    *copy = 0;
    if (length != (int)test.id.length || memcmp(id, test.id.bytes, test.id.length) != 0)
        return NULL;
    session = d2i_SSL_SESSION(NULL, &der, test.der_length);
    if (session != NULL)
        CHECK_INT(SSL_SESSION_set1_id(session, id, (unsigned int)length), 1);
    return session;
}

static void id_emptied(const struct protocol *p, long mode, int declines)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    int is_internal = (mode & SSL_SESS_CACHE_NO_INTERNAL) == 0;
    long alive = sessions_alive();
    SSL_SESSION *session;

    section("%s id emptied, mode %lx, declines %d", p->name, mode, declines);
    test.declines = declines;
    SSL_CTX_set_session_cache_mode(server, mode);
    SSL_CTX_sess_set_new_cb(server, emptying_new_cb);
    SSL_CTX_sess_set_get_cb(server, filling_get_cb);
    SSL_CTX_sess_set_remove_cb(server, remove_cb);
    session = obtain_session(server, client);
    CHECK_INT(test.new_calls, 1);
    if (!declines)
        CHECK_INT(SSL_CTX_sess_number(server), is_internal);
    report("number", SSL_CTX_sess_number(server));
    CHECK_INT(resumes(server, client, session), 1);
    report("get calls", test.get_calls);
    CHECK_INT(test.remove_calls, 0);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    report("remove calls", test.remove_calls);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
    reset();
}

/* Postfix (tls_server.c, new_server_session_cb): serialises, frees and returns 1. */
static int freeing_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    test.new_calls++;
    SSL_SESSION_free(session);
    return 1;
}

static void freed(const struct protocol *p, long mode)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long alive = sessions_alive();
    struct connection c;
    SSL_SESSION *session;

    section("%s freed, mode %lx", p->name, mode);
    SSL_CTX_set_session_cache_mode(server, mode);
    SSL_CTX_sess_set_new_cb(server, freeing_new_cb);
    c = connect_offering(server, client, NULL);
    session = SSL_get1_session(c.client);
    CHECK_INT(test.new_calls, 1);
    /* The connection has its reference still. */
    CHECK(SSL_SESSION_get_id(SSL_get_session(c.server), NULL) != NULL);
    CHECK_INT(connection_exchange(&c), 1);
    connection_close(&c);
    CHECK_INT(resumes(server, client, session), (mode & SSL_SESS_CACHE_NO_INTERNAL) == 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), alive);
    reset();
}

static int tag_index = -1;

/* stunnel (ssl.c, sess_new_cb): caches by hand what the mode does not, and ties data to it. */
static int adding_new_cb(SSL *ssl, SSL_SESSION *session)
{
    test.new_calls++;
    CHECK_INT(SSL_SESSION_set_ex_data(session, tag_index, &test), 1);
    CHECK_INT(SSL_CTX_add_session(SSL_get_SSL_CTX(ssl), session), 1);
    return 0;
}

/* Mode 0x203 (BOTH without storing): looked up, found, and the very object, with its ex_data. */
static void added_by_hand(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;
    struct connection c;

    section("%s added by hand", p->name);
    SSL_CTX_set_session_cache_mode(
        server, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(server, adding_new_cb);
    session = obtain_session(server, client);
    CHECK_INT(test.new_calls, 1);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    CHECK_PTR(SSL_SESSION_get_ex_data(cached, tag_index), &test);
    c = connect_offering(server, client, session);
    CHECK_INT(connection_resumed(&c), 1);
    if (p->version != TLS1_3_VERSION) /* there the next ticket makes it a copy */
        CHECK_PTR(SSL_get_session(c.server), cached);
    CHECK_PTR(SSL_SESSION_get_ex_data(SSL_get_session(c.server), tag_index), &test);
    connection_close(&c);
    report("number", SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    reset();
}

/* Even OFF and even without an id (a client's ticket): it is in the cache until it is flushed. */
static void added_without_id(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    long alive = sessions_alive();
    SSL_SESSION *nameless = make_session(ctx, p->version, 1);
    SSL_SESSION *other = make_session(ctx, p->version, 2);
    struct session_id id = made_id(1);

    section("%s added without id", p->name);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    CHECK_INT(SSL_SESSION_set1_id(nameless, id.bytes, 0), 1);
    CHECK_INT(SSL_SESSION_set1_id(other, id.bytes, 0), 1);
    CHECK_INT(SSL_CTX_add_session(ctx, nameless), 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    CHECK_INT(SSL_CTX_add_session(ctx, nameless), 0);
    /* One without an id is like another: it takes the place. */
    CHECK_INT(SSL_CTX_add_session(ctx, other), 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    CHECK(is_cached(ctx, other));
    CHECK_INT(SSL_CTX_remove_session(ctx, other), 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    CHECK_INT(test.remove_calls, 0);
    SSL_CTX_flush_sessions(ctx, 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    CHECK_INT(test.remove_calls, 1);
    CHECK_INT(test.last_removed.length, 0);
    CHECK_INT(SSL_SESSION_is_resumable(other), 0);
    /* The mark shows when it gets an id. */
    CHECK_INT(SSL_SESSION_set1_id(other, id.bytes, id.length), 1);
    report("resumable with an id", SSL_SESSION_is_resumable(other));
    CHECK_INT(SSL_CTX_add_session(ctx, nameless), 1);
    SSL_SESSION_free(nameless);
    SSL_SESSION_free(other);
    SSL_CTX_free(ctx);
    CHECK_INT(test.remove_calls, 2);
    CHECK_INT(sessions_alive(), alive);
    reset();
}

/* ProFTPD (mod_tls.c): the control connection's callbacks are copied to another context. */
static void copied_to_another_ctx(const struct protocol *p)
{
    SSL_CTX *first = new_server(p), *second = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s callbacks copied", p->name);
    SSL_CTX_sess_set_new_cb(first, emptying_new_cb);
    SSL_CTX_sess_set_get_cb(first, filling_get_cb);
    SSL_CTX_sess_set_remove_cb(first, remove_cb);
    SSL_CTX_sess_set_new_cb(second, SSL_CTX_sess_get_new_cb(first));
    SSL_CTX_sess_set_get_cb(second, SSL_CTX_sess_get_get_cb(first));
    SSL_CTX_sess_set_remove_cb(second, SSL_CTX_sess_get_remove_cb(first));
    SSL_CTX_free(first);
    session = obtain_session(second, client);
    CHECK_INT(test.new_calls, 1);
    SSL_CTX_flush_sessions(second, 0);
    CHECK_INT(test.remove_calls, 1);
    CHECK_PTR(test.last_ctx, second);
    CHECK_INT(resumes(second, client, session), 1);
    CHECK_INT(test.get_calls, 1);
    SSL_SESSION_free(session);
    SSL_CTX_sess_set_remove_cb(second, NULL);
    SSL_CTX_free(client);
    SSL_CTX_free(second);
    reset();
}

/* ProFTPD, for a moment: the mode of when the event happens counts. */
static void off_for_a_moment(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c;
    long before;

    section("%s off for a moment", p->name);
    SSL_CTX_sess_set_new_cb(server, freeing_new_cb);
    c = connection_new(server, client);
    before = SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    CHECK_INT(before, SSL_SESS_CACHE_SERVER);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    connection_close(&c);
    CHECK_INT(SSL_CTX_set_session_cache_mode(server, before), SSL_SESS_CACHE_OFF);
    CHECK_INT(test.new_calls, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    /* And on for a connection that was made while it was off. */
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    c = connection_new(server, client);
    SSL_CTX_set_session_cache_mode(server, before);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    connection_close(&c);
    CHECK_INT(test.new_calls, 1);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    reset();
}

/* Node (crypto_tls.cc): the callbacks are set again on the context for every connection. */
static void set_each_time(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session = NULL;

    section("%s set each time", p->name);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    for (int turn = 0; turn < 4; turn++) {
        struct connection c = connection_new(server, client);

        SSL_CTX_sess_set_new_cb(server, emptying_new_cb);
        SSL_CTX_sess_set_get_cb(server, turn < 3 ? filling_get_cb : NULL);
        if (session != NULL)
            CHECK_INT(SSL_set_session(c.client, session), 1);
        CHECK(connection_handshake(&c) && connection_exchange(&c));
        CHECK_INT(connection_resumed(&c), turn == 1 || turn == 2);
        SSL_SESSION_free(session);
        session = SSL_get1_session(c.client);
        connection_close(&c);
    }
    CHECK_INT(test.get_calls, 2);
    CHECK_INT(test.new_calls, p->version == TLS1_3_VERSION ? 4 : 2);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    reset();
}

int main(void)
{
    const long server = SSL_SESS_CACHE_SERVER;

    (void)sessions_alive();
    tag_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    REQUIRE(tag_index >= 0);
    FOR_EACH_PROTOCOL(p) {
        id_emptied(p, server, 0);
        id_emptied(p, server, 1);
        id_emptied(p, server | SSL_SESS_CACHE_NO_INTERNAL, 1);
        freed(p, server);
        freed(p, server | SSL_SESS_CACHE_NO_INTERNAL);
        added_by_hand(p);
        added_without_id(p);
        copied_to_another_ctx(p);
        off_for_a_moment(p);
        set_each_time(p);
    }
    return test_end();
}
