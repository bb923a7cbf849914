/*
 * A servername callback asks for a certificate on the connection (SSL_set_verify), where its context
 * does not. A session that another process made of a client without one does not resume there: the
 * first such connection ends with an alert, because nobody could know; from then on the handshake is
 * a full one. Names that ask nobody go on resuming.
 */
#include "harness_store.h"

#include <stdlib.h>
#include <string.h>

static const struct protocol *protocol;
static int asks;

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (asks && name != NULL && strcmp(name, "asks.test") == 0)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_every);
    return SSL_TLSEXT_ERR_OK;
}

static void open_contexts(void)
{
    own_server = new_host(protocol);
    SSL_CTX_set_tlsext_servername_callback(own_server, servername_cb);
    own_client = new_client(protocol);
}

static const char *file_of(int number)
{
    static char name[64];

    snprintf(name, sizeof(name), "%s-%s-%d", protocol->name, own_name, number);
    return name;
}

static void leave_for(const char *name, int count)
{
    own_name = name;
    for (int i = 0; i < count; i++) {
        SSL_SESSION *session = obtain_here();

        save_session(file_of(i), session);
        SSL_SESSION_free(session);
    }
}

static void leave(void)
{
    for (size_t i = 0; i < protocol_count; i++) {
        protocol = &protocols[i];
        open_contexts();
        leave_for("asks.test", 3);
        leave_for("plain.test", 3);
        free_own_contexts();
    }
}

static int find_for(const char *name, int number)
{
    SSL_SESSION *session;
    int result;

    own_name = name;
    session = load_session(file_of(number));
    result = resumes_here(session);
    SSL_SESSION_free(session);
    return result;
}

/* Of one protocol in a process, because what one connection has taught is for all. */
static void find(void)
{
    protocol = &protocols[atoi(getenv("TEST_PROTOCOL"))];
    open_contexts();
    section("%s nobody asks", protocol->name);
    CHECK_INT(find_for("asks.test", 0), 1);
    CHECK_INT(find_for("plain.test", 0), 1);
    section("%s a connection asks", protocol->name);
    asks = 1;
    CHECK_INT(find_for("asks.test", 1), -1);
    CHECK_INT(find_for("asks.test", 2), 0);
    section("%s another name", protocol->name);
    own_name = "plain.test";
    SSL_SESSION_free(obtain_here());
    CHECK_INT(find_for("plain.test", 1), 1);
    CHECK_INT(find_for("plain.test", 2), 1);
    free_own_contexts();
}

static const struct named_function functions[] = { NAMED(leave), NAMED(find), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 20, 1);
    RUN_AGAIN(leave, file_store("store"), key_file("keys"));
    for (size_t i = 0; i < protocol_count; i++) {
        char variable[] = "TEST_PROTOCOL=0";

        variable[sizeof(variable) - 2] += (char)i;
        RUN_AGAIN(find, file_store("store"), key_file("keys"), variable);
    }
    return test_end();
}
