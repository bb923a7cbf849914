/*
 * A server makes its contexts and then enters a sandbox (seccomp), as OpenSSH's and vsftpd's children
 * do: a system call that stock's handshakes do not make ends it. Handshakes of all kinds go on as
 * without a sandbox: full ones, hits, misses and removals, by id and by ticket, under names, with
 * client certificates, with early data, in later epochs, in several threads, and when there is
 * something to log.
 */
#include "clock.h"
#include "harness_store.h"
#include "harness_tickets.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { EPOCH = 21600, THREADS = 4, ROUNDS = 150 };

/* ---- the sandbox ----------------------------------------------------------------------------- */

/* Memory, locks, the clock, the end. The test itself writes its lines. */
static const int allowed[] = {
    SYS_read,           SYS_write,        SYS_close,         SYS_brk,          SYS_mmap,
    SYS_munmap,         SYS_mremap,       SYS_mprotect,      SYS_madvise,      SYS_futex,
    SYS_exit_group,     SYS_exit,         SYS_rt_sigreturn,  SYS_rt_sigprocmask, SYS_set_robust_list,
    SYS_clock_gettime,  SYS_gettimeofday, SYS_getpid,
#ifdef SYS_time
    SYS_time,
#endif
};
enum { ALLOWED = sizeof(allowed) / sizeof(allowed[0]) };

/* A call that is not allowed ends the process, as the usual action of a sandbox does. */
static void tell(int signal, siginfo_t *about, void *context)
{
    char line[64];
    int length = snprintf(line, sizeof(line), "# killed for system call %d\n", about->si_syscall);

    (void)signal, (void)context;
    length = write(2, line, (size_t)length) == length;
    _exit(length == 1 ? 99 : 98);
}

static void refused_call(int number)
{
    struct sock_filter filter[ALLOWED + 3];
    struct sock_fprog program = { ALLOWED + 3, filter };
    struct sock_filter load
        = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    if (number != 0)
        kill = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)number);
    filter[0] = load;
    for (int i = 0; i < ALLOWED; i++)
        filter[1 + i] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(ALLOWED - i), 0);
    filter[1 + ALLOWED] = kill;
    filter[2 + ALLOWED] = allow;
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    /* Of all threads. */
    REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
}

/* Stock seeds its generators anew after an hour, by the clock that this test sets. */
static void keep_seed(EVP_RAND_CTX *generator)
{
    unsigned int never = 0;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_uint(OSSL_DRBG_PARAM_RESEED_TIME_INTERVAL, &never),
        OSSL_PARAM_construct_end(),
    };

    REQUIRE(EVP_RAND_CTX_set_params(generator, parameters) == 1);
}

static void enter_sandbox(void)
{
    struct sigaction action = { .sa_sigaction = tell, .sa_flags = SA_SIGINFO };
    unsigned char drawn[8];

    /* What stock draws and looks at once, at the first use. */
    REQUIRE(RAND_bytes(drawn, sizeof(drawn)) == 1 && RAND_priv_bytes(drawn, sizeof(drawn)) == 1);
    keep_seed(RAND_get0_primary(NULL));
    keep_seed(RAND_get0_public(NULL));
    keep_seed(RAND_get0_private(NULL));
    REQUIRE(sigaction(SIGSYS, &action, NULL) == 0);
    fflush(NULL);
    refused_call(variable_is("TEST_REFUSED", "softly") ? EPERM : 0);
}

/* ---- the server ------------------------------------------------------------------------------ */

static SSL_CTX *named; /* where the names lead; it asks for certificates */

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    if (SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, named), named);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(named), SSL_CTX_get_verify_callback(named));
    return SSL_TLSEXT_ERR_OK;
}

static int every_certificate(SSL *ssl, void *argument)
{
    (void)ssl, (void)argument;
    return 1;
}

struct service {
    const struct protocol *protocol;
    int by_ticket;
    SSL_CTX *first, *second, *lines, *host, *client;
};

static SSL_CTX *make_server(const struct service *s)
{
    SSL_CTX *server = new_host(s->protocol);

    if (s->by_ticket)
        SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(server, 30L * 86400);
    return server;
}

static struct service make_service(const struct protocol *protocol, int by_ticket)
{
    struct service s = { .protocol = protocol, .by_ticket = by_ticket };

    s.first = make_server(&s);
    s.second = make_server(&s);
    s.host = make_server(&s);
    s.client = new_client(protocol);
    if (by_ticket)
        SSL_CTX_clear_options(s.client, SSL_OP_NO_TICKET);
    use_client_certificate(s.host, s.client);
    SSL_CTX_set_tlsext_servername_callback(s.first, servername_cb);
    /* Its certificates are set for each connection: about that there is a line. */
    s.lines = make_server(&s);
    SSL_CTX_set_cert_cb(s.lines, every_certificate, NULL);
    return s;
}

static void free_service(struct service *s)
{
    SSL_CTX_free(s->first);
    SSL_CTX_free(s->second);
    SSL_CTX_free(s->lines);
    SSL_CTX_free(s->host);
    SSL_CTX_free(s->client);
}

/* ---- in the sandbox -------------------------------------------------------------------------- */

static int resumes_named(const struct service *s, SSL_SESSION **session, const char *name)
{
    struct connection c = connection_new(s->first, s->client);
    int resumed;

    REQUIRE(SSL_set_tlsext_host_name(c.client, name) == 1);
    if (*session != NULL)
        CHECK_INT(SSL_set_session(c.client, *session), 1);
    CHECK_INT(connection_handshake(&c) && connection_exchange(&c), 1);
    resumed = connection_resumed(&c);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(c.client);
    connection_close(&c);
    return resumed;
}

static void by_name(const struct service *s)
{
    char name[32];

    named = s->host;
    for (int i = 0; i < 20; i++) {
        SSL_SESSION *session = NULL;

        snprintf(name, sizeof(name), "host%d.example", i);
        CHECK_INT(resumes_named(s, &session, name), 0);
        resumes_named(s, &session, name);
        SSL_SESSION_free(session);
    }
}

static void end_badly(const struct service *s)
{
    struct connection c = connect_offering(s->first, s->client, NULL);
    SSL_SESSION *session;

    connection_drop(&c);
    session = obtain_session(s->first, s->client);
    SSL_CTX_set_session_id_context(s->second, (const unsigned char *)"other", 5);
    resumes(s->second, s->client, session);
    SSL_CTX_set_session_id_context(s->second, (const unsigned char *)"test", 4);
    SSL_SESSION_free(session);
}

static void remove_and_flush(const struct service *s)
{
    SSL_SESSION *session = obtain_session(s->first, s->client);
    SSL_SESSION *cached = cached_on_server(s->first, session);

    if (!s->by_ticket && CHECK(cached != NULL)) {
        CHECK_INT(SSL_CTX_remove_session(s->first, cached), 1);
        CHECK_INT(resumes(s->first, s->client, session), 0);
        CHECK_INT(resumes(s->second, s->client, session), 0);
    }
    SSL_SESSION_free(session);
    SSL_CTX_flush_sessions(s->first, time(NULL) + 1);
    SSL_CTX_flush_sessions(s->first, 0);
    CHECK(SSL_CTX_sessions(s->first) != NULL);
    SSL_CTX_sess_set_cache_size(s->first, 2);
    for (int i = 0; i < 4; i++)
        SSL_SESSION_free(obtain_session(s->first, s->client));
    SSL_CTX_sess_set_cache_size(s->first, SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
}

static void serve(const struct service *s)
{
    SSL_SESSION *session = obtain_session(s->first, s->client);

    section("%s %s", s->protocol->name, s->by_ticket ? "by ticket" : "by id");
    CHECK_INT(resumes(s->first, s->client, session), 1);
    SSL_SESSION_free(session);
    session = obtain_session(s->first, s->client);
    if (overlaid() && variable_is("TEST_SHARES", s->by_ticket ? "tickets" : "all"))
        CHECK_INT(resumes(s->second, s->client, session), 1);
    else
        resumes(s->second, s->client, session);
    SSL_SESSION_free(session);
    remove_and_flush(s);
    by_name(s);
    end_badly(s);
    SSL_SESSION_free(obtain_session(s->lines, s->client));
}

static void serve_early_data(SSL_CTX *server, SSL_CTX *client)
{
    SSL_SESSION *session = obtain_session(server, client);

    section("early data");
    for (int i = 0; i < 2; i++) {
        struct connection c = connection_new(server, client);
        SSL_SESSION *copy = SSL_SESSION_dup(session);
        size_t got = exchange_early_data(&c, copy);

        CHECK_INT(got, i == 0 || !overlaid() || variable_is("TEST_SHARES", "") ? sizeof(early) : 0);
        CHECK_INT(connection_handshake(&c), 1);
        SSL_SESSION_free(copy);
        connection_close(&c);
    }
    SSL_SESSION_free(session);
}

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

/* Everything that one thread does. */
static void live(void)
{
    struct service services[6];
    size_t count = 0;
    SSL_CTX *early_server = new_host(&protocols[1]), *early_client = new_client(&protocols[1]);

    SSL_CTX_clear_options(early_server, SSL_OP_NO_TICKET);
    SSL_CTX_set_options(early_server, SSL_OP_NO_ANTI_REPLAY);
    accept_early_data(early_server);
    SSL_CTX_clear_options(early_client, SSL_OP_NO_TICKET);
    FOR_EACH_PROTOCOL(p) {
        services[count++] = make_service(p, 0);
        services[count++] = make_service(p, 1);
    }
    set_ahead(0);
    enter_sandbox();
    for (long epoch = 0; epoch < 3; epoch++) {
        set_ahead(epoch * EPOCH);
        for (size_t i = 0; i < count; i++)
            serve(&services[i]);
        serve_early_data(early_server, early_client);
    }
    for (size_t i = 0; i < count; i++)
        free_service(&services[i]);
    SSL_CTX_free(early_server);
    SSL_CTX_free(early_client);
}

/* ---- threads --------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static SSL_CTX *shared_server, *shared_client;

static void *shake_hands(void *argument)
{
    pthread_barrier_wait(&barrier); /* the sandbox is being made */
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        SSL_SESSION *session = obtain_session(shared_server, shared_client);

        resumes(shared_server, shared_client, session);
        SSL_SESSION_free(session);
        if (i % 10 == 0)
            SSL_CTX_flush_sessions(shared_server, 0);
    }
    return argument;
}

/* All want the same few places. A process that leaves by exit_group() need not end its threads. */
static void live_in_threads(void)
{
    pthread_t threads[THREADS];

    mallopt(M_ARENA_MAX, 1); /* the C library counts processors for more */
    shared_server = new_host(&protocols[0]);
    shared_client = new_client(&protocols[0]);
    SSL_CTX_sess_set_cache_size(shared_server, 3);
    REQUIRE(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, shake_hands, NULL) == 0);
    pthread_barrier_wait(&barrier);
    enter_sandbox();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    SSL_CTX_free(shared_server);
    SSL_CTX_free(shared_client);
}

/* ---- settings -------------------------------------------------------------------------------- */

static const struct named_function functions[]
    = { NAMED(live), NAMED(live_in_threads), { NULL, NULL } };

static const char shared_memory[] = "SESSCACHE_STORE=shm:?size=1MiB";
static const char log_file[] = "TEST_SHARES=";

int main(int argc, char **argv)
{
    static char log[PATH_SIZE + 32];

    begin(argc, argv, functions);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip("the sanitizer makes system calls of its own");
#endif
    if (is_under_valgrind())
        skip("valgrind makes system calls of its own");
    write_keys("keys", 1, 2);
    host_identity();
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    section("nothing shared");
    RUN_AGAIN(live, log, log_file);
    RUN_AGAIN(live_in_threads, log);
    section("in memory");
    RUN_AGAIN(live, shared_memory, log, "TEST_SHARES=all");
    RUN_AGAIN(live, shared_memory, "TEST_SHARES=all");
    RUN_AGAIN(live_in_threads, shared_memory, log);
    section("in a file");
    RUN_AGAIN(live, file_store("store"), key_file("keys"), log, "TEST_SHARES=all");
    RUN_AGAIN(live, file_store("store"), key_file("keys"), log, "TEST_REFUSED=softly");
    RUN_AGAIN(live_in_threads, file_store("store"), key_file("keys"), log);
    section("tickets alone");
    RUN_AGAIN(live, key_file("keys"), log, "TEST_SHARES=tickets");
    return test_end();
}
