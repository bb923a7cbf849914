/*
 * QUIC servers (OpenSSL 3.5 and later): their connections never pass SSL_new, their SSL_version is
 * not that of their sessions, and the engine holds a lock while it calls the hooks. Handshakes must
 * end, with a session offered too, and new_cb be called. Over loopback.
 */
#include "harness_store.h"
#include "harness_tickets.h"

#if OPENSSL_VERSION_NUMBER < 0x30500000L

int main(void)
{
    skip("QUIC servers came with OpenSSL 3.5");
}

#else

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <openssl/quic.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;
static SSL_SESSION *received; /* by the client, to be offered the next time */
static int is_unclean;        /* neither end says that the connection ends */
static int new_calls;

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                       const unsigned char *in, unsigned int in_length, void *unused)
{
    (void)ssl, (void)in_length, (void)unused;
    *out = in + 1;
    *out_length = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static int server_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    new_calls++;
    SSL_SESSION_free(session);
    return 1;
}

static int client_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(received);
    /* A copy: SSL_free takes the resumption from a session whose connection was not closed. */
    received = SSL_SESSION_dup(session);
    return 0;
}

static int udp_socket(void)
{
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0);

    REQUIRE(descriptor >= 0);
    return descriptor;
}

/* A ticket may come with the first answer and be read after it. With the second it has been read. */
enum { EXCHANGES = 2 };

/* Connects, sends a byte and reads one for each exchange, and hangs up. */
static void *run_client(void *context)
{
    static const unsigned char alpn[] = "\4test";
    SSL *ssl = SSL_new(context);
    BIO_ADDR *peer = BIO_ADDR_new();
    char byte;

    SSL_set_fd(ssl, udp_socket());
    SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1);
    BIO_ADDR_rawmake(peer, AF_INET, &address.sin_addr, sizeof(address.sin_addr), address.sin_port);
    SSL_set1_initial_peer_addr(ssl, peer);
    BIO_ADDR_free(peer);
    if (received != NULL)
        SSL_set_session(ssl, received);
    CHECK_INT(SSL_connect(ssl), 1);
    for (int i = 0; i < EXCHANGES; i++) {
        CHECK_INT(SSL_write(ssl, "x", 1), 1);
        CHECK_INT(SSL_read(ssl, &byte, 1), 1);
    }
    if (!is_unclean)
        SSL_shutdown(ssl);
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return NULL;
}

/* What is left to be sent, or was lost, goes out when the connection is called. */
static void serve_until_end(SSL *ssl, pthread_t client)
{
    while (pthread_tryjoin_np(client, NULL) == EBUSY) {
        struct pollfd waited = { SSL_get_fd(ssl), POLLIN, 0 };

        poll(&waited, 1, 10);
        SSL_handle_events(ssl);
    }
}

/* One connection; whether it resumed. */
static int connect_once(SSL *listener, SSL_CTX *client)
{
    pthread_t thread;
    SSL *ssl;
    char byte;
    int reused;

    REQUIRE(pthread_create(&thread, NULL, run_client, client) == 0);
    ssl = SSL_accept_connection(listener, 0);
    REQUIRE(ssl != NULL);
    for (int i = 0; i < EXCHANGES; i++) {
        CHECK_INT(SSL_read(ssl, &byte, 1), 1);
        CHECK_INT(SSL_write(ssl, "y", 1), 1);
    }
    reused = SSL_session_reused(ssl);
    serve_until_end(ssl, thread);
    if (!is_unclean)
        SSL_shutdown_ex(ssl, SSL_SHUTDOWN_FLAG_RAPID, NULL, 0);
    SSL_free(ssl);
    return reused;
}

/* ---- a server -------------------------------------------------------------------------------- */

static SSL_CTX *make_server(void)
{
    SSL_CTX *server = SSL_CTX_new(OSSL_QUIC_server_method());

    REQUIRE(server != NULL);
    use_certificate(server);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_alpn_select_cb(server, select_alpn, NULL);
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"quic", 4);
    SSL_CTX_sess_set_new_cb(server, server_new_cb);
    return server;
}

static SSL_CTX *make_client(void)
{
    SSL_CTX *client = SSL_CTX_new(OSSL_QUIC_client_method());

    REQUIRE(client != NULL);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, client_new_cb);
    return client;
}

static SSL *listen_on(SSL_CTX *server, int descriptor)
{
    socklen_t length = sizeof(address);
    SSL *listener;

    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = 0;
    REQUIRE(bind(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(getsockname(descriptor, (struct sockaddr *)&address, &length) == 0);
    listener = SSL_new_listener(server, 0);
    REQUIRE(listener != NULL && SSL_set_fd(listener, descriptor) && SSL_listen(listener));
    return listener;
}

static void end(SSL *listener, int descriptor, SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION_free(received);
    received = NULL;
    SSL_free(listener);
    close(descriptor);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Whether the session of the first of two connections resumed. */
static int resumed_by_id(void)
{
    SSL_CTX *server = make_server(), *client = make_client();
    int descriptor = udp_socket(), resumed;
    SSL *listener;

    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    listener = listen_on(server, descriptor);
    CHECK_INT(connect_once(listener, client), 0);
    CHECK(new_calls > 0);
    CHECK(received != NULL);
    /* Whether it is still cached hangs on when the two ends of a QUIC connection hear of its end. */
    note("number after the first %ld", SSL_CTX_sess_number(server));
    resumed = connect_once(listener, client);
    end(listener, descriptor, server, client);
    return resumed;
}

static void stateful(void)
{
    note("the second resumed %d", resumed_by_id());
    is_unclean = 1;
    section("not closed");
    report("resumed by id", resumed_by_id());
    is_unclean = 0;
}

/* The store keeps the session, which SSL_free removes from the cache. */
static void not_closed_with_a_store(void)
{
    is_unclean = 1;
    CHECK_INT(resumed_by_id(), 1);
}

/* ---- stateless tickets, each of which the client uses once ----------------------------------- */

static int resumed_of_six(int (*callback)(SSL *, unsigned char *, unsigned char *,
                                          EVP_CIPHER_CTX *, EVP_MAC_CTX *, int))
{
    SSL_CTX *server = make_server(), *client = make_client();
    int descriptor = udp_socket(), resumed = 0;
    SSL *listener;

    if (callback != NULL)
        CHECK_INT(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, callback), 1);
    listener = listen_on(server, descriptor);
    for (int i = 0; i < 6; i++) {
        SSL_SESSION *before = received;

        if (before != NULL)
            SSL_SESSION_up_ref(before);
        resumed += connect_once(listener, client);
        if (received == before) {
            SSL_SESSION_free(received);
            received = NULL;
        }
        SSL_SESSION_free(before);
    }
    end(listener, descriptor, server, client);
    return resumed;
}

static void once(void)
{
    CHECK_INT(resumed_of_six(NULL), 5);
}

/* The library's keys seal, whatever the application sets. */
static void override_callback(void)
{
    CHECK_INT(resumed_of_six(application_evp_cb), 5);
    CHECK_INT(ticket_application.sealed, 0);
}

static const struct named_function functions[] = {
    NAMED(once), NAMED(override_callback), NAMED(not_closed_with_a_store), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    stateful();
    section("own keys");
    once();
    section("application's callback, says 1");
    report("resumed", resumed_of_six(application_evp_cb));
    if (overlaid()) {
        section("key file");
        write_keys("keys", 1, 1);
        RUN_AGAIN(once, key_file("keys"));
        RUN_AGAIN(override_callback, key_file("keys"), "SESSCACHE_TICKETS=override");
        section("store");
        RUN_AGAIN(not_closed_with_a_store, file_store("store"), key_file("keys"));
    }
    return test_end();
}

#endif
