/*
 * The host store keeps hosts apart (CVE-2025-23419, CVE-2025-23048): a session of one context does
 * not resume in another that has another certificate, asks for client certificates otherwise, or
 * trusts others to sign them; in the same process and in another. In one that is set up the same it
 * does. Hosts that are told apart by the server name have store_names.c.
 */
#include "harness_store.h"

#include <string.h>

/* Attributes that a host may have; hosts with the same of everything are the same host. */
enum trust { NOBODY, ONE, OTHER };

struct host {
    const char *name;
    int other_certificate;
    int verify_mode;
    enum trust anchors;     /* in the context's own store of certificates ... */
    enum trust verify_with; /* ... or in one set for verification only */
    enum trust client_ca;   /* the names it sends to clients */
};

static const struct host hosts[] = {
    { .name = "plain" },
    { .name = "plain again" },
    { .name = "other certificate", .other_certificate = 1 },
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
    { .name = "asks, trusts and names one, other certificate", .verify_mode = SSL_VERIFY_PEER,
        .anchors = ONE, .client_ca = ONE, .other_certificate = 1 },
};

enum { HOSTS = sizeof(hosts) / sizeof(hosts[0]) };

static const struct protocol *protocol;
static SSL_CTX *servers[HOSTS], *certified, *uncertified;
static struct identity other_identity, anchors[3];

static int is_same(const struct host *a, const struct host *b)
{
    return a->other_certificate == b->other_certificate && a->verify_mode == b->verify_mode
        && a->anchors == b->anchors && a->verify_with == b->verify_with
        && a->client_ca == b->client_ca;
}

static SSL_CTX *make_host(const struct host *host)
{
    SSL_CTX *server = new_host(protocol);

    if (host->other_certificate)
        use_identity(server, &other_identity);
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
    use_identity(certified, host_identity());
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
        int expected = is_same(&hosts[from], &hosts[to]);

        section("%s from %s to %s", protocol->name, hosts[from].name, hosts[to].name);
        CHECK_INT(ask(maker, offer_to, to, session), expected);
        CHECK_INT(ask(other, offer_to, to, session), expected);
    }
    SSL_SESSION_free(session);
}

/* The attack: no certificate is needed to get the session, and none to use it. */
static void bypass(struct worker *maker, struct worker *other)
{
    enum { PLAIN = 0, ASKS = 3, REQUIRES = 5 };
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

/* A host whose settings change while it lives is another one from then on. */
static long now_requires(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_set_verify(
        servers[0], SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
    return argument;
}

static long now_other_certificate(long argument, SSL_SESSION **session)
{
    (void)session;
    use_identity(servers[1], &other_identity);
    return argument;
}

static void changed(const char *what, int host, task *change)
{
    struct worker maker, other;
    SSL_SESSION *session;

    section("%s changed: %s", protocol->name, what);
    open_hosts();
    maker = fork_worker();
    other = fork_worker();
    session = ask_for_session(&maker, obtain_from, host);
    SSL_SESSION_free(ask_for_session(&other, obtain_from, host));
    ask(&other, change, 0, NULL);
    CHECK_INT(ask(&other, offer_to, host, session), 0);
    CHECK_INT(ask(&maker, offer_to, host, session), 1);
    SSL_SESSION_free(session);
    end_worker(&maker);
    end_worker(&other);
    close_hosts();
}

static const struct named_function functions[] = {
    NAMED(offer_to), NAMED(offer_bare_to), NAMED(obtain_from), NAMED(now_requires),
    NAMED(now_other_certificate), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    other_identity = new_identity("host.example", 30L * 24 * 3600);
    anchors[ONE] = new_identity("anchor one", 30L * 24 * 3600);
    anchors[OTHER] = new_identity("anchor other", 30L * 24 * 3600);
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        all_hosts();
        changed("requires a certificate", 0, now_requires);
        changed("has another certificate", 1, now_other_certificate);
    }
    free_identity(&other_identity);
    free_identity(&anchors[ONE]);
    free_identity(&anchors[OTHER]);
    return test_end();
}
