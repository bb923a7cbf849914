/*
 * Clause 13: new_cb saves the session to a file (i2d), and the get_cb of another process restores
 * it from there (d2i): the client resumes. This program is both processes; the second has an
 * argument. The files lie in the current folder, which run.sh makes for each run.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAME_SIZE = 100, DER_SIZE = 8192 };

static int get_calls;

static void file_name(char *name, const struct session_id *id)
{
    for (unsigned int i = 0; i < id->length; i++)
        sprintf(name + 2 * i, "%02x", id->bytes[i]);
    strcpy(name + 2 * id->length, ".session");
}

static int save(const char *name, const SSL_SESSION *session)
{
    unsigned char der[DER_SIZE], *end = der;
    int length = i2d_SSL_SESSION(session, NULL);
    FILE *file;

    REQUIRE(length > 0 && length <= DER_SIZE);
    CHECK_INT(i2d_SSL_SESSION(session, &end), length);
    REQUIRE((file = fopen(name, "wb")) != NULL);
    CHECK_INT(fwrite(der, 1, (size_t)length, file), length);
    return fclose(file) == 0;
}

static SSL_SESSION *load(const char *name)
{
    unsigned char der[DER_SIZE];
    const unsigned char *start = der;
    FILE *file = fopen(name, "rb");
    size_t length;

    if (file == NULL)
        return NULL;
    length = fread(der, 1, sizeof(der), file);
    fclose(file);
    return d2i_SSL_SESSION(NULL, &start, (long)length);
}

static int saving_new_cb(SSL *ssl, SSL_SESSION *session)
{
    struct session_id id = id_of(session);
    char name[NAME_SIZE];

    (void)ssl;
    file_name(name, &id);
    CHECK(save(name, session));
    SSL_SESSION_free(session);
    return 1;
}

static SSL_SESSION *loading_get_cb(SSL *ssl, const unsigned char *bytes, int length, int *copy)
{
    struct session_id id = { { 0 }, (unsigned int)length };
    char name[NAME_SIZE];

    (void)ssl;
    get_calls++;
    memcpy(id.bytes, bytes, id.length);
    file_name(name, &id);
    *copy = 0;
    return load(name);
}

static void deleting_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct session_id id = id_of(session);
    char name[NAME_SIZE];

    (void)ctx;
    file_name(name, &id);
    (void)unlink(name);
}

static int file_exists(SSL_SESSION *client_session)
{
    struct session_id id = server_id_of(client_session);
    char name[NAME_SIZE];

    file_name(name, &id);
    return access(name, R_OK) == 0;
}

static SSL_CTX *new_saving_server(const struct protocol *p, long mode)
{
    SSL_CTX *server = new_server(p);

    SSL_CTX_set_session_cache_mode(server, mode);
    SSL_CTX_sess_set_new_cb(server, saving_new_cb);
    SSL_CTX_sess_set_get_cb(server, loading_get_cb);
    return server;
}

static void client_file(char *name, const struct protocol *p, int number)
{
    sprintf(name, "client-%s-%d", p->name, number);
}

enum { WHOLE, CUT, FOREIGN, REMOVED, CLIENTS };

/* The first process: handshakes, the server's sessions and the client's go to files. */
static void leave_sessions(const struct protocol *p)
{
    SSL_CTX *server = new_saving_server(p, SSL_SESS_CACHE_SERVER), *client = new_client(p);
    SSL_SESSION *sessions[CLIENTS];
    char name[NAME_SIZE], other[NAME_SIZE];
    struct session_id id;

    for (int i = 0; i < CLIENTS; i++) {
        sessions[i] = obtain_session(server, client);
        client_file(name, p, i);
        CHECK(save(name, sessions[i]));
        CHECK(file_exists(sessions[i]));
    }
    id = server_id_of(sessions[CUT]);
    file_name(name, &id);
    CHECK_INT(truncate(name, 20), 0);
    /* Another session's file under this one's name, as a mistake would leave it. */
    id = server_id_of(sessions[WHOLE]);
    file_name(other, &id);
    id = server_id_of(sessions[FOREIGN]);
    file_name(name, &id);
    CHECK_INT(unlink(name), 0);
    CHECK_INT(link(other, name), 0);
    for (int i = 0; i < CLIENTS; i++)
        SSL_SESSION_free(sessions[i]);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_SESSION *load_client(const struct protocol *p, int number)
{
    char name[NAME_SIZE];
    SSL_SESSION *session;

    client_file(name, p, number);
    REQUIRE((session = load(name)) != NULL);
    return session;
}

/* Resumed from the file, then from the internal cache if there is one. */
static void resume(const struct protocol *p, long mode)
{
    SSL_CTX *server = new_saving_server(p, mode), *client = new_client(p);
    SSL_SESSION *session = load_client(p, WHOLE);
    int is_internal = (mode & SSL_SESS_CACHE_NO_INTERNAL) == 0;

    section("%s mode %lx", p->name, mode);
    get_calls = 0;
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(get_calls, 1);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 1);
    CHECK_INT(cached_on_server(server, session) != NULL, is_internal);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(get_calls, is_internal ? 1 : 2);
    CHECK_INT(SSL_CTX_sess_hits(server), 2);
    report("number", SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A file that does not parse is a miss, and so is what is not there any more. */
static void miss(const struct protocol *p)
{
    SSL_CTX *server = new_saving_server(p, SSL_SESS_CACHE_SERVER), *client = new_client(p);
    SSL_SESSION *cut = load_client(p, CUT), *removed = load_client(p, REMOVED);
    SSL_SESSION *restored;
    struct session_id id;
    char name[NAME_SIZE];

    section("%s miss", p->name);
    get_calls = 0;
    CHECK_INT(resumes(server, client, cut), 0);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 0);
    /* remove_cb takes the file away. */
    SSL_CTX_sess_set_remove_cb(server, deleting_remove_cb);
    CHECK(file_exists(removed));
    id = server_id_of(removed);
    file_name(name, &id);
    REQUIRE((restored = load(name)) != NULL);
    CHECK_INT(SSL_CTX_remove_session(server, restored), 0);
    CHECK(!file_exists(removed));
    CHECK_INT(resumes(server, client, removed), 0);
    CHECK_INT(get_calls, 2);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 0);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_SESSION_free(restored);
    SSL_SESSION_free(cut);
    SSL_SESSION_free(removed);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* The session of another client: the two ends have no secret in common, so it does not resume. */
static void foreign(const struct protocol *p)
{
    SSL_CTX *server = new_saving_server(p, SSL_SESS_CACHE_SERVER), *client = new_client(p);
    SSL_SESSION *session = load_client(p, FOREIGN);
    struct connection c = connection_new(server, client);

    section("%s foreign", p->name);
    CHECK_INT(SSL_set_session(c.client, session), 1);
    report("handshake", connection_handshake(&c));
    CHECK(!SSL_is_init_finished(c.client) || !SSL_session_reused(c.client));
    connection_drop(&c);
    report("number", SSL_CTX_sess_number(server));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Runs this program again as another process. */
static void run_second(const char *program)
{
    int status = -1;
    pid_t child;

    fflush(stdout);
    REQUIRE((child = fork()) >= 0);
    if (child == 0) {
        execl(program, program, "second", (char *)NULL);
        _exit(127);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        FOR_EACH_PROTOCOL(p)
            leave_sessions(p);
        run_second(argv[0]);
        return test_end();
    }
    FOR_EACH_PROTOCOL(p) {
        resume(p, SSL_SESS_CACHE_SERVER);
        resume(p, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
        resume(p, SSL_SESS_CACHE_OFF);
        miss(p);
        foreign(p);
    }
    return test_end();
}
