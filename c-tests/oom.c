/*
 * Out of memory: OpenSSL's n-th allocation fails (or all from there on), for every n, while
 * contexts are made and sessions added, listed, flushed and negotiated. A context is NULL as on
 * stock or usable; if the overlay could not attach to it, it works as stock. Nothing crashes or
 * leaks.
 *
 * oom_malloc.c is the same program with malloc failing (OOM_MALLOC), for what our own code
 * allocates; store_oom.c and store_oom_malloc.c are both with the host store on (OOM_STORE).
 */
#include "harness.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>

/* ---- the allocator -------------------------------------------------------------------------- */

static struct {
    int is_armed;
    int is_persistent; /* all fail from the n-th on */
    long fail_at, count;
} plan;

/* Under a sanitizer or valgrind. */
static int is_slow(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 1;
#else
    return is_under_valgrind();
#endif
}

static int must_fail(void)
{
    if (!plan.is_armed)
        return 0;
    plan.count++;
    return plan.count == plan.fail_at || (plan.is_persistent && plan.count > plan.fail_at);
}

#ifdef OOM_MALLOC
#include "oom_malloc.h"
#else
#include "oom_openssl.h"
#endif

/* ---- what is tried -------------------------------------------------------------------------- */

enum { ADDED = 40 };

static SSL_CTX *server, *client;
static SSL_SESSION *sessions[ADDED];
static long alive_before;

static void make_contexts(void)
{
    server = new_server(&protocols[0]);
    client = new_client(&protocols[0]);
}

static void check_usable(void);

/* libcrypto remembers for ever that an algorithm could not be fetched: fetch all before. */
static void make_used_contexts(void)
{
    make_contexts();
    check_usable();
}

static void make_sessions(void)
{
    make_contexts();
    alive_before = sessions_alive();
    for (unsigned int i = 0; i < ADDED; i++)
        sessions[i] = make_session(server, TLS1_2_VERSION, i);
}

/* No session is left over, and none was freed twice. */
static void check_none_left(void)
{
    for (unsigned int i = 0; i < ADDED; i++)
        SSL_SESSION_free(sessions[i]);
    SSL_CTX_flush_sessions(server, 0);
    (void)SSL_CTX_sessions(server);
    CHECK_INT(sessions_alive(), alive_before);
}

/* Whatever happened: handshakes, resumptions and the cache work when there is memory again. */
static void check_usable(void)
{
    SSL_SESSION *session;

    ERR_clear_error();
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK(cached_on_server(server, session) != NULL);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_remove_session(server, cached_on_server(server, session)), 1);
    CHECK_INT(resumes(server, client, session), 0);
    SSL_SESSION_free(session);
}

static void free_contexts(void)
{
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void make_one(void) { server = SSL_CTX_new(TLS_server_method()); }
static void make_one_ex(void) { server = SSL_CTX_new_ex(NULL, NULL, TLS_server_method()); }
static void take_index(void)
{
    (void)CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, NULL);
}

/* How many contexts could not be made, are ours, and are stock's for want of memory. */
static struct kinds {
    int none, ours, stocks;
} *kinds;

static void check_made(void)
{
    if (server == NULL) {
        kinds->none++;
        return;
    }
    *(is_ours(server) ? &kinds->ours : &kinds->stocks) += 1;
    /* That the overlay had no memory is nobody's error. */
    if (overlaid() && plan.is_persistent)
        CHECK_INT(ERR_peek_error(), 0);
    CHECK_INT(SSL_CTX_sess_get_cache_size(server), SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
    CHECK_INT(SSL_CTX_get_session_cache_mode(server), SSL_SESS_CACHE_SERVER);
    use_certificate(server);
    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    CHECK_INT(SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4), 1);
    client = new_client(&protocols[0]);
    check_usable();
    free_contexts();
}

static void check_index(void)
{
    make_contexts();
    check_usable();
    free_contexts();
}

static int results[ADDED];

static void add_all(void)
{
    for (unsigned int i = 0; i < ADDED; i++)
        results[i] = SSL_CTX_add_session(server, sessions[i]);
}

/* Added sessions are cached and others are not; all references are accounted for. */
static void check_added(void)
{
    long cached = 0;

    for (unsigned int i = 0; i < ADDED; i++) {
        CHECK_INT(results[i], is_cached(server, sessions[i]));
        cached += results[i];
    }
    CHECK_INT(SSL_CTX_sess_number(server), cached);
    add_all();
    CHECK_INT(SSL_CTX_sess_number(server), ADDED);
    check_none_left();
    check_usable();
    free_contexts();
}

static OPENSSL_LHASH *table;

static void make_cached_sessions(void)
{
    make_sessions();
    add_all();
}

static void list_all(void) { table = (OPENSSL_LHASH *)SSL_CTX_sessions(server); }

static void count_session(void *session, void *count)
{
    CHECK(SSL_SESSION_get_protocol_version(session) == TLS1_2_VERSION);
    ++*(long *)count;
}

static void check_listed(void)
{
    long count = 0;

    if (table != NULL) {
        OPENSSL_LH_doall_arg(table, count_session, &count);
        CHECK_INT(OPENSSL_LH_num_items(table), count);
        CHECK(count <= ADDED);
    }
    list_all();
    REQUIRE(table != NULL);
    CHECK_INT(OPENSSL_LH_num_items(table), ADDED);
    check_added();
}

static void empty_cache(void)
{
    SSL_CTX_sess_set_cache_size(server, 10);
    (void)SSL_CTX_remove_session(server, sessions[0]);
    SSL_SESSION_set_time(sessions[1], 1000);
    SSL_CTX_flush_sessions(server, time(NULL));
    (void)SSL_CTX_add_session(server, sessions[0]);
    SSL_CTX_flush_sessions(server, 0);
}

static void check_emptied(void)
{
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    check_none_left();
    SSL_CTX_sess_set_cache_size(server, 0);
    check_usable();
    free_contexts();
}

static int make_id(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    memset(id, 0x66, *length);
    return 1;
}

/* A connection that is switched and has a generator: both need memory of ours. */
static void connect_once(void)
{
    SSL *ssl = SSL_new(server);

    if (ssl != NULL) {
        (void)SSL_set_generate_session_id(ssl, make_id);
        (void)SSL_set_SSL_CTX(ssl, client);
    }
    SSL_free(ssl);
}

static void check_context(void)
{
    check_usable();
    free_contexts();
}

static void shake_hands(void)
{
    struct connection c = { SSL_new(server), SSL_new(client) };
    BIO *server_bio = NULL, *client_bio = NULL;

    if (c.server != NULL && c.client != NULL
        && BIO_new_bio_pair(&server_bio, 1 << 16, &client_bio, 1 << 16) == 1) {
        SSL_set_bio(c.server, server_bio, server_bio);
        SSL_set_bio(c.client, client_bio, client_bio);
        SSL_set_accept_state(c.server);
        SSL_set_connect_state(c.client);
        if (connection_handshake(&c))
            (void)connection_exchange(&c);
    }
    SSL_free(c.client);
    SSL_free(c.server);
}

/* ---- the sweep ------------------------------------------------------------------------------ */

struct scenario {
    const char *name;
    void (*prepare)(void), (*act)(void), (*check)(void);
    long step; /* not every n where there are many, but for the last, which are the overlay's */
    int breaks_stock; /* 3.0 frees a session twice if it cannot insert it */
};

enum { LAST = 30, LAST_IF_SLOW = 6 };

static const struct scenario scenarios[] = {
    { "SSL_CTX_new", NULL, make_one, check_made, 7, 0 },
    { "SSL_CTX_new_ex", NULL, make_one_ex, check_made, 7, 0 },
    { "first index", NULL, take_index, check_index, 1, 0 },
    { "add", make_sessions, add_all, check_added, 1, 0 },
    { "list", make_cached_sessions, list_all, check_listed, 1, 0 },
    { "remove, flush and evict", make_cached_sessions, empty_cache, check_emptied, 1, 1 },
    { "connection", make_contexts, connect_once, check_context, 1, 0 },
    { "handshake", make_used_contexts, shake_hands, check_context, 31, 0 },
};

/* 1 if something failed in the child, so that a larger n may fail something else. */
static int try(const struct scenario *s, long n, int is_persistent, long *counted)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (s->prepare != NULL)
            s->prepare();
        ERR_clear_error();
        plan.fail_at = n;
        plan.is_persistent = is_persistent;
        plan.is_armed = 1;
        s->act();
        plan.is_armed = 0;
        s->check();
        *counted = plan.count;
        exit(test_end());
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (!CHECK_INT(status, 0)) {
        note("with allocation %ld%s failing", n, is_persistent ? " and all after it" : "");
        test_abort();
    }
    return *counted >= n;
}

static long last_of(const struct scenario *s)
{
    return !is_slow() ? LAST : s->check == check_made ? LAST_IF_SLOW : 0;
}

static void sweep(const struct scenario *s, long *counted)
{
    const long step = s->step * (is_slow() ? 16 : 1), last = last_of(s);

    memset(kinds, 0, sizeof(*kinds));
    for (int is_persistent = 0; is_persistent < 2; is_persistent++) {
        long n = 1, all;

        section("%s%s", s->name, is_persistent ? ", persistently" : "");
        (void)try(s, LONG_MAX, is_persistent, counted);
        all = *counted;
        while (try(s, n, is_persistent, counted))
            n += n + step + last < all ? step : n + last < all ? all - last - n : 1;
        note("%s: %ld allocations; contexts: %d none, %d ours, %d stock's", s->name, all,
            kinds->none, kinds->ours, kinds->stocks);
    }
    /* All that may happen has happened. */
    if (s->check == check_made) {
#ifndef OOM_MALLOC
        CHECK(kinds->none > 0);
#endif
        CHECK(kinds->stocks > 0);
        CHECK_INT(kinds->ours > 0, overlaid());
    }
}

#if defined(OOM_STORE) && !defined(OOM_MALLOC)
/*
 * libcrypto remembers for ever that an algorithm could not be fetched, and the first context that
 * has a store fetches more than a stock one: as in a server that has made one before.
 */
static void warm_up(void)
{
    make_contexts();
    SSL_SESSION_free(obtain_session(server, client));
    free_contexts();
    ERR_clear_error();
}
#else
/*
 * So that the children's allocations are few: by stock's function, past the overlay, whose first
 * context is tried, too.
 */
static void warm_up(void)
{
    SSL_CTX *(*stock_new)(OSSL_LIB_CTX *, const char *, const SSL_METHOD *);
    SSL_CTX *ctx;

    *(void **)&stock_new = stock_function("SSL_CTX_new_ex");
    ctx = stock_new(NULL, NULL, TLS_server_method());
    REQUIRE(ctx != NULL);
    use_certificate(ctx);
    SSL_CTX_free(ctx);
}
#endif

int main(void)
{
    struct {
        struct kinds kinds;
        long counted;
    } *shared = mmap(
        NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    REQUIRE(shared != MAP_FAILED);
    kinds = &shared->kinds;
    set_allocator();
    sessions_alive();
    warm_up();
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        if (overlaid() || !scenarios[i].breaks_stock)
            sweep(&scenarios[i], &shared->counted);
    munmap(shared, sizeof(*shared));
    return test_end();
}
