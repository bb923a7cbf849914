/*
 * Clause 10 and fact 12: callbacks that call every session function of the same context, run whole
 * handshakes on it, and wait for another thread that does. Stock holds the context's lock when it
 * calls remove_cb on eviction and flush: there the calls fail without a word (listed differences).
 */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum callback { NOBODY, NEW_CB, GET_CB, REMOVE_CB };

/* The one context under test, and what its callbacks are to do there. */
static struct {
    const struct protocol *protocol;
    SSL_CTX *server, *client;
    SSL *bystander;      /* an idle connection of the server's, to ask for ids; NULL if none */
    int holds_lock;      /* stock holds its lock when the callback in question runs */
    enum callback armed; /* who shall do its calls next; nested ones shall not */
    int remove_calls;
    char results[256];
} test;

static int new_cb(SSL *ssl, SSL_SESSION *session);
static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy);
static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session);

static void result(const char *name, long value)
{
    size_t used = strlen(test.results);

    snprintf(test.results + used, sizeof(test.results) - used, "%s%s %ld", used > 0 ? ", " : "",
        name, value);
}

/* Setters and getters: nothing changes, but each is called. */
static int settings_work(SSL_CTX *ctx)
{
    long mode = SSL_CTX_get_session_cache_mode(ctx);
    long size = SSL_CTX_sess_get_cache_size(ctx);
    long timeout = SSL_CTX_get_timeout(ctx);

    SSL_CTX_sess_set_new_cb(ctx, new_cb);
    SSL_CTX_sess_set_get_cb(ctx, get_cb);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    return SSL_CTX_sess_get_new_cb(ctx) == new_cb && SSL_CTX_sess_get_get_cb(ctx) == get_cb
        && SSL_CTX_sess_get_remove_cb(ctx) == remove_cb
        && SSL_CTX_set_session_cache_mode(ctx, mode) == mode
        && SSL_CTX_sess_set_cache_size(ctx, size) == size
        && SSL_CTX_sess_get_cache_size(ctx) == size
        && SSL_CTX_set_timeout(ctx, timeout) == timeout
        && SSL_CTX_sess_hits(ctx) + SSL_CTX_sess_misses(ctx) + SSL_CTX_sess_cb_hits(ctx)
            + SSL_CTX_sess_timeouts(ctx) + SSL_CTX_sess_cache_full(ctx)
            + SSL_CTX_sess_accept(ctx) + SSL_CTX_sess_connect(ctx) >= 0;
}

/* A session of its own goes in and comes out again. */
static void call_everything(SSL_CTX *ctx)
{
    SSL_SESSION *made = make_session(ctx, test.protocol->version, 500);
    struct session_id id = id_of(made);
    long before = SSL_CTX_sess_number(ctx);

    result("add", SSL_CTX_add_session(ctx, made));
    result("again", SSL_CTX_add_session(ctx, made));
    result("listed", is_cached(ctx, made));
    result("number", SSL_CTX_sess_number(ctx) - before);
    if (test.bystander != NULL)
        result("match", SSL_has_matching_session_id(test.bystander, id.bytes, id.length));
    result("timeout", SSL_SESSION_set_timeout(made, 50));
    CHECK(SSL_SESSION_set_time(made, (long)time(NULL)) != 0);
    SSL_CTX_flush_sessions(ctx, 1);
    result("remove", SSL_CTX_remove_session(ctx, made));
    result("again", SSL_CTX_remove_session(ctx, made));
    CHECK_INT(SSL_CTX_sess_number(ctx), before);
    result("generator", SSL_CTX_set_generate_session_id(ctx, NULL));
    CHECK(settings_work(ctx));
    SSL_SESSION_free(made);
}

/* Two handshakes on the context: 2 if the second resumed, 1 if it was full, 0 if they failed. */
static int handshakes(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c = connection_new(server, client);
    SSL_SESSION *session = NULL;
    int outcome = 0;

    if (connection_handshake(&c) && connection_exchange(&c))
        session = SSL_get1_session(c.client);
    connection_close(&c);
    if (session != NULL)
        outcome = 1 + resumes(server, client, session);
    SSL_SESSION_free(session);
    return outcome;
}

static void *other_thread(void *outcome)
{
    SSL_CTX *client = new_client(test.protocol);
    SSL_SESSION *made = make_session(test.server, test.protocol->version, 600);

    CHECK_INT(SSL_CTX_add_session(test.server, made), 1);
    CHECK_INT(SSL_CTX_remove_session(test.server, made), 1);
    *(int *)outcome = handshakes(test.server, client);
    SSL_SESSION_free(made);
    SSL_CTX_free(client);
    return NULL;
}

/* On stock only what neither hangs nor breaks it. */
static void enter_again(SSL_CTX *ctx, enum callback who)
{
    int outcome = 0;
    pthread_t thread;

    if (test.armed != who)
        return;
    test.armed = NOBODY;
    CHECK_PTR(ctx, test.server);
    SSL_CTX_sess_set_cache_size(ctx, 0);
    call_everything(ctx);
    if (test.bystander == NULL)
        return; /* the context is being freed: nothing can be connected to it */
    result("handshakes", handshakes(ctx, test.client));
    if (!overlaid() && test.holds_lock)
        return;
    REQUIRE(pthread_create(&thread, NULL, other_thread, &outcome) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
    CHECK_INT(outcome, 2);
}

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(session);
    enter_again(SSL_get_SSL_CTX(ssl), NEW_CB);
    return 1;
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)id, (void)length, (void)copy;
    enter_again(SSL_get_SSL_CTX(ssl), GET_CB);
    return NULL;
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    test.remove_calls++;
    enter_again(ctx, REMOVE_CB);
}

/* alarm: a deadlock must not cost a minute. */
static void open_test(const struct protocol *p, const char *name, int holds_lock)
{
    alarm(10);
    section("%s %s", p->name, name);
    memset(&test, 0, sizeof(test));
    test.protocol = p;
    test.holds_lock = holds_lock;
    test.server = new_server(p);
    test.client = new_client(p);
    test.bystander = SSL_new(test.server);
    SSL_CTX_sess_set_new_cb(test.server, new_cb);
    SSL_CTX_sess_set_get_cb(test.server, get_cb);
    SSL_CTX_sess_set_remove_cb(test.server, remove_cb);
}

static SSL_SESSION *add_made(unsigned int number)
{
    SSL_SESSION *session = make_session(test.server, test.protocol->version, number);

    CHECK_INT(SSL_CTX_add_session(test.server, session), 1);
    return session;
}

static void close_test(void)
{
    CHECK_INT(test.armed, NOBODY); /* the callback ran */
    report_text("results", test.results);
    SSL_free(test.bystander);
    SSL_CTX_free(test.client);
    SSL_CTX_free(test.server);
}

/* SSL_has_matching_session_id goes by the connection's version, which is not negotiated here. */
static void of_the_bystander(const struct protocol *p)
{
    struct connection c = connect_offering(test.server, test.client, NULL);

    CHECK_INT(SSL_version(c.server), p->version);
    SSL_free(test.bystander);
    test.bystander = c.server;
    SSL_set_shutdown(c.server, SSL_SENT_SHUTDOWN);
    SSL_set_shutdown(c.client, SSL_SENT_SHUTDOWN);
    SSL_free(c.client);
}

static void in_new_cb(const struct protocol *p)
{
    open_test(p, "in new_cb", 0);
    of_the_bystander(p);
    test.armed = NEW_CB;
    SSL_SESSION_free(obtain_session(test.server, test.client));
    close_test();
}

static void in_get_cb(const struct protocol *p)
{
    SSL_SESSION *session;

    open_test(p, "in get_cb", 0);
    session = obtain_session(test.server, test.client);
    SSL_CTX_flush_sessions(test.server, 0);
    of_the_bystander(p);
    test.armed = GET_CB;
    CHECK_INT(resumes(test.server, test.client, session), 0);
    SSL_SESSION_free(session);
    close_test();
}

/* Each way in which remove_cb comes about. */
enum cause { REMOVED, UNCLEAN, LOOKED_UP, EVICTED, EVICTED_BY_HANDSHAKE, FLUSHED, FLUSHED_ALL };

static void in_remove_cb(const struct protocol *p, const char *name, enum cause cause)
{
    SSL_SESSION *session, *cached, *made;
    struct connection c;

    open_test(p, name, cause >= EVICTED);
    of_the_bystander(p);
    made = add_made(1);
    session = obtain_session(test.server, test.client);
    REQUIRE((cached = cached_on_server(test.server, session)) != NULL);
    c = connect_offering(test.server, test.client, NULL);
    test.armed = REMOVE_CB;
    switch (cause) {
    case REMOVED:
        CHECK_INT(SSL_CTX_remove_session(test.server, made), 1);
        break;
    case UNCLEAN:
        connection_drop(&c);
        break;
    case LOOKED_UP:
        SSL_SESSION_set_time(cached, (long)time(NULL) - 100000);
        CHECK_INT(resumes(test.server, test.client, session), 0);
        break;
    case EVICTED:
        SSL_CTX_sess_set_cache_size(test.server, SSL_CTX_sess_number(test.server));
        SSL_SESSION_free(add_made(2));
        break;
    case EVICTED_BY_HANDSHAKE:
        SSL_CTX_sess_set_cache_size(test.server, SSL_CTX_sess_number(test.server));
        SSL_SESSION_free(obtain_session(test.server, test.client));
        break;
    case FLUSHED:
        SSL_SESSION_set_time(made, (long)time(NULL) - 100000);
        SSL_CTX_flush_sessions(test.server, (long)time(NULL));
        break;
    case FLUSHED_ALL:
        SSL_CTX_flush_sessions(test.server, 0);
        break;
    }
    if (c.server != NULL)
        connection_close(&c);
    SSL_SESSION_free(made);
    SSL_SESSION_free(session);
    close_test();
}

/* While SSL_CTX_free frees the context. */
static void in_free(const struct protocol *p)
{
    open_test(p, "in remove_cb on free", 1);
    SSL_free(test.bystander);
    test.bystander = NULL;
    SSL_SESSION_free(add_made(1));
    SSL_SESSION_free(add_made(2));
    test.armed = REMOVE_CB;
    SSL_CTX_free(test.server);
    CHECK_INT(test.armed, NOBODY);
    report_text("results", test.results);
    report("remove calls", test.remove_calls);
    SSL_CTX_free(test.client);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        in_new_cb(p);
        in_get_cb(p);
        in_remove_cb(p, "in remove_cb on removal", REMOVED);
        in_remove_cb(p, "in remove_cb on unclean close", UNCLEAN);
        if (p->version != TLS1_3_VERSION) /* stock leaves it cached there */
            in_remove_cb(p, "in remove_cb on lookup", LOOKED_UP);
        in_remove_cb(p, "in remove_cb on eviction", EVICTED);
        in_remove_cb(p, "in remove_cb on eviction by a handshake", EVICTED_BY_HANDSHAKE);
        in_remove_cb(p, "in remove_cb on flush", FLUSHED);
        in_remove_cb(p, "in remove_cb on flush of all", FLUSHED_ALL);
        in_free(p);
    }
    return test_end();
}
