/* What concerns a whole cache: flushing, the stall others see meanwhile, freeing, memory. */
#include "cache.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void report_one(const struct options *options, const char *name, double value,
                       const char *unit, uint64_t operations, struct switches switches)
{
    struct result result = { value, unit, switches, operations };
    char parameters[64];

    snprintf(parameters, sizeof(parameters), "n=%ld threads=1", options->count);
    report(name, parameters, &result);
}

/* ---- flush ----------------------------------------------------------------------------------- */

static void nothing_round(struct worker *worker)
{
    const struct cache *cache = worker->cache;
    uint64_t before = now_ns();

    for (int i = 0; i < worker->batch; i++)
        SSL_CTX_flush_sessions(cache->ctx, cache->time);
    worker->ns = now_ns() - before;
    worker->operations = (uint64_t)worker->batch;
}

void run_flush_nothing(const struct test *test, const struct options *options)
{
    const struct work work = { .name = test->name, .round = nothing_round };

    run_work(&work, test, shared_cache(options), options, 1);
}

/*
 * A thread that looks up what stays, and the longest it was kept from it during the flush. What it
 * waited for a core that the kernel had given to another is the machine's doing: taken off.
 */
struct watcher {
    const struct cache *cache;
    atomic_int phase; /* enum phase */
    atomic_int is_ready;
    uint64_t first, longest_ns, looked_up; /* the latter two while flushing */
    struct switches switches;
};

enum phase { BEFORE, FLUSHING, AFTER, OVER };

/* How long this thread has waited for a core so far (sched-stats.rst); 0 if that is not known. */
static uint64_t waited_ns(int schedstat)
{
    char text[64] = "";
    unsigned long long waited = 0;

    if (schedstat >= 0 && pread(schedstat, text, sizeof(text) - 1, 0) > 0)
        sscanf(text, "%*s %llu", &waited);
    return waited;
}

enum { WORTH_ASKING_NS = 5000 };

static void *watch(void *argument)
{
    struct watcher *watcher = argument;
    const struct cache *cache = watcher->cache;
    SSL *ssl = SSL_new(cache->ctx);
    struct worker worker = { .random = 1 };
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    uint64_t waited = waited_ns(schedstat), before = now_ns(), took;
    uint64_t live = (uint64_t)cache->count - watcher->first;
    int phase = BEFORE;

    while (phase != OVER) {
        unsigned char id[ID_LENGTH];
        int last_phase = phase;

        make_id(id, watcher->first + random_below(&worker, live), 0);
        REQUIRE(SSL_has_matching_session_id(ssl, id, ID_LENGTH));
        took = now_ns() - before;
        if (took > WORTH_ASKING_NS) {
            uint64_t waited_now = waited_ns(schedstat);

            took -= waited_now - waited < took ? waited_now - waited : took;
            waited = waited_now;
        }
        phase = atomic_load(&watcher->phase);
        if (last_phase == FLUSHING || phase != last_phase) {
            watcher->longest_ns = took > watcher->longest_ns ? took : watcher->longest_ns;
            watcher->looked_up++;
        }
        before = now_ns();
        atomic_store(&watcher->is_ready, 1);
    }
    watcher->switches = switches_of(RUSAGE_THREAD);
    if (schedstat >= 0)
        close(schedstat);
    SSL_free(ssl);
    return NULL;
}

/* A cache of which the first tenth has expired; time stamps are the past, so none has to pass. */
static struct cache half_dead_cache(long count, long expired)
{
    struct cache cache = { .count = count, .time = time(NULL) - 10 * TIMEOUT };
    struct filling filling;

    cache.ctx = make_server(2 * count);
    cache.asking = SSL_new(cache.ctx);
    cache.version = SSL_version(cache.asking);
    filling = (struct filling){ .version = cache.version, .count = expired, .time = cache.time,
                                .timeout = TIMEOUT };
    fill(cache.ctx, &filling);
    filling.first = (uint64_t)expired;
    filling.count = count - expired;
    filling.timeout = 20 * TIMEOUT;
    fill(cache.ctx, &filling);
    return cache;
}

struct flush {
    uint64_t took, longest_stall;
    struct switches switches; /* of both threads */
    int counts;               /* the flush kept its core, and the other thread was there */
};

/* One flush, with another thread looking up. */
static struct flush flush_once(const struct test *test, long count)
{
    long expired = count / 10;
    struct cache cache = half_dead_cache(count, expired);
    struct watcher watcher = { .cache = &cache, .first = (uint64_t)expired };
    struct switches before, after;
    struct flush flush;
    pthread_t thread;

    /* Ours walks all sessions once after lifetimes were set by hand: also a case, on its own. */
    if (test->parameter == 0)
        SSL_CTX_flush_sessions(cache.ctx, cache.time);
    REQUIRE(pthread_create(&thread, NULL, watch, &watcher) == 0);
    while (!atomic_load(&watcher.is_ready))
        ;
    before = switches_of(RUSAGE_THREAD);
    atomic_store(&watcher.phase, FLUSHING);
    flush.took = now_ns();
    SSL_CTX_flush_sessions(cache.ctx, time(NULL));
    flush.took = now_ns() - flush.took;
    atomic_store(&watcher.phase, AFTER);
    after = switches_of(RUSAGE_THREAD);
    atomic_store(&watcher.phase, OVER);
    pthread_join(thread, NULL);
    REQUIRE(SSL_CTX_sess_number(cache.ctx) == count - expired);
    cache_free(&cache);

    flush.longest_stall = watcher.longest_ns;
    flush.switches.voluntary = after.voluntary - before.voluntary + watcher.switches.voluntary;
    flush.switches.involuntary = after.involuntary - before.involuntary;
    flush.counts = flush.switches.involuntary == 0 &&
                   (watcher.looked_up > 10 || watcher.longest_ns * 2 > flush.took);
    flush.switches.involuntary += watcher.switches.involuntary;
    return flush;
}

void run_flush(const struct test *test, const struct options *options)
{
    enum { MOST_ROUNDS = 10, SESSIONS = 200000 };
    long wanted = SESSIONS / options->count, rounds = 0, expired = options->count / 10;
    struct flush all = { 0 };
    char name[64];

    wanted = wanted < 1 ? 1 : wanted > MOST_ROUNDS ? MOST_ROUNDS : wanted;
    for (long attempts = 0; rounds < wanted; attempts++) {
        struct flush flush = flush_once(test, options->count);

        /* On a busy machine none may count: then, after so many attempts, all do. */
        if (!flush.counts && attempts < 3 * wanted)
            continue;
        rounds++;
        all.took += flush.took;
        all.switches.voluntary += flush.switches.voluntary;
        all.switches.involuntary += flush.switches.involuntary;
        if (flush.longest_stall > all.longest_stall)
            all.longest_stall = flush.longest_stall;
    }
    report_one(options, test->name, (double)all.took / (double)(rounds * expired), "ns",
               (uint64_t)rounds, all.switches);
    snprintf(name, sizeof(name), "%s_stall", test->name);
    report_one(options, name, (double)all.longest_stall / 1e3, "us", (uint64_t)rounds,
               all.switches);
}

/* ---- SSL_CTX_free, memory -------------------------------------------------------------------- */

void run_free(const struct test *test, const struct options *options)
{
    struct cache cache = cache_new(options->count, 0, 0, 0);
    struct switches switches = switches_of(RUSAGE_SELF), after;
    uint64_t before;

    SSL_free(cache.asking);
    before = now_ns();
    SSL_CTX_free(cache.ctx);
    before = now_ns() - before;
    after = switches_of(RUSAGE_SELF);
    switches.voluntary = after.voluntary - switches.voluntary;
    switches.involuntary = after.involuntary - switches.involuntary;
    report_one(options, test->name, (double)before / (double)options->count, "ns",
               (uint64_t)options->count, switches);
}

static double allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return (double)info.uordblks + (double)info.hblkhd;
}

static double resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages;

    REQUIRE(file != NULL && fscanf(file, "%*s %ld", &pages) == 1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* What the cache takes for a session that exists already: allocated, and resident. */
void run_bytes(const struct test *test, const struct options *options)
{
    SSL_CTX *ctx = make_server(options->count + 1);
    SSL *ssl = SSL_new(ctx);
    size_t count = (size_t)options->count;
    SSL_SESSION **sessions = calloc(count, sizeof(SSL_SESSION *));
    double allocated, resident, n = (double)options->count;
    const struct switches none = { 0, 0 };
    long now = time(NULL);

    REQUIRE(sessions != NULL);
    for (size_t i = 0; i < count; i++) {
        unsigned char id[ID_LENGTH];

        make_id(id, i, 0);
        sessions[i] = make_session(SSL_version(ssl), id, now, TIMEOUT);
    }
    /* Else what is free in the heap is taken first, and is resident already. */
    malloc_trim(0);
    allocated = allocated_bytes();
    resident = resident_bytes();
    for (size_t i = 0; i < count; i++)
        REQUIRE(SSL_CTX_add_session(ctx, sessions[i]));
    allocated = allocated_bytes() - allocated;
    resident = resident_bytes() - resident;
    report_one(options, "bytes_allocated", allocated / n, "bytes", count, none);
    report_one(options, "bytes_resident", resident / n, "bytes", count, none);
    for (size_t i = 0; i < count; i++)
        SSL_SESSION_free(sessions[i]);
    free(sessions);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    (void)test;
}
