/* The handshake benchmarks: certificates, an external cache, contexts, one handshake in memory and many. */
#include "handshake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

/* ---- certificates ---------------------------------------------------------------------------- */

EVP_PKEY *make_key(int is_rsa)
{
    EVP_PKEY *key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

    REQUIRE(key != NULL);
    return key;
}

X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
    static long serial;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_NAME_new(); /* since OpenSSL 4.0 a certificate's own is constant */

    REQUIRE(cert != NULL && subject != NULL && X509_set_version(cert, X509_VERSION_3));
    REQUIRE(ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial));
    REQUIRE(X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL);
    REQUIRE(X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600) != NULL);
    REQUIRE(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                       -1, 0));
    REQUIRE(X509_set_subject_name(cert, subject));
    REQUIRE(X509_set_issuer_name(cert, issuer == NULL ? subject : X509_get_subject_name(issuer)));
    X509_NAME_free(subject);
    REQUIRE(X509_set_pubkey(cert, key));
    if (strcmp(name, AUTHORITY) == 0) {
        X509_EXTENSION *is_ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "CA:TRUE");

        REQUIRE(is_ca != NULL && X509_add_ext(cert, is_ca, -1) == 1);
        X509_EXTENSION_free(is_ca);
    }
    REQUIRE(X509_sign(cert, issuer == NULL ? key : issuer_key, EVP_sha256()) > 0);
    return cert;
}

/* Returns the certificate, which the context holds. */
static X509 *use_certificate(SSL_CTX *ctx, int is_rsa)
{
    EVP_PKEY *key = make_key(is_rsa);
    X509 *cert = make_certificate("bench", key, NULL, NULL);

    REQUIRE(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    EVP_PKEY_free(key);
    X509_free(cert);
    return SSL_CTX_get0_certificate(ctx);
}

/* ---- an external cache ----------------------------------------------------------------------- */

/* Sessions as i2d_SSL_SESSION writes them; a newer one takes the place of an older. */
enum { PLACES = 4096, LARGEST = 4096 };

static struct place {
    unsigned char id[ID_LENGTH];
    unsigned int id_length;
    int length;
    unsigned char der[LARGEST];
} *places;

static struct place *place_of(const unsigned char *id, unsigned int length)
{
    uint32_t number = 0;

    memcpy(&number, id, length < sizeof(number) ? length : sizeof(number));
    return &places[number % PLACES];
}

static int save_session(SSL *ssl, SSL_SESSION *session)
{
    unsigned int length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    struct place *place = place_of(id, length);
    unsigned char *end = place->der;

    (void)ssl;
    REQUIRE(i2d_SSL_SESSION(session, NULL) <= LARGEST);
    place->length = i2d_SSL_SESSION(session, &end);
    place->id_length = length;
    memcpy(place->id, id, length);
    return 0;
}

static SSL_SESSION *load_session(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    struct place *place = place_of(id, (unsigned int)length);
    const unsigned char *der = place->der;

    (void)ssl;
    *copy = 0;
    if (place->id_length != (unsigned int)length || memcmp(place->id, id, (size_t)length) != 0)
        return NULL;
    return d2i_SSL_SESSION(NULL, &der, place->length);
}

static void forget_session(SSL_CTX *ctx, SSL_SESSION *session)
{
    unsigned int length;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);
    struct place *place = place_of(id, length);

    (void)ctx;
    if (place->id_length == length && memcmp(place->id, id, length) == 0)
        place->id_length = 0;
}

static void use_external_cache(SSL_CTX *ctx)
{
    places = calloc(PLACES, sizeof(*places));
    REQUIRE(places != NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, save_session);
    SSL_CTX_sess_set_get_cb(ctx, load_session);
    SSL_CTX_sess_set_remove_cb(ctx, forget_session);
}

/* ---- contexts -------------------------------------------------------------------------------- */

static void use_version(SSL_CTX *ctx, int version)
{
    REQUIRE(SSL_CTX_set_min_proto_version(ctx, version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, version) == 1);
}

SSL_CTX *make_handshake_server(const struct kind *kind)
{
    static const unsigned char context[] = "bench";
    SSL_CTX *ctx = make_server(SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);

    use_version(ctx, kind->version);
    if (!kind->has_tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(ctx, TIMEOUT);
    REQUIRE(SSL_CTX_set_session_id_context(ctx, context, sizeof(context)) == 1);
    use_certificate(ctx, kind->is_rsa);
    if (kind->is_external)
        use_external_cache(ctx);
    /* What another process made: our own cache gets it and is not asked. */
    if (kind->is_store)
        SSL_CTX_set_session_cache_mode(ctx,
                                       SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    return ctx;
}

SSL_CTX *make_handshake_client(const struct kind *kind, SSL_CTX *server)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    REQUIRE(ctx != NULL);
    use_version(ctx, kind->version);
    if (kind->has_client_cert) {
        X509 *cert = use_certificate(ctx, kind->is_rsa);

        REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(server), cert) == 1);
        SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

/* ---- the server's side, step by step --------------------------------------------------------- */

static int server_new(struct ends *ends)
{
    ends->server = SSL_new(ends->server_ctx);
    SSL_set_accept_state(ends->server);
    return ends->server != NULL;
}

static int server_handshake(struct ends *ends)
{
    return SSL_do_handshake(ends->server);
}

static int server_shutdown(struct ends *ends)
{
    return SSL_shutdown(ends->server);
}

static int server_free(struct ends *ends)
{
    SSL_free(ends->server);
    return 1;
}

void timed_server(struct ends *ends, int (*step)(struct ends *ends))
{
    uint64_t before = now_ns();

    step(ends);
    ends->server_ns += now_ns() - before;
}

__attribute__((noinline)) void measured_server(struct ends *ends, int (*step)(struct ends *ends))
{
    step(ends);
}

/* ---- a handshake ----------------------------------------------------------------------------- */

static void connect_ends(struct ends *ends)
{
    BIO *server_bio, *client_bio;

    ends->server_side(ends, server_new);
    ends->client = SSL_new(ends->client_ctx);
    REQUIRE(ends->server != NULL && ends->client != NULL);
    REQUIRE(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(ends->server, server_bio, server_bio);
    SSL_set_bio(ends->client, client_bio, client_bio);
    SSL_set_connect_state(ends->client);
    if (ends->name != NULL)
        REQUIRE(SSL_set_tlsext_host_name(ends->client, ends->name));
    if (ends->offer != NULL)
        REQUIRE(SSL_set_session(ends->client, ends->offer));
}

void handshake(struct ends *ends, int resumed)
{
    enum { MOST_FLIGHTS = 10 };
    char byte;

    connect_ends(ends);
    for (int i = 0; i < MOST_FLIGHTS && !SSL_is_init_finished(ends->server); i++) {
        SSL_do_handshake(ends->client);
        ends->server_side(ends, server_handshake);
    }
    SSL_do_handshake(ends->client);
    REQUIRE(SSL_is_init_finished(ends->server) && SSL_is_init_finished(ends->client));
    REQUIRE(SSL_session_reused(ends->server) == resumed);
    REQUIRE(SSL_session_reused(ends->client) == resumed);
    /* There is nothing to read but the tickets of TLS 1.3. */
    REQUIRE(SSL_read(ends->client, &byte, 1) < 0);
    if (resumed || ends->offer == NULL) {
        SSL_SESSION_free(ends->offer);
        ends->offer = SSL_get1_session(ends->client);
    }
    SSL_shutdown(ends->client);
    ends->server_side(ends, server_shutdown);
    ends->server_side(ends, server_shutdown);
    REQUIRE(SSL_get_shutdown(ends->server) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN));
    REQUIRE(SSL_shutdown(ends->client) == 1);
    ends->server_side(ends, server_free);
    SSL_free(ends->client);
}

/* ---- many of them ---------------------------------------------------------------------------- */

struct measured measure_handshakes(struct ends *ends, void (*one)(struct ends *, const void *),
                                   const void *kind, double seconds)
{
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9);
    struct switches begin = switches_of(RUSAGE_SELF), before = begin, after;
    struct measured measured = { 0 };

    do {
        uint64_t start = now_ns();

        ends->server_ns = 0;
        one(ends, kind);
        start = now_ns() - start;
        after = switches_of(RUSAGE_SELF);
        if (after.involuntary == before.involuntary) {
            measured.server_ns += ends->server_ns;
            measured.both_ns += start;
            measured.count++;
        }
        before = after;
    } while (now_ns() < deadline || measured.count == 0);
    measured.switches.voluntary = after.voluntary - begin.voluntary;
    measured.switches.involuntary = after.involuntary - begin.involuntary;
    return measured;
}

/* ---- random numbers -------------------------------------------------------------------------- */

static uint64_t random_state;

/* OpenSSL's own generator works, too, so that its cost is counted. */
static int predictable_bytes(unsigned char *out, int count)
{
    if (RAND_OpenSSL()->bytes(out, count) != 1)
        return 0;
    for (int i = 0; i < count; i++)
        out[i] = (unsigned char)mix(random_state++);
    return 1;
}

static int is_ready(void)
{
    return 1;
}

void use_predictable_random(uint64_t first)
{
    /* Deprecated since 3.0, but all there is that needs no provider; it works in 3 and 4. */
    static const RAND_METHOD method = { .bytes = predictable_bytes,
                                        .pseudorand = predictable_bytes, .status = is_ready };

    random_state = first;
    REQUIRE(RAND_set_rand_method(&method) == 1);
}
