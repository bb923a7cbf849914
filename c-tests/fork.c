/*
 * Servers that fork: a context made before, whose workers each resume their own sessions, and a
 * fork after sessions were cached, which the child resumes as well as the parent.
 */
#include "harness.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, SESSIONS = 5 };

/* A child ends without main's end: its buffers were written before, its verdict is its status. */
static pid_t fork_clean(void)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    REQUIRE(child >= 0);
    return child;
}

static void check_child(pid_t child)
{
    int status = -1;

    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

static void cache_sessions(SSL_CTX *server, SSL_CTX *client, SSL_SESSION **sessions)
{
    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = obtain_session(server, client);
}

static void check_resume(SSL_CTX *server, SSL_CTX *client, SSL_SESSION **sessions, int expected)
{
    for (int i = 0; i < SESSIONS; i++)
        CHECK_INT(resumes(server, client, sessions[i]), expected);
}

static void free_sessions(SSL_SESSION **sessions)
{
    for (int i = 0; i < SESSIONS; i++)
        SSL_SESSION_free(sessions[i]);
}

/* Sessions a context holds after so many full handshakes and resumptions. */
static int expected_number(const struct protocol *p, int handshakes, int resumptions)
{
    return p->version == TLS1_3_VERSION ? handshakes + resumptions : handshakes;
}

/* A worker with the contexts it was born with; it frees them, so that nothing leaks. */
static void work(const struct protocol *p, SSL_CTX *server, SSL_CTX *client, int inherited)
{
    SSL_SESSION *sessions[SESSIONS];
    struct recorder *recorder = SSL_CTX_get_app_data(server);
    int number;

    *recorder = (struct recorder){ .get_copy = -1 };
    cache_sessions(server, client, sessions);
    check_resume(server, client, sessions, 1);
    number = inherited + expected_number(p, SESSIONS, SESSIONS);
    CHECK_INT(SSL_CTX_sess_number(server), number);
    CHECK_INT(recorder->new_calls, expected_number(p, SESSIONS, SESSIONS));
    CHECK_INT(recorder->get_calls, 0);
    free_sessions(sessions);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    CHECK_INT(recorder->remove_calls, number);
}

/* Made before the fork, used after it by several workers at once. */
static void made_before(const struct protocol *p, int used_before)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *sessions[SESSIONS];
    pid_t workers[WORKERS];
    int inherited = 0;

    section("%s made before, %s", p->name, used_before ? "used" : "unused");
    record(server, &recorder);
    if (used_before) {
        cache_sessions(server, client, sessions);
        inherited = SESSIONS;
    }
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = fork_clean();
        if (workers[i] == 0) {
            if (used_before)
                free_sessions(sessions);
            work(p, server, client, inherited);
            _exit(test_end());
        }
    }
    for (int i = 0; i < WORKERS; i++)
        check_child(workers[i]);
    /* Nothing of it happened here. */
    CHECK_INT(SSL_CTX_sess_number(server), inherited);
    CHECK_INT(recorder.remove_calls, 0);
    if (used_before) {
        check_resume(server, client, sessions, 1);
        free_sessions(sessions);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The child resumes what the parent cached; each has the sessions for itself from then on. */
static void cached_before(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *sessions[SESSIONS];
    pid_t child;

    section("%s cached before", p->name);
    record(server, &recorder);
    cache_sessions(server, client, sessions);
    child = fork_clean();
    if (child == 0) {
        recorder = (struct recorder){ .get_copy = -1 };
        check_resume(server, client, sessions, 1);
        CHECK_INT(SSL_CTX_sess_hits(server), SESSIONS);
        CHECK_INT(recorder.get_calls, 0);
        SSL_CTX_flush_sessions(server, 0);
        CHECK_INT(recorder.remove_calls, expected_number(p, SESSIONS, SESSIONS));
        check_resume(server, client, sessions, 0);
        free_sessions(sessions);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
        _exit(test_end());
    }
    check_child(child);
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(SSL_CTX_sess_number(server), SESSIONS);
    check_resume(server, client, sessions, 1);
    CHECK_INT(SSL_CTX_sess_hits(server), SESSIONS);
    free_sessions(sessions);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The worker makes its own, as after a reload; and a child of the child. */
static void made_after(const struct protocol *p)
{
    pid_t child = fork_clean();

    section("%s made after", p->name);
    if (child == 0) {
        struct recorder recorder = { .get_copy = -1 };
        SSL_CTX *server = new_server(p), *client = new_client(p);
        pid_t grandchild;

        record(server, &recorder);
        grandchild = fork_clean();
        work(p, server, client, 0);
        if (grandchild != 0)
            check_child(grandchild);
        _exit(test_end());
    }
    check_child(child);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        made_after(p);
        made_before(p, 0);
        made_before(p, 1);
        cached_before(p);
    }
    return test_end();
}
