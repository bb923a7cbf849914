/*
 * A session out of the store is what went in, byte for byte, whether it was decoded or copied from a
 * template: sessions with each of the fields that libssl encodes, alone and together, and sessions of
 * handshakes with and without an extended master secret and a client certificate, in turn. Each shape
 * comes twice, so that the second one can be a copy. A program with a function for each new session
 * has it called.
 *
 * The age mask of a TLS 1.3 ticket is only of use for early data. Without that it may get lost.
 */
#include "harness_store.h"

#include <string.h>
#include <openssl/x509.h>

enum { MOST = 8192, FIELDS = 31, FIRST_TAG = 0xa0, INTEGER = 2, OCTETS = 4 };
enum { TIME = 1, LIFETIME_HINT = 9, TICKET = 10, USER = 12, FLAGS = 13, MASK = 14, EARLY_DATA = 15,
       GROUP = 19 };

struct der {
    unsigned char bytes[MOST];
    size_t length;
};

/* A session's DER: what is before the optional fields, and these. */
struct parts {
    struct der front, fields[FIELDS];
};

/* Optional fields of any session, and what they can be. */
static const struct field {
    int number, type, length;
    const char *content;
} choices[] = {
    { 5, INTEGER, 1, "\x0a" },        { 6, OCTETS, 9, "a.example" },
    { 7, OCTETS, 4, "hint" },         { 8, OCTETS, 8, "identity" },
    { LIFETIME_HINT, INTEGER, 2, "\x1c\x20" }, { TICKET, OCTETS, 6, "ticket" },
    { 11, OCTETS, 1, "\x01" },        { USER, OCTETS, 4, "user" },
    { FLAGS, INTEGER, 1, "\x01" },    { FLAGS, 0, 0, "" },
    { MASK, INTEGER, 4, "\x12\x34\x56\x78" }, { EARLY_DATA, INTEGER, 2, "\x40\x00" },
    { 16, OCTETS, 2, "h2" },          { 17, INTEGER, 1, "\x02" },
    { 18, OCTETS, 4, "data" },        { GROUP, INTEGER, 1, "\x17" },
    { GROUP, INTEGER, 2, "\x00\xff" },
};
enum { CHOICES = sizeof(choices) / sizeof(choices[0]) };

static unsigned long chosen; /* of the choices, as bits */
static int is_offering;      /* a session that is made now replaces one that did not resume */
static struct der made, removed;

/* ---- DER ------------------------------------------------------------------------------------- */

static void append(struct der *der, const void *bytes, size_t length)
{
    REQUIRE(der->length + length <= MOST);
    memcpy(der->bytes + der->length, bytes, length);
    der->length += length;
}

static void append_value(struct der *der, int tag, const void *content, size_t length)
{
    unsigned char head[4] = { (unsigned char)tag };
    size_t used = 1;

    if (length >= 0x100) {
        head[used++] = 0x82;
        head[used++] = (unsigned char)(length >> 8);
    } else if (length >= 0x80) {
        head[used++] = 0x81;
    }
    head[used++] = (unsigned char)length;
    append(der, head, used);
    append(der, content, length);
}

/* The length of the value that begins here, with its head, which is `*head` bytes long. */
static size_t value_length(const unsigned char *at, size_t *head)
{
    size_t count = at[1] < 0x80 ? 0 : at[1] & 0x7fu, length = at[1];

    *head = 2 + count;
    if (count > 0)
        length = 0;
    for (size_t i = 0; i < count; i++)
        length = length << 8 | at[2 + i];
    return *head + length;
}

static struct der encoded(SSL_SESSION *session)
{
    struct der der = { .length = (size_t)i2d_SSL_SESSION(session, NULL) };
    unsigned char *end = der.bytes;

    REQUIRE(der.length <= MOST);
    i2d_SSL_SESSION(session, &end);
    return der;
}

static void split(const struct der *der, struct parts *parts)
{
    size_t head, at;

    memset(parts, 0, sizeof(*parts));
    value_length(der->bytes, &head);
    for (at = head; at < der->length;) {
        const unsigned char *value = der->bytes + at;
        size_t length = value_length(value, &head);

        append(value[0] < FIRST_TAG ? &parts->front : &parts->fields[value[0] - FIRST_TAG], value,
               length);
        at += length;
    }
}

static void join(const struct parts *parts, struct der *der)
{
    struct der body = parts->front;

    for (int i = 0; i < FIELDS; i++)
        append(&body, parts->fields[i].bytes, parts->fields[i].length);
    der->length = 0;
    append_value(der, 0x30, body.bytes, body.length);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void set_field(struct parts *parts, const struct field *field)
{
    struct der *whole = &parts->fields[field->number], inner = { .length = 0 };

    whole->length = 0;
    if (field->type == 0)
        return;
    append_value(&inner, field->type, field->content, (size_t)field->length);
    append_value(whole, FIRST_TAG + field->number, inner.bytes, inner.length);
}

/* d2i_SSL_SESSION() changes the very session that it is given. */
static void change(SSL_SESSION *session)
{
    static struct parts parts;
    static struct der der;
    const unsigned char *at = der.bytes;

    der = encoded(session);
    split(&der, &parts);
    for (int i = 0; i < CHOICES; i++)
        if (chosen >> i & 1)
            set_field(&parts, &choices[i]);
    join(&parts, &der);
    CHECK_PTR(d2i_SSL_SESSION(&session, &at, (long)der.length), session);
}

static int change_new(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (is_offering)
        return 0;
    if (chosen != 0)
        change(session);
    made = encoded(session);
    return 0;
}

static void keep_removed(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    removed = encoded(session);
}

/* The last four bytes of a field, as a number. */
static unsigned long number_of(const struct der *part)
{
    unsigned long number = 0;

    for (size_t i = part->length < 4 ? 0 : part->length - 4; i < part->length; i++)
        number = number << 8 | part->bytes[i];
    return number;
}

static int is_same(const struct der *a, const struct der *b, int is_tls13)
{
    static struct parts of_a, of_b;

    split(a, &of_a);
    split(b, &of_b);
    if (of_a.fields[EARLY_DATA].length == 0)
        of_a.fields[MASK].length = of_b.fields[MASK].length = 0;
    /* The user of SRP, which libssl keeps in sessions with such a cipher alone, and no getter tells. */
    of_a.fields[USER].length = of_b.fields[USER].length = 0;
    /* libssl sets it in a TLS 1.3 session that resumes. */
    if (is_tls13)
        of_a.fields[GROUP].length = of_b.fields[GROUP].length = 0;
    /* libssl 3.6 reads a clock that is some milliseconds ahead of time(2). What began in the future counts as
     * begun when it was fetched. */
    if (number_of(&of_a.fields[TIME]) == number_of(&of_b.fields[TIME]) + 1)
        of_a.fields[TIME].length = of_b.fields[TIME].length = 0;
    for (int i = 0; i < FIELDS; i++)
        if (of_a.fields[i].length != of_b.fields[i].length ||
            memcmp(of_a.fields[i].bytes, of_b.fields[i].bytes, of_a.fields[i].length) != 0) {
            note("field %d differs", i);
            return 0;
        }
    return of_a.front.length == of_b.front.length &&
           memcmp(of_a.front.bytes, of_b.front.bytes, of_a.front.length) == 0;
}

/*
 * The session that a client offers and the store gives, compared with the one that was made; and a
 * reference to its certificate.
 */
static int resumes_as_made(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, X509 **peer)
{
    struct connection c = connection_new(server, client);
    SSL_SESSION *found;
    struct der der;
    int resumed;

    removed.length = 0;
    is_offering = 1;
    REQUIRE(SSL_set_session(c.client, session) == 1);
    resumed = connection_handshake(&c) && connection_exchange(&c) && SSL_session_reused(c.server);
    is_offering = 0;
    found = cached_on_server(server, session);
    der = found == NULL ? removed : encoded(found);
    CHECK(der.length > 0 && is_same(&made, &der, SSL_version(c.server) == TLS1_3_VERSION));
    if (peer != NULL && found != NULL && (*peer = SSL_SESSION_get0_peer(found)) != NULL)
        X509_up_ref(*peer);
    if (resumed)
        connection_close(&c);
    else
        connection_drop(&c);
    return resumed;
}

static SSL_CTX *new_changing_server(const struct protocol *p)
{
    SSL_CTX *server = new_host(p);

    SSL_CTX_sess_set_new_cb(server, change_new);
    SSL_CTX_sess_set_remove_cb(server, keep_removed);
    return server;
}

static int round_trip(SSL_CTX *server, SSL_CTX *client, X509 **peer)
{
    SSL_SESSION *session = obtain_session(server, client);
    int resumed;

    empty_cache(server);
    resumed = resumes_as_made(server, client, session, peer);
    empty_cache(server);
    SSL_SESSION_free(session);
    return resumed;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void test_fields(const struct protocol *p)
{
    SSL_CTX *server = new_changing_server(p), *client = new_client(p);
    unsigned long random = 1;

    section("fields %s", p->name);
    for (int i = -1; i < 2 * CHOICES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        chosen = i < 0 ? 0 : i < CHOICES ? 1ul << i : random >> 32 & ((1ul << CHOICES) - 1);
        for (int times = 0; times < 3; times++)
            round_trip(server, client, NULL);
    }
    chosen = 0;
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static SSL_CTX *new_extending_client(const struct protocol *p, int is_extended, int has_certificate)
{
    SSL_CTX *client = new_client(p);

    if (!is_extended)
        SSL_CTX_set_options(client, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (has_certificate)
        use_certificate(client);
    return client;
}

static void trust_client(SSL_CTX *server, SSL_CTX *client)
{
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(server),
                                SSL_CTX_get0_certificate(client)) == 1);
}

/* A session of a client without an extended master secret that comes back with one ends in an alert. */
static void test_handshakes(const struct protocol *p, int has_certificate)
{
    SSL_CTX *server = new_changing_server(p);
    SSL_CTX *clients[2] = { new_extending_client(p, 0, has_certificate),
                            new_extending_client(p, 1, has_certificate) };
    X509 *peers[2] = { NULL, NULL };

    section("handshakes %s, client certificate %d", p->name, has_certificate);
    if (has_certificate)
        trust_client(server, clients[0]);
    for (int i = 0; i < 6; i++) {
        X509 *peer = NULL;

        CHECK_INT(round_trip(server, clients[i % 2], &peer), 1);
        CHECK_INT(peer != NULL, has_certificate);
        /* A copy has the certificate of the template. */
        if (i >= 2)
            CHECK_PTR(peer, peers[i % 2]);
        X509_free(peers[i % 2]);
        peers[i % 2] = peer;
    }
    for (int i = 0; i < 2; i++) {
        X509_free(peers[i]);
        SSL_CTX_free(clients[i]);
    }
    SSL_CTX_free(server);
}

static int new_sessions;

static void count_new(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl,
                      void *argp)
{
    (void)parent, (void)value, (void)data, (void)index, (void)argl, (void)argp;
    new_sessions++;
}

static void test_function_for_new_sessions(const struct protocol *p)
{
    SSL_CTX *server = new_changing_server(p), *client = new_client(p);
    SSL_SESSION *session = obtain_session(server, client);
    struct connection c;

    section("function %s", p->name);
    CHECK(SSL_SESSION_get_ex_new_index(0, NULL, count_new, NULL, NULL) > 0);
    empty_cache(server);
    c = connection_new(server, client);
    REQUIRE(SSL_set_session(c.client, session) == 1);
    new_sessions = 0;
    CHECK_INT(connection_handshake(&c), 1);
    CHECK_INT(SSL_session_reused(c.server), 1);
    CHECK(new_sessions > 0);
    connection_close(&c);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

int main(void)
{
    FOR_EACH_PROTOCOL (p) {
        test_fields(p);
        test_handshakes(p, 0);
        test_handshakes(p, 1);
    }
    test_function_for_new_sessions(&protocols[0]);
    return test_end();
}
