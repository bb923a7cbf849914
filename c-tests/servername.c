/*
 * The application's servername callback runs inside the library's, and libssl does what it says:
 * that of the context that the connection is in, else of the one it started with, each with its own
 * argument; on both ends of a connection.
 */
#include "harness.h"

#include <openssl/err.h>

static struct host {
    SSL_CTX *ctx;
    int calls, answer, alert;
    SSL_CTX *target; /* NULL: does not switch */
} first, second;

static int answer_as(struct host *host, SSL *ssl, int *alert)
{
    host->calls++;
    CHECK_INT(*alert, SSL_AD_UNRECOGNIZED_NAME);
    if (host->alert != 0)
        *alert = host->alert;
    if (host->target != NULL)
        CHECK_PTR(SSL_set_SSL_CTX(ssl, host->target), host->target);
    return host->answer;
}

static int callback_of_first(SSL *ssl, int *alert, void *argument)
{
    CHECK_PTR(argument, &first);
    return answer_as(&first, ssl, alert);
}

static int callback_of_second(SSL *ssl, int *alert, void *argument)
{
    CHECK_PTR(argument, &second);
    return answer_as(&second, ssl, alert);
}

static int switch_early(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, second.ctx), second.ctx);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void open_hosts(const struct protocol *p)
{
    first = (struct host) { .ctx = new_server(p) };
    second = (struct host) { .ctx = new_server(p) };
    SSL_CTX_set_tlsext_servername_callback(first.ctx, callback_of_first);
    SSL_CTX_set_tlsext_servername_arg(first.ctx, &first);
}

static void close_hosts(void)
{
    SSL_CTX_free(first.ctx);
    SSL_CTX_free(second.ctx);
}

/* One handshake: 1 if it succeeds; what the client is told, and the alert it gets. */
static int handshake(SSL_CTX *client, SSL_SESSION *offer, int *alert)
{
    struct connection c = connection_new(first.ctx, client);
    int result;

    first.calls = second.calls = 0;
    ERR_clear_error();
    CHECK_INT(SSL_set_tlsext_host_name(c.client, "a.test"), 1);
    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    result = connection_handshake(&c);
    *alert = 0;
    for (unsigned long error; (error = ERR_get_error()) != 0;)
        if (ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET)
            *alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
    report("success", result);
    report("alert", *alert);
    report("acknowledged", SSL_session_reused(c.server) || !result
                               ? -1
                               : SSL_SESSION_get0_hostname(SSL_get_session(c.server)) != NULL);
    report("calls of the first", first.calls);
    report("calls of the second", second.calls);
    connection_drop(&c);
    return result;
}

static void answers(const struct protocol *p)
{
    static const int possible[] = { SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_WARNING,
        SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_NOACK, 4, -1 };
    SSL_CTX *client = new_client(p);
    int alert;

    open_hosts(p);
    for (size_t i = 0; i < sizeof(possible) / sizeof(possible[0]); i++) {
        int fatal = possible[i] == SSL_TLSEXT_ERR_ALERT_FATAL;

        /* OpenSSL 3.0 takes the warning for a part of the handshake that is lost. */
        if (p->is_dtls && possible[i] == SSL_TLSEXT_ERR_ALERT_WARNING)
            continue;
        section("%s answer %d", p->name, possible[i]);
        first.answer = possible[i];
        first.alert = 0;
        CHECK_INT(handshake(client, NULL, &alert), !fatal);
        CHECK_INT(first.calls, 1);
        if (fatal)
            CHECK_INT(alert, SSL_AD_UNRECOGNIZED_NAME);
        section("%s answer %d and an alert", p->name, possible[i]);
        first.alert = SSL_AD_HANDSHAKE_FAILURE;
        CHECK_INT(handshake(client, NULL, &alert), !fatal);
        if (fatal)
            CHECK_INT(alert, SSL_AD_HANDSHAKE_FAILURE);
    }
    SSL_CTX_set_tlsext_servername_callback(first.ctx, NULL);
    section("%s unset", p->name);
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 0);
    close_hosts();
    SSL_CTX_free(client);
}

/* A ClientHello callback has switched: the second's callback, if it has one. */
static void switched(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);
    int alert;

    open_hosts(p);
    SSL_CTX_set_client_hello_cb(first.ctx, switch_early, NULL);
    section("%s the second has none", p->name);
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 1);
    section("%s the second has one", p->name);
    SSL_CTX_set_tlsext_servername_callback(second.ctx, callback_of_second);
    SSL_CTX_set_tlsext_servername_arg(second.ctx, &second);
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 0);
    CHECK_INT(second.calls, 1);
    section("%s only the second has one", p->name);
    SSL_CTX_set_tlsext_servername_callback(first.ctx, NULL);
    second.answer = SSL_TLSEXT_ERR_ALERT_FATAL;
    CHECK_INT(handshake(client, NULL, &alert), 0);
    CHECK_INT(second.calls, 1);
    close_hosts();
    SSL_CTX_free(client);
}

static SSL_CTX *unknown_ctx(const struct protocol *p)
{
    SSL_CTX *(*make)(const SSL_METHOD *);
    SSL_CTX *ctx;

    *(void **)&make = stock_function("SSL_CTX_new");
    ctx = make(p->is_dtls ? DTLS_server_method() : TLS_server_method());
    REQUIRE(ctx != NULL);
    use_certificate(ctx);
    return ctx;
}

/* A context that the library does not know, on either end of the switch. */
static void unknown_contexts(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);
    int alert;

    open_hosts(p);
    SSL_CTX_free(second.ctx);
    second.ctx = unknown_ctx(p);
    section("%s leads to an unknown context", p->name);
    first.target = second.ctx;
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 1);
    section("%s was led to an unknown context", p->name);
    first.target = NULL;
    SSL_CTX_set_client_hello_cb(first.ctx, switch_early, NULL);
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 1);
    close_hosts();
    SSL_CTX_free(client);
}

/* A resumption is told too, and the callback may still end it. */
static void resumptions(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);
    SSL_SESSION *session;
    int alert;

    open_hosts(p);
    session = obtain_session(first.ctx, client);
    section("%s resumes", p->name);
    CHECK_INT(handshake(client, session, &alert), 1);
    CHECK_INT(first.calls, 1);
    section("%s resumes in the second", p->name);
    first.target = second.ctx;
    CHECK_INT(handshake(client, session, &alert), 1);
    section("%s does not resume", p->name);
    first.answer = SSL_TLSEXT_ERR_ALERT_FATAL;
    CHECK_INT(handshake(client, session, &alert), 0);
    SSL_SESSION_free(session);
    close_hosts();
    SSL_CTX_free(client);
}

/* libssl calls a client's callback, too. */
static void on_clients(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);
    int alert;

    open_hosts(p);
    section("%s on a client", p->name);
    SSL_CTX_set_tlsext_servername_callback(client, callback_of_second);
    SSL_CTX_set_tlsext_servername_arg(client, &second);
    CHECK_INT(handshake(client, NULL, &alert), 1);
    CHECK_INT(first.calls, 1);
    close_hosts();
    SSL_CTX_free(client);
}

int main(void)
{
    for (size_t i = 0; i < protocol_count; i++) {
        answers(&protocols[i]);
        switched(&protocols[i]);
        unknown_contexts(&protocols[i]);
        resumptions(&protocols[i]);
        on_clients(&protocols[i]);
    }
    return test_end();
}
