/*
 * Session ids made by the application: SSL_CTX_set_generate_session_id and
 * SSL_set_generate_session_id. Fact 10: ids may share a long prefix. An id that is in use ends the
 * handshake, although the cache that the engine would ask for it is empty behind ours.
 */
#include "harness.h"

#include <string.h>
#include <openssl/err.h>

enum { PREFIX = 16 };

static unsigned int counter;
static int calls_of_a, calls_of_b;

/* An id of PREFIX times the letter, zeroes, and a number in the last bytes. */
static void fill(unsigned char *id, unsigned int length, int letter, unsigned int number)
{
    memset(id, 0, length);
    memset(id, letter, PREFIX);
    for (int i = 0; i < 4; i++)
        id[length - 1 - (unsigned int)i] = (unsigned char)(number >> (8 * i));
}

static int generate_a(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    CHECK_INT(*length, SSL_MAX_SSL_SESSION_ID_LENGTH);
    calls_of_a++;
    fill(id, *length, 'a', ++counter);
    return 1;
}

static int generate_b(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    calls_of_b++;
    fill(id, *length, 'b', ++counter);
    return 1;
}

/* Always the same. */
static int generate_same(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    fill(id, *length, 's', 1);
    return 1;
}

/* As the manual page has it: tries until it finds one that is free. */
static int generate_free(SSL *ssl, unsigned char *id, unsigned int *length)
{
    for (unsigned int number = 1; number < 100; number++) {
        fill(id, *length, 's', number);
        if (!SSL_has_matching_session_id(ssl, id, *length))
            return 1;
    }
    return 0;
}

static int generate_short(SSL *ssl, unsigned char *id, unsigned int *length)
{
    *length = PREFIX + 4;
    return generate_b(ssl, id, length);
}

static int generate_empty(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl, (void)id;
    *length = 0;
    return 1;
}

static int generate_long(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl, (void)id;
    *length = SSL_MAX_SSL_SESSION_ID_LENGTH + 1;
    return 1;
}

static int generate_nothing(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl, (void)id, (void)length;
    return 0;
}

/* The owner of the id's prefix: 'a', 'b', 's', or '?' for a random one. */
static int maker_of(const SSL_SESSION *session)
{
    struct session_id id = server_id_of(session);
    int letter = id.bytes[0];

    for (int i = 0; i < PREFIX; i++)
        if (id.bytes[i] != letter)
            return '?';
    return letter;
}

/* A handshake on which the server's end was prepared; checks who made the id. */
static SSL_SESSION *made_on(struct connection *c, int maker)
{
    SSL_SESSION *session;

    CHECK(connection_handshake(c) && connection_exchange(c));
    REQUIRE((session = SSL_get1_session(c->client)) != NULL);
    CHECK_INT(maker_of(session), maker);
    connection_close(c);
    return session;
}

/* The server's end must fail; what it says is reported. */
static void check_fails(struct connection *c)
{
    int result = -1;

    for (int turn = 0; turn < 10 && result < 0; turn++) {
        (void)SSL_do_handshake(c->client);
        ERR_clear_error();
        result = SSL_do_handshake(c->server);
        if (SSL_get_error(c->server, result) == SSL_ERROR_SSL)
            break;
    }
    CHECK_INT(result, -1);
    report_text("reason", ERR_reason_error_string(ERR_peek_error()));
    connection_drop(c);
}

/* Ids with a common prefix: each finds its own session. */
static void common_prefix(const struct protocol *p)
{
    enum { MANY = 5 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *sessions[MANY];

    section("%s common prefix", p->name);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_a), 1);
    for (int i = 0; i < MANY; i++) {
        struct connection c = connection_new(server, client);

        sessions[i] = made_on(&c, 'a');
    }
    CHECK_INT(SSL_CTX_sess_number(server), MANY);
    for (int i = 0; i < MANY; i++) {
        struct connection c = connect_offering(server, client, sessions[i]);
        SSL_SESSION *used = SSL_get_session(c.server);

        CHECK_INT(connection_resumed(&c), 1);
        if (p->version != TLS1_3_VERSION)
            CHECK_PTR(used, cached_on_server(server, sessions[i]));
        connection_close(&c);
        SSL_SESSION_free(sessions[i]);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* An id that is cached: no session may take another's place, so the handshake fails. */
static void conflict(const struct protocol *p, int per_connection)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *first, *cached, *second;
    struct connection c;

    section("%s conflict, of the %s", p->name, per_connection ? "connection" : "ctx");
    record(server, &recorder);
    if (!per_connection)
        CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_same), 1);
    c = connection_new(server, client);
    CHECK_INT(SSL_set_generate_session_id(c.server, generate_same), 1);
    first = made_on(&c, 's');
    REQUIRE((cached = cached_on_server(server, first)) != NULL);
    SSL_SESSION_up_ref(cached);
    c = connection_new(server, client);
    if (per_connection)
        CHECK_INT(SSL_set_generate_session_id(c.server, generate_same), 1);
    check_fails(&c);
    CHECK_INT(recorder.new_calls, 1);
    /* In 1.3 the session that failed has the id already, and takes its owner along. */
    report("first is cached", is_cached(server, cached));
    report("remove calls", recorder.remove_calls);
    if (p->version != TLS1_3_VERSION) /* a resumption makes no id there */
        CHECK_INT(resumes(server, client, first), 1);

    /* Once the first is gone the id is free. */
    SSL_CTX_flush_sessions(server, 0);
    c = connection_new(server, client);
    CHECK_INT(SSL_set_generate_session_id(c.server, generate_same), 1);
    second = made_on(&c, 's');
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A generator that asks which ids are in use. */
static void asks(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);

    section("%s asks", p->name);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_free), 1);
    for (long number = 1; number <= 3; number++) {
        struct connection c = connection_new(server, client);

        SSL_SESSION_free(made_on(&c, 's'));
        CHECK_INT(SSL_CTX_sess_number(server), number);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void becomes(SSL_CTX *server, SSL_CTX *client, int maker)
{
    struct connection c = connection_new(server, client);

    SSL_SESSION_free(made_on(&c, maker));
}

/* Which generator counts when several are set, replaced and unset. */
static void precedence(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c, early;

    section("%s precedence", p->name);
    becomes(server, client, '?');
    /* A connection that was made before the context got its generator uses it all the same. */
    c = connection_new(server, client);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_a), 1);
    SSL_SESSION_free(made_on(&c, 'a'));
    becomes(server, client, 'a');
    c = connection_new(server, client);
    CHECK_INT(SSL_set_generate_session_id(c.server, generate_b), 1);
    SSL_SESSION_free(made_on(&c, 'b'));
    becomes(server, client, 'a');
    /* Unset on the connection: the context's again. */
    c = connection_new(server, client);
    CHECK_INT(SSL_set_generate_session_id(c.server, generate_b), 1);
    CHECK_INT(SSL_set_generate_session_id(c.server, NULL), 1);
    SSL_SESSION_free(made_on(&c, 'a'));
    /* A connection keeps the generator that the context had when it was made. */
    early = connection_new(server, client);
    c = connection_new(server, client);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, NULL), 1);
    SSL_SESSION_free(made_on(&c, 'a'));
    becomes(server, client, '?');
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_b), 1);
    calls_of_a = calls_of_b = 0;
    CHECK(connection_handshake(&early));
    connection_close(&early);
    CHECK_INT(calls_of_a + calls_of_b, 1);
    report("made before it was replaced, uses the first", calls_of_a);
    becomes(server, client, 'b');
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* SSL_dup: the copy has the generator of its original. */
static void copied(const struct protocol *p, int of_the_ctx)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c;
    SSL *copy;
    BIO *wire;

    section("%s copied, of the %s", p->name, of_the_ctx ? "ctx" : "connection");
    if (of_the_ctx)
        CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_b), 1);
    c = connection_new(server, client);
    if (!of_the_ctx)
        CHECK_INT(SSL_set_generate_session_id(c.server, generate_b), 1);
    REQUIRE((copy = SSL_dup(c.server)) != NULL);
    wire = SSL_get_rbio(c.server);
    BIO_up_ref(wire);
    SSL_set_bio(copy, wire, wire);
    if (p->is_dtls)
        SSL_set_mtu(copy, 1400);
    SSL_free(c.server);
    c.server = copy;
    SSL_SESSION_free(made_on(&c, 'b'));
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* A connection that is switched to another context has the generator of the first. */
static void switched(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *other = new_server(p), *client = new_client(p);
    struct connection c;

    section("%s switched", p->name);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generate_a), 1);
    CHECK_INT(SSL_CTX_set_generate_session_id(other, generate_b), 1);
    c = connection_new(server, client);
    CHECK_PTR(SSL_set_SSL_CTX(c.server, other), other);
    SSL_SESSION_free(made_on(&c, 'a'));
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(SSL_CTX_sess_number(other), 0);
    SSL_CTX_free(client);
    SSL_CTX_free(other);
    SSL_CTX_free(server);
}

/* A result that a generator may not give ends the handshake; a shorter id is allowed. */
static void refused(const struct protocol *p, const char *name, GEN_SESSION_CB generator)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c;

    section("%s %s", p->name, name);
    CHECK_INT(SSL_CTX_set_generate_session_id(server, generator), 1);
    c = connection_new(server, client);
    check_fails(&c);
    CHECK_INT(SSL_CTX_sess_number(server), 0);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void shorter(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    struct connection c = connection_new(server, client);
    SSL_SESSION *session;

    section("%s shorter", p->name);
    SSL_set_generate_session_id(c.server, generate_short);
    session = made_on(&c, 'b');
    CHECK_INT(server_id_of(session).length, PREFIX + 4);
    CHECK(cached_on_server(server, session) != NULL);
    report("resumed", resumes(server, client, session));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        common_prefix(p);
        conflict(p, 0);
        conflict(p, 1);
        asks(p);
        precedence(p);
        copied(p, 0);
        copied(p, 1);
        switched(p);
        shorter(p);
        refused(p, "empty", generate_empty);
        refused(p, "long", generate_long);
        refused(p, "nothing", generate_nothing);
    }
    return test_end();
}
