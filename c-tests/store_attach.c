/*
 * The host store by code: sesscache_store_attach gives one context a store, in a process without
 * one in its environment. It returns 1, or 0 with one entry on OpenSSL's error queue that names the
 * cause; then the context goes on without a store.
 */
#include "harness_store.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/err.h>

/* A URL in the current folder; `rest` starts with a ? or is empty. */
static const char *file_url(const char *name, const char *rest)
{
    static char url[URL_SIZE];

    snprintf(url, sizeof(url), "file:%s%s", path_of(name), rest);
    return url;
}

static const char *keyed_url(const char *name)
{
    static char url[URL_SIZE];

    snprintf(url, sizeof(url), "file:%s?size=1MiB&key=%s", path_of(name), path_of("keys"));
    return url;
}

static void attach(const char *url)
{
    ERR_clear_error();
    CHECK_INT(attach_store(own_server, url), 1);
    CHECK_INT(ERR_peek_error(), 0);
    CHECK(has_store(own_server));
}

/* Workers that inherit the context share; another context of the process has no part in it. */
static void shared(const struct protocol *p, const char *url)
{
    struct worker a, b;
    SSL_SESSION *session;
    SSL_CTX *other = new_host(p);

    section("%s attached, %.5s", p->name, url);
    own_server = new_host(p);
    own_client = new_client(p);
    CHECK(!has_store(own_server));
    attach(url);
    CHECK(!has_store(other));
    a = fork_worker();
    b = fork_worker();
    session = obtain_in(&a);
    CHECK_INT(resumes_in(&b, session), 1);
    CHECK_INT(resumes(own_server, own_client, session), 1);
    CHECK_INT(resumes(other, own_client, session), 0);
    SSL_SESSION_free(session);
    end_worker(&a);
    end_worker(&b);
    SSL_CTX_free(other);
    free_own_contexts();
}

/* From then on: what was negotiated before is not in the store. */
static void late(const struct protocol *p)
{
    SSL_SESSION *before, *after;
    struct worker worker;

    section("%s late", p->name);
    own_server = new_host(p);
    own_client = new_client(p);
    before = obtain_session(own_server, own_client);
    attach("shm:?size=1MiB");
    after = obtain_session(own_server, own_client);
    empty_cache(own_server);
    worker = fork_worker();
    CHECK_INT(resumes_in(&worker, before), 0);
    CHECK_INT(resumes_in(&worker, after), 1);
    end_worker(&worker);
    SSL_SESSION_free(before);
    SSL_SESSION_free(after);
    free_own_contexts();
}

/* Contexts that name the same file share it, in one process and in another. */
static void leave_in_file(void)
{
    SSL_SESSION *session;
    SSL_CTX *first;

    own_client = new_client(&protocols[1]);
    own_server = first = new_host(&protocols[1]);
    attach(keyed_url("two"));
    session = obtain_session(first, own_client);
    save_session("client", session);
    own_server = new_host(&protocols[1]);
    attach(keyed_url("two"));
    CHECK_INT(resumes(own_server, own_client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(first);
    free_own_contexts();
}

static void find_in_file(void)
{
    SSL_SESSION *session = load_session("client");

    own_client = new_client(&protocols[1]);
    own_server = new_host(&protocols[1]);
    CHECK_INT(resumes(own_server, own_client, session), 0);
    attach(keyed_url("two"));
    CHECK_INT(resumes(own_server, own_client, session), 1);
    SSL_SESSION_free(session);
    free_own_contexts();
}

/* 0, one entry that says why, and a context as before. */
static void refused(const char *what, const char *url)
{
    struct sesscache_stats stats;
    const char *data = NULL;
    SSL_SESSION *session;
    int flags = 0;

    section("refused: %s", what);
    own_server = new_host(&protocols[0]);
    own_client = new_client(&protocols[0]);
    ERR_clear_error();
    CHECK_INT(attach_store(own_server, url), 0);
    CHECK(ERR_get_error_all(NULL, NULL, NULL, &data, &flags) != 0);
    if (CHECK((flags & ERR_TXT_STRING) != 0 && data != NULL && *data != '\0'))
        note("%s: %s", what, data);
    CHECK_INT(ERR_peek_error(), 0);
    CHECK_INT(read_stats(own_server, &stats, sizeof(stats)), 0);
    CHECK_INT(ERR_peek_error(), 0);
    session = obtain_session(own_server, own_client);
    CHECK_INT(resumes(own_server, own_client, session), 1);
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void all_refused(void)
{
    refused("NULL", NULL);
    refused("empty", "");
    refused("no scheme", "/tmp/store");
    refused("unknown scheme", "redis://localhost");
    refused("a path for shm", "shm:/tmp/store");
    refused("relative path", "file:store?size=1MiB");
    refused("no path", "file:");
    refused("too small", "shm:?size=1023KiB");
    refused("no number", "shm:?size=many");
    refused("negative", "shm:?size=-1MiB");
    refused("larger than memory", "shm:?size=16777216TiB");
    refused("unknown option", "shm:?colour=red");
    refused("no key file", file_url("none", "?size=1MiB"));
    refused("missing key file", file_url("none", "?size=1MiB&key=/nonexistent/keys"));
    refused("relative key file", file_url("none", "?size=1MiB&key=keys"));
    refused("missing folder", keyed_url("nonexistent/deeper/store"));
    CHECK_INT(chmod("keys", 0644), 0);
    refused("key file for all to read", keyed_url("none"));
    CHECK_INT(chmod("keys", 0600), 0);
    CHECK_INT(symlink("store", "link"), 0);
    refused("symlink", keyed_url("link"));
    CHECK(access("none", F_OK) != 0);
}

static void no_context(void)
{
    section("no context");
    ERR_clear_error();
    CHECK_INT(attach_store(NULL, "shm:"), 0);
    CHECK(ERR_peek_error() != 0);
    ERR_clear_error();
}

static const struct named_function functions[] = {
    NAMED(leave_in_file), NAMED(find_in_file), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    FOR_EACH_PROTOCOL(p) {
        shared(p, "shm:?size=1MiB");
        shared(p, keyed_url("store"));
        late(p);
    }
    section("in a file");
    RUN_AGAIN(leave_in_file, NULL);
    RUN_AGAIN(find_in_file, NULL);
    all_refused();
    no_context();
    ERR_clear_error();
    return test_end();
}
