/* Processes of the host store's tests, see harness_store.h. Their state: the own contexts. */
#include "harness_store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* No process outlives a test that hangs. */
enum { LIFE_IN_SECONDS = 580 };

SSL_CTX *own_server, *own_client;
const char *own_name;

static const char *program;
static int own_wire = -1; /* in a worker */
static int failed_before; /* in a child: what its parent answers for */

static long obtain(long argument, SSL_SESSION **session);
static long resume(long argument, SSL_SESSION **session);
static long end_of(long argument, SSL_SESSION **session);
static long remove_cached_here(long argument, SSL_SESSION **session);

/* The functions that one process asks another for: the harness's, then the test's. */
static const struct named_function of_harness[]
    = { NAMED(obtain), NAMED(resume), NAMED(end_of), NAMED(remove_cached_here), { NULL, NULL } };
static const struct named_function *of_test;

static function *function_of(const char *name)
{
    for (const struct named_function *f = of_harness; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f->function;
    for (const struct named_function *f = of_test; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f->function;
    fprintf(stderr, "no function is named %s\n", name);
    test_abort();
}

/* Stops the test if its table lacks the function, or has two of this name. */
static const char *name_of(function *function)
{
    const char *name = NULL;

    for (const struct named_function *f = of_harness; f->name != NULL; f++)
        if (f->function == function)
            name = f->name;
    for (const struct named_function *f = of_test; name == NULL && f->name != NULL; f++)
        if (f->function == function)
            name = f->name;
    REQUIRE(name != NULL && function_of(name) == function);
    return name;
}

/* ---- messages -------------------------------------------------------------------------------- */

struct message {
    char task[40]; /* its name; empty in an answer, and for the end */
    long argument; /* or the answer */
    long length;   /* of the session that follows; 0: none */
};

static int write_all(int wire, const void *bytes, size_t length)
{
    /* A worker that is gone is a failed check, not a SIGPIPE. */
    return send(wire, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int read_all(int wire, void *bytes, size_t length)
{
    size_t got = 0;

    while (got < length) {
        ssize_t more = read(wire, (char *)bytes + got, length - got);

        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            return 0;
        got += (size_t)more;
    }
    return 1;
}

static int send_message(int wire, const char *task, long argument, SSL_SESSION *session)
{
    struct message message = { .argument = argument };
    unsigned char *der = NULL;
    int sent;

    REQUIRE(strlen(task) < sizeof(message.task));
    strcpy(message.task, task);
    if (session != NULL)
        REQUIRE((message.length = i2d_SSL_SESSION(session, &der)) > 0);
    sent = write_all(wire, &message, sizeof(message));
    if (sent && message.length > 0)
        sent = write_all(wire, der, (size_t)message.length);
    OPENSSL_free(der);
    return sent;
}

static int receive_message(int wire, struct message *message, SSL_SESSION **session)
{
    unsigned char *der;
    const unsigned char *start;

    *session = NULL;
    if (!read_all(wire, message, sizeof(*message)))
        return 0;
    if (message->length == 0)
        return 1;
    REQUIRE((der = malloc((size_t)message->length)) != NULL);
    start = der;
    if (read_all(wire, der, (size_t)message->length))
        REQUIRE((*session = d2i_SSL_SESSION(NULL, &start, message->length)) != NULL);
    free(der);
    return *session != NULL;
}

/* ---- processes ------------------------------------------------------------------------------- */

static void limit_life(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(LIFE_IN_SECONDS);
}

static _Noreturn void work(int wire)
{
    struct message message;
    SSL_SESSION *session;

    own_wire = wire;
    limit_life();
    while (receive_message(wire, &message, &session) && message.task[0] != '\0') {
        task *asked = (task *)function_of(message.task);
        long answer = asked(message.argument, &session);

        if (!CHECK(send_message(wire, "", answer, session)))
            break;
        SSL_SESSION_free(session);
    }
    _exit(failed_before ? 0 : test_end());
}

void begin(int argc, char **argv, const struct named_function *functions)
{
    program = argv[0];
    of_test = functions;
    limit_life();
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        work(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "again") == 0) {
        function_of(argv[2])();
        exit(test_end());
    }
    REQUIRE(argc == 1);
}

/* The environment of this process without what other settings are there for. */
static void set_variables(const char *const *variables)
{
    static const char prefix[] = "SESSCACHE_", of_the_test[] = "SESSCACHE_TEST_";

    for (char **variable = environ; *variable != NULL;) {
        char name[64];

        if (strncmp(*variable, prefix, strlen(prefix)) != 0
            || strncmp(*variable, of_the_test, strlen(of_the_test)) == 0) {
            variable++;
            continue;
        }
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*variable, "="), *variable);
        unsetenv(name); /* moves the next one here */
    }
    for (; *variables != NULL; variables++)
        putenv((char *)(uintptr_t)*variables);
}

/* A child of this process; 0 in the child, whose buffers are empty. */
static pid_t fork_child(void)
{
    pid_t child;

    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        failed_before = test_end();
    return child;
}

static _Noreturn void start_again(
    const char *role, const char *argument, const char *const *variables)
{
    set_variables(variables);
    execl(program, program, role, argument, (char *)NULL);
    _exit(127);
}

static void check_end(pid_t child)
{
    int status = -1;

    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

void run_again(function *body, const char *const *variables)
{
    pid_t child = fork_child();

    if (child == 0)
        start_again("again", name_of(body), variables);
    check_end(child);
}

/* The two ends of a wire; the other one's number is given to a process that is started again. */
static struct worker make_worker(const char *const *variables)
{
    struct worker worker;
    char number[16];
    int ends[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    worker.wire = ends[0];
    worker.pid = fork_child();
    if (worker.pid == 0) {
        close(ends[0]);
        snprintf(number, sizeof(number), "%d", ends[1]);
        if (variables != NULL)
            start_again("worker", number, variables);
        work(ends[1]);
    }
    close(ends[1]);
    return worker;
}

struct worker fork_worker(void)
{
    return make_worker(NULL);
}

struct worker start_worker(const char *const *variables)
{
    return make_worker(variables);
}

void send_task(struct worker *worker, task *task, long argument, SSL_SESSION *session)
{
    CHECK(send_message(worker->wire, name_of((function *)task), argument, session));
}

long receive_answer(struct worker *worker, SSL_SESSION **session)
{
    struct message message;

    /* Without an answer the rest of a test means nothing. */
    REQUIRE(receive_message(worker->wire, &message, session));
    return message.argument;
}

long ask(struct worker *worker, task *task, long argument, SSL_SESSION *session)
{
    SSL_SESSION *back;
    long answer;

    send_task(worker, task, argument, session);
    answer = receive_answer(worker, &back);
    SSL_SESSION_free(back);
    return answer;
}

SSL_SESSION *ask_for_session(struct worker *worker, task *task, long argument)
{
    SSL_SESSION *session;

    send_task(worker, task, argument, NULL);
    (void)receive_answer(worker, &session);
    REQUIRE(session != NULL);
    return session;
}

void close_descriptors(void)
{
    for (int fd = 0; fd < 1024; fd++)
        if (fd != own_wire && fd != STDERR_FILENO)
            close(fd);
}

void end_worker(struct worker *worker)
{
    (void)send_message(worker->wire, "", 0, NULL);
    check_end(worker->pid);
    close(worker->wire);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

void free_own_contexts(void)
{
    SSL_CTX_free(own_client);
    SSL_CTX_free(own_server);
    own_client = NULL;
    own_server = NULL;
}

struct connection open_own(SSL_SESSION *offer)
{
    struct connection c = connection_new(own_server, own_client);

    if (own_name != NULL)
        CHECK_INT(SSL_set_tlsext_host_name(c.client, own_name), 1);
    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    return c;
}

/* 1 resumed, 0 full, -1 failed; what came of it to be freed by the caller. */
static int handshake(SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed = -1;

    *made = NULL;
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        *made = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

SSL_SESSION *obtain_here(void)
{
    SSL_SESSION *session;

    CHECK_INT(handshake(NULL, &session), 0);
    REQUIRE(session != NULL);
    return session;
}

int resumes_here(SSL_SESSION *session)
{
    SSL_SESSION *made;
    int resumed = handshake(session, &made);

    SSL_SESSION_free(made);
    return resumed;
}

SSL_SESSION *renew_here(SSL_SESSION *session)
{
    SSL_SESSION *made;

    CHECK_INT(handshake(session, &made), 1);
    REQUIRE(made != NULL);
    return made;
}

static long obtain(long argument, SSL_SESSION **session)
{
    *session = obtain_here();
    return argument;
}

/* The session that came of it goes back. */
static long resume(long argument, SSL_SESSION **session)
{
    SSL_SESSION *offered = *session;

    (void)argument;
    argument = handshake(offered, session);
    SSL_SESSION_free(offered);
    return argument;
}

/* Of the session that was offered: in TLS 1.3 the connection goes on with a newer one. */
static long end_of(long argument, SSL_SESSION **session)
{
    SSL_SESSION *cached;

    (void)argument;
    CHECK_INT(resumes_here(*session), 1);
    cached = cached_on_server(own_server, *session);
    REQUIRE(cached != NULL);
    return SSL_SESSION_get_time(cached) + SSL_SESSION_get_timeout(cached);
}

/* From the server's cache, where it must be. */
static long remove_cached_here(long argument, SSL_SESSION **session)
{
    SSL_SESSION *cached = cached_on_server(own_server, *session);

    (void)argument;
    REQUIRE(cached != NULL);
    return SSL_CTX_remove_session(own_server, cached);
}

SSL_SESSION *obtain_in(struct worker *worker)
{
    return ask_for_session(worker, obtain, 0);
}

int resumes_in(struct worker *worker, SSL_SESSION *session)
{
    return (int)ask(worker, resume, 0, session);
}

SSL_SESSION *renew_in(struct worker *worker, SSL_SESSION *session)
{
    SSL_SESSION *made;

    send_task(worker, resume, 0, session);
    CHECK_INT(receive_answer(worker, &made), 1);
    REQUIRE(made != NULL);
    return made;
}

long end_in(struct worker *worker, SSL_SESSION *session)
{
    return ask(worker, end_of, 0, session);
}

int remove_in(struct worker *worker, SSL_SESSION *session)
{
    return (int)ask(worker, remove_cached_here, 0, session);
}
