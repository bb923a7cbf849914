/*
 * An application ends a session before its time (SSL_SESSION_set_timeout, SSL_SESSION_set_time):
 * it resumes in no other process from then on, and here until its new end, as on stock. What comes
 * of it is shared. An end that does not come nearer changes nothing, however it is set.
 */
#include "clock.h"
#include "harness_store.h"

#include <dlfcn.h>
#include <string.h>

enum { TIMEOUT = 300 };

static const struct protocol *protocol;

static void make_contexts(void)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    SSL_CTX_set_timeout(own_server, TIMEOUT);
}

static SSL_SESSION *cached(const SSL_SESSION *session)
{
    SSL_SESSION *found = cached_on_server(own_server, session);

    REQUIRE(found != NULL);
    return found;
}

static long clock_ahead(long seconds, SSL_SESSION **session)
{
    char text[24];

    (void)session;
    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
    return seconds;
}

/* ---- how it is ended: what is left of it in the end ------------------------------------------ */

static long shorten(long left, SSL_SESSION **session)
{
    SSL_SESSION_set_timeout(cached(*session), left);
    return left;
}

static long predate(long left, SSL_SESSION **session)
{
    SSL_SESSION_set_time(cached(*session), (long)time(NULL) - TIMEOUT + left);
    return left;
}

static long predate_ex(long left, SSL_SESSION **session)
{
    time_t (*set_time)(SSL_SESSION *, time_t);

    *(void **)&set_time = dlsym(RTLD_DEFAULT, "SSL_SESSION_set_time_ex");
    REQUIRE(set_time != NULL);
    set_time(cached(*session), time(NULL) - TIMEOUT + left);
    return left;
}

/* In steps, of which the first moves the end away. */
static long shorten_after_all(long left, SSL_SESSION **session)
{
    SSL_SESSION_set_timeout(cached(*session), 10 * TIMEOUT);
    SSL_SESSION_set_timeout(cached(*session), TIMEOUT);
    SSL_SESSION_set_timeout(cached(*session), left);
    return left;
}

static const struct ending {
    const char *what;
    task *end;
    int is_at_once; /* it can be over before now; no timeout is negative */
} endings[] = {
    { "timeout", shorten, 0 },
    { "time", predate, 1 },
    { "time_ex", predate_ex, 1 },
    { "timeout, after all", shorten_after_all, 0 },
};

static void ended(const struct ending *ending, long left)
{
    enum { ENDS, HAS, HAS_NOT, WORKERS };
    struct worker workers[WORKERS];
    struct sesscache_stats before;
    SSL_SESSION *session, *other, *next;

    section("%s, %s, %ld left", protocol->name, ending->what, left);
    make_contexts();
    for (int i = 0; i < WORKERS; i++)
        workers[i] = fork_worker();
    session = obtain_in(&workers[ENDS]);
    other = obtain_in(&workers[ENDS]);
    CHECK_INT(resumes_in(&workers[HAS], session), 1);
    before = stats_of(own_server);
    (void)ask(&workers[ENDS], ending->end, left, session);
    CHECK_INT(stats_of(own_server).removes - before.removes, 1);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(resumes_in(&workers[HAS], session), 0);
        CHECK_INT(resumes_in(&workers[HAS_NOT], session), 0);
        CHECK_INT(resumes_in(&workers[ENDS], session), left > 0);
    }
    CHECK_INT(resumes_in(&workers[HAS_NOT], other), 1);
    if (left > 0) {
        next = renew_in(&workers[ENDS], session);
        if (protocol->version == TLS1_3_VERSION)
            CHECK_INT(resumes_in(&workers[HAS_NOT], next), 1);
        SSL_SESSION_free(next);
        (void)ask(&workers[ENDS], clock_ahead, left + 2, NULL);
        CHECK_INT(resumes_in(&workers[ENDS], session), 0);
    }
    SSL_SESSION_free(session);
    SSL_SESSION_free(other);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

/* ---- what ends nothing ----------------------------------------------------------------------- */

static long lengthen(long seconds, SSL_SESSION **session)
{
    SSL_SESSION_set_timeout(cached(*session), TIMEOUT + seconds);
    return seconds;
}

/* As nginx does at each handshake: the time is that of now, and its end stays. */
static long move_begin(long seconds, SSL_SESSION **session)
{
    SSL_SESSION *here = cached(*session);

    SSL_SESSION_set_time(here, SSL_SESSION_get_time(here) + seconds);
    SSL_SESSION_set_timeout(here, SSL_SESSION_get_timeout(here) - seconds);
    return seconds;
}

static void not_ended(const char *what, task *change)
{
    struct worker changes, other;
    struct sesscache_stats before;
    SSL_SESSION *session;

    section("%s, %s", protocol->name, what);
    make_contexts();
    changes = fork_worker();
    other = fork_worker();
    session = obtain_in(&changes);
    before = stats_of(own_server);
    (void)ask(&changes, change, 10, session);
    CHECK_INT(stats_of(own_server).removes - before.removes, 0);
    CHECK_INT(resumes_in(&other, session), 1);
    CHECK_INT(resumes_in(&changes, session), 1);
    SSL_SESSION_free(session);
    end_worker(&changes);
    end_worker(&other);
    free_own_contexts();
}

static int shortening_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_set_timeout(session, 100);
    return 0;
}

/* Before it is shared (Apache, Squid). */
static void in_new_cb(void)
{
    struct worker other;
    SSL_SESSION *session;

    section("%s, in new_cb", protocol->name);
    make_contexts();
    SSL_CTX_sess_set_new_cb(own_server, shortening_new_cb);
    other = fork_worker();
    session = obtain_here();
    CHECK_INT(resumes_in(&other, session), 1);
    (void)ask(&other, clock_ahead, 110, NULL);
    CHECK_INT(resumes_in(&other, session), 0);
    SSL_SESSION_free(session);
    end_worker(&other);
    free_own_contexts();
}

static const struct named_function functions[] = {
    NAMED(shorten), NAMED(predate), NAMED(predate_ex), NAMED(shorten_after_all), NAMED(lengthen),
    NAMED(move_begin), NAMED(clock_ahead), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
            ended(&endings[i], 100);
            if (endings[i].is_at_once)
                ended(&endings[i], -10);
        }
        not_ended("a longer life", lengthen);
        not_ended("another begin, the same end", move_begin);
        in_new_cb();
    }
    return test_end();
}
