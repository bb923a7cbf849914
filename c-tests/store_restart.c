/*
 * The host store in a file outlives the processes: after a restart every session resumes, while the
 * key file has the key that sealed it and the namespace is the same. The key file is read again
 * whenever a context is made, and is not needed any more by a process that has read it.
 */
#include "harness_store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Keys by their number; a key file lists some in a row, newest first. */
enum { NEW_KEY = 5, OLD_KEY = 6, OTHER_KEY = 9 };

static const char *client_file(const struct protocol *p, const char *which)
{
    static char name[64];

    snprintf(name, sizeof(name), "client-%s-%s", which, p->name);
    return name;
}

static void make_contexts(const struct protocol *p)
{
    own_server = new_host(p);
    own_client = new_client(p);
}

static void leave(const char *which)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_SESSION *session;

        make_contexts(p);
        CHECK(has_store(own_server));
        session = obtain_session(own_server, own_client);
        save_session(client_file(p, which), session);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

/* In this process and in a worker of it. */
static void find(const char *which, int expected)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_SESSION *session = load_session(client_file(p, which));
        struct sesscache_stats before, after;
        struct worker worker;

        section("%s %s, expecting %d", p->name, which, expected);
        make_contexts(p);
        CHECK(has_store(own_server));
        worker = fork_worker();
        before = stats_of(own_server);
        CHECK_INT(resumes(own_server, own_client, session), expected);
        CHECK_INT(resumes_in(&worker, session), expected);
        after = stats_of(own_server);
        CHECK_INT(after.hits - before.hits, expected ? 2 : 0);
        end_worker(&worker);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

static void leave_first(void)
{
    leave("first");
}

static void leave_second(void)
{
    leave("second");
}

static void find_first(void)
{
    find("first", 1);
}

static void find_second(void)
{
    find("second", 1);
}

static void lose_first(void)
{
    find("first", 0);
}

/* Sealed with a key that this process does not have. */
static void cannot_open_first(void)
{
    SSL_CTX *server = new_host(&protocols[0]);
    struct sesscache_stats before = stats_of(server), after;

    find("first", 0);
    after = stats_of(server);
    CHECK_INT(after.undecryptable - before.undecryptable, 2 * protocol_count);
    SSL_CTX_free(server);
}

static void restarted(void)
{
    section("restarted");
    write_keys("keys", OLD_KEY, 1);
    RUN_AGAIN(leave_first, file_store("store"), key_file("keys"));
    RUN_AGAIN(find_first, file_store("store"), key_file("keys"));
    RUN_AGAIN(find_first, file_store("store"), key_file("keys"));
}

/* The key file may be named in the URL. */
static void key_in_the_url(void)
{
    char url[URL_SIZE];

    section("key in the url");
    snprintf(url, sizeof(url), "%s&key=%s", file_store("store"), path_of("keys"));
    RUN_AGAIN(find_first, url);
}

static void name_spaces(void)
{
    const char *one = "SESSCACHE_NAMESPACE=one", *two = "SESSCACHE_NAMESPACE=two";

    section("namespaces");
    RUN_AGAIN(lose_first, file_store("store"), key_file("keys"), one);
    RUN_AGAIN(leave_second, file_store("store"), key_file("keys"), one);
    RUN_AGAIN(find_second, file_store("store"), key_file("keys"), one);
    RUN_AGAIN(find_first, file_store("store"), key_file("keys"), "SESSCACHE_NAMESPACE=");
    RUN_AGAIN(leave_first, file_store("store"), key_file("keys"), two);
    RUN_AGAIN(lose_first, file_store("store"), key_file("keys"), one);
    RUN_AGAIN(find_first, file_store("store"), key_file("keys"), two);
}

/* The newest key seals, all open; a key that is gone opens nothing. */
static void rotated(void)
{
    section("rotated");
    write_keys("keys", OLD_KEY, 1);
    RUN_AGAIN(leave_first, file_store("store"), key_file("keys"));
    write_keys("other keys", OTHER_KEY, 1);
    RUN_AGAIN(cannot_open_first, file_store("store"), key_file("other keys"));
    write_keys("keys", NEW_KEY, 2);
    RUN_AGAIN(find_first, file_store("store"), key_file("keys"));
    RUN_AGAIN(leave_second, file_store("store"), key_file("keys"));
    write_keys("keys", NEW_KEY, 1);
    RUN_AGAIN(find_second, file_store("store"), key_file("keys"));
    RUN_AGAIN(cannot_open_first, file_store("store"), key_file("keys"));
}

/* A running server, which makes new contexts as on a reload. */
static void reload(void)
{
    SSL_CTX *before;

    section("reload");
    before = new_host(&protocols[0]);
    CHECK(has_store(before));
    write_keys("keys", NEW_KEY, 2);
    leave_second();
    /* The file has gone, or is no longer reachable: the process has its keys. */
    CHECK_INT(unlink("keys"), 0);
    find_second();
    find_first();
    write_keys("keys", NEW_KEY, 1);
    SSL_CTX_free(before);
}

static void reloaded(void)
{
    section("reloaded");
    write_keys("keys", OLD_KEY, 1);
    RUN_AGAIN(leave_first, file_store("store"), key_file("keys"));
    RUN_AGAIN(reload, file_store("store"), key_file("keys"));
    /* The new key alone opens what the running server sealed after its reload. */
    RUN_AGAIN(find_second, file_store("store"), key_file("keys"));
}

static const struct named_function functions[] = {
    NAMED(leave_first), NAMED(leave_second), NAMED(find_first), NAMED(find_second),
    NAMED(lose_first), NAMED(cannot_open_first), NAMED(reload), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    restarted();
    key_in_the_url();
    name_spaces();
    rotated();
    reloaded();
    return test_end();
}
