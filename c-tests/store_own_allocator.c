/*
 * A program that has OpenSSL allocate in memory that its processes share, with a host store and a key
 * file: OpenSSL allocates nothing before the program has set its allocator. The contexts work with
 * OpenSSL's own cache. One line of the log says so, and the store counts them.
 */
#include "harness_store.h"
#include "own_allocator.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EACH = 3 };

static void handshakes(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = new_server(p), *client = new_client(p);
        SSL_SESSION *session = obtain_session(server, client);

        CHECK_INT(is_ours(server), 0);
        CHECK_INT(has_store(server), 0);
        CHECK_INT(attach_store(server, "shm:?size=1MiB"), 0);
        CHECK_INT(resumes(server, client, session), 1);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* It makes contexts itself, and so do its children. */
static void with_shared_memory(void)
{
    REQUIRE(use_own_allocator(1));
    /* Kamailio's is for clients, too, by its method; the line comes nevertheless. */
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    CHECK_INT(log_lines("log", ""), 1);
    handshakes();
    for (int i = 1; i < EACH; i++) {
        pid_t child = fork();
        int status = -1;

        REQUIRE(child >= 0);
        if (child == 0) {
            handshakes();
            _exit(test_end());
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK_INT(status, 0);
    }
}

static void with_openssls_allocator(void)
{
    SSL_CTX *server = new_server(protocols);
    struct sesscache_stats stats = stats_of(server);

    CHECK_INT(is_ours(server), 1);
    CHECK_INT(stats.shared_memory, 1 + 2 * EACH * protocol_count);
    CHECK_INT(stats.stores, 0);
    SSL_CTX_free(server);
}

static const struct named_function functions[] = {
    NAMED(with_shared_memory), NAMED(with_openssls_allocator), { NULL, NULL },
};

int main(int argc, char **argv)
{
    char log[PATH_SIZE + 32];

    begin(argc, argv, functions);
    write_keys("keys", 1, 1);
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    RUN_AGAIN(with_shared_memory, file_store("store"), key_file("keys"), log);
    CHECK_INT(log_lines("log", ""), 1);
    CHECK_INT(log_lines("log", "memory that its processes share"), 1);
    RUN_AGAIN(with_openssls_allocator, file_store("store"), key_file("keys"), log);
    CHECK_INT(log_lines("log", ""), 1);
    return test_end();
}
