/*
 * When sessions end: expired when looked up, lifetimes that change while cached, in callbacks
 * (Apache, Squid, ProFTPD: fact 14), without end (vsftpd), and expiry on the side of handshakes.
 */
#include "harness.h"

#include <dlfcn.h>
#include <limits.h>
#include <time.h>

static const long no_auto_clear = SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR;

/* Seconds from now. */
static long in(long seconds)
{
    return (long)time(NULL) + seconds;
}

/* An expired session is no hit but a timeout; in 1.2 it also leaves the cache, by remove_cb. */
static void expired_on_lookup(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;
    struct session_id id;

    section("%s expired", p->name);
    SSL_CTX_set_session_cache_mode(server, no_auto_clear);
    record(server, &recorder);
    session = obtain_session(server, client);
    id = server_id_of(session);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    SSL_SESSION_up_ref(cached);
    SSL_SESSION_set_time(cached, in(100 - SSL_SESSION_get_timeout(cached)));
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 0);
    SSL_SESSION_set_time(cached, in(-100 - SSL_SESSION_get_timeout(cached)));
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 1);
    CHECK_INT(SSL_CTX_sess_hits(server), 1);
    CHECK_INT(recorder.get_calls, 0);
    CHECK_INT(SSL_CTX_sess_misses(server), 0);
    if (p->version != TLS1_3_VERSION) {
        CHECK(!is_cached(server, cached));
        CHECK_INT(recorder.remove_calls, 1);
        CHECK(same_id(&recorder.last_removed, &id));
        CHECK_PTR(recorder.last_ctx, server);
        CHECK_INT(SSL_SESSION_is_resumable(cached), 0);
    }
    report("is cached", is_cached(server, cached));
    report("remove calls", recorder.remove_calls);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The same for what get_cb brings: it is cached first, and then it has expired. */
static void expired_from_get_cb(const struct protocol *p, long mode)
{
    struct recorder recorder = { .new_action = NEW_KEEPS, .get_copy = 1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s expired from get_cb, mode %lx", p->name, mode);
    SSL_CTX_set_session_cache_mode(server, mode | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    record(server, &recorder);
    session = obtain_session(server, client);
    SSL_CTX_set_session_cache_mode(server, mode);
    recorder.get_result = recorder.kept;
    recorder.new_action = NEW_FREES;
    SSL_SESSION_set_time(recorder.kept, in(-100 - SSL_SESSION_get_timeout(recorder.kept)));
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 1);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 1);
    CHECK_INT(recorder.remove_calls, p->version != TLS1_3_VERSION);
    report("is cached", is_cached(server, recorder.get_result));
    report("is resumable", SSL_SESSION_is_resumable(recorder.get_result));
    SSL_SESSION_free(recorder.get_result);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void set_timeout(SSL_SESSION *session, long value)
{
    CHECK_INT(SSL_SESSION_set_timeout(session, value), 1);
    CHECK_INT(SSL_SESSION_get_timeout(session), value);
}

static void set_time(SSL_SESSION *session, long value)
{
    long when = in(value);

    CHECK_INT(SSL_SESSION_set_time(session, when), when);
    CHECK_INT(SSL_SESSION_get_time(session), when);
}

/* OpenSSL 3.3 and later; libsesscache has it for any. */
static void set_time_ex(SSL_SESSION *session, long value)
{
    time_t (*set)(SSL_SESSION *, time_t);
    long when = in(value);

    *(void **)&set = dlsym(RTLD_DEFAULT, "SSL_SESSION_set_time_ex");
    if (set == NULL)
        SSL_SESSION_set_time(session, when);
    else
        CHECK_INT(set(session, when), when);
    CHECK_INT(SSL_SESSION_get_time(session), when);
}

/* Begin and timeout when cached, what is changed then, when it is flushed, whether it stays. */
static const struct change {
    const char *name;
    long begin, timeout;
    void (*set)(SSL_SESSION *, long);
    long value, flush;
    int stays;
} changes[] = {
    { "longer timeout", 0, 100, set_timeout, 1000, 500, 1 },
    { "longer timeout, now", -1000, 100, set_timeout, 5000, 0, 1 },
    { "longer timeout, but not enough", 0, 100, set_timeout, 400, 500, 0 },
    { "shorter timeout", 0, 1000, set_timeout, 10, 500, 0 },
    { "shorter timeout, now", -1000, 5000, set_timeout, 100, 0, 0 },
    { "shorter timeout, but enough", 0, 1000, set_timeout, 700, 500, 1 },
    { "no timeout", -10, 1000, set_timeout, 0, 0, 0 },
    { "later time", 0, 100, set_time, 1000, 500, 1 },
    { "later time, now", -1000, 100, set_time, 0, 0, 1 },
    { "earlier time", 0, 1000, set_time, -990, 500, 0 },
    { "earlier time, now", 0, 1000, set_time, -2000, 0, 0 },
    { "later time_t", 0, 100, set_time_ex, 1000, 500, 1 },
    { "earlier time_t", 0, 1000, set_time_ex, -2000, 0, 0 },
};

static SSL_SESSION *add_made(
    SSL_CTX *ctx, const struct protocol *p, unsigned int number, long begin, long timeout)
{
    SSL_SESSION *session = make_session(ctx, p->version, number);

    SSL_SESSION_set_time(session, in(begin));
    SSL_SESSION_set_timeout(session, timeout);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    return session;
}

/* Between neighbours that stay. Twice, because the first flush may leave traces. */
static void changed_while_cached(const struct protocol *p, const struct change *change)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *before = add_made(ctx, p, 1, 0, 100000), *after = NULL;

    section("%s %s", p->name, change->name);
    record(ctx, &recorder);
    for (int turn = 0; turn < 2; turn++) {
        SSL_SESSION *session = add_made(ctx, p, 2, change->begin, change->timeout);

        if (after == NULL)
            after = add_made(ctx, p, 3, 0, 100000);
        change->set(session, change->value);
        CHECK(is_cached(ctx, session));
        SSL_CTX_flush_sessions(ctx, in(change->flush));
        CHECK_INT(is_cached(ctx, session), change->stays);
        CHECK_INT(SSL_SESSION_is_resumable(session), change->stays);
        CHECK_INT(recorder.remove_calls, change->stays ? turn : turn + 1);
        CHECK(is_cached(ctx, before) && is_cached(ctx, after));
        if (change->stays)
            CHECK_INT(SSL_CTX_remove_session(ctx, session), 1);
        CHECK_INT(SSL_CTX_sess_number(ctx), 2);
        SSL_SESSION_free(session);
    }
    SSL_SESSION_free(before);
    SSL_SESSION_free(after);
    SSL_CTX_free(ctx);
}

/* A flush that comes too early for a nearer end must leave it to the next. */
static void flushed_twice(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = add_made(ctx, p, 1, 0, 1000);

    section("%s flushed twice", p->name);
    set_timeout(session, 100);
    SSL_CTX_flush_sessions(ctx, in(50));
    CHECK(is_cached(ctx, session));
    SSL_CTX_flush_sessions(ctx, in(500));
    CHECK(!is_cached(ctx, session));
    SSL_SESSION_free(session);
    session = add_made(ctx, p, 2, -500, 1000);
    set_timeout(session, 600);
    SSL_CTX_flush_sessions(ctx, in(0));
    CHECK(is_cached(ctx, session));
    SSL_CTX_flush_sessions(ctx, in(200));
    CHECK(!is_cached(ctx, session));
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

/* Two caches, each with a session whose end comes nearer: both notice, whoever is asked first. */
static void changed_in_two(const struct protocol *p)
{
    SSL_CTX *one = new_server(p), *two = new_server(p);
    SSL_SESSION *first = add_made(one, p, 1, 0, 1000), *second = add_made(two, p, 1, 0, 1000);

    section("%s in two contexts", p->name);
    set_timeout(first, 10);
    set_timeout(second, 10);
    CHECK_INT(SSL_SESSION_set_timeout(second, -1), 0);
    CHECK_INT(SSL_SESSION_get_timeout(second), 10);
    SSL_CTX_flush_sessions(one, in(500));
    CHECK_INT(SSL_CTX_sess_number(one), 0);
    CHECK_INT(SSL_CTX_sess_number(two), 1);
    SSL_CTX_flush_sessions(two, in(500));
    CHECK_INT(SSL_CTX_sess_number(two), 0);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(one);
    SSL_CTX_free(two);
}

/* Timeouts that reach beyond 2038, 2106 and the end of time do not come round to the past. */
static void without_end(const struct protocol *p, const char *name, long timeout)
{
    const long ten_years = 10L * 365 * 24 * 3600;
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *made = add_made(server, p, 1, 0, timeout), *session, *other;

    section("%s timeout of %s", p->name, name);
    SSL_CTX_set_timeout(server, timeout);
    /* OpenSSL 3.6 counts nanoseconds in 64 bits: LONG_MAX becomes the year 2554. */
    CHECK(SSL_CTX_get_timeout(server) == timeout || timeout == LONG_MAX);
    report("timeout of the ctx", SSL_CTX_get_timeout(server));
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    SSL_CTX_flush_sessions(server, in(0));
    SSL_CTX_flush_sessions(server, in(ten_years));
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    CHECK_INT(resumes(server, client, session), 1);
    other = obtain_session(server, client);
    CHECK(is_cached(server, made));
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 0);
    SSL_CTX_flush_sessions(server, LONG_MAX);
    report("left at the end of time", SSL_CTX_sess_number(server));
    SSL_SESSION_free(other);
    SSL_SESSION_free(session);
    SSL_SESSION_free(made);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static long begin_in_new_cb, timeout_in_new_cb;

static int setting_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    CHECK_INT(SSL_SESSION_set_timeout(session, timeout_in_new_cb), 1);
    SSL_SESSION_set_time(session, in(begin_in_new_cb));
    SSL_SESSION_free(session);
    return 1;
}

/* The context's timeout is 300 s; new_cb sets another. */
static void set_in_new_cb(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *shorter, *longer;

    section("%s set in new_cb", p->name);
    /* So small that ours does not spread it out, and looks at all of it. */
    SSL_CTX_sess_set_cache_size(server, 1000);
    SSL_CTX_set_timeout(server, 300);
    SSL_CTX_sess_set_new_cb(server, setting_new_cb);
    begin_in_new_cb = 0;
    timeout_in_new_cb = 50;
    shorter = obtain_session(server, client);
    timeout_in_new_cb = 100000;
    longer = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    SSL_CTX_flush_sessions(server, in(0));
    CHECK_INT(SSL_CTX_sess_number(server), 2);
    SSL_CTX_flush_sessions(server, in(100));
    CHECK(cached_on_server(server, shorter) == NULL);
    CHECK_INT(resumes(server, client, shorter), 0);
    CHECK(cached_on_server(server, longer) != NULL);
    SSL_CTX_flush_sessions(server, in(50000));
    CHECK_INT(resumes(server, client, longer), 1);
    SSL_SESSION_free(shorter);
    SSL_SESSION_free(longer);

    /* A session that new_cb lets expire is a case for automatic expiry, and no hit. */
    SSL_CTX_flush_sessions(server, 0);
    begin_in_new_cb = -1000;
    timeout_in_new_cb = 50;
    shorter = obtain_session(server, client);
    report("expired in new_cb is cached", SSL_CTX_sess_number(server));
    CHECK_INT(resumes(server, client, shorter), 0);
    SSL_SESSION_free(shorter);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Handshakes take expired sessions with them: stock all at each 256th, ours some at each new. */
static void automatic(const struct protocol *p, long mode)
{
    enum { EXPIRED = 40, HANDSHAKES = 3 };
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *expired[EXPIRED], *prolonged, *good;
    int left = 0;

    section("%s automatic, mode %lx", p->name, mode);
    SSL_CTX_sess_set_cache_size(server, 1000);
    SSL_CTX_set_session_cache_mode(server, mode);
    record(server, &recorder);
    good = add_made(server, p, 1000, 0, 300);
    prolonged = add_made(server, p, 1001, -1000, 300);
    for (unsigned int i = 0; i < EXPIRED; i++)
        expired[i] = add_made(server, p, i, -1000, 300);
    SSL_SESSION_set_timeout(prolonged, 5000);
    for (int i = 0; i < HANDSHAKES; i++)
        SSL_SESSION_free(obtain_session(server, client));
    for (int i = 0; i < EXPIRED; i++) {
        int stays = is_cached(server, expired[i]);

        left += stays;
        CHECK_INT(SSL_SESSION_is_resumable(expired[i]), stays);
        SSL_SESSION_free(expired[i]);
    }
    CHECK(is_cached(server, good) && is_cached(server, prolonged));
    CHECK_INT(recorder.remove_calls, EXPIRED - left);
    CHECK_INT(SSL_CTX_sess_number(server), 2 + HANDSHAKES + left);
    CHECK_INT(SSL_CTX_sess_timeouts(server), 0);
    if (mode == no_auto_clear)
        CHECK_INT(left, EXPIRED);
    report("expired left", left);
    SSL_SESSION_free(prolonged);
    SSL_SESSION_free(good);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        expired_on_lookup(p);
        expired_from_get_cb(p, no_auto_clear);
        expired_from_get_cb(p, no_auto_clear | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
            changed_while_cached(p, &changes[i]);
        flushed_twice(p);
        changed_in_two(p);
        without_end(p, "INT_MAX", INT_MAX);
        without_end(p, "200 years", 200L * 365 * 24 * 3600);
        without_end(p, "LONG_MAX", LONG_MAX);
        set_in_new_cb(p);
        automatic(p, SSL_SESS_CACHE_SERVER);
        automatic(p, no_auto_clear);
    }
    return test_end();
}
