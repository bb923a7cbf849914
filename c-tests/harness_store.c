/* Files, certificates and counters of the host store's tests, see harness_store.h. */
#include "harness_store.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>

/* ---- the library's functions ----------------------------------------------------------------- */

int attach_store(SSL_CTX *ctx, const char *url)
{
    int (*attach)(SSL_CTX *, const char *);

    *(void **)&attach = dlsym(RTLD_DEFAULT, "sesscache_store_attach");
    REQUIRE(attach != NULL);
    return attach(ctx, url);
}

int read_stats(const SSL_CTX *ctx, struct sesscache_stats *stats, size_t size)
{
    int (*read)(const SSL_CTX *, struct sesscache_stats *, size_t);

    *(void **)&read = dlsym(RTLD_DEFAULT, "sesscache_store_stats");
    REQUIRE(read != NULL);
    return read(ctx, stats, size);
}

struct sesscache_stats stats_of(const SSL_CTX *ctx)
{
    struct sesscache_stats stats;

    memset(&stats, 0, sizeof(stats));
    CHECK_INT(read_stats(ctx, &stats, sizeof(stats)), 1);
    return stats;
}

int has_store(const SSL_CTX *ctx)
{
    struct sesscache_stats stats;

    return read_stats(ctx, &stats, sizeof(stats));
}

void empty_cache(SSL_CTX *server)
{
    long size = SSL_CTX_sess_get_cache_size(server);
    SSL_SESSION *last = make_session(server, TLS1_2_VERSION, 1);

    SSL_CTX_sess_set_cache_size(server, 1);
    CHECK_INT(SSL_CTX_add_session(server, last), 1);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(SSL_CTX_remove_session(server, last), 1);
    SSL_SESSION_free(last);
    SSL_CTX_sess_set_cache_size(server, size);
}

void set_time_unseen(SSL_SESSION *session, long seconds)
{
    long (*set_time)(SSL_SESSION *, long);
    SSL_SESSION *other = SSL_SESSION_new();
    void *libssl;
    Dl_info place;

    REQUIRE(dladdr(dlsym(RTLD_DEFAULT, "SSL_get_version"), &place) != 0);
    REQUIRE((libssl = dlopen(place.dli_fname, RTLD_LAZY | RTLD_NOLOAD)) != NULL);
    /* Since OpenSSL 3.3 SSL_SESSION_set_time calls this one, by its name. */
    *(void **)&set_time = dlsym(libssl, "SSL_SESSION_set_time_ex");
    if (set_time == NULL)
        *(void **)&set_time = dlsym(libssl, "SSL_SESSION_set_time");
    REQUIRE(set_time != NULL);
    set_time(session, seconds);
    dlclose(libssl);
    /* The next flush is to look at every session. */
    SSL_SESSION_set_timeout(other, 1);
    SSL_SESSION_free(other);
}

/* ---- files ----------------------------------------------------------------------------------- */

const char *path_of(const char *name)
{
    static char paths[8][PATH_SIZE];
    static char folder[PATH_SIZE / 2];
    static unsigned int turn;
    char *path = paths[turn++ % 8];

    /* Not in a chroot, where the folder has another name. */
    if (*folder == '\0')
        REQUIRE(getcwd(folder, sizeof(folder)) != NULL);
    snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return path;
}

void write_file(const char *name, const void *bytes, size_t length, mode_t mode)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    REQUIRE(file >= 0);
    REQUIRE(write(file, bytes, length) == (ssize_t)length);
    REQUIRE(fchmod(file, mode) == 0);
    close(file);
}

unsigned char *read_file(const char *name, size_t *length)
{
    int file = open(name, O_RDONLY | O_NONBLOCK);
    struct stat status;
    unsigned char *bytes;

    *length = 0;
    if (file < 0)
        return NULL;
    REQUIRE(fstat(file, &status) == 0);
    REQUIRE((bytes = malloc((size_t)status.st_size + 1)) != NULL);
    while (*length < (size_t)status.st_size) {
        ssize_t got = read(file, bytes + *length, (size_t)status.st_size - *length);

        if (got <= 0)
            break;
        *length += (size_t)got;
    }
    close(file);
    return bytes;
}

void write_keys(const char *name, int seed, int count)
{
    char text[4096] = "# written by a test\n\n";
    size_t length = strlen(text);

    for (int key = 0; key < count; key++) {
        for (int i = 0; i < 32; i++)
            length += (size_t)snprintf(
                text + length, sizeof(text) - length, "%02x", (seed + key) * 37 % 251 ^ i);
        length += (size_t)snprintf(text + length, sizeof(text) - length, " 2026-11-25\n");
    }
    write_file(name, text, length, 0600);
}

int log_lines(const char *name, const char *part)
{
    FILE *file = fopen(name, "r");
    char line[4096];
    int count = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, part) != NULL;
    fclose(file);
    return count;
}

void save_session(const char *name, SSL_SESSION *session)
{
    unsigned char *der = NULL;
    int length = i2d_SSL_SESSION(session, &der);

    REQUIRE(length > 0);
    write_file(name, der, (size_t)length, 0600);
    OPENSSL_free(der);
}

SSL_SESSION *load_session(const char *name)
{
    size_t length;
    unsigned char *der = read_file(name, &length);
    const unsigned char *start = der;
    SSL_SESSION *session;

    REQUIRE(der != NULL);
    REQUIRE((session = d2i_SSL_SESSION(NULL, &start, (long)length)) != NULL);
    free(der);
    return session;
}

const char *file_store(const char *name)
{
    static char variable[URL_SIZE];

    snprintf(variable, sizeof(variable), "SESSCACHE_STORE=file:%s?size=1MiB", path_of(name));
    return variable;
}

const char *key_file(const char *name)
{
    static char variable[URL_SIZE];

    snprintf(variable, sizeof(variable), "SESSCACHE_KEY_FILE=%s", path_of(name));
    return variable;
}

/* ---- certificates ---------------------------------------------------------------------------- */

struct identity new_identity(const char *name, long ends_in)
{
    struct identity identity = { EVP_EC_gen("P-256"), X509_new() };
    X509 *certificate = identity.certificate;
    X509_NAME *subject = X509_NAME_new();
    static long serial = 1000;

    REQUIRE(identity.key != NULL && certificate != NULL && subject != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), ends_in);
    X509_set_pubkey(certificate, identity.key);
    X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_subject_name(certificate, subject);
    X509_set_issuer_name(certificate, subject);
    X509_NAME_free(subject);
    REQUIRE(X509_sign(certificate, identity.key, EVP_sha256()) > 0);
    return identity;
}

void use_identity(SSL_CTX *ctx, const struct identity *identity)
{
    REQUIRE(SSL_CTX_use_certificate(ctx, identity->certificate) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(ctx, identity->key) == 1);
}

void free_identity(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    identity->key = NULL;
    identity->certificate = NULL;
}

static struct identity host;

static void free_host(void)
{
    free_identity(&host);
}

const struct identity *host_identity(void)
{
    static const char name[] = "host.pem";
    BIO *file;

    if (host.key != NULL)
        return &host;
    if (access(name, R_OK) == 0) {
        REQUIRE((file = BIO_new_file(name, "r")) != NULL);
        host.key = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);
        host.certificate = PEM_read_bio_X509(file, NULL, NULL, NULL);
    } else {
        host = new_identity("host.example", 30L * 24 * 3600);
        REQUIRE((file = BIO_new_file(name, "w")) != NULL);
        REQUIRE(PEM_write_bio_PrivateKey(file, host.key, NULL, NULL, 0, NULL, NULL) == 1);
        REQUIRE(PEM_write_bio_X509(file, host.certificate) == 1);
    }
    BIO_free(file);
    REQUIRE(host.key != NULL && host.certificate != NULL);
    atexit(free_host);
    ERR_clear_error();
    return &host;
}

SSL_CTX *new_host(const struct protocol *p)
{
    SSL_CTX *server = new_server(p);

    use_identity(server, host_identity());
    return server;
}

int accept_every(int preverified, X509_STORE_CTX *store)
{
    (void)preverified, (void)store;
    return 1;
}
