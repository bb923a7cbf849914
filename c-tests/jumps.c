/*
 * A callback that leaves by longjmp(), or pauses its job (ASYNC_pause_job) and comes back later. As on
 * stock, the thread's cancellation is as the application left it, and the thread and the context go
 * on: with other connections, with the cache and with evictions.
 */
#include "harness.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/async.h>

enum { MANY = 100, FEW = 4 };

/* ---- leaving a callback ----------------------------------------------------------------------- */

enum how { STAY, JUMP, PAUSE };

static enum how how;
static jmp_buf place;
static int left; /* callbacks that were left */

static void leave(void)
{
    enum how now = how;

    how = STAY;
    left += now != STAY;
    if (now == JUMP)
        longjmp(place, 1);
    if (now == PAUSE && CHECK(ASYNC_get_current_job() != NULL))
        CHECK_INT(ASYNC_pause_job(), 1);
}

static int leaving_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    leave();
    return 0;
}

static void leaving_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    leave();
}

static SSL_SESSION *leaving_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    leave();
    return NULL;
}

static int leaving_generator(SSL *ssl, unsigned char *id, unsigned int *length)
{
    static unsigned char next;

    (void)ssl;
    memset(id, ++next, *length);
    leave();
    return 1;
}

static int leaving_servername_cb(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)alert, (void)argument;
    leave();
    return SSL_TLSEXT_ERR_OK;
}

static int leaving_ticket_cb(SSL *ssl, void *argument)
{
    (void)ssl, (void)argument;
    leave();
    return 1;
}

static SSL_CTX *server, *client;

static void set_new_cb(void) { SSL_CTX_sess_set_new_cb(server, leaving_new_cb); }
static void set_get_cb(void) { SSL_CTX_sess_set_get_cb(server, leaving_get_cb); }
static void set_generator(void) { SSL_CTX_set_generate_session_id(server, leaving_generator); }
static void set_servername_cb(void)
{
    SSL_CTX_set_tlsext_servername_callback(server, leaving_servername_cb);
}
static void set_ticket_cb(void)
{
    SSL_CTX_set_session_ticket_cb(server, leaving_ticket_cb, NULL, NULL);
}

static const struct callback {
    const char *name;
    void (*set)(void);
    int is_of_lookup; /* it is called when a client offers a session */
} callbacks[] = {
    { "new_cb", set_new_cb, 0 },
    { "get_cb", set_get_cb, 1 },
    { "the generator", set_generator, 0 },
    { "the servername callback", set_servername_cb, 0 },
    { "the ticket callback", set_ticket_cb, 0 },
};

/* ---- what goes on ------------------------------------------------------------------------------ */

static int cancellation(void)
{
    int state = -1;

    CHECK_INT(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state), 0);
    CHECK_INT(pthread_setcancelstate(state, NULL), 0);
    return state;
}

static int cached(void)
{
    return (int)SSL_CTX_sess_number(server);
}

/* Each of them evicts one. */
static void fill(unsigned int from)
{
    for (unsigned int i = from; i < from + MANY; i++) {
        SSL_SESSION *session = make_session(server, TLS1_2_VERSION, i);

        SSL_CTX_add_session(server, session);
        if (i == from + MANY - 1)
            CHECK(is_cached(server, session));
        SSL_SESSION_free(session);
    }
    /* Stock holds one less. */
    CHECK_INT(cached(), overlaid() ? FEW : FEW - 1);
}

static void others_go_on(int state)
{
    SSL_SESSION *session;

    CHECK_INT(cancellation(), state);
    how = STAY;
    session = obtain_session(server, client);
    SSL_SESSION_free(session);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(cached(), 0);
    SSL_CTX_sess_set_cache_size(server, FEW);
    fill(1000);
    SSL_CTX_sess_set_cache_size(server, SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
    SSL_CTX_sess_set_new_cb(server, NULL);
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    CHECK_INT(cancellation(), state);
}

/* An id that nobody knows, with the age of a session of this moment. */
static SSL_SESSION *unknown_session(void)
{
    SSL_SESSION *session = obtain_session(server, client);

    SSL_CTX_flush_sessions(server, 0);
    return session;
}

static struct connection prepare(const struct protocol *p, const struct callback *callback)
{
    SSL_SESSION *offer;
    struct connection c;

    server = new_server(p);
    client = new_client(p);
    offer = callback->is_of_lookup ? unknown_session() : NULL;
    callback->set();
    c = connection_new(server, client);
    SSL_set_tlsext_host_name(c.client, "host.example");
    if (offer != NULL) {
        CHECK_INT(SSL_set_session(c.client, offer), 1);
        SSL_SESSION_free(offer);
    }
    left = 0;
    return c;
}

static void free_contexts(void)
{
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- jumps ------------------------------------------------------------------------------------- */

static void handshake(struct connection *c)
{
    if (setjmp(place) == 0)
        connection_handshake(c);
}

static void jump_out_of_handshake(const struct protocol *p, const struct callback *callback)
{
    for (int state = PTHREAD_CANCEL_ENABLE; state <= PTHREAD_CANCEL_DISABLE; state++) {
        struct connection c = prepare(p, callback);

        section("%s, jump out of %s, %d", p->name, callback->name, state);
        pthread_setcancelstate(state, NULL);
        how = JUMP;
        handshake(&c);
        CHECK_INT(left, 1);
        others_go_on(state);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        /* libssl was in the middle of it: the connection stays. */
        free_contexts();
    }
}

static void remove_it(SSL_SESSION *session)
{
    CHECK_INT(SSL_CTX_remove_session(server, session), 1);
}

static void flush_it(SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_flush_sessions(server, 0);
}

static void evict_it(SSL_SESSION *session)
{
    SSL_SESSION *more = make_session(server, SSL_SESSION_get_protocol_version(session), 9);

    SSL_CTX_sess_set_cache_size(server, 1);
    CHECK_INT(SSL_CTX_add_session(server, more), 1);
}

static void jump(void (*end)(SSL_SESSION *), SSL_SESSION *session)
{
    if (setjmp(place) == 0)
        end(session);
}

/* After the jump as many sessions as before find their place, and make room. */
static void jump_out_of_remove_cb(const struct protocol *p, const char *name,
                                  void (*end)(SSL_SESSION *))
{
    SSL_SESSION *session;

    section("%s, jump out of remove_cb, %s", p->name, name);
    server = new_server(p);
    client = new_client(p);
    session = make_session(server, p->version, 8);
    SSL_CTX_add_session(server, session);
    SSL_CTX_sess_set_remove_cb(server, leaving_remove_cb);
    how = JUMP;
    left = 0;
    jump(end, session);
    CHECK_INT(left, 1);
    others_go_on(PTHREAD_CANCEL_ENABLE);
    free_contexts();
}

/* ---- pauses ------------------------------------------------------------------------------------ */

/* Both ends go on until the server's callback has paused its job, or to the end. */
static int drive_both(struct connection *c)
{
    for (int i = 0; i < 20; i++) {
        int done = SSL_do_handshake(c->client) == 1, result = SSL_do_handshake(c->server);

        if (result == 1 && done)
            return SSL_ERROR_NONE;
        if (result != 1 && SSL_get_error(c->server, result) == SSL_ERROR_WANT_ASYNC)
            return SSL_ERROR_WANT_ASYNC;
    }
    return SSL_ERROR_SSL;
}

static void pause_in(const struct protocol *p, const struct callback *callback)
{
    struct connection c = prepare(p, callback);

    section("%s, pause in %s", p->name, callback->name);
    SSL_set_mode(c.server, SSL_MODE_ASYNC);
    how = PAUSE;
    CHECK_INT(drive_both(&c), SSL_ERROR_WANT_ASYNC);
    CHECK_INT(left, 1);
    others_go_on(PTHREAD_CANCEL_ENABLE);
    CHECK_INT(drive_both(&c), SSL_ERROR_NONE);
    CHECK_INT(connection_exchange(&c), 1);
    others_go_on(PTHREAD_CANCEL_ENABLE);
    connection_close(&c);
    free_contexts();
}

/* A handshake whose session makes another one leave. */
static void pause_in_eviction(const struct protocol *p)
{
    static const struct callback none = { "remove_cb", set_new_cb, 0 };
    struct connection c = prepare(p, &none);
    SSL_SESSION *session = make_session(server, p->version, 8);

    section("%s, pause in remove_cb", p->name);
    SSL_CTX_sess_set_new_cb(server, NULL);
    SSL_CTX_add_session(server, session);
    SSL_SESSION_free(session);
    SSL_CTX_sess_set_remove_cb(server, leaving_remove_cb);
    SSL_CTX_sess_set_cache_size(server, 1);
    SSL_set_mode(c.server, SSL_MODE_ASYNC);
    how = PAUSE;
    CHECK_INT(drive_both(&c), SSL_ERROR_WANT_ASYNC);
    CHECK_INT(left, 1);
    others_go_on(PTHREAD_CANCEL_ENABLE);
    CHECK_INT(drive_both(&c), SSL_ERROR_NONE);
    connection_close(&c);
    free_contexts();
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    skip("what a jump leaves is not freed, on stock neither");
#endif
#ifdef __SANITIZE_THREAD__
    skip("the sanitizer does not follow jobs");
#endif
    if (is_under_valgrind())
        skip("what a jump leaves is not freed, on stock neither");
    FOR_EACH_PROTOCOL(p) {
        for (size_t i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
            if (p->version == TLS1_3_VERSION && callbacks[i].set == set_generator)
                continue; /* which it does not ask */
            if (callbacks[i].set == set_ticket_cb && p->version != TLS1_3_VERSION)
                continue; /* it is asked where a ticket is made */
            jump_out_of_handshake(p, &callbacks[i]);
            if (ASYNC_is_capable())
                pause_in(p, &callbacks[i]);
        }
        /* Stock's lock may be held in remove_cb, and stay behind. */
        if (overlaid()) {
            jump_out_of_remove_cb(p, "removed", remove_it);
            jump_out_of_remove_cb(p, "flushed", flush_it);
            jump_out_of_remove_cb(p, "evicted", evict_it);
            if (ASYNC_is_capable())
                pause_in_eviction(p);
        }
    }
    return test_end();
}
