/*
 * Clients use each ticket once (RFC 8446 C.4). So a resumption by ticket has to bring a new ticket, or
 * every other connection is a full handshake.
 *
 * With the application's own ticket keys, of all three kinds: in TLS 1.3 each ticket is renewed,
 * though the application's callback says that it is good as it is. All else that the callback does is
 * what libssl sees. With keys of the library's, see ticket_renewal_keys.c.
 */
#include "harness_tickets.h"

#include <openssl/err.h>

/* The newest callback counts, and stock asks the first kind first. */
static void set_both(SSL_CTX *server)
{
    set_application_hmac_cb(server);
    set_application_evp_cb(server);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, NULL), 1);
}

static const struct way {
    const char *name;
    void (*set)(SSL_CTX *server);
    int asks;
} ways[] = {
    { "keys", set_application_keys, 0 },
    { "evp callback", set_application_evp_cb, 1 },
    { "hmac callback", set_application_hmac_cb, 1 },
    { "hmac callback, evp callback taken back", set_both, 1 },
};

static SSL_CTX *make_server(const struct protocol *p, const struct way *way)
{
    SSL_CTX *server = new_server(p);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    way->set(server);
    ticket_application = (struct ticket_application){ .answer = 1, .ctx = server };
    return server;
}

static SSL_CTX *make_client(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    return client;
}

/* Ten connections of a client that offers each ticket once: how many resume. */
static int resumed_once(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *ticket = NULL, *got;
    int resumed = 0;

    for (int i = 0; i < 10; i++) {
        struct connection c = connect_offering(server, client, ticket);

        resumed += connection_resumed(&c);
        got = SSL_get1_session(c.client);
        if (got != NULL && ticket != NULL && same_ticket(got, ticket)) {
            SSL_SESSION_free(got);
            got = NULL;
        }
        SSL_SESSION_free(ticket);
        ticket = got;
        connection_close(&c);
    }
    SSL_SESSION_free(ticket);
    return resumed;
}

static void once(const struct protocol *p, const struct way *way, int answer)
{
    SSL_CTX *server = make_server(p, way), *client = make_client(p);

    ticket_application.answer = answer;
    section("%s %s, says %d", p->name, way->name, answer);
    report("resumed", resumed_once(server, client));
    CHECK_INT(ticket_application.opened > 0, way->asks);
    CHECK_INT(ticket_application.strangers, 0);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* The ticket that replaces another one carries as much as that one did. */
static void goes_on(const struct protocol *p, const struct way *way)
{
    SSL_CTX *server = make_server(p, way), *client = make_client(p);
    SSL_SESSION *first = obtain_session(server, client), *second;
    struct connection c = connect_offering(server, client, first);

    section("%s %s, goes on", p->name, way->name);
    second = SSL_get1_session(c.client);
    connection_close(&c);
    CHECK_INT(resumes(server, client, second), 1);
    /* And a client that keeps its ticket is served as before. */
    CHECK_INT(resumes(server, client, first), 1);
    CHECK_INT(ticket_application.strangers, 0);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* The other answers: no key, and an error, which ends the handshake. */
static void refuses(const struct protocol *p, const struct way *way)
{
    SSL_CTX *server = make_server(p, way), *client = make_client(p);
    SSL_SESSION *session = obtain_session(server, client);
    struct connection c;
    int sealed = ticket_application.sealed;

    section("%s %s, refuses", p->name, way->name);
    CHECK(sealed > 0);
    ticket_application.answer = 0;
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(ticket_application.opened, 1);
    CHECK(ticket_application.sealed > sealed);
    ticket_application.answer = -1;
    c = connection_new(server, client);
    CHECK_INT(SSL_set_session(c.client, session), 1);
    CHECK_INT(connection_handshake(&c), 0);
    CHECK_INT(ticket_application.opened, 2);
    CHECK_INT(ticket_application.strangers, 0);
    connection_drop(&c);
    ERR_clear_error();
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        for (const struct way *way = ways; way < ways + sizeof(ways) / sizeof(ways[0]); way++) {
            once(p, way, 1);
            if (way->asks) {
                once(p, way, 2);
                refuses(p, way);
            }
            goes_on(p, way);
        }
    }
    return test_end();
}
