/*
 * A client whose standing changed while the server was started again does not resume there: it is
 * revoked, its authority is trusted no more, its chain is too long, its certificate has ended or is
 * too weak. It has what a full handshake gives. A client whose standing did not change goes on
 * resuming. SESSCACHE_CLIENT_CERTS says what else may be done with sessions of such clients.
 */
#include "harness_admission.h"

#include "clock.h"

#include <openssl/x509v3.h>

static void ask_root(SSL_CTX *server)
{
    trust(server, "root");
    require_client(server);
    SSL_CTX_set_security_level(server, 0);
}

/* ---- what is known of the revoked, and who is trusted ---------------------------------------- */

static void nobody_revoked(SSL_CTX *server) { ask_root(server); use_revoked(server, "before"); }
static void bad_revoked(SSL_CTX *server) { ask_root(server); use_revoked(server, "after"); }

static void folder_of_nobody(SSL_CTX *server)
{
    require_client(server);
    trust_folder(server, "root", "others", "before");
    X509_STORE_set_flags(SSL_CTX_get_cert_store(server), X509_V_FLAG_CRL_CHECK);
}

static void folder_of_bad(SSL_CTX *server)
{
    require_client(server);
    trust_folder(server, "root", "others", "after");
}

static void folder_of_both(SSL_CTX *server)
{
    require_client(server);
    trust_folder(server, "root", "others", NULL);
}

static void folder_of_root(SSL_CTX *server)
{
    require_client(server);
    trust_folder(server, "root", "root", NULL);
}

static void folder_replaced(SSL_CTX *server)
{
    require_client(server);
    trust_folder(server, "root", "others again", NULL);
}

static void ask_both(SSL_CTX *server) { ask_root(server); trust(server, "others"); }

static void verify_with(SSL_CTX *server, int both)
{
    X509_STORE *store = X509_STORE_new();

    require_client(server);
    REQUIRE(X509_STORE_add_cert(store, identity_named("root")->certificate) == 1);
    if (both)
        REQUIRE(X509_STORE_add_cert(store, identity_named("others")->certificate) == 1);
    REQUIRE(SSL_CTX_set0_verify_cert_store(server, store) == 1);
}

static void verify_with_both(SSL_CTX *server) { verify_with(server, 1); }
static void verify_with_root(SSL_CTX *server) { verify_with(server, 0); }

/* ---- parameters of verification -------------------------------------------------------------- */

static void know_middle(SSL_CTX *server) { ask_root(server); trust(server, "middle"); }
static void lower_depth(SSL_CTX *server) { know_middle(server); SSL_CTX_set_verify_depth(server, 0); }
static void lower_depth_there(SSL *ssl) { SSL_set_verify_depth(ssl, 0); }

static void any_purpose(SSL_CTX *server)
{
    ask_root(server);
    REQUIRE(SSL_CTX_set_purpose(server, X509_PURPOSE_ANY) == 1);
}

/* The authority is trusted, but not for clients. */
static void reject_clients(SSL_CTX *server)
{
    X509 *authority = X509_dup(identity_named("root")->certificate);

    REQUIRE(authority != NULL);
    REQUIRE(X509_add1_reject_object(authority, OBJ_nid2obj(NID_client_auth)) == 1);
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(server), authority) == 1);
    X509_free(authority);
    require_client(server);
}

/* No client here has a policy. */
static void demand_policy(SSL_CTX *server)
{
    ask_root(server);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(server), X509_V_FLAG_EXPLICIT_POLICY);
}

static void raise_level(SSL_CTX *server) { ask_root(server); SSL_CTX_set_security_level(server, 2); }

static void trust_only_middle(SSL_CTX *server)
{
    require_client(server);
    trust(server, "middle");
}

static void trust_partial(SSL_CTX *server)
{
    trust_only_middle(server);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(server), X509_V_FLAG_PARTIAL_CHAIN);
}

static void expect_another(SSL_CTX *server)
{
    ask_root(server);
    X509_VERIFY_PARAM_set1_host(SSL_CTX_get0_param(server), "another.example", 0);
}

static void expect_another_there(SSL *ssl)
{
    X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), "another.example", 0);
}

/* ---- of the context in use ------------------------------------------------------------------- */

static void learn_revoked(SSL_CTX *server) { use_revoked(server, "after"); }
static void set_depth(SSL_CTX *server) { SSL_CTX_set_verify_depth(server, 0); }
static void raise_level_of(SSL_CTX *server) { SSL_CTX_set_security_level(server, 2); }

#define DECLINED .declined = COUNTER(declined_client)

static const struct rule rules[] = {
    { "revoked", nobody_revoked, bad_revoked, .gone = "bad", .stays = "good", DECLINED },
    { "a list from now on", ask_root, bad_revoked, .gone = "bad", .stays = "good", DECLINED },
    { "no list", ask_root, nobody_revoked, .stays = "good" },
    { "revoked in a folder", folder_of_nobody, folder_of_bad, .gone = "bad", .stays = "good",
        DECLINED },
    { "authority removed", ask_both, ask_root, .gone = "other", .stays = "good", DECLINED },
    { "authority added", ask_root, ask_both, .stays = "good" },
    { "authority removed from a folder", folder_of_both, folder_of_root, .gone = "other",
        .stays = "good", DECLINED },
    { "authority replaced in a folder", folder_of_both, folder_replaced, .gone = "other",
        .stays = "good", DECLINED },
    { "authority removed, verify store", verify_with_both, verify_with_root, .gone = "other",
        .stays = "good", DECLINED },
    { "depth lowered", know_middle, lower_depth, .gone = "deep", .stays = "good", DECLINED },
    { "depth lowered on the connection", know_middle, know_middle,
        .opened_after = lower_depth_there, .gone = "deep", .stays = "good", DECLINED },
    { "depth as it was", know_middle, know_middle, .stays = "deep" },
    { "an issuer that only the client has", ask_root, NULL, .gone = "deep", DECLINED },
    { "purpose", any_purpose, ask_root, .gone = "only server", .stays = "good", DECLINED },
    { "authority rejects clients", ask_root, reject_clients, .gone = "good", DECLINED },
    { "policy demanded", ask_root, demand_policy, .gone = "good", DECLINED },
    { "security level raised", ask_root, raise_level, .gone = "weak", .stays = "good", DECLINED },
    { "partial chains no more", trust_partial, trust_only_middle, .gone = "deep", DECLINED },
    { "partial chains", trust_partial, trust_partial, .stays = "deep" },
    { "host expected", ask_root, expect_another, .gone = "good", DECLINED },
    { "host expected on the connection", ask_root, ask_root, .opened_after = expect_another_there,
        .gone = "good", DECLINED },
    { "revoked later", ask_root, ask_root, .stays = "bad", .later = learn_revoked },
    { "depth lowered later", know_middle, know_middle, .stays = "deep", .later = set_depth },
    { "level raised later", ask_root, ask_root, .stays = "weak", .later = raise_level_of },
};

/* ---- time ------------------------------------------------------------------------------------ */

static const struct rule ended[] = {
    { "certificate has ended", ask_root, ask_root, .gone = "short", .stays = "good" },
};

/* ---- SESSCACHE_CLIENT_CERTS ------------------------------------------------------------------ */

static const struct rule never[] = {
    { "never", ask_root, NULL, .gone = "good" },
    { "never, nobody asked", change_nothing, NULL, .stays = "none" },
};

static const struct rule trusted[] = {
    { "share", nobody_revoked, bad_revoked, .stays = "bad" },
    { "share, depth lowered", know_middle, lower_depth, .stays = "deep" },
    { "share, asked from now on", change_nothing, ask_root, .gone = "none", DECLINED },
};

static const struct rule verified[] = {
    { "verify", nobody_revoked, bad_revoked, .gone = "bad", .stays = "good", DECLINED },
};

static const struct rule_list lists[] = {
    { RULES(rules), NULL, NULL },
    { RULES(ended), NULL, "TEST_CLOCK=120" },
    { RULES(never), "SESSCACHE_CLIENT_CERTS=never", "SESSCACHE_CLIENT_CERTS=never" },
    { RULES(trusted), "SESSCACHE_CLIENT_CERTS=share", "SESSCACHE_CLIENT_CERTS=share" },
    { RULES(verified), "SESSCACHE_CLIENT_CERTS=verify", "SESSCACHE_CLIENT_CERTS=verify" },
};

int main(int argc, char **argv)
{
    return main_with_rules(argc, argv, lists, sizeof(lists) / sizeof(lists[0]));
}
