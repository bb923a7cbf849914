/*
 * An operator mends what a line of the log names, or removes the store, and reloads the servers.
 * The contexts that a reload makes then share, with one another and with servers that start now.
 * Contexts from before go on with what they have. A process that gave its rights or its root away
 * goes on with what it has, too, and makes nothing where the path leads there.
 */
#include "harness_store.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534, TOO_SMALL = 512 << 10 };

static const struct protocol *protocol = &protocols[0];

/* A reload: whether there is a store now. */
static long reload(long number, SSL_SESSION **session)
{
    (void)session;
    protocol = &protocols[number];
    free_own_contexts();
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    return has_store(own_server);
}

static struct worker start(void)
{
    char store[URL_SIZE], keys[URL_SIZE], log[URL_SIZE];
    const char *variables[] = { store, keys, log, NULL };

    snprintf(store, sizeof(store), "%s", file_store("own/folder/store"));
    snprintf(keys, sizeof(keys), "%s", key_file("keys"));
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    return start_worker(variables);
}

/* Each resumes what the other made. */
static void share(struct worker *a, struct worker *b)
{
    SSL_SESSION *of_a = obtain_in(a), *of_b = obtain_in(b);

    CHECK_INT(resumes_in(b, of_a), 1);
    CHECK_INT(resumes_in(a, of_b), 1);
    SSL_SESSION_free(of_a);
    SSL_SESSION_free(of_b);
}

/* What an earlier section left, and the folder and the key file as they should be. */
static void begin_anew(void)
{
    unlink("log");
    (void)mkdir("own", 0700); /* a folder in which one is made */
    unlink("own/folder");
    (void)mkdir("own/folder", 0700);
    CHECK_INT(chmod("own/folder", 0700), 0);
    unlink("own/folder/store");
    rmdir("own/folder/store");
    write_keys("keys", 1, 1);
}

/* ---- what is wrong at the start, and is mended ------------------------------------------------ */

static void nothing(struct worker *worker)
{
    (void)worker;
}

static void no_keys(struct worker *worker)
{
    (void)worker;
    unlink("keys");
}

static void keys_for_all(struct worker *worker)
{
    (void)worker;
    CHECK_INT(chmod("keys", 0644), 0);
}

static void half_a_key(struct worker *worker)
{
    (void)worker;
    write_file("keys", "0123456789abcdef", 16, 0600);
}

static void right_keys(struct worker *worker)
{
    (void)worker;
    write_keys("keys", 1, 1);
}

static void folder_for_all(struct worker *worker)
{
    (void)worker;
    CHECK_INT(chmod("own/folder", 0777), 0);
}

static void folder_for_one(struct worker *worker)
{
    (void)worker;
    CHECK_INT(chmod("own/folder", 0755), 0);
}

static void link_to_nothing(struct worker *worker)
{
    (void)worker;
    CHECK_INT(rmdir("own/folder"), 0);
    CHECK_INT(symlink("/nowhere", "own/folder"), 0);
}

static void no_link(struct worker *worker)
{
    (void)worker;
    CHECK_INT(unlink("own/folder"), 0);
}

static void text(struct worker *worker)
{
    (void)worker;
    write_file("own/folder/store", "text\n", 5, 0600);
}

static void folder_in_place(struct worker *worker)
{
    (void)worker;
    CHECK_INT(mkdir("own/folder/store", 0700), 0);
}

static void no_store(struct worker *worker)
{
    (void)worker;
    CHECK_INT(remove("own/folder/store"), 0);
}

static void set_room(struct worker *worker, rlim_t room)
{
    struct rlimit limit;

    CHECK_INT(prlimit(worker != NULL ? worker->pid : 0, RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = room;
    CHECK_INT(prlimit(worker != NULL ? worker->pid : 0, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void no_room(struct worker *worker)
{
    set_room(worker, TOO_SMALL);
}

static void room(struct worker *worker)
{
    set_room(worker, RLIM_INFINITY);
}

static void mended_at_a_reload(void)
{
    static const struct {
        const char *name;
        void (*spoil)(struct worker *worker); /* of this process, and so of what it starts */
        void (*mend)(struct worker *worker);
        int lines; /* of the log, about the store */
    } kinds[] = {
        { "nothing wrong", nothing, nothing, 0 },
        { "no key file", no_keys, right_keys, 1 },
        { "key file open to others", keys_for_all, right_keys, 1 },
        { "half a key file", half_a_key, right_keys, 1 },
        { "folder open to others", folder_for_all, folder_for_one, 1 },
        { "folder is a broken link", link_to_nothing, no_link, 1 },
        { "another file", text, no_store, 1 },
        { "folder in its place", folder_in_place, no_store, 1 },
        { "no room", no_room, room, 1 },
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        long number = (long)(i % protocol_count);
        struct worker a, b;

        section("%s", kinds[i].name);
        begin_anew();
        kinds[i].spoil(NULL);
        a = start();
        room(NULL);
        CHECK_INT(ask(&a, reload, number, NULL), kinds[i].lines == 0);
        CHECK_INT(ask(&a, reload, number, NULL), kinds[i].lines == 0);
        kinds[i].mend(&a);
        CHECK_INT(ask(&a, reload, number, NULL), 1);
        b = start();
        CHECK_INT(ask(&b, reload, number, NULL), 1);
        share(&a, &b);
        CHECK_INT(ask(&a, reload, number, NULL), 1);
        share(&a, &b);
        CHECK_INT(log_lines("log", "no session is shared"), kinds[i].lines);
        CHECK_INT(log_lines("log", "sessions are shared from now on"), kinds[i].lines);
        end_worker(&a);
        end_worker(&b);
    }
}

/* ---- the store is removed --------------------------------------------------------------------- */

static void removed(void)
{
    section("removed");
    begin_anew();
    FOR_EACH_PROTOCOL(p) {
        long number = p - protocols;
        struct worker a = start(), b = start(), c;
        SSL_SESSION *before;

        CHECK_INT(ask(&a, reload, number, NULL) + ask(&b, reload, number, NULL), 2);
        share(&a, &b);
        before = obtain_in(&a);
        CHECK_INT(unlink("own/folder/store"), 0);
        share(&a, &b); /* the memory is still there */
        CHECK_INT(resumes_in(&b, before), 1);
        SSL_SESSION_free(before);
        CHECK_INT(ask(&a, reload, number, NULL), 1);
        CHECK_INT(access("own/folder/store", F_OK), 0);
        c = start();
        CHECK_INT(ask(&c, reload, number, NULL), 1);
        share(&a, &c);
        CHECK_INT(ask(&b, reload, number, NULL), 1);
        share(&a, &b);
        CHECK_INT(log_lines("log", "was removed or replaced"), 2);
        CHECK_INT(log_lines("log", ""), 2);
        unlink("log");
        end_worker(&a);
        end_worker(&b);
        end_worker(&c);
    }
}

/* Where the new file is no store, the old memory serves on, and one line says so. */
static void replaced_by_another_file(void)
{
    struct worker a, b;

    section("replaced by another file");
    begin_anew();
    a = start();
    b = start();
    CHECK_INT(ask(&a, reload, 0, NULL) + ask(&b, reload, 0, NULL), 2);
    CHECK_INT(unlink("own/folder/store"), 0);
    text(NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(ask(&a, reload, 0, NULL), 1);
        share(&a, &b);
    }
    CHECK_INT(log_lines("log", "not a store"), 1);
    CHECK_INT(log_lines("log", ""), 1);
    no_store(NULL);
    CHECK_INT(ask(&a, reload, 0, NULL) + ask(&b, reload, 0, NULL), 2);
    share(&a, &b);
    end_worker(&a);
    end_worker(&b);
}

/* ---- contexts from before --------------------------------------------------------------------- */

/* How many stores this process has mapped. */
static int mapped_stores(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[PATH_SIZE];
    int count = 0;

    REQUIRE(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL)
        count += strstr(line, "own/folder/store") != NULL;
    fclose(maps);
    return count;
}

/* The last context of a removed store takes the memory along. */
static void old_contexts(void)
{
    SSL_CTX *old_server, *old_client;
    SSL_SESSION *session;

    for (int i = 0; i < 3; i++) {
        CHECK_INT(reload(0, NULL), 1);
        session = obtain_here();
        old_server = own_server;
        old_client = own_client;
        own_server = own_client = NULL;
        CHECK_INT(unlink("own/folder/store"), 0);
        CHECK_INT(reload(0, NULL), 1);
        CHECK_INT(mapped_stores(), 2);
        CHECK_INT(resumes_here(session), 0);
        free_own_contexts();
        own_server = old_server;
        own_client = old_client;
        empty_cache(own_server);
        CHECK_INT(resumes_here(session), 1);
        free_own_contexts();
        CHECK_INT(mapped_stores(), 1);
        SSL_SESSION_free(session);
    }
}

static void attached_to_the_same_url(void)
{
    const char *url = file_store("own/folder/store") + strlen("SESSCACHE_STORE=");
    SSL_CTX *before = new_host(protocol), *after = new_host(protocol);

    CHECK_INT(attach_store(before, url), 1);
    CHECK_INT(unlink("own/folder/store"), 0);
    CHECK_INT(attach_store(after, url), 1);
    CHECK_INT(access("own/folder/store", F_OK), 0);
    CHECK_INT(mapped_stores(), 2);
    CHECK_INT(attach_store(before, url), 1); /* again: it has this one */
    SSL_CTX_free(before);
    CHECK_INT(mapped_stores(), 1);
    CHECK(has_store(after));
    SSL_CTX_free(after);
}

static void contexts_from_before(void)
{
    section("contexts from before");
    begin_anew();
    RUN_AGAIN(old_contexts, file_store("own/folder/store"), key_file("keys"));
    begin_anew();
    RUN_AGAIN(attached_to_the_same_url, key_file("keys"));
}

/* ---- another user, another root --------------------------------------------------------------- */

static long become_nobody(long argument, SSL_SESSION **session)
{
    (void)session;
    CHECK_INT(setgid(NOBODY), 0);
    CHECK_INT(setuid(NOBODY), 0);
    return argument;
}

static long change_root(long argument, SSL_SESSION **session)
{
    (void)session;
    CHECK_INT(chroot("root"), 0);
    CHECK_INT(chdir("/"), 0);
    return argument;
}

/* The folder of the store, below "root" as well. */
static void make_root(void)
{
    char path[URL_SIZE];

    snprintf(path, sizeof(path), "root%s/", path_of("own/folder"));
    for (char *end = path; (end = strchr(end, '/')) != NULL; end++) {
        *end = '\0';
        (void)mkdir(path, 0700);
        *end = '/';
    }
}

static void given_away(task *give_away)
{
    struct worker a, b;
    char there[URL_SIZE];

    begin_anew();
    CHECK_INT(chmod("own/folder", 01777), 0); /* so that anybody could make the file */
    a = start();
    b = start();
    CHECK_INT(ask(&a, reload, 0, NULL) + ask(&b, reload, 0, NULL), 2);
    ask(&a, give_away, 0, NULL);
    CHECK_INT(unlink("own/folder/store"), 0);
    CHECK_INT(ask(&a, reload, 0, NULL), 1);
    share(&a, &b);
    CHECK(access("own/folder/store", F_OK) != 0);
    snprintf(there, sizeof(there), "root%s", path_of("own/folder/store"));
    CHECK(access(there, F_OK) != 0);
    CHECK_INT(log_lines("log", ""), 0);
    end_worker(&a);
    end_worker(&b);
}

static const struct named_function functions[] = {
    NAMED(reload), NAMED(become_nobody), NAMED(change_root), NAMED(old_contexts),
    NAMED(attached_to_the_same_url), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    signal(SIGXFSZ, SIG_IGN); /* in what it starts, too */
    mended_at_a_reload();
    removed();
    replaced_by_another_file();
    contexts_from_before();
    if (getuid() != 0) {
        note("not root: without another user and root");
        return test_end();
    }
    make_root();
    section("another user");
    given_away(become_nobody);
    section("another root");
    given_away(change_root);
    return test_end();
}
