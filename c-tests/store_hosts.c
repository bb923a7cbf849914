/*
 * The host store keeps hosts apart (CVE-2025-23419, CVE-2025-23048): a session of one context does
 * not resume in another that has another name, asks for a certificate where none was given, or does
 * not trust whom it was given by; in the same process and in another. Where the client would be let
 * in, it does. Hosts that are told apart by the server name have store_names.c.
 */
#include "harness_store.h"

#include <string.h>

/* Attributes that a host may have. The client's certificate is the authority ONE's own. */
enum trust { NOBODY, ONE, OTHER };

struct host {
    const char *name;
    int other_name; /* of its certificate */
    int is_renewed;
    int verify_mode;
    enum trust anchors;     /* in the context's own store of certificates ... */
    enum trust verify_with; /* ... or in one set for verification only */
    enum trust client_ca;   /* the names it sends to clients */
};

static const struct host hosts[] = {
    { .name = "plain" },
    { .name = "plain again" },
    { .name = "other name", .other_name = 1 },
    { .name = "renewed", .is_renewed = 1 },
    { .name = "asks", .verify_mode = SSL_VERIFY_PEER },
    { .name = "asks again", .verify_mode = SSL_VERIFY_PEER },
    { .name = "requires", .verify_mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT },
    { .name = "asks, trusts one", .verify_mode = SSL_VERIFY_PEER, .anchors = ONE },
    { .name = "asks, trusts one, again", .verify_mode = SSL_VERIFY_PEER, .anchors = ONE },
    { .name = "asks, trusts other", .verify_mode = SSL_VERIFY_PEER, .anchors = OTHER },
    { .name = "asks, verifies with one", .verify_mode = SSL_VERIFY_PEER, .verify_with = ONE },
    { .name = "asks, verifies with other", .verify_mode = SSL_VERIFY_PEER, .verify_with = OTHER },
    { .name = "asks, names one", .verify_mode = SSL_VERIFY_PEER, .client_ca = ONE },
    { .name = "asks, names other", .verify_mode = SSL_VERIFY_PEER, .client_ca = OTHER },
    { .name = "asks, trusts and names one", .verify_mode = SSL_VERIFY_PEER, .anchors = ONE,
        .client_ca = ONE },
    { .name = "trusts one", .anchors = ONE },
    { .name = "asks, trusts one, other name", .verify_mode = SSL_VERIFY_PEER, .anchors = ONE,
        .other_name = 1 },
};

enum { HOSTS = sizeof(hosts) / sizeof(hosts[0]) };

static const struct protocol *protocol;
static SSL_CTX *servers[HOSTS], *certified, *uncertified;
static struct identity other_identity, renewed_identity, anchors[3];

static int trusts_client(const struct host *host)
{
    return host->anchors == ONE || host->verify_with == ONE;
}

static int is_asked_by(const struct host *host)
{
    return host->verify_mode != SSL_VERIFY_NONE;
}

/* Nobody whose verification failed is let in elsewhere. */
static int is_shared(const struct host *from)
{
    return !is_asked_by(from) || trusts_client(from);
}

static int resumes_at(const struct host *from, const struct host *to)
{
    if (!is_shared(from) || from->other_name != to->other_name)
        return 0;
    return is_asked_by(from) ? trusts_client(to) : !is_asked_by(to);
}

static SSL_CTX *make_host(const struct host *host)
{
    SSL_CTX *server = new_host(protocol);

    if (host->other_name)
        use_identity(server, &other_identity);
    if (host->is_renewed)
        use_identity(server, &renewed_identity);
    SSL_CTX_set_verify(server, host->verify_mode, accept_every);
    if (host->anchors != NOBODY)
        CHECK_INT(X509_STORE_add_cert(
                      SSL_CTX_get_cert_store(server), anchors[host->anchors].certificate), 1);
    if (host->verify_with != NOBODY) {
        X509_STORE *store = X509_STORE_new();

        CHECK_INT(X509_STORE_add_cert(store, anchors[host->verify_with].certificate), 1);
        CHECK_INT(SSL_CTX_set0_verify_cert_store(server, store), 1);
    }
    if (host->client_ca != NOBODY)
        CHECK_INT(SSL_CTX_add_client_CA(server, anchors[host->client_ca].certificate), 1);
    return server;
}

static void open_hosts(void)
{
    for (int i = 0; i < HOSTS; i++)
        servers[i] = make_host(&hosts[i]);
    certified = new_client(protocol);
    use_identity(certified, &anchors[ONE]);
    uncertified = new_client(protocol);
}

static void close_hosts(void)
{
    for (int i = 0; i < HOSTS; i++)
        SSL_CTX_free(servers[i]);
    SSL_CTX_free(certified);
    SSL_CTX_free(uncertified);
}

/* The session goes to the host of that number. */
static long offer_to(long host, SSL_SESSION **session)
{
    return resumes(servers[host], certified, *session);
}

/* By a client without a certificate. */
static long offer_bare_to(long host, SSL_SESSION **session)
{
    return resumes(servers[host], uncertified, *session);
}

static long obtain_from(long host, SSL_SESSION **session)
{
    *session = obtain_session(servers[host], certified);
    return host;
}

/* One host's session, offered to every host. */
static void offered_everywhere(int from, struct worker *maker, struct worker *other)
{
    SSL_SESSION *session;

    session = ask_for_session(maker, obtain_from, from);
    for (int to = 0; to < HOSTS; to++) {
        int expected = resumes_at(&hosts[from], &hosts[to]);

        section("%s from %s to %s", protocol->name, hosts[from].name, hosts[to].name);
        /* In its own context whatever the host is, and in its copy in another process. */
        CHECK_INT(ask(maker, offer_to, to, session), to == from || expected);
        CHECK_INT(ask(other, offer_to, to, session), to == from ? is_shared(&hosts[from])
                                                                : expected);
    }
    SSL_SESSION_free(session);
}

/* The attack: no certificate is needed to get the session, and none to use it. */
static void bypass(struct worker *maker, struct worker *other)
{
    enum { PLAIN = 0, ASKS = 4, REQUIRES = 6 };
    SSL_SESSION *session;

    section("%s bypass", protocol->name);
    REQUIRE((hosts[REQUIRES].verify_mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0);
    session = ask_for_session(maker, obtain_from, PLAIN);
    CHECK_INT(ask(maker, offer_bare_to, REQUIRES, session), -1);
    CHECK_INT(ask(other, offer_bare_to, REQUIRES, session), -1);
    CHECK_INT(ask(other, offer_bare_to, ASKS, session), 0);
    /* Not because something is wrong with it. */
    CHECK_INT(ask(other, offer_bare_to, PLAIN, session), 1);
    SSL_SESSION_free(session);
}

static void all_hosts(void)
{
    struct worker maker, other;

    open_hosts();
    maker = fork_worker();
    other = fork_worker();
    for (int from = 0; from < HOSTS; from += is_under_valgrind() ? 4 : 1)
        offered_everywhere(from, &maker, &other);
    bypass(&maker, &other);
    end_worker(&maker);
    end_worker(&other);
    close_hosts();
}

/* A context in use that changes: sessions of its own go on as on stock, others are judged. */
static long now_requires(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_set_verify(
        servers[0], SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
    return argument;
}

static long now_other_name(long argument, SSL_SESSION **session)
{
    (void)session;
    use_identity(servers[1], &other_identity);
    return argument;
}

/* What the context's copy in another process has made, and what another context has. */
static void changed(const char *what, task *change, int host, int foreign, int copy_resumes)
{
    struct worker maker, other;
    SSL_SESSION *session, *of_another;

    section("%s changed: %s", protocol->name, what);
    open_hosts();
    maker = fork_worker();
    other = fork_worker();
    session = ask_for_session(&maker, obtain_from, host);
    of_another = ask_for_session(&maker, obtain_from, foreign);
    SSL_SESSION_free(ask_for_session(&other, obtain_from, host));
    CHECK_INT(ask(&other, offer_to, host, of_another), 1);
    SSL_SESSION_free(of_another);
    of_another = ask_for_session(&maker, obtain_from, foreign);
    ask(&other, change, 0, NULL);
    CHECK_INT(ask(&other, offer_bare_to, host, of_another) == 1, 0);
    CHECK_INT(ask(&other, offer_to, host, session), copy_resumes);
    CHECK_INT(ask(&maker, offer_to, host, session), 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(of_another);
    end_worker(&maker);
    end_worker(&other);
    close_hosts();
}

static const struct named_function functions[] = {
    NAMED(offer_to), NAMED(offer_bare_to), NAMED(obtain_from), NAMED(now_requires),
    NAMED(now_other_name), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    other_identity = new_identity("other.example", 30L * 24 * 3600);
    renewed_identity = new_identity("host.example", 30L * 24 * 3600);
    anchors[ONE] = new_identity("anchor one", 30L * 24 * 3600);
    anchors[OTHER] = new_identity("anchor other", 30L * 24 * 3600);
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        all_hosts();
        changed("requires a certificate", now_requires, 0, 1, 1);
        changed("has another name", now_other_name, 1, 0, 0);
    }
    free_identity(&other_identity);
    free_identity(&renewed_identity);
    free_identity(&anchors[ONE]);
    free_identity(&anchors[OTHER]);
    return test_end();
}
