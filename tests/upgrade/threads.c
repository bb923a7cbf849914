/*
 * A server with threads, for the two builds: threads THREADS CERTIFICATE KEY PORT. Each thread accepts
 * connections, reads a request and answers. Beside them one makes contexts and frees them. TERM ends it
 * in order.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_THREADS = 16, PAUSE_MICROSECONDS = 5000 };

static const char *certificate, *key;
static SSL_CTX *ctx;
static int listener;
static atomic_int is_over;

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());

    if (made == NULL || SSL_CTX_use_certificate_file(made, certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1)
        die("context");
    SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_id_context(made, (const unsigned char *)"threads", 7);
    return made;
}

/* To the empty line at its end; 1, or 0 without one. */
static int read_request(SSL *ssl)
{
    char request[4096] = "";
    int length = 0, got;

    while (strstr(request, "\r\n\r\n") == NULL) {
        got = SSL_read(ssl, request + length, (int)sizeof(request) - 1 - length);
        if (got <= 0)
            return 0;
        length += got;
    }
    return 1;
}

static void serve(int fd)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n";
    SSL *ssl = SSL_new(ctx);

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        die("connection");
    if (SSL_accept(ssl) == 1 && read_request(ssl)) {
        SSL_write(ssl, answer, sizeof(answer) - 1);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
}

static void *serve_all(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over)) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0)
            serve(fd);
    }
    return NULL;
}

static void *make_contexts(void *argument)
{
    (void)argument;
    while (!atomic_load(&is_over)) {
        SSL_CTX_free(make_context());
        usleep(PAUSE_MICROSECONDS);
    }
    return NULL;
}

static void end(int number)
{
    (void)number;
    atomic_store(&is_over, 1);
    shutdown(listener, SHUT_RDWR);
}

static void listen_on(int port)
{
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int yes = 1;

    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&place, sizeof(place)) != 0 || listen(listener, 128) != 0)
        die("port");
}

int main(int argc, char **argv)
{
    pthread_t threads[MOST_THREADS + 1];
    int count = argc == 5 ? atoi(argv[1]) : 0;

    if (count < 1 || count > MOST_THREADS)
        return 2;
    certificate = argv[2];
    key = argv[3];
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, end);
    ctx = make_context();
    listen_on(atoi(argv[4]));
    for (int i = 0; i <= count; i++)
        if (pthread_create(&threads[i], NULL, i < count ? serve_all : make_contexts, NULL) != 0)
            die("thread");
    for (int i = 0; i <= count; i++)
        pthread_join(threads[i], NULL);
    SSL_CTX_free(ctx);
    return 0;
}
