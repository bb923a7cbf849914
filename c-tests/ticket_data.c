/*
 * SSL_CTX_set_session_ticket_cb: the application's callbacks are asked whatever SESSCACHE_TICKETS
 * says, see their own data and nothing else, and libssl does what they answer. The checks are the
 * same on stock and in every setting.
 */
#include "harness_store.h"

#include <stdlib.h>
#include <string.h>

static const struct protocol *const with_tickets[] = { &protocols[0], &protocols[1] };
#define FOR_BOTH(p) \
    for (const struct protocol *const *p = with_tickets; p < with_tickets + 2; p++)

/* What the callbacks do and have seen; the argument of both. */
static struct plan {
    int makes;             /* the generate callback's answer */
    int uses, ignores;     /* the decrypt callback's answers if the ticket is open, and if not */
    int made, opened, closed, empty;
    int opened_status;
    int new_tickets; /* that the client has got */
} plan;

static const char mine[] = "of the application";

static int generate_cb(SSL *ssl, void *arg)
{
    CHECK_PTR(arg, &plan);
    plan.made++;
    CHECK_INT(SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), mine, sizeof(mine)), 1);
    return plan.makes;
}

static void check_data(SSL_SESSION *session)
{
    void *data = NULL;
    size_t length = 0;

    CHECK_INT(SSL_SESSION_get0_ticket_appdata(session, &data, &length), 1);
    CHECK_INT(length, sizeof(mine));
    CHECK(length == sizeof(mine) && memcmp(data, mine, length) == 0);
}

static int decrypt_cb(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t length,
    int status, void *arg)
{
    (void)ssl;
    CHECK_PTR(arg, &plan);
    switch (status) {
    case SSL_TICKET_SUCCESS:
    case SSL_TICKET_SUCCESS_RENEW:
        plan.opened++;
        plan.opened_status = status;
        CHECK(name != NULL);
        CHECK_INT(length, 16);
        check_data(session);
        return plan.uses;
    case SSL_TICKET_EMPTY:
        plan.empty++;
        CHECK_PTR(session, NULL);
        return plan.ignores;
    case SSL_TICKET_NO_DECRYPT:
        plan.closed++;
        CHECK_PTR(session, NULL);
        return plan.ignores;
    default:
        CHECK_INT(status, -1);
        return SSL_TICKET_RETURN_ABORT;
    }
}

static int count_tickets(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    plan.new_tickets++;
    return 0;
}

static const struct plan as_without = { .makes = 1, .uses = SSL_TICKET_RETURN_USE_RENEW,
    .ignores = SSL_TICKET_RETURN_IGNORE_RENEW };

static SSL_CTX *make_server(const struct protocol *p)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());

    use_certificate(server);
    CHECK_INT(SSL_CTX_set_min_proto_version(server, p->version), 1);
    CHECK_INT(SSL_CTX_set_max_proto_version(server, p->version), 1);
    CHECK_INT(SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4), 1);
    CHECK_INT(SSL_CTX_set_num_tickets(server, 1), 1);
    plan = as_without;
    return server;
}

static SSL_CTX *make_client(const struct protocol *p)
{
    SSL_CTX *client = new_client(p);

    SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client, count_tickets);
    return client;
}

static void set_both(SSL_CTX *server)
{
    CHECK_INT(SSL_CTX_set_session_ticket_cb(server, generate_cb, decrypt_cb, &plan), 1);
}

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    struct connection c = connection_new(server, client);

    plan.made = plan.opened = plan.closed = plan.empty = plan.new_tickets = 0;
    return finish_offering(&c, session, NULL);
}

/* ---- the decrypt callback -------------------------------------------------------------------- */

static void answers(const struct protocol *p)
{
    static const struct {
        int answer, resumes, new_tickets; /* in TLS 1.2 and in TLS 1.3, where a full one makes one */
    } rows[] = {
        { SSL_TICKET_RETURN_ABORT, -1, 0 },
        { SSL_TICKET_RETURN_IGNORE_RENEW, 0, 1 },
        { SSL_TICKET_RETURN_USE, 1, 0 },
        { SSL_TICKET_RETURN_USE_RENEW, 1, 1 },
        { 77, -1, 0 },
    };
    SSL_CTX *server = make_server(p), *client = make_client(p);
    SSL_SESSION *session;

    set_both(server);
    section("%s answers", p->name);
    session = obtain_session(server, client);
    CHECK_INT(SSL_SESSION_has_ticket(session), 1);
    CHECK_INT(plan.made, 1);
    CHECK_INT(plan.empty, p->version == TLS1_2_VERSION);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        /* OpenSSL 3.0 then forgets to free the session (tls_parse_ctos_psk). */
        if (rows[i].resumes < 0 && p->version == TLS1_3_VERSION)
            continue;
        section("%s answer %d", p->name, rows[i].answer);
        plan.uses = rows[i].answer;
        CHECK_INT(offer(server, client, session), rows[i].resumes);
        CHECK_INT(plan.opened, 1);
        CHECK_INT(plan.opened_status,
            p->version == TLS1_3_VERSION ? SSL_TICKET_SUCCESS_RENEW : SSL_TICKET_SUCCESS);
        CHECK_INT(plan.closed, 0);
        CHECK_INT(plan.made, rows[i].new_tickets);
    }
    section("%s ignores", p->name);
    plan.uses = SSL_TICKET_RETURN_IGNORE;
    CHECK_INT(offer(server, client, session), 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* A ticket of another context's own keys, and one that is damaged. */
static void not_opened(const struct protocol *p)
{
    SSL_CTX *server = make_server(p), *other = make_server(p), *client = make_client(p);
    SSL_SESSION *session;

    section("%s not opened", p->name);
    SSL_CTX_set_session_ticket_cb(other, generate_cb, NULL, &plan);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(other, (void *)(uintptr_t) "80 bytes: "
        "................................................................end..", 80), 1);
    SSL_CTX_clear_options(other, SSL_OP_NO_TICKET);
    session = obtain_session(other, client);
    set_both(server);
    CHECK_INT(offer(server, client, session), 0);
    CHECK_INT(plan.opened, 0);
    CHECK_INT(plan.closed, 1);
    plan.ignores = SSL_TICKET_RETURN_ABORT;
    CHECK_INT(offer(server, client, session), -1);
    plan.ignores = SSL_TICKET_RETURN_USE;
    CHECK_INT(offer(server, client, session), -1);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
}

static SSL_CTX *other_server(const struct protocol *p)
{
    SSL_CTX *other = make_server(p);

    SSL_CTX_clear_options(other, SSL_OP_NO_TICKET);
    return other;
}

/*
 * A ticket of another context, where none was asked for a certificate, as a ticket is after a restart:
 * libssl would not open it, and if the library does, it declines it.
 */
static void declined(const struct protocol *p)
{
    SSL_CTX *other = other_server(p), *server = make_server(p), *client = make_client(p);
    SSL_SESSION *session = obtain_session(other, client);

    section("%s declined", p->name);
    set_both(server);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    CHECK_INT(offer(server, client, session), 0);
    CHECK_INT(plan.opened, 0);
    CHECK_INT(plan.closed, 1);
    CHECK_INT(plan.new_tickets, 1);
    plan.ignores = SSL_TICKET_RETURN_IGNORE;
    CHECK_INT(offer(server, client, session), 0);
    CHECK_INT(plan.opened, 0);
    CHECK_INT(plan.closed, 1);
    CHECK_INT(plan.new_tickets, p->version == TLS1_2_VERSION);
    if (p->version == TLS1_2_VERSION) { /* for the reason in answers() */
        section("%s declined, aborted", p->name);
        plan.ignores = SSL_TICKET_RETURN_ABORT;
        CHECK_INT(offer(server, client, session), -1);
        CHECK_INT(plan.opened, 0);
        CHECK_INT(plan.closed, 1);
    }
    section("%s declined, used", p->name);
    /* There is nothing to be used; stock ends the handshake. */
    plan.ignores = SSL_TICKET_RETURN_USE_RENEW;
    CHECK(offer(server, client, session) != 1);
    CHECK_INT(plan.closed, 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(other);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- keys that an application hands on ------------------------------------------------------- */

/* The keys of one context, taken and set on another: each opens the tickets of both. */
static void handed_on(const struct protocol *p, int is_asked)
{
    SSL_CTX *from = other_server(p), *to = other_server(p), *client = make_client(p);
    SSL_SESSION *of_from, *of_to, *before = obtain_session(from, client);
    unsigned char keys[80];

    section("%s keys handed on, asked %d", p->name, is_asked);
    if (is_asked) {
        SSL_CTX_set_verify(from, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_verify(to, SSL_VERIFY_PEER, NULL);
    }
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(from, NULL, 0), sizeof(keys));
    CHECK_INT(offer(from, client, before), 1);
    CHECK_INT(SSL_CTX_get_tlsext_ticket_keys(from, keys, sizeof(keys)), 1);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(to, keys, sizeof(keys)), 1);
    of_from = obtain_session(from, client);
    of_to = obtain_session(to, client);
    CHECK_INT(offer(from, client, of_from), 1);
    CHECK_INT(offer(to, client, of_from), 1);
    CHECK_INT(offer(to, client, of_to), 1);
    CHECK_INT(offer(from, client, of_to), 1);
    SSL_SESSION_free(before);
    SSL_SESSION_free(of_from);
    SSL_SESSION_free(of_to);
    SSL_CTX_free(from);
    SSL_CTX_free(to);
    SSL_CTX_free(client);
}

/* ---- one callback, and none ------------------------------------------------------------------ */

static void generate_alone(const struct protocol *p)
{
    SSL_CTX *server = make_server(p), *client = make_client(p);
    SSL_SESSION *session;
    struct connection c;

    section("%s generate alone", p->name);
    CHECK_INT(SSL_CTX_set_session_ticket_cb(server, generate_cb, NULL, &plan), 1);
    session = obtain_session(server, client);
    c = connect_offering(server, client, session);
    CHECK_INT(connection_resumed(&c), 1);
    CHECK_INT(plan.opened + plan.closed + plan.empty, 0);
    if (!(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET))
        check_data(SSL_get_session(c.server));
    connection_close(&c);
    section("%s generate fails", p->name);
    plan.makes = 0;
    if (!(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET))
        CHECK_INT(offer(server, client, NULL), -1);
    section("%s generate says 2", p->name);
    plan.makes = 2;
    CHECK_INT(offer(server, client, NULL), 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void unset(const struct protocol *p)
{
    SSL_CTX *server = make_server(p), *client = make_client(p);
    SSL_SESSION *session;

    section("%s unset", p->name);
    set_both(server);
    CHECK_INT(SSL_CTX_set_session_ticket_cb(server, NULL, NULL, NULL), 1);
    session = obtain_session(server, client);
    CHECK_INT(offer(server, client, session), 1);
    CHECK_INT(plan.made + plan.opened + plan.closed + plan.empty, 0);
    /* Clients use a ticket of TLS 1.3 once. */
    CHECK_INT(plan.new_tickets, p->version == TLS1_3_VERSION);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* With keys of the application's own, set before the callbacks or after. */
static void own_keys(const struct protocol *p, int before)
{
    static unsigned char keys[80] = "80 bytes of the application's own";
    SSL_CTX *server = make_server(p), *client = make_client(p);
    SSL_SESSION *session;

    section("%s own keys, before %d", p->name, before);
    if (!before)
        set_both(server);
    CHECK_INT(SSL_CTX_set_tlsext_ticket_keys(server, keys, sizeof(keys)), 1);
    if (before)
        set_both(server);
    session = obtain_session(server, client);
    CHECK_INT(plan.made, 1);
    CHECK_INT(offer(server, client, session), 1);
    CHECK_INT(plan.opened, 1);
    plan.uses = SSL_TICKET_RETURN_IGNORE_RENEW;
    CHECK_INT(offer(server, client, session), 0);
    CHECK_INT(plan.opened, 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void all(void)
{
    FOR_BOTH(p) {
        answers(*p);
        not_opened(*p);
        declined(*p);
        handed_on(*p, 0);
        handed_on(*p, 1);
        generate_alone(*p);
        unset(*p);
        own_keys(*p, 0);
        own_keys(*p, 1);
    }
}

/* SESSCACHE_TICKETS=off goes on where no decrypt callback is, and no longer. */
static void off(void)
{
    FOR_BOTH(p) {
        SSL_CTX *server = make_server(*p);
        const uint64_t none = overlaid() ? SSL_OP_NO_TICKET : 0;

        section("%s off", (*p)->name);
        CHECK_INT(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET, none);
        CHECK_INT(SSL_CTX_set_session_ticket_cb(server, generate_cb, NULL, &plan), 1);
        CHECK_INT(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET, none);
        set_both(server);
        CHECK_INT(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET, 0);
        SSL_CTX_set_session_ticket_cb(server, NULL, NULL, NULL);
        CHECK_INT(SSL_CTX_get_options(server) & SSL_OP_NO_TICKET, none);
        SSL_CTX_free(server);
    }
}

static const struct named_function functions[] = { NAMED(all), NAMED(off), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    write_keys("keys", 20, 1);
    RUN_AGAIN(all, "SESSCACHE_LOG=off");
    RUN_AGAIN(all, key_file("keys"));
    RUN_AGAIN(all, key_file("keys"), file_store("store"));
    RUN_AGAIN(all, key_file("keys"), "SESSCACHE_TICKETS=application");
    RUN_AGAIN(all, "SESSCACHE_TICKETS=off");
    RUN_AGAIN(all, key_file("keys"), "SESSCACHE_TICKETS=off", file_store("store"));
    RUN_AGAIN(off, "SESSCACHE_TICKETS=off");
    return test_end();
}
