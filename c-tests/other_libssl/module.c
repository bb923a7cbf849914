/*
 * A module that uses the libssl it is linked with, the system's or one of another name. What it
 * prints is the same with the overlay in front, but for the lines that begin with "active".
 */
#include "harness.h"

#include <dlfcn.h>
#include <stdio.h>
#include <openssl/bio.h>

int live(void);

static int ends_freed, new_calls;

static long on_free(BIO *bio, int operation, const char *argument, size_t length, int argument_i,
                    long argument_l, int result, size_t *processed)
{
    (void)bio, (void)argument, (void)length, (void)argument_i, (void)argument_l, (void)processed;
    ends_freed += operation == BIO_CB_FREE;
    return result;
}

static int count_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    new_calls++;
    return 0;
}

static int is_active(const SSL_CTX *ctx)
{
    int (*function)(const SSL_CTX *);

    *(void **)&function = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    return function == NULL ? 0 : function(ctx);
}

static int accept_every(int preverified, X509_STORE_CTX *store)
{
    (void)preverified, (void)store;
    return 1;
}

static void live_in(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p), *second = new_server(p);
    SSL_SESSION *session, *cached;
    struct connection c;

    section("%s", p->name);
    printf("active %d\n", is_active(server));
    /* Functions that are overlaid, on a context. */
    report("cache size", SSL_CTX_sess_set_cache_size(server, 5));
    report("cache size then", SSL_CTX_sess_get_cache_size(server));
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, accept_every);
    report("verify mode", SSL_CTX_get_verify_mode(server));
    report("verify callback", SSL_CTX_get_verify_callback(server) == accept_every);
    SSL_CTX_set_verify(server, SSL_VERIFY_NONE, NULL);
    session = obtain_session(server, client);
    report("sessions", SSL_CTX_sess_number(server));
    report("resumed", resumes(server, client, session));
    cached = cached_on_server(server, session);
    report("removed", cached != NULL && SSL_CTX_remove_session(server, cached));
    report("resumed when removed", resumes(server, client, session));
    SSL_SESSION_free(session);
    SSL_CTX_flush_sessions(server, 0);
    report("sessions when flushed", SSL_CTX_sess_number(server));
    new_calls = 0;
    SSL_CTX_sess_set_new_cb(server, count_new);
    report("new_cb", SSL_CTX_sess_get_new_cb(server) == count_new);
    session = obtain_session(server, client);
    report("new_cb calls", new_calls);
    /* And on a connection. */
    ends_freed = 0;
    c = connection_new(server, client);
    report("session set", SSL_set_session(c.client, session));
    report("context", SSL_set_SSL_CTX(c.server, second) == second);
    report("context then", SSL_get_SSL_CTX(c.server) == second);
    report("handshake", connection_handshake(&c));
    report("cleared", SSL_clear(c.server));
    report("before the handshake", SSL_in_before(c.server));
    BIO_set_callback_ex(SSL_get_rbio(c.server), on_free);
    BIO_set_callback_ex(SSL_get_rbio(c.client), on_free);
    SSL_free(c.server);
    SSL_free(c.client);
    report("ends freed", ends_freed);
    SSL_SESSION_free(session);
    SSL_CTX_free(second);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int live(void)
{
    FOR_EACH_PROTOCOL(p)
        live_in(p);
    return test_end();
}
