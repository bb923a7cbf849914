/*
 * A context with a store keeps few sessions as objects and packs the others, where the application cannot
 * tell. Packed sessions resume, expire, make room and are removed and flushed as any other. Each way in
 * which an application could tell one object from another keeps all of them.
 */
#include "clock.h"
#include "harness_store.h"

#include <pthread.h>
#include <time.h>
#include <openssl/lhash.h>

enum { LIVE = 2, MANY = 20 }; /* LIVE: SESSCACHE_LIVE_SESSIONS */

static const struct protocol *protocol;
static SSL_SESSION *sessions[MANY]; /* of the client */
static SSL_SESSION *held;           /* of the server: the first */

static void open_contexts(void)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
}

static uint64_t packed(void)
{
    return stats_of(own_server).packed;
}

static void obtain_many(int count)
{
    for (int i = 0; i < count; i++)
        sessions[i] = obtain_here();
}

/* All but the first. */
static void obtain_others(void)
{
    for (int i = 1; i < MANY; i++)
        sessions[i] = obtain_here();
}

static void close_contexts(int count)
{
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(sessions[i]);
    SSL_SESSION_free(held);
    held = NULL;
    free_own_contexts();
}

/* A session for the client; the test holds the server's object. */
static SSL_SESSION *obtain_and_hold(void)
{
    struct connection c = connect_offering(own_server, own_client, NULL);
    SSL_SESSION *session = SSL_get1_session(c.client);

    held = SSL_get1_session(c.server);
    connection_close(&c);
    return session;
}

/* They resume from this process's cache, not from the store. In TLS 1.3 one that was used is spent. */
static void rest(void)
{
    struct sesscache_stats before, after;

    section("%s rest", protocol->name);
    open_contexts();
    before = stats_of(own_server);
    obtain_many(MANY);
    after = stats_of(own_server);
    CHECK_INT(after.packed - before.packed, MANY - LIVE);
    CHECK_INT(after.kept_live, before.kept_live);
    CHECK_INT(SSL_CTX_sess_number(own_server), MANY);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < MANY; i++)
            CHECK_INT(resumes_here(sessions[i]), 1);
    CHECK_INT(stats_of(own_server).hits, before.hits);
    CHECK_INT(SSL_CTX_sess_cb_hits(own_server), 0);
    CHECK_INT(SSL_CTX_sess_misses(own_server), 0);
    CHECK(packed() > after.packed);
    if (protocol->version != TLS1_3_VERSION)
        CHECK_INT(SSL_CTX_sess_number(own_server), MANY);
    close_contexts(MANY);
}

static int accept_name(SSL *ssl, int *alert, void *argument)
{
    (void)ssl;
    (void)alert;
    (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

/* A session has its server name in it. Those of more names rest than shapes are known at a time. */
static void names(void)
{
    enum { NAMES = 270 };
    static SSL_SESSION *named[NAMES];
    static char name[NAMES][32];
    uint64_t before;

    section("%s names", protocol->name);
    open_contexts();
    SSL_CTX_set_tlsext_servername_callback(own_server, accept_name);
    before = packed();
    for (int i = 0; i < NAMES; i++) {
        snprintf(name[i], sizeof(name[i]), "host-%d.example", i);
        own_name = name[i];
        named[i] = obtain_here();
    }
    CHECK_INT(packed() - before, NAMES - LIVE);
    for (int i = 0; i < NAMES; i++) {
        struct connection c;

        own_name = name[i];
        c = connect_offering(own_server, own_client, named[i]);
        CHECK_INT(SSL_session_reused(c.server), 1);
        CHECK(strcmp(SSL_SESSION_get0_hostname(SSL_get0_session(c.server)), name[i]) == 0);
        connection_close(&c);
        SSL_SESSION_free(named[i]);
    }
    own_name = NULL;
    close_contexts(0);
}

/* The application removes one that rests: it resumes no more, here or from the store. */
static void removed(void)
{
    section("%s removed", protocol->name);
    open_contexts();
    sessions[0] = obtain_and_hold();
    obtain_others();
    CHECK_INT(SSL_CTX_remove_session(own_server, held), 1);
    CHECK_INT(SSL_CTX_remove_session(own_server, held), 0);
    CHECK_INT(SSL_CTX_sess_number(own_server), MANY - 1);
    CHECK_INT(resumes_here(sessions[0]), 0);
    CHECK_INT(resumes_here(sessions[1]), 1);
    close_contexts(MANY);
}

/* A flush knows the end of those that rest, and one with 0 leaves none. */
static void flushed(void)
{
    enum { SHORT = MANY / 2 };

    section("%s flushed", protocol->name);
    open_contexts();
    SSL_CTX_set_timeout(own_server, 100);
    obtain_many(SHORT);
    SSL_CTX_set_timeout(own_server, 1000);
    for (int i = SHORT; i < MANY; i++)
        sessions[i] = obtain_here();
    SSL_CTX_flush_sessions(own_server, (long)time(NULL) - 1);
    CHECK_INT(SSL_CTX_sess_number(own_server), MANY);
    SSL_CTX_flush_sessions(own_server, (long)time(NULL) + 500);
    CHECK_INT(SSL_CTX_sess_number(own_server), MANY - SHORT);
    CHECK_INT(resumes_here(sessions[0]), 0);
    CHECK_INT(resumes_here(sessions[SHORT]), 1);
    SSL_CTX_flush_sessions(own_server, 0);
    CHECK_INT(SSL_CTX_sess_number(own_server), 0);
    CHECK_INT(resumes_here(sessions[SHORT + 1]), 0);
    close_contexts(MANY);
}

/* The size of the cache counts all. Those that made room are in the store. */
static void evicted(void)
{
    enum { SIZE = 8 };

    section("%s evicted", protocol->name);
    open_contexts();
    SSL_CTX_sess_set_cache_size(own_server, SIZE);
    obtain_many(MANY);
    CHECK_INT(SSL_CTX_sess_number(own_server), SIZE);
    CHECK_INT(SSL_CTX_sess_cache_full(own_server), MANY - SIZE);
    for (int i = 0; i < MANY; i++)
        CHECK_INT(resumes_here(sessions[i]), 1);
    CHECK(SSL_CTX_sess_number(own_server) <= SIZE);
    close_contexts(MANY);
}

/* libssl removes the session of a connection that ends without a word. */
static void not_resumable(void)
{
    struct connection c;

    section("%s not resumable", protocol->name);
    open_contexts();
    obtain_many(MANY);
    c = connect_offering(own_server, own_client, sessions[0]);
    CHECK_INT(connection_resumed(&c), 1);
    connection_drop(&c);
    if (protocol->version != TLS1_3_VERSION)
        CHECK_INT(SSL_CTX_sess_number(own_server), MANY - 1);
    close_contexts(MANY);
}

/* One that came from the store goes when it is not hot any more, because the store has it. */
static long obtain_all(long argument, SSL_SESSION **session)
{
    (void)argument;
    *session = obtain_here();
    return 0;
}

static void fetched(void)
{
    struct worker other;

    section("%s fetched", protocol->name);
    open_contexts();
    other = fork_worker();
    for (int i = 0; i < MANY; i++)
        sessions[i] = ask_for_session(&other, obtain_all, 0);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < MANY; i++)
            CHECK_INT(resumes_here(sessions[i]), 1);
    if (protocol->version != TLS1_3_VERSION)
        CHECK_INT(SSL_CTX_sess_number(own_server), LIVE);
    end_worker(&other);
    close_contexts(MANY);
}

/* One that came from the store, whose end the application brings nearer: it resumes here until then. */
static void fetched_and_ended(void)
{
    struct worker other;
    struct connection c;

    section("%s fetched and ended", protocol->name);
    open_contexts();
    other = fork_worker();
    sessions[0] = ask_for_session(&other, obtain_all, 0);
    c = connect_offering(own_server, own_client, sessions[0]);
    CHECK_INT(connection_resumed(&c), 1);
    CHECK_INT(SSL_SESSION_set_timeout(SSL_get_session(c.server), 100), 1);
    connection_close(&c);
    obtain_others();
    CHECK_INT(resumes_here(sessions[0]), 1);
    CHECK_INT(resumes_in(&other, sessions[0]), 0);
    end_worker(&other);
    close_contexts(MANY);
}

static void set_clock_ahead(const char *seconds)
{
    CHECK_INT(setenv("TEST_CLOCK", seconds, 1), 0);
}

/* One that came from the store and lives longer by its use here. */
static void fetched_and_used(void)
{
    struct worker other;

    section("%s fetched and used", protocol->name);
    open_contexts();
    SSL_CTX_set_timeout(own_server, 300);
    SSL_CTX_set_session_cache_mode(own_server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_UPDATE_TIME);
    other = fork_worker();
    sessions[0] = ask_for_session(&other, obtain_all, 0);
    set_clock_ahead("200");
    CHECK_INT(resumes_here(sessions[0]), 1);
    obtain_others();
    set_clock_ahead("400");
    CHECK_INT(resumes_here(sessions[0]), 1);
    set_clock_ahead("0");
    end_worker(&other);
    close_contexts(MANY);
}

static int enlarging_new_cb(SSL *ssl, SSL_SESSION *session)
{
    static const unsigned char data[1200];

    (void)ssl;
    CHECK_INT(SSL_SESSION_set1_ticket_appdata(session, data, sizeof(data)), 1);
    return 0;
}

/* More than the store has room for, in a context of the process's own. */
static long fill_store(long count, SSL_SESSION **session)
{
    SSL_CTX *inherited = own_server;

    (void)session;
    own_server = new_host(protocol);
    SSL_CTX_sess_set_new_cb(own_server, enlarging_new_cb);
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(obtain_here());
    SSL_CTX_free(own_server);
    own_server = inherited;
    return count;
}

/* One that the store has forgotten, and whose end is brought nearer on a connection that is open still. */
static void forgotten_and_ended(void)
{
    struct worker other;
    struct connection c;

    section("%s forgotten and ended", protocol->name);
    open_contexts();
    other = fork_worker();
    c = connect_offering(own_server, own_client, NULL);
    sessions[0] = SSL_get1_session(c.client);
    obtain_others();
    CHECK_INT(ask(&other, fill_store, 1500, NULL), 1500);
    CHECK_INT(resumes_in(&other, sessions[0]), 0);
    CHECK_INT(SSL_SESSION_set_timeout(SSL_get_session(c.server), 100), 1);
    CHECK_INT(resumes_here(sessions[0]), 0);
    connection_close(&c);
    end_worker(&other);
    close_contexts(MANY);
}

/* The application adds one that rests: it is there, so it is no new one. */
static void added_again(void)
{
    section("%s added again", protocol->name);
    open_contexts();
    sessions[0] = obtain_and_hold();
    obtain_others();
    CHECK_INT(SSL_CTX_add_session(own_server, held), 0);
    CHECK_INT(SSL_CTX_sess_number(own_server), MANY);
    CHECK_INT(resumes_here(sessions[0]), 1);
    close_contexts(MANY);
}

/* OpenSSL leaves a time of 0 out of a session's encoding, and reads such a one as begun now: with its timeout
 * it would live too long. */
static void begun_at_0(void)
{
    section("%s begun at 0", protocol->name);
    open_contexts();
    sessions[0] = obtain_and_hold();
    CHECK_INT(SSL_SESSION_set_timeout(held, (long)time(NULL) + 10000), 1);
    SSL_SESSION_set_time(held, 0);
    obtain_others();
    CHECK_INT(resumes_here(sessions[0]), 1);
    set_clock_ahead("10001");
    CHECK_INT(resumes_here(sessions[0]), 0);
    set_clock_ahead("0");
    close_contexts(MANY);
}

/* What rests in a process rests in its children. */
static void forked(void)
{
    struct worker workers[2];

    section("%s forked", protocol->name);
    open_contexts();
    obtain_many(MANY);
    for (int i = 0; i < 2; i++)
        workers[i] = fork_worker();
    for (int i = 0; i < MANY; i++) {
        CHECK_INT(resumes_in(&workers[i % 2], sessions[i]), 1);
        CHECK_INT(resumes_here(sessions[i]), 1);
    }
    for (int i = 0; i < 2; i++)
        end_worker(&workers[i]);
    close_contexts(MANY);
}

/* A client's certificate stays with its chain, which could not be packed. */
static void with_certificates(void)
{
    struct sesscache_stats before, after;

    section("%s with certificates", protocol->name);
    open_contexts();
    use_client_certificate(own_server, own_client);
    before = stats_of(own_server);
    obtain_many(MANY);
    after = stats_of(own_server);
    CHECK_INT(after.packed, before.packed);
    CHECK_INT(after.kept_live - before.kept_live, MANY - LIVE);
    for (int i = 0; i < MANY; i++)
        CHECK_INT(resumes_here(sessions[i]), 1);
    close_contexts(MANY);
}

static int keeps_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(session);
    return 1;
}

static SSL_SESSION *gets_nothing(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

static long removals;
static struct session_id last_removed;

static void hears(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    removals++;
    last_removed = id_of(session);
}

static void has_new_cb(void)
{
    SSL_CTX_sess_set_new_cb(own_server, keeps_new);
}

static void has_get_cb(void)
{
    SSL_CTX_sess_set_get_cb(own_server, gets_nothing);
}

static void has_remove_cb(void)
{
    SSL_CTX_sess_set_remove_cb(own_server, hears);
}

static void adds(void)
{
    SSL_SESSION *added = make_session(own_server, protocol->version, 1);

    CHECK_INT(SSL_CTX_add_session(own_server, added), 1);
    SSL_SESSION_free(added);
}

static void lists(void)
{
    CHECK(SSL_CTX_sessions(own_server) != NULL);
}

static void takes_index(void)
{
    CHECK(SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
}

static void sets_app_data(void)
{
    SSL_SESSION *session = make_session(own_server, protocol->version, 2);

    CHECK_INT(SSL_SESSION_set_app_data(session, &session), 1);
    SSL_SESSION_free(session);
}

/* Of those that are obtained after `tell`, none is packed, and a client gets the very object. */
static void stays_live(const char *name, void (*tell)(void))
{
    struct connection c;
    uint64_t before;

    section("%s %s", protocol->name, name);
    open_contexts();
    tell();
    before = packed();
    sessions[0] = obtain_and_hold();
    obtain_others();
    CHECK_INT(packed(), before);
    if (protocol->version != TLS1_3_VERSION) {
        c = connect_offering(own_server, own_client, sessions[0]);
        CHECK_INT(connection_resumed(&c), 1);
        CHECK_PTR(SSL_get_session(c.server), held);
        connection_close(&c);
    }
    close_contexts(MANY);
}

/* The application may tell from now on: all are live, those that rested, too. */
static void wake(const char *name, void (*tell)(void))
{
    const long count = MANY;
    uint64_t before;

    section("%s woken by %s", protocol->name, name);
    open_contexts();
    sessions[0] = obtain_and_hold();
    obtain_others();
    tell();
    before = packed();
    CHECK_INT(OPENSSL_LH_num_items((OPENSSL_LHASH *)SSL_CTX_sessions(own_server)), count);
    for (int i = 0; i < MANY; i++)
        CHECK_INT(resumes_here(sessions[i]), 1);
    CHECK_INT(packed(), before);
    removals = 0;
    SSL_CTX_sess_set_remove_cb(own_server, hears);
    if (protocol->version != TLS1_3_VERSION) {
        struct session_id id = id_of(held);

        CHECK_INT(SSL_CTX_remove_session(own_server, held), 1);
        CHECK(same_id(&last_removed, &id));
        SSL_CTX_flush_sessions(own_server, 0);
        CHECK_INT(removals, count);
    }
    close_contexts(MANY);
}

/* remove_cb hears of each that rested before it was set. */
static void heard_late(void)
{
    section("%s heard late", protocol->name);
    open_contexts();
    obtain_many(MANY);
    removals = 0;
    SSL_CTX_sess_set_remove_cb(own_server, hears);
    SSL_CTX_sess_set_cache_size(own_server, MANY);
    SSL_SESSION_free(obtain_here());
    CHECK_INT(removals, 1);
    SSL_CTX_flush_sessions(own_server, 0);
    CHECK_INT(removals, MANY + 1);
    SSL_CTX_sess_set_remove_cb(own_server, NULL);
    close_contexts(MANY);
}

/* Several threads wake and pack the same sessions. */
static void *offers(void *argument)
{
    enum { ROUNDS = 5 };
    SSL_CTX *client = new_client(protocol);

    (void)argument;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < MANY; i++) {
            SSL_SESSION *copy = SSL_SESSION_dup(sessions[i]);

            CHECK_INT(resumes(own_server, client, copy), 1);
            SSL_SESSION_free(copy);
        }
    SSL_CTX_free(client);
    return NULL;
}

static void threads(void)
{
    pthread_t running[3];

    section("%s threads", protocol->name);
    open_contexts();
    obtain_many(MANY);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&running[i], NULL, offers, NULL) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(running[i], NULL);
    close_contexts(MANY);
}

static void in_a_process(void)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        rest();
        removed();
        evicted();
        not_resumable();
        fetched();
        if (protocol->version != TLS1_3_VERSION) {
            fetched_and_ended();
            fetched_and_used();
            begun_at_0();
        }
        forked();
        added_again();
        with_certificates();
        stays_live("new_cb", has_new_cb);
        stays_live("get_cb", has_get_cb);
        stays_live("remove_cb", has_remove_cb);
        stays_live("SSL_CTX_add_session", adds);
        stays_live("SSL_CTX_sessions", lists);
    }
    protocol = &protocols[0];
    names();
    forgotten_and_ended();
    threads();
}

/* After a flush a store's record is the proof that a session of that moment came later. */
static void with_flushes(void)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        flushed();
        wake("remove_cb", has_remove_cb);
        wake("SSL_CTX_sessions", lists);
        heard_late();
    }
}

/* These are of the process, and not of a context. */
static void an_index(void)
{
    protocol = &protocols[0];
    stays_live("an index", takes_index);
}

static void app_data(void)
{
    protocol = &protocols[0];
    stays_live("app data", sets_app_data);
}

static void nothing(void)
{
}

static void all(void)
{
    protocol = &protocols[0];
    stays_live("all", nothing);
}

static const struct named_function functions[] = {
    NAMED(in_a_process), NAMED(with_flushes), NAMED(an_index), NAMED(app_data), NAMED(all),
    NAMED(obtain_all), NAMED(fill_store),
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    const char *store = "SESSCACHE_STORE=shm:?size=1MiB";

    begin(argc, argv, functions);
    (void)host_identity();
    RUN_AGAIN(in_a_process, store, "SESSCACHE_LIVE_SESSIONS=2");
    RUN_AGAIN(with_flushes, store, "SESSCACHE_LIVE_SESSIONS=2");
    RUN_AGAIN(an_index, store, "SESSCACHE_LIVE_SESSIONS=2", "SESSCACHE_EX_DATA=share");
    RUN_AGAIN(app_data, store, "SESSCACHE_LIVE_SESSIONS=2");
    RUN_AGAIN(all, store, "SESSCACHE_LIVE_SESSIONS=all");
    return test_end();
}
