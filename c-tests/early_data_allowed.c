/*
 * The application's callback that allows early data (SSL_CTX_set_allow_early_data_cb): of the context,
 * of a connection, which replaces it, and none. With SSL_OP_NO_ANTI_REPLAY, stateless tickets and
 * nothing that is shared, early data is accepted as often as the callback allows it, as on stock. So it is
 * with an application's shared key, with a store and a key file too.
 */
#include "harness_store.h"
#include "harness_tickets.h"

#include <string.h>
#include <openssl/err.h>

static const struct protocol *tls13 = &protocols[1];
static int of_context, of_connection;
static int context_calls, connection_calls, answer;

static int context_cb(SSL *ssl, void *arg)
{
    CHECK_PTR(arg, &of_context);
    CHECK_INT(SSL_is_server(ssl), 1);
    CHECK(SSL_get_session(ssl) != NULL);
    context_calls++;
    return answer;
}

static int connection_cb(SSL *ssl, void *arg)
{
    (void)ssl;
    CHECK_PTR(arg, &of_connection);
    connection_calls++;
    return answer;
}

static SSL_CTX *make_server(void)
{
    SSL_CTX *server = new_server(tls13);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_options(server, SSL_OP_NO_ANTI_REPLAY);
    accept_early_data(server);
    return server;
}

/* Before and after the server has its end of the connection. */
struct setting {
    const char *what;
    void (*of_context)(SSL_CTX *server);
    void (*of_connection)(SSL_CTX *server, SSL *ssl);
};

static void set_context(SSL_CTX *server)
{
    SSL_CTX_set_allow_early_data_cb(server, context_cb, &of_context);
}

static void set_and_take_back(SSL_CTX *server)
{
    set_context(server);
    SSL_CTX_set_allow_early_data_cb(server, NULL, NULL);
}

static void set_connection(SSL_CTX *server, SSL *ssl)
{
    (void)server;
    SSL_set_allow_early_data_cb(ssl, connection_cb, &of_connection);
}

static void set_none(SSL_CTX *server, SSL *ssl)
{
    (void)server;
    SSL_set_allow_early_data_cb(ssl, NULL, NULL);
}

/* The argument of a callback that a connection has not is not passed. */
static int refuse(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 0;
}

static void set_context_late(SSL_CTX *server, SSL *ssl)
{
    (void)ssl;
    SSL_CTX_set_allow_early_data_cb(server, refuse, NULL);
}

static const struct setting settings[] = {
    { "none", NULL, NULL },
    { "of the context", set_context, NULL },
    { "of the context, taken back", set_and_take_back, NULL },
    { "of the connection", NULL, set_connection },
    { "of both", set_context, set_connection },
    { "of the context, none of the connection", set_context, set_none },
    { "set after the connection", NULL, set_context_late },
};

static int offer_early(const struct setting *setting, SSL_CTX *server, SSL_CTX *client,
                       SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);
    size_t got;
    int status;

    if (setting->of_connection != NULL)
        setting->of_connection(server, c.server);
    got = exchange_early_data(&c, session);
    status = SSL_get_early_data_status(c.server);
    CHECK_INT(got, status == SSL_EARLY_DATA_ACCEPTED ? sizeof(early) : 0);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    CHECK_INT(connection_resumed(&c), 1);
    connection_close(&c);
    ERR_clear_error();
    return status;
}

/* One ticket, offered twice. */
static void try_setting(const struct setting *setting)
{
    SSL_CTX *server = make_server(), *client = new_client(tls13);
    SSL_SESSION *session;

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    if (setting->of_context != NULL)
        setting->of_context(server);
    session = obtain_session(server, client);
    context_calls = connection_calls = 0;
    report("status", offer_early(setting, server, client, session));
    report("status again", offer_early(setting, server, client, session));
    report("calls of the context's", context_calls);
    report("calls of the connection's", connection_calls);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- an application's shared key -------------------------------------------------------------- */

static SSL_SESSION *shared;

static SSL_SESSION *new_shared(void)
{
    static const unsigned char key[48] = "a key of both ends";
    static const unsigned char cipher[] = { 0x13, 0x02 };
    SSL_SESSION *session = SSL_SESSION_new();
    SSL *ssl = SSL_new(own_server);

    CHECK_INT(SSL_SESSION_set1_master_key(session, key, sizeof(key)), 1);
    CHECK_INT(SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, cipher)), 1);
    CHECK_INT(SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION), 1);
    CHECK_INT(SSL_SESSION_set_max_early_data(session, 16384), 1);
    SSL_free(ssl);
    return session;
}

static int find_key(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    (void)ssl;
    *found = NULL;
    if (length == 2 && memcmp(identity, "me", 2) == 0) {
        SSL_SESSION_up_ref(shared);
        *found = shared;
    }
    return 1;
}

static int use_key(SSL *ssl, const EVP_MD *digest, const unsigned char **identity, size_t *length,
                   SSL_SESSION **session)
{
    (void)ssl, (void)digest;
    *identity = (const unsigned char *)"me";
    *length = 2;
    SSL_SESSION_up_ref(shared);
    *session = shared;
    return 1;
}

static void by_shared_key(void)
{
    static const struct setting none = { "none", NULL, NULL };

    own_server = make_server();
    own_client = new_client(tls13);
    shared = new_shared();
    SSL_CTX_set_psk_find_session_callback(own_server, find_key);
    SSL_CTX_set_psk_use_session_callback(own_client, use_key);
    for (int i = 0; i < 3; i++)
        CHECK_INT(offer_early(&none, own_server, own_client, NULL), SSL_EARLY_DATA_ACCEPTED);
    SSL_SESSION_free(shared);
    free_own_contexts();
}

static const struct named_function functions[] = { NAMED(by_shared_key), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    for (answer = 0; answer <= 1; answer++) {
        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
            if (answer == 1 || settings[i].of_connection != set_context_late) {
                section("%s%s", settings[i].what, answer ? "" : ", refuses");
                try_setting(&settings[i]);
            }
        }
    }
    by_shared_key();
    if (overlaid()) {
        write_keys("keys", 1, 1);
        RUN_AGAIN(by_shared_key, key_file("keys"));
        RUN_AGAIN(by_shared_key, key_file("keys"), file_store("store"));
    }
    return test_end();
}
