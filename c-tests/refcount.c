/*
 * Clauses 2, 3, 4 and 7: who holds which reference. new_cb that keeps, frees or declines its own;
 * get_cb that leaves *copy alone, sets it to 0 or to 1, with sessions that are taken and with
 * sessions that are refused. Nothing leaks, nothing is freed twice: the number of sessions alive is
 * checked at each step, and valgrind and asan see the rest.
 */
#include "harness.h"

#include <stdio.h>
#include <time.h>

/* Why libssl refuses what get_cb returns. */
enum refusal { TAKEN, NOT_RESUMABLE, OTHER_VERSION, OTHER_ID_CONTEXT, EXPIRED, REFUSALS };

static const char *const refusal_names[REFUSALS] = {
    "taken", "not resumable", "other version", "other id context", "expired",
};

static const char *const action_names[] = {
    [NEW_FREES] = "frees",
    [NEW_KEEPS] = "keeps",
    [NEW_DECLINES] = "declines",
};

/* NO_AUTO_CLEAR, or ours would clear away what has expired when it likes. */
#define SERVER_ONLY (SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR)

static const long store_modes[] = {
    SERVER_ONLY,
    SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP,
    SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL_STORE,
    SERVER_ONLY | SSL_SESS_CACHE_NO_INTERNAL,
};

static void spoil(SSL_CTX *ctx, SSL_SESSION *session, enum refusal refusal)
{
    switch (refusal) {
    case NOT_RESUMABLE:
        SSL_CTX_remove_session(ctx, session);
        CHECK_INT(SSL_SESSION_is_resumable(session), 0);
        break;
    case OTHER_VERSION:
        SSL_SESSION_set_protocol_version(session, TLS1_1_VERSION);
        break;
    case OTHER_ID_CONTEXT:
        SSL_SESSION_set1_id_context(session, (const unsigned char *)"else", 4);
        break;
    case EXPIRED:
        SSL_SESSION_set_time(session, (long)time(NULL) - 100000);
        break;
    case TAKEN:
    case REFUSALS:
        break;
    }
}

/* get_cb returns a session of the application's: copy is -1 (untouched), 0 or 1. */
static void get_copy(const struct protocol *p, long mode, enum refusal refusal, int copy)
{
    struct recorder recorder = { .new_action = NEW_KEEPS };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long before = sessions_alive();
    SSL_SESSION *offered, *owned;
    char line[120];

    section("%s mode %lx, %s, copy %d", p->name, mode, refusal_names[refusal], copy);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    record(server, &recorder);
    offered = obtain_session(server, client);
    owned = recorder.kept;
    recorder.kept = NULL;
    CHECK_INT(sessions_alive() - before, 2);
    spoil(server, owned, refusal);

    recorder = (struct recorder){ .get_result = owned, .get_copy = copy };
    SSL_CTX_set_session_cache_mode(server, mode);
    if (copy == 0)
        CHECK_INT(SSL_SESSION_up_ref(owned), 1);
    CHECK_INT(resumes(server, client, offered), refusal == TAKEN);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_INT(recorder.copy_on_entry, 1);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), refusal != NOT_RESUMABLE);
    snprintf(line, sizeof(line), "cached %d, number %ld, resumable %d, new_cb %d, remove_cb %d",
        is_cached(server, owned), SSL_CTX_sess_number(server), SSL_SESSION_is_resumable(owned),
        recorder.new_calls, recorder.remove_calls);
    report_text("leaves", line);

    /* A session that left the cache: only the application holds it now. */
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_CTX_flush_sessions(server, 0);
    /* Our SSL_CTX_sessions() keeps what it listed until it is called again: this empties it. */
    CHECK(!is_cached(server, owned));
    CHECK_INT(sessions_alive() - before, 2);
    SSL_SESSION_free(owned);
    CHECK_INT(sessions_alive() - before, 1);
    SSL_SESSION_free(offered);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), before);
}

/* The same object found again and again: in the cache since the first time. */
static void get_twice(const struct protocol *p)
{
    struct recorder recorder = { .new_action = NEW_KEEPS };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long before = sessions_alive();
    SSL_SESSION *offered, *owned;

    section("%s get_cb, then the cache", p->name);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    record(server, &recorder);
    offered = obtain_session(server, client);
    owned = recorder.kept;
    recorder = (struct recorder){ .get_result = owned, .get_copy = 0 };
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_SERVER);
    CHECK_INT(resumes(server, client, offered), 1);
    CHECK_INT(resumes(server, client, offered), 1);
    CHECK_INT(recorder.get_calls, 1);
    CHECK_PTR(cached_on_server(server, offered), owned);

    /* Asked again with the session in the cache, the cache does not take a second reference. */
    SSL_CTX_set_session_cache_mode(
        server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    recorder.get_copy = 1;
    SSL_SESSION_up_ref(owned);
    CHECK_INT(resumes(server, client, offered), 1);
    SSL_SESSION_free(owned);
    CHECK_INT(recorder.get_calls, 2);
    CHECK_PTR(cached_on_server(server, offered), owned);
    SSL_SESSION_free(offered);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive(), before);
}

/* new_cb's reference on the side given, in each of its three ways. */
static void new_reference(const struct protocol *p, enum new_action action, int at_client)
{
    struct recorder recorder = { .new_action = action, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_CTX *observed = at_client ? client : server;
    long before = sessions_alive();
    struct connection c;

    section("%s new_cb %s at the %s", p->name, action_names[action],
        at_client ? "client" : "server");
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    record(observed, &recorder);
    SSL_CTX_sess_set_remove_cb(observed, NULL);
    c = connect_offering(server, client, NULL);
    CHECK_INT(recorder.new_calls, 1);
    connection_close(&c);
    report("sessions alive", sessions_alive() - before);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(sessions_alive() - before, action == NEW_KEEPS);
    SSL_SESSION_free(recorder.kept);
    CHECK_INT(sessions_alive(), before);
}

/* A cached session outlives its cache in the hands of a connection, and the reverse. */
static void connection_outlives(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    long before = sessions_alive();
    struct connection c;

    section("%s connection outlives", p->name);
    c = connect_offering(server, client, NULL);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(sessions_alive() - before, 2);
    CHECK_INT(SSL_SESSION_get_protocol_version(SSL_get_session(c.server)), p->version);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(connection_exchange(&c), 1);
    connection_close(&c);
    CHECK_INT(sessions_alive(), before);
}

int main(void)
{
    sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        for (int refusal = 0; refusal < REFUSALS; refusal++)
            for (size_t i = 0; i < sizeof(store_modes) / sizeof(store_modes[0]); i++)
                for (int copy = -1; copy <= 1; copy++)
                    get_copy(p, store_modes[i], refusal, copy);
        get_twice(p);
        for (int action = NEW_FREES; action <= NEW_DECLINES; action++) {
            new_reference(p, action, 0);
            new_reference(p, action, 1);
        }
        connection_outlives(p);
    }
    return test_end();
}
