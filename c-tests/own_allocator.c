/*
 * Programs that give OpenSSL an allocator of their own (CRYPTO_set_mem_functions).
 *
 * In memory that processes share, one of them makes a context or a connection, another one uses it,
 * and a third one frees it: nobody dies or hangs, and sessions resume as on stock. An allocator of
 * private memory is no obstacle: the cache is ours.
 */
#include "harness.h"
#include "own_allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <openssl/x509v3.h>

enum { BLOCKS = 4000, PATIENCE_IN_SECONDS = 100 };

static const struct protocol *protocol;

/* Each process has a heap of its own: at an address of another one lies something else. */
static void fill_heap(int seed)
{
    static char *blocks[BLOCKS];

    for (int i = 0; i < BLOCKS; i++) {
        size_t size = 40 + (size_t)(seed % 50) * 24 + (size_t)i % 300;

        REQUIRE((blocks[i] = malloc(size)) != NULL);
        memset(blocks[i], 0xa0 + seed % 32, size);
    }
    for (int i = 0; i < BLOCKS; i += 3)
        free(blocks[i]);
}

static pid_t begin_process(void)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        alarm(PATIENCE_IN_SECONDS);
    return child;
}

static void await(pid_t child, const char *what)
{
    int status = -1;

    REQUIRE(waitpid(child, &status, 0) == child);
    if (!CHECK_INT(status, 0))
        note("this process: %s", what);
}

/* A step in a process of its own, with a heap that is like no other's. */
static void in_a_process(const char *what, void (*step)(void))
{
    static int seed;
    pid_t child;

    seed++;
    child = begin_process();
    if (child == 0) {
        fill_heap(seed);
        step();
        _exit(test_end());
    }
    await(child, what);
}

/* ---- what the processes do ------------------------------------------------------------------- */

static int switch_to_second(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    if (common->second != NULL)
        SSL_set_SSL_CTX(ssl, common->second);
    return SSL_TLSEXT_ERR_OK;
}

static int any_id(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    memset(id, 0x55, *length);
    memcpy(id, &common->count, sizeof(common->count));
    common->count++;
    return 1;
}

static int no_shared_key(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **session)
{
    (void)ssl, (void)identity, (void)length;
    *session = NULL;
    return 1;
}

static void make(void)
{
    common->server = new_server(protocol);
    common->second = new_server(protocol);
    common->client = new_client(protocol);
    SSL_CTX_set_tlsext_servername_callback(common->server, switch_to_second);
    CHECK_INT(is_ours(common->server), 0);
    CHECK_INT(SSL_CTX_get_session_cache_mode(common->server), SSL_SESS_CACHE_SERVER);
}

static void use(void)
{
    SSL_SESSION *session = obtain_session(common->server, common->client);

    CHECK_INT(resumes(common->server, common->client, session), 1);
    SSL_SESSION_free(session);
}

/* Sets each of the things that we keep at a connection where its memory is its process's own. */
static void set_all_on(SSL *ssl)
{
    CHECK_INT(SSL_set_generate_session_id(ssl, any_id), 1);
    CHECK_INT(SSL_set_session_id_context(ssl, (const unsigned char *)"own", 3), 1);
    CHECK_INT(SSL_set_purpose(ssl, X509_PURPOSE_ANY), 1);
    SSL_set_psk_find_session_callback(ssl, no_shared_key);
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_set_SSL_CTX(ssl, common->second);
    SSL_set_SSL_CTX(ssl, common->server);
}

static void use_and_keep(void)
{
    struct connection c = connection_new(common->server, common->client);

    set_all_on(c.server);
    CHECK_INT(SSL_set_tlsext_host_name(c.client, "second.example"), 1);
    CHECK_INT(connection_handshake(&c), 1);
    CHECK_INT(connection_exchange(&c), 1);
    SSL_free(c.client);
    common->ssl = c.server;
}

static void make_connection(void)
{
    common->ssl = SSL_new(common->server);
    set_all_on(common->ssl);
}

static void use_connection(void)
{
    SSL *copy = SSL_dup(common->ssl);

    CHECK(copy != NULL);
    SSL_free(copy);
    set_all_on(common->ssl);
    SSL_set_accept_state(common->ssl);
    SSL_clear(common->ssl);
}

static void free_connection(void)
{
    SSL_free(common->ssl);
}

static void flush(void)
{
    SSL_CTX_flush_sessions(common->server, 0);
    CHECK_INT(SSL_CTX_sess_number(common->server), 0);
}

static void free_all(void)
{
    SSL_CTX_free(common->second);
    SSL_CTX_free(common->server);
    SSL_CTX_free(common->client);
    common->second = NULL;
}

static void take_indexes(void)
{
    CHECK(SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
    CHECK(SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
    CHECK(SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
}

/* ---- the programs ---------------------------------------------------------------------------- */

/* Each object is made, used and freed by different processes. */
static void each_step_elsewhere(void)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        section("%s", p->name);
        in_a_process("makes contexts", make);
        in_a_process("uses them", use);
        in_a_process("uses them again", use);
        in_a_process("uses them, and keeps a connection", use_and_keep);
        in_a_process("frees the connection", free_connection);
        in_a_process("makes a connection", make_connection);
        in_a_process("uses it", use_connection);
        in_a_process("frees it", free_connection);
        in_a_process("flushes", flush);
        in_a_process("frees the contexts", free_all);
        in_a_process("makes others", make);
        in_a_process("uses these", use);
        in_a_process("frees these", free_all);
    }
}

/*
 * What OpenSSL makes once and keeps, such as the algorithms of a provider, is there before a process
 * forks: OpenSSL 3.6 needs that.
 */
static void warm_up(void)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        make();
        use();
        use_and_keep();
        free_connection();
        free_all();
    }
}

static void shared(void)
{
    CHECK_INT(use_own_allocator(1), 1);
    warm_up();
    each_step_elsewhere();
}

/* A program with ex_data of its own. */
static void shared_with_indexes(void)
{
    CHECK_INT(use_own_allocator(1), 1);
    take_indexes();
    warm_up();
    each_step_elsewhere();
}

/* The allocator's memory is the process's own. */
static void private(void)
{
    CHECK_INT(use_own_allocator(0), 1);
    take_indexes();
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = new_server(p), *client = new_client(p);
        SSL_SESSION *session = obtain_session(server, client);
        struct connection c;
        pid_t child;

        CHECK_INT(is_ours(server), overlaid());
        CHECK_INT(resumes(server, client, session), 1);
        child = begin_process();
        if (child == 0) {
            CHECK_INT(resumes(server, client, session), 1);
            _exit(test_end());
        }
        await(child, "resumes what it inherited");
        common->server = common->second = server;
        c = connection_new(server, client);
        set_all_on(c.server);
        CHECK_INT(connection_handshake(&c), 1);
        connection_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* The allocator begins with memory of its own, as before a server has forked its workers. */
static void private_then_shared(void)
{
    SSL_CTX *before, *client;

    CHECK_INT(use_own_allocator(0), 1);
    protocol = protocols;
    before = new_server(protocol);
    client = new_client(protocol);
    SSL_SESSION_free(obtain_session(before, client));
    CHECK_INT(is_ours(before), overlaid());
    allocates_shared = 1;
    warm_up();
    each_step_elsewhere();
    SSL_CTX_free(client);
    SSL_CTX_free(before);
}

int main(void)
{
    if (is_under_valgrind())
        skip("its processes end with their heaps filled, on purpose");
    in_a_process("shared", shared);
    in_a_process("shared, with indexes", shared_with_indexes);
    in_a_process("private", private);
    in_a_process("private, then shared", private_then_shared);
    return test_end();
}
