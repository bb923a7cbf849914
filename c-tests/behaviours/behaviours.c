/*
 * Asks a libssl what it does where its versions differ, and prints a word for each thing that it
 * does. differences.txt names these words, since versions are too many, and a distribution's may
 * have patches. It runs on stock OpenSSL alone.
 *
 *   null-crashes    NULL in place of a connection ends the process (3.0 and 3.1)
 *   flush-ex        it has SSL_CTX_flush_sessions_ex
 *   time-wraps      a time before 1970 is one in a far future
 *   removal-locked  remove_cb is called under the lock of the context (to 3.6.3)
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "behaviours: %s failed\n", what);
        exit(1);
    }
}

/* Adds a session with the id `number`, which lives for 100 seconds. */
static int add(SSL_CTX *ctx, unsigned char number)
{
    unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH];
    SSL_SESSION *session = SSL_SESSION_new();
    int added;

    memset(id, number, sizeof(id));
    require(session != NULL && SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION)
            && SSL_SESSION_set1_id(session, id, sizeof(id))
            && SSL_SESSION_set_time(session, (long)time(NULL)) != 0
            && SSL_SESSION_set_timeout(session, 100), "a session");
    added = SSL_CTX_add_session(ctx, session);
    SSL_SESSION_free(session);
    return added;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    require(ctx != NULL, "SSL_CTX_new");
    return ctx;
}

static int null_crashes(void)
{
    const struct rlimit none = { 0, 0 };
    pid_t child = fork();
    int status;

    require(child >= 0, "fork");
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &none);
        SSL_set_cert_cb(NULL, NULL, NULL);
        _exit(0);
    }
    require(waitpid(child, &status, 0) == child, "waitpid");
    return WIFSIGNALED(status);
}

static int flush_ex(void)
{
    return dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex") != NULL;
}

static int time_wraps(void)
{
    SSL_CTX *ctx = new_context();
    long left;

    require(add(ctx, 1), "SSL_CTX_add_session");
    SSL_CTX_flush_sessions(ctx, -1);
    left = SSL_CTX_sess_number(ctx);
    SSL_CTX_free(ctx);
    return left == 0;
}

static int added_in_callback;

/* Under the lock that it needs, SSL_CTX_add_session fails. */
static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    added_in_callback = add(ctx, 2);
}

static int removal_locked(void)
{
    SSL_CTX *ctx = new_context();

    require(add(ctx, 1), "SSL_CTX_add_session");
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    alarm(10); /* a deadlock must not last */
    SSL_CTX_flush_sessions(ctx, 0);
    alarm(0);
    SSL_CTX_free(ctx);
    return !added_in_callback;
}

int main(void)
{
    static const struct {
        const char *word;
        int (*holds)(void);
    } behaviours[] = {
        { "null-crashes", null_crashes },
        { "flush-ex", flush_ex },
        { "time-wraps", time_wraps },
        { "removal-locked", removal_locked },
    };

    for (size_t i = 0; i < sizeof(behaviours) / sizeof(behaviours[0]); i++)
        if (behaviours[i].holds())
            printf("%s ", behaviours[i].word);
    printf("\n");
    fprintf(stderr, "%s\n", OpenSSL_version(OPENSSL_VERSION));
    return 0;
}
