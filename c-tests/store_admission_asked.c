/*
 * A server that asks for a certificate: on its context, on the connection alone, in a ClientHello
 * callback or a servername callback. From the restart on that brings the question, a session made
 * without a certificate does not resume, and the client is asked. A session whose client gave none,
 * or did not pass, or was judged by the application, is shared with nobody.
 */
#include "harness_admission.h"

/* ---- ways to ask ----------------------------------------------------------------------------- */

static void trust_root(SSL_CTX *server) { trust(server, "root"); }
static void ask_root(SSL_CTX *server) { trust_root(server); ask_client(server); }
static void require_root(SSL_CTX *server) { trust_root(server); require_client(server); }

static void ask_there(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

static void require_there(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static int require_at_hello(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    require_there(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int require_by_name(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    require_there(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int ask_by_name(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    ask_there(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static void asking_at_hello(SSL_CTX *server)
{
    trust_root(server);
    SSL_CTX_set_client_hello_cb(server, require_at_hello, NULL);
}

static void requiring_by_name(SSL_CTX *server)
{
    trust_root(server);
    SSL_CTX_set_tlsext_servername_callback(server, require_by_name);
}

static void asking_by_name(SSL_CTX *server)
{
    trust_root(server);
    SSL_CTX_set_tlsext_servername_callback(server, ask_by_name);
}

static void hello_revoked(SSL_CTX *server) { asking_at_hello(server); use_revoked(server, "after"); }
static void trust_revoked(SSL_CTX *server) { trust_root(server); use_revoked(server, "after"); }
static void trust_both(SSL_CTX *server) { trust_root(server); trust(server, "others"); }

/* ---- ways to judge --------------------------------------------------------------------------- */

/* The handshake goes on, and the result of the verification tells. */
static void look_away(SSL_CTX *server)
{
    trust_root(server);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, accept_every);
}

static int judge(X509_STORE_CTX *store, void *argument)
{
    (void)argument;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static void judge_itself(SSL_CTX *server)
{
    ask_root(server);
    SSL_CTX_set_cert_verify_callback(server, judge, NULL);
}

/* ---- without a session id context ------------------------------------------------------------ */

static void no_id_context(SSL_CTX *server)
{
    trust_root(server);
    REQUIRE(SSL_CTX_set_session_id_context(server, NULL, 0) == 1);
}

#define DECLINED .declined = COUNTER(declined_client)
#define REFUSED(cause) .refused = COUNTER(refused_##cause)

static const struct rule rules[] = {
    /* Asked from now on. */
    { "asks", change_nothing, ask_root, .gone = "none", DECLINED },
    { "asks, shown", change_nothing, ask_root, .gone = "none", .comes_as = "good", DECLINED },
    { "requires", change_nothing, require_root, .gone = "none", DECLINED },
    { "requires, shown", change_nothing, require_root, .gone = "none", .comes_as = "good",
        DECLINED },
    { "asks on the connection", trust_root, trust_root, .opened_after = ask_there, .gone = "none",
        DECLINED },
    { "requires on the connection", trust_root, trust_root, .opened_after = require_there,
        .gone = "none", DECLINED },
    { "requires on the connection, shown", trust_root, trust_root, .opened_after = require_there,
        .gone = "none", .comes_as = "good", DECLINED },
    { "requires at the ClientHello", trust_root, asking_at_hello, .gone = "none", DECLINED },
    { "requires at the ClientHello, shown", trust_root, asking_at_hello, .gone = "none",
        .comes_as = "good", DECLINED },
    { "requires by name", trust_root, requiring_by_name, .gone = "none", .by_name = 1 },
    { "requires by name, shown", trust_root, requiring_by_name, .gone = "none",
        .comes_as = "good", .by_name = 1 },
    { "asks by name, shown", trust_root, asking_by_name, .gone = "none", .comes_as = "good",
        .by_name = 1 },
    { "asks nobody", trust_root, trust_root, .stays = "none" },
    { "asks later", trust_root, trust_root, .stays = "none", .later = require_client },
    { "neither asks nor trusts any more", ask_root, change_nothing, .gone = "good", DECLINED },
    /* Asked all along, and the client's standing changes, or not. */
    { "on the connection", trust_root, trust_root, .opened_before = require_there,
        .opened_after = require_there, .stays = "good" },
    { "on the connection, revoked", trust_root, trust_revoked, .opened_before = require_there,
        .opened_after = require_there, .gone = "bad", .stays = "good", DECLINED },
    { "on the connection, authority removed", trust_both, trust_root,
        .opened_before = require_there, .opened_after = require_there, .gone = "other",
        .stays = "good", DECLINED },
    { "at the ClientHello, revoked", asking_at_hello, hello_revoked, .gone = "bad",
        .stays = "good", DECLINED },
    { "by name", requiring_by_name, requiring_by_name, .stays = "good", .by_name = 1 },
    /* Not shared, though nothing changes. */
    { "asks, none given", ask_root, NULL, .gone = "none", .stays = "good",
        REFUSED(no_client_certificate) },
    { "asks on the connection, none given", trust_root, NULL, .opened_before = ask_there,
        .gone = "none", .stays = "good", REFUSED(no_client_certificate) },
    { "asks by name, none given", asking_by_name, NULL, .gone = "none", .by_name = 1,
        REFUSED(no_client_certificate) },
    { "looks away", look_away, NULL, .gone = "stranger", .stays = "good", REFUSED(unverified) },
    { "looks away no more", look_away, require_root, .gone = "stranger", .stays = "good" },
    { "judges itself", judge_itself, NULL, .gone = "good", REFUSED(unverified) },
    { "judges itself no more", judge_itself, ask_root, .gone = "good" },
    { "judges itself from now on", ask_root, judge_itself, .gone = "good", DECLINED },
    /* OpenSSL would end the handshake with an alert. */
    { "no id context", no_id_context, NULL, .opened_before = require_there, .gone = "good",
        .own_fails = 1 },
    { "no id context, from now on", no_id_context, no_id_context, .opened_after = ask_there,
        .gone = "none" },
    { "no id context, nobody asked", no_id_context, no_id_context, .stays = "none" },
};

static const struct rule_list lists[] = { { RULES(rules), NULL, NULL } };

/*
 * A process that is forked later has the context's copy, and with it the keys of its tickets, also
 * of those that are shared with nobody.
 */
static void share_with_forked(void)
{
    FOR_EACH_WAY(way) {
        struct worker worker, other;
        SSL_SESSION *session;

        section("%s none given, forked", way->name);
        own_server = new_host_for(way);
        own_client = new_client_for(way, "none");
        ask_root(own_server);
        worker = fork_worker();
        other = fork_worker();
        session = obtain_in(&worker);
        CHECK_INT(resumes_in(&worker, session), 1);
        CHECK_INT(resumes_in(&other, session), way->by_ticket);
        CHECK_INT(resumes_here(session), way->by_ticket);
        SSL_SESSION_free(session);
        end_worker(&worker);
        end_worker(&other);
        free_own_contexts();
    }
}

int main(int argc, char **argv)
{
    int failed = main_with_rules(argc, argv, lists, 1);

    own_name = NULL;
    share_with_forked();
    return failed | test_end();
}
