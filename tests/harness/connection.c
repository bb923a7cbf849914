#include "connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int TIMEOUT_SECONDS = 10;

#define BYTES(literal) { literal, sizeof literal - 1 }
/* Of MySQL's client: protocol 4.1 and TLS, packets up to 16 MB, UTF-8, and 23 reserved bytes. */
#define MYSQL_CLIENT \
    "\001\212\0\0" "\0\0\0\001" "\041" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
static const struct application APPLICATIONS[] = {
    { "http", BYTES(""), 0, BYTES("GET / HTTP/1.0\r\nHost: "), BYTES("\r\n\r\n"), 0 },
    { "imap", BYTES(""), 0, BYTES("a LOGOUT\r\n"), BYTES(""), 0 },
    { "smtp", BYTES(""), 0, BYTES("QUIT\r\n"), BYTES(""), 0 },
    { "pop3", BYTES(""), 0, BYTES("QUIT\r\n"), BYTES(""), 0 },
    { "memcached", BYTES(""), 0, BYTES("version\r\n"), BYTES(""), 1 },
    /* SSLRequest; then StartupMessage of protocol 3.0, and Terminate. */
    { "postgres", BYTES("\0\0\0\010\004\322\026\057"), 0,
      BYTES("\0\0\0\027\0\003\0\0user\0postgres\0\0X\0\0\0\004"), BYTES(""), 0 },
    /* CONNECT of protocol 3.1.1 without a client's name, and DISCONNECT. */
    { "mqtt", BYTES(""), 0, BYTES("\020\014\0\004MQTT\004\002\0\074\0\0\340\0"), BYTES(""), 0 },
    /* The version of the server: version.bind, CH, TXT. */
    { "dns", BYTES(""), 0,
      BYTES("\0\036\022\064\0\0\0\001\0\0\0\0\0\0\007version\004bind\0\0\020\0\003"),
      BYTES(""), 1 },
    /* SSLRequest; then a login in which nobody is let in. */
    { "mysql", BYTES("\040\0\0\001" MYSQL_CLIENT), 1,
      BYTES("\043\0\0\002" MYSQL_CLIENT "x\0\0"), BYTES(""), 0 },
};

double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int complain(const char *what)
{
    fprintf(stderr, "client: %s\n", what);
    ERR_print_errors_fp(stderr);
    return 0;
}

void die(const char *what)
{
    complain(what);
    exit(1);
}

int parse_place(const char *text, struct sockaddr_in *place)
{
    const char *colon = strchr(text, ':');
    char address[INET_ADDRSTRLEN];

    if (colon == NULL || (size_t)(colon - text) >= sizeof address)
        return 0;
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = '\0';
    memset(place, 0, sizeof *place);
    place->sin_family = AF_INET;
    place->sin_port = htons((uint16_t)atoi(colon + 1));
    return place->sin_port != 0 && inet_pton(AF_INET, address, &place->sin_addr) == 1;
}

const struct application *find_application(const char *name)
{
    for (size_t i = 0; i < sizeof APPLICATIONS / sizeof APPLICATIONS[0]; i++)
        if (strcmp(APPLICATIONS[i].name, name) == 0)
            return &APPLICATIONS[i];
    return NULL;
}

/* Without security levels, so that the server alone judges the certificate. */
static void show_certificate(SSL_CTX *ctx, const char *file)
{
    SSL_CTX_set_security_level(ctx, 0);
    if (SSL_CTX_use_certificate_chain_file(ctx, file) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM) != 1)
        die("cannot use the certificate");
}

/* libssl's psk_client_callback: the length of the key, or 0. */
static unsigned int tell_shared_key(SSL *ssl, const char *hint, char *identity,
                                    unsigned int most_identity, unsigned char *key,
                                    unsigned int most_key)
{
    const struct client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *colon = strchr(client->shared_key, ':');
    size_t length;

    (void)hint;
    if (colon == NULL || (size_t)(colon - client->shared_key) >= most_identity
        || !OPENSSL_hexstr2buf_ex(key, most_key, &length, colon + 1, '\0'))
        die("the pre-shared key is none");
    memcpy(identity, client->shared_key, (size_t)(colon - client->shared_key));
    identity[colon - client->shared_key] = '\0';
    return (unsigned int)length;
}

void make_context(struct client *client)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL || !SSL_CTX_set_min_proto_version(ctx, client->version)
        || !SSL_CTX_set_max_proto_version(ctx, client->version))
        die("cannot make a context");
    if (client->version == TLS1_2_VERSION && !client->in_tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (client->certificate != NULL)
        show_certificate(ctx, client->certificate);
    if (client->shared_key != NULL) {
        SSL_CTX_set_app_data(ctx, client);
        SSL_CTX_set_psk_client_callback(ctx, tell_shared_key);
    }
    client->ctx = ctx;
}

static int tcp_connect(const struct sockaddr_in *place)
{
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int nodelay = 1; /* else the request waits 40 ms for the ACK of Finished */
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0
        && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) == 0
        && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, sizeof nodelay) == 0
        && connect(fd, (const struct sockaddr *)place, sizeof *place) == 0)
        return fd;
    perror("client: connect");
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A packet of MySQL: three bytes of its length, its number, and as many bytes. */
static int read_greeting(int fd)
{
    unsigned char head[4], text[4096];
    size_t length;

    if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
        return 0;
    length = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
    return length <= sizeof text && recv(fd, text, length, MSG_WAITALL) == (ssize_t)length;
}

/* Asks in the clear for TLS, where the application does. */
static int ask_for_tls(int fd, const struct application *application)
{
    const struct bytes *prelude = &application->prelude;
    char answer = 0;

    if (prelude->length == 0)
        return 1;
    return ((!application->greets || read_greeting(fd))
            && write(fd, prelude->data, prelude->length) == (ssize_t)prelude->length
            && (application->greets || (read(fd, &answer, 1) == 1 && answer == 'S')))
           || complain("the server does not agree to TLS");
}

static int send_bytes(SSL *ssl, const struct bytes *bytes)
{
    return SSL_write(ssl, bytes->data, (int)bytes->length) > 0
           || complain("cannot send the request");
}

/* The application's request; as in HTTP, the server's name may stand in it. */
static int send_request(SSL *ssl, const struct client *client)
{
    const struct application *application = client->application;
    const char *name = client->name != NULL ? client->name : "localhost";
    const struct bytes host = { name, strlen(name) };

    return send_bytes(ssl, &application->request)
           && (application->after_name.length == 0
               || (send_bytes(ssl, &host) && send_bytes(ssl, &application->after_name)));
}

/* The first line, fit to print. */
static void keep_line(char *line, size_t size, const char *data, size_t length)
{
    size_t i;

    for (i = 0; i < length && i + 1 < size && data[i] != '\r' && data[i] != '\n'; i++)
        line[i] = data[i] >= ' ' && data[i] <= '~' ? data[i] : '.';
    line[i] = '\0';
}

/* Sends the request and reads to the end, or the first answer of a server that waits. TLS 1.3
   tickets arrive with the first read. */
static int exchange(SSL *ssl, const struct client *client, struct visit *result)
{
    char buffer[4096];
    int length, total = 0;

    if (!send_request(ssl, client))
        return 0;
    while ((length = SSL_read(ssl, buffer, sizeof buffer)) > 0) {
        if (total == 0)
            keep_line(result->answer, sizeof result->answer, buffer, (size_t)length);
        total += length;
        if (client->application->waits)
            break;
    }
    return total > 0 || complain("the server sent no answer");
}

static int shake_hands(SSL *ssl, int fd, const struct client *client, SSL_SESSION *offered)
{
    if (!SSL_set_fd(ssl, fd)
        || (client->name != NULL && !SSL_set_tlsext_host_name(ssl, client->name))
        || (offered != NULL && !SSL_set_session(ssl, offered)))
        return complain("cannot set up the connection");
    if (!ask_for_tls(fd, client->application))
        return 0;
    return SSL_connect(ssl) == 1 || complain("the handshake failed");
}

static int talk(SSL *ssl, int fd, const struct client *client, SSL_SESSION *offered,
                struct visit *result)
{
    if (!shake_hands(ssl, fd, client, offered))
        return 0;
    result->handshaken = seconds();
    result->resumed = SSL_session_reused(ssl);
    result->cipher = SSL_get_cipher_name(ssl);
    if (!exchange(ssl, client, result))
        return 0;
    SSL_shutdown(ssl);
    result->session = SSL_get1_session(ssl);
    return 1;
}

int visit(const struct client *client, const struct sockaddr_in *place, SSL_SESSION *offered,
          struct visit *result)
{
    SSL *ssl = SSL_new(client->ctx);
    int fd, done;

    memset(result, 0, sizeof *result);
    result->began = seconds();
    if (ssl == NULL)
        return complain("no memory");
    fd = tcp_connect(place);
    result->met = fd >= 0;
    done = fd >= 0 && talk(ssl, fd, client, offered, result);
    if (fd >= 0)
        close(fd);
    SSL_free(ssl);
    return done;
}

/* Sends a record that cannot be decrypted, and waits for the alert. */
static int break_off(SSL *ssl, int fd)
{
    static const unsigned char record[5 + 32] = { 23, 3, 3, 0, 32 };
    char buffer[4096];

    if (!SSL_session_reused(ssl))
        return complain("the session to be spoiled did not resume");
    if (write(fd, record, sizeof record) != (ssize_t)sizeof record)
        return complain("cannot send the broken record");
    while (SSL_read(ssl, buffer, sizeof buffer) > 0)
        continue;
    return ERR_GET_REASON(ERR_peek_error()) == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC
           || complain("the server did not answer with the alert");
}

int visit_badly(const struct client *client, const struct sockaddr_in *place,
                SSL_SESSION *offered)
{
    SSL *ssl = SSL_new(client->ctx);
    int fd = tcp_connect(place);
    int done = ssl != NULL && fd >= 0 && shake_hands(ssl, fd, client, offered)
               && break_off(ssl, fd);

    ERR_clear_error();
    if (fd >= 0)
        close(fd);
    SSL_free(ssl);
    return done;
}

int is_of_kind(const SSL_SESSION *session, const struct client *client)
{
    const unsigned char *ticket;
    size_t length;

    SSL_SESSION_get0_ticket(session, &ticket, &length);
    /* A TLS 1.3 ticket as long as an id is one. */
    return client->in_tickets == (length > SSL_MAX_SSL_SESSION_ID_LENGTH);
}

int has_ticket_of(const SSL_SESSION *session, const SSL_SESSION *other)
{
    const unsigned char *ticket, *of_other;
    size_t length, length_of_other;

    SSL_SESSION_get0_ticket(session, &ticket, &length);
    SSL_SESSION_get0_ticket(other, &of_other, &length_of_other);
    return length == length_of_other && (length == 0 || memcmp(ticket, of_other, length) == 0);
}

int load_sessions(const char *path, SSL_SESSION ***sessions)
{
    FILE *file = fopen(path, "r");
    SSL_SESSION *session;
    int count = 0;

    *sessions = NULL;
    if (file == NULL)
        die("cannot open the file of sessions");
    while ((session = PEM_read_SSL_SESSION(file, NULL, NULL, NULL)) != NULL) {
        SSL_SESSION **more = realloc(*sessions, ((size_t)count + 1) * sizeof *more);

        if (more == NULL)
            die("no memory");
        more[count++] = session;
        *sessions = more;
    }
    ERR_clear_error(); /* the end of the file is one */
    fclose(file);
    if (count == 0)
        die("the file has no session");
    return count;
}

void free_sessions(SSL_SESSION **sessions, int count)
{
    for (int i = 0; i < count; i++)
        SSL_SESSION_free(sessions[i]);
    free(sessions);
}
