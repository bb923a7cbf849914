/* The connections of the HTTPS server: one thread and one poll loop serve up to 64 at a time, each
 * a small state machine over a non-blocking socket. Nothing here knows where sessions are kept. */
#define _GNU_SOURCE

#include "connections.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 64, CONNECTION_SECONDS = 10 };

enum phase { HANDSHAKE, REQUEST, ANSWER, GOODBYE };

struct connection {
    SSL *ssl; /* NULL: this place is free */
    int fd;
    unsigned long number;
    enum phase phase;
    short events; /* what poll should wait for */
    time_t deadline;
    size_t length;
    char text[4096]; /* the request, then the answer */
};

static time_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

/* --- one connection ------------------------------------------------------------------------ */

/* SSL_free comes first: a connection that broke makes OpenSSL call remove_cb, and the line about
 * the end of the connection should be the last one about it. */
static void finish(struct connection *c, const char *reason)
{
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    printf("connection %lu: %s\n", c->number, reason);
}

static const char *failure(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason != NULL ? reason : "connection lost";
}

static const char *full_or_resumed(const struct connection *c)
{
    return SSL_session_reused(c->ssl) ? "resumed" : "full";
}

static void report_handshake(const struct connection *c)
{
    long sessions = SSL_CTX_sess_number(SSL_get_SSL_CTX(c->ssl));

    printf("connection %lu: %s %s, internal cache holds %ld session%s\n", c->number,
           SSL_get_version(c->ssl), full_or_resumed(c), sessions, sessions == 1 ? "" : "s");
}

static int port_of(int fd)
{
    struct sockaddr_in address = { .sin_port = 0 };
    socklen_t size = sizeof address;

    getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

/* Puts the answer in the place of the request once that is complete. Returns whether it was. */
static bool answer_request(struct connection *c)
{
    const char *status = "200 OK";
    char body[128];

    c->text[c->length] = '\0';
    if (strstr(c->text, "\r\n\r\n") == NULL) {
        if (c->length < sizeof c->text - 1)
            return false;
        status = "431 Request Header Fields Too Large";
    } else if (strncmp(c->text, "GET / ", 6) != 0) {
        status = "404 Not Found";
    }
    int size = snprintf(body, sizeof body, "server 127.0.0.1:%d pid %ld %s %s\n", port_of(c->fd),
                        (long)getpid(), SSL_get_version(c->ssl), full_or_resumed(c));
    int length = snprintf(c->text, sizeof c->text,
                          "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                          "Connection: close\r\n\r\n%s",
                          status, size, body);
    c->length = (size_t)length;
    return true;
}

/* Does the one OpenSSL call of the phase. Above 0 it is done; else SSL_get_error says why not. */
static int attempt(struct connection *c)
{
    int n = -1;

    ERR_clear_error(); /* SSL_get_error looks at the queue */
    switch (c->phase) {
    case HANDSHAKE:
        n = SSL_accept(c->ssl);
        break;
    case REQUEST:
        n = SSL_read(c->ssl, c->text + c->length, (int)(sizeof c->text - 1 - c->length));
        break;
    case ANSWER: /* all of it or nothing, as SSL_MODE_ENABLE_PARTIAL_WRITE is not set */
        n = SSL_write(c->ssl, c->text, (int)c->length);
        break;
    case GOODBYE: /* 0: our close_notify is sent, the client's is not here yet; ask for that */
        n = SSL_shutdown(c->ssl);
        if (n == 0)
            n = SSL_shutdown(c->ssl);
        break;
    }
    return n;
}

static void next_phase(struct connection *c, int n)
{
    switch (c->phase) {
    case HANDSHAKE:
        report_handshake(c);
        c->phase = REQUEST;
        break;
    case REQUEST:
        c->length += (size_t)n;
        if (answer_request(c))
            c->phase = ANSWER;
        break;
    case ANSWER:
        c->phase = GOODBYE;
        break;
    case GOODBYE:
        finish(c, "closed");
        break;
    }
}

/* Takes a connection as far as it goes without waiting. */
static void advance(struct connection *c)
{
    while (c->ssl != NULL) {
        int n = attempt(c);
        if (n > 0) {
            next_phase(c, n);
            continue;
        }
        switch (SSL_get_error(c->ssl, n)) {
        case SSL_ERROR_WANT_READ:
            c->events = POLLIN;
            return;
        case SSL_ERROR_WANT_WRITE:
            c->events = POLLOUT;
            return;
        case SSL_ERROR_ZERO_RETURN: /* the client said goodbye; not to answer is an unclean close */
            if (c->phase == GOODBYE)
                finish(c, "closed");
            else
                c->phase = GOODBYE;
            break;
        default:
            finish(c, failure());
        }
    }
}

/* --- all connections ----------------------------------------------------------------------- */

/* Returns false when there is nothing to gain from trying again at once. */
static bool accept_connection(SSL_CTX *ctx, int listener, struct connection *c)
{
    static unsigned long count;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        if (!passing)
            perror("accept");
        return passing;
    }
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        fprintf(stderr, "out of memory for a connection\n");
        SSL_free(ssl);
        close(fd);
        return false;
    }
    *c = (struct connection){ .ssl = ssl,
                              .fd = fd,
                              .number = ++count,
                              .phase = HANDSHAKE,
                              .events = POLLIN,
                              .deadline = now() + CONNECTION_SECONDS };
    return true;
}

static struct connection *free_place(struct connection *connections)
{
    for (int i = 0; i < MAX_CONNECTIONS; i++)
        if (connections[i].ssl == NULL)
            return &connections[i];
    return NULL;
}

/* Waits until something happens. The signals come first, then the listener, then the connections,
 * each in its place. Returns false, with the reason on stderr, if poll itself fails. */
static bool wait_for_events(struct pollfd *events, int signals, int listener,
                            const struct connection *connections)
{
    events[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
    events[1] = (struct pollfd){ .fd = listener, .events = POLLIN };
    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        const struct connection *c = &connections[i];
        events[2 + i] = (struct pollfd){ .fd = c->ssl != NULL ? c->fd : -1, /* -1: ignored */
                                         .events = c->events };
    }
    while (poll(events, 2 + MAX_CONNECTIONS, 1000) < 0) {
        if (errno != EINTR) {
            perror("poll");
            return false;
        }
    }
    return true;
}

int connections_serve(SSL_CTX *ctx, int listener, int signals)
{
    /* Connections stay in their places: SSL_write may only be repeated with the same buffer. */
    static struct connection connections[MAX_CONNECTIONS];
    struct pollfd events[2 + MAX_CONNECTIONS];
    time_t accept_again = 0;
    int result = -1;

    for (;;) {
        struct connection *place = now() >= accept_again ? free_place(connections) : NULL;
        if (!wait_for_events(events, signals, place != NULL ? listener : -1, connections))
            break;
        if (events[0].revents != 0) {
            result = 0;
            break;
        }
        for (int i = 0; i < MAX_CONNECTIONS; i++) {
            if (connections[i].ssl != NULL && now() >= connections[i].deadline)
                finish(&connections[i], "took too long");
            else if (events[2 + i].revents != 0)
                advance(&connections[i]);
        }
        if (events[1].revents != 0 && !accept_connection(ctx, listener, place))
            accept_again = now() + 1; /* out of descriptors or memory: let others finish first */
    }
    for (int i = 0; i < MAX_CONNECTIONS; i++) {
        if (connections[i].ssl == NULL)
            continue;
        SSL_shutdown(connections[i].ssl); /* without a goodbye OpenSSL would remove the session */
        finish(&connections[i], "server stops");
    }
    return result;
}
