/*
 * No secret leaves the process in the clear: neither a master secret nor anything else of a session
 * is found in the memory that is shared or in the store's file, and the sealed bytes of a session
 * are gone from there when it is removed. The error queue and errno after a handshake are as
 * without a store, whatever the store had to say (store_quiet.c has more of that).
 */
#include "harness_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <openssl/err.h>

static const char marker[] = "the application's own data, which is nobody else's";
static const struct protocol *protocol;
static const char *store_file; /* in the current folder; NULL: shm: */

/* ---- shared memory --------------------------------------------------------------------------- */

struct bytes {
    unsigned char *at;
    size_t length;
};

/* A copy of all memory that this process shares with others. */
static struct bytes copy_shared_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    struct bytes all = { NULL, 0 };
    char line[8192], mode[5];
    unsigned long start, end;

    REQUIRE(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx %4s", &start, &end, mode) != 3 || mode[0] != 'r'
            || mode[3] != 's' || strstr(line, "vgdb") != NULL) /* valgrind's own */
            continue;
        REQUIRE((all.at = realloc(all.at, all.length + end - start)) != NULL);
        memcpy(all.at + all.length, (const void *)start, end - start);
        all.length += end - start;
    }
    fclose(maps);
    /* At least the store. */
    CHECK(all.length >= 1 << 20);
    return all;
}

/* How often these bytes are in shared memory and in the store's file. */
static int count_in(const struct bytes *all, const void *bytes, size_t length)
{
    const unsigned char *at = all->at, *end = all->at + all->length;
    int count = 0;

    while ((at = memmem(at, (size_t)(end - at), bytes, length)) != NULL) {
        count++;
        at++;
    }
    return count;
}

static int count_everywhere(const void *bytes, size_t length)
{
    struct bytes shared = copy_shared_memory(), file = { NULL, 0 };
    int count = count_in(&shared, bytes, length);

    free(shared.at);
    if (store_file != NULL) {
        file.at = read_file(store_file, &file.length);
        REQUIRE(file.at != NULL && file.length >= 1 << 20);
        count += count_in(&file, bytes, length);
        free(file.at);
    }
    return count;
}

/* The search finds what is there. */
static void search_works(void)
{
    unsigned char *page
        = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char needle[64];

    section("search");
    REQUIRE(page != MAP_FAILED);
    snprintf(needle, sizeof(needle), "needle %p", (void *)page);
    CHECK_INT(count_everywhere(needle, strlen(needle)), 0);
    memcpy(page + 100, needle, strlen(needle));
    CHECK_INT(count_everywhere(needle, strlen(needle)), 1);
    munmap(page, 4096);
    CHECK_INT(count_everywhere(needle, strlen(needle)), 0);
}

/* ---- secrets --------------------------------------------------------------------------------- */

static int marking_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    CHECK_INT(SSL_SESSION_set1_ticket_appdata(session, marker, sizeof(marker)), 1);
    SSL_SESSION_free(session);
    return 1;
}

static void make_contexts(void)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    SSL_CTX_sess_set_new_cb(own_server, marking_new_cb);
    /* So that the session has the client's certificate in it, too. */
    SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, accept_every);
    CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(own_server), host_identity()->certificate),
              1);
    use_identity(own_client, host_identity());
}

/* No part of it that tells anything is to be seen: any sixteen bytes in a row. */
static void check_hidden(const unsigned char *bytes, size_t length)
{
    struct bytes shared = copy_shared_memory();
    int found = 0;

    for (size_t at = 0; at + 16 <= length; at += 8)
        found += count_in(&shared, bytes + at, 16);
    CHECK_INT(found, 0);
    free(shared.at);
    CHECK_INT(count_everywhere(bytes, length), 0);
}

static void hidden(void)
{
    unsigned char secret[SSL_MAX_MASTER_KEY_LENGTH], *der = NULL;
    SSL_SESSION *session, *cached;
    struct worker worker;
    size_t length;
    int der_length;

    section("%s hidden", protocol->name);
    make_contexts();
    worker = fork_worker();
    session = obtain_here();
    CHECK_INT(resumes_in(&worker, session), 1);
    SSL_SESSION_free(session);
    session = obtain_in(&worker);
    CHECK_INT(resumes_here(session), 1);
    REQUIRE((cached = cached_on_server(own_server, session)) != NULL);
    length = SSL_SESSION_get_master_key(session, secret, sizeof(secret));
    CHECK(length >= 32);
    CHECK_INT(count_everywhere(secret, length), 0);
    check_hidden(secret, length);
    CHECK_INT(count_everywhere(marker, sizeof(marker)), 0);
    der_length = i2d_SSL_SESSION(cached, &der);
    REQUIRE(der_length > 0);
    CHECK(memmem(der, (size_t)der_length, marker, sizeof(marker)) != NULL);
    CHECK(memmem(der, (size_t)der_length, secret, length) != NULL);
    check_hidden(der, (size_t)der_length);
    OPENSSL_free(der);
    SSL_SESSION_free(session);
    end_worker(&worker);
    free_own_contexts();
}

/* ---- removals -------------------------------------------------------------------------------- */

/* Whether so few of sixteen bytes are zeroes that they are sealed ones, or a hash. */
static int are_random(const unsigned char *at)
{
    int zeroes = 0;

    for (int i = 0; i < 16; i++)
        zeroes += at[i] == 0;
    return zeroes <= 2;
}

static void remove_here(SSL_SESSION *session)
{
    SSL_SESSION *cached = cached_on_server(own_server, session);

    REQUIRE(cached != NULL);
    CHECK_INT(SSL_CTX_remove_session(own_server, cached), 1);
}

static void take_here(SSL_SESSION *session)
{
    CHECK_INT(resumes_here(session), 1);
}

/* After that no sixteen bytes of what the store took for the session are left. */
static void wiped(const char *what, void (*removal)(SSL_SESSION *session), int is_single_use)
{
    struct bytes before, after, now;
    SSL_SESSION *session;
    int left = 0, were = 0;

    section("%s wiped, %s", protocol->name, what);
    make_contexts();
    if (is_single_use)
        CHECK_INT(SSL_CTX_set_max_early_data(own_server, 16384), 1);
    before = copy_shared_memory();
    session = obtain_here();
    after = copy_shared_memory();
    REQUIRE(before.length == after.length);
    removal(session);
    now = copy_shared_memory();
    for (size_t at = 0; at + 16 <= after.length; at += 16) {
        const unsigned char *piece = after.at + at;

        if (memcmp(before.at + at, piece, 16) == 0 || !are_random(piece))
            continue;
        were++;
        left += count_in(&now, piece, 16) != 0;
    }
    /* The client's certificate alone has so many. */
    CHECK(were > 20);
    /* By its hash the store knows which session it was. */
    if (!CHECK(left <= 2))
        note("%d of %d pieces are left", left, were);
    SSL_SESSION_free(session);
    free(before.at);
    free(after.at);
    free(now.at);
    free_own_contexts();
}

/* ---- the error queue and errno --------------------------------------------------------------- */

/* Each step of the server leaves nothing; the next step would wipe it away. */
static void check_quiet(const char *what, SSL_SESSION *offer, int expected)
{
    struct connection c = open_own(offer);

    section("%s quiet, %s", protocol->name, what);
    for (int turn = 0; turn < 4; turn++) {
        (void)SSL_do_handshake(c.client);
        ERR_clear_error();
        errno = 0;
        (void)SSL_do_handshake(c.server);
        CHECK_INT(errno, 0);
        CHECK_INT(ERR_peek_error(), 0);
    }
    CHECK_INT(connection_resumed(&c), expected);
    CHECK(connection_exchange(&c));
    connection_close(&c);
}

static void quiet(void)
{
    struct worker worker;
    SSL_SESSION *session, *removed;

    make_contexts();
    worker = fork_worker();
    check_quiet("full", NULL, 0);
    session = obtain_in(&worker);
    check_quiet("hit", session, 1);
    check_quiet("cached", session, 1);
    removed = obtain_in(&worker);
    SSL_SESSION_free(renew_here(removed));
    errno = 0;
    remove_here(removed);
    CHECK_INT(errno, 0);
    CHECK_INT(ERR_peek_error(), 0);
    check_quiet("removed", removed, 0);
    SSL_CTX_set_verify(own_server, SSL_VERIFY_NONE, NULL);
    check_quiet("asks nobody now", session, 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(removed);
    end_worker(&worker);
    free_own_contexts();
}

/* Sessions of other contexts, whose clients are verified again: all of that is quiet, too. */
static long make_other_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    free_own_contexts();
    make_contexts();
    return argument;
}

static void trust_nobody(void)
{
    X509_STORE *nobody = X509_STORE_new();

    REQUIRE(nobody != NULL);
    SSL_CTX_set_cert_store(own_server, nobody);
}

static void quiet_about_others(void)
{
    struct worker worker;
    SSL_SESSION *session, *another;
    struct sesscache_stats before, after;

    make_contexts();
    worker = fork_worker();
    ask(&worker, make_other_contexts, 0, NULL);
    session = obtain_in(&worker);
    another = obtain_in(&worker);
    check_quiet("another server's", session, 1);
    trust_nobody();
    before = stats_of(own_server);
    check_quiet("another server's, no longer trusted", another, 0);
    check_quiet("another server's, cached and no longer trusted", session, 0);
    after = stats_of(own_server);
    CHECK_INT(after.declined_client - before.declined_client, 2);
    SSL_SESSION_free(session);
    SSL_SESSION_free(another);
    end_worker(&worker);
    free_own_contexts();
}

/* Sealed with a key that this process does not have. */
static void leave_client(void)
{
    protocol = &protocols[0];
    make_contexts();
    SSL_SESSION *session = obtain_here();
    save_session("client", session);
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void quiet_without_the_key(void)
{
    SSL_SESSION *session = load_session("client");
    struct sesscache_stats before, after;

    protocol = &protocols[0];
    make_contexts();
    before = stats_of(own_server);
    check_quiet("no key", session, 0);
    after = stats_of(own_server);
    CHECK_INT(after.undecryptable - before.undecryptable, 1);
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void everything(void)
{
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        hidden();
        wiped("removed", remove_here, 0);
        if (p->version == TLS1_3_VERSION)
            wiped("taken", take_here, 1);
        quiet();
        quiet_about_others();
    }
}

static void everything_in_file(void)
{
    store_file = "store";
    search_works();
    everything();
}

static const struct named_function functions[] = {
    NAMED(leave_client), NAMED(quiet_without_the_key), NAMED(everything_in_file),
    NAMED(make_other_contexts), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    search_works();
    everything();
    write_keys("keys", 1, 1);
    RUN_AGAIN(everything_in_file, file_store("store"), key_file("keys"));
    write_keys("other", 7, 1);
    RUN_AGAIN(leave_client, file_store("store"), key_file("keys"));
    RUN_AGAIN(quiet_without_the_key, file_store("store"), key_file("other"));
    return test_end();
}
