/*
 * The host store keeps apart hosts that share one context and are told apart by the server name
 * (RFC 6066 section 3; CVE-2025-23419): a session made for one name resumes for that name only in
 * another process, whether a servername callback switches to another context, a ClientHello callback
 * does, or none. The process that made it resumes it as stock does, for any name, and so does a fork
 * of it that has it in its cache; one that has made contexts of its own never does.
 */
#include "harness_store.h"

#include <string.h>
#include <strings.h>

enum switcher { NONE, BY_SERVERNAME, BY_CLIENT_HELLO };
static const char *const switchers[] = { "no callback", "servername", "client_hello" };

enum { PLAIN, REQUIRES, OTHER, HOSTS };

/* As a client may write them; the third is the first. */
static const char *const names[] = { "plain.example", "requires.example", "PLAIN.Example",
    "other.example", NULL };
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static const struct protocol *protocol;
static SSL_CTX *hosts[HOSTS];
static SSL_CTX *certified, *uncertified; /* clients: own_client is one of them */
static struct identity other_identity;

static int host_of(const char *name)
{
    if (name == NULL || strcasecmp(name, "plain.example") == 0)
        return PLAIN;
    return strcasecmp(name, "requires.example") == 0 ? REQUIRES : OTHER;
}

/* As nginx does it: the context, and how it verifies. */
static void switch_to(SSL *ssl, SSL_CTX *host)
{
    CHECK_PTR(SSL_set_SSL_CTX(ssl, host), host);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host), SSL_CTX_get_verify_callback(host));
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    switch_to(ssl, hosts[host_of(name)]);
    return SSL_TLSEXT_ERR_OK;
}

/* The extension: two lengths and a type before the name, which lies at its end. */
static int client_hello_cb(SSL *ssl, int *alert, void *argument)
{
    const unsigned char *bytes;
    char name[64];
    size_t length;

    (void)alert, (void)argument;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &length) != 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    REQUIRE(length > 5 && length - 5 < sizeof(name));
    memcpy(name, bytes + 5, length - 5);
    name[length - 5] = '\0';
    switch_to(ssl, hosts[host_of(name)]);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void open_hosts(enum switcher switcher)
{
    for (int i = 0; i < HOSTS; i++)
        hosts[i] = new_host(protocol);
    use_identity(hosts[OTHER], &other_identity);
    SSL_CTX_set_verify(
        hosts[REQUIRES], SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
    CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(hosts[REQUIRES]),
                  host_identity()->certificate), 1);
    own_server = new_host(protocol);
    if (switcher == BY_SERVERNAME)
        SSL_CTX_set_tlsext_servername_callback(own_server, servername_cb);
    if (switcher == BY_CLIENT_HELLO)
        SSL_CTX_set_client_hello_cb(own_server, client_hello_cb, NULL);
    certified = new_client(protocol);
    use_identity(certified, host_identity());
    uncertified = new_client(protocol);
    own_client = certified;
}

static void close_hosts(void)
{
    for (int i = 0; i < HOSTS; i++)
        SSL_CTX_free(hosts[i]);
    SSL_CTX_free(own_server);
    SSL_CTX_free(certified);
    SSL_CTX_free(uncertified);
    own_server = own_client = NULL;
    own_name = NULL;
}

static long obtain_for(long name, SSL_SESSION **session)
{
    own_client = certified;
    own_name = names[name];
    *session = obtain_here();
    return name;
}

static long offer_for(long name, SSL_SESSION **session)
{
    own_client = certified;
    own_name = names[name];
    return resumes_here(*session);
}

static long offer_bare_for(long name, SSL_SESSION **session)
{
    own_client = uncertified;
    own_name = names[name];
    return resumes_here(*session);
}

static int is_same(int from, int to)
{
    if (names[from] == NULL || names[to] == NULL)
        return names[from] == names[to];
    return strcasecmp(names[from], names[to]) == 0;
}

static long open_hosts_anew(long switcher, SSL_SESSION **session)
{
    (void)session;
    close_hosts();
    open_hosts((enum switcher)switcher);
    return switcher;
}

/* One of the hosts asks for certificates: where a name leads is known when it was asked for once. */
static void ask_for_all_names(struct worker *worker)
{
    for (int name = 0; name < NAMES; name++)
        SSL_SESSION_free(ask_for_session(worker, obtain_for, name));
}

static struct worker fork_knowing_worker(void)
{
    struct worker worker = fork_worker();

    ask_for_all_names(&worker);
    return worker;
}

/* The same hosts, in contexts of another number: as after a restart. */
static struct worker fork_foreign_worker(enum switcher switcher)
{
    struct worker worker = fork_worker();

    ask(&worker, open_hosts_anew, switcher, NULL);
    ask_for_all_names(&worker);
    return worker;
}

static void offered_for_every_name(enum switcher switcher)
{
    struct worker maker, other, foreign;

    open_hosts(switcher);
    maker = fork_knowing_worker();
    other = fork_knowing_worker();
    foreign = fork_foreign_worker(switcher);
    for (int from = 0; from < NAMES; from++) {
        SSL_SESSION *session = ask_for_session(&maker, obtain_for, from);
        int is_cached_there = 0;

        for (int to = 0; to < NAMES; to++) {
            section("%s %s from %s to %s", protocol->name, switchers[switcher],
                names[from] != NULL ? names[from] : "none", names[to] != NULL ? names[to] : "none");
            /* A fork of the maker, whose copy of the context resumes what it has in its cache. */
            is_cached_there |= is_same(from, to);
            CHECK_INT(ask(&other, offer_for, to, session), is_cached_there);
            CHECK_INT(ask(&maker, offer_for, to, session), 1);
            CHECK_INT(ask(&foreign, offer_for, to, session), is_same(from, to));
        }
        /* Again, now that all have it in their own cache, too. */
        for (int to = 0; to < NAMES; to++) {
            CHECK_INT(ask(&other, offer_for, to, session), 1);
            CHECK_INT(ask(&foreign, offer_for, to, session), is_same(from, to));
        }
        SSL_SESSION_free(session);
    }
    end_worker(&maker);
    end_worker(&other);
    end_worker(&foreign);
    close_hosts();
}

/* The attack: no certificate is needed to get the session, and none to use it. */
static void bypass(enum switcher switcher)
{
    struct worker maker, other, foreign;
    SSL_SESSION *session;

    section("%s %s bypass", protocol->name, switchers[switcher]);
    open_hosts(switcher);
    maker = fork_knowing_worker();
    other = fork_knowing_worker();
    foreign = fork_foreign_worker(switcher);
    for (int from = 0; from < NAMES; from++) {
        if (host_of(names[from]) == REQUIRES)
            continue;
        session = ask_for_session(&maker, obtain_for, from);
        CHECK_INT(ask(&maker, offer_bare_for, 1, session), 1);
        CHECK_INT(ask(&other, offer_bare_for, 1, session), -1);
        CHECK_INT(ask(&other, offer_bare_for, from, session), 1);
        CHECK_INT(ask(&foreign, offer_bare_for, 1, session), -1);
        CHECK_INT(ask(&foreign, offer_bare_for, from, session), 1);
        CHECK_INT(ask(&foreign, offer_bare_for, 1, session), -1);
        SSL_SESSION_free(session);
    }
    end_worker(&maker);
    end_worker(&other);
    end_worker(&foreign);
    close_hosts();
}

/* TLS 1.3 with a second ClientHello, because the server wants another group. */
static void second_hello(void)
{
    struct worker maker, other;
    SSL_SESSION *session;

    section("%s second hello", protocol->name);
    open_hosts(BY_SERVERNAME);
    CHECK_INT(SSL_CTX_set1_groups_list(certified, "X25519:P-256"), 1);
    CHECK_INT(SSL_CTX_set1_groups_list(own_server, "P-256"), 1);
    maker = fork_knowing_worker();
    other = fork_knowing_worker();
    session = ask_for_session(&maker, obtain_for, 0);
    CHECK_INT(ask(&other, offer_for, 1, session), 0);
    CHECK_INT(ask(&maker, offer_for, 1, session), 1);
    CHECK_INT(ask(&other, offer_for, 2, session), 1);
    CHECK_INT(ask(&maker, offer_for, 2, session), 1);
    SSL_SESSION_free(session);
    end_worker(&maker);
    end_worker(&other);
    close_hosts();
}

static const struct named_function functions[] = {
    NAMED(obtain_for), NAMED(offer_for), NAMED(offer_bare_for), NAMED(open_hosts_anew),
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    other_identity = new_identity("other.example", 30L * 24 * 3600);
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        for (enum switcher switcher = NONE; switcher <= BY_CLIENT_HELLO; switcher++)
            if (switcher == BY_SERVERNAME || !is_under_valgrind())
                offered_for_every_name(switcher);
        bypass(BY_SERVERNAME);
        bypass(BY_CLIENT_HELLO);
        if (p->version == TLS1_3_VERSION)
            second_hello();
    }
    free_identity(&other_identity);
    return test_end();
}
