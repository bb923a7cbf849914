/*
 * How long a record of the host store is good: to the end of its session, to the end of the
 * client's certificate, or for SESSCACHE_MAX_LIFETIME after the client was first authenticated,
 * whichever comes first, and however often it was resumed by TLS 1.3 tickets since. The process that
 * made the session resumes it for as long as stock does, unless SESSCACHE_MAX_LIFETIME is set. The
 * clock of all processes is one of this program's, which stands still until it is set forward.
 */
#include "harness_store.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000 }; /* SESSCACHE_MAX_LIFETIME of the second process */

/* ---- the clock ------------------------------------------------------------------------------- */

static long *set_to; /* seconds after 1970, in all workers */

/* These stand before the C library's, for libssl and sesscache too (-rdynamic). */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);

    if (result == 0 && set_to != NULL
        && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        *time = (struct timespec){ .tv_sec = *set_to };
    return result;
}

time_t time(time_t *place)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (place != NULL)
        *place = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec now = { 0, 0 };
    int result = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return result;
}

static void make_clock(void)
{
    const long now = (long)time(NULL);
    long *clock = mmap(
        NULL, sizeof(*clock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    REQUIRE(clock != MAP_FAILED);
    *clock = now;
    set_to = clock;
}

static void set_clock(long now)
{
    *set_to = now;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static const struct protocol *protocol;
static long set_timeout = -1, set_time; /* by new_cb, as Apache, Squid and ProFTPD do */
static const struct identity *client_identity;

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (set_timeout >= 0)
        SSL_SESSION_set_timeout(session, set_timeout);
    if (set_time != 0)
        SSL_SESSION_set_time(session, set_time);
    return 0;
}

static void make_contexts(void)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    SSL_CTX_sess_set_new_cb(own_server, new_cb);
    if (client_identity != NULL) {
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, accept_every);
        CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(own_server),
                      client_identity->certificate), 1);
        use_identity(own_client, client_identity);
    }
}

/* A fresh worker each time, that knows only what the store says. */
static int resumes_elsewhere(SSL_SESSION *session)
{
    struct worker worker = fork_worker();
    int resumed = resumes_in(&worker, session);

    end_worker(&worker);
    return resumed;
}

static long end_elsewhere(SSL_SESSION *session)
{
    struct worker worker = fork_worker();
    long end = end_in(&worker, session);

    end_worker(&worker);
    return end;
}

static SSL_SESSION *renew_elsewhere(SSL_SESSION *session)
{
    struct worker worker = fork_worker();
    SSL_SESSION *made = renew_in(&worker, session);

    end_worker(&worker);
    return made;
}

static SSL_SESSION *obtain_elsewhere(void)
{
    struct worker worker = fork_worker();
    SSL_SESSION *session = obtain_in(&worker);

    end_worker(&worker);
    return session;
}

static void check_end(long end, long expected)
{
    if (!CHECK_INT(end, expected))
        note("ends %ld s from what was expected", end - expected);
}

/* Good up to that time, and not after it. */
static void check_good_until(SSL_SESSION *session, long end)
{
    struct sesscache_stats before, after;

    set_clock(end);
    CHECK_INT(resumes_elsewhere(session), 1);
    set_clock(end + 1);
    before = stats_of(own_server);
    CHECK_INT(resumes_elsewhere(session), 0);
    after = stats_of(own_server);
    CHECK_INT(after.hits - before.hits, 0);
}

/* The application's timeout is the session's lifetime. */
static void by_timeout(const char *what, long of_context, long in_new_cb, long expected)
{
    SSL_SESSION *session;
    long start;

    section("%s timeout %s", protocol->name, what);
    set_timeout = in_new_cb;
    make_contexts();
    if (of_context >= 0)
        SSL_CTX_set_timeout(own_server, of_context);
    start = (long)time(NULL);
    session = obtain_elsewhere();
    check_end(end_elsewhere(session), start + expected);
    /* A client of TLS 1.3 offers a ticket for as long as it was told before new_cb was called. */
    if (protocol->version != TLS1_3_VERSION || in_new_cb <= of_context)
        check_good_until(session, start + expected);
    SSL_SESSION_free(session);
    free_own_contexts();
    set_timeout = -1;
}

/* new_cb sets the time back, so that little of the session's life is left, or nothing. */
static void by_time(long back, long timeout)
{
    SSL_SESSION *session;
    long start = (long)time(NULL);

    section("%s set back by %ld of %ld", protocol->name, back, timeout);
    set_timeout = timeout;
    set_time = start - back;
    make_contexts();
    session = obtain_elsewhere();
    if (back < timeout) {
        check_end(end_elsewhere(session), start - back + timeout);
        check_good_until(session, start - back + timeout);
    } else {
        CHECK_INT(resumes_elsewhere(session), 0);
        CHECK_INT(resumes_elsewhere(session), 0);
    }
    SSL_SESSION_free(session);
    free_own_contexts();
    set_time = 0;
    set_timeout = -1;
}

/* ---- the client's certificate ---------------------------------------------------------------- */

static void by_certificate(long ends_in, long expected)
{
    struct identity identity = new_identity("client", ends_in);
    SSL_SESSION *session, *next;
    long start = (long)time(NULL);

    section("%s certificate for %ld s", protocol->name, ends_in);
    client_identity = &identity;
    make_contexts();
    session = obtain_elsewhere();
    if (expected > 0) {
        check_end(end_elsewhere(session), start + expected);
        if (protocol->version == TLS1_3_VERSION) {
            /* The certificate goes from ticket to ticket. */
            set_clock(start + expected / 2);
            next = renew_elsewhere(session);
            if (ends_in == expected)
                check_end(end_elsewhere(next), start + expected);
            SSL_SESSION_free(session);
            session = next;
        }
        if (ends_in == expected)
            check_good_until(session, start + expected);
    } else {
        CHECK_INT(resumes_elsewhere(session), 0);
    }
    SSL_SESSION_free(session);
    free_own_contexts();
    free_identity(&identity);
    client_identity = NULL;
}

/* RFC 5280 4.1.2.5: no end that is known. */
static void without_end(void)
{
    struct identity identity = new_identity("client", 3600);
    SSL_SESSION *session;
    long start = (long)time(NULL);

    section("%s certificate without end", protocol->name);
    CHECK_INT(ASN1_TIME_set_string(X509_getm_notAfter(identity.certificate), "99991231235959Z"), 1);
    REQUIRE(X509_sign(identity.certificate, identity.key, EVP_sha256()) > 0);
    client_identity = &identity;
    make_contexts();
    SSL_CTX_set_timeout(own_server, 500);
    session = obtain_elsewhere();
    check_end(end_elsewhere(session), start + 500);
    SSL_SESSION_free(session);
    free_own_contexts();
    free_identity(&identity);
    client_identity = NULL;
}

/* ---- the longest life ------------------------------------------------------------------------ */

/* However long the session's own: a day is the default, which must not overflow, either. */
static void by_default(const char *what, long of_context, long in_new_cb)
{
    by_timeout(what, of_context, in_new_cb, 86400);
}

/* Tickets of tickets, in how many processes ever, end when the first one does. */
enum where { EVERY_TIME_ANOTHER, BY_THE_STORE, BY_THE_CACHE };

static void chain(const char *what, enum where where)
{
    SSL_SESSION *session, *next;
    long start = (long)time(NULL);
    struct sesscache_stats before;

    section("%s chain, %s", protocol->name, what);
    make_contexts();
    if (where == BY_THE_CACHE)
        SSL_CTX_sess_set_new_cb(own_server, NULL); /* whose 0 keeps nothing in the cache */
    before = stats_of(own_server);
    session = where == EVERY_TIME_ANOTHER ? obtain_elsewhere() : obtain_here();
    for (int step = 1; step <= 3; step++) {
        set_clock(start + step * 250);
        next = where == EVERY_TIME_ANOTHER ? renew_elsewhere(session) : renew_here(session);
        SSL_SESSION_free(session);
        session = next;
    }
    CHECK_INT(stats_of(own_server).hits - before.hits, where == BY_THE_CACHE ? 0 : 3);
    empty_cache(own_server);
    check_end(end_elsewhere(session), start + MOST);
    check_good_until(session, start + MOST);
    SSL_SESSION_free(session);
    free_own_contexts();
}

/* ---- in the process that made it ------------------------------------------------------------- */

static void own_contexts(void)
{
    make_contexts();
    SSL_CTX_sess_set_new_cb(own_server, NULL);
}

/* The session itself, and what a resumption of it brings, which is told apart in TLS 1.3 only. */
static void check_resumes_here(SSL_SESSION *session, int expected)
{
    SSL_SESSION *next;

    CHECK_INT(resumes_here(session), expected);
    if (!expected)
        return;
    next = renew_here(session);
    CHECK_INT(resumes_here(next), 1);
    SSL_SESSION_free(next);
}

static void own_beyond_certificate(void)
{
    struct identity identity = new_identity("client", 60);
    SSL_SESSION *session;
    long start = (long)time(NULL);

    section("%s own, beyond the client's certificate", protocol->name);
    client_identity = &identity;
    own_contexts();
    session = obtain_here();
    set_clock(start + 60 + 1);
    check_resumes_here(session, 1);
    SSL_SESSION_free(session);
    free_own_contexts();
    free_identity(&identity);
    client_identity = NULL;
}

/* Good for that many seconds, and not after them. */
static void own_until(long timeout, long end)
{
    SSL_SESSION *session;
    long start = (long)time(NULL);

    section("%s own, for %ld s of %ld", protocol->name, end, timeout);
    own_contexts();
    SSL_CTX_set_timeout(own_server, timeout);
    session = obtain_here();
    set_clock(start + end);
    check_resumes_here(session, 1);
    set_clock(start + end + 1);
    check_resumes_here(session, 0);
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void longest_life_set(void)
{
    make_clock();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        if (p->version == TLS1_3_VERSION) {
            chain("every time in another process", EVERY_TIME_ANOTHER);
            chain("in one process by the store", BY_THE_STORE);
            chain("in one process by its cache", BY_THE_CACHE);
        }
        by_timeout("longer than the longest life", 7200, -1, MOST);
        by_timeout("shorter than the longest life", 500, -1, 500);
        own_until(7200, MOST);
        own_until(500, 500);
    }
}

static const struct named_function functions[] = { NAMED(longest_life_set), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clock();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        by_timeout("of the context", 50, -1, 50);
        by_timeout("shortened in new_cb", 7200, 100, 100);
        by_timeout("lengthened in new_cb", 100, 3000, 3000);
        by_time(1000, 3000);
        by_time(1000, 900);
        by_certificate(60, 60);
        by_certificate(-10, 0);
        by_certificate(30L * 366 * 24 * 3600, 7200); /* GeneralizedTime */
        without_end();
        by_default("INT_MAX", INT_MAX, -1);
        by_default("INT_MAX in new_cb", -1, INT_MAX);
        by_default("LONG_MAX in new_cb", -1, LONG_MAX);
        own_beyond_certificate();
        own_until(2L * 86400, 2L * 86400);
    }
    RUN_AGAIN(longest_life_set, "SESSCACHE_STORE=shm:?size=1MiB", "SESSCACHE_MAX_LIFETIME=1000",
        "SESSCACHE_NEW_CB_ZERO=remove");
    return test_end();
}
