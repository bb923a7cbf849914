/*
 * What the benchmark programs share: clock, ids, sessions made by hand, contexts, result lines.
 *
 * Only OpenSSL's public functions are used, so that one binary runs on stock OpenSSL and with
 * libsesscache preloaded. Which of the two it was is asked of the process itself and stands in
 * every result line.
 */
#ifndef SESSCACHE_BENCH_H
#define SESSCACHE_BENCH_H

#include <stdint.h>
#include <openssl/ssl.h>

enum { ID_LENGTH = SSL_MAX_SSL_SESSION_ID_LENGTH };

/* A failed condition ends the program: a library that loses sessions has no speed. */
#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            die(__FILE__, __LINE__, #condition); \
    } while (0)
_Noreturn void die(const char *file, int line, const char *what);

uint64_t now_ns(void);

/*
 * Called between two operations: the first has ended before the second begins. So it is in a
 * server, where most of a handshake lies between them; without it the processor begins with the
 * cache misses of the next operation during those of this one.
 */
static inline void settle(void)
{
#if defined(__x86_64__)
    __builtin_ia32_lfence();
#elif defined(__aarch64__)
    __asm__ volatile("dsb ld\n\tisb" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* A number that looks random, a different one for each n. */
uint64_t mix(uint64_t n);

/* The session id number n; the first `prefix` bytes (a multiple of 8) are the same for all. */
void make_id(unsigned char id[ID_LENGTH], uint64_t n, int prefix);

/* A session without a handshake; one reference, the caller's. */
SSL_SESSION *make_session(int version, const unsigned char id[ID_LENGTH], long time, long timeout);

/* A server's context with room for so many sessions (0: no limit). */
SSL_CTX *make_server(long limit);

/*
 * Adds sessions number first … first + count - 1, which from then on only the cache holds. Their
 * timeouts rise evenly from `timeout` to `timeout + spread`, so that stock never walks its list.
 */
struct filling {
    int version, prefix;
    uint64_t first;
    long count, time, timeout, spread;
};
void fill(SSL_CTX *ctx, const struct filling *filling);

/* Context switches of a process (RUSAGE_SELF) or thread (RUSAGE_THREAD) up to now. */
struct switches {
    long voluntary, involuntary;
};
struct switches switches_of(int who);

/* What a case measured. */
struct result {
    double value;
    const char *unit; /* "ns", "us" or "bytes" */
    struct switches switches;
    uint64_t operations;
};

/*
 * Prints a line of fields that are separated by tabs:
 *   way case parameters value unit voluntary involuntary operations
 * The way is "ours" if the cache of the contexts that make_server() made is sesscache's.
 */
void report(const char *name, const char *parameters, const struct result *result);

#endif
