/*
 * SESSCACHE_TICKETS=override: the keys of the key file seal whatever ticket keys the application sets,
 * by any of OpenSSL's three doors, and a ticket then resumes on every host. The application's keys open
 * what they have sealed, and seal what no other process may open by the key file.
 */
#include "clock.h"
#include "harness_store.h"
#include "harness_tickets.h"

#include <stdio.h>
#include <string.h>
#include <openssl/err.h>

enum { HOUR = 3600, DAY = 24 * HOUR };

static const char override[] = "SESSCACHE_TICKETS=override";

/* ---- the application's keys ------------------------------------------------------------------ */

static void set_keys(SSL_CTX *server)
{
    unsigned char got[80];

    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(server, application_keys, 79), 0);
    ERR_clear_error();
    set_application_keys(server);
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(server, got, sizeof(got)), 1);
    CHECK(memcmp(got, application_keys, sizeof(got)) == 0);
}

/* Stock asks the newer kind while there is one. */
static void set_both(SSL_CTX *server)
{
    set_application_hmac_cb(server);
    set_application_evp_cb(server);
}

static void take_back(SSL_CTX *server)
{
    set_both(server);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, NULL), 1);
}

static void keys_in_the_end(SSL_CTX *server)
{
    take_back(server);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_key_cb(server, NULL), 1);
    set_keys(server);
}

static const struct way {
    const char *name;
    void (*set)(SSL_CTX *server);
    int asks; /* whether it is a callback */
} ways[] = {
    { "keys", set_keys, 0 },
    { "evp callback", set_application_evp_cb, 1 },
    { "hmac callback", set_application_hmac_cb, 1 },
    { "both callbacks", set_both, 1 },
    { "evp callback taken back", take_back, 1 },
    { "callbacks taken back", keys_in_the_end, 0 },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

#define FOR_EACH_WAY(w) for (const struct way *w = ways; w < ways + WAYS; w++)

/* ---- contexts and connections ---------------------------------------------------------------- */

static SSL_CTX *make_server(const struct protocol *p)
{
    SSL_CTX *server = new_host(p);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(server, 7 * DAY);
    ticket_application.answer = 1;
    ticket_application.sealed = ticket_application.opened = 0;
    return server;
}

static SSL_CTX *with_way(const struct protocol *p, const struct way *way)
{
    SSL_CTX *server = make_server(p);

    way->set(server);
    return server;
}

static SSL_CTX *make_client(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    return client;
}

static int is_sealed_by_application(const SSL_SESSION *session)
{
    const unsigned char *ticket;
    size_t length;

    SSL_SESSION_get0_ticket(session, &ticket, &length);
    return length > 16 && memcmp(ticket, application_keys, 16) == 0;
}

/* The ticket that the client has after it has offered this one, and resumed or not. */
static SSL_SESSION *offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, int resumes_too)
{
    struct connection c = connect_offering(server, client, session);
    SSL_SESSION *got = SSL_get1_session(c.client);

    CHECK_INT(connection_resumed(&c), resumes_too);
    connection_close(&c);
    return got;
}

static const char *file_of(const struct protocol *p)
{
    static char name[32];

    snprintf(name, sizeof(name), "ticket-%s", p->name);
    return name;
}

/* The way of a process that was started again. */
static const struct way *current(void)
{
    const char *number = getenv("TEST_WAY");

    return &ways[number == NULL ? 0 : atoi(number)];
}

/* ---- across processes ------------------------------------------------------------------------ */

static void leave_from(const struct protocol *p, SSL_CTX *server)
{
    SSL_CTX *client = make_client(p);
    SSL_SESSION *session = obtain_session(server, client);

    section("%s %s, leaves", p->name, current()->name);
    CHECK_INT(SSL_SESSION_has_ticket(session), 1);
    save_session(file_of(p), session);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void leave(void)
{
    FOR_EACH_PROTOCOL(p)
        leave_from(p, with_way(p, current()));
}

/* A session for nobody else: a certificate was asked for and none given. */
static void leave_private(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = with_way(p, current());

        SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
        leave_from(p, server);
    }
}

static void find_at(const struct protocol *p, SSL_CTX *server, int expected)
{
    SSL_CTX *client = make_client(p);
    SSL_SESSION *session = load_session(file_of(p)), *got;

    section("%s %s, finds", p->name, current()->name);
    got = offer(server, client, session, expected);
    SSL_SESSION_free(got);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* On a host whose application has no keys. */
static void find(void) { FOR_EACH_PROTOCOL(p) find_at(p, make_server(p), 1); }
static void lose(void) { FOR_EACH_PROTOCOL(p) find_at(p, make_server(p), 0); }

/* And where it has the same ones. */
static void find_with_way(void)
{
    FOR_EACH_PROTOCOL(p)
        find_at(p, with_way(p, current()), 1);
}

static void find_private(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = with_way(p, current());

        SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
        find_at(p, server, 1);
    }
}

/* Leaves what replaces the ticket in its place. */
static void renew(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = with_way(p, current()), *client = make_client(p);
        SSL_SESSION *session = load_session(file_of(p)), *got;

        section("%s %s, renews", p->name, current()->name);
        CHECK_INT(is_sealed_by_application(session), 1);
        got = offer(server, client, session, 1);
        CHECK_INT(ticket_application.opened, current()->asks);
        CHECK_INT(ticket_application.sealed, 0);
        CHECK_INT(is_sealed_by_application(got), p->version != TLS1_3_VERSION);
        save_session(file_of(p), got);
        SSL_SESSION_free(got);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static void find_in_13(void) { find_at(&protocols[1], make_server(&protocols[1]), 1); }
static void lose_in_13(void) { find_at(&protocols[1], make_server(&protocols[1]), 0); }

static void everywhere(void)
{
    FOR_EACH_WAY(way) {
        char variable[] = "TEST_WAY=0";

        variable[sizeof(variable) - 2] += (char)(way - ways);
        section("%s", way->name);
        RUN_AGAIN(leave, key_file("keys"), override, variable);
        RUN_AGAIN(find, key_file("keys"));
        RUN_AGAIN(find_with_way, key_file("keys"), override, variable);
        RUN_AGAIN(lose, key_file("others"), override, variable);
        section("%s, private", way->name);
        RUN_AGAIN(leave_private, key_file("keys"), override, variable);
        RUN_AGAIN(lose, key_file("keys"));
        RUN_AGAIN(find_private, key_file("keys"), override, variable);
        /* The others' tickets, from before it was set. */
        section("%s, before", way->name);
        RUN_AGAIN(leave, key_file("keys"), variable);
        RUN_AGAIN(lose, key_file("keys"));
        RUN_AGAIN(renew, key_file("keys"), override, variable);
        RUN_AGAIN(find_in_13, key_file("keys"));
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* In one process, a session for nobody else, which comes back again and again. */
static void go_on_private(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = with_way(p, current()), *client = make_client(p);
        SSL_SESSION *session, *got;

        SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
        setenv("TEST_CLOCK", "0", 1);
        session = obtain_session(server, client);
        section("%s %s, goes on", p->name, current()->name);
        CHECK_INT(is_sealed_by_application(session), 1);
        for (int hour = 4; hour <= 12; hour += 4) {
            char clock[16];

            snprintf(clock, sizeof(clock), "%d", hour * HOUR);
            setenv("TEST_CLOCK", clock, 1);
            got = offer(server, client, session, hour < 10);
            SSL_SESSION_free(session);
            session = got;
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

/* What replaces a ticket of the application's is no younger than that. */
static void bounded(void)
{
    static const char bound[] = "SESSCACHE_MAX_LIFETIME=36000";

    section("bounded");
    RUN_AGAIN(leave, key_file("keys"), "TEST_CLOCK=0");
    RUN_AGAIN(renew, key_file("keys"), override, "TEST_CLOCK=72000");
    RUN_AGAIN(find_in_13, key_file("keys"), "TEST_CLOCK=86000");
    RUN_AGAIN(lose_in_13, key_file("keys"), "TEST_CLOCK=86500");
    section("bounded by the operator");
    RUN_AGAIN(leave, key_file("keys"), "TEST_CLOCK=0");
    RUN_AGAIN(find_with_way, key_file("keys"), override, bound, "TEST_CLOCK=35000");
    RUN_AGAIN(lose, key_file("keys"), override, bound, "TEST_CLOCK=37000");
    FOR_EACH_WAY(way) {
        char variable[] = "TEST_WAY=0";

        variable[sizeof(variable) - 2] += (char)(way - ways);
        RUN_AGAIN(go_on_private, key_file("keys"), override, bound, variable);
    }
}

/* ---- what the application answers ------------------------------------------------------------ */

static void answers(void)
{
    FOR_EACH_PROTOCOL(p) {
        FOR_EACH_WAY(way) {
            SSL_CTX *server = with_way(p, way), *client = make_client(p);
            SSL_SESSION *session = load_session(file_of(p)), *got;
            struct connection c;

            section("%s %s, answers", p->name, way->name);
            if (way->asks) {
                ticket_application.answer = 0;
                got = offer(server, client, session, 0);
                CHECK_INT(is_sealed_by_application(got), 0);
                SSL_SESSION_free(got);
                ticket_application.answer = 2;
                got = offer(server, client, session, 1);
                CHECK_INT(is_sealed_by_application(got), p->version != TLS1_3_VERSION);
                SSL_SESSION_free(got);
                ticket_application.answer = -1;
                c = connection_new(server, client);
                CHECK_INT(SSL_set_session(c.client, session), 1);
                CHECK_INT(connection_handshake(&c), 0);
                connection_drop(&c);
                ERR_clear_error();
            }
            SSL_SESSION_free(session);
            SSL_CTX_free(client);
            SSL_CTX_free(server);
        }
    }
}

/* ---- the application's data ------------------------------------------------------------------ */

static unsigned char data[64];
static size_t data_length;
static int data_seen;

static int generate_cb(SSL *ssl, void *unused)
{
    (void)unused;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data, data_length);
}

static int decrypt_cb(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t length,
                      int status, void *unused)
{
    void *got = NULL;
    size_t got_length = 0;

    (void)ssl, (void)name, (void)length, (void)unused;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    CHECK_INT(SSL_SESSION_get0_ticket_appdata(session, &got, &got_length), 1);
    data_seen += got_length == data_length && memcmp(got, data, data_length) == 0;
    return SSL_TICKET_RETURN_USE_RENEW;
}

static SSL_CTX *with_data(const struct protocol *p)
{
    SSL_CTX *server = with_way(p, current());

    CHECK_INT(SSL_CTX_set_session_ticket_cb(server, generate_cb, decrypt_cb, NULL), 1);
    /* By chance the last byte could be that of the library's data. */
    memset(data, 0x55, sizeof(data));
    data_length = sizeof(data);
    data_seen = 0;
    return server;
}

static void leave_data(void)
{
    FOR_EACH_PROTOCOL(p)
        leave_from(p, with_data(p));
}

static void find_data(void)
{
    FOR_EACH_PROTOCOL(p) {
        find_at(p, with_data(p), 1);
        CHECK_INT(data_seen, 1);
    }
}

/* Ten times, each with the ticket that the last one brought; after the first it is the library's. */
static void chain_data(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = with_data(p), *client = make_client(p);
        SSL_SESSION *session = load_session(file_of(p)), *got;

        section("%s %s, chain with data", p->name, current()->name);
        for (int i = 0; i < 10; i++) {
            got = offer(server, client, session, 1);
            SSL_SESSION_free(session);
            session = got;
        }
        CHECK_INT(data_seen, 10);
        CHECK_INT(ticket_application.opened, current()->asks ? (p->version == TLS1_3_VERSION ? 1 : 10) : 0);
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static void with_application_data(void)
{
    for (int way = 0; way < 3; way++) {
        char variable[] = "TEST_WAY=0";

        variable[sizeof(variable) - 2] += (char)way;
        section("data, way %d", way);
        RUN_AGAIN(leave_data, key_file("keys"), override, variable);
        RUN_AGAIN(find_data, key_file("keys"), variable, override);
        RUN_AGAIN(leave_data, key_file("keys"), variable);
        RUN_AGAIN(find_data, key_file("keys"), variable, override);
        RUN_AGAIN(chain_data, key_file("keys"), variable, override);
    }
}

/* ---- users that the application may have removed ----------------------------------------------- */

static int find_psk(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **session)
{
    (void)ssl, (void)identity, (void)length;
    *session = NULL;
    return 1;
}

/* Where users are known by keys of the application's, nobody can tell whose session it was. */
static void renew_private(void)
{
    const struct protocol *p = &protocols[1];
    SSL_CTX *server = with_way(p, current()), *client = make_client(p);
    SSL_SESSION *session = load_session(file_of(p)), *got;

    section("%s %s, with users", p->name, current()->name);
    SSL_CTX_set_psk_find_session_callback(server, find_psk);
    got = offer(server, client, session, 1);
    CHECK_INT(is_sealed_by_application(got), 1);
    save_session(file_of(p), got);
    SSL_SESSION_free(got);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* ---- without keys, and the counter ----------------------------------------------------------- */

/* Without a key file the application's keys are used, as on stock. */
static void without_key_file(void)
{
    FOR_EACH_PROTOCOL(p) {
        FOR_EACH_WAY(way) {
            SSL_CTX *server = with_way(p, way), *client = make_client(p);
            SSL_SESSION *session = obtain_session(server, client);

            section("%s %s, without a key file", p->name, way->name);
            CHECK_INT(is_sealed_by_application(session), 1);
            CHECK_INT(resumes(server, client, session), 1);
            SSL_SESSION_free(session);
            SSL_CTX_free(client);
            SSL_CTX_free(server);
        }
    }
}

static void count(long each)
{
    const struct protocol *p = &protocols[0];
    SSL_CTX *plain = make_server(p);
    uint64_t before = stats_of(plain).application_ticket_keys;
    unsigned char got[80];
    SSL_CTX *asked = make_server(p);

    section("counter");
    FOR_EACH_WAY(way)
        SSL_CTX_free(with_way(p, way));
    CHECK_INT(stats_of(plain).application_ticket_keys - before, each * WAYS);
    /* One that takes OpenSSL's keys hands them on. */
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(asked, NULL, 0), 80);
    CHECK_INT(stats_of(plain).application_ticket_keys - before, each * WAYS);
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(asked, got, sizeof(got)), 1);
    CHECK_INT(stats_of(plain).application_ticket_keys - before, each * (WAYS + 1));
    SSL_CTX_free(asked);
    SSL_CTX_free(plain);
}

static void count_each(void) { count(1); }
static void count_none(void) { count(0); }

/* ---- the error queue ------------------------------------------------------------------------- */

static int failing_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int enc)
{
    (void)ssl, (void)name, (void)iv, (void)cipher, (void)mac, (void)enc;
    CHECK_INT(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_USER, 77);
    return -1;
}

/* The application's callback is the first to put something there, and that stays. */
static void quiet(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = make_server(p), *client = make_client(p);
        SSL_SESSION *session = load_session(file_of(p));
        struct connection c = connection_new(server, client);

        section("%s quiet", p->name);
        CHECK_INT(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, failing_cb), 1);
        CHECK_INT(SSL_set_session(c.client, session), 1);
        CHECK_INT(SSL_do_handshake(c.client), -1);
        ERR_clear_error();
        CHECK_INT(SSL_do_handshake(c.server), -1);
        CHECK_INT(ERR_GET_REASON(ERR_peek_error()), 77);
        connection_drop(&c);
        ERR_clear_error();
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
        SSL_CTX_free(server);
    }
}

static const struct named_function functions[] = {
    NAMED(leave), NAMED(leave_private), NAMED(find), NAMED(lose), NAMED(find_with_way),
    NAMED(find_private), NAMED(renew), NAMED(find_in_13), NAMED(lose_in_13), NAMED(answers),
    NAMED(go_on_private), NAMED(leave_data), NAMED(find_data), NAMED(chain_data),
    NAMED(renew_private), NAMED(without_key_file), NAMED(count_each), NAMED(count_none),
    NAMED(quiet), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 20, 1);
    write_keys("others", 30, 1);
    everywhere();
    bounded();
    section("answers");
    RUN_AGAIN(leave, key_file("keys"));
    RUN_AGAIN(answers, key_file("keys"), override);
    RUN_AGAIN(quiet, key_file("keys"), override);
    with_application_data();
    section("users");
    RUN_AGAIN(leave, key_file("keys"));
    RUN_AGAIN(renew_private, key_file("keys"), override);
    RUN_AGAIN(lose_in_13, key_file("keys"));
    section("without a key file");
    RUN_AGAIN(without_key_file, override);
    section("counter");
    RUN_AGAIN(count_each, key_file("keys"), file_store("store"));
    RUN_AGAIN(count_none, key_file("keys"), file_store("store"), override);
    return test_end();
}
