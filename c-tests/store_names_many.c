/*
 * A server of thousands of names, one of which asks for certificates. A foreign session resumes once
 * its name is known, however many others are known too, in each protocol. Names that somebody
 * invents do not push out those under which clients come back, the default host's included.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <string.h>
#include <openssl/err.h>

enum { NAMES = 10000, INVENTED = 6000, SAMPLES = 25 };

static SSL_CTX *plain, *asking;
static SSL_CTX *first, *second; /* with the same virtual hosts; each is foreign to the other */

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *host = NULL;

    (void)alert, (void)argument;
    if (name != NULL && strcmp(name, "asking.example") == 0)
        host = asking;
    else if (name != NULL && strncmp(name, "host-", 5) == 0)
        host = plain;
    if (host != NULL) {
        CHECK_PTR(SSL_set_SSL_CTX(ssl, host), host);
        SSL_set_verify(ssl, SSL_CTX_get_verify_mode(host), NULL);
    }
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server_of_both_versions(void)
{
    SSL_CTX *server = new_host(&protocols[0]);

    CHECK_INT(SSL_CTX_set_min_proto_version(server, TLS1_2_VERSION), 1);
    CHECK_INT(SSL_CTX_set_max_proto_version(server, TLS1_3_VERSION), 1);
    return server;
}

static void make_hosts(void)
{
    plain = server_of_both_versions();
    asking = server_of_both_versions();
    require_client(asking);
    trust(asking, "root");
    first = server_of_both_versions();
    second = server_of_both_versions();
    SSL_CTX_set_tlsext_servername_callback(first, servername_cb);
    SSL_CTX_set_tlsext_servername_callback(second, servername_cb);
}

static void free_hosts(void)
{
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    SSL_CTX_free(plain);
    SSL_CTX_free(asking);
}

static struct connection open_named(SSL_CTX *server, SSL_CTX *client, const char *name)
{
    struct connection c = connection_new(server, client);

    if (name[0] != '\0')
        CHECK_INT(SSL_set_tlsext_host_name(c.client, name), 1);
    return c;
}

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, const char *name, SSL_SESSION *session,
                 SSL_SESSION **made)
{
    struct connection c = open_named(server, client, name);

    return finish_offering(&c, session, made);
}

/* A client says whom it looks for, and is gone. */
static void knock(SSL_CTX *client, const char *name)
{
    struct connection c = open_named(second, client, name);

    CHECK_INT(SSL_connect(c.client), -1);
    CHECK_INT(SSL_accept(c.server), -1);
    connection_drop(&c);
    ERR_clear_error();
}

static const char *numbered(const char *kind, int number)
{
    static char name[40];

    snprintf(name, sizeof(name), "%s-%d.example", kind, number);
    return name;
}

/* The names under which a few clients come back: among the many, and the default host's. */
static const char *sampled(int number)
{
    if (number == 0)
        return "";
    if (number == 1)
        return "default.example";
    return numbered("host", number * (NAMES / SAMPLES));
}

static int fewer(int count)
{
    return is_under_valgrind() ? count / 100 : count;
}

static void many(void)
{
    make_hosts();
    for (size_t version = 0; version < 2; version++) {
        SSL_CTX *client = new_client(&protocols[version]);
        SSL_SESSION *sessions[SAMPLES];

        section("%s", protocols[version].name);
        for (int i = 0; i < SAMPLES; i++) {
            CHECK_INT(offer(first, client, sampled(i), NULL, &sessions[i]), 0);
            knock(client, sampled(i));
        }
        for (int i = 0; i < fewer(NAMES); i++)
            knock(client, numbered("host", i));
        for (int i = 0; i < SAMPLES; i++) {
            CHECK_INT(offer(second, client, sampled(i), sessions[i], NULL), 1);
            SSL_SESSION_free(sessions[i]);
        }
        SSL_CTX_free(client);
    }
    free_hosts();
}

static void invented(void)
{
    SSL_CTX *client = new_client(&protocols[0]), *known = new_client_for(&ways[0], "good");
    SSL_SESSION *sessions[SAMPLES], *with_certificate;

    make_hosts();
    CHECK_INT(offer(first, known, "asking.example", NULL, &with_certificate), 0);
    CHECK_INT(offer(second, known, "asking.example", with_certificate, NULL), 0);
    CHECK_INT(offer(second, known, "asking.example", with_certificate, NULL), 1);
    for (int i = 0; i < SAMPLES; i++) {
        CHECK_INT(offer(first, client, sampled(i), NULL, &sessions[i]), 0);
        /* The first offer teaches where the name leads. */
        CHECK_INT(offer(second, client, sampled(i), sessions[i], NULL), 0);
        CHECK_INT(offer(second, client, sampled(i), sessions[i], NULL), 1);
    }
    for (int i = 0; i < fewer(INVENTED); i++)
        knock(client, numbered("invented", i));
    for (int i = 0; i < SAMPLES; i++) {
        CHECK_INT(offer(second, client, sampled(i), sessions[i], NULL), 1);
        SSL_SESSION_free(sessions[i]);
    }
    CHECK_INT(offer(second, known, "asking.example", with_certificate, NULL), 1);
    SSL_SESSION_free(with_certificate);
    free_hosts();
    SSL_CTX_free(client);
    SSL_CTX_free(known);
}

static const struct named_function functions[]
    = { NAMED(many), NAMED(invented), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(many, file_store("store"), key_file("keys"));
    RUN_AGAIN(invented, file_store("store"), key_file("keys"));
    return test_end();
}
