/*
 * A program keeps its default library context empty or for FIPS alone, or its configuration loads
 * nothing, and makes its contexts in a library context of its own (SSL_CTX_new_ex). Sessions are
 * shared as anywhere: by id and by ticket, in its own process, in a child and in another process.
 */
#include "harness_store.h"

#include <stdio.h>
#include <string.h>
#include <openssl/provider.h>

/* States of the default library context. */
enum kind { EMPTY, FIPS_ALONE, MODULE_MISSING, NO_CONFIGURATION, KINDS };
static const char *const names[KINDS]
    = { "no providers", "FIPS alone", "a module is missing", "not a configuration" };

static OSSL_LIB_CTX *own;

/* The answer is 1 if the default context serves nothing. */
static long begin_as(long kind, SSL_SESSION **session)
{
    EVP_CIPHER *cipher;

    (void)session;
    if (kind == EMPTY)
        REQUIRE(OSSL_PROVIDER_load(NULL, "null") != NULL);
    if (kind == FIPS_ALONE)
        REQUIRE(EVP_default_properties_enable_fips(NULL, 1) == 1);
    REQUIRE((own = OSSL_LIB_CTX_new()) != NULL);
    REQUIRE(OSSL_PROVIDER_load(own, "default") != NULL);
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_free(cipher);
    return cipher == NULL;
}

static void certify(SSL_CTX *server)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(own, NULL, "EC", "P-256");
    X509 *certificate = X509_new_ex(own, NULL);
    X509_NAME *name = X509_NAME_new();

    REQUIRE(key != NULL && certificate != NULL && name != NULL);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_version(certificate, X509_VERSION_3);
    X509_set_subject_name(certificate, name);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    EVP_MD *sha256 = EVP_MD_fetch(own, "SHA256", NULL);
    REQUIRE(X509_sign(certificate, key, sha256) > 0);
    REQUIRE(SSL_CTX_use_certificate(server, certificate) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(server, key) == 1);
    EVP_MD_free(sha256);
    X509_NAME_free(name);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static SSL_CTX *new_in_own(const struct protocol *p, const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(own, NULL, method);

    REQUIRE(ctx != NULL);
    REQUIRE(SSL_CTX_set_min_proto_version(ctx, p->version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, p->version) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    return ctx;
}

/* New contexts, as a reload makes them; number: the protocol, and with stateless tickets if odd. */
static long make_contexts(long number, SSL_SESSION **session)
{
    const struct protocol *p = &protocols[number / 2];

    (void)session;
    free_own_contexts();
    own_server = new_in_own(p, p->is_dtls ? DTLS_server_method() : TLS_server_method());
    own_client = new_in_own(p, p->is_dtls ? DTLS_client_method() : TLS_client_method());
    certify(own_server);
    SSL_CTX_set_session_id_context(own_server, (const unsigned char *)"test", 4);
    if (number % 2 == 0)
        SSL_CTX_set_options(own_server, SSL_OP_NO_TICKET);
    return has_store(own_server);
}

static long resume_here(long unused, SSL_SESSION **session)
{
    (void)unused;
    return resumes_here(*session);
}

/* In a child of the worker, which has not used a key before. */
static long resume_in_child(long unused, SSL_SESSION **session)
{
    struct worker child = fork_worker();
    long resumed = ask(&child, resume_here, 0, *session);

    (void)unused;
    end_worker(&child);
    return resumed;
}

static struct worker start(enum kind kind)
{
    char store[URL_SIZE], keys[URL_SIZE], log[URL_SIZE], configuration[URL_SIZE];
    const char *variables[] = { store, keys, log, configuration, NULL };
    struct worker worker;

    snprintf(store, sizeof(store), "%s", file_store("store"));
    snprintf(keys, sizeof(keys), "%s", key_file("keys"));
    snprintf(log, sizeof(log), "SESSCACHE_LOG=%s", path_of("log"));
    snprintf(configuration, sizeof(configuration), "OPENSSL_CONF=%s",
             kind == MODULE_MISSING ? path_of("missing.cnf")
                 : kind == NO_CONFIGURATION ? path_of("broken.cnf") : "/dev/null");
    worker = start_worker(variables);
    ask(&worker, begin_as, kind, NULL);
    return worker;
}

static void try_kind(enum kind kind)
{
    struct worker a = start(kind), b = start(kind);

    for (long number = 0; number < 2 * (long)protocol_count; number++) {
        SSL_SESSION *made;

        section("%s, %s, %s", names[kind], protocols[number / 2].name,
                number % 2 ? "tickets" : "ids");
        CHECK_INT(ask(&a, make_contexts, number, NULL), 1);
        CHECK_INT(ask(&b, make_contexts, number, NULL), 1);
        made = obtain_in(&a);
        CHECK_INT(resumes_in(&a, made), 1);
        CHECK_INT(ask(&a, resume_in_child, 0, made), 1);
        CHECK_INT(resumes_in(&b, made), 1);
        SSL_SESSION_free(made);
        made = obtain_in(&b);
        CHECK_INT(resumes_in(&a, made), 1);
        SSL_SESSION_free(made);
    }
    section("%s", names[kind]);
    CHECK_INT(log_lines("log", ""), 0);
    end_worker(&a);
    end_worker(&b);
}

int main(int argc, char **argv)
{
    static const struct named_function functions[]
        = { NAMED(begin_as), NAMED(make_contexts), NAMED(resume_here), NAMED(resume_in_child),
            { NULL, NULL } };
    static const char missing[] = "openssl_conf = init\n[init]\nproviders = all\n"
                                  "[all]\nnull = null\nfips = fips\n"
                                  "[null]\nactivate = 1\n[fips]\nmodule = /nowhere/fips.so\nactivate = 1\n";
    static const char broken[] = "openssl_conf = init\n[init\nproviders\n";

    begin(argc, argv, functions);
    write_keys("keys", 1, 1);
    write_file("missing.cnf", missing, strlen(missing), 0600);
    write_file("broken.cnf", broken, strlen(broken), 0600);
    for (int kind = 0; kind < KINDS; kind++)
        try_kind((enum kind)kind);
    return test_end();
}
