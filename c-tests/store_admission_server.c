/*
 * A server that changes while it is started again, in other things than the clients it trusts: a
 * cipher that it no longer has, a shorter timeout, an id context that is another in each process.
 * A session that a full handshake would no longer make is a full handshake, and its cause counted.
 */
#include "harness_admission.h"

#include "clock.h"

#include <openssl/rand.h>

/* ---- ciphers --------------------------------------------------------------------------------- */

static const char short_key[] = "ECDHE-ECDSA-AES128-GCM-SHA256", long_key[]
    = "ECDHE-ECDSA-AES256-GCM-SHA384";

static void use_ciphers(SSL_CTX *server, const char *list)
{
    SSL_CTX_set_options(server, SSL_OP_CIPHER_SERVER_PREFERENCE);
    REQUIRE(SSL_CTX_set_cipher_list(server, list) == 1);
}

static void both_ciphers(SSL_CTX *server)
{
    use_ciphers(server, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384");
}

static void other_order(SSL_CTX *server)
{
    use_ciphers(server, "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256");
}

static void one_cipher(SSL_CTX *server) { use_ciphers(server, long_key); }
static void one_cipher_there(SSL *ssl) { REQUIRE(SSL_set_cipher_list(ssl, long_key) == 1); }
static void other_cipher(SSL_CTX *server) { use_ciphers(server, short_key); }

static const struct rule ciphers[] = {
    { "cipher removed", both_ciphers, one_cipher, .gone = "none", .only_tls12 = 1,
        .declined = COUNTER(declined_cipher) },
    { "cipher removed on the connection", both_ciphers, both_ciphers,
        .opened_after = one_cipher_there, .gone = "none", .only_tls12 = 1,
        .declined = COUNTER(declined_cipher) },
    { "cipher removed later", both_ciphers, both_ciphers, .stays = "none", .only_tls12 = 1,
        .later = one_cipher },
    { "cipher preferred less", both_ciphers, other_order, .stays = "none" },
    { "other cipher removed", both_ciphers, other_cipher, .stays = "none" },
};

/* ---- time ------------------------------------------------------------------------------------ */

static void long_timeout(SSL_CTX *server) { SSL_CTX_set_timeout(server, 3000); }
static void short_timeout(SSL_CTX *server) { SSL_CTX_set_timeout(server, 100); }

static const struct rule timeouts[] = {
    { "timeout lowered", long_timeout, short_timeout, .gone = "none",
        .declined = COUNTER(declined_lifetime) },
    { "timeout as it was", long_timeout, long_timeout, .stays = "none" },
};

static const struct rule not_yet[] = {
    { "timeout lowered, not yet reached", long_timeout, short_timeout, .stays = "none" },
};

/* ---- id contexts ----------------------------------------------------------------------------- */

static void random_id_context(SSL_CTX *server)
{
    unsigned char id[16];

    REQUIRE(RAND_bytes(id, sizeof(id)) == 1);
    REQUIRE(SSL_CTX_set_session_id_context(server, id, sizeof(id)) == 1);
}

static void random_id_context_there(SSL *ssl)
{
    unsigned char id[32];

    REQUIRE(RAND_bytes(id, sizeof(id)) == 1);
    REQUIRE(SSL_set_session_id_context(ssl, id, sizeof(id)) == 1);
}

/* The id context of each connection is its own, and of the connection that it had in its process. */
static void same_id_context_there(SSL *ssl)
{
    REQUIRE(SSL_set_session_id_context(ssl, (const unsigned char *)"there", 5) == 1);
}

static void random_and_ask(SSL_CTX *server)
{
    random_id_context(server);
    trust(server, "root");
    require_client(server);
}

static void random_and_revoked(SSL_CTX *server)
{
    random_and_ask(server);
    use_revoked(server, "after");
}

#define DECLINED .declined = COUNTER(declined_id_context)

static const struct rule id_contexts[] = {
    { "random id context", random_id_context, NULL, .gone = "none", DECLINED },
    { "random id context on the connection", change_nothing, change_nothing,
        .opened_after = random_id_context_there, .gone = "none", DECLINED },
    { "id context on the connection", change_nothing, NULL, .opened_before = same_id_context_there,
        .stays = "none" },
};

static const struct rule ours[] = {
    { "random id context, ours", random_id_context, NULL, .stays = "none" },
    { "random id context on the connection, ours", change_nothing, change_nothing,
        .opened_after = random_id_context_there, .stays = "none" },
    { "random id context, ours, revoked", random_and_ask, random_and_revoked, .gone = "bad",
        .stays = "good" },
};

static const struct rule_list lists[] = {
    { RULES(ciphers), NULL, NULL },
    { RULES(timeouts), NULL, "TEST_CLOCK=200" },
    { RULES(not_yet), NULL, "TEST_CLOCK=50" },
    { RULES(id_contexts), NULL, NULL },
    { RULES(ours), "SESSCACHE_ID_CONTEXT=ours", "SESSCACHE_ID_CONTEXT=ours" },
};

int main(int argc, char **argv)
{
    return main_with_rules(argc, argv, lists, sizeof(lists) / sizeof(lists[0]));
}
