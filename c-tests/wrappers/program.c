/* A server as many are. What it prints is the same with the overlay in front, see wrappers.sh. */
#include "harness.h"

#include <dlfcn.h>

static int new_calls, removed;

static int count_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    new_calls++;
    return 0;
}

static SSL_SESSION *find_none(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

static void count_removed(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    removed++;
}

static int accept_name(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)alert, (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

static void configure(SSL_CTX *server)
{
    SSL_CTX_sess_set_new_cb(server, count_new);
    SSL_CTX_sess_set_get_cb(server, find_none);
    SSL_CTX_sess_set_remove_cb(server, count_removed);
    SSL_CTX_sess_set_cache_size(server, 500);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_BOTH);
    SSL_CTX_set_verify(server, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"w", 1);
    SSL_CTX_set_tlsext_servername_callback(server, accept_name);
    report("new_cb", SSL_CTX_sess_get_new_cb(server) == count_new);
    report("get_cb", SSL_CTX_sess_get_get_cb(server) == find_none);
    report("remove_cb", SSL_CTX_sess_get_remove_cb(server) == count_removed);
    report("cache size", SSL_CTX_sess_get_cache_size(server));
    report("mode", SSL_CTX_get_session_cache_mode(server));
}

int main(void)
{
    int (*policy_seen)(void);

    *(void **)&policy_seen = dlsym(RTLD_DEFAULT, "policy_seen");
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = new_server(p), *client = new_client(p);
        SSL_SESSION *session, *cached;
        struct connection c;

        section("%s", p->name);
        configure(server);
        new_calls = removed = 0;
        session = obtain_session(server, client);
        report("new_cb calls", new_calls);
        report("seen before", policy_seen == NULL ? -1 : policy_seen());
        report("resumed", resumes(server, client, session));
        report("timeout", SSL_SESSION_set_timeout(session, 250));
        cached = cached_on_server(server, session);
        report("removed", cached != NULL && SSL_CTX_remove_session(server, cached));
        report("remove_cb calls", removed);
        report("resumed when removed", resumes(server, client, session));
        SSL_CTX_sess_set_new_cb(server, NULL);
        SSL_SESSION_free(session);
        session = obtain_session(server, client);
        report("new_cb calls then", new_calls);
        report("resumed then", resumes(server, client, session));
        c = connection_new(server, client);
        report("session set", SSL_set_session(c.client, session));
        report("handshake", connection_handshake(&c));
        report("cleared", SSL_clear(c.server));
        connection_drop(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
    return test_end();
}
