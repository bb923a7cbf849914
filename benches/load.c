/*
 * The load on a real server: full TLS 1.2 connections whose sessions are kept in a file, or
 * connections that only offer these sessions, as fast as the server takes them.
 *
 *   load PORT save FILE COUNT
 *   load [-c CONNECTIONS] [-s SECONDS | -n COUNT] PORT offer FILE PID...
 *
 * Offers go on so many connections at once (8), each after the one before has been closed by both
 * sides. Prints connections a second, resumed ones of how many connections, and the processor
 * time, in microseconds a connection, of the server's processes PID.
 *
 * No ticket is asked for, so that sessions are found by their id. Ends with 1 if a connection did
 * not work. It must not run with the overlay.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SESSIONS = 100000, LARGEST = 16384, MOST_CONNECTIONS = 64, TIMEOUT_SECONDS = 10 };

static int port;
static SSL_SESSION *sessions[MOST_SESSIONS];
static int session_count;

/* ---- a connection ---------------------------------------------------------------------------- */

/*
 * From an address of its own: closed connections wait for a minute, and from one address there are
 * only some 28,000 ports.
 */
static int connect_from(uint32_t number)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + number % 4096);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0);
    REQUIRE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
    REQUIRE(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes)) == 0);
    REQUIRE(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
    REQUIRE(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* Sends what the SSL has written. */
static void send_flight(SSL *ssl, int fd, int flags)
{
    char *bytes;
    long length = BIO_get_mem_data(SSL_get_wbio(ssl), &bytes);

    REQUIRE(send(fd, bytes, (size_t)length, flags | MSG_NOSIGNAL) == length);
    REQUIRE(BIO_reset(SSL_get_wbio(ssl)) == 1);
}

/*
 * Handshake and an orderly end; the caller frees the SSL. The last flight and the close_notify go
 * in one segment: else it is a matter of chance how often the server is woken for them.
 */
static SSL *connect_once(SSL_CTX *ctx, SSL_SESSION *offer, uint32_t number)
{
    int fd = connect_from(number);
    SSL *ssl = SSL_new(ctx);
    char bytes[4096];
    ssize_t length;

    REQUIRE(ssl != NULL);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (offer != NULL)
        REQUIRE(SSL_set_session(ssl, offer));
    while (SSL_connect(ssl) != 1) {
        REQUIRE(SSL_want_read(ssl));
        if (BIO_ctrl_pending(SSL_get_wbio(ssl)) > 0)
            send_flight(ssl, fd, 0);
        length = recv(fd, bytes, sizeof(bytes), 0);
        REQUIRE(length > 0 && BIO_write(SSL_get_rbio(ssl), bytes, (int)length) == length);
    }
    SSL_shutdown(ssl);
    send_flight(ssl, fd, MSG_MORE);
    shutdown(fd, SHUT_WR);
    /* The server is done when it has closed its side. */
    while (recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
    close(fd);
    return ssl;
}

static SSL_CTX *client_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(ctx != NULL);
    REQUIRE(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

/* ---- sessions in a file ---------------------------------------------------------------------- */

static void save(const char *path, int count)
{
    SSL_CTX *ctx = client_context();
    FILE *file = fopen(path, "w");

    REQUIRE(file != NULL);
    for (int i = 0; i < count; i++) {
        SSL *ssl = connect_once(ctx, NULL, (uint32_t)i);
        unsigned char der[LARGEST], *end = der;
        int length;

        REQUIRE(i2d_SSL_SESSION(SSL_get_session(ssl), NULL) <= LARGEST);
        length = i2d_SSL_SESSION(SSL_get_session(ssl), &end);
        REQUIRE(fwrite(&length, sizeof(length), 1, file) == 1);
        REQUIRE(fwrite(der, (size_t)length, 1, file) == 1);
        SSL_free(ssl);
    }
    REQUIRE(fclose(file) == 0);
    SSL_CTX_free(ctx);
}

static void load(const char *path)
{
    FILE *file = fopen(path, "r");
    int length;

    REQUIRE(file != NULL);
    while (fread(&length, sizeof(length), 1, file) == 1) {
        unsigned char der[LARGEST];
        const unsigned char *end = der;

        REQUIRE(session_count < MOST_SESSIONS && length > 0 && length <= LARGEST);
        REQUIRE(fread(der, (size_t)length, 1, file) == 1);
        sessions[session_count] = d2i_SSL_SESSION(NULL, &end, length);
        REQUIRE(sessions[session_count++] != NULL);
    }
    fclose(file);
}

/* ---- offering them --------------------------------------------------------------------------- */

static uint64_t deadline;
static uint64_t most = UINT64_MAX; /* connections of a thread */
static int thread_count = 8;

struct offers {
    int number; /* of the thread, whose sessions are those that leave this remainder */
    uint64_t connections, resumed;
};

static void *offer_until_deadline(void *argument)
{
    struct offers *offers = argument;
    SSL_CTX *ctx = client_context();
    uint32_t own = (uint32_t)(session_count / thread_count);

    while (now_ns() < deadline && offers->connections < most) {
        uint64_t random = mix((uint64_t)offers->number << 32 | offers->connections);
        int which = (int)(random % own) * thread_count + offers->number;
        uint32_t from = (uint32_t)offers->connections++ * (uint32_t)thread_count
            + (uint32_t)offers->number;
        SSL *ssl = connect_once(ctx, sessions[which], from);

        offers->resumed += (uint64_t)SSL_session_reused(ssl);
        SSL_free(ssl);
    }
    SSL_CTX_free(ctx);
    return NULL;
}

/* Processor time of some processes up to now. */
static uint64_t processor_ns(char **pids)
{
    uint64_t sum = 0;

    for (; *pids != NULL; pids++) {
        struct timespec used;
        clockid_t clock;

        REQUIRE(clock_getcpuclockid(atoi(*pids), &clock) == 0);
        REQUIRE(clock_gettime(clock, &used) == 0);
        sum += (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    }
    return sum;
}

static void offer(double seconds, char **pids)
{
    struct offers offers[MOST_CONNECTIONS] = { 0 };
    pthread_t threads[MOST_CONNECTIONS];
    uint64_t connections = 0, resumed = 0, begin = now_ns(), used = processor_ns(pids);

    deadline = begin + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < thread_count; i++) {
        offers[i].number = i;
        REQUIRE(pthread_create(&threads[i], NULL, offer_until_deadline, &offers[i]) == 0);
    }
    for (int i = 0; i < thread_count; i++) {
        pthread_join(threads[i], NULL);
        connections += offers[i].connections;
        resumed += offers[i].resumed;
    }
    used = processor_ns(pids) - used;
    printf("%.1f %llu %llu %.2f\n", (double)connections / ((double)(now_ns() - begin) / 1e9),
           (unsigned long long)resumed, (unsigned long long)connections,
           (double)used / 1e3 / (double)connections);
}

/* ---- the command ----------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: load PORT save FILE COUNT\n"
                    "       load [-c CONNECTIONS] [-s SECONDS | -n COUNT] "
                    "PORT offer FILE PID...\n");
    exit(2);
}

int main(int argc, char **argv)
{
    double seconds = 1;
    long count = 0;
    int option;

    while ((option = getopt(argc, argv, "c:s:n:")) != -1) {
        switch (option) {
        case 'c': thread_count = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'n': count = atol(optarg); break;
        default: usage();
        }
    }
    argv += optind;
    if (argc - optind < 4 || thread_count < 1 || thread_count > MOST_CONNECTIONS)
        usage();
    if (count > 0) {
        most = (uint64_t)(count / thread_count);
        seconds = 600;
    }
    port = atoi(argv[0]);
    if (strcmp(argv[1], "save") == 0) {
        save(argv[2], atoi(argv[3]));
    } else if (strcmp(argv[1], "offer") == 0) {
        load(argv[2]);
        REQUIRE(session_count >= thread_count);
        offer(seconds, argv + 3);
    } else {
        usage();
    }
    return 0;
}
