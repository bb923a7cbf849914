/* A small HTTPS server that resumes TLS sessions from files. This is its start and its end; begin
 * with session_files.c, where the three session callbacks are.
 *
 *     cc -std=c11 server.c connections.c session_files.c -lsesscache -lssl -lcrypto
 *
 * Nothing here asks for libsesscache: without that library it is a program of OpenSSL alone. */
#define _GNU_SOURCE

#include "connections.h"
#include "session_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef HAVE_SESSCACHE_H
#include <sesscache.h>
#endif

enum { SESSION_SECONDS = 3600 };

struct options {
    int port;
    const char *sessions;
    const char *certificate;
    const char *key;
    int min_version, max_version; /* 0: any */
    int new_returns;
};

/* --- getting ready ------------------------------------------------------------------------- */

/* Returns the socket, or -1 with the reason on stderr. Port 0 becomes the one that was free. */
static int open_listener(int *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
    socklen_t size = sizeof address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0
        || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        fprintf(stderr, "cannot listen on 127.0.0.1:%d: %s\n", *port, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

/* From here on SIGTERM and SIGINT are something to read in the poll loop. */
static int open_signals(void)
{
    sigset_t set;
    int fd = -1;

    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error of its connection only */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        perror("signalfd");
    return fd;
}

/* Gives ctx a new key and a certificate that the key signed itself. Returns 1 or 0. */
static int use_own_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new(); /* since OpenSSL 4.0 a certificate's own is constant */
    int ok = key != NULL && certificate != NULL && name != NULL;

    if (ok) {
        ok = X509_set_version(certificate, X509_VERSION_3)
             && ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1)
             && X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != NULL
             && X509_gmtime_adj(X509_getm_notAfter(certificate), 30L * 24 * 3600) != NULL
             && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                           (const unsigned char *)"localhost", -1, -1, 0)
             && X509_set_subject_name(certificate, name) && X509_set_issuer_name(certificate, name)
             && X509_set_pubkey(certificate, key)
             && X509_sign(certificate, key, EVP_sha256())
             && SSL_CTX_use_certificate(ctx, certificate) && SSL_CTX_use_PrivateKey(ctx, key);
    }
    X509_NAME_free(name);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok;
}

static int use_certificate(SSL_CTX *ctx, const struct options *options)
{
    if (options->certificate == NULL)
        return use_own_certificate(ctx);
    return SSL_CTX_use_certificate_chain_file(ctx, options->certificate) == 1
           && SSL_CTX_use_PrivateKey_file(ctx, options->key, SSL_FILETYPE_PEM) == 1
           && SSL_CTX_check_private_key(ctx) == 1;
}

static SSL_CTX *make_context(const struct options *options)
{
    /* Servers that share sessions must have the same id context; others should differ, or a
     * client could take a session from one service to another. */
    static const unsigned char id_context[] = "sesscache example";
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL || !SSL_CTX_set_min_proto_version(ctx, options->min_version)
        || !SSL_CTX_set_max_proto_version(ctx, options->max_version)
        || !SSL_CTX_set_session_id_context(ctx, id_context, sizeof id_context - 1)
        || !use_certificate(ctx, options)) {
        ERR_print_errors_fp(stderr);
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* With tickets the client keeps the session. Without, the server does: under a session id in
     * TLS 1.2, and in TLS 1.3 under a ticket that is no more than such an id. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    return ctx;
}

static const char *cache_name(const SSL_CTX *ctx)
{
#ifdef HAVE_SESSCACHE_H
    return sesscache_is_active(ctx) ? "sesscache" : "OpenSSL's own (sesscache is not active)";
#else
    (void)ctx;
    return "OpenSSL's own, unless sesscache is preloaded";
#endif
}

/* --- the command line ---------------------------------------------------------------------- */

static void usage(FILE *out)
{
    fputs("usage: server [options]\n"
          "A small HTTPS server on 127.0.0.1 that resumes TLS sessions, from files if it is told.\n\n"
          "  --sessions DIR      folder for the session files; made if missing (mode 0700).\n"
          "                      Without it there are no callbacks: libssl's cache is all\n"
          "  --port N            port to listen on; 0 (default): any free one, which is printed\n"
          "  --cert F --key F    PEM files; default: a new self-signed certificate\n"
          "  --tls 1.2|1.3|any   protocol (default any)\n"
          "  --new-returns 0|1   what new_cb returns: 0 (default) takes the session out of the\n"
          "                      internal cache, 1 leaves it there\n"
          "  --help              this text\n",
          out);
}

static bool parse_number(const char *text, long max, int *number)
{
    char *end = NULL;

    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 0 || value > max)
        return false;
    *number = (int)value;
    return true;
}

static bool parse_tls(const char *text, struct options *options)
{
    int version = strcmp(text, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

    options->min_version = options->max_version = version;
    if (strcmp(text, "any") == 0) {
        options->min_version = TLS1_2_VERSION;
        options->max_version = 0;
        return true;
    }
    return strcmp(text, "1.2") == 0 || strcmp(text, "1.3") == 0;
}

/* Returns false, with the usage on stderr, if the command line makes no sense. */
static bool parse_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        { "sessions", required_argument, NULL, 's' },
        { "port", required_argument, NULL, 'p' },
        { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },
        { "tls", required_argument, NULL, 't' },
        { "new-returns", required_argument, NULL, 'n' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    bool ok = true;
    int letter;

    while (ok && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 's': options->sessions = optarg; break;
        case 'p': ok = parse_number(optarg, 65535, &options->port); break;
        case 'c': options->certificate = optarg; break;
        case 'k': options->key = optarg; break;
        case 't': ok = parse_tls(optarg, options); break;
        case 'n': ok = parse_number(optarg, 1, &options->new_returns); break;
        case 'h': usage(stdout); exit(EXIT_SUCCESS);
        default: ok = false;
        }
    }
    ok = ok && optind == argc
         && (options->certificate == NULL) == (options->key == NULL);
    if (!ok)
        usage(stderr);
    return ok;
}

int main(int argc, char **argv)
{
    struct options options = { .min_version = TLS1_2_VERSION };
    struct session_files files;
    int result = EXIT_FAILURE;

    if (!parse_options(argc, argv, &options))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0); /* a reader of the log file sees each line at once */
    if (options.sessions != NULL
        && session_files_open(&files, options.sessions, options.new_returns) != 0)
        return EXIT_FAILURE;

    SSL_CTX *ctx = make_context(&options);
    int signals = open_signals();
    int listener = open_listener(&options.port);
    if (ctx != NULL && signals >= 0 && listener >= 0) {
        if (options.sessions != NULL)
            session_files_attach(&files, ctx);
        printf("session cache: %s\nlistening on 127.0.0.1:%d\n", cache_name(ctx), options.port);
        if (connections_serve(ctx, listener, signals) == 0)
            result = EXIT_SUCCESS;
        if (options.sessions != NULL)
            session_files_detach(ctx);
    }
    if (listener >= 0)
        close(listener);
    if (signals >= 0)
        close(signals);
    SSL_CTX_free(ctx);
    if (options.sessions != NULL)
        session_files_close(&files);
    return result;
}
