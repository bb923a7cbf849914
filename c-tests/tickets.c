/*
 * Ticket keys that follow from the key file: a stateless ticket resumes in every process that has
 * the file, for as long as SESSCACHE_MAX_LIFETIME says, whatever key of the file sealed it and
 * however often it was renewed. In the process that issued it it resumes as on stock. The
 * application's own keys win. The clock is this program's: libssl and the library ask its time().
 */
#include "harness_store.h"
#include "harness_tickets.h"

#include <stdio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

enum { HOUR = 3600, LIFETIME = 100 * HOUR, FIRST_KEY = 20, SECOND_KEY = 30 };

time_t time(time_t *place)
{
    const char *offset = getenv("TEST_CLOCK");
    struct timespec now;
    time_t seconds;

    clock_gettime(CLOCK_REALTIME, &now);
    seconds = now.tv_sec + (offset != NULL ? atol(offset) : 0);
    if (place != NULL)
        *place = seconds;
    return seconds;
}

/* By which libssl tells the time from OpenSSL 3.4 on. */
int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = time(NULL);
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

static const struct protocol *const with_tickets[] = { &protocols[0], &protocols[1] };
#define FOR_BOTH(p) \
    for (const struct protocol *const *p = with_tickets; p < with_tickets + 2; p++)

static SSL_CTX *issuing(const struct protocol *p)
{
    SSL_CTX *server = new_host(p);

    SSL_CTX_set_timeout(server, LIFETIME);
    return server;
}

static SSL_CTX *make_server(const struct protocol *p)
{
    SSL_CTX *server = issuing(p);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    return server;
}

/* It has a certificate, for servers that ask. */
static SSL_CTX *make_client(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    use_identity(client, host_identity());
    return client;
}

static const char *file_of(const struct protocol *p)
{
    return strcmp(p->name, "tls12") == 0 ? "ticket-12" : "ticket-13";
}

/* ---- a ticket here, a ticket there ----------------------------------------------------------- */

static SSL_CTX *(*making)(const struct protocol *p) = make_server;

static void leave(void)
{
    FOR_BOTH(p) {
        SSL_CTX *server = making(*p), *client = make_client(*p);
        SSL_SESSION *session = obtain_session(server, client);

        section("%s leave", (*p)->name);
        CHECK_INT(SSL_SESSION_has_ticket(session), 1);
        save_session(file_of(*p), session);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static void find_as(int expected)
{
    FOR_BOTH(p) {
        SSL_CTX *server = making(*p), *client = make_client(*p);
        SSL_SESSION *session = load_session(file_of(*p));
        struct connection c;

        section("%s find", (*p)->name);
        c = connect_by_right_clock(server, client, session);
        CHECK_INT(connection_resumed(&c), expected);
        /* Each resumption in TLS 1.3 brings a new ticket, and none in TLS 1.2, as with keys of
           libssl's own. */
        if (expected)
            CHECK_INT(!same_ticket(session, SSL_get_session(c.client)),
                      (*p)->version == TLS1_3_VERSION);
        connection_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static void find(void) { find_as(1); }
static void lose(void) { find_as(0); }

/* Asking how long keys are sets none. */
static SSL_CTX *asked_for_length(const struct protocol *p)
{
    SSL_CTX *server = make_server(p);

    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(server, NULL, 0), 80);
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(server, NULL, 0), 80);
    /* So does setting keys of a wrong length. */
    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(server, application_keys, 79), 0);
    ERR_clear_error();
    return server;
}

static void find_asking(void) { making = asked_for_length; find(); }

static void shared(void)
{
    section("shared");
    write_keys("keys", FIRST_KEY, 1);
    write_keys("others", SECOND_KEY, 1);
    RUN_AGAIN(leave, key_file("keys"));
    RUN_AGAIN(find, key_file("keys"));
    RUN_AGAIN(find_asking, key_file("keys"));
    RUN_AGAIN(find, key_file("keys"), "SESSCACHE_TICKETS=shared", file_store("store"));
    RUN_AGAIN(lose, key_file("others"));
    RUN_AGAIN(lose, key_file("keys"), "SESSCACHE_NAMESPACE=other");
    RUN_AGAIN(lose, key_file("keys"), "SESSCACHE_TICKETS=application");
    RUN_AGAIN(lose, "SESSCACHE_TICKETS=shared"); /* without a key file */
    RUN_AGAIN(leave, key_file("keys"), "SESSCACHE_TICKETS=application");
    RUN_AGAIN(lose, key_file("keys"));
}

/* ---- time ------------------------------------------------------------------------------------ */

static void epochs(void)
{
    section("epochs");
    RUN_AGAIN(leave, key_file("keys"), "TEST_CLOCK=0");
    RUN_AGAIN(find, key_file("keys"), "TEST_CLOCK=21600");
    RUN_AGAIN(find, key_file("keys"), "TEST_CLOCK=80000");
    RUN_AGAIN(lose, key_file("keys"), "TEST_CLOCK=108001"); /* 30 h: the fifth epoch after it */
    /* A ticket says when its life ends: the server that issues it must want a longer one, too. */
    RUN_AGAIN(lose, key_file("keys"), "TEST_CLOCK=108001", "SESSCACHE_MAX_LIFETIME=172800");
    RUN_AGAIN(leave, key_file("keys"), "TEST_CLOCK=0", "SESSCACHE_MAX_LIFETIME=172800");
    RUN_AGAIN(find, key_file("keys"), "TEST_CLOCK=108001",
              "SESSCACHE_MAX_LIFETIME=172800");
    /* Another host's clock is ahead. */
    RUN_AGAIN(leave, key_file("keys"), "TEST_CLOCK=21600");
    RUN_AGAIN(find, key_file("keys"), "TEST_CLOCK=0");
}

/* Tickets of tickets, each of another process, end when the first one does. */
static void renew(void)
{
    FOR_BOTH(p) {
        SSL_CTX *server = making(*p), *client = make_client(*p);
        SSL_SESSION *session = load_session(file_of(*p));
        struct connection c = connect_offering(server, client, session);

        section("%s renew", (*p)->name);
        CHECK_INT(connection_resumed(&c), 1);
        CHECK_INT(SSL_SESSION_has_ticket(SSL_get_session(c.client)), 1);
        save_session(file_of(*p), SSL_get_session(c.client));
        connection_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static void chains(void)
{
    static const char longest[] = "SESSCACHE_MAX_LIFETIME=30000";

    section("chain");
    RUN_AGAIN(leave, key_file("keys"), longest, "TEST_CLOCK=0");
    RUN_AGAIN(renew, key_file("keys"), longest, "TEST_CLOCK=8000");
    /* Another epoch. In TLS 1.2 the client keeps its ticket, in TLS 1.3 it gets the third. */
    RUN_AGAIN(renew, key_file("keys"), longest, "TEST_CLOCK=22000");
    RUN_AGAIN(find, key_file("keys"), longest, "TEST_CLOCK=29900");
    RUN_AGAIN(lose, key_file("keys"), longest, "TEST_CLOCK=30100");
    /* Nor by a server that would allow more. */
    RUN_AGAIN(lose, key_file("keys"), "TEST_CLOCK=30100");
}

/* ---- in the process that issued it ----------------------------------------------------------- */

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

static void open_own_for(const struct protocol *p)
{
    own_server = make_server(p);
    own_client = make_client(p);
    own_name = "one.example";
}

/* Under another name, when the context asks for certificates, and for as long as its timeout. */
static void keep_own(void)
{
    FOR_BOTH(p) {
        SSL_SESSION *session;

        open_own_for(*p);
        session = obtain_here();
        CHECK_INT(SSL_SESSION_has_ticket(session), 1);
        section("%s own, another name", (*p)->name);
        own_name = "two.example";
        CHECK_INT(resumes_here(session), 1);
        own_name = NULL;
        CHECK_INT(resumes_here(session), 1);
        section("%s own, asks", (*p)->name);
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        CHECK_INT(resumes_here(session), 1);
        SSL_CTX_set_verify(own_server, SSL_VERIFY_NONE, NULL);
        section("%s own, later", (*p)->name);
        set_ahead(LIFETIME - 100);
        CHECK_INT(resumes_here(session), 1);
        set_ahead(LIFETIME + 100);
        CHECK_INT(resumes_here(session), 0);
        set_ahead(0);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

/* An explicit SESSCACHE_MAX_LIFETIME, of 1000 seconds, is for own tickets, too. */
static void end_own(void)
{
    FOR_BOTH(p) {
        SSL_SESSION *session, *next;

        section("%s own, ended", (*p)->name);
        open_own_for(*p);
        session = obtain_here();
        set_ahead(900);
        next = renew_here(session);
        set_ahead(1100);
        CHECK_INT(resumes_here(session), 0);
        CHECK_INT(resumes_here(next), 0);
        set_ahead(0);
        SSL_SESSION_free(session);
        SSL_SESSION_free(next);
        free_own_contexts();
    }
}

/* So it is for a ticket that is sealed for this process alone: a certificate was asked for and none
   given. In TLS 1.3 each resumption brings a new one. */
static void end_private(void)
{
    static const long seconds[] = { 0, 400, 800, 950 };

    FOR_BOTH(p) {
        SSL_SESSION *session, *next;

        section("%s private, ended", (*p)->name);
        own_server = make_server(*p);
        own_client = new_client(*p);
        SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, NULL);
        session = obtain_here();
        for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
            set_ahead(seconds[i]);
            next = renew_here(session);
            SSL_SESSION_free(session);
            session = next;
        }
        set_ahead(1100);
        CHECK_INT(resumes_here(session), 0);
        set_ahead(0);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

static void in_own_process(void)
{
    static const char most[] = "SESSCACHE_MAX_LIFETIME=1000";

    section("own process");
    RUN_AGAIN(keep_own, key_file("keys"));
    RUN_AGAIN(keep_own, key_file("keys"), "SESSCACHE_CLIENT_CERTS=never", file_store("store"));
    RUN_AGAIN(end_own, key_file("keys"), most);
    RUN_AGAIN(end_private, key_file("keys"), most);
    RUN_AGAIN(end_private, key_file("keys"), most, file_store("store"));
}

/* ---- keys change ------------------------------------------------------------------------------ */

static void append_key(const char *name, const char *first, const char *second)
{
    size_t length[2];
    unsigned char *part[2] = { read_file(first, &length[0]), read_file(second, &length[1]) };
    unsigned char *all = malloc(length[0] + length[1]);

    memcpy(all, part[0], length[0]);
    memcpy(all + length[0], part[1], length[1]);
    write_file(name, all, length[0] + length[1], 0600);
    free(part[0]);
    free(part[1]);
    free(all);
}

/* The documented order: the new key second on every host, then first, one host after the other. */
static void rotated(void)
{
    section("rotated");
    append_key("old first", "keys", "others");
    append_key("new first", "others", "keys");
    RUN_AGAIN(leave, key_file("keys"));
    RUN_AGAIN(find, key_file("old first"));
    RUN_AGAIN(find, key_file("new first"));
    RUN_AGAIN(leave, key_file("new first"));
    RUN_AGAIN(find, key_file("old first"));
    RUN_AGAIN(find, key_file("others"));
    RUN_AGAIN(leave, key_file("old first"));
    RUN_AGAIN(find, key_file("new first"));
}

/* ---- the application's own ------------------------------------------------------------------- */

static SSL_CTX *with_keys(const struct protocol *p)
{
    SSL_CTX *server = make_server(p);

    set_application_keys(server);
    return server;
}

static SSL_CTX *with_evp_cb(const struct protocol *p)
{
    SSL_CTX *server = make_server(p);

    set_application_evp_cb(server);
    return server;
}

static SSL_CTX *with_cb(const struct protocol *p)
{
    SSL_CTX *server = make_server(p);

    set_application_hmac_cb(server);
    return server;
}

static SSL_CTX *(*const own_ways[])(const struct protocol *p) = { with_keys, with_evp_cb, with_cb };

static void use_way(void)
{
    making = own_ways[atoi(getenv("TEST_WAY"))];
}

static void leave_own(void) { use_way(); leave(); }
static void find_own(void)
{
    use_way();
    find();
    CHECK_INT(ticket_application.sealed + ticket_application.opened > 0, making != with_keys);
}

static void own(void)
{
    for (int way = 0; way < 3; way++) {
        char variable[] = "TEST_WAY=0";

        variable[sizeof(variable) - 2] += way;
        section("own keys, way %d", way);
        RUN_AGAIN(leave_own, key_file("keys"), variable);
        RUN_AGAIN(lose, key_file("keys"));
        /* The application's keys open them, whatever the key file is. */
        RUN_AGAIN(find_own, key_file("others"), variable);
    }
}

/* ---- none ------------------------------------------------------------------------------------ */

static void no_tickets(void)
{
    FOR_BOTH(p) {
        SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = make_client(*p);
        SSL_SESSION *session;

        section("%s off", (*p)->name);
        CHECK(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET);
        use_certificate(server);
        SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4);
        session = obtain_session(server, client);
        CHECK_INT(SSL_CTX_sess_number(server) > 0, 1);
        if ((*p)->version == TLS1_2_VERSION)
            CHECK_INT(SSL_SESSION_has_ticket(session), 0);
        CHECK_INT(resumes(server, client, session), 1);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

/* ---- servers that may not share -------------------------------------------------------------- */

static SSL_CTX *unidentified(const struct protocol *p)
{
    SSL_CTX *server = make_server(p);

    SSL_CTX_set_session_id_context(server, NULL, 0);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(server), host_identity()->certificate), 1);
    return server;
}

/* libssl would end the handshake with an alert if it could open the ticket. */
static void leave_unidentified(void) { making = unidentified; leave(); }
static void lose_unidentified(void) { making = unidentified; lose(); }

/* The same with an id context. */
static SSL_CTX *asking(const struct protocol *p)
{
    SSL_CTX *server = unidentified(p);

    CHECK_INT(SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4), 1);
    return server;
}

static void leave_asking(void) { making = asking; leave(); }
static void find_asked(void) { making = asking; find(); }

static const struct named_function functions[] = {
    NAMED(leave), NAMED(find), NAMED(lose), NAMED(find_asking),
    NAMED(leave_own), NAMED(find_own), NAMED(no_tickets), NAMED(leave_unidentified),
    NAMED(lose_unidentified), NAMED(renew), NAMED(keep_own), NAMED(end_own),
    NAMED(end_private),
    NAMED(leave_asking), NAMED(find_asked), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    shared();
    epochs();
    chains();
    in_own_process();
    rotated();
    own();
    section("off");
    RUN_AGAIN(no_tickets, "SESSCACHE_TICKETS=off");
    section("unidentified");
    RUN_AGAIN(leave_unidentified, key_file("keys"));
    RUN_AGAIN(lose_unidentified, key_file("keys"));
    RUN_AGAIN(leave_asking, key_file("keys"));
    RUN_AGAIN(lose_unidentified, key_file("keys"));
    RUN_AGAIN(find_asked, key_file("keys"));
    return test_end();
}
