/*
 * Raw public keys (RFC 7250; OpenSSL 3.2 and later): a server that shows one is known by its key as
 * well as by its names, and a client that shows one is known to its process alone.
 */
#include "harness_admission.h"

#ifndef TLSEXT_cert_type_rpk

int main(void)
{
    skip("raw public keys come with OpenSSL 3.2");
}

#else

static const unsigned char raw_key[] = { TLSEXT_cert_type_rpk };

/* ---- servers --------------------------------------------------------------------------------- */

static void show_key(SSL_CTX *ctx)
{
    REQUIRE(SSL_CTX_set1_server_cert_type(ctx, raw_key, sizeof(raw_key)) == 1);
}

/* A certificate of the same name with another key. */
static void other_certificate(SSL_CTX *server)
{
    static struct identity other;

    if (other.key == NULL)
        other = new_identity("host.example", 3600);
    use_identity(server, &other);
}

static void show_other_key(SSL_CTX *server)
{
    other_certificate(server);
    show_key(server);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void take_keys(SSL_CTX *server)
{
    REQUIRE(SSL_CTX_set1_client_cert_type(server, raw_key, sizeof(raw_key)) == 1);
    REQUIRE(SSL_CTX_dane_enable(server) == 1);
    ask_client(server);
}

static void look_away(SSL_CTX *server)
{
    take_keys(server);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, accept_every);
}

/* The verification ends in X509_V_OK. */
static void expect_good(SSL *ssl)
{
    REQUIRE(SSL_dane_enable(ssl, NULL) == 1);
    REQUIRE(SSL_add_expected_rpk(ssl, identity_named("good")->key) == 1);
}

static void show_own_key(SSL_CTX *client)
{
    REQUIRE(SSL_CTX_set1_client_cert_type(client, raw_key, sizeof(raw_key)) == 1);
}

static const struct rule rules[] = {
    { "raw key", show_key, NULL, .client = show_key, .stays = "none" },
    { "other raw key", show_key, show_other_key, .client = show_key, .gone = "none" },
    { "other certificate", change_nothing, other_certificate, .stays = "none" },
    { "raw key from now on", change_nothing, show_key, .client = show_key, .gone = "none" },
    { "client's raw key", take_keys, NULL, .opened_before = expect_good, .client = show_own_key,
        .gone = "good" },
    { "client's raw key, looks away", look_away, NULL, .client = show_own_key, .gone = "good" },
};

static const struct rule_list lists[] = { { RULES(rules), NULL, NULL } };

int main(int argc, char **argv)
{
    return main_with_rules(argc, argv, lists, 1);
}

#endif
