/*
 * Clause 5: remove_cb is called once when a session leaves the internal cache, for each cause; what
 * is marked not resumable (fact 7); removal of sessions that are not cached (fact 8).
 * Flushes and timeouts have flush.c, full caches evict.c.
 */
#include "harness.h"

#include <time.h>

/* Two ends of one protocol, with the callbacks of both recorded and caches on both. */
struct pair {
    SSL_CTX *server, *client;
    struct recorder at_server, at_client;
};

static void pair_open(struct pair *pair, const struct protocol *p)
{
    *pair = (struct pair){ .at_server = { .get_copy = -1 }, .at_client = { .get_copy = -1 } };
    pair->server = new_server(p);
    pair->client = new_client(p);
    SSL_CTX_set_session_cache_mode(pair->client, SSL_SESS_CACHE_CLIENT);
    record(pair->server, &pair->at_server);
    record(pair->client, &pair->at_client);
}

static void pair_close(struct pair *pair)
{
    SSL_CTX_free(pair->client);
    SSL_CTX_free(pair->server);
}

static void report_pair(const struct pair *pair)
{
    report("server number", SSL_CTX_sess_number(pair->server));
    report("server remove calls", pair->at_server.remove_calls);
    report("client number", SSL_CTX_sess_number(pair->client));
    report("client remove calls", pair->at_client.remove_calls);
}

/* SSL_free without close_notify: the sessions of both ends go. */
static void unclean_close(const struct protocol *p, int is_resumption)
{
    struct pair pair;
    SSL_SESSION *session = NULL, *used;
    struct connection c;

    section("%s unclean close, %s", p->name, is_resumption ? "resumed" : "full");
    pair_open(&pair, p);
    if (is_resumption)
        session = obtain_session(pair.server, pair.client);
    c = connect_offering(pair.server, pair.client, session);
    CHECK_INT(connection_resumed(&c), is_resumption);
    used = SSL_get1_session(c.server);
    CHECK(is_cached(pair.server, used));
    pair.at_server.remove_calls = 0;
    connection_drop(&c);
    CHECK(!is_cached(pair.server, used));
    CHECK_INT(SSL_SESSION_is_resumable(used), 0);
    CHECK_INT(pair.at_server.remove_calls, 1);
    CHECK_PTR(pair.at_server.last_ctx, pair.server);
    report_pair(&pair);
    SSL_SESSION_free(used);
    SSL_SESSION_free(session);
    pair_close(&pair);
}

/* Clean is a close with a close_notify that was sent, or said to have been. */
static void clean_close(const struct protocol *p)
{
    struct pair pair;
    struct connection c;

    section("%s clean close", p->name);
    pair_open(&pair, p);
    c = connect_offering(pair.server, pair.client, NULL);
    SSL_set_shutdown(c.server, SSL_SENT_SHUTDOWN);
    SSL_set_quiet_shutdown(c.client, 1);
    CHECK_INT(SSL_shutdown(c.client), 1);
    connection_drop(&c);
    CHECK_INT(SSL_CTX_sess_number(pair.server), 1);
    CHECK_INT(SSL_CTX_sess_number(pair.client), 1);
    CHECK_INT(pair.at_server.remove_calls, 0);
    CHECK_INT(pair.at_client.remove_calls, 0);
    pair_close(&pair);
    CHECK_INT(pair.at_server.remove_calls, 1);
    CHECK_INT(pair.at_client.remove_calls, 1);
}

/* SSL_clear and SSL_set_session on a connection that still runs are unclean too. */
static void cleared(const struct protocol *p, int by_set_session)
{
    struct pair pair;
    struct connection c;

    section("%s %s", p->name, by_set_session ? "SSL_set_session" : "SSL_clear");
    pair_open(&pair, p);
    c = connect_offering(pair.server, pair.client, NULL);
    CHECK_INT(by_set_session ? SSL_set_session(c.server, NULL) : SSL_clear(c.server), 1);
    CHECK_INT(SSL_CTX_sess_number(pair.server), 0);
    CHECK_INT(pair.at_server.remove_calls, 1);
    connection_drop(&c);
    CHECK_INT(pair.at_server.remove_calls, 1);
    pair_close(&pair);
    CHECK_INT(pair.at_server.remove_calls, 1);
}

static int refuse_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
    const unsigned char *in, unsigned int in_length, void *argument)
{
    (void)ssl, (void)out, (void)out_length, (void)in, (void)in_length, (void)argument;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/*
 * A handshake that the server ends with a fatal alert, which the client reads. A resumption takes
 * the cached session with it on both sides; a full one calls remove_cb for what never was cached.
 */
static void alert_in_handshake(const struct protocol *p, int is_resumption)
{
    static const unsigned char alpn[] = { 2, 'h', '2' };
    struct pair pair;
    SSL_SESSION *session = NULL;
    struct connection c;

    section("%s alert in a %s handshake", p->name, is_resumption ? "resumed" : "full");
    pair_open(&pair, p);
    if (is_resumption) {
        session = obtain_session(pair.server, pair.client);
        CHECK_INT(SSL_CTX_sess_number(pair.server), 1);
    }
    SSL_CTX_set_alpn_select_cb(pair.server, refuse_alpn, NULL);
    c = connection_new(pair.server, pair.client);
    CHECK_INT(SSL_set_alpn_protos(c.client, alpn, sizeof(alpn)), 0);
    if (is_resumption)
        CHECK_INT(SSL_set_session(c.client, session), 1);
    CHECK_INT(connection_handshake(&c), 0);
    connection_drop(&c);
    CHECK_INT(SSL_CTX_sess_number(pair.server), 0);
    if (is_resumption)
        CHECK_INT(pair.at_server.remove_calls, 1);
    report_pair(&pair);
    if (session != NULL)
        report("offered is resumable", SSL_SESSION_is_resumable(session));
    SSL_SESSION_free(session);
    pair_close(&pair);
}

/* A record that does not decrypt, in a connection: one side sends the alert, one receives it. */
static void alert_in_connection(const struct protocol *p, int to_server)
{
    static const unsigned char record_bytes[5 + 64] = { 23, 3, 3, 0, 64 };
    struct pair pair;
    struct connection c;
    char byte;

    section("%s alert sent by the %s", p->name, to_server ? "server" : "client");
    pair_open(&pair, p);
    c = connect_offering(pair.server, pair.client, NULL);
    BIO_write(SSL_get_wbio(to_server ? c.client : c.server), record_bytes, sizeof(record_bytes));
    CHECK_INT(SSL_read(to_server ? c.server : c.client, &byte, 1), -1);
    CHECK_INT(SSL_CTX_sess_number(to_server ? pair.server : pair.client), 0);
    CHECK(SSL_read(to_server ? c.client : c.server, &byte, 1) <= 0);
    CHECK_INT(SSL_CTX_sess_number(pair.server), 0);
    CHECK_INT(SSL_CTX_sess_number(pair.client), 0);
    report("server remove calls", pair.at_server.remove_calls);
    report("client remove calls", pair.at_client.remove_calls);
    connection_drop(&c);
    report("server remove calls after free", pair.at_server.remove_calls);
    report("client remove calls after free", pair.at_client.remove_calls);
    pair_close(&pair);
}

/* SSL_CTX_remove_session of what is cached, what is not, a copy, a session without id, NULL. */
static void explicit_removal(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = make_session(ctx, p->version, 1);
    SSL_SESSION *stranger = make_session(ctx, p->version, 2);
    SSL_SESSION *copy, *nameless;
    struct session_id first = made_id(1), second = made_id(2);

    section("%s explicit", p->name);
    record(ctx, &recorder);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(SSL_CTX_remove_session(ctx, session), 1);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK(same_id(&recorder.last_removed, &first));
    CHECK_PTR(recorder.last_ctx, ctx);
    CHECK_INT(SSL_SESSION_is_resumable(session), 0);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);

    /* Fact 8: not cached (any more), and yet remove_cb. */
    CHECK_INT(SSL_CTX_remove_session(ctx, session), 0);
    CHECK_INT(recorder.remove_calls, 2);
    CHECK_INT(SSL_CTX_remove_session(ctx, stranger), 0);
    CHECK_INT(recorder.remove_calls, 3);
    CHECK(same_id(&recorder.last_removed, &second));
    CHECK_INT(SSL_SESSION_is_resumable(stranger), 0);

    CHECK_INT(SSL_CTX_remove_session(ctx, NULL), 0);
    nameless = SSL_SESSION_new();
    CHECK_INT(SSL_CTX_remove_session(ctx, nameless), 0);
    CHECK_INT(recorder.remove_calls, 3);
    SSL_SESSION_free(nameless);

    /* A copy names the session: the cached one goes, the copy is the one that is marked. */
    SSL_SESSION_free(stranger);
    stranger = make_session(ctx, p->version, 2);
    copy = SSL_SESSION_dup(stranger);
    CHECK_INT(SSL_CTX_add_session(ctx, stranger), 1);
    CHECK_INT(SSL_CTX_remove_session(ctx, copy), 1);
    CHECK_INT(recorder.remove_calls, 4);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    CHECK_INT(SSL_SESSION_is_resumable(copy), 0);
    report("is resumable after its copy was removed", SSL_SESSION_is_resumable(stranger));

    SSL_SESSION_free(copy);
    SSL_SESSION_free(stranger);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    CHECK_INT(recorder.remove_calls, 4);
}

/* A mark is for good, and yet the engine resumes a marked session that its own cache holds. */
static void added_again(const struct protocol *p)
{
    struct pair pair;
    SSL_SESSION *session, *cached;

    section("%s added again", p->name);
    pair_open(&pair, p);
    session = obtain_session(pair.server, pair.client);
    REQUIRE((cached = cached_on_server(pair.server, session)) != NULL);
    SSL_SESSION_up_ref(cached);
    CHECK_INT(SSL_CTX_remove_session(pair.server, cached), 1);
    CHECK_INT(resumes(pair.server, pair.client, session), 0);
    CHECK_INT(SSL_CTX_add_session(pair.server, cached), 1);
    CHECK_INT(SSL_SESSION_is_resumable(cached), 0);
    report("resumed", resumes(pair.server, pair.client, session));
    CHECK_INT(SSL_SESSION_is_resumable(cached), 0);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    pair_close(&pair);
}

/* Without a remove_cb the removals are the same. */
static void without_callback(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = make_session(ctx, p->version, 1);

    section("%s without remove_cb", p->name);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(SSL_CTX_remove_session(ctx, session), 1);
    CHECK_INT(SSL_CTX_remove_session(ctx, session), 0);
    CHECK_INT(SSL_SESSION_is_resumable(session), 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
}

/* Another session of the same id takes the place of the first: nothing left the cache. */
static void replacement(const struct protocol *p)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *session = make_session(ctx, p->version, 1);
    SSL_SESSION *other = make_session(ctx, p->version, 1);

    section("%s replacement", p->name);
    record(ctx, &recorder);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    CHECK_INT(SSL_CTX_add_session(ctx, other), 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
    CHECK(is_cached(ctx, other));
    CHECK_INT(recorder.remove_calls, 0);
    CHECK_INT(SSL_SESSION_is_resumable(session), 1);
    SSL_SESSION_free(session);
    SSL_SESSION_free(other);
    SSL_CTX_free(ctx);
    CHECK_INT(recorder.remove_calls, 1);
}

/* SSL_CTX_free: remove_cb for each session, with a ctx whose app_data is still there (fact 6). */
static void context_freed(const struct protocol *p)
{
    enum { SESSIONS = 5 };
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(p);
    SSL_SESSION *sessions[SESSIONS];

    section("%s context freed", p->name);
    record(ctx, &recorder);
    for (int i = 0; i < SESSIONS; i++) {
        sessions[i] = make_session(ctx, p->version, (unsigned int)i);
        CHECK_INT(SSL_CTX_add_session(ctx, sessions[i]), 1);
    }
    CHECK_INT(recorder.remove_calls, 0);
    SSL_CTX_free(ctx);
    CHECK_INT(recorder.remove_calls, SESSIONS);
    CHECK_PTR(recorder.last_ctx, ctx);
    for (int i = 0; i < SESSIONS; i++) {
        CHECK_INT(SSL_SESSION_is_resumable(sessions[i]), 0);
        SSL_SESSION_free(sessions[i]);
    }
}

/* Expired when it is looked up. Stock looks no further in TLS 1.3: it stays until a flush. */
static void expired_on_lookup(const struct protocol *p)
{
    struct pair pair;
    SSL_SESSION *session, *cached;

    section("%s expired on lookup", p->name);
    pair_open(&pair, p);
    SSL_CTX_set_session_cache_mode(
        pair.server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    session = obtain_session(pair.server, pair.client);
    REQUIRE((cached = cached_on_server(pair.server, session)) != NULL);
    SSL_SESSION_up_ref(cached);
    SSL_SESSION_set_time(cached, (long)time(NULL) - 100000);
    CHECK_INT(resumes(pair.server, pair.client, session), 0);
    report("is cached", is_cached(pair.server, cached));
    report("is resumable", SSL_SESSION_is_resumable(cached));
    report("timeouts", SSL_CTX_sess_timeouts(pair.server));
    report("get_cb calls", pair.at_server.get_calls);
    report("server remove calls", pair.at_server.remove_calls);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    pair_close(&pair);
}

/* Fact 8: in TLS 1.3 a client context that caches gives up the ticket it has used. */
static void client_resumption(const struct protocol *p)
{
    struct pair pair;
    SSL_SESSION *session;

    section("%s client resumption", p->name);
    pair_open(&pair, p);
    session = obtain_session(pair.server, pair.client);
    report("remove calls after the full handshake", pair.at_client.remove_calls);
    CHECK_INT(SSL_CTX_sess_number(pair.client), 1);
    CHECK_INT(resumes(pair.server, pair.client, session), 1);
    CHECK_INT(pair.at_client.remove_calls, p->version == TLS1_3_VERSION);
    CHECK_INT(SSL_SESSION_is_resumable(session), p->version != TLS1_3_VERSION);
    CHECK_INT(SSL_CTX_sess_number(pair.client), 1);
    /* Nor is a client that keeps its sessions outside spared, though nothing is cached. */
    SSL_CTX_set_session_cache_mode(
        pair.client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_SESSION_free(session);
    session = obtain_session(pair.server, pair.client);
    CHECK_INT(resumes(pair.server, pair.client, session), 1);
    report("remove calls in the end", pair.at_client.remove_calls);
    report("client number", SSL_CTX_sess_number(pair.client));
    SSL_SESSION_free(session);
    pair_close(&pair);
}

int main(void)
{
    FOR_EACH_PROTOCOL(p) {
        for (int is_resumption = 0; is_resumption <= 1; is_resumption++) {
            unclean_close(p, is_resumption);
            alert_in_handshake(p, is_resumption);
        }
        clean_close(p);
        cleared(p, 0);
        cleared(p, 1);
        if (!p->is_dtls) { /* DTLS drops such a record without a word */
            alert_in_connection(p, 0);
            alert_in_connection(p, 1);
        }
        explicit_removal(p);
        added_again(p);
        without_callback(p);
        replacement(p);
        context_freed(p);
        expired_on_lookup(p);
        client_resumption(p);
    }
    return test_end();
}
