/*
 * Sessions that never go to the host store: those of a server that caches none, or asked for none;
 * stateless tickets, empty ids, clients' sessions; and those of a context that could not tell its
 * sessions from another's, or whose resumption OpenSSL would refuse with an alert. Beside each kind
 * what is almost the same and is shared.
 */
#include "harness_store.h"

#include <string.h>

static const struct protocol *protocol;
static SSL_CTX *second; /* which a servername callback switches to */
static int empties_id;

/* ---- servers --------------------------------------------------------------------------------- */

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    struct session_id id = id_of(session);

    (void)ssl;
    if (empties_id)
        CHECK_INT(SSL_SESSION_set1_id(session, id.bytes, 0), 1);
    if (empties_id == 2) /* as HAProxy does, while it serialises */
        CHECK_INT(SSL_SESSION_set1_id(session, id.bytes, id.length), 1);
    return 0;
}

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return NULL;
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
}

static int switch_to_second(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    SSL_set_SSL_CTX(ssl, second);
    return SSL_TLSEXT_ERR_OK;
}

static int verify_connection(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_every);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* Everything about a server that a case changes. */
struct kind {
    const char *name;
    long mode;
    int callbacks; /* 1 new_cb, 2 get_cb, 4 remove_cb */
    int is_stateless, no_certificate, no_id_context, verifies, empties_id;
    int trusts_nobody, shows_none;
    int is_shared;       /* otherwise it is refused */
    size_t moved;        /* the counter of the refusal, if it has one */
};

enum { NEW = 1, GET = 2, REMOVE = 4 };

#define MODE_SERVER SSL_SESS_CACHE_SERVER
#define NO_STORE SSL_SESS_CACHE_NO_INTERNAL_STORE
#define NO_INTERNAL SSL_SESS_CACHE_NO_INTERNAL
#define COUNTER(name) offsetof(struct sesscache_stats, name)

static const struct kind kinds[] = {
    { .name = "off", .mode = SSL_SESS_CACHE_OFF },
    { .name = "off 0x300", .mode = 0x300 },
    { .name = "off 0x380", .mode = 0x380 },
    { .name = "off, callbacks", .mode = SSL_SESS_CACHE_OFF, .callbacks = NEW | GET | REMOVE },
    { .name = "client mode", .mode = SSL_SESS_CACHE_CLIENT },
    { .name = "not asked", .mode = MODE_SERVER | NO_STORE, .moved = COUNTER(refused_not_asked) },
    { .name = "not asked, 2", .mode = MODE_SERVER | NO_INTERNAL,
        .moved = COUNTER(refused_not_asked) },
    { .name = "not asked, remove_cb", .mode = MODE_SERVER | NO_STORE, .callbacks = REMOVE,
        .moved = COUNTER(refused_not_asked) },
    { .name = "asked by new_cb", .mode = MODE_SERVER | NO_STORE, .callbacks = NEW, .is_shared = 1 },
    { .name = "asked by get_cb", .mode = MODE_SERVER | NO_INTERNAL, .callbacks = GET,
        .is_shared = 1 },
    { .name = "stateless", .mode = MODE_SERVER, .is_stateless = 1 },
    { .name = "stateless, callbacks", .mode = MODE_SERVER, .callbacks = NEW | GET | REMOVE,
        .is_stateless = 1 },
    { .name = "id emptied", .mode = MODE_SERVER, .callbacks = NEW, .empties_id = 1 },
    { .name = "id emptied and put back", .mode = MODE_SERVER, .callbacks = NEW, .empties_id = 2,
        .is_shared = 1 },
    { .name = "no identity", .mode = MODE_SERVER, .no_certificate = 1, .no_id_context = 1,
        .moved = COUNTER(refused_no_identity) },
    { .name = "id context only", .mode = MODE_SERVER, .no_certificate = 1, .is_shared = 1 },
    { .name = "certificate only", .mode = MODE_SERVER, .no_id_context = 1, .is_shared = 1 },
    { .name = "verifies, no id context", .mode = MODE_SERVER, .no_id_context = 1, .verifies = 1 },
    { .name = "verifies", .mode = MODE_SERVER, .verifies = 1, .is_shared = 1 },
    { .name = "verifies, trusts nobody", .mode = MODE_SERVER, .verifies = 1, .trusts_nobody = 1,
        .moved = COUNTER(refused_unverified) },
    { .name = "verifies, none shown", .mode = MODE_SERVER, .verifies = 1, .shows_none = 1,
        .moved = COUNTER(refused_no_client_certificate) },
};

static const struct kind *kind;

static SSL_CTX *without_certificate(void)
{
    SSL_CTX *ctx = SSL_CTX_new(protocol->is_dtls ? DTLS_server_method() : TLS_server_method());

    REQUIRE(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, protocol->version);
    SSL_CTX_set_max_proto_version(ctx, protocol->version);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_num_tickets(ctx, 1);
    /* The other has the certificate; without a name nobody switches. */
    SSL_CTX_set_tlsext_servername_callback(ctx, switch_to_second);
    return ctx;
}

static long make_contexts(long argument, SSL_SESSION **session)
{
    (void)session;
    own_server = kind->no_certificate ? without_certificate() : new_host(protocol);
    own_client = new_client(protocol);
    second = new_host(protocol);
    own_name = kind->no_certificate ? "host.example" : NULL;
    SSL_CTX_set_session_cache_mode(own_server, kind->mode);
    SSL_CTX_set_session_id_context(
        own_server, (const unsigned char *)"test", kind->no_id_context ? 0 : 4);
    SSL_CTX_set_session_id_context(
        second, (const unsigned char *)"test", kind->no_id_context ? 0 : 4);
    if (kind->callbacks & NEW)
        SSL_CTX_sess_set_new_cb(own_server, new_cb);
    if (kind->callbacks & GET)
        SSL_CTX_sess_set_get_cb(own_server, get_cb);
    if (kind->callbacks & REMOVE)
        SSL_CTX_sess_set_remove_cb(own_server, remove_cb);
    if (kind->is_stateless) {
        SSL_CTX_clear_options(own_server, SSL_OP_NO_TICKET);
        SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
    }
    if (kind->verifies) {
        SSL_CTX_set_verify(own_server, SSL_VERIFY_PEER, accept_every);
        if (!kind->trusts_nobody)
            CHECK_INT(X509_STORE_add_cert(SSL_CTX_get_cert_store(own_server),
                          host_identity()->certificate), 1);
        if (!kind->shows_none)
            use_identity(own_client, host_identity());
    }
    empties_id = kind->empties_id;
    return argument;
}

static void free_contexts(void)
{
    free_own_contexts();
    SSL_CTX_free(second);
    second = NULL;
    own_name = NULL;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static uint64_t counter(const struct sesscache_stats *stats, size_t at)
{
    uint64_t value;

    memcpy(&value, (const char *)stats + at, sizeof(value));
    return value;
}

/* As far as its mode says. */
static int wants_nothing(const struct kind *kind)
{
    return (kind->mode & SSL_SESS_CACHE_SERVER) == 0
        || ((kind->mode & SSL_SESS_CACHE_NO_INTERNAL_STORE) != 0
            && (kind->callbacks & (NEW | GET)) == 0);
}

/* Each worker has contexts of its own, and so other keys for stateless tickets. */
static void offered_elsewhere(const struct kind *which)
{
    enum { MAKES, FINDS, WORKERS };
    struct worker workers[WORKERS];
    struct sesscache_stats before, after;
    SSL_SESSION *session;

    kind = which;
    section("%s %s", protocol->name, kind->name);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = fork_worker();
        ask(&workers[i], make_contexts, 0, NULL);
    }
    make_contexts(0, NULL);
    before = stats_of(own_server);
    session = obtain_in(&workers[MAKES]);
    CHECK_INT(resumes_in(&workers[FINDS], session), kind->is_shared);
    after = stats_of(own_server);
    if (kind->is_shared) {
        CHECK_INT(after.hits - before.hits, 1);
    } else {
        CHECK_INT(after.hits - before.hits, 0);
        CHECK_INT(after.stores - before.stores, 0);
    }
    /* A server that shares nothing does not look, either: that is all but free. */
    if (wants_nothing(kind))
        CHECK_INT(after.misses - before.misses, 0);
    if (kind->moved != 0)
        CHECK(counter(&after, kind->moved) > counter(&before, kind->moved));
    SSL_SESSION_free(session);
    for (int i = 0; i < WORKERS; i++)
        end_worker(&workers[i]);
    free_contexts();
}

/* Counters of the store around a resumption that is refused, because the server was changed. */
struct around {
    struct sesscache_stats before, after;
};

static struct around refused_after(task *change)
{
    struct worker a, b;
    struct around stats;
    SSL_SESSION *session;

    for (kind = kinds; strcmp(kind->name, "certificate only") != 0;)
        kind++;
    make_contexts(0, NULL);
    a = fork_worker();
    b = fork_worker();
    session = obtain_in(&a);
    ask(&b, change, 0, NULL);
    stats.before = stats_of(own_server);
    CHECK_INT(resumes_in(&b, session), 0);
    stats.after = stats_of(own_server);
    SSL_SESSION_free(session);
    end_worker(&a);
    end_worker(&b);
    free_contexts();
    return stats;
}

/* The connection verifies, its context does not: OpenSSL would break the handshake. */
static long verify_connections(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_set_client_hello_cb(own_server, verify_connection, NULL);
    return argument;
}

static void connection_verifies(void)
{
    struct around stats;

    section("%s connection verifies", protocol->name);
    stats = refused_after(verify_connections);
    CHECK(stats.after.refused_verify_without_id_context
        > stats.before.refused_verify_without_id_context);
}

/* A server that caches nothing does not resume what another left in the store. */
static long turn_off(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_set_session_cache_mode(own_server, SSL_SESS_CACHE_OFF);
    return argument;
}

static void offered_to_off(void)
{
    struct around stats;

    section("%s offered to a server that is off", protocol->name);
    stats = refused_after(turn_off);
    CHECK_INT(stats.after.hits - stats.before.hits, 0);
    CHECK_INT(stats.after.misses - stats.before.misses, 0);
}

/* A client that caches, with all that a server that shares has. */
static void of_a_client(long server_mode)
{
    struct sesscache_stats before, after;
    SSL_SESSION *session;

    section("%s of a client, server mode %ld", protocol->name, server_mode);
    for (kind = kinds; strcmp(kind->name, "verifies") != 0;)
        kind++;
    make_contexts(0, NULL);
    SSL_CTX_set_session_cache_mode(own_server, server_mode);
    SSL_CTX_set_session_id_context(own_client, (const unsigned char *)"test", 4);
    SSL_CTX_set_session_cache_mode(own_client, SSL_SESS_CACHE_BOTH);
    before = stats_of(own_server);
    session = obtain_here();
    after = stats_of(own_server);
    if (server_mode != SSL_SESS_CACHE_OFF || protocol->version == TLS1_3_VERSION)
        CHECK_INT(SSL_CTX_sess_number(own_client), 1);
    CHECK_INT(after.stores - before.stores, server_mode != SSL_SESS_CACHE_OFF);
    SSL_SESSION_free(session);
    free_contexts();
}

static const struct named_function functions[] = {
    NAMED(make_contexts), NAMED(verify_connections), NAMED(turn_off), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    FOR_EACH_PROTOCOL(p) {
        protocol = p;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            offered_elsewhere(&kinds[i]);
        connection_verifies();
        offered_to_off();
        of_a_client(SSL_SESS_CACHE_OFF);
        of_a_client(SSL_SESS_CACHE_SERVER);
    }
    return test_end();
}
