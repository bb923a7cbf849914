/*
 * The memory of a server that goes on and on: many handshakes on one context, then many contexts
 * that are made, used and freed. slope.py runs it and says what the points mean.
 *
 *   slope tls12|tls13 id|ticket callbacks|plain HANDSHAKES CONTEXTS
 *
 *   ticket     stateless ones, else sessions are found by their id
 *   callbacks  new_cb, remove_cb and get_cb of an application that holds some sessions itself
 *
 * Of four handshakes one is full, one resumes, and one resumes and is broken off half way. The
 * fourth, in turn a full one and a resumed one, is freed without a close_notify, which removes its
 * session in TLS 1.2. A context is made, makes a full and a resumed handshake, and is freed.
 *
 * Prints "way stock" or "way ours", and at each tenth of a phase, beginning with 0:
 *   PHASE COUNT HEAP RSS      in bytes: what malloc has given out, and the resident set without the
 *                             shared memory of a store, which has a size of its own
 */
#include "handshake.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 10, CACHED = 1000, KEPT = 64, NAMES = 4 };

static struct {
    int version, has_tickets, has_callbacks;
    EVP_PKEY *key;
    X509 *certificate;
    SSL_CTX *client;
} setup;

/* ---- the application's own sessions ---------------------------------------------------------- */

static SSL_SESSION *kept[KEPT];
static unsigned int next_kept;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **place = &kept[next_kept++ % KEPT];

    (void)ssl;
    SSL_SESSION_free(*place);
    *place = session;
    return 1;
}

static SSL_SESSION *find_session(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl;
    *copy = 1;
    for (int i = 0; i < KEPT; i++) {
        unsigned int its_length = 0;
        const unsigned char *its = kept[i] == NULL ? id : SSL_SESSION_get_id(kept[i], &its_length);

        if (its_length == (unsigned int)length && memcmp(its, id, its_length) == 0)
            return kept[i];
    }
    return NULL;
}

static void forget_session(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx;
    for (int i = 0; i < KEPT; i++) {
        if (kept[i] == session) {
            kept[i] = NULL;
            SSL_SESSION_free(session);
        }
    }
}

/* ---- contexts -------------------------------------------------------------------------------- */

static SSL_CTX *make_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    REQUIRE(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, setup.version) == 1);
    REQUIRE(SSL_CTX_set_max_proto_version(ctx, setup.version) == 1);
    return ctx;
}

static SSL_CTX *make_serving_context(void)
{
    static const unsigned char name[] = "slope";
    SSL_CTX *ctx = make_context(TLS_server_method());

    REQUIRE(SSL_CTX_use_certificate(ctx, setup.certificate) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(ctx, setup.key) == 1);
    REQUIRE(SSL_CTX_set_session_id_context(ctx, name, sizeof(name)) == 1);
    SSL_CTX_sess_set_cache_size(ctx, CACHED);
    if (!setup.has_tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (setup.has_callbacks) {
        SSL_CTX_sess_set_new_cb(ctx, keep_session);
        SSL_CTX_sess_set_get_cb(ctx, find_session);
        SSL_CTX_sess_set_remove_cb(ctx, forget_session);
    }
    return ctx;
}

static const char *way(SSL_CTX *ctx)
{
    int (*is_active)(const SSL_CTX *) =
        (int (*)(const SSL_CTX *))dlsym(RTLD_DEFAULT, "sesscache_is_active");

    return is_active != NULL && is_active(ctx) ? "ours" : "stock";
}

/* ---- a handshake ----------------------------------------------------------------------------- */

enum end { IN_ORDER, UNCLEAN, HALF_WAY };

static void free_pair(SSL *server, SSL *client, enum end end)
{
    if (end == IN_ORDER) {
        SSL_shutdown(client);
        SSL_shutdown(server);
        SSL_shutdown(server);
        SSL_shutdown(client);
    }
    SSL_free(server);
    SSL_free(client);
}

static void drive(SSL *server, SSL *client, enum end end)
{
    enum { MOST_FLIGHTS = 10 };
    char byte;

    SSL_do_handshake(client);
    SSL_do_handshake(server);
    if (end == HALF_WAY)
        return;
    for (int i = 0; i < MOST_FLIGHTS && !SSL_is_init_finished(server); i++) {
        SSL_do_handshake(client);
        SSL_do_handshake(server);
    }
    SSL_do_handshake(client);
    REQUIRE(SSL_is_init_finished(server) && SSL_is_init_finished(client));
    /* There is nothing to read but the tickets of TLS 1.3. */
    REQUIRE(SSL_read(client, &byte, 1) < 0);
}

/* The offer is NULL or the caller's; the session of the connection takes its place. */
static void shake_hands(SSL_CTX *ctx, unsigned int number, SSL_SESSION **offer, enum end end)
{
    SSL *server = SSL_new(ctx), *client = SSL_new(setup.client);
    BIO *server_bio, *client_bio;
    char name[32];

    snprintf(name, sizeof(name), "host%u.test", number % NAMES);
    REQUIRE(server != NULL && client != NULL && SSL_set_tlsext_host_name(client, name));
    REQUIRE(BIO_new_bio_pair(&server_bio, 0, &client_bio, 0));
    SSL_set_bio(server, server_bio, server_bio);
    SSL_set_bio(client, client_bio, client_bio);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    REQUIRE(*offer == NULL || SSL_set_session(client, *offer));
    drive(server, client, end);
    if (end != HALF_WAY) {
        REQUIRE(SSL_session_reused(server) == (*offer != NULL));
        SSL_SESSION_free(*offer);
        *offer = SSL_get1_session(client);
    }
    free_pair(server, client, end);
}

static void four_handshakes(SSL_CTX *ctx, unsigned int number)
{
    static const enum end ends[] = { IN_ORDER, IN_ORDER, HALF_WAY, UNCLEAN };
    SSL_SESSION *offer = NULL;

    for (int i = 0; i < 4; i++) {
        if (ends[i] == UNCLEAN && number % 2 == 0) {
            SSL_SESSION_free(offer);
            offer = NULL;
        }
        shake_hands(ctx, number, &offer, ends[i]);
    }
    SSL_SESSION_free(offer);
}

static void one_context(unsigned int number)
{
    SSL_CTX *ctx = make_serving_context();
    SSL_SESSION *offer = NULL;

    shake_hands(ctx, number, &offer, IN_ORDER);
    shake_hands(ctx, number, &offer, IN_ORDER);
    SSL_SESSION_free(offer);
    SSL_CTX_free(ctx);
}

/* ---- points ---------------------------------------------------------------------------------- */

static unsigned long resident_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    unsigned long kib, sum = 0;
    char line[256];

    REQUIRE(status != NULL);
    while (fgets(line, sizeof(line), status) != NULL)
        if (sscanf(line, "RssAnon: %lu", &kib) == 1 || sscanf(line, "RssFile: %lu", &kib) == 1)
            sum += kib;
    fclose(status);
    return sum * 1024;
}

static void point(const char *phase, unsigned int count)
{
    struct mallinfo2 heap = mallinfo2();

    printf("%s %u %zu %lu\n", phase, count, heap.uordblks + heap.hblkhd, resident_bytes());
}

int main(int argc, char **argv)
{
    unsigned int handshakes, contexts;
    SSL_CTX *ctx;

    REQUIRE(argc == 6);
    setup.version = strcmp(argv[1], "tls13") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    setup.has_tickets = strcmp(argv[2], "ticket") == 0;
    setup.has_callbacks = strcmp(argv[3], "callbacks") == 0;
    handshakes = (unsigned int)atoi(argv[4]) / 4 / POINTS;
    contexts = (unsigned int)atoi(argv[5]) / POINTS;
    setup.key = make_key(0);
    setup.certificate = make_certificate("slope", setup.key, NULL, NULL);
    setup.client = make_context(TLS_client_method());
    ctx = make_serving_context();
    printf("way %s\n", way(ctx));
    for (unsigned int i = 0; i <= handshakes * POINTS; i++) {
        if (i % handshakes == 0)
            point("handshakes", 4 * i);
        four_handshakes(ctx, i);
    }
    SSL_CTX_free(ctx);
    for (unsigned int i = 0; i <= contexts * POINTS; i++) {
        if (i % contexts == 0)
            point("contexts", i);
        one_context(i);
    }
    return 0;
}
