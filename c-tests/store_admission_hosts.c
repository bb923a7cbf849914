/*
 * Virtual hosts of which not all ask for certificates, or trust the same: a session from before the
 * restart resumes where the host that it is led to would let its client in. A ClientHello callback
 * has switched when libssl looks for the session; where a servername callback leads is known from
 * the first full handshake on.
 */
#include "harness_admission.h"

#include <string.h>

/* ---- hosts ----------------------------------------------------------------------------------- */

static SSL_CTX *named;

static void switch_to_named(SSL *ssl)
{
    CHECK_PTR(SSL_set_SSL_CTX(ssl, named), named);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(named), SSL_CTX_get_verify_callback(named));
    SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(named));
}

static int servername_cb(SSL *ssl, int *alert, void *argument)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert, (void)argument;
    if (name != NULL && strcmp(name, "host.example") == 0)
        switch_to_named(ssl);
    return SSL_TLSEXT_ERR_OK;
}

static int client_hello_cb(SSL *ssl, int *alert, void *argument)
{
    static const char name[] = "host.example";
    const unsigned char *bytes;
    size_t length, end = strlen(name);

    (void)alert, (void)argument;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &length) == 1
        && length > end && memcmp(bytes + length - end, name, end) == 0)
        switch_to_named(ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void require_root(SSL_CTX *host) { trust(host, "root"); require_client(host); }
static void require_both(SSL_CTX *host) { require_root(host); trust(host, "others"); }
static void require_unrevoked(SSL_CTX *host) { require_root(host); use_revoked(host, "after"); }

static void know_middle(SSL_CTX *host)
{
    require_root(host);
    trust(host, "middle");
}

static void lower_depth(SSL_CTX *host)
{
    know_middle(host);
    SSL_CTX_set_verify_depth(host, 0);
}

/* The named host is made here, and goes when the next one is made. */
static void add_named(void (*as)(SSL_CTX *))
{
    SSL_CTX_free(named);
    named = new_host_for(way_here);
    as(named);
}

/* PAIR: a default host and a named one, by either callback. */
#define PAIR(pair, of_default, of_named) \
    static void pair##_by_name(SSL_CTX *server) \
    { \
        of_default(server); \
        add_named(of_named); \
        SSL_CTX_set_tlsext_servername_callback(server, servername_cb); \
    } \
    static void pair##_by_hello(SSL_CTX *server) \
    { \
        of_default(server); \
        add_named(of_named); \
        SSL_CTX_set_client_hello_cb(server, client_hello_cb, NULL); \
    }

PAIR(neither, change_nothing, change_nothing)
PAIR(default_asks, require_root, change_nothing)
PAIR(named_asks, change_nothing, require_root)
PAIR(both_ask, require_root, require_root)
PAIR(named_trusts_both, change_nothing, require_both)
PAIR(named_unrevoked, change_nothing, require_unrevoked)
PAIR(named_deep, change_nothing, know_middle)
PAIR(named_shallow, change_nothing, lower_depth)
PAIR(default_unrevoked, require_unrevoked, require_root)

/* ---- what becomes of their sessions ---------------------------------------------------------- */

/* By name the counter is moved, too, but not by each connection that is not resumed. */
#define DECLINED .declined = COUNTER(declined_client)

static const struct rule rules[] = {
    { "default asks", default_asks_by_name, NULL, .stays = "none", .by_name = 1 },
    { "default asks, by hello", default_asks_by_hello, NULL, .stays = "none" },
    { "named asks", named_asks_by_name, NULL, .stays = "good", .by_name = 1 },
    { "named asks, by hello", named_asks_by_hello, NULL, .stays = "good" },
    { "named asks, no name", named_asks_by_name, NULL, .stays = "none", .name_before = "",
        .by_name = 1 },
    { "named asks, no name, by hello", named_asks_by_hello, NULL, .stays = "none",
        .name_before = "" },
    { "both ask", both_ask_by_name, NULL, .stays = "good", .by_name = 1 },
    { "both ask, by hello", both_ask_by_hello, NULL, .stays = "good" },
    { "neither asks", neither_by_name, NULL, .stays = "none" },
    /* Asked from now on. */
    { "named begins to ask", neither_by_name, named_asks_by_name, .gone = "none", .by_name = 1 },
    { "named begins to ask, shown", neither_by_name, named_asks_by_name, .gone = "none",
        .comes_as = "good", .by_name = 1 },
    { "named begins to ask, by hello", neither_by_hello, named_asks_by_hello, .gone = "none",
        DECLINED },
    { "named begins to ask, by hello, shown", neither_by_hello, named_asks_by_hello,
        .gone = "none", .comes_as = "good", DECLINED },
    { "default begins to ask", neither_by_name, default_asks_by_name, .stays = "none",
        .by_name = 1 },
    { "default begins to ask, by hello", neither_by_hello, default_asks_by_hello,
        .stays = "none" },
    /* Other clients let in. */
    { "named, revoked", named_asks_by_name, named_unrevoked_by_name, .gone = "bad",
        .stays = "good", .by_name = 1 },
    { "named, revoked, by hello", named_asks_by_hello, named_unrevoked_by_hello, .gone = "bad",
        .stays = "good", DECLINED },
    { "default, revoked", both_ask_by_name, default_unrevoked_by_name, .stays = "bad",
        .by_name = 1 },
    { "default, revoked, by hello", both_ask_by_hello, default_unrevoked_by_hello,
        .stays = "bad" },
    { "named, authority removed", named_trusts_both_by_name, named_asks_by_name,
        .gone = "other", .stays = "good", .by_name = 1 },
    { "named, authority removed, by hello", named_trusts_both_by_hello, named_asks_by_hello,
        .gone = "other", .stays = "good", DECLINED },
    { "named, depth lowered", named_deep_by_name, named_shallow_by_name, .gone = "deep",
        .stays = "good", .by_name = 1 },
    { "named, depth lowered, by hello", named_deep_by_hello, named_shallow_by_hello,
        .gone = "deep", .stays = "good", DECLINED },
    /* From the host that asks nobody, and to it. */
    { "from default to named", named_asks_by_hello, NULL, .gone = "none", .name_before = "",
        .name_after = "host.example" },
    { "from named to default", default_asks_by_hello, NULL, .gone = "none",
        .name_after = "" },
};

static const struct rule_list lists[] = { { RULES(rules), NULL, NULL } };

int main(int argc, char **argv)
{
    return main_with_rules(argc, argv, lists, 1);
}
