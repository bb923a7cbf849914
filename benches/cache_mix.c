/*
 * Lookups that hit, lookups that miss, and mixtures of lookups with removing and adding.
 *
 * A thread looks up sessions that stay. What it removes and adds are sessions of its own, the one
 * longest in the cache first, and each comes back under a new id: as sessions of connections do.
 */
#include "cache.h"

#include <stdlib.h>

enum { MIN_POOL = 128, MAX_POOL = 1024 };

enum kind { LOOK_UP, ADD, REMOVE };

/* What a thread has: a ring of sessions, half of them in the cache, and the batch it prepared. */
struct mixer {
    SSL_SESSION *ring[2 * MAX_POOL];
    uint64_t pool, added, removed;
    struct {
        enum kind kind;
        SSL_SESSION *session;
        unsigned char id[ID_LENGTH];
    } batch[BATCH];
};

/* The number of an id that no session has. */
static uint64_t absent_number(struct worker *worker)
{
    return UINT64_C(1) << 60 | random_below(worker, UINT32_MAX);
}

static SSL_SESSION *next_to_add(struct worker *worker, struct mixer *mixer)
{
    SSL_SESSION *session = mixer->ring[mixer->added++ % (2 * mixer->pool)];

    renew_id(worker, session);
    return session;
}

static void *mixer_begin(struct worker *worker)
{
    const struct cache *cache = worker->cache;
    struct mixer *mixer = calloc(1, sizeof(*mixer));
    unsigned char id[ID_LENGTH] = { 0 };

    REQUIRE(mixer != NULL);
    mixer->pool = (uint64_t)cache->count / 64;
    if (mixer->pool < MIN_POOL)
        mixer->pool = MIN_POOL;
    if (mixer->pool > MAX_POOL)
        mixer->pool = MAX_POOL;
    for (uint64_t i = 0; i < 2 * mixer->pool; i++)
        mixer->ring[i] = make_session(cache->version, id, cache->time, TIMEOUT);
    while (worker->test->parameter < 100 && mixer->added < mixer->pool)
        REQUIRE(SSL_CTX_add_session(cache->ctx, next_to_add(worker, mixer)));
    return mixer;
}

static void mixer_end(struct worker *worker)
{
    struct mixer *mixer = worker->own;

    for (; mixer->removed < mixer->added; mixer->removed++)
        REQUIRE(SSL_CTX_remove_session(worker->cache->ctx,
                                       mixer->ring[mixer->removed % (2 * mixer->pool)]));
    for (uint64_t i = 0; i < 2 * mixer->pool; i++)
        SSL_SESSION_free(mixer->ring[i]);
    free(mixer);
}

static void prepare(struct worker *worker, struct mixer *mixer)
{
    const struct cache *cache = worker->cache;
    int percent = abs(worker->test->parameter);

    for (int i = 0; i < worker->batch; i++) {
        if (random_below(worker, 100) < (uint64_t)percent) {
            uint64_t present = random_below(worker, (uint64_t)cache->count);
            uint64_t number = worker->test->parameter < 0 ? absent_number(worker) : present;

            mixer->batch[i].kind = LOOK_UP;
            make_id(mixer->batch[i].id, number, cache->prefix);
        } else if (mixer->added - mixer->removed >= mixer->pool) {
            mixer->batch[i].kind = REMOVE;
            mixer->batch[i].session = mixer->ring[mixer->removed++ % (2 * mixer->pool)];
        } else {
            mixer->batch[i].kind = ADD;
            mixer->batch[i].session = next_to_add(worker, mixer);
        }
    }
}

static void mixer_round(struct worker *worker)
{
    struct mixer *mixer = worker->own;
    SSL_CTX *ctx = worker->cache->ctx;
    int lookups = 0, found = 0, changed = 0;
    uint64_t before;

    prepare(worker, mixer);
    before = now_ns();
    for (int i = 0; i < worker->batch; i++) {
        switch (mixer->batch[i].kind) {
        case LOOK_UP:
            lookups++;
            found += SSL_has_matching_session_id(worker->ssl, mixer->batch[i].id, ID_LENGTH);
            break;
        case ADD:
            changed += SSL_CTX_add_session(ctx, mixer->batch[i].session);
            break;
        case REMOVE:
            changed += SSL_CTX_remove_session(ctx, mixer->batch[i].session);
            break;
        }
        settle();
    }
    worker->ns = now_ns() - before;
    worker->operations = (uint64_t)worker->batch;
    REQUIRE(found == (worker->test->parameter < 0 ? 0 : lookups));
    REQUIRE(changed == worker->batch - lookups);
}

static void run_on(const struct test *test, const struct options *options,
                   const struct cache *cache)
{
    const struct work work = { .name = test->name, .begin = mixer_begin, .round = mixer_round,
                               .end = mixer_end };

    for (const int *threads = options->threads; *threads != 0; threads++)
        run_work(&work, test, cache, options, *threads);
}

void run_mixture(const struct test *test, const struct options *options)
{
    run_on(test, options, shared_cache(options));
}

/* Ids as an application's generator makes them that marks each with its server's name. */
void run_prefix(const struct test *test, const struct options *options)
{
    struct cache cache = cache_new(options->count, 0, ID_LENGTH / 2, 0);

    run_on(test, options, &cache);
    cache_free(&cache);
}
