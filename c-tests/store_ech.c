/*
 * Encrypted Client Hello (RFC 9849, OpenSSL 4.0): the name that is encrypted is the one that counts. A
 * session made for it resumes for it in another process, by a record and by a stateless ticket. It resumes
 * neither for another encrypted name, nor for the public one in clear (RFC 6066 section 3).
 *
 * The libssl is asked at run time whether it has ECH, because the program is built with any headers.
 */
#include "harness_store.h"

#include <dlfcn.h>
#include <string.h>
#include <openssl/pem.h>

/* ---- OpenSSL's functions for ECH --------------------------------------------------------------- */

/* As in <openssl/hpke.h>: X25519, HKDF-SHA256, AES-128-GCM. */
static const struct suite {
    uint16_t kem, kdf, aead;
} suite = { 0x20, 1, 1 };
enum { VERSION = 0xfe0d, LAST = -1, IS_ACCEPTED = 1 };

static struct ech {
    void *(*OSSL_ECHSTORE_new)(OSSL_LIB_CTX *, const char *);
    void (*OSSL_ECHSTORE_free)(void *);
    int (*OSSL_ECHSTORE_new_config)(void *, uint16_t, uint8_t, const char *, struct suite);
    int (*OSSL_ECHSTORE_write_pem)(void *, int, BIO *);
    int (*OSSL_ECHSTORE_read_pem)(void *, BIO *, int);
    int (*SSL_CTX_set1_echstore)(SSL_CTX *, void *);
    int (*SSL_set1_ech_config_list)(SSL *, const uint8_t *, size_t);
    int (*SSL_ech_get1_status)(SSL *, char **, char **);
} ech;

static void find_ech(void)
{
#define FIND(function) \
    do { \
        if ((*(void **)&ech.function = dlsym(RTLD_DEFAULT, #function)) == NULL) \
            skip("this libssl has no " #function "(): ECH came with OpenSSL 4.0"); \
    } while (0)
    FIND(OSSL_ECHSTORE_new);
    FIND(OSSL_ECHSTORE_free);
    FIND(OSSL_ECHSTORE_new_config);
    FIND(OSSL_ECHSTORE_write_pem);
    FIND(OSSL_ECHSTORE_read_pem);
    FIND(SSL_CTX_set1_echstore);
    FIND(SSL_set1_ech_config_list);
    FIND(SSL_ech_get1_status);
}

static const char public_name[] = "public.example";
static const char key_of_ech[] = "ech.pem"; /* and the configuration that clients know */

static void make_ech_key(void)
{
    void *store = ech.OSSL_ECHSTORE_new(NULL, NULL);
    BIO *file = BIO_new_file(key_of_ech, "w");

    REQUIRE(store != NULL && file != NULL);
    REQUIRE(ech.OSSL_ECHSTORE_new_config(store, VERSION, 0, public_name, suite) == 1);
    REQUIRE(ech.OSSL_ECHSTORE_write_pem(store, LAST, file) == 1);
    BIO_free(file);
    ech.OSSL_ECHSTORE_free(store);
}

static void use_ech_key(SSL_CTX *server)
{
    void *store = ech.OSSL_ECHSTORE_new(NULL, NULL);
    BIO *file = BIO_new_file(key_of_ech, "r");

    REQUIRE(store != NULL && file != NULL);
    REQUIRE(ech.OSSL_ECHSTORE_read_pem(store, file, 0) == 1);
    REQUIRE(ech.SSL_CTX_set1_echstore(server, store) == 1);
    BIO_free(file);
    ech.OSSL_ECHSTORE_free(store);
}

/* The client knows the configuration, as from the DNS. */
static void encrypt_hello(SSL *client)
{
    BIO *file = BIO_new_file(key_of_ech, "r");
    unsigned char *list;
    long length;

    REQUIRE(file != NULL);
    REQUIRE(PEM_bytes_read_bio(&list, &length, NULL, "ECHCONFIG", file, NULL, NULL) == 1);
    REQUIRE(ech.SSL_set1_ech_config_list(client, list, (size_t)length) == 1);
    OPENSSL_free(list);
    BIO_free(file);
}

static int is_accepted(SSL *server)
{
    char *encrypted = NULL, *outer = NULL;
    int status = ech.SSL_ech_get1_status(server, &encrypted, &outer);

    OPENSSL_free(encrypted);
    OPENSSL_free(outer);
    return status == IS_ACCEPTED;
}

/* ---- the servers, each in a process of its own --------------------------------------------------- */

static const struct hello {
    const char *what, *name;
    int is_encrypted;
} hellos[] = {
    { "encrypted one.example", "one.example", 1 },
    { "encrypted two.example", "two.example", 1 },
    { "one.example in clear", "one.example", 0 },
    { "the public name in clear", public_name, 0 },
};
enum { HELLOS = sizeof(hellos) / sizeof(hellos[0]), TWO = 1 };

/* How the servers are set up; bits. */
enum { BY_TICKET = 1, ASKS_AGAIN = 2, LEADS = 4, SETUPS = 8 };

static SSL_CTX *host_two; /* asks for a certificate, if names lead to hosts */
static SSL_CTX *certified, *uncertified;

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (name == NULL || strcmp(name, hellos[TWO].name) != 0)
        return SSL_TLSEXT_ERR_OK;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, host_two), host_two);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host_two), accept_every);
    return SSL_TLSEXT_ERR_OK;
}

static void lead_by_name(void)
{
    X509_STORE *trusted = SSL_CTX_get_cert_store(host_two);

    SSL_CTX_set_verify(host_two, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, accept_every);
    CHECK_INT(X509_STORE_add_cert(trusted, host_identity()->certificate), 1);
    SSL_CTX_set_tlsext_servername_callback(own_server, servername_cb);
}

static SSL_CTX *new_end(SSL_CTX *new_ctx(const struct protocol *), long setup)
{
    SSL_CTX *ctx = new_ctx(&protocols[1]);

    if (setup & BY_TICKET)
        SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

static long open_ends(long setup, SSL_SESSION **session)
{
    (void)session;
    own_server = new_end(new_host, setup);
    host_two = new_end(new_host, setup);
    certified = new_end(new_client, setup);
    uncertified = new_end(new_client, setup);
    use_identity(certified, host_identity());
    use_ech_key(own_server);
    if (setup & LEADS)
        lead_by_name();
    if (setup & ASKS_AGAIN) {
        CHECK_INT(SSL_CTX_set1_groups_list(certified, "X25519:P-256"), 1);
        CHECK_INT(SSL_CTX_set1_groups_list(own_server, "P-256"), 1);
    }
    return setup;
}

static long close_ends(long argument, SSL_SESSION **session)
{
    (void)session;
    SSL_CTX_free(own_server);
    SSL_CTX_free(host_two);
    SSL_CTX_free(certified);
    SSL_CTX_free(uncertified);
    return argument;
}

/* 1 resumed, 0 full, -1 failed; what came of it takes the session's place. */
static long shake(SSL_CTX *client, const struct hello *hello, SSL_SESSION **session)
{
    struct connection c = connection_new(own_server, client);
    long resumed = -1;

    CHECK_INT(SSL_set_tlsext_host_name(c.client, hello->name), 1);
    if (hello->is_encrypted)
        encrypt_hello(c.client);
    if (*session != NULL)
        CHECK_INT(SSL_set_session(c.client, *session), 1);
    SSL_SESSION_free(*session);
    *session = NULL;
    if (connection_handshake(&c) && connection_exchange(&c)) {
        const char *name = SSL_get_servername(c.server, TLSEXT_NAMETYPE_host_name);

        resumed = connection_resumed(&c);
        CHECK_INT(is_accepted(c.server), hello->is_encrypted);
        CHECK(name != NULL && strcmp(name, hello->name) == 0);
        *session = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

static long offer(long hello, SSL_SESSION **session)
{
    return shake(certified, &hellos[hello], session);
}

static long offer_bare(long hello, SSL_SESSION **session)
{
    return shake(uncertified, &hellos[hello], session);
}

/* Sessions that were found and declined because of their name. */
static long declined(long setup, SSL_SESSION **session)
{
    struct sesscache_stats stats = stats_of(own_server);

    (void)session;
    return (long)(setup & BY_TICKET ? stats.declined_name : stats.undecryptable);
}

/* ---- two processes with one store ------------------------------------------------------------------ */

static int is_same(int from, int to)
{
    return strcmp(hellos[from].name, hellos[to].name) == 0;
}

/* Where a name leads is known when it was asked for once. */
static void open_in(struct worker *worker, long setup)
{
    ask(worker, open_ends, setup, NULL);
    for (int hello = 0; hello < HELLOS; hello++)
        CHECK_INT(ask(worker, offer, hello, NULL), 0);
}

static void offered_for_every_name(struct worker *maker, struct worker *other, long setup)
{
    long before = ask(other, declined, setup, NULL), others = 0;

    for (int from = 0; from < HELLOS; from++) {
        SSL_SESSION *session = ask_for_session(maker, offer, from);

        for (int to = 0; to < HELLOS; to++) {
            section("%s%s%s from %s to %s", setup & BY_TICKET ? "ticket" : "record",
                setup & ASKS_AGAIN ? ", asked again" : "", setup & LEADS ? ", led" : "",
                hellos[from].what, hellos[to].what);
            CHECK_INT(ask(other, offer, to, session), is_same(from, to));
            CHECK_INT(ask(maker, offer, to, session), 1);
            others += !is_same(from, to);
        }
        SSL_SESSION_free(session);
    }
    /* A client that is asked again offers the session again. */
    CHECK_INT(ask(other, declined, setup, NULL) - before, setup & ASKS_AGAIN ? 2 * others : others);
}

/* No certificate is needed to get the session, and none helps to use it where one is asked for. */
static void bypass(struct worker *maker, struct worker *other)
{
    SSL_SESSION *session = ask_for_session(maker, offer_bare, 0);

    CHECK_INT(ask(other, offer_bare, TWO, session), -1);
    CHECK_INT(ask(other, offer_bare, 0, session), 1);
    SSL_SESSION_free(session);
}

static const struct named_function functions[] = {
    NAMED(open_ends), NAMED(close_ends), NAMED(offer), NAMED(offer_bare), NAMED(declined),
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    const char *variables[] = { file_store("store"), key_file("keys"), NULL };
    struct worker maker, other;

    find_ech();
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    make_ech_key();
    maker = start_worker(variables);
    other = start_worker(variables);
    for (long setup = 0; setup < SETUPS; setup++) {
        open_in(&maker, setup);
        open_in(&other, setup);
        offered_for_every_name(&maker, &other, setup);
        if (setup & LEADS)
            bypass(&maker, &other);
        ask(&maker, close_ends, 0, NULL);
        ask(&other, close_ends, 0, NULL);
    }
    end_worker(&maker);
    end_worker(&other);
    return test_end();
}
