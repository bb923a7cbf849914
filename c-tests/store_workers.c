/*
 * The host store: what one worker process negotiated, every other resumes, whatever the application
 * does with callbacks; and in which order a session is looked for. With a store that is inherited
 * and with one in a file (a second process of this test).
 */
#include "harness_store.h"

#include <string.h>

/* The ways of an application. */
struct use {
    const char *name;
    long mode;
    int has_callbacks;
    enum new_action action;
};

static const struct use uses[] = {
    { "no callbacks", SSL_SESS_CACHE_SERVER, 0, NEW_FREES },
    { "both sides", SSL_SESS_CACHE_BOTH, 0, NEW_FREES },
    { "returns 1", SSL_SESS_CACHE_SERVER, 1, NEW_FREES },
    { "returns 0", SSL_SESS_CACHE_SERVER, 1, NEW_DECLINES },
    { "no lookup", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, 0, NEW_FREES },
    { "no internal", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL, 1, NEW_FREES },
    { "no internal, 0", SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL, 1, NEW_DECLINES },
};

static const struct protocol *protocol;
static const struct use *used;
static struct recorder recorder;
static struct store external;

static long make_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    recorder = (struct recorder){ .new_action = used->action, .get_copy = -1 };
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    SSL_CTX_set_session_cache_mode(own_server, used->mode);
    if (used->has_callbacks)
        record(own_server, &recorder);
    return argument;
}

/* Workers made after the contexts, or before: then each makes its own. */
static void open_workers(struct worker *workers, int count, int contexts_first)
{
    (void)host_identity();
    if (contexts_first)
        make_contexts(0, NULL);
    for (int i = 0; i < count; i++) {
        workers[i] = fork_worker();
        if (!contexts_first)
            ask(&workers[i], make_contexts, 0, NULL);
    }
}

static void close_workers(struct worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

enum asked { NUMBER, HITS, MISSES, CB_HITS, NEW_CALLS, GET_CALLS, IS_CACHED };

static long look(long what, SSL_SESSION **session)
{
    switch ((enum asked)what) {
    case NUMBER:
        return SSL_CTX_sess_number(own_server);
    case HITS:
        return SSL_CTX_sess_hits(own_server);
    case MISSES:
        return SSL_CTX_sess_misses(own_server);
    case CB_HITS:
        return SSL_CTX_sess_cb_hits(own_server);
    case NEW_CALLS:
        return recorder.new_calls;
    case GET_CALLS:
        return recorder.get_calls;
    case IS_CACHED:
        return cached_on_server(own_server, *session) != NULL;
    }
    return -1;
}

/* Full in one, resumed in the others, in one that came later, and again. */
static void shared(int contexts_first)
{
    enum { FIRST, SECOND, LATE, WORKERS };
    struct worker workers[WORKERS];
    SSL_SESSION *session, *other;

    section("%s %s, contexts %s", protocol->name, used->name, contexts_first ? "first" : "later");
    open_workers(workers, LATE, contexts_first);
    session = obtain_in(&workers[FIRST]);
    CHECK_INT(resumes_in(&workers[SECOND], session), 1);
    CHECK_INT(resumes_in(&workers[FIRST], session), 1);
    CHECK_INT(resumes_in(&workers[SECOND], session), 1);
    workers[LATE] = fork_worker();
    if (!contexts_first)
        ask(&workers[LATE], make_contexts, 0, NULL);
    CHECK_INT(resumes_in(&workers[LATE], session), 1);
    /* And the other way round, from one that resumed. */
    other = obtain_in(&workers[LATE]);
    for (int i = 0; i < WORKERS; i++)
        CHECK_INT(resumes_in(&workers[i], other), 1);
    SSL_SESSION_free(other);
    if (protocol->version == TLS1_3_VERSION) {
        /* A session that a resumption made is as good. */
        other = renew_in(&workers[SECOND], session);
        CHECK_INT(resumes_in(&workers[FIRST], other), 1);
        CHECK_INT(resumes_in(&workers[LATE], other), 1);
        SSL_SESSION_free(other);
    }
    SSL_SESSION_free(session);
    close_workers(workers, WORKERS);
}

/* A hit is cached unless the application forbids that, and counted as one of get_cb's. */
static void looked_up(void)
{
    const int is_stored = (used->mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) == 0;
    const int is_looked_up = (used->mode & SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) == 0;
    const int in_process = is_stored && is_looked_up;
    const int tickets = protocol->version == TLS1_3_VERSION;
    struct worker workers[2], *b = &workers[1];
    SSL_SESSION *session;

    section("%s %s, looked up", protocol->name, used->name);
    open_workers(workers, 2, 1);
    session = obtain_in(&workers[0]);
    CHECK_INT(ask(b, look, IS_CACHED, session), 0);
    CHECK_INT(resumes_in(b, session), 1);
    CHECK_INT(ask(b, look, IS_CACHED, session), is_stored);
    CHECK_INT(ask(b, look, HITS, NULL), 1);
    CHECK_INT(ask(b, look, CB_HITS, NULL), 1);
    CHECK_INT(ask(b, look, MISSES, NULL), is_looked_up);
    /* The application's get_cb was asked before the store. */
    CHECK_INT(ask(b, look, GET_CALLS, NULL), used->has_callbacks);
    CHECK_INT(ask(b, look, NEW_CALLS, NULL), used->has_callbacks && tickets);
    CHECK_INT(resumes_in(b, session), 1);
    CHECK_INT(ask(b, look, HITS, NULL), 2);
    CHECK_INT(ask(b, look, CB_HITS, NULL), in_process ? 1 : 2);
    CHECK_INT(ask(b, look, GET_CALLS, NULL), used->has_callbacks ? (in_process ? 1 : 2) : 0);
    SSL_SESSION_free(session);
    close_workers(workers, 2);
}

/* From here on get_cb has what new_cb saw; nothing is cached in the process. */
static long use_external(long argument, SSL_SESSION **session)
{
    (void)session;
    recorder.external = &external;
    return argument;
}

static long forget_external(long argument, SSL_SESSION **session)
{
    (void)session;
    store_clear(&external);
    return argument;
}

/* A session of get_cb is not looked for in the store; one that it lost is. */
static void get_cb_first(void)
{
    struct worker workers[1], *a = &workers[0];
    struct sesscache_stats before, after;
    SSL_SESSION *session;

    section("%s get_cb first", protocol->name);
    open_workers(workers, 1, 1);
    ask(a, use_external, 0, NULL);
    session = obtain_in(a);
    before = stats_of(own_server);
    CHECK_INT(resumes_in(a, session), 1);
    after = stats_of(own_server);
    CHECK_INT(ask(a, look, GET_CALLS, NULL), 1);
    CHECK_INT(after.hits, before.hits);
    CHECK_INT(after.misses, before.misses);
    ask(a, forget_external, 0, NULL);
    CHECK_INT(resumes_in(a, session), 1);
    CHECK_INT(ask(a, look, GET_CALLS, NULL), 2);
    CHECK_INT(ask(a, look, CB_HITS, NULL), 2);
    CHECK_INT(stats_of(own_server).hits, before.hits + 1);
    ask(a, forget_external, 0, NULL);
    SSL_SESSION_free(session);
    close_workers(workers, 1);
}

/* A session that no store has: its server asked for none, and then for one. */
static SSL_SESSION *obtain_unshared(void)
{
    SSL_SESSION *session;

    SSL_CTX_set_session_cache_mode(own_server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    session = obtain_here();
    SSL_CTX_set_session_cache_mode(own_server, used->mode);
    return session;
}

/* Every counter that a plain life of a session moves, in the sum of all processes. */
static void counted(void)
{
    const unsigned int tickets = protocol->version == TLS1_3_VERSION;
    enum { A, B, C, WORKERS };
    struct worker workers[WORKERS];
    struct sesscache_stats before, after;
    SSL_SESSION *session, *unshared;

    section("%s counted", protocol->name);
    open_workers(workers, WORKERS, 1);
#define CHECK_MOVED(counter, by) CHECK_INT(after.counter - before.counter, by)
    before = stats_of(own_server);
    CHECK(before.capacity > 0 && before.capacity <= 1 << 20);
    session = obtain_in(&workers[A]);
    after = stats_of(own_server);
    CHECK_MOVED(stores, 1);
    CHECK_MOVED(entries, 1);
    CHECK(after.bytes > before.bytes);
    CHECK_MOVED(hits, 0);
    CHECK_MOVED(misses, 0);
    CHECK_INT(resumes_in(&workers[B], session), 1);
    after = stats_of(own_server);
    CHECK_MOVED(hits, 1);
    CHECK_MOVED(stores, 1 + tickets);
    CHECK_MOVED(entries, 1 + tickets);
    /* From the processes themselves. */
    CHECK_INT(resumes_in(&workers[A], session), 1);
    CHECK_INT(resumes_in(&workers[B], session), 1);
    after = stats_of(own_server);
    CHECK_MOVED(hits, 1);
    CHECK_MOVED(misses, 0);
    CHECK_MOVED(removes, 0);

    before = after;
    CHECK_INT(remove_in(&workers[A], session), 1);
    after = stats_of(own_server);
    CHECK_MOVED(removes, 1);
    CHECK_INT(before.entries - after.entries, 1);
    CHECK_INT(resumes_in(&workers[B], session), 0);
    after = stats_of(own_server);
    CHECK_MOVED(tombstone_hits, 1);
    CHECK_INT(resumes_in(&workers[C], session), 0);
    after = stats_of(own_server);
    CHECK_MOVED(tombstone_hits, 2);
    CHECK_MOVED(hits, 0);
    CHECK_MOVED(misses, 0);
    CHECK_MOVED(refused_not_asked, 0);

    unshared = obtain_unshared();
    before = stats_of(own_server);
    CHECK_INT(resumes_in(&workers[C], unshared), 0);
    after = stats_of(own_server);
    CHECK_MOVED(misses, 1);
    CHECK_MOVED(hits, 0);
    SSL_SESSION_free(unshared);

    /* Nothing went wrong, nothing was refused. */
    CHECK_MOVED(takes, 0);
    CHECK_MOVED(expired, 0);
    CHECK_MOVED(oversize, 0);
    CHECK_MOVED(undecryptable, 0);
    CHECK_MOVED(mismatched, 0);
    CHECK_MOVED(busy, 0);
    CHECK_MOVED(resets, 0);
    CHECK_MOVED(refused_no_identity, 0);
    CHECK_MOVED(refused_verify_without_id_context, 0);
#undef CHECK_MOVED
    SSL_SESSION_free(session);
    close_workers(workers, WORKERS);
}

/* A program of another version passes another size: it gets what fits, and no more. */
static void part_of_stats(void)
{
    struct sesscache_stats stats;
    const size_t two = 2 * sizeof(stats.hits);
    SSL_CTX *server = new_host(&protocols[0]);

    section("part of the counters");
    memset(&stats, 0xa5, sizeof(stats));
    CHECK_INT(read_stats(server, &stats, two), 1);
    CHECK(stats.hits != 0xa5a5a5a5a5a5a5a5 && stats.misses != 0xa5a5a5a5a5a5a5a5);
    CHECK(stats.stores == 0xa5a5a5a5a5a5a5a5);
    CHECK_INT(read_stats(NULL, &stats, sizeof(stats)), 0);
    CHECK_INT(read_stats(server, NULL, sizeof(stats)), 0);
    SSL_CTX_free(server);
}

static void everything(void)
{
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        used = &uses[i];
        FOR_EACH_PROTOCOL(p) {
            protocol = p;
            shared(1);
            if (!is_under_valgrind())
                shared(0);
            looked_up();
        }
    }
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        used = &uses[6]; /* nothing in the process */
        get_cb_first();
        used = &uses[0];
        counted();
    }
    part_of_stats();
}

static const struct named_function functions[] = {
    NAMED(make_contexts), NAMED(look), NAMED(use_external), NAMED(forget_external),
    NAMED(everything), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    everything();
    write_keys("keys", 1, 1);
    RUN_AGAIN(everything, file_store("store"), key_file("keys"));
    return test_end();
}
