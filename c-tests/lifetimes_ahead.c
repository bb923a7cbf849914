/*
 * Lifetimes of today that OpenSSL is about to change. A check that fails on stock says that the change
 * has come, and that our deadlines are to be looked at again:
 * - openssl PR 31395: a resumed session is bounded by its full handshake, and a timeout of -1 is no end
 * - openssl PR 32808: a client keeps to a ticket's lifetime, where 0 is never
 */
#include "harness.h"

#include "clock.h"

#include <stdio.h>

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

/* A session that came of a resumption lives as long as one of a full handshake. */
static void chain(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c;
    SSL_SESSION *session, *next;

    set_ahead(0);
    SSL_CTX_set_timeout(server, 100);
    session = obtain_session(server, client);
    set_ahead(90);
    c = connect_offering(server, client, session);
    CHECK_INT(connection_resumed(&c), 1);
    next = SSL_get1_session(c.client);
    connection_close(&c);
    set_ahead(180);
    CHECK_INT(resumes(server, client, next), SSL_SESSION_get_protocol_version(next) == TLS1_3_VERSION);
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    set_ahead(0);
}

/* -1 was the past in 3.0, and is centuries since its times are counted otherwise. */
static void minus_one(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session;

    SSL_CTX_set_timeout(server, -1);
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), SSL_CTX_get_timeout(server) != -1);
    SSL_SESSION_free(session);
}

/* A ticket of ours says 0 only where one of stock does. */
static void zero(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session;

    SSL_CTX_set_timeout(server, 0);
    session = obtain_session(server, client);
    report("lifetime with 0", (long)SSL_SESSION_get_ticket_lifetime_hint(session));
    if (SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION)
        CHECK(SSL_SESSION_get_ticket_lifetime_hint(session) > 0);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = new_server(p), *client = new_client(p);

        section("%s", p->name);
        chain(server, client);
        minus_one(server, client);
        zero(server, client);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
    return test_end();
}
