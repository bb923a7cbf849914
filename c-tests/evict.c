/*
 * Clauses 5 and 11, facts 7 and 13: a full cache. How many a limit of n holds (stock n - 1, ours
 * n), which session goes (stock the next to expire, ours one that nobody comes back for), that it gets
 * its remove_cb, whether it is marked not resumable (stock yes, ours no), what size 0 and smaller
 * sizes do.
 */
#include "harness.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MADE = 8 };

/* A limit under which exactly n sessions are held, here as on stock. */
static void hold(SSL_CTX *ctx, long n)
{
    SSL_CTX_sess_set_cache_size(ctx, overlaid() ? n : n + 1);
}

static void add(SSL_CTX *ctx, SSL_SESSION *session)
{
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
}

/* Which of the sessions are cached, as their numbers. */
static void report_cached(const char *name, SSL_CTX *ctx, SSL_SESSION *const *sessions)
{
    char text[4 * MADE] = "";

    for (int i = 0; i < MADE; i++)
        if (sessions[i] != NULL && is_cached(ctx, sessions[i]))
            sprintf(text + strlen(text), "%s%d", *text != '\0' ? " " : "", i);
    report_text(name, text);
}

static void make_all(SSL_CTX *ctx, int version, SSL_SESSION **sessions)
{
    for (unsigned int i = 0; i < MADE; i++)
        sessions[i] = make_session(ctx, version, i);
}

static void free_all(SSL_SESSION **sessions)
{
    for (int i = 0; i < MADE; i++)
        SSL_SESSION_free(sessions[i]);
}

/* The number a limit holds, for each limit, and the counter of what was pushed out. */
static void limits(const struct protocol *p)
{
    for (int limit = 0; limit <= 4; limit++) {
        struct recorder recorder = { .get_copy = -1 };
        SSL_CTX *ctx = new_server(p);
        SSL_SESSION *sessions[MADE];

        section("%s limit %d", p->name, limit);
        record(ctx, &recorder);
        SSL_CTX_sess_set_cache_size(ctx, limit);
        make_all(ctx, p->version, sessions);
        for (int i = 0; i < MADE; i++) {
            add(ctx, sessions[i]);
            CHECK(is_cached(ctx, sessions[i]));
            CHECK(limit == 0 || SSL_CTX_sess_number(ctx) <= limit);
        }
        report("holds", SSL_CTX_sess_number(ctx));
        CHECK_INT(recorder.remove_calls, MADE - SSL_CTX_sess_number(ctx));
        CHECK_INT(SSL_CTX_sess_cache_full(ctx), MADE - SSL_CTX_sess_number(ctx));
        free_all(sessions);
        SSL_CTX_free(ctx);
        CHECK_INT(recorder.remove_calls, MADE);
    }
}

/* The session that goes: what happens to it. */
static void evicted(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[MADE];
    struct session_id first = made_id(0);

    section("%s evicted", p->name);
    record(ctx, &recorder);
    make_all(ctx, p->version, sessions);
    hold(ctx, 2);
    add(ctx, sessions[0]);
    add(ctx, sessions[1]);
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(SSL_CTX_sess_cache_full(ctx), 0);
    add(ctx, sessions[2]);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK(same_id(&recorder.last_removed, &first));
    CHECK_PTR(recorder.last_ctx, ctx);
    CHECK_INT(SSL_CTX_sess_cache_full(ctx), 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 2);
    report_cached("cached", ctx, sessions);
    report("is resumable", SSL_SESSION_is_resumable(sessions[0]));
    /* A session that is cached already takes no second place and evicts none. */
    CHECK_INT(SSL_CTX_add_session(ctx, sessions[2]), 0);
    CHECK_INT(SSL_CTX_add_session(ctx, sessions[1]), 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 2);
    CHECK_INT(recorder.remove_calls, 1);
    free_all(sessions);
    SSL_CTX_free(ctx);
}

/* The victim: stock asks who expires next, ours who came back. */
static void victim_by_timeout(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[MADE];

    section("%s short timeout added last", p->name);
    make_all(ctx, p->version, sessions);
    hold(ctx, 3);
    SSL_SESSION_set_timeout(sessions[2], 10);
    for (int i = 0; i < 4; i++)
        add(ctx, sessions[i]);
    report_cached("cached", ctx, sessions);
    free_all(sessions);
    SSL_CTX_free(ctx);
}

/* A resumption is a use. (In TLS 1.3 it makes a session of its own, and the used ticket goes.) */
static void victim_by_use(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *sessions[3];
    int used_is_cached, unused_is_cached;

    section("%s used", p->name);
    hold(server, p->version == TLS1_3_VERSION ? 4 : 3);
    for (int i = 0; i < 3; i++) {
        SSL_SESSION *cached;

        sessions[i] = obtain_session(server, client);
        /* So that on stock the order of expiry is that of age. */
        REQUIRE((cached = cached_on_server(server, sessions[i])) != NULL);
        SSL_SESSION_set_time(cached, (long)time(NULL) - 10 + i);
    }
    CHECK_INT(resumes(server, client, sessions[0]), 1);
    SSL_SESSION_free(obtain_session(server, client));
    used_is_cached = cached_on_server(server, sessions[0]) != NULL;
    unused_is_cached = cached_on_server(server, sessions[1]) != NULL;
    report("used is cached", used_is_cached);
    report("unused is cached", unused_is_cached);
    CHECK_INT(used_is_cached + unused_is_cached, 1);
    CHECK(cached_on_server(server, sessions[2]) != NULL);
    for (int i = 0; i < 3; i++)
        SSL_SESSION_free(sessions[i]);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

enum { PLACES = 40, OTHERS = 20, VISITS = 100 };

/* A connection that offers the session, which is given up. Returns the client's newest one. */
static SSL_SESSION *visit(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offered, int resumes)
{
    struct connection c = connect_offering(server, client, offered);
    SSL_SESSION *newest;

    CHECK_INT(SSL_session_reused(c.server), resumes);
    CHECK_INT(connection_exchange(&c), 1);
    newest = SSL_get1_session(c.client);
    connection_close(&c);
    SSL_SESSION_free(offered);
    return newest;
}

static void strangers(SSL_CTX *server, int version, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        SSL_SESSION *session = make_session(server, version, i);

        /* On stock they are not the next to go then. */
        SSL_SESSION_set_timeout(session, 10 * SSL_CTX_get_timeout(server));
        add(server, session);
        SSL_SESSION_free(session);
    }
}

/* One client resumes again and again: in TLS 1.3 its used tickets make room, and nobody else. */
static void busy_client(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *others[OTHERS], *busy;
    int cached = 0;

    section("%s busy client", p->name);
    hold(server, PLACES);
    for (int i = 0; i < OTHERS; i++)
        others[i] = visit(server, client, NULL, 0);
    busy = visit(server, client, NULL, 0);
    for (int i = 0; i < VISITS; i++)
        busy = visit(server, client, busy, 1);
    for (int i = 0; i < OTHERS; i++) {
        cached += cached_on_server(server, others[i]) != NULL;
        SSL_SESSION_free(others[i]);
    }
    report("others are cached", cached);
    SSL_SESSION_free(busy);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A client that has come back once stays, though many strangers come. */
static void regular(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s regular", p->name);
    hold(server, PLACES);
    session = visit(server, client, visit(server, client, NULL, 0), 1);
    strangers(server, p->version, VISITS);
    report("is cached", cached_on_server(server, session) != NULL);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* So does one that came back too late, with the session that it got then. */
static void too_late(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s too late", p->name);
    hold(server, PLACES);
    session = visit(server, client, NULL, 0);
    /* Just enough that it has to go: its trace is not crowded out. */
    strangers(server, p->version, PLACES);
    CHECK(cached_on_server(server, session) == NULL);
    session = visit(server, client, session, 0);
    strangers(server, p->version, VISITS);
    report("is cached", cached_on_server(server, session) != NULL);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* openssl#18690: the session of a live connection is pushed out; the connection must not suffer. */
static void held_by_a_connection(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *other = make_session(server, p->version, 1);
    SSL_SESSION *used, *offered;
    struct connection c;

    section("%s held by a connection", p->name);
    record(server, &recorder);
    hold(server, 1);
    c = connect_offering(server, client, NULL);
    used = SSL_get1_session(c.server);
    offered = SSL_get1_session(c.client);
    add(server, other);
    CHECK(!is_cached(server, used));
    CHECK_INT(recorder.remove_calls, 1);
    report("is resumable", SSL_SESSION_is_resumable(used));
    CHECK_INT(connection_exchange(&c), 1);
    connection_close(&c);
    CHECK_INT(recorder.remove_calls, 1);
    /* Put back by the application (as from an external cache), it resumes only if not marked. */
    add(server, used);
    report("resumes when put back", resumes(server, client, offered));
    SSL_SESSION_free(offered);
    SSL_SESSION_free(used);
    SSL_SESSION_free(other);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A size that is lowered counts from the next addition on, which itself must not be the victim. */
static void lowered(const struct protocol *p, long size)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[MADE];

    section("%s lowered from %ld", p->name, size);
    record(ctx, &recorder);
    SSL_CTX_sess_set_cache_size(ctx, size);
    make_all(ctx, p->version, sessions);
    for (int i = 0; i < 6; i++)
        add(ctx, sessions[i]);
    hold(ctx, 2);
    report("number before the next addition", SSL_CTX_sess_number(ctx));
    add(ctx, sessions[6]);
    CHECK_INT(SSL_CTX_sess_number(ctx), 2);
    CHECK_INT(recorder.remove_calls, 5);
    CHECK_INT(SSL_CTX_sess_cache_full(ctx), 5);
    CHECK(is_cached(ctx, sessions[6]));
    /* A cache that was large before has many shards with us, and an order in each. */
    if (size < 100)
        report_cached("cached", ctx, sessions);
    SSL_CTX_sess_set_cache_size(ctx, 0);
    add(ctx, sessions[7]);
    CHECK_INT(SSL_CTX_sess_number(ctx), 3);
    free_all(sessions);
    SSL_CTX_free(ctx);
}

/* Size 0 has no limit: more than the default's 20480. */
static void unlimited(void)
{
    enum { MANY = 21000 };
    SSL_CTX *ctx = new_server(&protocols[0]);

    section("unlimited");
    SSL_CTX_sess_set_cache_size(ctx, 0);
    for (unsigned int i = 0; i < MANY; i++) {
        SSL_SESSION *session = make_session(ctx, TLS1_2_VERSION, i);

        add(ctx, session);
        SSL_SESSION_free(session);
    }
    CHECK_INT(SSL_CTX_sess_number(ctx), MANY);
    CHECK_INT(SSL_CTX_sess_cache_full(ctx), 0);
    SSL_CTX_free(ctx);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        limits(p);
        evicted(p);
        victim_by_timeout(p);
        victim_by_use(p);
        busy_client(p);
        regular(p);
        too_late(p);
        held_by_a_connection(p);
        lowered(p, 10);
        lowered(p, SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
    }
    unlimited();
    return test_end();
}
