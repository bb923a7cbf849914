/*
 * The application's data in tickets (SSL_CTX_set_session_ticket_cb): its callbacks, and whoever asks
 * a session for the data, see what the application put in and nothing else; in tickets of both
 * versions, in new_cb, after the handshake, and of a copy made from DER. What the callbacks answer
 * holds. With keys of the library's and with the application's own, and with neither callback.
 *
 * Each connection is told as one line, which stock has alike: g generate, n new_cb, d decrypt with
 * its status, a after the handshake, c the client; each with the data that was seen there.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is seen ---------------------------------------------------------------------------- */

static char trace[1024];

static void see(const char *event, SSL_SESSION *session)
{
    void *data = NULL;
    size_t length = 0, end = strlen(trace);
    int result = session != NULL ? SSL_SESSION_get0_ticket_appdata(session, &data, &length) : -1;

    if (length > 20)
        snprintf(trace + end, sizeof(trace) - end, " %s:%d:%zu bytes", event, result, length);
    else
        snprintf(trace + end, sizeof(trace) - end, " %s:%d:'%.*s'", event, result, (int)length,
                 data != NULL ? (const char *)data : "");
}

static void see_copy(const char *event, SSL_SESSION *session)
{
    unsigned char *der = NULL;
    const unsigned char *start;
    int length = i2d_SSL_SESSION(session, &der);
    SSL_SESSION *copy;

    REQUIRE(length > 0);
    start = der;
    REQUIRE((copy = d2i_SSL_SESSION(NULL, &start, length)) != NULL);
    see(event, copy);
    SSL_SESSION_free(copy);
    OPENSSL_free(der);
    REQUIRE((copy = SSL_SESSION_dup(session)) != NULL);
    see(event, copy);
    SSL_SESSION_free(copy);
}

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    see("n", session);
    see_copy("n", session);
    SSL_SESSION_free(session);
    return 1;
}

/* ---- an application -------------------------------------------------------------------------- */

struct application {
    const char *name;
    int has_callbacks, has_keys;
    const char *data; /* NULL: puts none in */
    size_t length;
    SSL_TICKET_RETURN answer;
    int generates; /* what its generate callback returns */
};

static unsigned char much[1000];

static const struct application applications[] = {
    { "no callbacks", 0, 0, NULL, 0, 0, 1 },
    { "no data", 1, 0, NULL, 0, SSL_TICKET_RETURN_USE, 1 },
    { "data", 1, 0, "mine", 4, SSL_TICKET_RETURN_USE, 1 },
    { "no bytes of data", 1, 0, "", 0, SSL_TICKET_RETURN_USE, 1 },
    { "much data", 1, 0, (const char *)much, sizeof(much), SSL_TICKET_RETURN_USE, 1 },
    { "data, renewed", 1, 0, "mine", 4, SSL_TICKET_RETURN_USE_RENEW, 1 },
    { "data, ignored", 1, 0, "mine", 4, SSL_TICKET_RETURN_IGNORE, 1 },
    { "data, ignored and renewed", 1, 0, "mine", 4, SSL_TICKET_RETURN_IGNORE_RENEW, 1 },
    { "data, aborted", 1, 0, "mine", 4, SSL_TICKET_RETURN_ABORT, 1 },
    { "no ticket", 1, 0, NULL, 0, SSL_TICKET_RETURN_USE, 0 },
    { "own keys", 0, 1, NULL, 0, 0, 1 },
    { "own keys, data", 1, 1, "mine", 4, SSL_TICKET_RETURN_USE, 1 },
};

static const struct application *application;
static int argument_here;

static int generate_cb(SSL *ssl, void *argument)
{
    SSL_SESSION *session = SSL_get_session(ssl);

    CHECK_PTR(argument, &argument_here);
    see("g", session);
    if (application->data != NULL)
        CHECK_INT(SSL_SESSION_set1_ticket_appdata(
                      session, application->data, application->length), 1);
    see("g", session);
    return application->generates;
}

static SSL_TICKET_RETURN decrypt_cb(SSL *ssl, SSL_SESSION *session, const unsigned char *key_name,
                                    size_t length, SSL_TICKET_STATUS status, void *argument)
{
    char event[32];

    (void)ssl, (void)key_name;
    CHECK_PTR(argument, &argument_here);
    snprintf(event, sizeof(event), "d%d,%zu", (int)status, length);
    see(event, session);
    if (status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW)
        return application->answer;
    return SSL_TICKET_RETURN_IGNORE_RENEW;
}

/* Whose options are OpenSSL's and the library's. */
static SSL_CTX *new_plain_host(const struct protocol *p)
{
    SSL_CTX *server = SSL_CTX_new(p->is_dtls ? DTLS_server_method() : TLS_server_method());

    REQUIRE(server != NULL);
    SSL_CTX_set_min_proto_version(server, p->version);
    SSL_CTX_set_max_proto_version(server, p->version);
    SSL_CTX_set_options(server, SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4);
    use_identity(server, host_identity());
    return server;
}

static void open_server(const struct way *way)
{
    static unsigned char keys[80] = "one key of the application's own, for names, ciphers and macs";

    own_server = variable_is("TEST_SETTING", "off") ? new_plain_host(way->protocol)
                                                    : new_host_for(way);
    own_client = new_client_for(way, "none");
    SSL_CTX_sess_set_new_cb(own_server, new_cb);
    if (application->has_callbacks)
        REQUIRE(SSL_CTX_set_session_ticket_cb(
                    own_server, generate_cb, decrypt_cb, &argument_here) == 1);
    if (application->has_keys)
        REQUIRE(SSL_CTX_set_tlsext_ticket_keys(own_server, keys, sizeof(keys)) == 1);
}

/* ---- connections ----------------------------------------------------------------------------- */

static int shake_hands(const char *what, SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed = -1;

    trace[0] = '\0';
    *made = NULL;
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        see("a", SSL_get_session(c.server));
        see_copy("a", SSL_get_session(c.server));
        see("c", SSL_get_session(c.client));
        *made = SSL_get1_session(c.client);
    }
    if (what != NULL)
        report(what, resumed);
    connection_close(&c);
    return resumed;
}

static void tell(const char *what, SSL_SESSION *offer, SSL_SESSION **made)
{
    char seen[64];

    (void)shake_hands(what, offer, made);
    snprintf(seen, sizeof(seen), "%s, seen", what);
    report_text(seen, trace);
}

/*
 * OpenSSL leaks the session of a TLS 1.3 ticket when the callback aborts (3.0 to 3.6). Where the
 * library is to turn tickets off, they stay for a callback that decides about them.
 */
static int is_tried(const struct way *way)
{
    if (variable_is("TEST_SETTING", "off") && (!way->by_ticket || !application->has_callbacks))
        return 0;
    return way->protocol->version != TLS1_3_VERSION
        || application->answer != SSL_TICKET_RETURN_ABORT;
}

static const char *file_of(const struct way *way)
{
    static char file[128];

    snprintf(file, sizeof(file), "%s, %s.session", application->name, way->name);
    return file;
}

static void in_one_process(void)
{
    for (size_t i = 0; i < sizeof(applications) / sizeof(applications[0]); i++)
        FOR_EACH_WAY(way) {
            SSL_SESSION *session, *successor, *last;

            application = &applications[i];
            if (!is_tried(way))
                continue;
            section("%s %s, %s", getenv("TEST_SETTING"), way->name, application->name);
            open_server(way);
            tell("full", NULL, &session);
            if (session != NULL) {
                save_session(file_of(way), session);
                tell("first", session, &successor);
                tell("again", successor != NULL ? successor : session, &last);
                SSL_SESSION_free(successor);
                SSL_SESSION_free(last);
            }
            SSL_SESSION_free(session);
            free_own_contexts();
        }
}

/* ---- another process ------------------------------------------------------------------------- */

/* The application's data came with the ticket, and its answer holds here, too. */
static void check_foreign(const struct way *way, SSL_SESSION *session)
{
    int uses = !application->has_callbacks || application->answer == SSL_TICKET_RETURN_USE
        || application->answer == SSL_TICKET_RETURN_USE_RENEW;
    int is_asked = way->by_ticket && application->has_callbacks;
    SSL_SESSION *made;
    int resumed = shake_hands(NULL, session, &made);

    /* There the keys are libssl's, and nobody opens another's ticket. */
    if (variable_is("TEST_SETTING", "off"))
        CHECK_INT(resumed, 0);
    else if (is_asked && application->answer == SSL_TICKET_RETURN_ABORT)
        CHECK_INT(resumed, -1);
    else
        CHECK_INT(resumed, !is_asked || uses);
    if (is_asked && resumed == 1)
        CHECK(strstr(trace, application->length == 4 ? ":'mine'"
                            : application->length > 20 ? ":1000 bytes" : ":''") != NULL);
    CHECK(strstr(trace, " bytes") == NULL || application->length > 20);
    SSL_SESSION_free(made);
}

static void in_another_process(void)
{
    for (size_t i = 0; i < sizeof(applications) / sizeof(applications[0]); i++)
        FOR_EACH_WAY(way) {
            SSL_SESSION *session;

            application = &applications[i];
            if (!is_tried(way) || !application->generates
                || (application->has_keys && way->by_ticket))
                continue;
            section("%s %s, %s, another process", getenv("TEST_SETTING"), way->name,
                    application->name);
            session = load_session(file_of(way));
            open_server(way);
            if (overlaid())
                check_foreign(way, session);
            SSL_SESSION_free(session);
            free_own_contexts();
        }
}

static const struct named_function functions[]
    = { NAMED(in_one_process), NAMED(in_another_process), { NULL, NULL } };

static void run(const char *setting, const char *store, const char *keys)
{
    RUN_AGAIN(in_one_process, setting, store, keys);
    if (store != NULL && keys != NULL)
        RUN_AGAIN(in_another_process, setting, store, keys);
}

int main(int argc, char **argv)
{
    memset(much, 'm', sizeof(much));
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(in_one_process, "TEST_SETTING=nothing");
    run("TEST_SETTING=keys", key_file("keys"), NULL);
    run("TEST_SETTING=store", file_store("store"), NULL);
    RUN_AGAIN(in_one_process, "TEST_SETTING=off", file_store("store"), key_file("keys"),
              "SESSCACHE_TICKETS=off");
    RUN_AGAIN(in_another_process, "TEST_SETTING=off", file_store("store"), key_file("keys"),
              "SESSCACHE_TICKETS=off");
    run("TEST_SETTING=both", file_store("store"), key_file("keys"));
    return test_end();
}
