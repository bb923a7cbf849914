/*
 * The error queue, its marks, errno and dlerror() after each session function and each kind of
 * handshake are what stock leaves: a miss, an eviction or a flush of ours shows nowhere. What a
 * callback of the application finds and leaves there is untouched, too.
 */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <openssl/err.h>

enum { OLD_ERROR = 7, MARKED_ERROR = 8, CALLBACK_ERROR = 9 };
enum { OLD_ERRNO = 12345, CALLBACK_ERRNO = 777 };

/* The state in which the program calls: an error, a mark, an error after it, errno. */
static void before(void)
{
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, OLD_ERROR);
    CHECK_INT(ERR_set_mark(), 1);
    ERR_raise(ERR_LIB_USER, MARKED_ERROR);
    errno = OLD_ERRNO;
}

/* Empties the queue down to its oldest entry; the reasons, oldest first. */
static void list_errors(char *text, size_t size)
{
    unsigned long error;
    size_t length = 0;

    text[0] = '\0';
    while ((error = ERR_get_error()) != 0 && length < size)
        length += (size_t)snprintf(text + length, size - length, "%d:%d ", ERR_GET_LIB(error),
            ERR_GET_REASON(error));
}

static void check_dlerror(void)
{
    const char *message = dlerror();

    check_true(__FILE__, __LINE__, message == NULL ? "no dlerror" : message, message == NULL);
}

/* The state after a call that must touch nothing. */
static void check_untouched(const char *call)
{
    int number = errno;
    int last = ERR_GET_REASON(ERR_peek_last_error());

    check_int(__FILE__, __LINE__, call, number, OLD_ERRNO);
    check_int(__FILE__, __LINE__, call, last, MARKED_ERROR);
    /* The mark is still where it was set, and nothing came between. */
    check_int(__FILE__, __LINE__, call, ERR_pop_to_mark(), 1);
    check_int(__FILE__, __LINE__, call, ERR_GET_REASON(ERR_get_error()), OLD_ERROR);
    check_int(__FILE__, __LINE__, call, (long)ERR_peek_error(), 0);
    check_dlerror();
}

/* Reports what is there after a call that has something to say. */
static void report_left(const char *call)
{
    int number = errno;
    char name[128], errors[512];

    snprintf(name, sizeof(name), "%s errno", call);
    report(name, number);
    list_errors(errors, sizeof(errors));
    snprintf(name, sizeof(name), "%s errors", call);
    report_text(name, errors);
    check_dlerror();
}

#define QUIET(call) \
    do { \
        before(); \
        (void)(call); \
        check_untouched(#call); \
    } while (0)

#define LOUD(call) \
    do { \
        before(); \
        (void)(call); \
        report_left(#call); \
    } while (0)

static int id_that_is_taken(SSL *ssl, unsigned char *id, unsigned int *length)
{
    (void)ssl;
    memset(id, 0x33, *length);
    return 1;
}

/* The first call in the process fills the overlay's table, and finds what is not there. */
static void first_call(void)
{
    SSL_SESSION *session = SSL_SESSION_new();

    section("first call");
    QUIET(SSL_SESSION_set_time(session, 1));
    SSL_SESSION_free(session);
}

static void contexts(void)
{
    SSL_CTX *ctx = NULL, *other = new_server(&protocols[0]);
    SSL *ssl;

    section("contexts");
    QUIET(ctx = SSL_CTX_new(TLS_method()));
    REQUIRE(ctx != NULL);
    ssl = SSL_new(ctx);
    QUIET(SSL_set_SSL_CTX(ssl, other));
    QUIET(SSL_set_generate_session_id(ssl, id_that_is_taken));
    QUIET(SSL_CTX_set_generate_session_id(ctx, id_that_is_taken));
    SSL_free(ssl);
    QUIET(SSL_CTX_free(ctx));
    QUIET(ctx = SSL_CTX_new_ex(NULL, NULL, TLS_method()));
    QUIET(SSL_CTX_free(ctx));
    LOUD(SSL_CTX_new(NULL));
    LOUD(SSL_CTX_new_ex(NULL, NULL, NULL));
    LOUD(SSL_CTX_new_ex(NULL, "no=such=thing", TLS_method()));
    QUIET(CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, NULL));
    LOUD(CRYPTO_get_ex_new_index(-1, 0, NULL, NULL, NULL, NULL));
    SSL_CTX_free(other);
}

static void session_functions(const struct protocol *p)
{
    SSL_CTX *ctx = new_server(p);
    SSL *ssl = SSL_new(ctx);
    SSL_SESSION *one = make_session(ctx, p->version, 1), *two = make_session(ctx, p->version, 2);
    SSL_SESSION *twin = make_session(ctx, p->version, 1);
    struct session_id id = made_id(1);

    section("%s functions", p->name);
    QUIET(SSL_CTX_add_session(ctx, one));
    QUIET(SSL_CTX_add_session(ctx, one));
    QUIET(SSL_CTX_add_session(ctx, twin));
    QUIET(SSL_CTX_add_session(ctx, two));
    QUIET(SSL_CTX_sessions(ctx));
    QUIET(SSL_has_matching_session_id(ssl, id.bytes, id.length));
    QUIET(SSL_has_matching_session_id(ssl, id.bytes, 1));
    QUIET(SSL_has_matching_session_id(ssl, id.bytes, 0));
    QUIET(SSL_SESSION_set_timeout(two, 100));
    QUIET(SSL_SESSION_set_timeout(two, 1000));
    QUIET(SSL_SESSION_set_time(two, time(NULL) - 2000));
    QUIET(SSL_CTX_flush_sessions(ctx, 1));
    QUIET(SSL_CTX_flush_sessions(ctx, time(NULL)));
    QUIET(SSL_CTX_remove_session(ctx, two));
    QUIET(SSL_CTX_remove_session(ctx, twin));
    QUIET(SSL_CTX_add_session(ctx, one));
    QUIET(SSL_CTX_sess_number(ctx));
    QUIET(SSL_CTX_sess_misses(ctx));
    QUIET(SSL_CTX_sess_cb_hits(ctx));
    QUIET(SSL_CTX_sess_cache_full(ctx));
    QUIET(SSL_CTX_sess_timeouts(ctx));
    QUIET(SSL_CTX_sess_accept(ctx));
    QUIET(SSL_CTX_sess_get_cache_size(ctx));
    QUIET(SSL_CTX_sess_set_cache_size(ctx, 1));
    QUIET(SSL_CTX_sess_set_cache_size(ctx, -1));
    QUIET(SSL_CTX_add_session(ctx, two)); /* evicts */
    QUIET(SSL_CTX_get_session_cache_mode(ctx));
    QUIET(SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF));
    QUIET(SSL_CTX_sess_set_new_cb(ctx, recording_new_cb));
    QUIET(SSL_CTX_sess_set_get_cb(ctx, recording_get_cb));
    QUIET(SSL_CTX_sess_get_new_cb(ctx));
    QUIET(SSL_CTX_sess_get_remove_cb(ctx));
    QUIET(SSL_CTX_sess_get_get_cb(ctx));
    QUIET(SSL_CTX_flush_sessions(ctx, 0));
    QUIET(SSL_CTX_flush_sessions(ctx, 0));
    QUIET(SSL_CTX_add_session(ctx, two));
    LOUD(SSL_CTX_ctrl(ctx, -1, 0, NULL));
    SSL_SESSION_free(one);
    SSL_SESSION_free(two);
    SSL_SESSION_free(twin);
    QUIET(SSL_free(ssl));
    QUIET(SSL_CTX_free(ctx));
}

/* One handshake, with what each end leaves reported; a new connection each time. */
static void handshake(const char *kind, SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer)
{
    struct connection c = connection_new(server, client);

    if (offer != NULL)
        CHECK_INT(SSL_set_session(c.client, offer), 1);
    section("handshake %s", kind);
    before();
    (void)SSL_do_handshake(c.client);
    report_left("ClientHello");
    before();
    (void)SSL_do_handshake(c.server);
    report_left("ServerHello");
    before();
    report("succeeds", connection_handshake(&c));
    report_left("rest");
    report("resumed", SSL_session_reused(c.server));
    before();
    (void)connection_exchange(&c);
    report_left("exchange");
    before();
    SSL_free(c.server); /* unclean: the session is removed */
    report_left("SSL_free");
    SSL_free(c.client);
    ERR_clear_error();
}

static SSL_SESSION *get_result;

static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    (void)ssl, (void)id, (void)length, (void)copy;
    return get_result;
}

static void handshakes(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session = obtain_session(server, client), *cached;
    char kind[64];

#define HANDSHAKE(what, offer) \
    (snprintf(kind, sizeof(kind), "%s %s", p->name, what), handshake(kind, server, client, offer))
    HANDSHAKE("full", NULL);
    HANDSHAKE("resumed, then removed", session);
    HANDSHAKE("missed", session);
    SSL_SESSION_free(session);
    session = obtain_session(server, client);
    cached = cached_on_server(server, session);
    REQUIRE(SSL_SESSION_up_ref(cached) == 1);
    SSL_SESSION_set_time(cached, time(NULL) - 10000);
    HANDSHAKE("expired", session);
    SSL_SESSION_free(cached);
    SSL_SESSION_free(session);
    SSL_CTX_sess_set_get_cb(server, get_cb);
    session = obtain_session(server, client);
    cached = cached_on_server(server, session);
    get_result = SSL_SESSION_dup(cached);
    SSL_CTX_flush_sessions(server, 0);
    HANDSHAKE("from get_cb", session);
    SSL_SESSION_free(get_result);
    get_result = NULL;
    HANDSHAKE("missed by get_cb", session);
    SSL_SESSION_free(session);
    SSL_CTX_sess_set_cache_size(server, 1);
    SSL_SESSION_free(obtain_session(server, client));
    HANDSHAKE("evicting", NULL);
    CHECK_INT(SSL_CTX_set_max_proto_version(client, p->is_dtls ? DTLS1_VERSION : TLS1_VERSION), 1);
    HANDSHAKE("refused", NULL);
#undef HANDSHAKE
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void touching_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    (void)ctx, (void)session;
    report("remove_cb finds errno", errno);
    report("remove_cb finds error", ERR_GET_REASON(ERR_peek_last_error()));
    ERR_raise(ERR_LIB_USER, CALLBACK_ERROR);
    errno = CALLBACK_ERRNO;
}

/* Errors that a callback leaves are the application's and stay; it finds the caller's. */
static void callbacks(void)
{
    SSL_CTX *ctx = new_server(&protocols[0]);
    SSL_SESSION *session = make_session(ctx, TLS1_2_VERSION, 1);

    SSL_CTX_sess_set_remove_cb(ctx, touching_remove_cb);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    section("callback by remove");
    LOUD(SSL_CTX_remove_session(ctx, session));
    section("callback by remove of what is not there");
    LOUD(SSL_CTX_remove_session(ctx, session));
    section("callback by flush");
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    LOUD(SSL_CTX_flush_sessions(ctx, 0));
    section("callback by expiry");
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    SSL_SESSION_set_time(session, 1000000000);
    LOUD(SSL_CTX_flush_sessions(ctx, time(NULL)));
    section("callback by eviction");
    SSL_CTX_sess_set_cache_size(ctx, 1);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
    SSL_SESSION_free(session);
    session = make_session(ctx, TLS1_2_VERSION, 2);
    LOUD(SSL_CTX_add_session(ctx, session));
    SSL_SESSION_free(session);
    section("callback by the end of the context");
    LOUD(SSL_CTX_free(ctx));
}

int main(void)
{
    first_call();
    contexts();
    callbacks();
    FOR_EACH_PROTOCOL(p) {
        session_functions(p);
        handshakes(p);
    }
    ERR_clear_error();
    return test_end();
}
