/* Contexts and connections in memory, see harness.h. Their state: the certificate. */
#include "harness.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

/* One for all contexts of the process, made when it is first asked for. */
static EVP_PKEY *certificate_key;
static X509 *certificate;

const struct protocol protocols[] = {
    { "tls12", TLS1_2_VERSION, 0 },
    { "tls13", TLS1_3_VERSION, 0 },
    { "dtls12", DTLS1_2_VERSION, 1 },
};
const size_t protocol_count = sizeof(protocols) / sizeof(protocols[0]);

int is_ours(const SSL_CTX *ctx)
{
    int (*is_active)(const SSL_CTX *);

    *(void **)&is_active = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    return is_active != NULL && is_active(ctx);
}

void *stock_function(const char *name)
{
    Dl_info libssl;
    void *handle, *function;

    REQUIRE(dladdr((void *)SSL_shutdown, &libssl) != 0);
    handle = dlopen(libssl.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    REQUIRE(handle != NULL);
    function = dlsym(handle, name);
    REQUIRE(function != NULL);
    dlclose(handle);
    return function;
}

static void free_certificate(void)
{
    X509_free(certificate);
    EVP_PKEY_free(certificate_key);
}

static void make_certificate(void)
{
    X509_NAME *name;

    REQUIRE((certificate_key = EVP_EC_gen("P-256")) != NULL);
    REQUIRE((certificate = X509_new()) != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 30L * 24 * 3600);
    X509_set_pubkey(certificate, certificate_key);
    REQUIRE((name = X509_NAME_new()) != NULL);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_subject_name(certificate, name);
    X509_set_issuer_name(certificate, name);
    X509_NAME_free(name);
    REQUIRE(X509_sign(certificate, certificate_key, EVP_sha256()) > 0);
    atexit(free_certificate);
}

void use_certificate(SSL_CTX *ctx)
{
    if (certificate == NULL)
        make_certificate();
    REQUIRE(SSL_CTX_use_certificate(ctx, certificate) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(ctx, certificate_key) == 1);
}

static SSL_CTX *new_ctx(const struct protocol *p, const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    REQUIRE(ctx != NULL);
    REQUIRE(SSL_CTX_set_min_proto_version(ctx, p->version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, p->version) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (p->is_dtls)
        SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    return ctx;
}

SSL_CTX *new_server(const struct protocol *p)
{
    SSL_CTX *ctx = new_ctx(p, p->is_dtls ? DTLS_server_method() : TLS_server_method());

    use_certificate(ctx);
    REQUIRE(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4) == 1);
    REQUIRE(SSL_CTX_set_num_tickets(ctx, 1) == 1);
    return ctx;
}

SSL_CTX *new_client(const struct protocol *p)
{
    return new_ctx(p, p->is_dtls ? DTLS_client_method() : TLS_client_method());
}

static int accept_any(int preverified, X509_STORE_CTX *store)
{
    (void)preverified;
    (void)store;
    return 1;
}

void use_client_certificate(SSL_CTX *server, SSL_CTX *client)
{
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_any);
    use_certificate(client);
}

/* A slow machine (valgrind) must not make DTLS send its flights again. */
static unsigned int one_minute(SSL *ssl, unsigned int microseconds)
{
    (void)ssl;
    (void)microseconds;
    return 60u * 1000 * 1000;
}

static SSL *new_end(SSL_CTX *ctx, BIO *bio)
{
    SSL *ssl = SSL_new(ctx);

    REQUIRE(ssl != NULL);
    SSL_set_bio(ssl, bio, bio);
    if (SSL_is_dtls(ssl)) {
        SSL_set_mtu(ssl, 1400);
        DTLS_set_timer_cb(ssl, one_minute);
    }
    return ssl;
}

struct connection connection_new(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c;
    BIO *server_bio, *client_bio;

    /* Large enough for any flight, so that a write never blocks or splits a datagram. */
    REQUIRE(BIO_new_bio_pair(&server_bio, 1 << 17, &client_bio, 1 << 17) == 1);
    c.server = new_end(server, server_bio);
    c.client = new_end(client, client_bio);
    SSL_set_accept_state(c.server);
    SSL_set_connect_state(c.client);
    return c;
}

/* One step of a handshake: 1 done, 0 waits for the peer, -1 failed. */
static int handshake_step(SSL *ssl)
{
    int result = SSL_do_handshake(ssl);

    if (result == 1)
        return 1;
    return SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ ? 0 : -1;
}

int connection_handshake(struct connection *c)
{
    int client = 0, server = 0;

    for (int turn = 0; turn < 20; turn++) {
        if (client == 0)
            client = handshake_step(c->client);
        if (server == 0)
            server = handshake_step(c->server);
        if (client != 0 && server != 0)
            break;
        /* One end failed: the other has one more step to read the alert. */
        if (client < 0 || server < 0) {
            (void)handshake_step(client < 0 ? c->server : c->client);
            break;
        }
    }
    return client == 1 && server == 1;
}

static int pass_byte(SSL *from, SSL *to)
{
    char byte = 'x', got = 0;

    return SSL_write(from, &byte, 1) == 1 && SSL_read(to, &got, 1) == 1 && got == byte;
}

int connection_exchange(struct connection *c)
{
    return pass_byte(c->client, c->server) && pass_byte(c->server, c->client);
}

int connection_resumed(const struct connection *c)
{
    int resumed = SSL_session_reused(c->server);

    CHECK_INT(SSL_session_reused(c->client), resumed);
    return resumed;
}

static void free_ends(struct connection *c)
{
    SSL_free(c->client);
    SSL_free(c->server);
    c->client = NULL;
    c->server = NULL;
    ERR_clear_error();
}

void connection_close(struct connection *c)
{
    (void)SSL_shutdown(c->client);
    (void)SSL_shutdown(c->server);
    (void)SSL_shutdown(c->client);
    free_ends(c);
}

void connection_drop(struct connection *c)
{
    free_ends(c);
}

struct connection connect_offering(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer)
{
    struct connection c = connection_new(server, client);

    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    if (!CHECK(connection_handshake(&c) && connection_exchange(&c)))
        ERR_print_errors_fp(stderr);
    return c;
}

SSL_SESSION *obtain_session(SSL_CTX *server, SSL_CTX *client)
{
    struct connection c = connect_offering(server, client, NULL);
    SSL_SESSION *session = SSL_get1_session(c.client);

    CHECK_INT(connection_resumed(&c), 0);
    connection_close(&c);
    REQUIRE(session != NULL);
    return session;
}

int resumes(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer)
{
    struct connection c = connection_new(server, client);
    int resumed = -1;

    CHECK_INT(SSL_set_session(c.client, offer), 1);
    if (connection_handshake(&c) && connection_exchange(&c))
        resumed = connection_resumed(&c);
    connection_close(&c);
    return resumed;
}

int finish_offering(struct connection *c, SSL_SESSION *session, SSL_SESSION **made)
{
    SSL_SESSION *copy = session != NULL ? SSL_SESSION_dup(session) : NULL;
    int result = -1;

    if (copy != NULL)
        CHECK_INT(SSL_set_session(c->client, copy), 1);
    if (connection_handshake(c) && connection_exchange(c))
        result = connection_resumed(c);
    if (made != NULL)
        *made = SSL_get1_session(c->client);
    SSL_SESSION_free(copy);
    connection_close(c);
    return result;
}

int drive(SSL *moving, SSL *other, int (*operation)(SSL *))
{
    char scrap[64];

    for (int turn = 0; turn < 20; turn++) {
        int result = operation(moving);

        if (result > 0)
            return SSL_ERROR_NONE;
        if (SSL_get_error(moving, result) != SSL_ERROR_WANT_READ)
            return SSL_get_error(moving, result);
        (void)SSL_read(other, scrap, sizeof(scrap));
    }
    return SSL_ERROR_WANT_READ;
}
