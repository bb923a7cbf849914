/*
 * The client of the server tests: makes one full connection and keeps its session in a file, or
 * offers a kept session on many connections and counts how often the server took it. It must not
 * run with the overlay: it measures the server, and looks at its own memory map to be sure.
 *
 *   resume [OPTION...] PORT save FILE
 *   resume [OPTION...] PORT offer FILE COUNT     prints "resumed R of COUNT"
 *
 *   -p 1.2|1.3         protocol version (1.3)
 *   -s SERVERNAME      name to ask for (none)
 *   -a APPLICATION     what is spoken: http, imap, postgres (http)
 *
 * Sessions are looked up by their id: in TLS 1.2 no ticket is asked for, and a TLS 1.3 ticket that
 * is more than an id is an error, because it would resume without any cache.
 *
 * Ends with 1 if a connection did not work or a full one was resumed, 2 if called wrongly.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const int TIMEOUT_SECONDS = 10;

struct bytes {
    const char *data;
    size_t length;
};
#define BYTES(literal) { literal, sizeof literal - 1 }

/* What a connection says. The server answers the request, after a greeting or not, and closes. */
static const struct application {
    const char *name;
    struct bytes prelude; /* sent in the clear; the server agrees to TLS with one 'S' */
    struct bytes request;
    struct bytes after_name; /* if there is any, the server's name stands between the two */
} APPLICATIONS[] = {
    { "http", BYTES(""), BYTES("GET / HTTP/1.0\r\nHost: "), BYTES("\r\n\r\n") },
    { "imap", BYTES(""), BYTES("a LOGOUT\r\n"), BYTES("") },
    /* SSLRequest; then StartupMessage of protocol 3.0, and Terminate. */
    { "postgres", BYTES("\0\0\0\010\004\322\026\057"),
      BYTES("\0\0\0\027\0\003\0\0user\0postgres\0\0X\0\0\0\004"), BYTES("") },
};

struct target {
    const char *name; /* for SNI; NULL sends none */
    const struct application *application;
    int port;
};

static void die(const char *what)
{
    fprintf(stderr, "resume: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: resume [-p 1.2|1.3] [-s NAME] [-a APPLICATION] PORT save FILE\n"
                    "       resume [-p 1.2|1.3] [-s NAME] [-a APPLICATION] PORT offer FILE COUNT\n");
    exit(2);
}

static void refuse_overlay(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");

    if (maps == NULL)
        die("cannot read /proc/self/maps");
    while (fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "libsesscache") != NULL)
            die("the client itself runs with libsesscache");
    fclose(maps);
}

/* A client context for exactly one protocol version, which checks no certificate. */
static SSL_CTX *client_context(const char *protocol)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int version = strcmp(protocol, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

    if (ctx == NULL || !SSL_CTX_set_min_proto_version(ctx, version)
        || !SSL_CTX_set_max_proto_version(ctx, version))
        die("cannot make a context");
    if (version == TLS1_2_VERSION)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

static const struct application *find_application(const char *name)
{
    for (size_t i = 0; i < sizeof APPLICATIONS / sizeof APPLICATIONS[0]; i++)
        if (strcmp(APPLICATIONS[i].name, name) == 0)
            return &APPLICATIONS[i];
    usage();
}

static int tcp_connect(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int nodelay = 1; /* else the request waits 40 ms for the ACK of Finished */
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof nodelay) != 0
        || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("resume: connect");
        exit(1);
    }
    return fd;
}

static void ask_for_tls(int fd, const struct bytes *prelude)
{
    char answer = 0;

    if (prelude->length == 0)
        return;
    if (write(fd, prelude->data, prelude->length) != (ssize_t)prelude->length
        || read(fd, &answer, 1) != 1 || answer != 'S')
        die("the server does not agree to TLS");
}

static void send_bytes(SSL *ssl, const struct bytes *bytes)
{
    if (SSL_write(ssl, bytes->data, (int)bytes->length) <= 0)
        die("cannot send the request");
}

/* Sends the request and reads to the end. TLS 1.3 tickets arrive with the first read. */
static void exchange(SSL *ssl, const struct target *target)
{
    const char *name = target->name != NULL ? target->name : "localhost";
    const struct bytes host = { name, strlen(name) };
    char buffer[4096];
    int length, total = 0;

    send_bytes(ssl, &target->application->request);
    if (target->application->after_name.length > 0) {
        send_bytes(ssl, &host);
        send_bytes(ssl, &target->application->after_name);
    }
    while ((length = SSL_read(ssl, buffer, sizeof buffer)) > 0)
        total += length;
    if (total == 0)
        die("the server sent no answer");
}

/* One whole connection; the caller frees the SSL. */
static SSL *connect_once(SSL_CTX *ctx, const struct target *target, SSL_SESSION *offered)
{
    int fd = tcp_connect(target->port);
    SSL *ssl = SSL_new(ctx);

    if (ssl == NULL || !SSL_set_fd(ssl, fd))
        die("cannot make a connection");
    if (target->name != NULL && !SSL_set_tlsext_host_name(ssl, target->name))
        die("cannot set the server name");
    if (offered != NULL && !SSL_set_session(ssl, offered))
        die("cannot offer the session");
    ask_for_tls(fd, &target->application->prelude);
    if (SSL_connect(ssl) != 1)
        die("the handshake failed");
    exchange(ssl, target);
    SSL_shutdown(ssl);
    close(fd);
    return ssl;
}

/* A TLS 1.3 ticket as long as an id is one. */
static int is_stateless(const SSL_SESSION *session)
{
    const unsigned char *ticket;
    size_t length;

    SSL_SESSION_get0_ticket(session, &ticket, &length);
    return length > SSL_MAX_SSL_SESSION_ID_LENGTH;
}

static void save(SSL_CTX *ctx, const struct target *target, const char *path)
{
    FILE *file = fopen(path, "w");
    SSL *ssl = connect_once(ctx, target, NULL);
    SSL_SESSION *session = SSL_get1_session(ssl);

    if (SSL_session_reused(ssl))
        die("a connection that offered nothing was resumed");
    if (session != NULL && is_stateless(session))
        die("the server gave a stateless ticket");
    if (file == NULL || session == NULL || !PEM_write_SSL_SESSION(file, session)
        || fclose(file) != 0)
        die("cannot save the session");
    SSL_SESSION_free(session);
    SSL_free(ssl);
}

static SSL_SESSION *load(const char *path)
{
    FILE *file = fopen(path, "r");
    SSL_SESSION *session = file != NULL ? PEM_read_SSL_SESSION(file, NULL, NULL, NULL) : NULL;

    if (session == NULL)
        die("cannot load the session");
    fclose(file);
    return session;
}

/* Reads the session anew each time: libssl marks the object it has used. */
static int offer(SSL_CTX *ctx, const struct target *target, const char *path, int count)
{
    int resumed = 0;

    for (int i = 0; i < count; i++) {
        SSL_SESSION *session = load(path);
        SSL *ssl = connect_once(ctx, target, session);

        resumed += SSL_session_reused(ssl);
        SSL_free(ssl);
        SSL_SESSION_free(session);
    }
    return resumed;
}

int main(int argc, char **argv)
{
    const char *protocol = "1.3";
    struct target target = { .application = &APPLICATIONS[0] };
    int option, count;
    SSL_CTX *ctx;

    while ((option = getopt(argc, argv, "p:s:a:")) != -1) {
        if (option == 'p')
            protocol = optarg;
        else if (option == 's')
            target.name = optarg;
        else if (option == 'a')
            target.application = find_application(optarg);
        else
            usage();
    }
    argc -= optind;
    argv += optind;
    if (argc < 3 || (strcmp(protocol, "1.2") != 0 && strcmp(protocol, "1.3") != 0))
        usage();

    refuse_overlay();
    target.port = atoi(argv[0]);
    ctx = client_context(protocol);
    if (argc == 3 && strcmp(argv[1], "save") == 0) {
        save(ctx, &target, argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "offer") == 0) {
        count = atoi(argv[3]);
        printf("resumed %d of %d\n", offer(ctx, &target, argv[2], count), count);
    } else {
        usage();
    }
    SSL_CTX_free(ctx);
    return 0;
}
