/*
 * SSL_CTX_flush_sessions: which sessions leave at which time, one remove_cb for each with no lock
 * held (clauses 5 and 10, fact 12), and that they are marked not resumable (fact 7).
 */
#include "harness.h"

#include <dlfcn.h>
#include <limits.h>
#include <time.h>

static void add_with(
    SSL_CTX *ctx, const struct protocol *p, unsigned int number, long when, long timeout)
{
    SSL_SESSION *session = make_session(ctx, p->version, number);

    SSL_SESSION_set_time(session, when);
    SSL_SESSION_set_timeout(session, timeout);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    SSL_SESSION_free(session);
}

/* The deadlines of `flushed_at`, in seconds from now; the last lies beyond 32 bits of seconds. */
static const long deadlines[] = { 100, -200, 1000, 0, -100, 99, 1000000000, 5000000000 };
enum { DEADLINES = sizeof(deadlines) / sizeof(deadlines[0]), AGE = 10000 };

/* Sessions with a deadline before `at` go, and no others. */
static void flushed_at(const struct protocol *p, const char *name, long now, long at)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[DEADLINES];
    int gone = 0;

    section("%s at %s", p->name, name);
    record(ctx, &recorder);
    for (int i = 0; i < DEADLINES; i++) {
        sessions[i] = make_session(ctx, p->version, (unsigned int)i);
        SSL_SESSION_set_time(sessions[i], now - AGE);
        SSL_SESSION_set_timeout(sessions[i], AGE + deadlines[i]);
        CHECK_INT(SSL_CTX_add_session(ctx, sessions[i]), 1);
    }
    CHECK_INT(SSL_CTX_sess_number(ctx), DEADLINES);
    SSL_CTX_flush_sessions(ctx, at);
    for (int i = 0; i < DEADLINES; i++) {
        int expired = at == 0 || now + deadlines[i] < at;

        gone += expired;
        CHECK_INT(is_cached(ctx, sessions[i]), !expired);
        CHECK_INT(SSL_SESSION_is_resumable(sessions[i]), !expired);
        SSL_SESSION_free(sessions[i]);
    }
    CHECK_INT(SSL_CTX_sess_number(ctx), DEADLINES - gone);
    CHECK_INT(recorder.remove_calls, gone);
    CHECK(gone == 0 || recorder.last_ctx == ctx);
    report("gone", gone);
    SSL_CTX_flush_sessions(ctx, at);
    CHECK_INT(recorder.remove_calls, gone);
    SSL_CTX_free(ctx);
    CHECK_INT(recorder.remove_calls, DEADLINES);
}

static void flushed(const struct protocol *p)
{
    long now = (long)time(NULL);

    flushed_at(p, "0", now, 0);
    flushed_at(p, "1", now, 1);
    flushed_at(p, "past", now, now - 150);
    flushed_at(p, "now", now, now);
    flushed_at(p, "the second of a deadline", now, now + 100);
    flushed_at(p, "the second after", now, now + 101);
    flushed_at(p, "future", now, now + 1000000);
    flushed_at(p, "LONG_MAX", now, LONG_MAX);
}

/* A time before 1970 is before every deadline; OpenSSL 3.6 takes it for a far future. */
static void flushed_before_1970(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);

    section("%s at -1", p->name);
    add_with(ctx, p, 1, (long)time(NULL), 100);
    SSL_CTX_flush_sessions(ctx, -1);
    report("number", SSL_CTX_sess_number(ctx));
    SSL_CTX_free(ctx);
}

/* Many deadlines in no order, flushed in steps: each time exactly what has expired. */
static void in_steps(const struct protocol *p)
{
    enum { MANY = 400, SPAN = 100000, STEP = 9000 };
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    long now = (long)time(NULL), ends[MANY];
    unsigned int random = 12345;

    section("%s in steps", p->name);
    record(ctx, &recorder);
    for (unsigned int i = 0; i < MANY; i++) {
        random = random * 1103515245u + 12345u;
        ends[i] = now + (long)(random >> 8) % SPAN;
        add_with(ctx, p, i, now, ends[i] - now);
    }
    for (long at = now; at <= now + SPAN; at += STEP) {
        int left = 0;

        SSL_CTX_flush_sessions(ctx, at);
        for (int i = 0; i < MANY; i++)
            left += ends[i] >= at;
        CHECK_INT(SSL_CTX_sess_number(ctx), left);
        CHECK_INT(recorder.remove_calls, MANY - left);
    }
    SSL_CTX_flush_sessions(ctx, now + SPAN);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    SSL_CTX_free(ctx);
    CHECK_INT(recorder.remove_calls, MANY);
}

/* A remove_cb during a flush: its view of the cache. */
struct seen {
    const struct protocol *protocol;
    int calls, added;
};

static void looking_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct seen *seen = SSL_CTX_get_app_data(ctx);
    SSL_SESSION *other;

    CHECK_INT(SSL_SESSION_is_resumable(session), 0);
    CHECK_INT(is_cached(ctx, session), 0);
    if (seen->calls++ > 0)
        return;
    /* Stock holds the lock that this needs. */
    other = make_session(ctx, seen->protocol->version, 77);
    seen->added = SSL_CTX_add_session(ctx, other);
    SSL_SESSION_free(other);
}

static void in_callback(const struct protocol *p)
{
    struct seen seen = { .protocol = p };
    SSL_CTX *ctx = new_server(p);
    long now = (long)time(NULL);

    section("%s in remove_cb", p->name);
    SSL_CTX_set_app_data(ctx, &seen);
    SSL_CTX_sess_set_remove_cb(ctx, looking_remove_cb);
    for (unsigned int i = 0; i < 3; i++)
        add_with(ctx, p, i, now, 100);
    SSL_CTX_flush_sessions(ctx, now + 200);
    CHECK_INT(seen.calls, 3);
    report("could add a session", seen.added);
    report("number", SSL_CTX_sess_number(ctx));
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_flush_sessions(ctx, 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    SSL_CTX_free(ctx);
}

/* The session of a live connection: the connection goes on, and the session is no more. */
static void held_by_a_connection(const struct protocol *p, int at_client)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_CTX *observed = at_client ? client : server;
    SSL_SESSION *used, *offered;
    struct connection c;

    section("%s held by a %s", p->name, at_client ? "client" : "server");
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    record(observed, &recorder);
    c = connect_offering(server, client, NULL);
    used = SSL_get1_session(at_client ? c.client : c.server);
    offered = SSL_get1_session(c.client);
    CHECK(is_cached(observed, used));
    SSL_CTX_flush_sessions(observed, (long)time(NULL) - 10);
    CHECK(is_cached(observed, used));
    SSL_CTX_flush_sessions(observed, 0);
    CHECK(!is_cached(observed, used));
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(SSL_SESSION_is_resumable(used), 0);
    CHECK_INT(connection_exchange(&c), 1);
    connection_close(&c);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(SSL_CTX_sess_number(observed), 0);
    if (!at_client) {
        CHECK_INT(resumes(server, client, offered), 0);
        CHECK_INT(recorder.get_calls, 1);
        CHECK_INT(SSL_CTX_sess_number(server), 1);
    }
    SSL_SESSION_free(offered);
    SSL_SESSION_free(used);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* OpenSSL 3.4 and later; libsesscache has it for any. */
static void with_time_t(const struct protocol *p)
{
    void (*flush_ex)(SSL_CTX *, time_t);
    SSL_CTX *ctx = new_server(p);
    time_t now = time(NULL);

    section("%s flush_sessions_ex", p->name);
    *(void **)&flush_ex = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    report("exists", flush_ex != NULL);
    add_with(ctx, p, 1, (long)now, 100);
    add_with(ctx, p, 2, (long)now, 300);
    if (flush_ex != NULL) {
        flush_ex(ctx, now);
        CHECK_INT(SSL_CTX_sess_number(ctx), 2);
        flush_ex(ctx, now + 200);
        CHECK_INT(SSL_CTX_sess_number(ctx), 1);
        flush_ex(ctx, 0);
        CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    }
    SSL_CTX_free(ctx);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        flushed(p);
        flushed_before_1970(p);
        in_steps(p);
        in_callback(p);
        held_by_a_connection(p, 0);
        held_by_a_connection(p, 1);
        with_time_t(p);
    }
    return test_end();
}
