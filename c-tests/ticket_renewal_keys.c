/*
 * With keys of the key file a resumption by ticket brings a new ticket, in TLS 1.2 and DTLS too: on one
 * server and from server to server. However often it is renewed, what came of an authentication ends
 * when the first ticket would.
 *
 * In TLS 1.2 a client gets a new ticket only if the application's callback asks for it. OpenSSL's client
 * would resume less with it: it does not tell of the new session.
 */
#include "clock.h"
#include "harness_store.h"
#include "harness_tickets.h"

#include <stdio.h>
#include <string.h>

enum { HOUR = 3600, DAY = 24 * HOUR, STEP = 6 * HOUR, BOUND = 33 * HOUR };

static int renews(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t length, int status,
                  void *arg)
{
    (void)ssl, (void)session, (void)name, (void)length, (void)arg;
    return status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
        ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static SSL_CTX *make_server(const struct protocol *p)
{
    SSL_CTX *server = new_host(p);

    SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(server, 7 * DAY);
    CHECK_INT(SSL_CTX_set_session_ticket_cb(server, NULL, renews, NULL), 1);
    return server;
}

static SSL_CTX *make_client(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    return client;
}

/* Offers the ticket, under a name, and puts in its place what came, or NULL if that is the same one.
   1 if it resumed. */
static int offer_once(SSL_CTX *server, SSL_CTX *client, const char *name, SSL_SESSION **ticket)
{
    struct connection c = connection_new(server, client);
    SSL_SESSION *got;
    int resumed;

    if (name != NULL)
        CHECK_INT(SSL_set_tlsext_host_name(c.client, name), 1);
    if (*ticket != NULL)
        CHECK_INT(SSL_set_session(c.client, *ticket), 1);
    REQUIRE(connection_handshake(&c) && connection_exchange(&c));
    resumed = connection_resumed(&c);
    got = SSL_get1_session(c.client);
    if (*ticket != NULL && same_ticket(got, *ticket)) {
        SSL_SESSION_free(got);
        got = NULL;
    }
    SSL_SESSION_free(*ticket);
    *ticket = got;
    connection_close(&c);
    return resumed;
}

/* ---- ten connections ------------------------------------------------------------------------- */

static int resumed_once(SSL_CTX *const servers[2], SSL_CTX *client, const char *name)
{
    SSL_SESSION *ticket = NULL;
    int resumed = 0;

    for (int i = 0; i < 10; i++)
        resumed += offer_once(servers[i % 2], client, name, &ticket);
    SSL_SESSION_free(ticket);
    return resumed;
}

static void ten(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *one = make_server(p), *other = make_server(p), *client = make_client(p);
        SSL_CTX *const same[] = { one, one }, *const both[] = { one, other };

        section("%s", p->name);
        CHECK_INT(resumed_once(same, client, NULL), 9);
        CHECK_INT(resumed_once(same, client, "a.example"), 9);
        CHECK_INT(resumed_once(both, client, "a.example"), 9);
        section("%s private", p->name);
        SSL_CTX_set_verify(one, SSL_VERIFY_PEER, NULL);
        CHECK_INT(resumed_once(same, client, "a.example"), 9);
        SSL_CTX_free(one);
        SSL_CTX_free(other);
        SSL_CTX_free(client);
    }
}

/* ---- a client that keeps what it was told of --------------------------------------------------- */

static SSL_SESSION *told;

static int keep_told(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(told);
    told = session;
    return 1;
}

/* As Ruby and nginx have it: the session that new_cb got last. */
static void kept(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *server = make_server(p), *client = make_client(p);
        int resumed = 0;

        section("%s kept", p->name);
        CHECK_INT(SSL_CTX_set_session_ticket_cb(server, NULL, NULL, NULL), 1);
        SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(client, keep_told);
        for (int i = 0; i < 10; i++)
            resumed += resumes(server, client, told);
        CHECK_INT(resumed, 9);
        SSL_SESSION_free(told);
        told = NULL;
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

/* ---- another name ---------------------------------------------------------------------------- */

/* In the context that made it a session resumes under another name, as on stock. In TLS 1.2 it keeps
   its name, which cannot be told from its ticket: so the new ticket is for this context only. */
static void named(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *one = make_server(p), *other = make_server(p), *client = make_client(p);
        SSL_SESSION *ticket = NULL, *kept;

        section("%s another name", p->name);
        offer_once(one, client, "a.example", &ticket);
        kept = SSL_SESSION_dup(ticket);
        CHECK_INT(offer_once(one, client, "b.example", &ticket), 1);
        CHECK(ticket != NULL);
        SSL_SESSION_free(ticket);
        ticket = SSL_SESSION_dup(kept);
        CHECK_INT(offer_once(other, client, "b.example", &ticket), 0);
        SSL_SESSION_free(ticket);
        ticket = kept;
        CHECK_INT(offer_once(other, client, "a.example", &ticket), 1);
        CHECK_INT(offer_once(one, client, "a.example", &ticket), 1);
        CHECK_INT(offer_once(other, client, "b.example", &ticket), 0);
        SSL_SESSION_free(ticket);
        SSL_CTX_free(one);
        SSL_CTX_free(other);
        SSL_CTX_free(client);
    }
}

/* ---- found by id ----------------------------------------------------------------------------- */

/* A session of TLS 1.2 that was found by its id, where a ticket was asked for: other connections have
   the object. The ticket is for this context only. */
static void by_id(void)
{
    const struct protocol *p = &protocols[0];
    SSL_CTX *one = make_server(p), *other = make_server(p), *client = make_client(p);
    SSL_CTX *without = new_client(p);
    SSL_SESSION *session, *ticket;

    section("%s by id", p->name);
    REQUIRE(p->version == TLS1_2_VERSION);
    session = obtain_session(one, without);
    CHECK_INT(SSL_SESSION_has_ticket(session), 0);
    ticket = SSL_SESSION_dup(session);
    CHECK_INT(offer_once(one, client, NULL, &ticket), 1);
    REQUIRE(ticket != NULL && SSL_SESSION_has_ticket(ticket));
    CHECK_INT(offer_once(one, client, NULL, &ticket), 1);
    REQUIRE(ticket != NULL && SSL_SESSION_has_ticket(ticket));
    CHECK_INT(offer_once(other, client, NULL, &ticket), 0);
    CHECK_INT(resumes(one, without, session), 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(one);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
    SSL_CTX_free(without);
}

/* ---- thirty days ----------------------------------------------------------------------------- */

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

/* A client that comes back every six hours: no session resumes that is older than the bound. */
static void month_of(SSL_CTX *const servers[2], SSL_CTX *client)
{
    SSL_SESSION *ticket = NULL;
    long began = 0;
    int resumed = 0;

    for (long day = 0, now = 0; now < 30L * DAY; now += STEP, day++) {
        int is_old = now - began > BOUND;

        set_ahead(now);
        if (offer_once(servers[day % 2], client, "a.example", &ticket)) {
            CHECK_INT(is_old, 0);
            resumed++;
        } else {
            CHECK_INT(now == 0 || is_old, 1);
            began = now;
        }
    }
    /* The first of six is a full handshake. */
    CHECK_INT(resumed, 120 - 120 / 6);
    SSL_SESSION_free(ticket);
    set_ahead(0);
}

static void month(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *one = make_server(p), *other = make_server(p), *client = make_client(p);
        SSL_CTX *const same[] = { one, one }, *const both[] = { one, other };

        section("%s thirty days", p->name);
        month_of(same, client);
        month_of(both, client);
        SSL_CTX_free(one);
        SSL_CTX_free(other);
        SSL_CTX_free(client);
    }
}

static const struct named_function functions[] = {
    NAMED(ten), NAMED(kept), NAMED(named), NAMED(by_id), NAMED(month), { NULL, NULL },
};

int main(int argc, char **argv)
{
    static const char bound[] = "SESSCACHE_MAX_LIFETIME=118800";

    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 2);
    RUN_AGAIN(ten, key_file("keys"));
    RUN_AGAIN(ten, key_file("keys"), file_store("store"));
    RUN_AGAIN(kept, key_file("keys"));
    RUN_AGAIN(named, key_file("keys"));
    RUN_AGAIN(by_id, key_file("keys"));
    RUN_AGAIN(by_id, key_file("keys"), file_store("store"));
    RUN_AGAIN(month, key_file("keys"), bound);
    RUN_AGAIN(month, key_file("keys"), bound, file_store("store"));
    return test_end();
}
