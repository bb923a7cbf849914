/*
 * Fact 15: descriptors 0, 1 and 2 may be the client's socket (inetd, vsftpd). Through the whole
 * life of contexts, with errors and with settings that are wrong, nothing is written to them
 * unasked, and no descriptor stays open. A wrong setting gets one line where SESSCACHE_LOG says.
 *
 * Each case is a child that is executed anew (settings are read at load), with three sockets for
 * descriptors; the parent reads what came.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>

enum { FIRST_OTHER = 3, LAST_OTHER = 255 };

/* ---- the child: everything a program does --------------------------------------------------- */

/* Descriptors that nobody asked for. */
static int others_open(void)
{
    int count = 0;

    for (int fd = FIRST_OTHER; fd <= LAST_OTHER; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void live(const struct protocol *p)
{
    struct recorder recorder = { .new_action = NEW_DECLINES, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session, *made;
    struct connection c;

    record(server, &recorder);
    SSL_SESSION_free(obtain_session(server, client));
    recorder.new_action = NEW_FREES;
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_CTX_flush_sessions(server, 0);
    CHECK_INT(resumes(server, client, session), 0);
    SSL_SESSION_free(session);

    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_sess_set_cache_size(server, 2);
    for (unsigned int i = 0; i < 5; i++) {
        made = make_session(server, p->version, i);
        CHECK_INT(SSL_CTX_add_session(server, made), 1);
        SSL_SESSION_set_time(made, time(NULL) - 1000);
        SSL_SESSION_free(made);
    }
    CHECK(SSL_CTX_sessions(server) != NULL);
    SSL_CTX_flush_sessions(server, time(NULL));
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    CHECK_INT(SSL_CTX_remove_session(server, NULL), 0);

    c = connect_offering(server, client, NULL);
    connection_drop(&c);
    CHECK_INT(SSL_CTX_set_max_proto_version(client, p->is_dtls ? DTLS1_VERSION : TLS1_VERSION), 1);
    c = connection_new(server, client);
    CHECK_INT(connection_handshake(&c), 0);
    connection_drop(&c);
    CHECK(SSL_CTX_new(NULL) == NULL);
    ERR_clear_error();
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static int child_main(int errno_at_start)
{
    struct stat at_start[3], now;

    (void)errno_at_start;
    for (int fd = 0; fd < 3; fd++)
        REQUIRE(fstat(fd, &at_start[fd]) == 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK_INT(errno_at_start, 0);
#endif
    /* Being loaded left none open, and being used leaves none. */
    CHECK_INT(others_open(), 0);
    FOR_EACH_PROTOCOL(p)
        live(p);
    CHECK_INT(others_open(), 0);
    for (int fd = 0; fd < 3; fd++)
        CHECK(fstat(fd, &now) == 0 && now.st_ino == at_start[fd].st_ino);
    return test_end();
}

/* ---- the parent ----------------------------------------------------------------------------- */

struct setting {
    const char *name;
    const char *zero; /* SESSCACHE_NEW_CB_ZERO, or NULL for unset */
    const char *log;  /* SESSCACHE_LOG */
    int to_stderr;    /* the lines that our library writes to descriptor 2 ... */
    int to_file;      /* ... and to the file "log" */
};

static void set_or_unset(const char *name, const char *value)
{
    if (value != NULL)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* Everything that was written to the other ends of a child's sockets. */
static size_t read_all(int fd, char *text, size_t size)
{
    size_t length = 0;
    ssize_t got;

    while (length + 1 < size && (got = recv(fd, text + length, size - 1 - length, 0)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    return length;
}

static int lines_with(const char *text, const char *words)
{
    int lines = 0;

    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        lines += memmem(text, (size_t)(end - text), words, strlen(words)) != NULL;
    return lines;
}

static void check_text(const struct setting *s, const char *where, const char *text, int lines)
{
    int all = lines_with(text, "");

    if (!overlaid())
        lines = 0;
    if (!check_int(__FILE__, __LINE__, where, all, lines)
        || (lines == 0 && !check_true(__FILE__, __LINE__, where, *text == '\0')))
        fprintf(stderr, "%s", text);
    if (lines > 0 && s->zero != NULL)
        CHECK_INT(lines_with(text, "SESSCACHE_NEW_CB_ZERO=sometimes"), 1);
}

static void check_file(const struct setting *s)
{
    char text[4096] = "";
    FILE *file = fopen("log", "r");

    CHECK_INT(file != NULL, overlaid() && s->to_file > 0);
    if (file != NULL) {
        struct stat status;

        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        CHECK(fstat(fileno(file), &status) == 0 && (status.st_mode & 0777) == 0600);
        fclose(file);
    }
    check_text(s, "the file's lines", text, s->to_file);
    unlink("log");
}

static void run(const struct setting *s, const char *program)
{
    int ours[3], theirs[3], status = 0;
    char text[8192];
    pid_t child;

    section("%s", s->name);
    for (int i = 0; i < 3; i++) {
        int pair[2];

        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        /* High enough that no descriptor of the child's three is among them. */
        REQUIRE((ours[i] = fcntl(pair[0], F_DUPFD_CLOEXEC, 64)) >= 0);
        REQUIRE((theirs[i] = fcntl(pair[1], F_DUPFD_CLOEXEC, 64)) >= 0);
        close(pair[0]);
        close(pair[1]);
    }
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        set_or_unset("SESSCACHE_NEW_CB_ZERO", s->zero);
        set_or_unset("SESSCACHE_LOG", s->log);
        for (int i = 0; i < 3; i++)
            if (dup2(theirs[i], i) != i)
                _exit(1);
        for (int fd = FIRST_OTHER; fd <= LAST_OTHER; fd++)
            close(fd);
        execl(program, program, "child", (char *)NULL);
        _exit(1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = { "lines to 0", "lines to 1", "lines to 2" };

        shutdown(ours[i], SHUT_WR);
        close(theirs[i]);
        read_all(ours[i], text, sizeof(text));
        check_text(s, names[i], text, i == 2 ? s->to_stderr : 0);
        close(ours[i]);
    }
    check_file(s);
}

int main(int argc, char **argv)
{
    int errno_at_start = errno;
    char file[256], missing[300], fifo[300], folder[300];
    const struct setting settings[] = {
        { "nothing set", NULL, NULL, 0, 0 },
        { "wrong value", "sometimes", NULL, 0, 0 },
        { "right value", "keep", file, 0, 0 },
        { "empty values", "", "", 0, 0 },
        { "to a file", "sometimes", file, 0, 1 },
        { "to stderr", "sometimes", "stderr", 1, 0 },
        { "nothing to say", NULL, "stderr", 0, 0 },
        { "off", "sometimes", "off", 0, 0 },
        { "a file that cannot be", "sometimes", missing, 0, 0 },
        { "a folder", "sometimes", folder, 0, 0 },
        { "a pipe that nobody reads", "sometimes", fifo, 0, 0 },
        { "no such place", "sometimes", "here", 0, 0 },
    };

    if (argc > 1)
        return child_main(errno_at_start);
    REQUIRE(getcwd(folder, 200) != NULL);
    snprintf(file, sizeof(file), "%.200s/log", folder);
    snprintf(missing, sizeof(missing), "%.200s/missing/log", folder);
    snprintf(fifo, sizeof(fifo), "%.200s/fifo", folder);
    REQUIRE(mkfifo(fifo, 0600) == 0);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        run(&settings[i], argv[0]);
    unlink(fifo);
    return test_end();
}
