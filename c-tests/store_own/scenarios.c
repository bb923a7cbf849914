/*
 * Servers of one process that are made by chance, from a number: what they are, what their client
 * is, what changes on the context in use. Each lets the client in, and the client comes back with
 * its session, and with the one that it got then. A line each says what came of it: 1 resumed,
 * 0 a full handshake, -1 failed. It is compared between stock and sesscache (store_own.sh).
 *
 *   scenarios COUNT      as many
 *   scenarios = NUMBER   one
 *
 * TEST_NO_TICKETS=1: none of the servers issues stateless tickets.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/x509v3.h>

/* ---- chance ---------------------------------------------------------------------------------- */

static uint64_t state;

static void seed(uint64_t number)
{
    state = (number + 1) * 0x9e3779b97f4a7c15;
}

/* One of so many (splitmix64). */
static unsigned int one_of(unsigned int count)
{
    uint64_t z = state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (unsigned int)((z ^ (z >> 31)) % count);
}

/* ---- a scenario ------------------------------------------------------------------------------ */

enum { ONE_CONTEXT, BY_SERVERNAME, BY_HELLO, SWITCHES };
enum { NOBODY, ASKS, REQUIRES, ASKED };
enum { ON_DEFAULT, ON_NAMED, ON_CONNECTION, IN_CALLBACK, PLACES };
enum { BY_AUTHORITY, LOOKS_AWAY, JUDGES_ITSELF, JUDGES };
enum { NONE, ID_CONTEXT, ID_CONTEXT_THERE, ID_CONTEXTS };
enum change {
    NO_CHANGE, CURRENT, RENEWED, OTHER_NAME, SECOND, SET_VERIFY, TRUSTS_MORE, REVOKED, DEPTH,
    CIPHERS, LEVEL, TIMEOUT, CALLBACK, JUDGE, FREED, CHANGES
};

static const char *const switch_names[] = { "one", "servername", "hello" };
static const char *const asked_names[] = { "nobody", "asks", "requires" };
static const char *const place_names[] = { "default", "named", "connection", "callback" };
static const char *const judge_names[] = { "authority", "looks away", "itself" };
static const char *const id_context_names[] = { "none", "context", "connection" };
static const char *const change_names[] = { "nothing", "current certificate", "renewed",
    "other name", "second certificate", "set_verify", "trusts more", "revoked", "depth", "ciphers",
    "level", "timeout", "cert_cb", "judges itself", "named anew" };
static const char *const server_names[] = { NULL, "host.example", "other.example" };
static const char *const clients[] = { "none", "good", "bad", "stranger" };
static const long modes[] = { SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_SERVER, SSL_SESS_CACHE_SERVER,
    SSL_SESS_CACHE_BOTH, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR,
    SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_STORE,
    SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, SSL_SESS_CACHE_OFF };

static struct {
    const struct way *way;
    long mode;
    unsigned int switches, asked, place, judges, id_context, has_two, has_cert_cb, has_psk_cb;
    const char *first_name, *later_name, *client;
    enum change change;
} s;

static SSL_CTX *named;
static struct identity renewed, other_name, of_rsa;

static void draw(unsigned int number)
{
    seed(number);
    s.way = &ways[one_of((unsigned int)way_count)];
    s.mode = modes[one_of(sizeof(modes) / sizeof(modes[0]))];
    s.switches = one_of(SWITCHES);
    s.asked = one_of(ASKED);
    s.place = one_of(PLACES);
    s.judges = one_of(JUDGES);
    s.id_context = one_of(4) == 0 ? one_of(ID_CONTEXTS) : ID_CONTEXT;
    s.has_two = one_of(2);
    s.has_cert_cb = one_of(6) == 0;
    s.has_psk_cb = one_of(6) == 0;
    s.first_name = server_names[one_of(3)];
    s.later_name = one_of(2) == 0 ? server_names[one_of(3)] : s.first_name;
    s.client = clients[one_of(4)];
    s.change = one_of(3) == 0 ? NO_CHANGE : (enum change)one_of(CHANGES);
}

/* ---- its server ------------------------------------------------------------------------------ */

static int judge(X509_STORE_CTX *store, void *argument)
{
    (void)argument;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int modes_of_verify(void)
{
    static const int verify[] = { SSL_VERIFY_NONE, SSL_VERIFY_PEER,
        SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT };

    return verify[s.asked];
}

static SSL_verify_cb verify_cb(void)
{
    return s.judges == LOOKS_AWAY ? accept_every : NULL;
}

static void ask_on(SSL *ssl)
{
    SSL_set_verify(ssl, modes_of_verify(), verify_cb());
}

static void switch_to_named(SSL *ssl)
{
    SSL_set_SSL_CTX(ssl, named);
    if (s.place == ON_NAMED)
        ask_on(ssl);
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (name != NULL && strcmp(name, "host.example") == 0)
        switch_to_named(ssl);
    if (s.place == IN_CALLBACK)
        ask_on(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int client_hello_cb(SSL *ssl, int *alert, void *argument)
{
    static const char name[] = "host.example";
    const unsigned char *bytes;
    size_t length, end = strlen(name);

    (void)alert, (void)argument;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &length) == 1
        && length > end && memcmp(bytes + length - end, name, end) == 0)
        switch_to_named(ssl);
    if (s.place == IN_CALLBACK)
        ask_on(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int cert_cb(SSL *ssl, void *argument)
{
    (void)ssl, (void)argument;
    return 1;
}

static unsigned int psk_server_cb(
    SSL *ssl, const char *identity, unsigned char *place, unsigned int most)
{
    (void)ssl, (void)identity, (void)place, (void)most;
    return 0;
}

static int is_without_tickets(void)
{
    return !s.way->by_ticket || variable_is("TEST_NO_TICKETS", "1");
}

static SSL_CTX *make_context(int place)
{
    const struct protocol *p = s.way->protocol;
    SSL_CTX *ctx = SSL_CTX_new(p->is_dtls ? DTLS_server_method() : TLS_server_method());

    REQUIRE(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, p->version);
    SSL_CTX_set_max_proto_version(ctx, p->version);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    if (is_without_tickets())
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, s.mode);
    use_identity(ctx, host_identity());
    if (s.has_two)
        use_identity(ctx, &of_rsa);
    if (s.id_context == ID_CONTEXT)
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"test", 4);
    trust(ctx, "root");
    if (s.place == (unsigned int)place)
        SSL_CTX_set_verify(ctx, modes_of_verify(), verify_cb());
    if (s.judges == JUDGES_ITSELF)
        SSL_CTX_set_cert_verify_callback(ctx, judge, NULL);
    if (s.has_cert_cb)
        SSL_CTX_set_cert_cb(ctx, cert_cb, NULL);
    if (s.has_psk_cb)
        SSL_CTX_set_psk_server_callback(ctx, psk_server_cb);
    return ctx;
}

static void open_server(void)
{
    own_server = make_context(ON_DEFAULT);
    own_client = new_client_for(s.way, s.client);
    named = s.switches == ONE_CONTEXT ? NULL : make_context(ON_NAMED);
    if (s.switches == BY_SERVERNAME)
        SSL_CTX_set_tlsext_servername_callback(own_server, servername_cb);
    if (s.switches == BY_HELLO)
        SSL_CTX_set_client_hello_cb(own_server, client_hello_cb, NULL);
}

/* ---- what changes ---------------------------------------------------------------------------- */

static void change_context(SSL_CTX *ctx)
{
    switch (s.change) {
    case CURRENT: SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST); break;
    case RENEWED: use_identity(ctx, &renewed); break;
    case OTHER_NAME: use_identity(ctx, &other_name); break;
    case SECOND: use_identity(ctx, &of_rsa); break;
    case SET_VERIFY: SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, accept_every); break;
    case TRUSTS_MORE: trust(ctx, "others"); break;
    case REVOKED: use_revoked(ctx, "after"); break;
    case DEPTH: SSL_CTX_set_verify_depth(ctx, 0); break;
    case CIPHERS: SSL_CTX_set_cipher_list(ctx, "ECDHE+CHACHA20"); break;
    case LEVEL: SSL_CTX_set_security_level(ctx, 3); break;
    case TIMEOUT: SSL_CTX_set_timeout(ctx, 10); break;
    case CALLBACK: SSL_CTX_set_cert_cb(ctx, cert_cb, NULL); break;
    case JUDGE: SSL_CTX_set_cert_verify_callback(ctx, judge, NULL); break;
    default: break;
    }
}

static void change_server(void)
{
    change_context(own_server);
    if (named == NULL)
        return;
    change_context(named);
    if (s.change == FREED) {
        SSL_CTX_free(named);
        named = make_context(ON_NAMED);
    }
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static int shake_hands(const char *name, SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c;
    int resumed = -1;

    own_name = name;
    c = open_own(offer);
    if (s.id_context == ID_CONTEXT_THERE)
        SSL_set_session_id_context(c.server, (const unsigned char *)"there", 5);
    if (s.place == ON_CONNECTION)
        ask_on(c.server);
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        *made = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

static void describe(unsigned int number, int full, int first, int second)
{
    printf("%u %s, mode %lx, %s, %s on %s by %s, id context %s, certificates %u%s%s, name %s then "
           "%s, client %s, changes %s: %d %d %d\n",
           number, s.way->name, s.mode, switch_names[s.switches], asked_names[s.asked],
           place_names[s.place], judge_names[s.judges], id_context_names[s.id_context],
           s.has_two + 1, s.has_cert_cb ? ", cert_cb" : "", s.has_psk_cb ? ", psk_cb" : "",
           s.first_name != NULL ? s.first_name : "none",
           s.later_name != NULL ? s.later_name : "none", s.client, change_names[s.change], full,
           first, second);
}

static void play(unsigned int number)
{
    SSL_SESSION *session = NULL, *successor = NULL, *last = NULL;
    int full, first = -1, second = -1;

    section("%u", number);
    draw(number);
    open_server();
    full = shake_hands(s.first_name, NULL, &session);
    change_server();
    if (full == 0)
        first = shake_hands(s.later_name, session, &successor);
    if (successor != NULL)
        second = shake_hands(s.later_name, successor, &last);
    describe(number, full, first, second);
    SSL_SESSION_free(session);
    SSL_SESSION_free(successor);
    SSL_SESSION_free(last);
    SSL_CTX_free(named);
    free_own_contexts();
}

static struct identity identity_of(const char *common_name, int is_rsa)
{
    struct identity identity = new_identity(common_name, 30L * 24 * 3600);

    if (is_rsa) {
        EVP_PKEY_free(identity.key);
        REQUIRE((identity.key = EVP_RSA_gen(2048)) != NULL);
        REQUIRE(X509_set_pubkey(identity.certificate, identity.key) == 1);
        REQUIRE(X509_sign(identity.certificate, identity.key, EVP_sha256()) > 0);
    }
    return identity;
}

int main(int argc, char **argv)
{
    static const struct named_function none[] = { { NULL, NULL } };
    unsigned int number = argc > 1 ? (unsigned int)atoi(argv[argc - 1]) : 1;

    begin(1, argv, none);
    make_clients();
    renewed = identity_of("host.example", 0);
    other_name = identity_of("other.example", 0);
    of_rsa = identity_of("host.example", 1);
    if (argc > 2)
        play(number);
    for (unsigned int i = 0; argc < 3 && i < number; i++)
        play(i);
    free_identity(&renewed);
    free_identity(&other_name);
    free_identity(&of_rsa);
    return test_end();
}
