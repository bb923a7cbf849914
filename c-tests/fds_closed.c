/*
 * Fact 15: nothing depends on a descriptor kept open, on the file system or on a user's rights. A
 * server makes its contexts (or not yet), then closes every descriptor, has the numbers used for
 * something else, and goes into an empty chroot as nobody: handshakes and cache go on, and nothing
 * is written where our descriptors might have been.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How far the server is when it gives everything away. */
enum progress { NOTHING_YET, CONTEXTS_MADE, SESSIONS_CACHED };

enum { REUSED = 16, ALL = 1000, NOBODY = 65534 };

struct server {
    SSL_CTX *server, *client;
    SSL_SESSION *session; /* resumes, if SESSIONS_CACHED */
    struct recorder recorder; /* here, because its callbacks are called until the server is freed */
};

/* The numbers from 0 on become the pipe; all others are closed. */
static void give_descriptors_away(int pipe_end)
{
    CHECK_INT(dup2(pipe_end, ALL), ALL);
    for (int fd = 0; fd < ALL; fd++)
        close(fd);
    for (int fd = 0; fd < REUSED; fd++)
        CHECK_INT(dup2(ALL, fd), fd);
    close(ALL);
}

/* The rest only root can do. */
static void give_rights_away(const char *empty_folder)
{
    if (getuid() != 0)
        return;
    CHECK_INT(chroot(empty_folder), 0);
    CHECK_INT(chdir("/"), 0);
    CHECK_INT(setgid(NOBODY), 0);
    CHECK_INT(setuid(NOBODY), 0);
    CHECK(access("/dev", F_OK) != 0);
}

static void go_on(const struct protocol *p, struct server *s)
{
    SSL_SESSION *session, *made;

    s->recorder = (struct recorder){ .new_action = NEW_FREES, .get_copy = -1 };
    record(s->server, &s->recorder);
    if (s->session != NULL) {
        CHECK_INT(SSL_CTX_sess_number(s->server), 1);
        CHECK_INT(resumes(s->server, s->client, s->session), 1);
        SSL_SESSION_free(s->session);
    }
    session = obtain_session(s->server, s->client);
    CHECK(cached_on_server(s->server, session) != NULL);
    CHECK_INT(resumes(s->server, s->client, session), 1);
    SSL_CTX_flush_sessions(s->server, 0);
    CHECK_INT(SSL_CTX_sess_number(s->server), 0);
    CHECK_INT(resumes(s->server, s->client, session), 0);
    CHECK_INT(s->recorder.get_calls, 1);
    SSL_SESSION_free(session);

    SSL_CTX_flush_sessions(s->server, 0);
    SSL_CTX_sess_set_cache_size(s->server, 1);
    for (unsigned int i = 0; i < 3; i++) {
        made = make_session(s->server, p->version, i);
        CHECK_INT(SSL_CTX_add_session(s->server, made), 1);
        SSL_SESSION_free(made);
    }
    CHECK_INT(SSL_CTX_sess_number(s->server), 1);
    CHECK(SSL_CTX_sessions(s->server) != NULL);
}

static struct server make(const struct protocol *p)
{
    struct server s = { .server = new_server(p), .client = new_client(p) };

    return s;
}

static void unmake(struct server *s)
{
    SSL_CTX_free(s->client);
    SSL_CTX_free(s->server);
}

static int child_main(
    const struct protocol *p, enum progress progress, int pipe_end, const char *empty_folder)
{
    struct server s = { NULL };
    int reused = 0;

    if (progress >= CONTEXTS_MADE)
        s = make(p);
    if (progress >= SESSIONS_CACHED)
        s.session = obtain_session(s.server, s.client);
    give_descriptors_away(pipe_end);
    give_rights_away(empty_folder);
    if (progress < CONTEXTS_MADE)
        s = make(p);
    CHECK_INT(is_ours(s.server), overlaid());
    go_on(p, &s);
    unmake(&s);
    /* And contexts can still be made. */
    s = make(p);
    CHECK_INT(is_ours(s.server), overlaid());
    go_on(p, &s);
    unmake(&s);
    for (int fd = 0; fd < ALL; fd++)
        reused += fcntl(fd, F_GETFD) >= 0;
    CHECK_INT(reused, REUSED);
    return test_end();
}

/* The child's output is a failed check's text, or was never to be written. */
static void run(const struct protocol *p, enum progress progress, const char *empty_folder)
{
    static const char *const names[] = { "nothing yet", "contexts made", "sessions cached" };
    int ends[2], status = 0;
    char text[4096];
    ssize_t length;
    pid_t child;

    section("%s %s", p->name, names[progress]);
    fflush(NULL);
    REQUIRE(pipe(ends) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        _exit(child_main(p, progress, ends[1], empty_folder));
    close(ends[1]);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    length = read(ends[0], text, sizeof(text) - 1);
    CHECK_INT(length, 0);
    if (length > 0)
        fprintf(stderr, "%.*s", (int)length, text);
    close(ends[0]);
}

int main(void)
{
    const char *empty_folder = "empty";

    REQUIRE(mkdir(empty_folder, 0755) == 0);
    if (getuid() != 0)
        note("not root: without chroot and setuid");
    FOR_EACH_PROTOCOL(p)
        for (enum progress progress = NOTHING_YET; progress <= SESSIONS_CACHED; progress++)
            run(p, progress, empty_folder);
    rmdir(empty_folder);
    return test_end();
}
