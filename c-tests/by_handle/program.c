/*
 * A server that loads libssl itself and asks that handle for each function, as .NET, Nim and LuaJIT
 * do: program CERTIFICATE. What it prints is the same with the overlay in front.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/ssl.h>

/* Whether a context's cache is ours; asked by name. */
static int is_active(const SSL_CTX *ctx)
{
    int (*function)(const SSL_CTX *);

    *(void **)&function = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    return function == NULL ? 0 : function(ctx);
}

static void *libssl;

static void *found(const char *name)
{
    void *function = dlsym(libssl, name);

    if (function == NULL) {
        printf("no %s\n", name);
        exit(1);
    }
    return function;
}

/* From here on each name is the handle's function. */
#define BY_HANDLE(name) ((__typeof__(&name))found(#name))
#define SSL_CTX_new BY_HANDLE(SSL_CTX_new)
#define SSL_CTX_free BY_HANDLE(SSL_CTX_free)
#define SSL_CTX_ctrl BY_HANDLE(SSL_CTX_ctrl)
#define SSL_CTX_use_certificate_file BY_HANDLE(SSL_CTX_use_certificate_file)
#define SSL_CTX_use_PrivateKey_file BY_HANDLE(SSL_CTX_use_PrivateKey_file)
#define SSL_CTX_sess_set_new_cb BY_HANDLE(SSL_CTX_sess_set_new_cb)
#define SSL_CTX_sess_set_get_cb BY_HANDLE(SSL_CTX_sess_set_get_cb)
#define SSL_CTX_sess_set_remove_cb BY_HANDLE(SSL_CTX_sess_set_remove_cb)
#define SSL_CTX_flush_sessions BY_HANDLE(SSL_CTX_flush_sessions)
#define SSL_CTX_set_options BY_HANDLE(SSL_CTX_set_options)
#define SSL_new BY_HANDLE(SSL_new)
#define SSL_free BY_HANDLE(SSL_free)
#define SSL_set_bio BY_HANDLE(SSL_set_bio)
#define SSL_set_session BY_HANDLE(SSL_set_session)
#define SSL_set_accept_state BY_HANDLE(SSL_set_accept_state)
#define SSL_set_connect_state BY_HANDLE(SSL_set_connect_state)
#define SSL_do_handshake BY_HANDLE(SSL_do_handshake)
#define SSL_session_reused BY_HANDLE(SSL_session_reused)
#define SSL_shutdown BY_HANDLE(SSL_shutdown)
#define SSL_read BY_HANDLE(SSL_read)
#define SSL_write BY_HANDLE(SSL_write)
#define SSL_get1_session BY_HANDLE(SSL_get1_session)
#define SSL_SESSION_dup BY_HANDLE(SSL_SESSION_dup)
#define SSL_SESSION_free BY_HANDLE(SSL_SESSION_free)
#define TLS_server_method BY_HANDLE(TLS_server_method)
#define TLS_client_method BY_HANDLE(TLS_client_method)
#define BIO_new_bio_pair BY_HANDLE(BIO_new_bio_pair)

static int new_calls, get_calls, remove_calls;

static int on_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    new_calls++;
    return 0;
}

static SSL_SESSION *on_get(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    get_calls++;
    return NULL;
}

static void on_remove(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    remove_calls++;
}

static SSL_CTX *new_server(const char *certificate, int version, int has_callbacks)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (SSL_CTX_use_certificate_file(ctx, certificate, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, certificate, SSL_FILETYPE_PEM) != 1)
        exit(1);
    if (has_callbacks) {
        SSL_CTX_sess_set_new_cb(ctx, on_new);
        SSL_CTX_sess_set_get_cb(ctx, on_get);
        SSL_CTX_sess_set_remove_cb(ctx, on_remove);
    }
    return ctx;
}

/* Returns whether it was resumed, -1 without a handshake; leaves the client's session. */
static int connection(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offered, SSL_SESSION **left)
{
    SSL *s = SSL_new(server), *c = SSL_new(client);
    int done = 0, resumed = -1;
    BIO *a, *b;
    char byte;

    BIO_new_bio_pair(&a, 65536, &b, 65536);
    SSL_set_bio(s, a, a);
    SSL_set_bio(c, b, b);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    if (offered != NULL)
        SSL_set_session(c, offered);
    for (int i = 0; i < 30 && done != 3; i++)
        done = (SSL_do_handshake(c) == 1) | (SSL_do_handshake(s) == 1) << 1;
    if (done == 3) {
        resumed = SSL_session_reused(s);
        SSL_write(s, "x", 1);
        SSL_read(c, &byte, 1);
        *left = SSL_get1_session(c);
    }
    for (int i = 0; i < 2; i++) {
        SSL_shutdown(s);
        SSL_shutdown(c);
    }
    SSL_free(s);
    SSL_free(c);
    return resumed;
}

static void live(const char *certificate, int version, int has_callbacks)
{
    SSL_CTX *server = new_server(certificate, version, has_callbacks);
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL, *copy, *last = NULL, *none = NULL;

    new_calls = get_calls = remove_calls = 0;
    printf("%x, callbacks %d\n", version, has_callbacks);
    printf("active: %d %d\n", is_active(server), is_active(client));
    printf("full: %d\n", connection(server, client, NULL, &session));
    copy = SSL_SESSION_dup(session);
    printf("again: %d\n", connection(server, client, session, &last));
    printf("sessions: %ld of %ld, mode %ld\n", SSL_CTX_sess_number(server),
           SSL_CTX_sess_get_cache_size(server), SSL_CTX_get_session_cache_mode(server));
    SSL_CTX_flush_sessions(server, 0);
    printf("sessions then: %ld\n", SSL_CTX_sess_number(server));
    printf("after the flush: %d\n", connection(server, client, copy, &none));
    printf("callbacks: new %d, get %d, remove %d\n", new_calls, get_calls, remove_calls);
    SSL_SESSION_free(session);
    SSL_SESSION_free(copy);
    SSL_SESSION_free(last);
    SSL_SESSION_free(none);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(int argc, char **argv)
{
    char name[32];

    if (argc != 2)
        return 1;
    snprintf(name, sizeof(name), "libssl.so.%d", OPENSSL_VERSION_MAJOR);
    libssl = dlopen(name, RTLD_NOW);
    if (libssl == NULL) {
        puts(dlerror());
        return 1;
    }
    for (int has_callbacks = 0; has_callbacks < 2; has_callbacks++)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
            live(argv[1], version, has_callbacks);
    return 0;
}
