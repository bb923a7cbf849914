/* Ways, clients with certificates, and rules that change, see harness_admission.h. */
#include "harness_admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* ---- ways ------------------------------------------------------------------------------------ */

const struct way ways[] = {
    { "tls12-id", &protocols[0], 0 },
    { "tls12-ticket", &protocols[0], 1 },
    { "tls13-stateful", &protocols[1], 0 },
    { "tls13-ticket", &protocols[1], 1 },
    { "dtls12-id", &protocols[2], 0 },
};
const size_t way_count = sizeof(ways) / sizeof(ways[0]);

SSL_CTX *new_host_for(const struct way *way)
{
    SSL_CTX *server = new_host(way->protocol);

    if (way->by_ticket)
        SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    return server;
}

SSL_CTX *new_client_for(const struct way *way, const char *client)
{
    SSL_CTX *ctx = new_client(way->protocol);

    if (way->by_ticket)
        SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_security_level(ctx, 0);
    if (strcmp(client, "none") == 0)
        return ctx;
    use_identity(ctx, identity_named(client));
    if (strcmp(client, "deep") == 0)
        REQUIRE(SSL_CTX_add1_chain_cert(ctx, identity_named("middle")->certificate) == 1);
    return ctx;
}

/* ---- clients and authorities ----------------------------------------------------------------- */

struct person {
    const char *name, *issuer;
    long serial, ends_in;
    int is_weak;
    int extension; /* a NID, and its value */
    const char *value;
    const char *subject; /* NULL: its name */
};

enum { DAYS = 24 * 3600, REVOKED = 7 };

static const struct person people[] = {
    { "root", "root", 1, 30 * DAYS, 0, NID_basic_constraints, "critical,CA:TRUE", NULL },
    { "middle", "root", 2, 30 * DAYS, 0, NID_basic_constraints, "critical,CA:TRUE", NULL },
    { "others", "others", 3, 30 * DAYS, 0, NID_basic_constraints, "critical,CA:TRUE", NULL },
    { "others again", "others again", 4, 30 * DAYS, 0, NID_basic_constraints, "critical,CA:TRUE",
        "others" },
    { "good", "root", 6, 30 * DAYS, 0, 0, NULL, NULL },
    { "bad", "root", REVOKED, 30 * DAYS, 0, 0, NULL, NULL },
    { "short", "root", 8, 60, 0, 0, NULL, NULL },
    { "weak", "root", 9, 30 * DAYS, 1, 0, NULL, NULL },
    { "only server", "root", 10, 30 * DAYS, 0, NID_ext_key_usage, "serverAuth", NULL },
    { "deep", "middle", 11, 30 * DAYS, 0, 0, NULL, NULL },
    { "other", "others", 12, 30 * DAYS, 0, 0, NULL, NULL },
    { "stranger", "stranger", 13, 30 * DAYS, 0, 0, NULL, NULL },
};
enum { PEOPLE = sizeof(people) / sizeof(people[0]) };

static struct identity identities[PEOPLE];

static void free_identities(void)
{
    for (int i = 0; i < PEOPLE; i++)
        free_identity(&identities[i]);
}

const struct identity *identity_named(const char *name)
{
    int i = 0;
    char file[64];
    BIO *bio;

    while (i < PEOPLE && strcmp(people[i].name, name) != 0)
        i++;
    REQUIRE(i < PEOPLE);
    if (identities[i].key != NULL)
        return &identities[i];
    snprintf(file, sizeof(file), "%s.pem", name);
    REQUIRE((bio = BIO_new_file(file, "r")) != NULL);
    identities[i].key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    identities[i].certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    REQUIRE(identities[i].key != NULL && identities[i].certificate != NULL);
    ERR_clear_error();
    return &identities[i];
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    REQUIRE((extension = X509V3_EXT_conf_nid(NULL, &context, nid, value)) != NULL);
    REQUIRE(X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void make_person(const struct person *person)
{
    const char *subject = person->subject != NULL ? person->subject : person->name;
    struct identity identity = new_identity(subject, person->ends_in);
    const struct identity *issuer = &identity;
    char file[64];
    BIO *bio;

    if (strcmp(person->issuer, person->name) != 0)
        issuer = identity_named(person->issuer);
    if (person->is_weak) {
        EVP_PKEY_free(identity.key);
        REQUIRE((identity.key = EVP_RSA_gen(1024)) != NULL);
        REQUIRE(X509_set_pubkey(identity.certificate, identity.key) == 1);
    }
    ASN1_INTEGER_set(X509_get_serialNumber(identity.certificate), person->serial);
    REQUIRE(X509_set_issuer_name(
                identity.certificate, X509_get_subject_name(issuer->certificate)) == 1);
    if (person->value != NULL)
        add_extension(identity.certificate, person->extension, person->value);
    REQUIRE(X509_sign(identity.certificate, issuer->key, EVP_sha256()) > 0);
    snprintf(file, sizeof(file), "%s.pem", person->name);
    REQUIRE((bio = BIO_new_file(file, "w")) != NULL);
    REQUIRE(PEM_write_bio_PrivateKey(bio, identity.key, NULL, NULL, 0, NULL, NULL) == 1);
    REQUIRE(PEM_write_bio_X509(bio, identity.certificate) == 1);
    BIO_free(bio);
    free_identity(&identity);
}

static X509_CRL *revoked(const char *list)
{
    const struct identity *root = identity_named("root");
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *when = X509_gmtime_adj(NULL, -600);

    REQUIRE(crl != NULL && entry != NULL && serial != NULL && when != NULL);
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(root->certificate));
    X509_CRL_set1_lastUpdate(crl, when);
    ASN1_INTEGER_set(serial, REVOKED);
    X509_REVOKED_set_serialNumber(entry, serial);
    X509_REVOKED_set_revocationDate(entry, when);
    if (strcmp(list, "after") == 0)
        REQUIRE(X509_CRL_add0_revoked(crl, entry) == 1);
    else
        X509_REVOKED_free(entry);
    REQUIRE(X509_gmtime_adj(when, DAYS) != NULL);
    X509_CRL_set1_nextUpdate(crl, when);
    REQUIRE(X509_CRL_sign(crl, root->key, EVP_sha256()) > 0);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(when);
    return crl;
}

void make_clients(void)
{
    atexit(free_identities);
    for (int i = 0; i < PEOPLE; i++)
        make_person(&people[i]);
}

/* ---- what a server trusts -------------------------------------------------------------------- */

void trust(SSL_CTX *server, const char *authority)
{
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(server),
                identity_named(authority)->certificate) == 1);
}

void use_revoked(SSL_CTX *server, const char *list)
{
    X509_STORE *store = SSL_CTX_get_cert_store(server);
    X509_CRL *crl = revoked(list);

    REQUIRE(X509_STORE_add_crl(store, crl) == 1);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    X509_CRL_free(crl);
}

void ask_client(SSL_CTX *server)
{
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
}

void require_client(SSL_CTX *server)
{
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static void put_in_folder(const char *folder, const X509_NAME *of, const char *ending, void *object)
{
    char file[128];
    BIO *bio;

    snprintf(file, sizeof(file), "%s/%08lx.%s", folder, X509_NAME_hash((X509_NAME *)of), ending);
    REQUIRE((bio = BIO_new_file(file, "w")) != NULL);
    if (ending[0] == 'r')
        REQUIRE(PEM_write_bio_X509_CRL(bio, object) == 1);
    else
        REQUIRE(PEM_write_bio_X509(bio, object) == 1);
    BIO_free(bio);
}

void trust_folder(SSL_CTX *server, const char *authority, const char *other, const char *list)
{
    const char *const names[] = { authority, other };
    X509_CRL *crl = NULL;
    char folder[64];

    snprintf(folder, sizeof(folder), "%s, %s, %s", authority, other, list != NULL ? list : "none");
    (void)mkdir(folder, 0700);
    for (int i = 0; i < 2; i++) {
        X509 *certificate = identity_named(names[i])->certificate;

        put_in_folder(folder, X509_get_subject_name(certificate), "0", certificate);
    }
    if (list != NULL) {
        crl = revoked(list);
        put_in_folder(folder, X509_CRL_get_issuer(crl), "r0", crl);
        X509_STORE_set_flags(SSL_CTX_get_cert_store(server), X509_V_FLAG_CRL_CHECK);
    }
    REQUIRE(SSL_CTX_load_verify_dir(server, folder) == 1);
    X509_CRL_free(crl);
}

void change_nothing(SSL_CTX *server)
{
    (void)server;
}
