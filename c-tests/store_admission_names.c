/*
 * A server is known by its names: the names of all its certificates, in any order. After a restart
 * with a renewed certificate its sessions resume; with a certificate of another name, or for a
 * client that asks for another name, they do not. Where a callback sets the certificate, nobody can
 * know the names, and sessions are for the own processes, unless SESSCACHE_NAMESPACE is set.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* ---- certificates ---------------------------------------------------------------------------- */

struct certificate {
    const char *name, *common_name, *names;
    int is_rsa;
};

static const struct certificate certificates[] = {
    { "first", "first", "DNS:a.test", 0 },
    { "renewed", "another", "DNS:a.test", 0 },
    { "in capitals", "first", "DNS:A.Test", 0 },
    { "of RSA", "first", "DNS:a.test", 1 },
    { "other", "first", "DNS:b.test", 0 },
    { "other of RSA", "first", "DNS:b.test", 1 },
    { "two", "first", "DNS:a.test, DNS:b.test", 0 },
    { "two turned", "first", "DNS:b.test, DNS:a.test", 0 },
    { "wildcard", "first", "DNS:*.test", 0 },
    { "address", "first", "IP:127.0.0.1", 0 },
    { "address renewed", "another", "IP:127.0.0.1", 0 },
    { "other address", "first", "IP:127.0.0.2", 0 },
    { "common", "a.test", NULL, 0 },
    { "common renewed", "a.test", NULL, 0 },
    { "other common", "b.test", NULL, 0 },
    { "nameless", NULL, NULL, 0 },
    { "other nameless", NULL, NULL, 0 },
};

static void sign_for(struct identity *identity, const struct certificate *certificate)
{
    X509 *x509 = identity->certificate;
    X509_NAME *nobody = X509_NAME_new();
    X509V3_CTX context;
    X509_EXTENSION *extension;

    if (certificate->is_rsa) {
        EVP_PKEY_free(identity->key);
        REQUIRE((identity->key = EVP_RSA_gen(2048)) != NULL);
        REQUIRE(X509_set_pubkey(x509, identity->key) == 1);
    }
    if (certificate->common_name == NULL) {
        X509_set_subject_name(x509, nobody);
        X509_set_issuer_name(x509, nobody);
    }
    X509_NAME_free(nobody);
    if (certificate->names != NULL) {
        X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, certificate->names);
        REQUIRE(extension != NULL && X509_add_ext(x509, extension, -1) == 1);
        X509_EXTENSION_free(extension);
    }
    REQUIRE(X509_sign(x509, identity->key, EVP_sha256()) > 0);
}

static struct identity make_identity(const char *file, const char *name)
{
    const struct certificate *certificate = certificates;
    struct identity identity;
    BIO *bio;

    while (strcmp(certificate->name, name) != 0)
        certificate++;
    identity = new_identity(certificate->common_name != NULL ? certificate->common_name : "-",
                            30L * 24 * 3600);
    sign_for(&identity, certificate);
    REQUIRE((bio = BIO_new_file(file, "w")) != NULL);
    REQUIRE(PEM_write_bio_PrivateKey(bio, identity.key, NULL, NULL, 0, NULL, NULL) == 1);
    REQUIRE(PEM_write_bio_X509(bio, identity.certificate) == 1);
    BIO_free(bio);
    return identity;
}

/* Made by the process that asks first, for the others to read. */
static struct identity certificate_named(const char *name)
{
    struct identity identity = { NULL, NULL };
    char file[64];
    BIO *bio;

    snprintf(file, sizeof(file), "server %s.pem", name);
    if (access(file, R_OK) != 0)
        return make_identity(file, name);
    REQUIRE((bio = BIO_new_file(file, "r")) != NULL);
    identity.key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    identity.certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return identity;
}

static void use(SSL_CTX *server, const char *name)
{
    struct identity identity = certificate_named(name);

    use_identity(server, &identity);
    free_identity(&identity);
}

#define HAS(function, name) \
    static void function(SSL_CTX *server) { use(server, name); }
#define HAS_TWO(function, name, second) \
    static void function(SSL_CTX *server) { use(server, name); use(server, second); }

HAS(first, "first")
HAS(renewed, "renewed")
HAS(in_capitals, "in capitals")
HAS(other, "other")
HAS(two, "two")
HAS(two_turned, "two turned")
HAS(wildcard, "wildcard")
HAS(address, "address")
HAS(address_renewed, "address renewed")
HAS(other_address, "other address")
HAS(common, "common")
HAS(common_renewed, "common renewed")
HAS(other_common, "other common")
HAS(nameless, "nameless")
HAS(other_nameless, "other nameless")
HAS_TWO(rsa_last, "first", "of RSA")
HAS_TWO(rsa_first, "of RSA", "first")
HAS_TWO(renewed_and_rsa, "of RSA", "renewed")
HAS_TWO(first_and_other, "first", "other of RSA")

static void second_is_current(SSL_CTX *server)
{
    rsa_last(server);
    REQUIRE(SSL_CTX_set_current_cert(server, SSL_CERT_SET_FIRST) == 1);
}

/* ---- certificates set by a callback ---------------------------------------------------------- */

static int set_first(SSL *ssl, void *argument)
{
    struct identity identity = certificate_named("first");

    (void)argument;
    REQUIRE(SSL_use_certificate(ssl, identity.certificate) == 1);
    REQUIRE(SSL_use_PrivateKey(ssl, identity.key) == 1);
    free_identity(&identity);
    return 1;
}

static void by_callback(SSL_CTX *server)
{
    first(server);
    SSL_CTX_set_cert_cb(server, set_first, NULL);
}

static void by_callback_there(SSL *ssl)
{
    SSL_set_cert_cb(ssl, set_first, NULL);
}

/* A record is sealed to the name, so by id nothing says which it was. */
#define ANOTHER_NAME .declined_by_ticket = COUNTER(declined_name)

/* ---- rules ----------------------------------------------------------------------------------- */

static const struct rule rules[] = {
    { "renewed", first, renewed, .stays = "none" },
    { "renewed to the old", renewed, first, .stays = "none" },
    { "in capitals", first, in_capitals, .stays = "none" },
    { "two names in another order", two, two_turned, .stays = "none" },
    { "two certificates in another order", rsa_last, rsa_first, .stays = "none" },
    { "another is current", rsa_last, second_is_current, .stays = "none" },
    { "one of two renewed", rsa_last, renewed_and_rsa, .stays = "none" },
    { "a certificate more", first, rsa_last, .stays = "none" },
    { "address renewed", address, address_renewed, .stays = "none" },
    { "common name renewed", common, common_renewed, .stays = "none" },
    { "nameless", nameless, NULL, .stays = "none" },
    { "other name", first, other, .gone = "none" },
    { "a name more", first, two, .gone = "none" },
    { "a name less", two, first, .gone = "none" },
    { "a certificate of another name more", first, first_and_other, .gone = "none" },
    { "wildcard", first, wildcard, .gone = "none" },
    { "other address", address, other_address, .gone = "none" },
    { "other common name", common, other_common, .gone = "none" },
    { "other nameless", nameless, other_nameless, .gone = "none" },
    /* The client asks for a name. */
    { "name in capitals", two, NULL, .stays = "none", .name_before = "a.test",
        .name_after = "A.TEST" },
    { "asks for another name", two, NULL, .gone = "none", .name_before = "a.test",
        .name_after = "b.test", ANOTHER_NAME },
    { "asks for another name later", two, NULL, .stays = "none", .name_before = "a.test",
        .name_later = "b.test" },
    { "asks for none", two, NULL, .gone = "none", .name_before = "a.test", .name_after = "",
        ANOTHER_NAME },
    { "asks for one", two, NULL, .gone = "none", .name_before = "", .name_after = "a.test",
        ANOTHER_NAME },
    /* Nobody knows the names. */
    { "by callback", by_callback, NULL, .gone = "none" },
    { "by callback of the connection", first, NULL, .opened_before = by_callback_there,
        .gone = "none" },
    { "by callback no more", by_callback, first, .gone = "none" },
    { "by callback from now on", first, by_callback, .gone = "none" },
};

static const struct rule in_namespace[] = {
    { "by callback, in a namespace", by_callback, NULL, .stays = "none" },
    { "by callback of the connection, in a namespace", first, NULL,
        .opened_before = by_callback_there, .stays = "none" },
};

static const struct rule other_namespace[] = {
    { "renewed, in another namespace", first, renewed, .gone = "none" },
    { "by callback, in another namespace", by_callback, NULL, .gone = "none" },
};

static const struct rule_list lists[] = {
    { RULES(rules), NULL, NULL },
    { RULES(in_namespace), "SESSCACHE_NAMESPACE=one", "SESSCACHE_NAMESPACE=one" },
    { RULES(other_namespace), "SESSCACHE_NAMESPACE=one", "SESSCACHE_NAMESPACE=other" },
};

/* A process that is forked later is its own. */
static void share_with_forked(void)
{
    FOR_EACH_WAY(way) {
        struct worker worker, other;
        SSL_SESSION *session;

        section("%s by callback, forked", way->name);
        own_server = new_host_for(way);
        own_client = new_client_for(way, "none");
        by_callback(own_server);
        worker = fork_worker();
        other = fork_worker();
        session = obtain_in(&worker);
        CHECK_INT(resumes_in(&other, session), 1);
        CHECK_INT(resumes_here(session), 1);
        SSL_SESSION_free(session);
        end_worker(&worker);
        end_worker(&other);
        free_own_contexts();
    }
}

int main(int argc, char **argv)
{
    int failed = main_with_rules(argc, argv, lists, sizeof(lists) / sizeof(lists[0]));

    own_name = NULL;
    share_with_forked();
    return failed | test_end();
}
