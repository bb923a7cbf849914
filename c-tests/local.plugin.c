/*
 * A module that brings libssl in, as Python's and Perl's do (local.c, dlopen.c). It has the whole
 * harness in it, and the proof of the overlay, since the program that loads it has no OpenSSL.
 */
#include "harness.c"
#include "harness_sessions.c"
#include "harness_tls.c"
#include "proof.c"

int plugin_live(void);
SSL_CTX *plugin_leave(void);

static int index_of_ctx = -1;

/* Fact 6: when the context goes, remove_cb still finds what the application attached. */
static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)session;
    CHECK(SSL_CTX_get_ex_data(ctx, index_of_ctx) == ctx);
}

static void live(const struct protocol *p)
{
    struct recorder recorder = { .new_action = NEW_DECLINES, .get_copy = -1 };
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s", p->name);
    CHECK_INT(is_ours(server), overlaid());
    CHECK_INT(is_ours(client), overlaid());
    record(server, &recorder);
    SSL_SESSION_free(obtain_session(server, client));
    CHECK_INT(recorder.new_calls, 1);
    /* Clause 3 tells whose cache it is. */
    CHECK_INT(SSL_CTX_sess_number(server), overlaid() ? 0 : 1);
    SSL_CTX_flush_sessions(server, 0);
    recorder.new_action = NEW_FREES;
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(SSL_CTX_sess_hits(server), 1);
    CHECK_INT(SSL_CTX_remove_session(server, cached_on_server(server, session)), 1);
    CHECK_INT(resumes(server, client, session), 0);
    CHECK_INT(recorder.get_calls, 1);
    SSL_SESSION_free(session);
    CHECK_INT(SSL_CTX_set_ex_data(server, index_of_ctx, server), 1);
    SSL_CTX_sess_set_remove_cb(server, remove_cb);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

/* Contexts, handshakes, resumptions. 0 if all is as it should be. */
int plugin_live(void)
{
    if (index_of_ctx < 0)
        index_of_ctx = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    REQUIRE(index_of_ctx > 0);
    FOR_EACH_PROTOCOL(p)
        live(p);
    return test_end();
}

/* A context that outlives the module, with a session in its cache and no callback. */
SSL_CTX *plugin_leave(void)
{
    SSL_CTX *ctx = new_server(&protocols[0]);
    SSL_SESSION *session = make_session(ctx, TLS1_2_VERSION, 1);

    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    SSL_SESSION_free(session);
    return ctx;
}
