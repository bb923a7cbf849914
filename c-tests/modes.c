/*
 * Clauses 8 and 11: every cache mode, with the internal cache, an external one and both, and what a
 * returning client gets from it; the defaults, and that mode and size read back as they were set.
 */
#include "harness.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

enum { CONNECTIONS_TO_AUTO_CLEAR = 256 };

static const struct {
    const char *name;
    long mode;
} modes[] = {
    { "off", SSL_SESS_CACHE_OFF },
    { "client", SSL_SESS_CACHE_CLIENT },
    { "server", SSL_SESS_CACHE_SERVER },
    { "both", SSL_SESS_CACHE_BOTH },
    { "no_auto_clear", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR },
    { "no_internal_lookup", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP },
    { "no_internal_store", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE },
    { "no_internal", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL },
    { "update_time", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME },
    { "stunnel's", SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL_STORE },
    { "off with no_internal", SSL_SESS_CACHE_OFF | SSL_SESS_CACHE_NO_INTERNAL },
    { "off with 380", SSL_SESS_CACHE_OFF | 0x380 },
};

/* One line: a full handshake, a return, and a return after the process has forgotten. */
static void one_mode(const struct protocol *p, const char *name, long mode, int external)
{
    struct store store = { .der = { NULL } };
    struct recorder recorder = { .external = external ? &store : NULL, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;
    char line[160];
    int first, gets_before, second;
    long number;

    section("%s %s %s", p->name, name, external ? "and external" : "internal");
    if (external)
        record(server, &recorder);
    SSL_CTX_set_session_cache_mode(server, mode);
    CHECK_INT(SSL_CTX_get_session_cache_mode(server), mode);
    session = obtain_session(server, client);
    number = SSL_CTX_sess_number(server);
    first = resumes(server, client, session);
    gets_before = recorder.get_calls;

    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    second = resumes(server, client, session);
    snprintf(line, sizeof(line),
        "number %ld, resumed %d, get_cb %d; after a flush resumed %d, get_cb %d; "
        "at the end number %ld, saved %d, new_cb %d",
        number, first, gets_before, second, recorder.get_calls, SSL_CTX_sess_number(server),
        store_count(&store), recorder.new_calls);
    report_text("gives", line);

    SSL_SESSION_free(session);
    store_clear(&store);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void defaults_and_getters(const struct protocol *p)
{
    static const long odd_modes[] = { 0x203, 0x301, 0x1000, 0x7fffffff };
    static const long sizes[] = { 1, 0, 12345678, INT_MAX };
    SSL_CTX *ctx = new_server(p);
    long previous = SSL_SESS_CACHE_SERVER;

    section("%s getters", p->name);
    CHECK_INT(SSL_CTX_get_session_cache_mode(ctx), SSL_SESS_CACHE_SERVER);
    for (size_t i = 0; i < sizeof(odd_modes) / sizeof(odd_modes[0]); i++) {
        CHECK_INT(SSL_CTX_set_session_cache_mode(ctx, odd_modes[i]), previous);
        CHECK_INT(SSL_CTX_get_session_cache_mode(ctx), odd_modes[i]);
        previous = odd_modes[i];
    }
    CHECK_INT(SSL_CTX_set_session_cache_mode(ctx, -1), previous);
    report("mode set to -1 reads", SSL_CTX_get_session_cache_mode(ctx));

    CHECK_INT(SSL_CTX_sess_get_cache_size(ctx), SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
    CHECK_INT(SSL_SESSION_CACHE_MAX_SIZE_DEFAULT, 20480);
    previous = SSL_SESSION_CACHE_MAX_SIZE_DEFAULT;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK_INT(SSL_CTX_sess_set_cache_size(ctx, sizes[i]), previous);
        CHECK_INT(SSL_CTX_sess_get_cache_size(ctx), sizes[i]);
        previous = sizes[i];
    }
    CHECK_INT(SSL_CTX_sess_set_cache_size(ctx, -1), 0);
    CHECK_INT(SSL_CTX_sess_get_cache_size(ctx), previous);
    SSL_CTX_free(ctx);
}

/* NO_INTERNAL_STORE is for the engine: what an application adds is stored whatever the mode. */
static void added_by_hand(const struct protocol *p)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        SSL_CTX *ctx = new_server(p);
        SSL_SESSION *session = make_session(ctx, p->version, 1);

        section("%s added by hand, %s", p->name, modes[i].name);
        SSL_CTX_set_session_cache_mode(ctx, modes[i].mode);
        CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
        CHECK_INT(SSL_CTX_add_session(ctx, session), 0);
        CHECK_INT(SSL_CTX_sess_number(ctx), 1);
        CHECK(is_cached(ctx, session));
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
    }
}

/* UPDATE_TIME: the time of a session is that of its last addition to the cache. */
static void update_time(const struct protocol *p)
{
    const long long_ago = (long)time(NULL) - 100;
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = make_session(ctx, p->version, 1);
    SSL_SESSION *other = make_session(ctx, p->version, 2);

    section("%s update_time", p->name);
    SSL_SESSION_set_time(session, long_ago);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(SSL_SESSION_get_time(session), long_ago);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME);
    SSL_SESSION_set_time(other, long_ago);
    CHECK_INT(SSL_CTX_add_session(ctx, other), 1);
    CHECK(SSL_SESSION_get_time(other) >= long_ago + 100);
    /* Also when it is cached already: it lives on. */
    CHECK_INT(SSL_CTX_add_session(ctx, session), 0);
    CHECK(SSL_SESSION_get_time(session) >= long_ago + 100);
    SSL_CTX_flush_sessions(ctx, long_ago + 350);
    CHECK_INT(SSL_CTX_sess_number(ctx), 2);
    SSL_CTX_flush_sessions(ctx, long_ago + 800);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    SSL_SESSION_free(session);
    SSL_SESSION_free(other);
    SSL_CTX_free(ctx);
}

/* UPDATE_TIME by its manual: a session lives on when it is used. Stock does so when it is added. */
static void update_time_by_use(const struct protocol *p)
{
    const long a_while_ago = (long)time(NULL) - 100;
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *cached;

    section("%s update_time by use", p->name);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME);
    session = obtain_session(server, client);
    REQUIRE((cached = cached_on_server(server, session)) != NULL);
    SSL_SESSION_set_time(cached, a_while_ago);
    CHECK_INT(resumes(server, client, session), 1);
    report("updated", SSL_SESSION_get_time(cached) != a_while_ago);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Without NO_AUTO_CLEAR what has expired is gone after 256 connections at the latest. */
static void auto_clear(long mode, int is_cleared)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(&protocols[0]), *client = new_client(&protocols[0]);
    SSL_SESSION *expired = make_session(server, TLS1_2_VERSION, 1);
    SSL_SESSION *shortened = make_session(server, TLS1_2_VERSION, 2);
    SSL_SESSION *session;
    int resumptions = CONNECTIONS_TO_AUTO_CLEAR - 16;

    section("auto clear, mode %lx", mode);
    record(server, &recorder);
    SSL_CTX_sess_set_cache_size(server, 100);
    SSL_CTX_set_session_cache_mode(server, mode);
    SSL_SESSION_set_time(expired, (long)time(NULL) - 1000);
    CHECK_INT(SSL_CTX_add_session(server, expired), 1);
    CHECK_INT(SSL_CTX_add_session(server, shortened), 1);
    SSL_SESSION_set_time(shortened, (long)time(NULL) - 1000);
    session = obtain_session(server, client);

    /* Resumptions are cheap, but only full handshakes add to the cache. */
    for (int i = 0; i < resumptions; i++)
        CHECK_INT(resumes(server, client, session), 1);
    for (int i = resumptions; i < CONNECTIONS_TO_AUTO_CLEAR; i++)
        SSL_SESSION_free(obtain_session(server, client));
    CHECK_INT(is_cached(server, expired), !is_cleared);
    CHECK_INT(SSL_SESSION_is_resumable(expired), !is_cleared);
    /* Whether it notices that a session's end came nearer while it was cached. */
    report("shortened is cached", is_cached(server, shortened));
    SSL_CTX_flush_sessions(server, (long)time(NULL));
    CHECK(!is_cached(server, shortened) && !is_cached(server, expired));
    CHECK_INT(recorder.remove_calls, 2);
    CHECK(is_cached(server, cached_on_server(server, session)));
    SSL_SESSION_free(expired);
    SSL_SESSION_free(shortened);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        defaults_and_getters(p);
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
            one_mode(p, modes[i].name, modes[i].mode, 0);
            one_mode(p, modes[i].name, modes[i].mode, 1);
        }
        added_by_hand(p);
        update_time(p);
        update_time_by_use(p);
    }
    auto_clear(SSL_SESS_CACHE_SERVER, 1);
    auto_clear(SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR, 0);
    return test_end();
}
