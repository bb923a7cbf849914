/*
 * An application that has revoked a client, or begun to ask for certificates, flushes the sessions
 * of its context in use, as on stock: none of them comes back out of the store for a client who
 * would not be let in now, in no process that has flushed. A client whose standing did not change may
 * resume from there. A stateless ticket resumes as on stock, since no flush reaches it.
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
    int is_gone; /* a full handshake would not let it in, or would ask it something */
} changes[] = {
    { "revoked", demand_root, learn_revoked, "bad", 1 },
    { "another is revoked", demand_root, learn_revoked, "good", 0 },
    { "asks", change_nothing, begin_to_ask, "none", 1 },
    { "requires", change_nothing, demand_root, "none", 1 },
    { "asks, and the client has one now", change_nothing, begin_to_ask, "good", 1 },
    { "nothing", demand_root, change_nothing, "good", 0 },
    { "nothing, nobody asked", change_nothing, change_nothing, "none", 0 },
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

static uint64_t declined(const SSL_CTX *server)
{
    return is_stored ? stats_of(server).declined_client : 0;
}

/* Offered twice: what the first offer leaves behind must not help the second. */
static void check_flushed(const struct change *change, const struct way *way, SSL_CTX *server,
                          SSL_CTX *client, SSL_SESSION *session)
{
    uint64_t before = declined(server);
    int full = offer(server, client, NULL);

    for (int i = 0; i < 2; i++) {
        int resumed = offer(server, client, session);

        if (way->by_ticket)
            CHECK_INT(resumed, 1);
        else if (!change->is_gone)
            CHECK_INT(resumed, is_stored);
        else
            CHECK(resumed != 1 && resumed == full);
    }
    if (is_stored && change->is_gone && !way->by_ticket)
        CHECK(declined(server) >= before + 2);
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
    check_flushed(change, way, server, client, session);
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

/* ---- in several processes -------------------------------------------------------------------- */

/* The context has asked for certificates all along. */
static long revoke_and_flush(long argument, SSL_SESSION **session)
{
    (void)session;
    use_revoked(own_server, "after");
    SSL_CTX_flush_sessions(own_server, 0);
    return argument;
}

static void flush_in_all(const struct way *way, const char *who, int is_gone)
{
    struct worker maker, other;
    SSL_SESSION *session;

    section("forked, %s, client %s", way->name, who);
    own_server = new_host_for(way);
    own_client = new_client_for(way, who);
    demand_root(own_server);
    maker = fork_worker();
    other = fork_worker();
    session = obtain_in(&maker);
    (void)ask(&maker, revoke_and_flush, 0, NULL);
    (void)ask(&other, revoke_and_flush, 0, NULL);
    if (way->by_ticket) {
        CHECK_INT(resumes_in(&other, session), 1);
        CHECK_INT(resumes_in(&maker, session), 1);
    } else {
        CHECK_INT(resumes_in(&other, session), is_gone ? -1 : is_stored);
        CHECK_INT(resumes_in(&maker, session), is_gone ? -1 : is_stored);
    }
    SSL_SESSION_free(session);
    if (!is_gone && is_stored) {
        /* They share on what they make from then on. */
        session = obtain_in(&maker);
        CHECK_INT(resumes_in(&other, session), 1);
        SSL_SESSION_free(session);
    }
    end_worker(&maker);
    end_worker(&other);
    free_own_contexts();
}

static void in_several_processes(void)
{
    is_stored = overlaid() && variable_is("TEST_STORE", "1");
    FOR_EACH_WAY(way) {
        flush_in_all(way, "bad", 1);
        flush_in_all(way, "good", 0);
    }
}

static const struct named_function functions[] = {
    NAMED(in_one_process), NAMED(in_several_processes), NAMED(revoke_and_flush), { NULL, NULL },
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
    RUN_AGAIN(in_several_processes, file_store("store"), key_file("keys"), "TEST_STORE=1");
    RUN_AGAIN(in_several_processes, key_file("keys"));
    return test_end();
}
