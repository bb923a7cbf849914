/*
 * An application flushes the sessions of its context that are not over, as one that has revoked a
 * client: none of them resumes from then on, in no process of the host, whether the process has it
 * cached or finds it in the store. Sessions that are made right after the flush resume everywhere. A
 * flush to a time spares what ends later, and one of another service spares all. A stateless ticket
 * resumes as on stock, since no flush reaches it.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TEN_YEARS = 10 * 365 * 86400 };

static int is_stored; /* there is a store that has meaning */

/* ---- what changes, and the flush ------------------------------------------------------------- */

static void demand_root(SSL_CTX *server) { trust(server, "root"); require_client(server); }
static void learn_revoked(SSL_CTX *server) { use_revoked(server, "after"); }
static void begin_to_ask(SSL_CTX *server) { trust(server, "root"); ask_client(server); }

static const struct change {
    const char *what;
    void (*before)(SSL_CTX *server);
    void (*change)(SSL_CTX *server);
    const char *client;
} changes[] = {
    { "revoked", demand_root, learn_revoked, "bad" },
    { "another is revoked", demand_root, learn_revoked, "good" },
    { "asks", change_nothing, begin_to_ask, "none" },
    { "requires", change_nothing, demand_root, "none" },
    { "asks, and the client has one now", change_nothing, begin_to_ask, "good" },
    { "nothing", demand_root, change_nothing, "good" },
    { "nothing, nobody asked", change_nothing, change_nothing, "none" },
};
enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

static void flush_all(SSL_CTX *server) { SSL_CTX_flush_sessions(server, 0); }
static void flush_ended(SSL_CTX *server) { SSL_CTX_flush_sessions(server, (long)time(NULL)); }

static void flush_until_later(SSL_CTX *server)
{
    SSL_CTX_flush_sessions(server, (long)time(NULL) + TEN_YEARS);
}

/* ---- in one process -------------------------------------------------------------------------- */

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);

    return finish_offering(&c, session, NULL);
}

static uint64_t met(const SSL_CTX *server)
{
    return is_stored ? stats_of(server).tombstone_hits : 0;
}

/* Offered twice: what the first offer leaves behind must not help the second. */
static void check_flushed(const struct way *way, SSL_CTX *server, SSL_CTX *client,
                          SSL_SESSION *session)
{
    uint64_t before = met(server);
    int full = offer(server, client, NULL);

    for (int i = 0; i < 2; i++) {
        int resumed = offer(server, client, session);

        if (way->by_ticket)
            CHECK_INT(resumed, 1);
        else
            CHECK(resumed != 1 && resumed == full);
    }
    if (is_stored && !way->by_ticket)
        CHECK_INT(met(server) - before, 2);
}

static void flush_after(const struct change *change, const struct way *way,
                        void (*flush)(SSL_CTX *))
{
    SSL_CTX *server = new_host_for(way), *client = new_client_for(way, change->client);
    SSL_SESSION *session;

    change->before(server);
    session = obtain_session(server, client);
    change->change(server);
    /* In use, it is the context's own until it is flushed. */
    CHECK_INT(offer(server, client, session), 1);
    flush_ended(server);
    CHECK_INT(offer(server, client, session), 1);
    flush(server);
    check_flushed(way, server, client, session);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void in_one_process(void)
{
    is_stored = overlaid() && variable_is("TEST_STORE", "1");
    for (int i = 0; i < CHANGES; i++)
        FOR_EACH_WAY(way) {
            section("%s, %s, at 0", changes[i].what, way->name);
            flush_after(&changes[i], way, flush_all);
            section("%s, %s, at a time in the future", changes[i].what, way->name);
            flush_after(&changes[i], way, flush_until_later);
        }
}

/* A server of this name, whose sessions live for so many seconds. */
static SSL_CTX *server_of(const struct identity *identity, long timeout)
{
    SSL_CTX *server = new_host(&protocols[0]);

    use_identity(server, identity);
    SSL_CTX_set_timeout(server, timeout);
    return server;
}

static int offer_again(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    empty_cache(server);
    return resumes(server, client, session);
}

static void spares_others(void)
{
    struct identity one = new_identity("one.example", TEN_YEARS);
    struct identity two = new_identity("two.example", TEN_YEARS);
    SSL_CTX *server = server_of(&one, 300), *late = server_of(&one, 2000);
    SSL_CTX *other = server_of(&two, 300), *client = new_client(&protocols[0]);
    SSL_SESSION *soon, *later, *theirs;

    section("others");
    soon = obtain_session(server, client);
    later = obtain_session(late, client);
    theirs = obtain_session(other, client);
    SSL_CTX_flush_sessions(server, (long)time(NULL) + 1000);
    CHECK_INT(offer_again(server, client, soon), 0);
    CHECK_INT(offer_again(late, client, soon), 0);
    CHECK_INT(offer_again(late, client, later), 1);
    CHECK_INT(offer_again(other, client, theirs), 1);
    /* One that reaches less far takes nothing back. */
    SSL_CTX_flush_sessions(server, (long)time(NULL) + 1);
    CHECK_INT(offer_again(late, client, soon), 0);
    CHECK_INT(offer_again(late, client, later), 1);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(offer_again(late, client, later), 0);
    CHECK_INT(offer_again(other, client, theirs), 1);
    SSL_SESSION_free(soon);
    SSL_SESSION_free(later);
    SSL_SESSION_free(theirs);
    SSL_CTX_free(server);
    SSL_CTX_free(late);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
    free_identity(&one);
    free_identity(&two);
}

/* A client that forgot nothing, at a server whose application does not know of the flush. */
static void get_cb_stays(void)
{
    struct recorder recorder = { .get_copy = 1 };
    SSL_CTX *server = new_host(&protocols[0]), *client = new_client(&protocols[0]);
    SSL_SESSION *session;

    section("what get_cb returns is the application's affair");
    session = obtain_session(server, client);
    recorder.get_result = SSL_SESSION_dup(cached_on_server(server, session));
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(resumes(server, client, session), 0);
    record(server, &recorder);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(recorder.get_result);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- in several processes -------------------------------------------------------------------- */

static long make_own(long argument, SSL_SESSION **session)
{
    const struct way *way = &ways[argument];

    (void)session;
    own_server = new_host_for(way);
    own_client = new_client_for(way, "none");
    return argument;
}

static long flush(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_flush_sessions(own_server, argument);
    return argument;
}

static long number_here(long argument, SSL_SESSION **session)
{
    (void)argument, (void)session;
    return SSL_CTX_sess_number(own_server);
}

/* One of the processes flushes. The others know it by the store alone. */
static void flush_in_one(const struct way *way, int is_forked, long until)
{
    enum { FLUSHES, HAS, HAS_NOT, WORKERS };
    struct worker workers[WORKERS];
    SSL_SESSION *session, *next;

    section("%s, %s, until %ld", way->name, is_forked ? "forked" : "started", until);
    if (is_forked)
        make_own(way - ways, NULL);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = is_forked ? fork_worker()
                               : start_worker((const char *const[]){ file_store("store"),
                                                                     key_file("keys"), NULL });
        if (!is_forked)
            (void)ask(&workers[i], make_own, way - ways, NULL);
    }
    session = obtain_in(&workers[FLUSHES]);
    CHECK_INT(resumes_in(&workers[HAS], session), way->by_ticket || is_stored);
    (void)ask(&workers[FLUSHES], flush, until, NULL);
    next = obtain_in(&workers[FLUSHES]);
    for (int i = 0; i < 2 * WORKERS; i++) {
        CHECK_INT(resumes_in(&workers[i % WORKERS], session), way->by_ticket);
        CHECK_INT(resumes_in(&workers[i % WORKERS], next), 1);
    }
    if (!way->by_ticket)
        CHECK(ask(&workers[HAS], number_here, 0, NULL) > 0);
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static void in_several_processes(void)
{
    is_stored = 1;
    FOR_EACH_WAY(way)
        for (int is_forked = 0; is_forked < 2; is_forked++) {
            flush_in_one(way, is_forked, 0);
            flush_in_one(way, is_forked, (long)time(NULL) + TEN_YEARS);
        }
}

static const struct named_function functions[] = {
    NAMED(in_one_process), NAMED(in_several_processes), NAMED(spares_others), NAMED(get_cb_stays),
    NAMED(make_own), NAMED(flush), NAMED(number_here), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(in_one_process, file_store("store"), key_file("keys"), "TEST_STORE=1");
    RUN_AGAIN(in_one_process, "SESSCACHE_STORE=shm:?size=1MiB", "TEST_STORE=1");
    RUN_AGAIN(in_one_process, key_file("keys"));
    RUN_AGAIN(get_cb_stays, file_store("store"), key_file("keys"));
    if (!overlaid())
        return test_end();
    RUN_AGAIN(in_several_processes, file_store("store"), key_file("keys"));
    RUN_AGAIN(spares_others, file_store("store"), key_file("keys"));
    return test_end();
}
