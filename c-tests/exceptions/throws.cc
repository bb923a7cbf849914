/*
 * A C++ program whose callbacks throw through libssl. Each exception is caught outside of the
 * handshake, and the context goes on. Prints what is caught. Built and run by exceptions.sh.
 */
#include <cstdio>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct thrown {
    const char *from;
};

static bool throws;

static int new_cb(SSL *, SSL_SESSION *)
{
    if (throws)
        throw thrown{ "new_cb" };
    return 0;
}

static SSL_SESSION *get_cb(SSL *, const unsigned char *, int, int *)
{
    if (throws)
        throw thrown{ "get_cb" };
    return nullptr;
}

static int servername_cb(SSL *, int *, void *)
{
    if (throws)
        throw thrown{ "the servername callback" };
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server, *client;

/* The client's session of a full handshake or a resumption. */
static SSL_SESSION *handshake(SSL_SESSION *offer)
{
    SSL *ends[2] = { SSL_new(server), SSL_new(client) };
    BIO *wires[2];

    BIO_new_bio_pair(&wires[0], 0, &wires[1], 0);
    for (int i = 0; i < 2; i++)
        SSL_set_bio(ends[i], wires[i], wires[i]);
    SSL_set_accept_state(ends[0]);
    SSL_set_connect_state(ends[1]);
    SSL_set_tlsext_host_name(ends[1], "host.example");
    if (offer != nullptr)
        SSL_set_session(ends[1], offer);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(ends[1]);
        SSL_do_handshake(ends[0]);
    }
    SSL_SESSION *session = SSL_get1_session(ends[1]);
    std::printf("resumed %d\n", SSL_session_reused(ends[1]));
    SSL_shutdown(ends[1]);
    SSL_shutdown(ends[0]);
    SSL_free(ends[1]);
    SSL_free(ends[0]);
    return session;
}

static void make_contexts()
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
    X509 *certificate = X509_new();

    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    server = SSL_CTX_new(TLS_server_method());
    client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(server, certificate);
    SSL_CTX_use_PrivateKey(server, key);
    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
}

static void leave(const char *what, SSL_SESSION *offer)
{
    throws = true;
    try {
        handshake(offer);
        std::printf("%s: nothing\n", what);
    } catch (const thrown &exception) {
        std::printf("%s: %s\n", what, exception.from);
    }
    throws = false;
}

int main()
{
    make_contexts();
    SSL_SESSION *session = handshake(nullptr);

    SSL_CTX_flush_sessions(server, 0);
    SSL_CTX_sess_set_get_cb(server, get_cb);
    leave("lookup", session);
    SSL_CTX_sess_set_get_cb(server, nullptr);
    SSL_CTX_sess_set_new_cb(server, new_cb);
    leave("new", nullptr);
    SSL_CTX_sess_set_new_cb(server, nullptr);
    SSL_CTX_set_tlsext_servername_callback(server, servername_cb);
    leave("name", nullptr);
    session = handshake(nullptr);
    session = handshake(session);
    std::printf("cached %ld\n", SSL_CTX_sess_number(server));
}
