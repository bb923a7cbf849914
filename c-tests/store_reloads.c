/*
 * Keys that change while threads use them. A context that is made after the key file has changed
 * brings the new keys in, however many handshakes there are at that moment; and no session is lost
 * while another thread makes contexts, for each of which the key file is looked at.
 */
#include "harness_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { THREADS = 3, RELOADS = 300, SESSIONS = 1500 };

static SSL_CTX *busy_server;
static atomic_int is_over;

static int turns(int turns)
{
    return is_under_valgrind() ? turns / 30 : turns;
}

/* Resumes without an end, each time from the store, and so opens and seals. */
static void *resume(void *argument)
{
    SSL_CTX *client = new_client(&protocols[0]);
    SSL_SESSION *session = obtain_session(busy_server, client);

    (void)argument;
    while (!atomic_load(&is_over)) {
        struct connection c = connect_offering(busy_server, client, session);

        connection_close(&c);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    return NULL;
}

static void *make_contexts(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over))
        SSL_CTX_free(SSL_CTX_new(TLS_client_method()));
    return NULL;
}

static void start(pthread_t *threads, int count, void *(*body)(void *))
{
    atomic_store(&is_over, 0);
    for (int i = 0; i < count; i++)
        REQUIRE(pthread_create(&threads[i], NULL, body, NULL) == 0);
}

static void end(const pthread_t *threads, int count)
{
    atomic_store(&is_over, 1);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* The file has one key, another one each time: what was sealed before a reload does not open. */
static void reload_under_load(void)
{
    pthread_t threads[THREADS];
    struct sesscache_stats before, after;
    int unnoticed = 0, lost = 0;

    section("reload");
    busy_server = new_host(&protocols[0]);
    SSL_CTX_set_session_cache_mode(busy_server,
                                   SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    own_server = new_host(&protocols[0]);
    own_client = new_client(&protocols[0]);
    CHECK(has_store(own_server));
    before = stats_of(own_server);
    start(threads, THREADS, resume);
    for (int i = 1; i <= turns(RELOADS); i++) {
        SSL_SESSION *session = obtain_here();

        empty_cache(own_server);
        lost += resumes_here(session) != 1;
        write_keys("new keys", i, 1);
        CHECK_INT(rename("new keys", "keys"), 0);
        SSL_CTX_free(SSL_CTX_new(TLS_server_method()));
        empty_cache(own_server);
        unnoticed += resumes_here(session) != 0;
        SSL_SESSION_free(session);
    }
    CHECK_INT(unnoticed, 0);
    end(threads, THREADS);
    /* The store itself may be busy, and then says so. */
    after = stats_of(own_server);
    CHECK(lost <= (long)(after.busy - before.busy));
    free_own_contexts();
    SSL_CTX_free(busy_server);
}

static void contexts_are_made(void)
{
    enum { MAKERS = 2 };
    struct sesscache_stats before, after;
    pthread_t threads[MAKERS];
    int resumed = 0, tried = turns(SESSIONS);

    section("contexts are made");
    own_server = new_host(&protocols[0]);
    own_client = new_client(&protocols[0]);
    before = stats_of(own_server);
    start(threads, MAKERS, make_contexts);
    for (int i = 0; i < tried; i++) {
        SSL_SESSION *session = obtain_here();

        empty_cache(own_server);
        resumed += resumes_here(session) == 1;
        SSL_SESSION_free(session);
    }
    end(threads, MAKERS);
    after = stats_of(own_server);
    CHECK_INT(resumed, tried);
    CHECK_INT(after.stores - before.stores, tried);
    CHECK_INT(after.undecryptable - before.undecryptable, 0);
    free_own_contexts();
}

static const struct named_function functions[] = {
    NAMED(reload_under_load), NAMED(contexts_are_made), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 0, 1);
    RUN_AGAIN(reload_under_load, file_store("store"), key_file("keys"));
    RUN_AGAIN(contexts_are_made, file_store("store"), key_file("keys"));
    return test_end();
}
