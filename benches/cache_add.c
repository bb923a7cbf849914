/*
 * Adding sessions: with room or to a full cache, and with timeouts in order or not.
 *
 * Every session of a round has a new id. Stock keeps its list in the order of expiry: it costs
 * most when a new session expires before ones that are there, which timeouts that differ, or one
 * lowered at run time, bring about.
 */
#include "cache.h"

#include <stdlib.h>

/* The sessions of a round. */
struct adder {
    SSL_SESSION *sessions[BATCH];
};

static unsigned char no_id[ID_LENGTH];

static void make_sessions(struct worker *worker, struct adder *adder, int count)
{
    const struct cache *cache = worker->cache;

    for (int i = 0; i < count; i++)
        adder->sessions[i] = make_session(cache->version, no_id, cache->time, TIMEOUT);
}

static void free_sessions(struct adder *adder, int count)
{
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(adder->sessions[i]);
}

/* ---- with room ------------------------------------------------------------------------------- */

static void *adder_begin(struct worker *worker)
{
    struct adder *adder = calloc(1, sizeof(*adder));

    REQUIRE(adder != NULL);
    make_sessions(worker, adder, BATCH);
    return adder;
}

static void adder_end(struct worker *worker)
{
    free_sessions(worker->own, BATCH);
    free(worker->own);
}

static void prepare(struct worker *worker, struct adder *adder)
{
    for (int i = 0; i < worker->batch; i++) {
        renew_id(worker, adder->sessions[i]);
        if (worker->test->parameter == RANDOM)
            SSL_SESSION_set_timeout(adder->sessions[i],
                                    TIMEOUT + (long)random_below(worker, TIMEOUT_SPREAD));
        else if (worker->test->parameter == LOWERED)
            SSL_SESSION_set_timeout(adder->sessions[i], LOWERED_TIMEOUT);
    }
}

static void add_round(struct worker *worker)
{
    struct adder *adder = worker->own;
    SSL_CTX *ctx = worker->cache->ctx;
    int added = 0, removed = 0;
    uint64_t before, between;

    prepare(worker, adder);
    before = now_ns();
    for (int i = 0; i < worker->batch; i++) {
        added += SSL_CTX_add_session(ctx, adder->sessions[i]);
        settle();
    }
    between = now_ns();
    for (int i = 0; i < worker->batch; i++) {
        removed += SSL_CTX_remove_session(ctx, adder->sessions[i]);
        settle();
    }
    worker->ns = between - before;
    worker->ns2 = now_ns() - between;
    worker->operations = worker->operations2 = (uint64_t)worker->batch;
    REQUIRE(added == worker->batch && removed == worker->batch);
}

void run_add(const struct test *test, const struct options *options)
{
    struct work work = { .name = test->name, .begin = adder_begin, .round = add_round,
                         .end = adder_end };

    if (test->parameter == EQUAL) {
        work.name2 = "remove";
        for (const int *threads = options->threads; *threads != 0; threads++)
            run_work(&work, test, shared_cache(options), options, *threads);
    } else {
        struct cache cache = cache_new(options->count, 0, 0, TIMEOUT_SPREAD);

        /* The first that expires before all others goes to the end at once, others do not. */
        fill(cache.ctx, &(struct filling){ .version = cache.version, .first = UINT64_C(1) << 50,
                                           .count = 1, .time = cache.time,
                                           .timeout = LOWERED_TIMEOUT });
        run_work(&work, test, &cache, options, 1);
        cache_free(&cache);
    }
}

/* ---- to a full cache ------------------------------------------------------------------------- */

/* Each one added costs the life of another, which only the cache holds. */
static void full_round(struct worker *worker)
{
    const struct cache *cache = worker->cache;
    struct adder adder;
    int added = 0;
    uint64_t before;

    make_sessions(worker, &adder, worker->batch);
    for (int i = 0; i < worker->batch; i++)
        renew_id(worker, adder.sessions[i]);
    before = now_ns();
    for (int i = 0; i < worker->batch; i++) {
        added += SSL_CTX_add_session(cache->ctx, adder.sessions[i]);
        settle();
    }
    worker->ns = now_ns() - before;
    worker->operations = (uint64_t)worker->batch;
    REQUIRE(added == worker->batch);
    free_sessions(&adder, worker->batch);
}

void run_add_full(const struct test *test, const struct options *options)
{
    const struct work work = { .name = test->name, .round = full_round };
    struct cache cache = cache_new(options->count, options->count, 0, 0);
    long full = SSL_CTX_sess_cache_full(cache.ctx);

    for (const int *threads = options->threads; *threads != 0; threads++)
        run_work(&work, test, &cache, options, *threads);
    REQUIRE(SSL_CTX_sess_cache_full(cache.ctx) > full);
    REQUIRE(SSL_CTX_sess_number(cache.ctx) >= cache.count - 1);
    REQUIRE(SSL_CTX_sess_number(cache.ctx) <= cache.count);
    cache_free(&cache);
}
