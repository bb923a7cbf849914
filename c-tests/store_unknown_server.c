/*
 * A server whose certificate has a name that is no text: with a host store it cannot be worked out
 * who the server is. So nothing is shared, and get_cb's session resumes as on stock, early data
 * included.
 */
#include "harness_store.h"

static struct store external;

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    store_put(&external, session);
    return 0;
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl;
    *copy = 0;
    return store_find(&external, id, length);
}

static void use_own_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new();

    REQUIRE(key != NULL && name != NULL);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -10);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(
        name, "CN", V_ASN1_BIT_STRING, (const unsigned char *)"own", -1, -1, 0);
    X509_set_subject_name(certificate, name);
    X509_set_issuer_name(certificate, name);
    X509_NAME_free(name);
    REQUIRE(X509_sign(certificate, key, EVP_sha256()) > 0);
    CHECK_INT(SSL_CTX_use_certificate(ctx, certificate), 1);
    CHECK_INT(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static SSL_CTX *make_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    REQUIRE(ctx != NULL);
    use_own_certificate(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 1000);
    SSL_CTX_set_recv_max_early_data(ctx, 1000);
    SSL_CTX_sess_set_new_cb(ctx, new_cb);
    SSL_CTX_sess_set_get_cb(ctx, get_cb);
    return ctx;
}

int main(void)
{
    SSL_CTX *server, *client;
    SSL_SESSION *session;
    struct connection c;
    unsigned char read[16];
    size_t length;

    server = make_server();
    client = SSL_CTX_new(TLS_client_method());
    REQUIRE(client != NULL);
    session = obtain_session(server, client);
    SSL_CTX_flush_sessions(server, 0);

    c = connection_new(server, client);
    CHECK_INT(SSL_set_session(c.client, session), 1);
    CHECK_INT(SSL_write_early_data(c.client, "early", 5, &length), 1);
    CHECK_INT(SSL_read_early_data(c.server, read, sizeof(read), &length),
              SSL_READ_EARLY_DATA_SUCCESS);
    CHECK_INT(SSL_get_early_data_status(c.server), SSL_EARLY_DATA_ACCEPTED);
    CHECK_INT(SSL_session_reused(c.server), 1);
    CHECK_INT(SSL_CTX_sess_cb_hits(server), 1);
    CHECK_INT(stats_of(server).stores, 0);
    connection_drop(&c);

    SSL_SESSION_free(session);
    store_clear(&external);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return test_end();
}
