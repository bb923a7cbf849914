/* The cases of the cache benchmark (cache.c) and what they run on. */
#ifndef SESSCACHE_BENCH_CACHE_H
#define SESSCACHE_BENCH_CACHE_H

#include "bench.h"

/* Timeouts of the sessions that are in the cache before a case begins, in seconds. */
enum { TIMEOUT = 7200, TIMEOUT_SPREAD = 3600, LOWERED_TIMEOUT = 3600 };

/* A cache with the sessions number 0 … count - 1, all with one time stamp. */
struct cache {
    SSL_CTX *ctx;
    SSL *asking; /* a connection of the context, for SSL_has_matching_session_id */
    int version; /* which that connection asks for */
    int prefix;  /* bytes that all ids begin with */
    long count;
    long time;
};

struct options {
    long count;
    double seconds; /* how long a case runs */
    int threads[8]; /* numbers of threads to run with, ended by 0 */
};

/* The cache for all cases that leave it as they found it: made at first use, never full. */
const struct cache *shared_cache(const struct options *options);

/* Makes a cache; limit 0 means: so large that nothing is evicted. */
struct cache cache_new(long count, long limit, int prefix, long spread);
void cache_free(struct cache *cache);

struct test {
    const char *name;
    void (*run)(const struct test *test, const struct options *options);
    int parameter; /* the meaning is the function's */
};

/* Lookups and mixtures; parameter: percent of lookups, or a negative number for misses. */
void run_mixture(const struct test *test, const struct options *options);
void run_prefix(const struct test *test, const struct options *options);

/* Adding; parameter: which timeouts. Reports the removing of what was added too. */
enum timeouts { EQUAL, RANDOM, LOWERED };
void run_add(const struct test *test, const struct options *options);
void run_add_full(const struct test *test, const struct options *options);

/* The whole cache at once. */
void run_flush_nothing(const struct test *test, const struct options *options);
void run_flush(const struct test *test, const struct options *options);
void run_free(const struct test *test, const struct options *options);
void run_bytes(const struct test *test, const struct options *options);

/*
 * Threads that do the same thing over and over. A round prepares what it needs, notes the time,
 * does worker->batch operations, and sets ns and operations; the batch begins with one operation
 * and doubles until it takes long enough to be timed, and only then does it count. Where every
 * thread has a core, a round does not count either if the kernel gave that core to another.
 */
enum { BATCH = 256 };

struct worker {
    const struct cache *cache;
    const struct test *test;
    SSL *ssl;        /* this thread's connection */
    uint64_t number; /* of the next id that is only this worker's */
    uint64_t random; /* state of random_below() */
    int batch;
    uint64_t ns, operations;     /* the round's */
    uint64_t ns2, operations2;   /* of a second kind of operation, if the round has one */
    uint64_t sum, sum_operations, sum2, sum2_operations;
    void *own; /* of the rounds */
};

struct work {
    const char *name, *name2; /* of the case, and of its second kind of operation or NULL */
    void *(*begin)(struct worker *worker);
    void (*round)(struct worker *worker);
    void (*end)(struct worker *worker);
};

/* Runs the work with that many threads and reports wall time per operation. */
void run_work(const struct work *work, const struct test *test, const struct cache *cache,
              const struct options *options, int threads);

uint64_t random_below(struct worker *worker, uint64_t bound);

/* Gives a session that is in no cache an id that no session of the cache has. */
void renew_id(struct worker *worker, SSL_SESSION *session);

#endif
