/*
 * pthread_cancel() during a callback (README, differences). On stock the thread ends in the
 * callback, because libssl is C and can be left there. Ours holds the cancel back until the callback
 * has returned: Rust does not promise that a thread can be unwound through its functions. So the
 * call that led to the callback ends as if nothing had been asked for, and the thread ends at its
 * next cancellation point.
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

/* On stock it does not return. */
static void ask_for_the_end(void)
{
    current->progress = IN_CALLBACK;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    current->progress = CALLBACK_WENT_ON;
}

/* Drops the cache's reference, which stock would drop after remove_cb. */
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

    section("%s in new_cb", p->name);
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

    section("%s in remove_cb", p->name);
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

    section("%s in get_cb", p->name);
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

/* TLS 1.3 asks no generator. Stock loses the session that the handshake was making. */
static void in_generator(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct attempt attempt = { .server = server };
    long before = sessions_alive();

    section("%s in the generator", p->name);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, cancelled_generator), 1);
    attempt.c = connection_new(server, client);
    make_call(&attempt, handshake);
    connection_close(&attempt.c);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    if (overlaid())
        CHECK_INT(sessions_alive(), before);
}

int main(void)
{
    long before = sessions_alive();

    FOR_EACH_PROTOCOL(p) {
        in_new_cb(p);
        in_remove_cb(p);
        in_get_cb(p);
        section("%s in the end", p->name);
        CHECK_INT(sessions_alive(), before);
    }
    FOR_EACH_PROTOCOL(p) {
        if (p->version != TLS1_3_VERSION)
            in_generator(p);
    }
    return test_end();
}
