/*
 * Session id contexts that are set on connections: a session of another process resumes where the
 * connection's own is the session's, also after a switch of contexts and in a copy (SSL_dup). libssl
 * has no getter for it, and so the setters are seen.
 */
#include "harness_store.h"

#include <stdlib.h>
#include <string.h>

static const struct protocol *protocol;
static SSL_CTX *second;
static const char *of_connection; /* set on it before the handshake, or NULL */
static int is_copied, is_switched;

static int switch_early(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    if (is_switched)
        CHECK_PTR(SSL_set_SSL_CTX(ssl, second), second);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int is_set(SSL_CTX *ctx, const char *name)
{
    return SSL_CTX_set_session_id_context(
        ctx, (const unsigned char *)name, (unsigned int)strlen(name));
}

static void open_contexts(void)
{
    own_server = new_host(protocol);
    second = new_host(protocol);
    CHECK_INT(is_set(own_server, "first"), 1);
    CHECK_INT(is_set(second, "second"), 1);
    SSL_CTX_set_client_hello_cb(own_server, switch_early, NULL);
    own_client = new_client(protocol);
}

static void close_contexts(void)
{
    SSL_CTX_free(second);
    free_own_contexts();
}

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

static int handshake(SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed;

    if (of_connection != NULL)
        CHECK_INT(SSL_set_session_id_context(c.server, (const unsigned char *)of_connection,
                      (unsigned int)strlen(of_connection)),
            1);
    if (is_copied)
        become_copy(&c);
    CHECK(connection_handshake(&c) && connection_exchange(&c));
    resumed = connection_resumed(&c);
    if (made != NULL)
        *made = SSL_get1_session(c.client);
    connection_close(&c);
    return resumed;
}

static void leave_as(const char *id_context)
{
    char name[64];
    SSL_SESSION *session;

    of_connection = id_context;
    snprintf(name, sizeof(name), "%s-%s", protocol->name, id_context);
    CHECK_INT(handshake(NULL, &session), 0);
    save_session(name, session);
    SSL_SESSION_free(session);
}

static void leave(void)
{
    for (size_t i = 0; i < protocol_count; i++) {
        protocol = &protocols[i];
        open_contexts();
        leave_as("first");
        leave_as("second");
        leave_as("own");
        close_contexts();
    }
}

static int finds(const char *id_context)
{
    char name[64];
    SSL_SESSION *session;
    int resumed;

    snprintf(name, sizeof(name), "%s-%s", protocol->name, id_context);
    session = load_session(name);
    resumed = handshake(session, NULL);
    SSL_SESSION_free(session);
    return resumed;
}

/* Which of the three sessions resumes. */
static void check_finds(const char *only)
{
    static const char *const all[] = { "first", "second", "own" };

    section("%s on the connection %s, copied %d, switched %d", protocol->name,
        of_connection != NULL ? of_connection : "none", is_copied, is_switched);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        CHECK_INT(finds(all[i]), strcmp(all[i], only) == 0);
}

static void find(void)
{
    for (size_t i = 0; i < protocol_count; i++) {
        protocol = &protocols[i];
        open_contexts();
        for (is_copied = 0; is_copied <= !protocol->is_dtls; is_copied++) {
            is_switched = 0;
            of_connection = NULL;
            check_finds("first");
            of_connection = "own";
            check_finds("own");
            /* libssl replaces what is the old context's, and nothing else. */
            is_switched = 1;
            check_finds("own");
            of_connection = NULL;
            check_finds("second");
            of_connection = "first";
            check_finds("second");
            of_connection = "second";
            check_finds("second");
        }
        close_contexts();
    }
}

static const struct named_function functions[] = { NAMED(leave), NAMED(find), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 20, 1);
    RUN_AGAIN(leave, file_store("store"), key_file("keys"));
    RUN_AGAIN(find, file_store("store"), key_file("keys"));
    return test_end();
}
