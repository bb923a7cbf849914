/*
 * pthread_cancel() and pthread_exit() during a callback. The thread ends in the callback, as on
 * stock, and the library keeps no reference, lock or state of its own that would hinder others. The
 * reference that libssl's cache had of a session is the cleanup handler's to drop, as on stock.
 *
 * A callback asks for the end of its own thread, so that the moment is certain.
 */
#include "harness.h"

#include <pthread.h>
#include <string.h>

/* How far the thread came, in this order. */
enum progress { CALLING, IN_CALLBACK, CALLBACK_WENT_ON, CALL_RETURNED, NEVER_CANCELLED };

struct attempt {
    enum progress progress;
    void (*call)(struct attempt *);
    SSL_CTX *server;
    struct connection c;
    SSL_SESSION *session; /* removed by the call, or returned by get_cb */
    int result;           /* of the call; 0 if it did not return */
};

/* The callbacks find their attempt here. Only its own thread uses it meanwhile. */
static struct attempt *current;

static int by_exit; /* the thread ends itself, and is not cancelled */

/* It does not return. */
static void ask_for_the_end(void)
{
    current->progress = IN_CALLBACK;
    if (by_exit)
        pthread_exit(PTHREAD_CANCELED);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    current->progress = CALLBACK_WENT_ON;
}

static void part(const struct protocol *p, const char *what)
{
    section("%s %s%s", p->name, what, by_exit ? ", by exit" : "");
}

/* Drops the cache's reference, which would be dropped after remove_cb. */
static void release(void *session)
{
    SSL_SESSION_free(session);
}

static int cancelled_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(session);
    ask_for_the_end();
    return 1;
}

static void cancelled_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    pthread_cleanup_push(release, session);
    ask_for_the_end();
    pthread_cleanup_pop(0);
}

static SSL_SESSION *cancelled_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl;
    (void)id;
    (void)length;
    *copy = 1;
    ask_for_the_end();
    return current->session;
}

static void handshake(struct attempt *attempt)
{
    attempt->result = connection_handshake(&attempt->c);
}

static void remove_session(struct attempt *attempt)
{
    attempt->result = SSL_CTX_remove_session(attempt->server, attempt->session);
}

static void *body(void *argument)
{
    struct attempt *attempt = argument;

    attempt->call(attempt);
    attempt->progress = CALL_RETURNED;
    pthread_testcancel();
    attempt->progress = NEVER_CANCELLED;
    return NULL;
}

/* Makes the call in a thread of its own, which is cancelled, and reports where. */
static void make_call(struct attempt *attempt, void (*call)(struct attempt *))
{
    static const char *const names[] = { "before the callback", "in the callback",
                                         "after the callback, in the call", "after the call",
                                         "never" };
    pthread_t thread;
    void *result = NULL;

    attempt->call = call;
    current = attempt;
    REQUIRE(pthread_create(&thread, NULL, body, attempt) == 0);
    REQUIRE(pthread_join(thread, &result) == 0);
    CHECK_PTR(result, PTHREAD_CANCELED);
    report_text("cancelled", names[attempt->progress]);
    report("result of the call", attempt->result);
}

static void in_new_cb(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server, .c = connection_new(server, client) };

    part(p, "in new_cb");
    SSL_CTX_sess_set_new_cb(server, cancelled_new_cb);
    make_call(&attempt, handshake);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    connection_close(&attempt.c);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void in_remove_cb(const struct protocol *p)
{
    SSL_CTX *server = new_server(p);
    struct attempt attempt = { .server = server };

    part(p, "in remove_cb");
    attempt.session = make_session(server, p->version, 1);
    REQUIRE(SSL_CTX_add_session(server, attempt.session) == 1);
    SSL_CTX_sess_set_remove_cb(server, cancelled_remove_cb);
    make_call(&attempt, remove_session);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    SSL_SESSION_free(attempt.session);
    SSL_CTX_free(server);
}

static void in_get_cb(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server };
    SSL_SESSION *offered = obtain_session(server, client);

    part(p, "in get_cb");
    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_sess_set_get_cb(server, cancelled_get_cb);
    attempt.c = connection_new(server, client);
    REQUIRE(SSL_set_session(attempt.c.client, offered) == 1);
    make_call(&attempt, handshake);
    connection_close(&attempt.c);
    SSL_SESSION_free(offered);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static int cancelled_generator(SSL *ssl, unsigned char *id, unsigned int *id_len)
{
    (void)ssl;
    memset(id, 7, *id_len);
    ask_for_the_end();
    return 1;
}

/* TLS 1.3 asks no generator. libssl loses the session that the handshake was making. */
static void in_generator(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server };

    part(p, "in the generator");
    CHECK_INT(SSL_CTX_set_generate_session_id(server, cancelled_generator), 1);
    attempt.c = connection_new(server, client);
    make_call(&attempt, handshake);
    connection_close(&attempt.c);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* ---- functions that reach a cancellation point beside the callbacks ---------------------------- */

static int gone_index;

/* Runs when an object goes that has data under the index. */
static void gone(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (value != NULL && current != NULL && current->progress == CALLING)
        ask_for_the_end();
}

static void remove_last(struct attempt *attempt)
{
    SSL_SESSION_free(attempt->session);
    attempt->result = SSL_CTX_remove_session(attempt->server, attempt->session);
}

static void flush(struct attempt *attempt)
{
    SSL_SESSION_free(attempt->session);
    SSL_CTX_flush_sessions(attempt->server, 0);
}

static void free_context(struct attempt *attempt)
{
    SSL_CTX_free(attempt->server);
}

static void clear(struct attempt *attempt)
{
    attempt->result = SSL_clear(attempt->c.server);
}

/* A connection whose session is in no cache but its own. */
static void in_free_function(const struct protocol *p, const char *what,
                             void (*call)(struct attempt *))
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server };

    part(p, what);
    attempt.session = make_session(server, p->version, 2);
    REQUIRE(SSL_SESSION_set_ex_data(attempt.session, gone_index, &gone_index) == 1);
    REQUIRE(SSL_CTX_add_session(server, attempt.session) == 1);
    if (call == free_context)
        SSL_SESSION_free(attempt.session);
    make_call(&attempt, call);
    current = NULL;
    /* Others go on with the context. Stock's lock may have stayed behind. */
    if (call != free_context && overlaid()) {
        SSL_SESSION_free(obtain_session(server, client));
        CHECK_INT(SSL_CTX_sess_number(server), 1);
        SSL_CTX_free(server);
    }
    SSL_CTX_free(client);
}

/* On stock the lock may have stayed behind, see above. */
static void in_clear(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server };

    part(p, "in SSL_clear");
    SSL_CTX_sess_set_remove_cb(server, cancelled_remove_cb);
    attempt.c = connect_offering(server, client, NULL);
    make_call(&attempt, clear);
    current = NULL;
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_free(attempt.c.client);
    if (!overlaid())
        return;
    SSL_free(attempt.c.server);
    SSL_SESSION_free(obtain_session(server, client));
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void try_all(void)
{
    long before = sessions_alive();

    FOR_EACH_PROTOCOL(p) {
        in_new_cb(p);
        in_remove_cb(p);
        in_get_cb(p);
        part(p, "in the end");
        CHECK_INT(sessions_alive(), before);
    }
    FOR_EACH_PROTOCOL(p) {
        if (p->version != TLS1_3_VERSION)
            in_generator(p);
        in_free_function(p, "in the free function, removed", remove_last);
        in_free_function(p, "in the free function, flushed", flush);
        in_free_function(p, "in the free function, with the context", free_context);
        in_clear(p);
    }
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    skip("what libssl holds in a call that does not return leaks, on stock too");
#endif
    if (is_under_valgrind())
        skip("what libssl holds in a call that does not return leaks, on stock too");
    sessions_alive();
    gone_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, gone);
    REQUIRE(gone_index > 0);
    try_all();
    by_exit = 1;
    try_all();
    return test_end();
}
