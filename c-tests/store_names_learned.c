/*
 * A server name that a servername callback has led elsewhere than before, to another trust store or
 * another host, is uncertain for a minute: foreign sessions are full handshakes. Then the name is
 * learned again, and they resume. A host that asks for certificates after the handshake in TLS 1.3
 * asks in the handshake of TLS 1.2; a name is learned for each of them.
 */
#include "harness_admission.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static SSL_CTX *named, *other_named;
static SSL_CTX *first, *second; /* with the same virtual hosts; each is foreign to the other */

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    (void)alert, (void)argument;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, named), named);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(named), NULL);
    return SSL_TLSEXT_ERR_OK;
}

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, SSL_SESSION **made)
{
    struct connection c = connection_new(server, client);

    CHECK_INT(SSL_set_tlsext_host_name(c.client, "host.example"), 1);
    return finish_offering(&c, session, made);
}

static SSL_CTX *front_for(const struct way *way)
{
    SSL_CTX *server = new_host_for(way);

    SSL_CTX_set_tlsext_servername_callback(server, servername_cb);
    return server;
}

static SSL_CTX *requiring_host(const struct way *way)
{
    SSL_CTX *host = new_host_for(way);

    trust(host, "root");
    require_client(host);
    return host;
}

static void replace_trust_store(void)
{
    X509_STORE *store = X509_STORE_new();

    REQUIRE(X509_STORE_add_cert(store, identity_named("root")->certificate) == 1);
    SSL_CTX_set_cert_store(named, store);
}

static void switch_hosts(void)
{
    SSL_CTX *before = named;

    named = other_named;
    other_named = before;
}

/* ---- elsewhere, for a minute ----------------------------------------------------------------- */

static void lead_elsewhere(const char *what, const struct way *way, void (*change)(void))
{
    SSL_CTX *client = new_client_for(way, "good");
    SSL_SESSION *session;

    section("%s, %s", what, way->name);
    set_ahead(0);
    named = requiring_host(way);
    other_named = requiring_host(way);
    first = front_for(way);
    second = front_for(way);
    CHECK_INT(offer(first, client, NULL, &session), 0);
    CHECK_INT(offer(second, client, NULL, NULL), 0);
    CHECK_INT(offer(second, client, session, NULL), 1);
    change();
    /* The first one teaches that the name leads elsewhere, however it ends. */
    CHECK(offer(second, client, session, NULL) >= 0);
    CHECK_INT(offer(second, client, session, NULL), 0);
    set_ahead(50);
    CHECK_INT(offer(second, client, session, NULL), 0);
    set_ahead(70);
    CHECK_INT(offer(second, client, session, NULL), 1);
    /* And once more. */
    change();
    CHECK(offer(second, client, session, NULL) >= 0);
    CHECK_INT(offer(second, client, session, NULL), 0);
    set_ahead(140);
    CHECK_INT(offer(second, client, session, NULL), 1);
    CHECK_INT(offer(second, client, session, NULL), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    SSL_CTX_free(named);
    SSL_CTX_free(other_named);
    SSL_CTX_free(client);
}

/* A client who is let in by neither of them, at no time. */
static void lead_where_it_is_refused(const struct way *way)
{
    SSL_CTX *client = new_client_for(way, "bad");
    SSL_SESSION *session;

    section("revoked there, %s", way->name);
    set_ahead(0);
    named = requiring_host(way);
    other_named = requiring_host(way);
    use_revoked(other_named, "after");
    first = front_for(way);
    second = front_for(way);
    CHECK_INT(offer(first, client, NULL, &session), 0);
    CHECK_INT(offer(second, client, NULL, NULL), 0);
    CHECK_INT(offer(second, client, session, NULL), 1);
    switch_hosts();
    for (int ahead = 0; ahead <= 200; ahead += 50) {
        set_ahead(ahead);
        CHECK(offer(second, client, session, NULL) <= 0);
        CHECK_INT(offer(second, client, NULL, NULL), -1);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    SSL_CTX_free(named);
    SSL_CTX_free(other_named);
    SSL_CTX_free(client);
}

static void elsewhere(void)
{
    FOR_EACH_WAY(way) {
        lead_elsewhere("another trust store", way, replace_trust_store);
        lead_elsewhere("another host", way, switch_hosts);
        lead_where_it_is_refused(way);
    }
}

/* ---- asked after the handshake --------------------------------------------------------------- */

static SSL_CTX *for_both_versions(SSL_CTX *ctx)
{
    CHECK_INT(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION), 1);
    CHECK_INT(SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION), 1);
    return ctx;
}

/* The host asks from now on: in TLS 1.2 in the handshake, in TLS 1.3 after it. */
static void ask_after_handshake(int by_ticket, int mode, const char *who)
{
    const struct way *tls12 = &ways[by_ticket], *tls13 = &ways[2 + by_ticket];
    SSL_CTX *client12 = new_client_for(tls12, who), *client13 = new_client_for(tls13, who);
    SSL_SESSION *session12, *session13;
    int full;

    section("after the handshake, mode %d, client %s, by ticket %d", mode, who, by_ticket);
    set_ahead(0);
    named = for_both_versions(new_host_for(tls13));
    trust(named, "root");
    first = for_both_versions(front_for(tls13));
    second = for_both_versions(front_for(tls13));
    CHECK_INT(offer(first, client12, NULL, &session12), 0);
    CHECK_INT(offer(first, client13, NULL, &session13), 0);
    SSL_CTX_set_verify(named, mode | SSL_VERIFY_POST_HANDSHAKE, NULL);
    CHECK_INT(offer(second, client13, NULL, NULL), 0);
    CHECK_INT(offer(second, client13, session13, NULL), 1);
    /* What was learned in TLS 1.3 is nothing to go by here, and would end with an alert. */
    full = offer(second, client12, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(offer(second, client12, session12, NULL), full);
        CHECK_INT(offer(second, client13, session13, NULL), 1);
    }
    SSL_SESSION_free(session12);
    SSL_SESSION_free(session13);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    SSL_CTX_free(named);
    SSL_CTX_free(client12);
    SSL_CTX_free(client13);
}

static void after_handshake(void)
{
    enum { REQUIRES = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT };

    for (int by_ticket = 0; by_ticket < 2; by_ticket++) {
        ask_after_handshake(by_ticket, SSL_VERIFY_PEER, "none");
        ask_after_handshake(by_ticket, SSL_VERIFY_PEER, "good");
        ask_after_handshake(by_ticket, REQUIRES, "none");
        ask_after_handshake(by_ticket, REQUIRES, "good");
    }
}

static const struct named_function functions[]
    = { NAMED(elsewhere), NAMED(after_handshake), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(elsewhere, file_store("store"), key_file("keys"));
    RUN_AGAIN(after_handshake, file_store("store"), key_file("keys"));
    return test_end();
}
