/*
 * A client's standing is known to the process that verified it. A session is shared with nobody if
 * the verification did not end in X509_V_OK, if a certificate was asked for and none shown, or if
 * it was asked for on the connection alone. And a session from elsewhere does not resume where the
 * connection asks otherwise than its context: the client is asked. In the process that made it each
 * resumes as on stock, by id and by ticket.
 */
#include "harness_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct protocol *protocol;

static int has_tickets(void)
{
    return variable_is("TEST_TICKETS", "1");
}

/* ---- a server as the variables describe it --------------------------------------------------- */

/* As an application that looks away: the handshake goes on, and the result tells. */
static int look_away(int preverified, X509_STORE_CTX *store)
{
    (void)preverified, (void)store;
    return 1;
}

static int ask_on_connection(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* TEST_SERVER: whether and how it asks for certificates. TEST_CLIENT: "none" has no certificate. */
static void open_server(const struct protocol *p)
{
    protocol = p;
    own_server = new_host(p);
    own_client = new_client(p);
    if (has_tickets()) {
        SSL_CTX_clear_options(own_server, SSL_OP_NO_TICKET);
        SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
    }
    if (!variable_is("TEST_CLIENT", "none"))
        use_identity(own_client, host_identity());
    if (variable_is("TEST_SERVER", "asks"))
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, accept_every);
    if (variable_is("TEST_SERVER", "looks away"))
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, look_away);
    if (variable_is("TEST_SERVER", "asks on the connection"))
        SSL_CTX_set_client_hello_cb(own_server, ask_on_connection, NULL);
    section("%s, server %s, client %s, tickets %s", p->name, getenv("TEST_SERVER"),
            getenv("TEST_CLIENT"), getenv("TEST_TICKETS"));
}

#define FOR_EACH(p) \
    FOR_EACH_PROTOCOL(p) if (!has_tickets() || !p->is_dtls)

/* ---- what is done with it -------------------------------------------------------------------- */

/* Here it resumes, whatever the standing. */
static void leave(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session;

        open_server(p);
        session = obtain_here();
        save_session(p->name, session);
        CHECK_INT(resumes_here(session), 1);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

static void offer(int expected)
{
    FOR_EACH(p) {
        SSL_SESSION *session = load_session(p->name);

        open_server(p);
        CHECK_INT(resumes_here(session), expected);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

static void find(void)
{
    offer(1);
}

static void lose(void)
{
    offer(0);
}

static void be_refused(void)
{
    offer(-1);
}

/* Counters of the store, by which an operator sees why. */
static void see_causes(void)
{
    struct sesscache_stats stats;

    open_server(protocols);
    stats = stats_of(own_server);
    CHECK(stats.refused_unverified > 0);
    CHECK(stats.refused_no_client_certificate > 0);
    CHECK(stats.refused_connection_verify > 0);
    free_own_contexts();
}

/* ---- the cases ------------------------------------------------------------------------------- */

static char tickets[32];

static void run(void (*body)(void), const char *server, const char *client)
{
    RUN_AGAIN(body, file_store("store"), key_file("keys"), server, client, tickets);
}

static void cases(void)
{
    static const char plain[] = "TEST_SERVER=plain", asks[] = "TEST_SERVER=asks",
                      away[] = "TEST_SERVER=looks away",
                      alone[] = "TEST_SERVER=asks on the connection",
                      has[] = "TEST_CLIENT=has a certificate", none[] = "TEST_CLIENT=none";

    /* Good standing is shared. */
    run(leave, plain, none);
    run(find, plain, none);
    run(leave, asks, has);
    run(find, asks, has);
    /* Not verified, not shown, asked for on the connection alone. */
    run(leave, away, has);
    run(lose, away, has);
    run(leave, asks, none);
    run(lose, asks, none);
    run(leave, alone, has);
    run(lose, alone, has);
    /* Made where nobody was asked, offered where the connection asks: he is asked. */
    run(leave, plain, none);
    run(be_refused, alone, none);
    run(lose, alone, has);
    /* And nothing of that has removed it where it belongs. */
    run(find, plain, none);
}

static const struct named_function functions[] = {
    NAMED(leave), NAMED(find), NAMED(lose), NAMED(be_refused), NAMED(see_causes), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    for (int with = 0; with < 2; with++) {
        snprintf(tickets, sizeof(tickets), "TEST_TICKETS=%d", with);
        cases();
    }
    run(see_causes, "TEST_SERVER=plain", "TEST_CLIENT=none");
    return test_end();
}
