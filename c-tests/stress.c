/*
 * Everything at once: threads that handshake, resume, add, remove, look up, flush, list, resize and
 * set modes and callbacks on contexts that other threads free and replace meanwhile (clause 10, fact
 * 14). What must hold: no crash, no deadlock, nothing leaked, every callback on a live context.
 * `make tsan` runs it under ThreadSanitizer, library included.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

enum { THREADS = 4, STEPS = 400, CONTEXTS = 3, NUMBERS = 200 };

static SSL_CTX *contexts[CONTEXTS];
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static SSL_CTX *client;
static atomic_long new_calls, remove_calls, get_calls, full_handshakes;

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    /* Return 0 half of the time; the other half gives the reference back itself. */
    if (atomic_fetch_add(&new_calls, 1) % 2 == 0)
        return 0;
    SSL_SESSION_free(session);
    return 1;
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned int length;

    SSL_SESSION_get_id(session, &length);
    CHECK_PTR(SSL_CTX_get_app_data(ctx), contexts);
    atomic_fetch_add(&remove_calls, 1);
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length;
    *copy = 0;
    atomic_fetch_add(&get_calls, 1);
    return NULL;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *ctx = new_server(&protocols[1]);

    SSL_CTX_set_app_data(ctx, contexts);
    SSL_CTX_sess_set_new_cb(ctx, new_cb);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    SSL_CTX_sess_set_get_cb(ctx, get_cb);
    return ctx;
}

/* A reference to one of the contexts. */
static SSL_CTX *borrow(unsigned int which)
{
    SSL_CTX *ctx;

    pthread_mutex_lock(&table);
    ctx = contexts[which % CONTEXTS];
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&table);
    return ctx;
}

/*
 * Gives a reference back, perhaps the last. Under the mutex: libcrypto's reference count is not
 * instrumented, and ThreadSanitizer could not see that the last one comes after all use.
 */
static void give_back(SSL_CTX *ctx)
{
    pthread_mutex_lock(&table);
    SSL_CTX_free(ctx);
    pthread_mutex_unlock(&table);
}

static void replace(unsigned int which)
{
    SSL_CTX *fresh = new_context(), *old;

    pthread_mutex_lock(&table);
    old = contexts[which % CONTEXTS];
    contexts[which % CONTEXTS] = fresh;
    pthread_mutex_unlock(&table);
    give_back(old);
}

static void handshake(SSL_CTX *ctx)
{
    SSL_SESSION *session = obtain_session(ctx, client);

    /* Whether it resumes depends on the others; that it ends well does not. */
    CHECK(session == NULL || resumes(ctx, client, session) >= 0);
    SSL_SESSION_free(session);
    atomic_fetch_add(&full_handshakes, 1);
}

static void look_up(SSL_CTX *ctx, unsigned int number)
{
    SSL *ssl = SSL_new(ctx);
    struct session_id id = made_id(number);

    SSL_has_matching_session_id(ssl, id.bytes, id.length);
    SSL_free(ssl);
}

static void change(SSL_CTX *ctx, unsigned int number)
{
    SSL_SESSION *session = make_session(ctx, TLS1_3_VERSION, number);

    SSL_CTX_add_session(ctx, session);
    SSL_SESSION_set_timeout(session, number % 2 == 0 ? 1000 : 10);
    if (number % 3 == 0)
        SSL_CTX_remove_session(ctx, session);
    SSL_SESSION_free(session);
}

static void step(unsigned int what, unsigned int number)
{
    static const long modes[] = { 0x2, 0x3, 0x82, 0x102, 0x302, 0x0 };
    SSL_CTX *ctx = borrow(number);

    switch (what) {
    case 0: handshake(ctx); break;
    case 1: SSL_CTX_sess_set_cache_size(ctx, 10 + number % 50); break;
    case 2: SSL_CTX_flush_sessions(ctx, (long)time(NULL) + number % 2 * 100); break;
    case 3: SSL_CTX_set_session_cache_mode(ctx, modes[number % 6]); break;
    case 4: SSL_CTX_sess_set_new_cb(ctx, number % 2 == 0 ? new_cb : NULL); break;
    case 5: SSL_CTX_sess_set_remove_cb(ctx, number % 2 == 0 ? remove_cb : NULL); break;
    case 6: SSL_CTX_sess_set_get_cb(ctx, number % 2 == 0 ? get_cb : NULL); break;
    case 7: CHECK(SSL_CTX_sess_number(ctx) >= 0); break;
    case 8: replace(number); break;
    case 9: case 10: case 11: look_up(ctx, number); break;
    default: change(ctx, number); break;
    }
    give_back(ctx);
}

static void *work(void *argument)
{
    uint32_t random = 2463534242u * ((uint32_t)(uintptr_t)argument + 1);

    for (int i = 0; i < STEPS; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        step(random % 20, random / 20 % NUMBERS);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];

    alarm(200); /* a deadlock must end */
    client = new_client(&protocols[1]);
    for (int i = 0; i < CONTEXTS; i++)
        contexts[i] = new_context();
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CONTEXTS; i++)
        SSL_CTX_free(contexts[i]);
    SSL_CTX_free(client);
    CHECK(atomic_load(&full_handshakes) > 0);
    CHECK(atomic_load(&new_calls) > 0);
    CHECK(atomic_load(&remove_calls) > 0);
    note("handshakes %ld, new_cb %ld, remove_cb %ld, get_cb %ld", (long)full_handshakes,
         (long)new_calls, (long)remove_calls, (long)get_calls);
    return test_end();
}
