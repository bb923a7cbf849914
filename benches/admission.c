/*
 * Who is let in: what the server's side of a handshake costs when its session was made elsewhere.
 *
 *   admission [-s SECONDS] [--once COUNT] PROTOCOL KEY HOW MAKER CLIENT
 *   admission [-s SECONDS] [--once COUNT] PROTOCOL KEY hosts NUMBER
 *
 *   PROTOCOL  tls12 or tls13
 *   KEY       rsa (2048) or ec (P-256), of all certificates
 *   HOW       fetched (by session id or stateful ticket, each time from the host store), cached (the
 *             same, but the process has fetched it before) or ticket (stateless)
 *   MAKER     another (a context with the same names) or sibling (a process forked later)
 *   CLIENT    none (without certificate), same (one certificate) or other (each time another)
 *   hosts     full handshakes, with a certificate and a ticket, at so many virtual hosts in turn,
 *             each of which trusts an authority of its own
 *   --once    exactly COUNT handshakes, for callgrind, as of handshake.c
 *
 * Sessions are shared, so it runs with libsesscache, a store and a key file. Prints a line for the
 * server's side (bench.h says which fields).
 */
#include "handshake.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* More clients than results of verifications are kept for. */
enum { MOST_OFFERS = 1100, MOST_HOSTS = 64 };

/* The command line. */
struct task {
    struct kind kind;
    const char *how, *maker, *client;
    int hosts, once;
    double seconds;
};

/* What the clients offer in turn, or where they go. */
static SSL_SESSION *offers[MOST_OFFERS];
static int offer_count, turn;

static struct host {
    char name[32];
    SSL_CTX *ctx;
    X509 *client;
} hosts[MOST_HOSTS];

/* An authority and the key of the clients that it knows. */
static X509 *authority;
static EVP_PKEY *authority_key, *client_key;

/* ---- sessions that were made elsewhere ------------------------------------------------------- */

static SSL_CTX *make_ctx(const struct task *task)
{
    struct kind kind = task->kind;
    SSL_CTX *ctx;

    kind.is_store = strcmp(task->how, "fetched") == 0;
    kind.has_tickets = strcmp(task->how, "ticket") == 0;
    ctx = make_handshake_server(&kind);
    if (strcmp(task->client, "none") != 0) {
        REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority) == 1);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

static void use_client(SSL_CTX *ctx, X509 *cert)
{
    REQUIRE(SSL_CTX_use_certificate(ctx, cert) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(ctx, client_key) == 1);
}

/* A client of that number has a full handshake with the maker. */
static SSL_SESSION *new_session(struct ends *ends, const struct task *task, int number)
{
    ends->offer = NULL;
    if (strcmp(task->client, "none") != 0) {
        char name[32];
        X509 *cert;

        snprintf(name, sizeof(name), "client %d", number);
        cert = make_certificate(name, client_key, authority, authority_key);
        use_client(ends->client_ctx, cert);
        X509_free(cert);
    }
    handshake(ends, 0);
    return ends->offer;
}

static void make_here(const struct ends *ends, const struct task *task)
{
    struct ends maker = { .server_ctx = make_ctx(task), .client_ctx = ends->client_ctx,
                          .server_side = timed_server };

    for (int i = 0; i < offer_count; i++)
        offers[i] = new_session(&maker, task, i);
    SSL_CTX_free(maker.server_ctx);
}

/* The sibling has random numbers of its own, and ends without a word, of callgrind's neither. */
static _Noreturn void be_sibling(const struct ends *ends, const struct task *task, FILE *out)
{
    struct ends maker = { .server_ctx = ends->server_ctx, .client_ctx = ends->client_ctx,
                          .server_side = timed_server };

    if (task->once > 0)
        use_predictable_random((uint64_t)1 << 40);
    for (int i = 0; i < offer_count; i++)
        REQUIRE(PEM_write_SSL_SESSION(out, new_session(&maker, task, i)) == 1);
    REQUIRE(fclose(out) == 0);
    raise(SIGKILL);
    _exit(1);
}

static void make_in_sibling(const struct ends *ends, const struct task *task)
{
    int pipe_ends[2], status;
    pid_t child;
    FILE *in;

    REQUIRE(pipe(pipe_ends) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        be_sibling(ends, task, fdopen(pipe_ends[1], "w"));
    close(pipe_ends[1]);
    in = fdopen(pipe_ends[0], "r");
    REQUIRE(in != NULL);
    for (int i = 0; i < offer_count; i++) {
        offers[i] = PEM_read_SSL_SESSION(in, NULL, NULL, NULL);
        REQUIRE(offers[i] != NULL);
    }
    fclose(in);
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

/* The next client comes with the session that was made elsewhere, and not with a newer one. */
static void resume(struct ends *ends, const void *task)
{
    (void)task;
    SSL_SESSION_free(ends->offer);
    ends->offer = offers[turn++ % offer_count];
    REQUIRE(SSL_SESSION_up_ref(ends->offer) == 1);
    handshake(ends, 1);
}

static void prepare_resumptions(struct ends *ends, const struct task *task)
{
    enum { BEFORE = 2 };
    int is_other = strcmp(task->client, "other") == 0;

    authority_key = make_key(task->kind.is_rsa);
    client_key = make_key(task->kind.is_rsa);
    authority = make_certificate(AUTHORITY, authority_key, NULL, NULL);
    offer_count = !is_other ? 1 : task->once > 0 ? task->once + BEFORE : MOST_OFFERS;
    REQUIRE(offer_count <= MOST_OFFERS);
    ends->server_ctx = make_ctx(task);
    ends->client_ctx = make_handshake_client(&(struct kind){ .version = task->kind.version },
                                             ends->server_ctx);
    if (strcmp(task->maker, "sibling") == 0)
        make_in_sibling(ends, task);
    else
        make_here(ends, task);
    /* What the first handshakes set up is not measured; `same` was verified then. */
    for (int i = 0; i < BEFORE; i++)
        resume(ends, task);
}

/* ---- virtual hosts --------------------------------------------------------------------------- */

static int switch_host(SSL *ssl, int *alert, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct host *host;

    (void)alert;
    (void)arg;
    REQUIRE(name != NULL);
    host = &hosts[atoi(name + 1)];
    SSL_set_SSL_CTX(ssl, host->ctx);
    /* That leaves this out. */
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host->ctx), NULL);
    return SSL_TLSEXT_ERR_OK;
}

static void make_host(const struct task *task, int number)
{
    struct host *host = &hosts[number];
    EVP_PKEY *key = make_key(task->kind.is_rsa);
    struct kind kind = task->kind;
    X509 *cert;

    snprintf(host->name, sizeof(host->name), "h%d.example", number);
    kind.has_tickets = 1;
    host->ctx = make_handshake_server(&kind);
    cert = make_certificate(host->name, key, NULL, NULL);
    REQUIRE(SSL_CTX_use_certificate(host->ctx, cert) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(host->ctx, key) == 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    authority = make_certificate(AUTHORITY, authority_key, NULL, NULL);
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(host->ctx), authority) == 1);
    REQUIRE(SSL_CTX_add_client_CA(host->ctx, authority) == 1);
    host->client = make_certificate("client", client_key, authority, authority_key);
    X509_free(authority);
    SSL_CTX_set_verify(host->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_tlsext_servername_callback(host->ctx, switch_host);
}

static void visit(struct ends *ends, const void *task)
{
    const struct host *host = &hosts[turn++ % ((const struct task *)task)->hosts];

    SSL_SESSION_free(ends->offer);
    ends->offer = NULL;
    ends->name = host->name;
    use_client(ends->client_ctx, host->client);
    handshake(ends, 0);
}

static void prepare_hosts(struct ends *ends, const struct task *task)
{
    client_key = make_key(task->kind.is_rsa);
    for (int i = 0; i < task->hosts; i++) {
        authority_key = make_key(task->kind.is_rsa);
        make_host(task, i);
        EVP_PKEY_free(authority_key);
    }
    ends->server_ctx = hosts[0].ctx;
    ends->client_ctx = make_handshake_client(&(struct kind){ .version = task->kind.version },
                                             ends->server_ctx);
    /* What is learnt of a host is learnt in the first handshake with it. */
    for (int i = 0; i < task->hosts; i++)
        visit(ends, task);
}

/* ---- the command ----------------------------------------------------------------------------- */

static void report_measured(const struct task *task, const struct measured *measured)
{
    struct result result = { (double)measured->server_ns / 1e3 / (double)measured->count, "us",
                             measured->switches, measured->count };
    char parameters[128];

    snprintf(parameters, sizeof(parameters), "%s %s %s", task->kind.protocol, task->kind.key,
             task->how);
    report("admission", parameters, &result);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: admission [-s SECONDS] [--once COUNT] tls12|tls13 rsa|ec "
                    "fetched|cached|ticket another|sibling none|same|other\n"
                    "       admission [-s SECONDS] [--once COUNT] tls12|tls13 rsa|ec hosts NUMBER\n");
    exit(2);
}

static const char *one_of(const char *word, const char *first, const char *second,
                          const char *third)
{
    if (strcmp(word, first) != 0 && strcmp(word, second) != 0 && strcmp(word, third) != 0)
        usage();
    return word;
}

static void parse_words(struct task *task, int count, char **words)
{
    if (count != 4 && count != 5)
        usage();
    task->kind.protocol = one_of(words[0], "tls12", "tls13", "tls13");
    task->kind.key = one_of(words[1], "rsa", "ec", "ec");
    task->kind.version = strcmp(words[0], "tls13") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    task->kind.is_rsa = strcmp(words[1], "rsa") == 0;
    task->how = words[2];
    if (count == 4) {
        one_of(task->how, "hosts", "hosts", "hosts");
        task->hosts = atoi(words[3]);
        if (task->hosts < 1 || task->hosts > MOST_HOSTS)
            usage();
        return;
    }
    one_of(task->how, "fetched", "cached", "ticket");
    task->maker = one_of(words[3], "another", "sibling", "sibling");
    task->client = one_of(words[4], "none", "same", "other");
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = { { "once", required_argument, NULL, 'o' }, { 0 } };
    struct ends ends = { .server_side = timed_server };
    struct task task = { .seconds = 0.3 };
    void (*one)(struct ends *, const void *);
    int option;

    while ((option = getopt_long(argc, argv, "s:", long_options, NULL)) != -1) {
        switch (option) {
        case 's': task.seconds = atof(optarg); break;
        case 'o': task.once = atoi(optarg); break;
        default: usage();
        }
    }
    parse_words(&task, argc - optind, argv + optind);
    if (task.once > 0)
        use_predictable_random(0);
    one = task.hosts > 0 ? visit : resume;
    (task.hosts > 0 ? prepare_hosts : prepare_resumptions)(&ends, &task);
    if (task.once > 0) {
        ends.server_side = measured_server;
        for (int i = 0; i < task.once; i++)
            one(&ends, &task);
    } else {
        struct measured measured = measure_handshakes(&ends, one, &task, task.seconds);

        report_measured(&task, &measured);
    }
    return 0;
}
