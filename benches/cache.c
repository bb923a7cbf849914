/*
 * The cost of the session cache's operations, by OpenSSL's public functions only: one binary for
 * stock OpenSSL and for libsesscache preloaded.
 *
 *   cache [-n SESSIONS] [-t THREADS[,THREADS...]] [-s SECONDS] CASE...
 *   cache -V    prints OpenSSL's version
 *
 * Prints a line a case (bench.h says which fields). Here: the cases, the threads that run them.
 */
#include "cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const struct test tests[] = {
    { "lookup_hit", run_mixture, 100 },
    { "lookup_miss", run_mixture, -100 },
    { "mix_90_10", run_mixture, 90 },
    { "mix_50_50", run_mixture, 50 },
    { "prefix_hit", run_prefix, 100 },
    { "prefix_miss", run_prefix, -100 },
    { "add", run_add, EQUAL }, /* and "remove" */
    { "add_random_timeouts", run_add, RANDOM },
    { "add_lowered_timeout", run_add, LOWERED },
    { "add_full", run_add_full, 0 },
    { "flush_nothing", run_flush_nothing, 0 },
    { "flush_tenth", run_flush, 0 }, /* and "flush_tenth_stall" */
    { "flush_tenth_changed", run_flush, 1 },
    { "ctx_free", run_free, 0 },
    { "bytes", run_bytes, 0 },
};

/* ---- a cache --------------------------------------------------------------------------------- */

struct cache cache_new(long count, long limit, int prefix, long spread)
{
    struct cache cache = { .prefix = prefix, .count = count, .time = time(NULL) };

    if (limit == 0) {
        limit = count + count / 8;
        if (limit < SSL_SESSION_CACHE_MAX_SIZE_DEFAULT)
            limit = SSL_SESSION_CACHE_MAX_SIZE_DEFAULT;
    }
    cache.ctx = make_server(limit);
    cache.asking = SSL_new(cache.ctx);
    REQUIRE(cache.asking != NULL);
    cache.version = SSL_version(cache.asking);
    fill(cache.ctx, &(struct filling){ .version = cache.version, .prefix = prefix, .count = count,
                                       .time = cache.time, .timeout = TIMEOUT, .spread = spread });
    return cache;
}

void cache_free(struct cache *cache)
{
    SSL_free(cache->asking);
    SSL_CTX_free(cache->ctx);
}

const struct cache *shared_cache(const struct options *options)
{
    static struct cache cache;

    if (cache.ctx == NULL)
        cache = cache_new(options->count, 0, 0, 0);
    return &cache;
}

/* ---- threads --------------------------------------------------------------------------------- */

static uint64_t deadline;
static pthread_barrier_t start;

uint64_t random_below(struct worker *worker, uint64_t bound)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return (worker->random >> 32) * bound >> 32;
}

void renew_id(struct worker *worker, SSL_SESSION *session)
{
    unsigned char id[ID_LENGTH];

    make_id(id, worker->number++, worker->cache->prefix);
    REQUIRE(SSL_SESSION_set1_id(session, id, ID_LENGTH));
}

struct job {
    struct worker worker;
    const struct work *work;
    int has_core; /* there are as many cores as threads */
};

/* A batch that takes this long is long enough to be timed by two readings of the clock. */
enum { LONG_ENOUGH_NS = 500000 };

/* On a busy machine the rounds that count may never come: after so many times the time, all do. */
enum { PATIENCE = 4 };

/* Whether this thread lost its core since the last call. */
static int was_preempted(long *before)
{
    long now = switches_of(RUSAGE_THREAD).involuntary;
    int was = now != *before;

    *before = now;
    return was;
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    struct worker *worker = &job->worker;
    uint64_t begin, now;
    long preemptions = 0;

    pthread_barrier_wait(&start);
    begin = now_ns();
    do {
        int counts = worker->batch == BATCH;

        was_preempted(&preemptions);
        job->work->round(worker);
        now = now_ns();
        if (worker->ns >= LONG_ENOUGH_NS)
            counts = 1;
        else if (worker->batch < BATCH)
            worker->batch *= 2;
        if (job->has_core && was_preempted(&preemptions))
            counts = now - begin > PATIENCE * (deadline - begin);
        if (counts) {
            worker->sum += worker->ns;
            worker->sum_operations += worker->operations;
            worker->sum2 += worker->ns2;
            worker->sum2_operations += worker->operations2;
        }
    } while (now < deadline || worker->sum_operations == 0);
    return NULL;
}

/* The threads' operations a nanosecond, added up, give the wall time of one. */
static void report_work(const char *name, struct job *jobs, int threads, int second,
                        struct switches switches)
{
    struct result result = { .unit = "ns", .switches = switches };
    char parameters[64];
    double rate = 0;

    for (int i = 0; i < threads; i++) {
        const struct worker *worker = &jobs[i].worker;
        uint64_t operations = second ? worker->sum2_operations : worker->sum_operations;

        rate += (double)operations / (double)(second ? worker->sum2 : worker->sum);
        result.operations += operations;
    }
    result.value = 1 / rate;
    snprintf(parameters, sizeof(parameters), "n=%ld threads=%d", jobs->worker.cache->count,
             threads);
    report(name, parameters, &result);
}

void run_work(const struct work *work, const struct test *test, const struct cache *cache,
              const struct options *options, int threads)
{
    static uint64_t workers;
    struct job *jobs = calloc((size_t)threads, sizeof(*jobs));
    pthread_t *ids = calloc((size_t)threads, sizeof(*ids));
    struct switches before, after;

    REQUIRE(jobs != NULL && ids != NULL);
    pthread_barrier_init(&start, NULL, (unsigned int)threads + 1);
    for (int i = 0; i < threads; i++) {
        struct worker *worker = &jobs[i].worker;

        jobs[i].work = work;
        jobs[i].has_core = threads <= sysconf(_SC_NPROCESSORS_ONLN);
        workers++;
        *worker = (struct worker){ .cache = cache, .test = test, .batch = 1,
                                   .number = workers << 40, .random = mix(workers),
                                   .ssl = SSL_new(cache->ctx) };
        worker->own = work->begin != NULL ? work->begin(worker) : NULL;
    }
    deadline = now_ns() + (uint64_t)(options->seconds * 1e9);
    for (int i = 0; i < threads; i++)
        REQUIRE(pthread_create(&ids[i], NULL, run_job, &jobs[i]) == 0);
    before = switches_of(RUSAGE_SELF);
    pthread_barrier_wait(&start);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    after = switches_of(RUSAGE_SELF);
    after.voluntary -= before.voluntary;
    after.involuntary -= before.involuntary;
    report_work(work->name, jobs, threads, 0, after);
    if (work->name2 != NULL)
        report_work(work->name2, jobs, threads, 1, after);
    for (int i = 0; i < threads; i++) {
        if (work->end != NULL)
            work->end(&jobs[i].worker);
        SSL_free(jobs[i].worker.ssl);
    }
    pthread_barrier_destroy(&start);
    free(ids);
    free(jobs);
}

/* ---- the command ----------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: cache [-n SESSIONS] [-t THREADS[,THREADS...]] [-s SECONDS] CASE...\n");
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
        fprintf(stderr, "  %s\n", tests[i].name);
    exit(2);
}

static void parse_threads(struct options *options, char *list)
{
    size_t count = 0;

    for (char *word = strtok(list, ","); word != NULL; word = strtok(NULL, ",")) {
        if (count + 1 >= sizeof(options->threads) / sizeof(*options->threads) || atoi(word) < 1)
            usage();
        options->threads[count++] = atoi(word);
    }
    options->threads[count] = 0;
}

static const struct test *find_test(const char *name)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
        if (strcmp(tests[i].name, name) == 0)
            return &tests[i];
    usage();
}

int main(int argc, char **argv)
{
    struct options options = { .count = 20000, .seconds = 0.2, .threads = { 1 } };
    int option;

    while ((option = getopt(argc, argv, "n:t:s:V")) != -1) {
        switch (option) {
        case 'V': puts(OpenSSL_version(OPENSSL_VERSION)); return 0;
        case 'n': options.count = atol(optarg); break;
        case 't': parse_threads(&options, optarg); break;
        case 's': options.seconds = atof(optarg); break;
        default: usage();
        }
    }
    if (optind == argc || options.count < 1000 || options.seconds <= 0)
        usage();
    for (int i = optind; i < argc; i++)
        find_test(argv[i]);
    for (int i = optind; i < argc; i++) {
        const struct test *test = find_test(argv[i]);

        test->run(test, &options);
    }
    return 0;
}
