/*
 * Callbacks whose setters are passed on: each still does its work, set on the context or on the
 * connection, and is gone when NULL is set.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

static int calls;

/* ---- certificates ---------------------------------------------------------------------------- */

static int no_certificate(SSL *ssl, void *arg)
{
    (void)ssl;
    calls++;
    CHECK_PTR(arg, &calls);
    return 0;
}

static int some_certificate(SSL *ssl, void *arg)
{
    (void)ssl;
    calls++;
    CHECK_PTR(arg, &calls);
    return 1;
}

static int handshake(SSL_CTX *server, SSL_CTX *client, void (*prepare)(SSL *server))
{
    struct connection c = connection_new(server, client);
    int result;

    calls = 0;
    if (prepare != NULL)
        prepare(c.server);
    result = connection_handshake(&c);
    connection_drop(&c);
    return result;
}

static void refuse(SSL *ssl) { SSL_set_cert_cb(ssl, no_certificate, &calls); }
static void accept_here(SSL *ssl) { SSL_set_cert_cb(ssl, some_certificate, &calls); }
static void unset(SSL *ssl) { SSL_set_cert_cb(ssl, NULL, NULL); }

static void certificates(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);

    section("%s certificates", p->name);
    CHECK_INT(handshake(server, client, refuse), 0);
    CHECK_INT(calls, 1);
    SSL_CTX_set_cert_cb(server, no_certificate, &calls);
    CHECK_INT(handshake(server, client, NULL), 0);
    CHECK_INT(calls, 1);
    CHECK_INT(handshake(server, client, accept_here), 1);
    CHECK_INT(calls, 1);
    CHECK_INT(handshake(server, client, unset), 1);
    CHECK_INT(calls, 0);
    SSL_CTX_set_cert_cb(server, NULL, NULL);
    CHECK_INT(handshake(server, client, NULL), 1);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static int accept_all(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    calls++;
    CHECK_PTR(arg, &calls);
    return 1;
}

static void verification(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);

    section("%s verification", p->name);
    use_client_certificate(server, client);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    CHECK_INT(handshake(server, client, NULL), 0);
    SSL_CTX_set_cert_verify_callback(server, accept_all, &calls);
    CHECK_INT(handshake(server, client, NULL), 1);
    CHECK_INT(calls, 1);
    SSL_CTX_set_cert_verify_callback(server, NULL, NULL);
    CHECK_INT(handshake(server, client, NULL), 0);
    CHECK_INT(calls, 0);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* ---- shared keys ----------------------------------------------------------------------------- */

static const unsigned char key[32] = "a key of 32 bytes, known to both";

static unsigned int client_key(
    SSL *ssl, const char *hint, char *identity, unsigned int most, unsigned char *psk, unsigned int room)
{
    (void)ssl, (void)hint, (void)most, (void)room;
    strcpy(identity, "client");
    memcpy(psk, key, sizeof(key));
    return sizeof(key);
}

static unsigned int server_key(SSL *ssl, const char *identity, unsigned char *psk, unsigned int room)
{
    (void)ssl, (void)room;
    if (strcmp(identity, "client") != 0)
        return 0;
    calls++;
    memcpy(psk, key, sizeof(key));
    return sizeof(key);
}

static int found_session(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    const unsigned char suite[] = { 0x13, 0x01 };
    SSL_SESSION *made = SSL_SESSION_new();

    (void)identity, (void)length;
    calls++;
    CHECK_INT(SSL_SESSION_set1_master_key(made, key, sizeof(key)), 1);
    CHECK_INT(SSL_SESSION_set_cipher(made, SSL_CIPHER_find(ssl, suite)), 1);
    CHECK_INT(SSL_SESSION_set_protocol_version(made, TLS1_3_VERSION), 1);
    *found = made;
    return 1;
}

static void key_here(SSL *ssl) { SSL_set_psk_server_callback(ssl, server_key); }
static void find_here(SSL *ssl) { SSL_set_psk_find_session_callback(ssl, found_session); }
static void no_key(SSL *ssl) { SSL_set_psk_server_callback(ssl, NULL); }
static void find_nothing(SSL *ssl) { SSL_set_psk_find_session_callback(ssl, NULL); }

/* In TLS 1.2 nothing works without the key; in TLS 1.3 a certificate serves where it is not found. */
static void shared_keys(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    int without = p->version == TLS1_3_VERSION;

    section("%s shared keys", p->name);
    SSL_CTX_set_psk_client_callback(client, client_key);
    if (!without)
        REQUIRE(SSL_CTX_set_cipher_list(client, "PSK-AES128-GCM-SHA256") == 1);
    CHECK_INT(handshake(server, client, NULL), without);
    CHECK_INT(handshake(server, client, key_here), 1);
    CHECK_INT(calls, 1);
    SSL_CTX_set_psk_server_callback(server, server_key);
    CHECK_INT(handshake(server, client, NULL), 1);
    CHECK_INT(calls, 1);
    CHECK_INT(handshake(server, client, no_key), without);
    CHECK_INT(calls, 0);
    SSL_CTX_set_psk_server_callback(server, NULL);
    CHECK_INT(handshake(server, client, NULL), without);
    if (p->version == TLS1_3_VERSION) {
        CHECK_INT(handshake(server, client, find_here), 1);
        CHECK_INT(calls, 1);
        SSL_CTX_set_psk_find_session_callback(server, found_session);
        CHECK_INT(handshake(server, client, NULL), 1);
        CHECK_INT(calls, 1);
        CHECK_INT(handshake(server, client, find_nothing), 1);
        CHECK_INT(calls, 0);
    }
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

/* EAP-FAST: the secret of a TLS 1.2 session that the client offers by ticket. */
static int known_secret(SSL *ssl, void *secret, int *length, STACK_OF(SSL_CIPHER) *ciphers,
    const SSL_CIPHER **cipher, void *arg)
{
    (void)ssl, (void)ciphers, (void)cipher, (void)secret, (void)length;
    calls++;
    CHECK_PTR(arg, &calls);
    return 0;
}

static void ask_secret(SSL *ssl)
{
    CHECK_INT(SSL_set_session_secret_cb(ssl, known_secret, &calls), 1);
}

static void ask_no_secret(SSL *ssl)
{
    ask_secret(ssl);
    CHECK_INT(SSL_set_session_secret_cb(ssl, NULL, NULL), 1);
}

static void session_secrets(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);

    section("%s session secrets", p->name);
    CHECK_INT(handshake(server, client, ask_secret), 1);
    CHECK_INT(calls, p->version == TLS1_2_VERSION);
    CHECK_INT(handshake(server, client, ask_no_secret), 1);
    CHECK_INT(calls, 0);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

int main(void)
{
    for (size_t i = 0; i < protocol_count; i++) {
        certificates(&protocols[i]);
        verification(&protocols[i]);
        shared_keys(&protocols[i]);
        session_secrets(&protocols[i]);
    }
    return test_end();
}
