/*
 * A plain session takes little room in the host store, with all that a web server gives it: a
 * server name that libssl keeps, an id context of 32 bytes, an ALPN name. What comes out of the
 * store is the session that went in, byte for byte.
 */
#include "harness_store.h"

#include <string.h>

/* What a slot of the store has for a sealed session, and for what stands before it. */
enum { ROOM = 176, HEAD = 40 };

static unsigned char made[1024];
static int made_length;

static int keep_bytes(SSL *ssl, SSL_SESSION *session)
{
    unsigned char *end = made;

    (void)ssl;
    REQUIRE(i2d_SSL_SESSION(session, NULL) <= (int)sizeof(made));
    made_length = i2d_SSL_SESSION(session, &end);
    return 0;
}

static int accept_name(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)alert, (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_first(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                        const unsigned char *offered, unsigned int offered_length, void *argument)
{
    (void)ssl, (void)offered_length, (void)argument;
    *chosen = offered + 1;
    *length = offered[0];
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_web_server(const struct protocol *p)
{
    static const unsigned char id_context[SSL_MAX_SID_CTX_LENGTH] = "as nginx makes it";
    SSL_CTX *server = new_server(p);

    CHECK_INT(SSL_CTX_set_session_id_context(server, id_context, sizeof(id_context)), 1);
    CHECK_INT(SSL_CTX_set_tlsext_servername_callback(server, accept_name), 1);
    SSL_CTX_set_alpn_select_cb(server, choose_first, NULL);
    SSL_CTX_sess_set_new_cb(server, keep_bytes);
    return server;
}

static struct connection connection_to(SSL_CTX *server, SSL_CTX *client, const char *name)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    struct connection c = connection_new(server, client);

    CHECK_INT(SSL_set_tlsext_host_name(c.client, name), 1);
    CHECK_INT(SSL_set_alpn_protos(c.client, alpn, sizeof(alpn) - 1), 0);
    return c;
}

/* TLS 1.3 makes a new session of one that comes back. */
static void check_bytes(const SSL *server)
{
    unsigned char found[sizeof(made)], *end = found;
    int length;

    REQUIRE(i2d_SSL_SESSION(SSL_get_session(server), NULL) <= (int)sizeof(found));
    length = i2d_SSL_SESSION(SSL_get_session(server), &end);
    if (CHECK_INT(length, made_length))
        CHECK(memcmp(found, made, (size_t)length) == 0);
}

static void test(const struct protocol *p, const char *name)
{
    SSL_CTX *server = new_web_server(p), *client = new_client(p);
    struct sesscache_stats before = stats_of(server), after;
    struct connection c = connection_to(server, client, name);
    SSL_SESSION *session;

    section("%s %s", p->name, name);
    CHECK_INT(connection_handshake(&c) && connection_exchange(&c), 1);
    session = SSL_get1_session(c.client);
    connection_close(&c);
    after = stats_of(server);
    CHECK(after.entries > before.entries);
    CHECK(after.bytes - before.bytes <= (after.entries - before.entries) * (ROOM + HEAD));
    note("%s %s: %d bytes of DER, %ld in the store", p->name, name, made_length,
        (long)((after.bytes - before.bytes) / (after.entries - before.entries)));

    empty_cache(server);
    c = connection_to(server, client, name);
    CHECK_INT(SSL_set_session(c.client, session), 1);
    CHECK_INT(connection_handshake(&c) && connection_exchange(&c), 1);
    CHECK_INT(connection_resumed(&c), 1);
    if (p->version != TLS1_3_VERSION)
        check_bytes(c.server);
    connection_close(&c);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL (p) {
        test(p, "www.example.org");
        /* A client's capitals travel. */
        test(p, "A.Example");
    }
    return test_end();
}
