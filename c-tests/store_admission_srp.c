/*
 * Clients that are known by a password (SRP, RFC 5054, in TLS 1.2): libssl asks the application for
 * it. Their sessions resume in the process that made them and nowhere else, whether the application
 * still knows the user or not.
 */
#include "harness_admission.h"

#ifdef OPENSSL_NO_SRP

int main(void)
{
    skip("this OpenSSL is built without SRP");
}

#else

#include <string.h>
#include <openssl/srp.h>

static char user[] = "alice", password[] = "open sesame";

static void take_srp(SSL_CTX *ctx)
{
    REQUIRE(SSL_CTX_set_cipher_list(ctx, "SRP-AES-128-CBC-SHA") == 1);
}

static int know_user(SSL *ssl, int *alert, void *argument)
{
    (void)argument;
    if (strcmp(SSL_get_srp_username(ssl), user) != 0
        || SSL_set_srp_server_param_pw(ssl, user, password, "2048") < 0) {
        *alert = SSL_AD_UNKNOWN_PSK_IDENTITY;
        return SSL3_AL_FATAL;
    }
    return SSL_ERROR_NONE;
}

static int know_nobody(SSL *ssl, int *alert, void *argument)
{
    (void)ssl, (void)argument;
    *alert = SSL_AD_UNKNOWN_PSK_IDENTITY;
    return SSL3_AL_FATAL;
}

static void knowing(SSL_CTX *server)
{
    take_srp(server);
    SSL_CTX_set_srp_username_callback(server, know_user);
}

static void forgetting(SSL_CTX *server)
{
    take_srp(server);
    SSL_CTX_set_srp_username_callback(server, know_nobody);
}

static void be_user(SSL_CTX *client)
{
    take_srp(client);
    REQUIRE(SSL_CTX_set_srp_username(client, user) == 1);
    REQUIRE(SSL_CTX_set_srp_password(client, password) == 1);
}

static const struct rule rules[] = {
    { "user known", knowing, NULL, .client = be_user, .gone = "none", .only_tls12 = 1,
        .refused = COUNTER(refused_application) },
    { "user removed", knowing, forgetting, .client = be_user, .gone = "none", .only_tls12 = 1 },
};

static const struct rule_list lists[] = { { RULES(rules), NULL, NULL } };

int main(int argc, char **argv)
{
    return main_with_rules(argc, argv, lists, 1);
}

#endif
