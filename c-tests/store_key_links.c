/*
 * A key file comes as a Kubernetes Secret does: by links, of which one is led to another folder when
 * the secret changes (`key` to `..data/key`, `..data` to `..1`). Servers that start share, and the next
 * reload notices the other file. A way that others may change is left, and the keys from before stay.
 */
#include "harness_store.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct protocol *protocol = &protocols[0];

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

    snprintf(store, sizeof(store), "%s", file_store("store"));
    snprintf(keys, sizeof(keys), "%s", key_file("secret/key"));
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    return start_worker(variables);
}

/* A new folder with keys, and the link led to it at once, as kubelet does. */
static void lead_to(const char *folder, int seed)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "secret/%s", folder);
    CHECK_INT(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "secret/%s/key", folder);
    write_keys(path, seed, 1);
    CHECK_INT(chmod(path, 0400), 0);
    CHECK_INT(symlink(folder, "secret/..data_tmp"), 0);
    CHECK_INT(rename("secret/..data_tmp", "secret/..data"), 0);
}

static int is_shared(struct worker *from, struct worker *to)
{
    SSL_SESSION *made = obtain_in(from);
    int resumed = resumes_in(to, made);

    SSL_SESSION_free(made);
    return resumed;
}

static void reload_both(struct worker *a, struct worker *b, long number)
{
    CHECK_INT(ask(a, reload, number, NULL), 1);
    CHECK_INT(ask(b, reload, number, NULL), 1);
}

static void follow_links(struct worker *a, struct worker *b, long number)
{
    char old[32], next[32];

    section("%s", protocols[number].name);
    snprintf(old, sizeof(old), "..%ld", number);
    snprintf(next, sizeof(next), "..%ld", number + 10);
    lead_to(old, 1);
    reload_both(a, b, number);
    CHECK_INT(is_shared(a, b), 1);
    lead_to(next, 2);
    CHECK_INT(is_shared(a, b), 1); /* nobody has looked */
    CHECK_INT(ask(a, reload, number, NULL), 1);
    CHECK_INT(is_shared(a, b), 0);
    CHECK_INT(ask(b, reload, number, NULL), 1);
    CHECK_INT(is_shared(a, b), 1);
    CHECK_INT(log_lines("log", ""), 0);
}

static void keep_from_strangers(struct worker *a, struct worker *b)
{
    struct worker late;

    section("open to others");
    CHECK_INT(chmod("secret", 0777), 0);
    lead_to("..20", 3);
    reload_both(a, b, 0);
    CHECK_INT(is_shared(a, b), 1);
    CHECK_INT(log_lines("log", "secret/key: can be replaced by other users, through"), 2);
    CHECK_INT(log_lines("log", "the keys read before are used"), 2);
    late = start();
    CHECK_INT(ask(&late, reload, 0, NULL), 0);
    CHECK_INT(chmod("secret", 01777), 0); /* as Kubernetes has it: all in it is root's */
    CHECK_INT(ask(&late, reload, 0, NULL), 1);
    reload_both(a, b, 0);
    CHECK_INT(is_shared(a, &late), 1);
    end_worker(&late);
}

int main(int argc, char **argv)
{
    static const struct named_function functions[] = { NAMED(reload), { NULL, NULL } };
    struct worker a, b;

    begin(argc, argv, functions);
    CHECK_INT(mkdir("secret", 0755), 0);
    CHECK_INT(symlink("..data/key", "secret/key"), 0);
    lead_to("..first", 1);
    a = start();
    b = start();
    for (long number = 0; number < (long)protocol_count; number++)
        follow_links(&a, &b, number);
    keep_from_strangers(&a, &b);
    end_worker(&a);
    end_worker(&b);
    return test_end();
}
