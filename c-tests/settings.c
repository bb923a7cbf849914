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

static const unsigned char key[32] = "a key of 32 bytes, known to all";

static unsigned int asked_room;

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
    CHECK(SSL_is_server(ssl));
    if (strcmp(identity, "client") != 0)
        return 0;
    calls++;
    asked_room = room;
    memcpy(psk, key, sizeof(key));
    return sizeof(key);
}

static int found_session(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    const unsigned char suite[] = { 0x13, 0x01 };
    SSL_SESSION *made = SSL_SESSION_new();

    CHECK(SSL_is_server(ssl));
    CHECK(length == strlen("client") && memcmp(identity, "client", length) == 0);
    CHECK(*found == NULL);
    calls++;
    CHECK_INT(SSL_SESSION_set1_master_key(made, key, sizeof(key)), 1);
    CHECK_INT(SSL_SESSION_set_cipher(made, SSL_CIPHER_find(ssl, suite)), 1);
    CHECK_INT(SSL_SESSION_set_protocol_version(made, TLS1_3_VERSION), 1);
    *found = made;
    return 1;
}

/* 1 without a session: the next callback, or a certificate. 0 ends the handshake. */
static int found_nothing(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    (void)ssl, (void)identity, (void)length, (void)found;
    calls++;
    return 1;
}

static int found_trouble(SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    (void)ssl, (void)identity, (void)length, (void)found;
    calls++;
    return 0;
}

static void nothing_here(SSL *ssl) { SSL_set_psk_find_session_callback(ssl, found_nothing); }
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
    report("room for a key", (long)asked_room);
    SSL_CTX_set_psk_server_callback(server, server_key);
    CHECK_INT(handshake(server, client, NULL), 1);
    CHECK_INT(calls, 1);
    if (without) {
        CHECK_INT(handshake(server, client, nothing_here), 1);
        CHECK_INT(calls, 2);
        SSL_CTX_set_psk_find_session_callback(server, found_trouble);
        CHECK_INT(handshake(server, client, NULL), 0);
        CHECK_INT(calls, 1);
        SSL_CTX_set_psk_find_session_callback(server, NULL);
    }
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

static unsigned int other_key(SSL *ssl, const char *identity, unsigned char *psk, unsigned int room)
{
    calls += 100;
    return server_key(ssl, identity, psk, room);
}

/*
 * A connection has the callbacks of the context it starts with. SSL_dup makes one that has those of
 * the context its original is in.
 */
static void whose_keys(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *other = new_server(p), *client = new_client(p);
    struct connection c;
    SSL *copy;
    BIO *bio;

    section("%s whose keys", p->name);
    SSL_CTX_set_psk_client_callback(client, client_key);
    if (p->version != TLS1_3_VERSION)
        REQUIRE(SSL_CTX_set_cipher_list(client, "PSK-AES128-GCM-SHA256") == 1);
    SSL_CTX_set_psk_server_callback(server, server_key);

    calls = 0;
    c = connection_new(server, client);
    SSL_CTX_set_psk_server_callback(server, NULL);
    CHECK(SSL_set_SSL_CTX(c.server, other) == other);
    CHECK_INT(connection_handshake(&c), 1);
    CHECK_INT(calls, 1);
    connection_close(&c);

    SSL_CTX_set_psk_server_callback(server, server_key);
    calls = 0;
    c = connection_new(server, client);
    SSL_CTX_set_psk_server_callback(server, other_key);
    CHECK_INT(connection_handshake(&c), 1);
    report("made before it was replaced, uses the first", calls == 1);
    connection_close(&c);

    c = connection_new(other, client);
    SSL_set_psk_server_callback(c.server, server_key);
    REQUIRE((copy = SSL_dup(c.server)) != NULL);
    bio = SSL_get_rbio(c.server);
    REQUIRE(BIO_up_ref(bio) == 1);
    SSL_set_bio(copy, bio, bio);
    SSL_free(c.server);
    c.server = copy;
    calls = 0;
    report("let in after SSL_dup", connection_handshake(&c));
    report("calls after SSL_dup", calls);
    connection_close(&c);

    SSL_CTX_free(server);
    SSL_CTX_free(other);
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
        whose_keys(&protocols[i]);
        session_secrets(&protocols[i]);
    }
    return test_end();
}
