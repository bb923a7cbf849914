/*
 * A thread that is cancelled while it makes an SSL_CTX, when the library reads a changed key file, opens
 * a store or logs a line: it ends after that, and the process goes on. So does a thread that is
 * cancelled in a callback or while it frees a connection, where a store is told of the session.
 */
#include "harness_store.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static SSL_CTX *server, *client, *spare;
static struct connection end;

static void make_context(void)
{
    SSL_CTX_free(SSL_CTX_new(TLS_server_method()));
}

static void attach_another(void)
{
    static char url[URL_SIZE];

    snprintf(url, sizeof(url), "file:%s?size=1MiB", path_of("another"));
    attach_store(spare, url);
}

/* Its BIO reaches a cancellation point when it is freed. */
static long on_free(BIO *bio, int operation, const char *argument, size_t length, int argument_i,
                    long argument_l, int result, size_t *processed)
{
    (void)bio, (void)argument, (void)length, (void)argument_i, (void)argument_l, (void)processed;
    if (operation == BIO_CB_FREE)
        pthread_testcancel();
    return result;
}

static void free_connection(void)
{
    SSL_free(end.server);
}

static SSL_SESSION *waiting_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    pthread_testcancel();
    return NULL;
}

static void shake_hands(void)
{
    connection_handshake(&end);
}

static void *body(void *call)
{
    pthread_cancel(pthread_self());
    (*(void (**)(void))call)();
    pthread_testcancel();
    return NULL;
}

static void cancel_in(void (*call)(void))
{
    pthread_t thread;
    void *result = NULL;

    REQUIRE(pthread_create(&thread, NULL, body, &call) == 0);
    REQUIRE(pthread_join(thread, &result) == 0);
    CHECK_PTR(result, PTHREAD_CANCELED);
}

/* A session that one context makes resumes in another: the store and its keys are in order. */
static void shares(const struct protocol *p)
{
    SSL_CTX *other = new_host(p);
    SSL_SESSION *session = obtain_session(server, client);

    CHECK_INT(resumes(other, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(other);
}

static void try_all(const struct protocol *p)
{
    SSL_SESSION *session;

    server = new_host(p);
    client = new_client(p);
    section("%s, a changed key file", p->name);
    write_keys("keys", 2, 2);
    cancel_in(make_context);
    shares(p);
    section("%s, a key file that cannot be read", p->name);
    write_file("keys", "none", 4, 0600);
    cancel_in(make_context);
    shares(p);
    write_keys("keys", 1, 2);
    section("%s, a store", p->name);
    spare = new_host(p);
    cancel_in(attach_another);
    CHECK(has_store(spare));
    SSL_CTX_free(spare);

    section("%s, a connection that goes", p->name);
    end = connect_offering(server, client, NULL);
    BIO_set_callback_ex(SSL_get_rbio(end.server), on_free);
    cancel_in(free_connection);
    SSL_free(end.client);
    shares(p);

    section("%s, a lookup", p->name);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_sess_set_get_cb(server, waiting_get_cb);
    end = connection_new(server, client);
    CHECK_INT(SSL_set_session(end.client, session), 1);
    cancel_in(shake_hands);
    SSL_CTX_sess_set_get_cb(server, NULL);
    shares(p);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void run(void)
{
    FOR_EACH_PROTOCOL(p)
        try_all(p);
}

static const struct named_function functions[] = { NAMED(run), { NULL, NULL } };

int main(int argc, char **argv)
{
    static char log[PATH_SIZE + 32];

    begin(argc, argv, functions);
#ifdef __SANITIZE_ADDRESS__
    skip("what libssl holds in a call that does not return leaks, on stock too");
#endif
    if (is_under_valgrind())
        skip("what libssl holds in a call that does not return leaks, on stock too");
    write_keys("keys", 1, 2);
    host_identity();
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    RUN_AGAIN(run, file_store("store"), key_file("keys"), log);
    CHECK(log_lines("log", "key file") > 0);
    return test_end();
}
