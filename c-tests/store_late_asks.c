/*
 * An ALPN callback asks for a certificate (SSL_set_verify), where its context asks nobody, or only
 * after the handshake (SSL_VERIFY_POST_HANDSHAKE). libssl calls it when the session is found, so that
 * the first such connection of a context may resume one that another process made of a client without
 * a certificate. After it none is let in, also where a servername callback is asked before. The
 * context's own sessions resume as on stock.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int mode_asked; /* of SSL_set_verify */

static int accept_name(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)alert, (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_and_ask(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                          const unsigned char *offered, unsigned int offered_length, void *argument)
{
    (void)argument;
    SSL_set_verify(ssl, mode_asked, NULL);
    REQUIRE(offered_length > 1);
    *chosen = offered + 1;
    *length = offered[0];
    return SSL_TLSEXT_ERR_OK;
}

static const struct way *way_of_case(void)
{
    const char *number = getenv("TEST_WAY");

    REQUIRE(number != NULL && (size_t)atoi(number) < way_count);
    return &ways[atoi(number)];
}

static SSL_CTX *make_server(void)
{
    SSL_CTX *server = new_host_for(way_of_case());

    trust(server, "root");
    if (variable_is("TEST_SERVERNAME", "1"))
        SSL_CTX_set_tlsext_servername_callback(server, accept_name);
    return server;
}

static SSL_CTX *make_client(const char *who)
{
    SSL_CTX *client = new_client_for(way_of_case(), who);

    CHECK_INT(SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\2h2", 3), 0);
    return client;
}

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, SSL_SESSION **made)
{
    struct connection c = connection_new(server, client);

    CHECK_INT(SSL_set_tlsext_host_name(c.client, "host.example"), 1);
    return finish_offering(&c, session, made);
}

static void leave(void)
{
    SSL_CTX *server = make_server(), *client;
    SSL_SESSION *session;

    client = make_client("none");
    CHECK_INT(offer(server, client, NULL, &session), 0);
    save_session("session", session);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* Someone without a certificate, and someone with one: both would be asked. */
static void check_not_let_in(SSL_CTX *server, SSL_SESSION *session)
{
    static const char *const clients[] = { "none", "good" };

    for (int i = 0; i < 4; i++) {
        SSL_CTX *client = make_client(clients[i % 2]);
        int full = offer(server, client, NULL, NULL);

        CHECK_INT(offer(server, client, session, NULL), full);
        SSL_CTX_free(client);
    }
}

/* It asks nobody yet, though its context does. */
static int put_off(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void come(void)
{
    SSL_CTX *server = make_server(), *good = make_client("good"), *none = make_client("none");
    SSL_SESSION *session = load_session("session"), *own;

    mode_asked = atoi(getenv("TEST_MODE"));
    section("%s, servername callback %s, mode %d", way_of_case()->name,
            getenv("TEST_SERVERNAME"), mode_asked);
    if (variable_is("TEST_CONTEXT", "asks")) {
        SSL_CTX_set_verify(server, mode_asked, NULL);
        SSL_CTX_set_client_hello_cb(server, put_off, NULL);
    } else if (variable_is("TEST_CONTEXT", "asks later")) {
        SSL_CTX_set_verify(server, mode_asked | SSL_VERIFY_POST_HANDSHAKE, NULL);
    }
    CHECK_INT(offer(server, none, NULL, &own), 0);
    if (overlaid() && variable_is("TEST_FIRST", "full"))
        CHECK_INT(offer(server, none, session, NULL), 1); /* before anybody asks */
    SSL_CTX_set_alpn_select_cb(server, choose_and_ask, NULL);
    if (variable_is("TEST_FIRST", "full"))
        CHECK_INT(offer(server, good, NULL, NULL), 0);
    else
        (void)offer(server, none, session, NULL);
    check_not_let_in(server, session);
    CHECK_INT(offer(server, none, own, NULL), 1);
    SSL_SESSION_free(own);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(good);
    SSL_CTX_free(none);
}

static const struct named_function functions[] = { NAMED(leave), NAMED(come), { NULL, NULL } };

/* Each in a process of its own, because what one connection has taught is for all. */
static void run_case(size_t way, int has_servername, const char *first, int mode,
    const char *context)
{
    char variables[5][64];

    snprintf(variables[0], 64, "TEST_WAY=%zu", way);
    snprintf(variables[1], 64, "TEST_SERVERNAME=%d", has_servername);
    snprintf(variables[2], 64, "TEST_FIRST=%s", first);
    snprintf(variables[3], 64, "TEST_MODE=%d", mode);
    snprintf(variables[4], 64, "TEST_CONTEXT=%s", context);
    RUN_AGAIN(leave, file_store("store"), key_file("keys"), variables[0], variables[1]);
    RUN_AGAIN(come, file_store("store"), key_file("keys"), variables[0], variables[1],
              variables[2], variables[3], variables[4]);
}

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    for (size_t way = 0; way < way_count; way++)
        for (int has_servername = 0; has_servername < 2; has_servername++) {
            int required = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

            run_case(way, has_servername, "full", SSL_VERIFY_PEER, "asks nobody");
            run_case(way, has_servername, "full", required, "asks nobody");
            run_case(way, has_servername, "foreign", required, "asks nobody");
            run_case(way, has_servername, "foreign", required, "asks");
            if (ways[way].protocol->version == TLS1_3_VERSION)
                run_case(way, has_servername, "full", required, "asks later");
        }
    return test_end();
}
