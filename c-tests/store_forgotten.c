/*
 * The host store is of a fixed size and forgets what nobody comes back for. What it forgot still resumes
 * from a process that has it, and nowhere else; what was removed stays removed, however much came after
 * it; a session that is too large is not stored.
 */
#include "harness_store.h"

#include <string.h>

/* A session takes a 64th of the store at most. */
enum { LARGE = 8000, NEARLY_TOO_LARGE = 15500, TOO_LARGE = 17000, USUAL = 1200, MANY = 1500 };

static const struct protocol *protocol;
static int data_length; /* what new_cb adds to a session */

/* Makes the session as large as wanted, as an application may. */
static int enlarging_new_cb(SSL *ssl, SSL_SESSION *session)
{
    static unsigned char data[TOO_LARGE];

    (void)ssl;
    memset(data, 0x5c, sizeof(data));
    if (data_length > 0)
        CHECK_INT(SSL_SESSION_set1_ticket_appdata(session, data, (size_t)data_length), 1);
    return 0;
}

static void open_contexts(void)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    SSL_CTX_sess_set_new_cb(own_server, enlarging_new_cb);
}

static long obtain_large(long length, SSL_SESSION **session)
{
    data_length = (int)length;
    *session = obtain_here();
    data_length = 0;
    return length;
}

/* More than the store has room for. */
static long fill(long count, SSL_SESSION **session)
{
    (void)session;
    data_length = USUAL;
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(obtain_here());
    data_length = 0;
    return count;
}

/* Removals of sessions that nobody knows: they need a place in the store, too. */
static long remove_strangers(long count, SSL_SESSION **session)
{
    (void)session;
    for (unsigned int i = 0; i < (unsigned int)count; i++) {
        SSL_SESSION *stranger = make_session(own_server, protocol->version, i);

        CHECK_INT(SSL_CTX_remove_session(own_server, stranger), 0);
        SSL_SESSION_free(stranger);
    }
    return count;
}

/* new_cb returns 1 here: it stays cached in the process that made it. */
static int keeping_new_cb(SSL *ssl, SSL_SESSION *session)
{
    enlarging_new_cb(ssl, session);
    SSL_SESSION_free(session);
    return 1;
}

static void forgotten(void)
{
    enum { MADE, HAS, HAS_NOT, FILLS, WORKERS };
    struct worker workers[WORKERS];
    SSL_SESSION *session, *removed;
    struct sesscache_stats stats;

    section("%s forgotten", protocol->name);
    open_contexts();
    SSL_CTX_sess_set_new_cb(own_server, keeping_new_cb);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    session = obtain_in(&workers[MADE]);
    removed = obtain_in(&workers[MADE]);
    CHECK_INT(resumes_in(&workers[HAS], session), 1);
    CHECK_INT(resumes_in(&workers[HAS], removed), 1);
    CHECK_INT(remove_in(&workers[MADE], removed), 1);

    ask(&workers[FILLS], fill, MANY, NULL);
    stats = stats_of(own_server);
    CHECK(stats.evicted > 0);
    CHECK(stats.bytes <= stats.capacity);
    note("%s: %ld evicted, %ld entries, %ld bytes of %ld", protocol->name, (long)stats.evicted,
        (long)stats.entries, (long)stats.bytes, (long)stats.capacity);
    CHECK_INT(resumes_in(&workers[HAS_NOT], session), 0);
    CHECK_INT(resumes_in(&workers[MADE], session), 1);
    CHECK_INT(resumes_in(&workers[HAS], session), 1);
    /* The removal is not forgotten. */
    CHECK_INT(resumes_in(&workers[HAS], removed), 0);
    SSL_SESSION_free(session);
    SSL_SESSION_free(removed);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

/* So many removals that not all can have a place: those that count are still respected. */
static void many_removals(void)
{
    enum { REMOVES, HAS, WORKERS, MANY_REMOVALS = 50000 };
    struct worker workers[WORKERS];
    SSL_SESSION *removed;
    struct sesscache_stats stats;

    section("%s many removals", protocol->name);
    open_contexts();
    SSL_CTX_sess_set_new_cb(own_server, NULL);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    removed = obtain_in(&workers[REMOVES]);
    CHECK_INT(resumes_in(&workers[HAS], removed), 1);
    CHECK_INT(remove_in(&workers[REMOVES], removed), 1);
    ask(&workers[REMOVES], remove_strangers, is_under_valgrind() ? MANY_REMOVALS / 5 : MANY_REMOVALS, NULL);
    CHECK_INT(resumes_in(&workers[HAS], removed), 0);
    stats = stats_of(own_server);
    note("%s: %ld entries, %ld bytes of %ld", protocol->name, (long)stats.entries,
        (long)stats.bytes, (long)stats.capacity);
    SSL_SESSION_free(removed);
    /* And the store goes on. */
    removed = obtain_in(&workers[REMOVES]);
    CHECK_INT(resumes_in(&workers[HAS], removed), 1);
    SSL_SESSION_free(removed);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static void large(long length, int is_stored)
{
    struct worker workers[2];
    struct sesscache_stats before, after;
    SSL_SESSION *session;

    section("%s of %ld bytes", protocol->name, length);
    open_contexts();
    for (int i = 0; i < 2; i++)
        workers[i] = fork_worker();
    before = stats_of(own_server);
    session = ask_for_session(&workers[0], obtain_large, length);
    after = stats_of(own_server);
    CHECK_INT(after.stores - before.stores, is_stored);
    CHECK_INT(after.oversize - before.oversize, !is_stored);
    CHECK_INT(resumes_in(&workers[1], session), is_stored);
    SSL_SESSION_free(session);
    for (int i = 0; i < 2; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static const struct named_function functions[] = {
    NAMED(obtain_large), NAMED(fill), NAMED(remove_strangers),
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        large(LARGE, 1);
        large(NEARLY_TOO_LARGE, 1);
        large(TOO_LARGE, 0);
        forgotten();
        many_removals();
    }
    return test_end();
}
