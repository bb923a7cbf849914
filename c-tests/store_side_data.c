/*
 * A program that keeps data of its own with sessions (an index on SSL_SESSION) shares nothing, by id
 * or by ticket: the data cannot travel, and where it is missing hostapd rejects the client. Its own
 * sessions resume in their process, with their data, as on stock. SESSCACHE_EX_DATA=share shares.
 */
#include "harness_store.h"

static const struct protocol *protocol;
static int is_index_taken, data_index;
static char data[] = "who the client is";

static void make_contexts(int has_tickets)
{
    own_server = new_host(protocol);
    own_client = new_client(protocol);
    if (has_tickets)
        SSL_CTX_clear_options(own_server, SSL_OP_NO_TICKET);
}

/* With contexts of its own, as after a restart: 1 resumed. */
static int resumes_with_new_contexts(SSL_SESSION *session, int has_tickets)
{
    SSL_CTX *server = own_server, *client = own_client;
    int resumed;

    make_contexts(has_tickets);
    resumed = resumes_here(session);
    free_own_contexts();
    own_server = server;
    own_client = client;
    return resumed;
}

static void take_index(void)
{
    data_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    CHECK(data_index > 0);
    is_index_taken = 1;
}

/* 1 if the server has resumed, and -1 if the data it gave to the session is gone by then. */
static int resumes_with_data(SSL_SESSION *offer)
{
    struct connection c = open_own(offer);
    int resumed;

    CHECK_INT(connection_handshake(&c), 1);
    resumed = SSL_session_reused(c.server);
    if (resumed && SSL_SESSION_get_ex_data(SSL_get_session(c.server), data_index) != data)
        resumed = -1;
    connection_close(&c);
    return resumed;
}

/* A session with data, for the client. */
static SSL_SESSION *obtain_with_data(void)
{
    struct connection c = open_own(NULL);
    SSL_SESSION *session;

    CHECK_INT(connection_handshake(&c), 1);
    CHECK_INT(connection_exchange(&c), 1);
    session = SSL_get1_session(c.client);
    CHECK_INT(SSL_SESSION_set_ex_data(SSL_get_session(c.server), data_index, data), 1);
    connection_close(&c);
    return session;
}

/* By id: the stateful way. `shares`: what is to be. */
static void by_id(int shares)
{
    struct worker other;
    struct sesscache_stats before, after;
    SSL_SESSION *session, *again;

    section("%s by id", protocol->name);
    make_contexts(0);
    other = fork_worker();
    before = stats_of(own_server);
    session = obtain_here();
    after = stats_of(own_server);
    CHECK_INT(after.stores > before.stores, shares);
    CHECK_INT(after.refused_side_data > before.refused_side_data, !shares);
    CHECK_INT(resumes_in(&other, session), shares);
    SSL_SESSION_free(session);
    session = obtain_in(&other);
    CHECK_INT(resumes_here(session), shares);
    SSL_SESSION_free(session);

    session = obtain_here();
    CHECK_INT(resumes_with_new_contexts(session, 0), shares);
    if (is_index_taken) {
        again = obtain_with_data();
        CHECK_INT(resumes_with_data(again), 1);
        SSL_SESSION_free(again);
    }
    SSL_SESSION_free(session);
    end_worker(&other);
    free_own_contexts();
}

/* By a stateless ticket, which brings no data on stock either. */
static void by_ticket(int shares)
{
    struct sesscache_stats before, after;
    SSL_SESSION *session;

    section("%s by ticket", protocol->name);
    make_contexts(1);
    before = stats_of(own_server);
    session = obtain_here();
    CHECK_INT(resumes_here(session), 1);
    CHECK_INT(resumes_with_new_contexts(session, 1), shares);
    after = stats_of(own_server);
    CHECK_INT(after.refused_side_data > before.refused_side_data, !shares);
    SSL_SESSION_free(session);
    free_own_contexts();
}

/* Sessions that were shared before the program took its index, as it runs or by an earlier run. */
static void made_before(int shares)
{
    SSL_SESSION *by_id, *by_ticket;
    SSL_CTX *server, *client;

    section("%s made before", protocol->name);
    make_contexts(1);
    by_ticket = obtain_here();
    server = own_server;
    client = own_client;
    make_contexts(0);
    by_id = obtain_here();
    CHECK_INT(resumes_with_new_contexts(by_id, 0), 1);
    CHECK_INT(resumes_with_new_contexts(by_ticket, 1), 1);
    take_index();
    CHECK_INT(resumes_with_new_contexts(by_id, 0), shares);
    CHECK_INT(resumes_with_new_contexts(by_ticket, 1), shares);
    /* It is still in this cache, and is the very object. */
    CHECK_INT(resumes_here(by_id), 1);
    empty_cache(own_server);
    CHECK_INT(resumes_here(by_id), shares);
    free_own_contexts();
    own_server = server;
    own_client = client;
    CHECK_INT(resumes_here(by_ticket), 1);
    SSL_SESSION_free(by_ticket);
    SSL_SESSION_free(by_id);
    free_own_contexts();
}

static void all(int shares)
{
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        by_id(shares);
        if (p->version != DTLS1_2_VERSION)
            by_ticket(shares);
    }
}

static void is_refused(void)
{
    protocol = &protocols[0];
    made_before(0);
    all(0);
}

static void is_shared(void)
{
    protocol = &protocols[0];
    made_before(1);
    all(1);
}

/* Indexes of other classes are none on sessions; nor is our own. */
static void others_share(void)
{
    CHECK(SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
    CHECK(SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL) > 0);
    all(1);
}

static const struct named_function functions[] = {
    NAMED(is_refused), NAMED(is_shared), NAMED(others_share),
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    const char *store = file_store("store"), *keys = key_file("keys");
    char log[PATH_SIZE + 32];

    begin(argc, argv, functions);
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    write_keys("keys", 1, 1);
    (void)host_identity();
    RUN_AGAIN(others_share, store, keys, log);
    CHECK_INT(log_lines("log", ""), 0);
    RUN_AGAIN(is_refused, store, keys, log);
    /* The store has counters, a key file alone has none: the line is for both. */
    CHECK(log_lines("log", "SESSCACHE_EX_DATA=share") > 0);
    CHECK_INT(log_lines("log", ""), log_lines("log", "data of its own with sessions"));
    RUN_AGAIN(is_refused, store, keys, "SESSCACHE_EX_DATA=refuse");
    RUN_AGAIN(is_refused, store, keys, "SESSCACHE_EX_DATA=yes", "SESSCACHE_LOG=off");
    RUN_AGAIN(is_shared, store, keys, "SESSCACHE_EX_DATA=share");
    return test_end();
}
