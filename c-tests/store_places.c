/*
 * Where servers' workers end up: the mapping of the host store, and the keys, are in the process
 * from the start, so a worker that gave away its descriptors, its file system and its rights goes
 * on sharing, whether it made its context before or makes it there; and a program that is started
 * again maps the file anew. A program that only looks at its configuration and exits leaves the
 * file as it was.
 */
#include "harness_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static const struct protocol *protocol;

static long make_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    CHECK(has_store(own_server));
    return argument;
}

/* Another context, as a reload makes it: where no key file is to be read. */
static long make_contexts_anew(long argument, SSL_SESSION **session)
{
    free_own_contexts();
    return make_contexts(argument, session);
}

static long give_everything_away(long argument, SSL_SESSION **session)
{
    (void)session;
    close_descriptors();
    CHECK_INT(chroot("empty"), 0);
    CHECK_INT(chdir("/"), 0);
    CHECK_INT(setgid(NOBODY), 0);
    CHECK_INT(setuid(NOBODY), 0);
    CHECK(access("/dev", F_OK) != 0);
    return argument;
}

/* Each resumes what the other made; what one removes is removed for the other. */
static void share(struct worker *a, struct worker *b)
{
    SSL_SESSION *of_a = obtain_in(a), *of_b = obtain_in(b);

    CHECK_INT(resumes_in(b, of_a), 1);
    CHECK_INT(resumes_in(a, of_b), 1);
    CHECK_INT(remove_in(b, of_a), 1);
    CHECK_INT(resumes_in(a, of_a), 0);
    CHECK_INT(remove_in(a, of_b), 1);
    CHECK_INT(resumes_in(b, of_b), 0);
    SSL_SESSION_free(of_a);
    SSL_SESSION_free(of_b);
}

enum order { CONTEXT_FIRST, CONTEXT_THERE, CONTEXT_ANEW };

/* One worker stays root, one is a nobody in an empty folder. */
static void given_away(enum order order)
{
    static const char *const names[] = { "context first", "context there", "context anew" };
    struct worker root, nobody;

    section("%s given away, %s", protocol->name, names[order]);
    if (order != CONTEXT_THERE)
        make_contexts(0, NULL);
    root = fork_worker();
    nobody = fork_worker();
    ask(&nobody, give_everything_away, 0, NULL);
    if (order == CONTEXT_THERE) {
        ask(&root, make_contexts, 0, NULL);
        ask(&nobody, make_contexts, 0, NULL);
    }
    if (order == CONTEXT_ANEW)
        ask(&nobody, make_contexts_anew, 0, NULL);
    share(&root, &nobody);
    end_worker(&root);
    end_worker(&nobody);
    free_own_contexts();
}

static void all_given_away(void)
{
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        given_away(CONTEXT_FIRST);
        given_away(CONTEXT_THERE);
        given_away(CONTEXT_ANEW);
    }
}

static long set_protocol(long number, SSL_SESSION **session)
{
    protocol = &protocols[number];
    return make_contexts_anew(number, session);
}

/* Workers that are programs of their own, and one that is a child of the first. */
static void started_again(void)
{
    struct worker a, b;
    char store[URL_SIZE], keys[URL_SIZE];
    const char *variables[] = { store, keys, NULL };

    section("started again");
    snprintf(store, sizeof(store), "%s", file_store("store"));
    snprintf(keys, sizeof(keys), "%s", key_file("keys"));
    a = start_worker(variables);
    b = start_worker(variables);
    for (size_t i = 0; i < protocol_count; i++) {
        section("%s started again", protocols[i].name);
        ask(&a, set_protocol, (long)i, NULL);
        ask(&b, set_protocol, (long)i, NULL);
        share(&a, &b);
    }
    end_worker(&a);
    end_worker(&b);
}

/* nginx -t, or Apache's first pass. */
static void check_configuration(void)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        make_contexts(0, NULL);
        free_own_contexts();
    }
}

static void check_configuration_and_exit(void)
{
    check_configuration();
    _exit(test_end());
}

static void configuration_test(void)
{
    char store[URL_SIZE], keys[URL_SIZE];
    const char *variables[] = { store, keys, NULL };
    unsigned char *before, *after;
    size_t length_before, length_after;
    struct worker worker;
    SSL_SESSION *session;

    section("configuration test");
    snprintf(store, sizeof(store), "%s", file_store("store"));
    snprintf(keys, sizeof(keys), "%s", key_file("keys"));
    worker = start_worker(variables);
    ask(&worker, set_protocol, 0, NULL);
    session = obtain_in(&worker);
    REQUIRE((before = read_file("store", &length_before)) != NULL);
    run_again(check_configuration, variables);
    run_again(check_configuration_and_exit, variables);
    REQUIRE((after = read_file("store", &length_after)) != NULL);
    CHECK(length_before == length_after && memcmp(before, after, length_before) == 0);
    free(before);
    free(after);
    end_worker(&worker);
    worker = start_worker(variables);
    ask(&worker, set_protocol, 0, NULL);
    CHECK_INT(resumes_in(&worker, session), 1);
    SSL_SESSION_free(session);
    end_worker(&worker);
}

static const struct named_function functions[] = {
    NAMED(make_contexts), NAMED(make_contexts_anew), NAMED(give_everything_away),
    NAMED(all_given_away), NAMED(set_protocol), NAMED(check_configuration),
    NAMED(check_configuration_and_exit), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    if (getuid() != 0)
        skip("not root: no chroot and no other user");
    (void)host_identity();
    write_keys("keys", 1, 1);
    REQUIRE(mkdir("empty", 0755) == 0);
    all_given_away();
    RUN_AGAIN(all_given_away, file_store("store"), key_file("keys"));
    started_again();
    configuration_test();
    return test_end();
}
