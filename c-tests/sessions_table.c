/*
 * SSL_CTX_sessions(3): a usable LHASH of what is cached at the time of the call. It is walked,
 * counted and searched with libcrypto's own functions, refreshed by the next call, keeps what it
 * lists alive until then, and goes with the context.
 *
 * Stock returns its live table, so the list changes under the program's hands (listed differences).
 */
#include "harness.h"

#include <openssl/lhash.h>

/* As a program of today writes it: no typed macro is public, the table is opaque. */
static OPENSSL_LHASH *table_of(SSL_CTX *ctx)
{
    return (OPENSSL_LHASH *)SSL_CTX_sessions(ctx);
}

/* The sessions that a walk saw. OPENSSL_LH_doall() takes no argument. */
static struct {
    int count;
    int sum_of_numbers; /* of made sessions: the first byte of the id */
} walk;

static void note_session(void *session)
{
    struct session_id id = id_of(session);

    walk.count++;
    walk.sum_of_numbers += id.bytes[0];
}

static void note_with_argument(void *session, void *argument)
{
    CHECK_PTR(argument, &walk);
    note_session(session);
}

static void walk_over(OPENSSL_LHASH *table)
{
    walk.count = walk.sum_of_numbers = 0;
    OPENSSL_LH_doall(table, note_session);
}

static void walk_with_argument(OPENSSL_LHASH *table)
{
    walk.count = walk.sum_of_numbers = 0;
    OPENSSL_LH_doall_arg(table, note_with_argument, &walk);
}

/* A session with nothing but what it is found by. */
static SSL_SESSION *search_key(int version, unsigned int number)
{
    SSL_SESSION *key = SSL_SESSION_new();
    struct session_id id = made_id(number);

    REQUIRE(key != NULL);
    REQUIRE(SSL_SESSION_set1_id(key, id.bytes, id.length) == 1);
    REQUIRE(SSL_SESSION_set_protocol_version(key, version) == 1);
    return key;
}

static SSL_SESSION *search(OPENSSL_LHASH *table, int version, unsigned int number)
{
    SSL_SESSION *key = search_key(version, number);
    SSL_SESSION *found = OPENSSL_LH_retrieve(table, key);

    SSL_SESSION_free(key);
    return found;
}

/* Adds a made session that only the cache holds on to. */
static SSL_SESSION *add(SSL_CTX *ctx, int version, unsigned int number)
{
    SSL_SESSION *session = make_session(ctx, version, number);

    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    SSL_SESSION_free(session);
    return session;
}

static void listed(const struct protocol *p)
{
    enum { COUNT = 40 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[COUNT];
    OPENSSL_LHASH *table;
    int sum = 0;

    section("%s listed", p->name);
    table = table_of(ctx);
    REQUIRE(table != NULL);
    CHECK_INT(OPENSSL_LH_num_items(table), 0);
    walk_over(table);
    CHECK_INT(walk.count, 0);
    CHECK_PTR(search(table, p->version, 1), NULL);

    for (unsigned int i = 0; i < COUNT; i++) {
        sessions[i] = add(ctx, p->version, i);
        sum += (int)i;
    }
    table = table_of(ctx);
    REQUIRE(table != NULL);
    CHECK_INT(OPENSSL_LH_num_items(table), COUNT);
    walk_over(table);
    CHECK_INT(walk.count, COUNT);
    CHECK_INT(walk.sum_of_numbers, sum);
    walk_with_argument(table);
    CHECK_INT(walk.count, COUNT);
    CHECK_INT(walk.sum_of_numbers, sum);
    for (unsigned int i = 0; i < COUNT; i++)
        CHECK_PTR(search(table, p->version, i), sessions[i]);
    CHECK_PTR(search(table, p->version, COUNT), NULL);
    /* Fact 10: the version is part of what a session is found by. */
    CHECK_PTR(search(table, p->is_dtls ? TLS1_2_VERSION : DTLS1_2_VERSION, 1), NULL);
    CHECK_INT(OPENSSL_LH_error(table), 0);
    SSL_CTX_free(ctx);
}

/* The next call lists what is cached then, under the same or another pointer. */
static void refreshed(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *kept = add(ctx, p->version, 1), *removed = add(ctx, p->version, 2), *added;
    OPENSSL_LHASH *table = table_of(ctx);

    section("%s refreshed", p->name);
    CHECK_INT(OPENSSL_LH_num_items(table), 2);
    CHECK_INT(SSL_CTX_remove_session(ctx, removed), 1);
    added = add(ctx, p->version, 3);
    table = table_of(ctx);
    CHECK_INT(OPENSSL_LH_num_items(table), 2);
    CHECK_PTR(search(table, p->version, 1), kept);
    CHECK_PTR(search(table, p->version, 2), NULL);
    CHECK_PTR(search(table, p->version, 3), added);
    SSL_CTX_flush_sessions(ctx, 0);
    table = table_of(ctx);
    CHECK_INT(OPENSSL_LH_num_items(table), 0);
    walk_over(table);
    CHECK_INT(walk.count, 0);
    SSL_CTX_free(ctx);
}

/* A list between two calls. */
static void between_calls(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    long before = sessions_alive();
    OPENSSL_LHASH *table;

    section("%s between calls", p->name);
    add(ctx, p->version, 1);
    add(ctx, p->version, 2);
    table = table_of(ctx);
    add(ctx, p->version, 3);
    report("items after an add", (long)OPENSSL_LH_num_items(table));
    SSL_CTX_flush_sessions(ctx, 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    report("items after a flush", (long)OPENSSL_LH_num_items(table));
    report("sessions alive after a flush", sessions_alive() - before);
    /* Listed sessions may be read, if there are any. */
    walk_over(table);
    report("sum of ids after a flush", walk.sum_of_numbers);
    CHECK_INT(OPENSSL_LH_num_items(table_of(ctx)), 0);
    CHECK_INT(sessions_alive(), before);

    /* And the table goes with the context, with what it lists. */
    add(ctx, p->version, 4);
    CHECK_INT(OPENSSL_LH_num_items(table_of(ctx)), 1);
    CHECK_INT(SSL_CTX_remove_session(ctx, search(table_of(ctx), p->version, 4)), 1);
    SSL_CTX_free(ctx);
    CHECK_INT(sessions_alive(), before);
}

/* Asked from a callback: the session that leaves is not listed any more. */
static void asking_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    CHECK_INT(OPENSSL_LH_num_items(table_of(ctx)), SSL_CTX_sess_number(ctx));
    CHECK_PTR(OPENSSL_LH_retrieve(table_of(ctx), session), NULL);
}

/* Sessions that were really negotiated, and lists asked for while a callback runs. */
static void negotiated(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *first, *second;
    OPENSSL_LHASH *table;
    struct session_id id;

    section("%s negotiated", p->name);
    first = obtain_session(server, client);
    second = obtain_session(server, client);
    table = table_of(server);
    CHECK_INT(OPENSSL_LH_num_items(table), 2);
    CHECK(cached_on_server(server, first) != NULL);
    id = id_of(cached_on_server(server, second));
    CHECK_INT(id.length, 32);
    /* A cached session is its own key. */
    CHECK_PTR(OPENSSL_LH_retrieve(table_of(server), cached_on_server(server, second)),
        cached_on_server(server, second));
    CHECK_INT(resumes(server, client, first), 1);
    SSL_CTX_sess_set_remove_cb(server, asking_remove_cb);
    CHECK_INT(SSL_CTX_remove_session(server, cached_on_server(server, second)), 1);
    CHECK_INT(resumes(server, client, second), 0);
    SSL_CTX_sess_set_remove_cb(server, NULL);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    sessions_alive();
    FOR_EACH_PROTOCOL(p) {
        listed(p);
        refreshed(p);
        between_calls(p);
        negotiated(p);
    }
    return test_end();
}
