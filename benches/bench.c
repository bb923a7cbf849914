/* Clock, ids, sessions, contexts and result lines of the benchmark programs, see bench.h. */
#include "bench.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <openssl/err.h>

void die(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The finaliser of SplitMix64: a bijection, so different numbers give different ids. */
uint64_t mix(uint64_t n)
{
    n += 0x9e3779b97f4a7c15u;
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
    n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
    return n ^ (n >> 31);
}

void make_id(unsigned char id[ID_LENGTH], uint64_t n, int prefix)
{
    for (int i = 0; i < ID_LENGTH; i += 8) {
        uint64_t word = i < prefix ? 0x7265747369676572u : mix(n * 4 + (uint64_t)i / 8);

        memcpy(id + i, &word, 8);
    }
}

SSL_SESSION *make_session(int version, const unsigned char id[ID_LENGTH], long time, long timeout)
{
    SSL_SESSION *session = SSL_SESSION_new();

    REQUIRE(session != NULL);
    REQUIRE(SSL_SESSION_set1_id(session, id, ID_LENGTH));
    REQUIRE(SSL_SESSION_set_protocol_version(session, version));
    SSL_SESSION_set_time(session, time);
    SSL_SESSION_set_timeout(session, timeout);
    return session;
}

static const char *way = "unknown";

static void note_way(const SSL_CTX *ctx)
{
    int (*is_active)(const SSL_CTX *);

    *(void **)&is_active = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    way = is_active != NULL && is_active(ctx) ? "ours" : "stock";
}

SSL_CTX *make_server(long limit)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    REQUIRE(ctx != NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, limit);
    note_way(ctx);
    return ctx;
}

void fill(SSL_CTX *ctx, const struct filling *filling)
{
    for (long i = 0; i < filling->count; i++) {
        unsigned char id[ID_LENGTH];
        SSL_SESSION *session;
        long more = (long)((double)filling->spread * (double)i / (double)filling->count);

        make_id(id, filling->first + (uint64_t)i, filling->prefix);
        session = make_session(filling->version, id, filling->time, filling->timeout + more);
        REQUIRE(SSL_CTX_add_session(ctx, session) == 1);
        SSL_SESSION_free(session);
    }
}

struct switches switches_of(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (struct switches){ usage.ru_nvcsw, usage.ru_nivcsw };
}

void report(const char *name, const char *parameters, const struct result *result)
{
    printf("%s\t%s\t%s\t%.2f\t%s\t%ld\t%ld\t%llu\n", way, name, parameters, result->value,
           result->unit, result->switches.voluntary, result->switches.involuntary,
           (unsigned long long)result->operations);
    fflush(stdout);
}
