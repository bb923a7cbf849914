/*
 * Events that remove a session from the host store, for all processes: the application's own
 * SSL_CTX_remove_session, and a fatal alert. A process that has it in its own cache does not resume
 * it any more, either. SESSCACHE_UNCLEAN_CLOSE=forget adds the unclean close (a second process of
 * this test). The other events are in store_kept.c.
 */
#include "harness_store.h"

#include <stdint.h>

static const struct protocol *protocol;
static struct recorder recorder; /* of this process */

static long make_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    recorder = (struct recorder){ .new_action = NEW_FREES, .get_copy = -1 };
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    record(own_server, &recorder);
    return argument;
}

/* ---- what the first worker does -------------------------------------------------------------- */

static long remove_cached(long argument, SSL_SESSION **session)
{
    SSL_SESSION *cached = cached_on_server(own_server, *session);

    CHECK(cached != NULL);
    CHECK_INT(SSL_CTX_remove_session(own_server, cached), 1);
    CHECK_INT(recorder.remove_calls, 1);
    return argument;
}

static long remove_here(long argument, SSL_SESSION **session)
{
    CHECK_INT(SSL_CTX_remove_session(own_server, cached_on_server(own_server, *session)), 1);
    return argument;
}

/* By its own times it is over, which those of its record are not. */
static long remove_outlived(long argument, SSL_SESSION **session)
{
    set_time_unseen(cached_on_server(own_server, *session), 1);
    return remove_cached(argument, session);
}

/* A worker that looks while it caches nothing is told as well. */
static long look_while_off(long argument, SSL_SESSION **session)
{
    long mode = SSL_CTX_set_session_cache_mode(own_server, SSL_SESS_CACHE_OFF);

    CHECK_INT(resumes(own_server, own_client, *session), argument);
    SSL_CTX_set_session_cache_mode(own_server, mode);
    return argument;
}

/* It is no longer in the process, but the application still has it. */
static long remove_copy(long argument, SSL_SESSION **session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(cached_on_server(own_server, *session));

    empty_cache(own_server);
    CHECK_INT(SSL_CTX_remove_session(own_server, copy), 0);
    SSL_SESSION_free(copy);
    return argument;
}

/* The application has what it serialised, as one with an external cache. */
static long remove_restored(long argument, SSL_SESSION **session)
{
    unsigned char *der = NULL;
    int length = i2d_SSL_SESSION(cached_on_server(own_server, *session), &der);
    const unsigned char *start = der;
    SSL_SESSION *restored;

    REQUIRE((restored = d2i_SSL_SESSION(NULL, &start, length)) != NULL);
    CHECK_INT(SSL_CTX_remove_session(own_server, restored), 1);
    SSL_SESSION_free(restored);
    OPENSSL_free(der);
    return argument;
}

static int refuse_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
    const unsigned char *in, unsigned int in_length, void *argument)
{
    (void)ssl, (void)out, (void)out_length, (void)in, (void)in_length, (void)argument;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The server ends a resumption with a fatal alert. */
static long alert_in_handshake(long argument, SSL_SESSION **session)
{
    static const unsigned char alpn[] = { 2, 'h', '2' };
    struct connection c = open_own(*session);

    SSL_CTX_set_alpn_select_cb(own_server, refuse_alpn, NULL);
    CHECK_INT(SSL_set_alpn_protos(c.client, alpn, sizeof(alpn)), 0);
    CHECK_INT(connection_handshake(&c), 0);
    connection_drop(&c);
    SSL_CTX_set_alpn_select_cb(own_server, NULL, NULL);
    return argument;
}

/* A connection that stays open while other workers resume its session. */
static struct connection open;

static long open_connection(long argument, SSL_SESSION **session)
{
    open = open_own(*session);
    CHECK(connection_handshake(&open) && connection_exchange(&open));
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(open.client);
    return argument;
}

/* A record that does not decrypt: one side sends the alert, the other receives it. */
static void break_open(int to_server)
{
    static const unsigned char record_bytes[5 + 64] = { 23, 3, 3, 0, 64 };
    char byte;

    BIO_write(SSL_get_wbio(to_server ? open.client : open.server), record_bytes,
        sizeof(record_bytes));
    CHECK_INT(SSL_read(to_server ? open.server : open.client, &byte, 1), -1);
    CHECK(SSL_read(to_server ? open.client : open.server, &byte, 1) <= 0);
}

static long send_alert(long argument, SSL_SESSION **session)
{
    (void)session;
    break_open(1);
    connection_drop(&open);
    return argument;
}

static long receive_alert(long argument, SSL_SESSION **session)
{
    (void)session;
    break_open(0);
    connection_drop(&open);
    return argument;
}

static long drop_connection(long argument, SSL_SESSION **session)
{
    (void)session;
    connection_drop(&open);
    return argument;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static long is_cached_here(long argument, SSL_SESSION **session)
{
    (void)argument;
    return cached_on_server(own_server, *session) != NULL;
}

static long remove_calls_here(long argument, SSL_SESSION **session)
{
    (void)argument, (void)session;
    return recorder.remove_calls;
}

/* Removed in one worker: not in one that has it in its cache, nor in one that never had it. */
static void removed(const char *what, task *opening, task *removal, const char *name)
{
    enum { REMOVES, HAS, HAS_NOT, WORKERS };
    struct worker workers[WORKERS];
    struct sesscache_stats before;
    SSL_SESSION *session, *other;

    section("%s %s, name %s", protocol->name, what, name != NULL ? name : "none");
    own_name = name;
    make_contexts(0, NULL);
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    other = obtain_in(&workers[REMOVES]);
    session = opening != NULL ? ask_for_session(&workers[REMOVES], opening, 0)
                              : obtain_in(&workers[REMOVES]);
    CHECK_INT(resumes_in(&workers[HAS], session), 1);
    CHECK_INT(ask(&workers[HAS], is_cached_here, 0, session), 1);
    before = stats_of(own_server);
    ask(&workers[REMOVES], removal, 0, session);
    CHECK_INT(stats_of(own_server).removes - before.removes, 1);
    ask(&workers[HAS], look_while_off, 0, session);
    CHECK_INT(resumes_in(&workers[HAS], session), 0);
    CHECK_INT(ask(&workers[HAS], is_cached_here, 0, session), 0);
    CHECK_INT(ask(&workers[HAS], remove_calls_here, 0, NULL), 1);
    CHECK_INT(resumes_in(&workers[HAS_NOT], session), 0);
    CHECK_INT(resumes_in(&workers[REMOVES], session), 0);
    CHECK_INT(resumes(own_server, own_client, session), 0);
    /* And nothing else went. */
    CHECK_INT(resumes_in(&workers[HAS_NOT], other), 1);
    SSL_SESSION_free(other);
    SSL_SESSION_free(session);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    own_name = NULL;
    free_own_contexts();
}

/* Cached before the fork: each worker has a copy of its own. */
static void inherited(void)
{
    struct worker removes, has;
    SSL_SESSION *session;

    section("%s inherited", protocol->name);
    make_contexts(0, NULL);
    session = obtain_here();
    removes = fork_worker();
    has = fork_worker();
    CHECK_INT(ask(&has, is_cached_here, 0, session), 1);
    CHECK_INT(resumes_in(&has, session), 1);
    ask(&removes, remove_cached, 0, session);
    CHECK_INT(resumes_in(&has, session), 0);
    CHECK_INT(resumes_here(session), 0);
    SSL_SESSION_free(session);
    end_worker(&removes);
    end_worker(&has);
    free_own_contexts();
}

/* ---- the application's own cache ------------------------------------------------------------- */

static struct store external;

static long use_external(long argument, SSL_SESSION **session)
{
    (void)session;
    recorder.external = &external;
    SSL_CTX_set_session_cache_mode(own_server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    return argument;
}

/* A session that get_cb still has does not resume either; remove_cb says so. */
static void external_cache(void)
{
    struct worker has, removes;
    SSL_SESSION *session, *other;

    section("%s external cache", protocol->name);
    make_contexts(0, NULL);
    has = fork_worker();
    removes = fork_worker();
    ask(&has, use_external, 0, NULL);
    session = obtain_in(&has);
    other = obtain_in(&has);
    CHECK_INT(resumes_in(&removes, session), 1);
    CHECK_INT(resumes_in(&has, session), 1);
    ask(&removes, remove_cached, 0, session);
    CHECK_INT(resumes_in(&has, session), 0);
    CHECK_INT(ask(&has, remove_calls_here, 0, NULL), 1);
    CHECK_INT(resumes_in(&has, other), 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(other);
    end_worker(&has);
    end_worker(&removes);
    free_own_contexts();
}

/* ---- what was noted of another session ------------------------------------------------------- */

/*
 * The engine refuses an expired session for its id context before it looks at its times. Nothing
 * of that may stick to the session that comes to lie at the same address.
 */
static long refuse_expired(long argument, SSL_SESSION **session)
{
    SSL_SESSION *expired, *cached;
    uintptr_t address;

    (void)argument;
    expired = obtain_here();
    cached = cached_on_server(own_server, expired);
    REQUIRE(cached != NULL);
    address = (uintptr_t)cached;
    set_time_unseen(cached, 1);
    SSL_CTX_set_session_id_context(own_server, (const unsigned char *)"other", 5);
    CHECK_INT(resumes(own_server, own_client, expired), 0);
    SSL_CTX_set_session_id_context(own_server, (const unsigned char *)"test", 4);
    empty_cache(own_server);
    SSL_SESSION_free(expired);
    for (int tries = is_under_valgrind() ? 999 : 0; tries < 1000; tries++) {
        *session = obtain_here();
        if ((uintptr_t)cached_on_server(own_server, *session) == address)
            return 1;
        SSL_SESSION_free(*session);
    }
    *session = NULL;
    return 0;
}

static void after_refused_expiry(void)
{
    struct worker removes, has;
    SSL_SESSION *session = NULL;

    section("%s after a refused expiry", protocol->name);
    make_contexts(0, NULL);
    removes = fork_worker();
    has = fork_worker();
    send_task(&removes, refuse_expired, 0, NULL);
    /* Under a checking allocator addresses do not come back. */
    if (receive_answer(&removes, &session) == 1) {
        CHECK_INT(resumes_in(&has, session), 1);
        ask(&removes, remove_here, 0, session);
        CHECK_INT(resumes_in(&has, session), 0);
        SSL_SESSION_free(session);
    } else {
        note("the address did not come back");
    }
    end_worker(&removes);
    end_worker(&has);
    free_own_contexts();
}

static void unclean_close_forgets(void)
{
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        removed("unclean close", open_connection, drop_connection, NULL);
        removed("unclean close", open_connection, drop_connection, "host.example");
    }
}

static const struct named_function functions[] = {
    NAMED(remove_cached), NAMED(remove_here), NAMED(remove_outlived), NAMED(look_while_off),
    NAMED(remove_copy), NAMED(remove_restored), NAMED(alert_in_handshake), NAMED(open_connection),
    NAMED(send_alert), NAMED(receive_alert), NAMED(drop_connection), NAMED(is_cached_here),
    NAMED(remove_calls_here), NAMED(use_external), NAMED(refuse_expired),
    NAMED(unclean_close_forgets), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        inherited();
        external_cache();
        after_refused_expiry();
        for (int named = 0; named < 2; named++) {
            const char *name = named ? "host.example" : NULL;

            removed("removed", NULL, remove_cached, name);
            removed("outlived removed", NULL, remove_outlived, name);
            removed("copy removed", NULL, remove_copy, name);
            removed("restored removed", NULL, remove_restored, name);
            removed("alert in a handshake", NULL, alert_in_handshake, name);
            if (p->is_dtls) /* ignores records that do not decrypt */
                continue;
            removed("alert sent", open_connection, send_alert, name);
            removed("alert received", open_connection, receive_alert, name);
        }
    }
    RUN_AGAIN(
        unclean_close_forgets, "SESSCACHE_STORE=shm:?size=1MiB", "SESSCACHE_UNCLEAN_CLOSE=forget");
    return test_end();
}
