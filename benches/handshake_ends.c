/* The contexts of the handshake benchmarks: certificates, an external cache, random numbers. */
#include "handshake.h"

#include <stdlib.h>
#include <string.h>
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
