/*
 * The application's callback for early data, as on stock, where each ticket is offered once: which of a
 * context's and a connection's is asked and with which argument, after SSL_new, SSL_set_SSL_CTX and
 * SSL_dup; and each of several tickets. With a store our callback is around it. A refusal by the application
 * uses nothing up. What differs is a second use.
 */
#include "harness_tickets.h"

#include <string.h>
#include <openssl/err.h>

static const struct protocol *const tls13 = &protocols[1];

enum { REFUSED = SSL_EARLY_DATA_REJECTED, ACCEPTED = SSL_EARLY_DATA_ACCEPTED };

static SSL_CTX *new_early_server(void)
{
    SSL_CTX *server = new_server(tls13);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_options(server, SSL_OP_NO_ANTI_REPLAY);
    accept_early_data(server);
    return server;
}

/* What a callback is there for, and how often it was asked. */
struct asked {
    int answer, calls;
};

static int ask(SSL *ssl, void *argument)
{
    struct asked *asked = argument;

    asked->calls++;
    CHECK(SSL_get_session(ssl) != NULL);
    return asked->answer;
}

/* Another function with the same argument. */
static int refuse(SSL *ssl, void *argument)
{
    struct asked *asked = argument;

    (void)ssl;
    asked->calls++;
    return 0;
}

/* Offers the session on that connection, which resumes: the state of its early data. */
static int offer_on(struct connection *c, SSL_SESSION *session)
{
    int status;

    exchange_early_data(c, session);
    status = SSL_get_early_data_status(c->server);
    CHECK_INT(SSL_get_early_data_status(c->client), status);
    CHECK(connection_handshake(c) && connection_exchange(c));
    CHECK_INT(connection_resumed(c), 1);
    return status;
}

static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);
    int status = offer_on(&c, session);

    connection_close(&c);
    return status;
}

/* A new ticket of the server, offered on that connection. */
static int offer_new_on(struct connection *c)
{
    SSL_CTX *server = SSL_get_SSL_CTX(c->server), *client = SSL_get_SSL_CTX(c->client);
    SSL_SESSION *session = obtain_session(server, client);
    int status = offer_on(c, session);

    SSL_SESSION_free(session);
    connection_close(c);
    return status;
}

static int offer_new(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c = connection_new(server, client);

    return offer_new_on(&c);
}

/* ---- the application's callback -------------------------------------------------------------- */

static void of_context(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    struct asked yes = { .answer = 1 }, no = { .answer = 0 };
    struct connection c;
    SSL_SESSION *session;

    section("of the context");
    CHECK_INT(offer_new(server, client), ACCEPTED);
    SSL_CTX_set_allow_early_data_cb(server, ask, &yes);
    CHECK_INT(offer_new(server, client), ACCEPTED);
    CHECK_INT(yes.calls, 1);
    session = obtain_session(server, client);
    SSL_CTX_set_allow_early_data_cb(server, ask, &no);
    CHECK_INT(offer(server, client, session), REFUSED);
    SSL_CTX_set_allow_early_data_cb(server, refuse, &yes);
    CHECK_INT(offer(server, client, session), REFUSED);
    CHECK_INT(yes.calls, 2);
    SSL_CTX_set_allow_early_data_cb(server, NULL, &no);
    /* A refusal uses nothing up. */
    CHECK_INT(offer(server, client, session), ACCEPTED);
    CHECK_INT(no.calls, 1);
    report("a second use", offer(server, client, session) == ACCEPTED);
    SSL_SESSION_free(session);

    /* SSL_new takes the callback of that moment. */
    SSL_CTX_set_allow_early_data_cb(server, ask, &yes);
    c = connection_new(server, client);
    SSL_CTX_set_allow_early_data_cb(server, ask, &no);
    yes.calls = no.calls = 0;
    CHECK_INT(offer_new_on(&c), ACCEPTED);
    CHECK(yes.calls == 1 && no.calls == 0);
    c = connection_new(server, client);
    SSL_CTX_set_allow_early_data_cb(server, NULL, NULL);
    CHECK_INT(offer_new_on(&c), REFUSED);
    c = connection_new(server, client);
    SSL_CTX_set_allow_early_data_cb(server, ask, &no);
    CHECK_INT(offer_new_on(&c), ACCEPTED);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void of_connection(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    struct asked yes = { .answer = 1 }, no = { .answer = 0 };
    struct connection c;

    section("of the connection");
    SSL_CTX_set_allow_early_data_cb(server, ask, &no);
    c = connection_new(server, client);
    SSL_set_allow_early_data_cb(c.server, ask, &yes);
    CHECK_INT(offer_new_on(&c), ACCEPTED);
    CHECK(yes.calls == 1 && no.calls == 0);
    c = connection_new(server, client);
    SSL_set_allow_early_data_cb(c.server, ask, &yes);
    SSL_set_allow_early_data_cb(c.server, ask, &no);
    CHECK_INT(offer_new_on(&c), REFUSED);
    CHECK(yes.calls == 1 && no.calls == 1);
    c = connection_new(server, client);
    SSL_set_allow_early_data_cb(c.server, NULL, NULL);
    CHECK_INT(offer_new_on(&c), ACCEPTED);
    CHECK_INT(no.calls, 1);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* SSL_dup takes the context's, and not its original's own. */
static void of_duplicate(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    struct asked yes = { .answer = 1 }, no = { .answer = 0 };
    struct connection c = connection_new(server, client);
    SSL *original = c.server;

    section("of a duplicate");
    SSL_CTX_set_allow_early_data_cb(server, ask, &yes);
    SSL_set_accept_state(original);
    SSL_set_allow_early_data_cb(original, ask, &no);
    REQUIRE((c.server = SSL_dup(original)) != NULL);
    BIO_up_ref(SSL_get_rbio(original));
    if (SSL_get_wbio(original) != SSL_get_rbio(original))
        BIO_up_ref(SSL_get_wbio(original));
    SSL_set_bio(c.server, SSL_get_rbio(original), SSL_get_wbio(original));
    CHECK_INT(offer_new_on(&c), ACCEPTED);
    CHECK(yes.calls == 1 && no.calls == 0);
    SSL_free(original);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* After a switch the callback stays that of the context the connection started with. */
static SSL_CTX *led_to;

static int lead(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, led_to), led_to);
    return SSL_TLSEXT_ERR_OK;
}

static void of_first_context(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    struct asked yes = { .answer = 1 }, no = { .answer = 0 };
    SSL_SESSION *session;

    section("of the first context");
    led_to = new_early_server();
    SSL_CTX_set_allow_early_data_cb(server, ask, &yes);
    SSL_CTX_set_allow_early_data_cb(led_to, ask, &no);
    SSL_CTX_set_tlsext_servername_callback(server, lead);
    session = obtain_session(server, client);
    CHECK_INT(offer(server, client, session), ACCEPTED);
    CHECK(yes.calls == 1 && no.calls == 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(led_to);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* ---- tickets --------------------------------------------------------------------------------- */

static SSL_SESSION *kept[16];
static int kept_count;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    REQUIRE(kept_count < 16);
    kept[kept_count++] = session;
    return 1;
}

/* Each ticket of a handshake, one that is sent later, and each that a resumption brings. */
static void several(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    struct connection c;

    section("several");
    SSL_CTX_set_num_tickets(server, 4);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, keep);
    c = connection_new(server, client);
    REQUIRE(connection_handshake(&c) && connection_exchange(&c));
    CHECK_INT(SSL_new_session_ticket(c.server), 1);
    CHECK(connection_exchange(&c));
    connection_close(&c);
    REQUIRE(kept_count == 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT(offer(server, client, kept[i]), ACCEPTED);
    CHECK_INT(kept_count, 10);
    for (int i = 5; i < 10; i++)
        CHECK_INT(offer(server, client, kept[i]), ACCEPTED);
    while (kept_count > 0)
        SSL_SESSION_free(kept[--kept_count]);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The server accepts no early data for a while. A ticket that came with none has none later. */
static void changed_between(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    SSL_SESSION *session = obtain_session(server, client);

    section("changed between");
    CHECK_INT(SSL_CTX_set_max_early_data(server, 0), 1);
    CHECK_INT(offer(server, client, session), REFUSED);
    CHECK_INT(SSL_CTX_set_max_early_data(server, 16384), 1);
    CHECK_INT(offer(server, client, session), ACCEPTED);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A client that is known by a shared key of the application's has no ticket. Replay is the
   application's affair there. */
static SSL_SESSION *shared;

static int find_shared(
    SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **session)
{
    (void)ssl, (void)identity, (void)length;
    CHECK_INT(SSL_SESSION_up_ref(shared), 1);
    *session = shared;
    return 1;
}

static int use_shared(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *length,
    SSL_SESSION **session)
{
    (void)md;
    *identity = (const unsigned char *)"client";
    *length = strlen("client");
    return find_shared(ssl, NULL, 0, session);
}

static int offer_shared(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c = connection_new(server, client);
    size_t length = 0;
    char buffer[64];
    int status;

    CHECK_INT(SSL_write_early_data(c.client, early, sizeof(early), &length), 1);
    CHECK_INT(SSL_read_early_data(c.server, buffer, sizeof(buffer), &length),
        SSL_READ_EARLY_DATA_SUCCESS);
    status = SSL_get_early_data_status(c.server);
    connection_close(&c);
    ERR_clear_error();
    return status;
}

static void of_shared_key(void)
{
    SSL_CTX *server = new_early_server(), *client = new_client(tls13);
    SSL *any = SSL_new(client);

    section("of a shared key");
    REQUIRE((shared = SSL_SESSION_new()) != NULL && any != NULL);
    CHECK_INT(SSL_SESSION_set1_master_key(shared, (const unsigned char *)early, sizeof(early)), 1);
    CHECK_INT(SSL_SESSION_set_protocol_version(shared, TLS1_3_VERSION), 1);
    CHECK_INT(SSL_SESSION_set_cipher(
                  shared, SSL_CIPHER_find(any, (const unsigned char[]){ 0x13, 0x02 })), 1);
    CHECK_INT(SSL_SESSION_set_max_early_data(shared, 16384), 1);
    SSL_CTX_set_psk_find_session_callback(server, find_shared);
    SSL_CTX_set_psk_use_session_callback(client, use_shared);
    for (int i = 0; i < 3; i++)
        CHECK_INT(offer_shared(server, client), ACCEPTED);
    SSL_SESSION_free(shared);
    SSL_free(any);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    of_context();
    of_connection();
    of_duplicate();
    of_first_context();
    several();
    changed_between();
    of_shared_key();
    return test_end();
}
