/*
 * Connections of one context that have rules for certificates of their own. A client that fits one
 * connection's rules and not the next one's resumes on the first and never on the second, in
 * whatever order they come: what was found good on one says nothing about another.
 */
#include "harness_admission.h"

#include <openssl/x509v3.h>

/* ---- rules of a connection ------------------------------------------------------------------- */

static void nothing(SSL *ssl) { (void)ssl; }

/* The common name of the client's certificate is its own name. */
static void own_host(SSL *ssl) { REQUIRE(SSL_set1_host(ssl, "good") == 1); }
static void other_host(SSL *ssl) { REQUIRE(SSL_set1_host(ssl, "other") == 1); }

static void two_hosts(SSL *ssl)
{
    other_host(ssl);
    REQUIRE(SSL_add1_host(ssl, "good") == 1);
}

static void as_server(SSL *ssl) { REQUIRE(SSL_set_purpose(ssl, X509_PURPOSE_SSL_SERVER) == 1); }

/* No authority is trusted for this without saying so in its certificate. */
static void trusted_for_ocsp(SSL *ssl) { REQUIRE(SSL_set_trust(ssl, X509_TRUST_OCSP_SIGN) == 1); }

static void set_rules(SSL *ssl, int purpose)
{
    X509_VERIFY_PARAM *rules = X509_VERIFY_PARAM_new();

    REQUIRE(rules != NULL && X509_VERIFY_PARAM_set_purpose(rules, purpose) == 1);
    REQUIRE(SSL_set1_param(ssl, rules) == 1);
    X509_VERIFY_PARAM_free(rules);
}

static void rules_of_client(SSL *ssl) { set_rules(ssl, X509_PURPOSE_SSL_CLIENT); }
static void rules_of_server(SSL *ssl) { set_rules(ssl, X509_PURPOSE_SSL_SERVER); }

static void through_pointer(SSL *ssl)
{
    REQUIRE(X509_VERIFY_PARAM_set_purpose(SSL_get0_param(ssl), X509_PURPOSE_SSL_SERVER) == 1);
}

static void other_address(SSL *ssl)
{
    REQUIRE(X509_VERIFY_PARAM_set1_email(SSL_get0_param(ssl), "good@host.example", 0) == 1);
}

/* A function of the trust store's own, which looks at the connection. */
static void barred(SSL *ssl) { SSL_set_app_data(ssl, "barred"); }

static int check_list(X509_STORE_CTX *verification)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());

    if (SSL_get_app_data(ssl) == NULL)
        return 1;
    X509_STORE_CTX_set_error(verification, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* ---- rules that alternate -------------------------------------------------------------------- */

struct alternation {
    const char *what, *client;
    void (*fits)(SSL *ssl);
    void (*does_not)(SSL *ssl);
    int is_copied; /* the connection is a copy (SSL_dup) of one with these rules */
};

static const struct alternation alternations[] = {
    { "host", "good", own_host, other_host, 0 },
    { "host, where none is wanted", "good", nothing, other_host, 0 },
    { "one host more", "good", two_hosts, other_host, 0 },
    { "host of a copy", "good", own_host, other_host, 1 },
    { "purpose", "only server", as_server, nothing, 0 },
    { "purpose of a copy", "only server", as_server, nothing, 1 },
    { "trust", "good", nothing, trusted_for_ocsp, 0 },
    { "all rules", "only server", rules_of_server, rules_of_client, 0 },
    { "through a pointer", "only server", through_pointer, nothing, 0 },
    { "e-mail", "good", nothing, other_address, 0 },
    { "function of the trust store", "good", nothing, barred, 0 },
};
#define FOR_EACH_ALTERNATION(a) \
    for (const struct alternation *a = alternations; \
         a < alternations + sizeof(alternations) / sizeof(alternations[0]); a++)

static void become_copy(struct connection *c)
{
    SSL *copy = SSL_dup(c->server);
    BIO *wire = SSL_get_rbio(c->server);

    REQUIRE(copy != NULL && copy != c->server);
    BIO_up_ref(wire);
    SSL_set_bio(copy, wire, wire);
    if (SSL_is_dtls(copy))
        SSL_set_mtu(copy, 1400);
    SSL_free(c->server);
    c->server = copy;
}

/* 1 resumed, 0 full, -1 failed. What came of it, if wanted, is freed by the caller. */
static int shake_hands(const struct alternation *a, void (*rules)(SSL *), SSL_SESSION *offer,
                       SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed = -1;

    rules(c.server);
    if (a->is_copied)
        become_copy(&c);
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        if (made != NULL)
            *made = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

static SSL_CTX *new_asking(const struct alternation *a, const struct way *way)
{
    SSL_CTX *server = new_host_for(way);

    SSL_CTX_set_security_level(server, 0);
    trust(server, "root");
    require_client(server);
    if (a->does_not == barred)
        X509_STORE_set_check_revocation(SSL_CTX_get_cert_store(server), check_list);
    return server;
}

static void alternate(const struct alternation *a, const struct way *way)
{
    SSL_CTX *first = new_asking(a, way);
    SSL_SESSION *session = NULL;
    uint64_t declined;

    section("%s, %s", a->what, way->name);
    own_server = first;
    own_client = new_client_for(way, a->client);
    CHECK_INT(shake_hands(a, a->fits, NULL, &session), 0);
    REQUIRE(session != NULL);
    own_server = new_asking(a, way);
    declined = stats_of(own_server).declined_client;
    CHECK_INT(shake_hands(a, a->does_not, NULL, NULL), -1);
    for (int round = 0; round < 3; round++) {
        CHECK_INT(shake_hands(a, a->does_not, session, NULL), -1);
        CHECK(stats_of(own_server).declined_client > declined);
        declined = stats_of(own_server).declined_client;
        CHECK_INT(shake_hands(a, a->fits, session, NULL), 1);
        CHECK_INT(shake_hands(a, a->fits, session, NULL), 1);
    }
    CHECK_INT(stats_of(own_server).declined_client - declined, 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(first);
    free_own_contexts();
}

static void alternate_all(void)
{
    FOR_EACH_ALTERNATION(a)
        FOR_EACH_WAY(way)
            alternate(a, way);
}

static const struct named_function functions[] = { NAMED(alternate_all), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(alternate_all, file_store("store"), key_file("keys"));
    return test_end();
}
