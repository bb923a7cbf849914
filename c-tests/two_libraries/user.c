/*
 * A module that uses a libssl, with data of its own on contexts, connections and sessions. What it prints
 * is the same with the overlay in front, but for the lines that begin with "active".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

void use(void);

static char data[3];
static int freed;

static void freeing(void *parent, void *pointer, CRYPTO_EX_DATA *all, int index, long argl,
                    void *argp)
{
    (void)parent, (void)all, (void)index, (void)argl, (void)argp;
    freed += pointer != NULL;
}

static int is_active(const SSL_CTX *ctx)
{
    int (*function)(const SSL_CTX *);

    *(void **)&function = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    return function == NULL ? 0 : function(ctx);
}

static SSL_CTX *new_context(const SSL_METHOD *method, int version, EVP_PKEY *key, X509 *certificate)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (certificate != NULL) {
        SSL_CTX_use_certificate(ctx, certificate);
        SSL_CTX_use_PrivateKey(ctx, key);
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"user", 4);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    }
    return ctx;
}

/* Returns whether it was resumed; -1 without a handshake, -2 without the connection's data. */
static int connection(SSL_CTX *server, SSL_CTX *client, SSL_SESSION **session, int of_ssl,
                      int of_session)
{
    SSL *s = SSL_new(server), *c = SSL_new(client);
    int done = 0, reused = -1;
    BIO *a, *b;
    char byte;

    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(s, a, a);
    SSL_set_bio(c, b, b);
    SSL_set_ex_data(s, of_ssl, data + 1);
    if (*session != NULL)
        SSL_set_session(c, *session);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    for (int i = 0; i < 50 && done != 3; i++)
        done = (SSL_do_handshake(c) == 1) | (SSL_do_handshake(s) == 1) << 1;
    if (done == 3) {
        SSL_write(s, "x", 1);
        SSL_read(c, &byte, 1);
        reused = SSL_get_ex_data(s, of_ssl) == data + 1 ? SSL_session_reused(s) : -2;
        SSL_SESSION_set_ex_data(SSL_get_session(s), of_session, data + 2);
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(c);
        SSL_SESSION_set_time(*session, SSL_SESSION_get_time(*session) - 1);
        SSL_SESSION_set_timeout(*session, 77);
        printf("timeout %ld\n", (long)SSL_SESSION_get_timeout(*session));
    }
    SSL_shutdown(c);
    SSL_shutdown(s);
    SSL_free(c);
    SSL_free(s);
    return reused;
}

/* A session that was in no handshake. */
static void change_new(void)
{
    SSL_SESSION *session = SSL_SESSION_new();
    long timeout = SSL_SESSION_set_timeout(session, 78), time = SSL_SESSION_set_time(session, 79);

    printf("new: %ld %ld, of %ld %ld\n", timeout, time, (long)SSL_SESSION_get_timeout(session),
           (long)SSL_SESSION_get_time(session));
    SSL_SESSION_free(session);
}

void use(void)
{
    int of_ctx = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, freeing);
    int of_ssl = SSL_get_ex_new_index(0, NULL, NULL, NULL, freeing);
    int of_session = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, freeing);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();

    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *server = new_context(TLS_server_method(), version, key, certificate);
        SSL_CTX *client = new_context(TLS_client_method(), version, NULL, NULL);
        SSL_SESSION *session = NULL;
        int first, second;

        printf("active %d\n", is_active(server));
        SSL_CTX_set_ex_data(server, of_ctx, data);
        first = connection(server, client, &session, of_ssl, of_session);
        second = connection(server, client, &session, of_ssl, of_session);
        printf("%x: %d %d, data %s\n", version, first, second,
               SSL_CTX_get_ex_data(server, of_ctx) == data ? "kept" : "lost");
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
    change_new();
    X509_free(certificate);
    EVP_PKEY_free(key);
    printf("freed %d\n", freed);
}
