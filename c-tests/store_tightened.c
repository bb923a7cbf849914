/*
 * A virtual host is changed, and the server started again: sessions made there before, when it asked
 * nobody for a certificate or trusted whom it trusts no more, do not resume there, by id or by
 * ticket. libssl looks for a session before a servername callback says which host it is
 * (CVE-2025-23419 is about that); where the client would be let in, it goes on resuming. The
 * sessions of a context in use are resumed as on stock.
 */
#include "harness_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const named = "named.example";
static const struct protocol *protocol;
static SSL_CTX *host; /* the one that the name leads to; own_server is where connections start */

/* ---- a server as the variables describe it --------------------------------------------------- */

static int has_tickets(void)
{
    return variable_is("TEST_TICKETS", "1");
}

static void switch_to_host(SSL *ssl)
{
    CHECK_PTR(SSL_set_SSL_CTX(ssl, host), host);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host), SSL_CTX_get_verify_callback(host));
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (name != NULL && strcmp(name, named) == 0)
        switch_to_host(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int client_hello_cb(SSL *ssl, int *alert, void *argument)
{
    const unsigned char *bytes;
    size_t length;

    (void)alert, (void)argument;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &length) == 1 &&
        length > strlen(named) && memcmp(bytes + length - strlen(named), named, strlen(named)) == 0)
        switch_to_host(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *ctx = new_host(protocol);

    if (has_tickets())
        SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

static void ask_for_certificate(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
}

static void trust_certificate(SSL_CTX *ctx, const struct identity *identity)
{
    CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), identity->certificate), 1);
}

/* TEST_HOST: the named host is plain, or asks for certificates and trusts the client, or one more,
 * or nobody. */
static void make_asking(SSL_CTX *ctx)
{
    struct identity more;

    if (variable_is("TEST_HOST", "plain"))
        return;
    ask_for_certificate(ctx);
    if (!variable_is("TEST_HOST", "trusts nobody"))
        trust_certificate(ctx, host_identity());
    if (!variable_is("TEST_HOST", "trusts more"))
        return;
    more = new_identity("more", 3600);
    trust_certificate(ctx, &more);
    free_identity(&more);
}

/* TEST_SWITCH: how a name leads to its host; "nowhere": there is but one context. */
static void open_server(const struct protocol *p)
{
    protocol = p;
    own_server = make_context();
    own_client = new_client(p);
    if (has_tickets())
        SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
    use_identity(own_client, host_identity());
    own_name = named;
    host = own_server;
    if (!variable_is("TEST_SWITCH", "nowhere"))
        host = make_context();
    make_asking(host);
    if (variable_is("TEST_SWITCH", "hello"))
        SSL_CTX_set_client_hello_cb(own_server, client_hello_cb, NULL);
    else
        SSL_CTX_set_tlsext_servername_callback(own_server, servername_cb);
    section("%s, %s, by %s, tickets %s", p->name, getenv("TEST_HOST"), getenv("TEST_SWITCH"),
            getenv("TEST_TICKETS"));
}

static void close_server(void)
{
    if (host != own_server)
        SSL_CTX_free(host);
    free_own_contexts();
}

/* ---- what is done with it -------------------------------------------------------------------- */

/* The protocols in which a server issues tickets, if it is to. */
#define FOR_EACH(p) \
    FOR_EACH_PROTOCOL(p) if (!has_tickets() || !p->is_dtls)

static void leave(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session;

        open_server(p);
        session = obtain_here();
        save_session(p->name, session);
        SSL_SESSION_free(session);
        close_server();
    }
}

static void find_at_once(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session = load_session(p->name);

        open_server(p);
        CHECK_INT(resumes_here(session), 1);
        SSL_SESSION_free(session);
        close_server();
    }
}

/* Where a name leads is not known before the first connection that asked for it. */
static void find_when_known(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session = load_session(p->name);
        struct worker worker;

        open_server(p);
        CHECK_INT(resumes_here(session), 0);
        CHECK_INT(resumes_here(session), 1);
        /* A process passes its knowledge on to its children. */
        worker = fork_worker();
        CHECK_INT(resumes_in(&worker, session), 1);
        end_worker(&worker);
        SSL_SESSION_free(session);
        close_server();
    }
}

/* Nor under another name, or none, known or not. */
static void lose_under_other_names(SSL_SESSION *session)
{
    static const char *const others[] = { "other.example", NULL };

    for (int i = 0; i < 2; i++) {
        own_name = others[i];
        CHECK_INT(resumes_here(session), 0);
        CHECK_INT(resumes_here(session), 0);
    }
    own_name = named;
}

/* Not now, and not when it is known where the name leads; nor without a certificate. */
static void lose(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session = load_session(p->name);

        open_server(p);
        for (int i = 0; i < 3; i++)
            CHECK_INT(resumes_here(session), 0);
        lose_under_other_names(session);
        if (!variable_is("TEST_HOST", "plain")) {
            SSL_CTX_free(own_client);
            own_client = new_client(p);
            if (has_tickets())
                SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
            CHECK_INT(resumes_here(session), -1);
        }
        SSL_SESSION_free(session);
        close_server();
    }
}

/* The callbacks here tell upper case from lower, which server names do not: another host. */
static void leave_upper_case(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session;

        open_server(p);
        own_name = "NAMED.example";
        session = obtain_here();
        CHECK_INT(resumes_here(session), 1);
        save_session(p->name, session);
        SSL_SESSION_free(session);
        close_server();
    }
}

/* Contexts that come and go beside, and to which no name leads, change nothing. */
static void find_beside_others(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session;

        open_server(p);
        session = obtain_here();
        for (int i = 0; i < 3; i++) {
            SSL_CTX *other = make_context();

            ask_for_certificate(other);
            CHECK_INT(resumes_here(session), 1);
            SSL_CTX_free(other);
        }
        SSL_SESSION_free(session);
        close_server();
    }
}

/* A host in use begins to ask: what it made itself goes on, as on stock, and no other does. */
static void tighten_in_use(void)
{
    FOR_EACH(p) {
        SSL_SESSION *session, *from_before = load_session(p->name);

        open_server(p);
        session = obtain_here();
        CHECK_INT(resumes_here(session), 1);
        CHECK_INT(resumes_here(from_before), 1);
        ask_for_certificate(host);
        CHECK_INT(resumes_here(session), 1);
        SSL_SESSION_free(session);
        close_server();
        open_server(p);
        session = obtain_here();
        ask_for_certificate(host);
        for (int i = 0; i < 3; i++)
            CHECK(resumes_here(from_before) != 1);
        CHECK_INT(resumes_here(from_before), 0);
        SSL_SESSION_free(session);
        SSL_SESSION_free(from_before);
        close_server();
    }
}

/* ---- before and after ------------------------------------------------------------------------ */

static char how[32], tickets[32];

static void run(void (*body)(void), const char *described)
{
    RUN_AGAIN(body, file_store("store"), key_file("keys"), described, how, tickets);
}

static void changes(void)
{
    static const char plain[] = "TEST_HOST=plain", asks[] = "TEST_HOST=asks",
                      more[] = "TEST_HOST=trusts more", less[] = "TEST_HOST=trusts nobody";
    int at_once = strcmp(how, "TEST_SWITCH=hello") == 0;
    void (*find)(void) = at_once ? find_at_once : find_when_known;

    run(leave, plain);
    run(find_at_once, plain);
    run(lose, asks);
    run(find_at_once, plain);
    run(leave, asks);
    run(find, asks);
    run(find, more);
    run(lose, plain);
    run(lose, less);
    run(leave, more);
    run(find, more);
    run(find, asks);
    run(leave, plain);
    run(tighten_in_use, plain);
    run(leave_upper_case, asks);
    run(lose, asks);
    run(find_beside_others, asks);
}

static const struct named_function functions[] = {
    NAMED(leave), NAMED(find_at_once), NAMED(find_when_known), NAMED(lose), NAMED(leave_upper_case),
    NAMED(find_beside_others), NAMED(tighten_in_use), { NULL, NULL },
};

int main(int argc, char **argv)
{
    static const char *const ways[] = { "servername", "hello" };

    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    /* Each of some sixty processes takes seconds under valgrind: there one round of them. */
    for (int with = is_under_valgrind(); with < 2; with++) {
        snprintf(tickets, sizeof(tickets), "TEST_TICKETS=%d", with);
        for (int way = 0; way < (is_under_valgrind() ? 1 : 2); way++) {
            snprintf(how, sizeof(how), "TEST_SWITCH=%s", ways[way]);
            changes();
        }
        /* With one context a name can lead to no other. */
        snprintf(how, sizeof(how), "TEST_SWITCH=nowhere");
        run(leave, "TEST_HOST=asks");
        run(find_at_once, "TEST_HOST=asks");
        run(lose, "TEST_HOST=plain");
    }
    return test_end();
}
