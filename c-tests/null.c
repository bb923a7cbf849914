/*
 * Every exported function with NULL in every position, and with what else cannot be meant: ids too
 * long or empty, negative and extreme numbers. Each call runs in a child of its own, so that a
 * crash can be reported. Where stock survives we do the same; where it crashes we return the value
 * that says "nothing" (listed differences). We never crash.
 */
#include "harness.h"

#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

/* The calls that crash are meant to be seen as what they are. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0";
}

/* A child leaves this for its parent. */
static struct outcome {
    int is_done;
    long value;
    unsigned long error;
} *outcome;

/* Arguments of the calls; a child has its own copies. */
static SSL_CTX *ctx;
static SSL *ssl;
static SSL_SESSION *session; /* cached in ctx */
static unsigned char id[64];
static const long now_and_then = 1000000000; /* in 2001 */

static pid_t begin(void)
{
    pid_t child;

    outcome->is_done = 0;
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(20);
        ERR_clear_error();
    }
    return child;
}

static void end_child(long value)
{
    outcome->value = value;
    outcome->error = ERR_peek_error();
    outcome->is_done = 1;
    _exit(0);
}

static void end_parent(pid_t child, const char *call)
{
    char text[64];
    int status = 0;

    REQUIRE(waitpid(child, &status, 0) == child);
    if (!outcome->is_done)
        snprintf(text, sizeof(text),
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crashes");
    else if (outcome->error != 0)
        snprintf(text, sizeof(text), "%ld, error %d", outcome->value,
            ERR_GET_REASON(outcome->error));
    else
        snprintf(text, sizeof(text), "%ld", outcome->value);
    report_text(call, text);
    if (overlaid() && !outcome->is_done)
        check_true(__FILE__, __LINE__, call, 0);
}

/* Runs the call in a child and reports what it returns, under its own text. */
#define RUN(text, value) \
    do { \
        pid_t child = begin(); \
        if (child == 0) \
            end_child((long)(value)); \
        end_parent(child, text); \
    } while (0)
#define TRY(call) RUN(#call, call)
#define TRY_POINTER(call) RUN(#call, (call) != NULL)
#define TRY_VOID(call) RUN(#call, (call, 0))

static int is_made(SSL_CTX *made)
{
    SSL_CTX_free(made);
    return made != NULL;
}

static void contexts(void)
{
    section("contexts");
    TRY(is_made(SSL_CTX_new(NULL)));
    TRY(is_made(SSL_CTX_new_ex(NULL, NULL, NULL)));
    TRY(is_made(SSL_CTX_new_ex(NULL, "", NULL)));
    TRY(is_made(SSL_CTX_new_ex(NULL, NULL, TLS_method())));
    TRY(is_made(SSL_CTX_new_ex(NULL, "no=such=thing", TLS_method())));
    TRY_POINTER(SSL_set_SSL_CTX(NULL, NULL));
    TRY_POINTER(SSL_set_SSL_CTX(NULL, ctx));
    TRY_POINTER(SSL_set_SSL_CTX(ssl, NULL));
    TRY_POINTER(SSL_set_SSL_CTX(ssl, ctx));
    TRY_POINTER(SSL_CTX_sessions(NULL));
    TRY(CRYPTO_get_ex_new_index(-1, 0, NULL, NULL, NULL, NULL));
    TRY(CRYPTO_get_ex_new_index(INT_MAX, 0, NULL, NULL, NULL, NULL));
    TRY(CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, NULL) > 0);
    TRY(CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_APP, -1, NULL, NULL, NULL, NULL) >= 0);
}

static void callbacks(void)
{
    section("callbacks");
    TRY_VOID(SSL_CTX_sess_set_new_cb(NULL, NULL));
    TRY_VOID(SSL_CTX_sess_set_new_cb(NULL, recording_new_cb));
    TRY_VOID(SSL_CTX_sess_set_new_cb(ctx, NULL));
    TRY_VOID(SSL_CTX_sess_set_remove_cb(NULL, NULL));
    TRY_VOID(SSL_CTX_sess_set_remove_cb(NULL, recording_remove_cb));
    TRY_VOID(SSL_CTX_sess_set_remove_cb(ctx, NULL));
    TRY_VOID(SSL_CTX_sess_set_get_cb(NULL, NULL));
    TRY_VOID(SSL_CTX_sess_set_get_cb(NULL, recording_get_cb));
    TRY_VOID(SSL_CTX_sess_set_get_cb(ctx, NULL));
    TRY_POINTER(SSL_CTX_sess_get_new_cb(NULL));
    TRY_POINTER(SSL_CTX_sess_get_remove_cb(NULL));
    TRY_POINTER(SSL_CTX_sess_get_get_cb(NULL));
}

static int verifying(int ok, X509_STORE_CTX *store)
{
    (void)store;
    return ok;
}

static int ticket_key(SSL *s, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int seals)
{
    (void)s, (void)name, (void)iv, (void)cipher, (void)mac, (void)seals;
    return 0;
}

/* Callbacks of other parts of libssl that the overlay overlays, too. */
static void other_callbacks(void)
{
    static const int commands[] = { SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
        SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB, SSL_CTRL_SET_MSG_CALLBACK, -1, INT_MAX };
    void (*function)(void) = (void (*)(void))verifying;

    section("callbacks");
    TRY_VOID(SSL_CTX_set_verify(NULL, SSL_VERIFY_NONE, NULL));
    TRY_VOID(SSL_CTX_set_verify(NULL, SSL_VERIFY_PEER, verifying));
    TRY_VOID(SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL));
    TRY(SSL_CTX_set_tlsext_ticket_key_evp_cb(NULL, NULL));
    TRY(SSL_CTX_set_tlsext_ticket_key_evp_cb(NULL, ticket_key));
    TRY(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, NULL));
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        int command = commands[i];

        section("callback command %d", command);
        TRY(SSL_CTX_callback_ctrl(NULL, command, NULL));
        TRY(SSL_CTX_callback_ctrl(NULL, command, function));
        TRY(SSL_CTX_callback_ctrl(ctx, command, NULL));
    }
}

static int certificate_cb(SSL *s, void *arg)
{
    (void)s, (void)arg;
    return 1;
}

static int verify_all(X509_STORE_CTX *store, void *arg)
{
    (void)store, (void)arg;
    return 1;
}

static int find_psk(SSL *s, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    (void)s, (void)identity, (void)length;
    *found = NULL;
    return 1;
}

static unsigned int psk(SSL *s, const char *identity, unsigned char *key, unsigned int length)
{
    (void)s, (void)identity, (void)key, (void)length;
    return 0;
}

static int secret(SSL *s, void *key, int *length, STACK_OF(SSL_CIPHER) *ciphers,
    const SSL_CIPHER **cipher, void *arg)
{
    (void)s, (void)key, (void)length, (void)ciphers, (void)cipher, (void)arg;
    return 0;
}

static int allow(SSL *ssl, void *arg)
{
    (void)ssl, (void)arg;
    return 1;
}

static int new_ticket(SSL *s, void *arg)
{
    (void)s, (void)arg;
    return 1;
}

/* Settings that are passed on, and noted. */
static void settings(void)
{
    section("settings");
    TRY_VOID(SSL_CTX_set_cert_cb(NULL, NULL, NULL));
    TRY_VOID(SSL_CTX_set_cert_cb(NULL, certificate_cb, NULL));
    TRY_VOID(SSL_CTX_set_cert_cb(ctx, NULL, NULL));
    TRY_VOID(SSL_set_cert_cb(NULL, NULL, NULL));
    TRY_VOID(SSL_set_cert_cb(NULL, certificate_cb, NULL));
    TRY_VOID(SSL_set_cert_cb(ssl, NULL, NULL));
    TRY_VOID(SSL_CTX_set_cert_verify_callback(NULL, NULL, NULL));
    TRY_VOID(SSL_CTX_set_cert_verify_callback(NULL, verify_all, NULL));
    TRY_VOID(SSL_CTX_set_cert_verify_callback(ctx, NULL, NULL));
    TRY_VOID(SSL_set_verify(NULL, SSL_VERIFY_NONE, NULL));
    TRY_VOID(SSL_set_verify(NULL, SSL_VERIFY_PEER, verifying));
    TRY_VOID(SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL));
    TRY_VOID(SSL_CTX_set_psk_find_session_callback(NULL, NULL));
    TRY_VOID(SSL_CTX_set_psk_find_session_callback(NULL, find_psk));
    TRY_VOID(SSL_CTX_set_psk_find_session_callback(ctx, NULL));
    TRY_VOID(SSL_set_psk_find_session_callback(NULL, NULL));
    TRY_VOID(SSL_set_psk_find_session_callback(NULL, find_psk));
    TRY_VOID(SSL_set_psk_find_session_callback(ssl, NULL));
    TRY_VOID(SSL_CTX_set_psk_server_callback(NULL, NULL));
    TRY_VOID(SSL_CTX_set_psk_server_callback(NULL, psk));
    TRY_VOID(SSL_CTX_set_psk_server_callback(ctx, NULL));
    TRY_VOID(SSL_set_psk_server_callback(NULL, NULL));
    TRY_VOID(SSL_set_psk_server_callback(NULL, psk));
    TRY_VOID(SSL_set_psk_server_callback(ssl, NULL));
    TRY_VOID(SSL_CTX_set_allow_early_data_cb(NULL, NULL, NULL));
    TRY_VOID(SSL_CTX_set_allow_early_data_cb(NULL, allow, NULL));
    TRY_VOID(SSL_CTX_set_allow_early_data_cb(ctx, NULL, NULL));
    TRY_VOID(SSL_set_allow_early_data_cb(NULL, NULL, NULL));
    TRY_VOID(SSL_set_allow_early_data_cb(NULL, allow, NULL));
    TRY_VOID(SSL_set_allow_early_data_cb(ssl, NULL, NULL));
    TRY(SSL_CTX_set_session_ticket_cb(NULL, NULL, NULL, NULL));
    TRY(SSL_CTX_set_session_ticket_cb(NULL, new_ticket, NULL, NULL));
    TRY(SSL_CTX_set_session_ticket_cb(ctx, NULL, NULL, NULL));
    TRY(SSL_set_session_secret_cb(NULL, NULL, NULL));
    TRY(SSL_set_session_secret_cb(NULL, secret, NULL));
    TRY(SSL_set_session_secret_cb(ssl, NULL, NULL));
}

/* Rules for certificates, of a connection. */
static void rules(void)
{
    section("rules");
    TRY(SSL_set_purpose(NULL, X509_PURPOSE_SSL_CLIENT));
    TRY(SSL_set_purpose(ssl, X509_PURPOSE_SSL_CLIENT));
    TRY(SSL_set_purpose(ssl, -1));
    TRY(SSL_set_trust(NULL, X509_TRUST_SSL_CLIENT));
    TRY(SSL_set_trust(ssl, X509_TRUST_SSL_CLIENT));
    TRY(SSL_set_trust(ssl, -1));
    TRY(SSL_set1_param(NULL, NULL));
    TRY(SSL_set1_param(NULL, SSL_get0_param(ssl)));
    TRY(SSL_set1_param(ssl, NULL));
    TRY(SSL_set1_param(ssl, SSL_CTX_get0_param(ctx)));
    TRY(SSL_get0_param(NULL) == NULL);
    TRY(SSL_get0_param(ssl) == NULL);
}

static void id_contexts(void)
{
    static const unsigned int most = SSL_MAX_SID_CTX_LENGTH;

    section("id contexts");
    TRY(SSL_CTX_set_session_id_context(NULL, NULL, 0));
    TRY(SSL_CTX_set_session_id_context(NULL, id, most));
    TRY(SSL_CTX_set_session_id_context(ctx, NULL, 0));
    TRY(SSL_CTX_set_session_id_context(ctx, NULL, most));
    TRY(SSL_CTX_set_session_id_context(ctx, NULL, most + 1));
    TRY(SSL_CTX_set_session_id_context(ctx, id, most));
    TRY(SSL_CTX_set_session_id_context(ctx, id, most + 1));
    TRY(SSL_CTX_set_session_id_context(ctx, id, UINT_MAX));
    TRY(SSL_set_session_id_context(NULL, NULL, 0));
    TRY(SSL_set_session_id_context(NULL, id, most));
    TRY(SSL_set_session_id_context(ssl, NULL, 0));
    TRY(SSL_set_session_id_context(ssl, NULL, most));
    TRY(SSL_set_session_id_context(ssl, id, most));
    TRY(SSL_set_session_id_context(ssl, id, most + 1));
}

static void connections(void)
{
    section("connections");
    TRY_VOID(SSL_free(NULL));
    TRY(SSL_clear(NULL));
    TRY(SSL_set_session(NULL, NULL));
    TRY(SSL_set_session(NULL, session));
    TRY(SSL_set_session(ssl, NULL));
}

static long left_by_flush(long when)
{
    SSL_CTX_flush_sessions(ctx, when);
    return SSL_CTX_sess_number(ctx);
}

static void sessions(void)
{
    section("sessions");
    TRY(SSL_CTX_add_session(NULL, NULL));
    TRY(SSL_CTX_add_session(NULL, session));
    TRY(SSL_CTX_add_session(ctx, NULL));
    TRY(SSL_CTX_add_session(ctx, session));
    TRY(SSL_CTX_remove_session(NULL, NULL));
    TRY(SSL_CTX_remove_session(NULL, session));
    TRY(SSL_CTX_remove_session(ctx, NULL));
    TRY(SSL_CTX_remove_session(ctx, session));
    TRY_VOID(SSL_CTX_flush_sessions(NULL, 0));
    TRY_VOID(SSL_CTX_flush_sessions(NULL, now_and_then));
    TRY(left_by_flush(0));
    TRY(left_by_flush(1));
    TRY(left_by_flush(-1));
    TRY(left_by_flush(LONG_MIN));
    TRY(left_by_flush(LONG_MAX));
    TRY(SSL_SESSION_set_ex_data(NULL, 0, NULL));
    TRY(SSL_SESSION_set_ex_data(NULL, -1, NULL));
    TRY(SSL_SESSION_set_timeout(NULL, 1));
    TRY(SSL_SESSION_set_time(NULL, 1));
#if OPENSSL_VERSION_NUMBER >= 0x30400000L
    TRY_VOID(SSL_CTX_flush_sessions_ex(NULL, 0));
    TRY_VOID(SSL_CTX_flush_sessions_ex(NULL, now_and_then));
    TRY(SSL_SESSION_set_time_ex(NULL, 1));
#endif
}

/* Functions that this OpenSSL lacks and the overlay has. */
static void later_functions(void)
{
    void (*flush)(SSL_CTX *, time_t);
    time_t (*set_time)(SSL_SESSION *, time_t);

    *(void **)&flush = dlsym(RTLD_DEFAULT, "SSL_CTX_flush_sessions_ex");
    *(void **)&set_time = dlsym(RTLD_DEFAULT, "SSL_SESSION_set_time_ex");
    CHECK(!overlaid() || (flush != NULL && set_time != NULL));
    if (flush == NULL || set_time == NULL)
        return;
    if (overlaid()) {
        flush(NULL, 0);
        CHECK_INT(set_time(NULL, 1), 0);
    }
    CHECK_INT(set_time(session, now_and_then), now_and_then);
    CHECK_INT(SSL_SESSION_get_time(session), now_and_then);
    CHECK(SSL_SESSION_set_time(session, time(NULL)) != 0);
    flush(ctx, time(NULL));
    CHECK_INT(SSL_CTX_sess_number(ctx), 1);
}

static SSL_SESSION *without_id(SSL_SESSION *some)
{
    return SSL_SESSION_set1_id(some, id, 0) == 1 ? some : NULL;
}

static long number_after(int result)
{
    (void)result;
    return SSL_CTX_sess_number(ctx);
}

static void ids(void)
{
    static const unsigned int id_length = SSL_MAX_SSL_SESSION_ID_LENGTH;

    section("ids");
    TRY(SSL_has_matching_session_id(NULL, NULL, 0));
    TRY(SSL_has_matching_session_id(NULL, id, id_length));
    TRY(SSL_has_matching_session_id(ssl, NULL, 0));
    TRY(SSL_has_matching_session_id(ssl, NULL, id_length));
    TRY(SSL_has_matching_session_id(ssl, NULL, UINT_MAX));
    TRY(SSL_has_matching_session_id(ssl, id, 0));
    TRY(SSL_has_matching_session_id(ssl, id, id_length - 1));
    TRY(SSL_has_matching_session_id(ssl, id, id_length));
    TRY(SSL_has_matching_session_id(ssl, id, id_length + 1));
    TRY(SSL_has_matching_session_id(ssl, id, UINT_MAX));
    TRY(SSL_SESSION_set1_id(session, id, id_length + 1));
    /* A cached session that loses its id. */
    TRY(SSL_SESSION_set1_id(session, NULL, 0));
    TRY(SSL_CTX_remove_session(ctx, without_id(session)));
    TRY(SSL_CTX_add_session(ctx, without_id(session)));
    TRY(number_after(SSL_CTX_add_session(ctx, without_id(session))));
    TRY(number_after((without_id(session), SSL_CTX_flush_sessions(ctx, 0), 1)));
}

static unsigned int made_length;
static int made_result;

static int odd_generator(SSL *s, unsigned char *out, unsigned int *length)
{
    (void)s;
    memset(out, 0x11, *length);
    *length = made_length;
    return made_result;
}

/* A handshake in which the server's id is made by the generator: 1 if it succeeds. */
static int handshake_with(unsigned int length, int result)
{
    SSL_CTX *client = new_client(&protocols[0]);
    struct connection c = connection_new(ctx, client);

    made_length = length;
    made_result = result;
    result = SSL_CTX_set_generate_session_id(ctx, odd_generator) == 1
        && SSL_set_generate_session_id(c.server, odd_generator) == 1 && connection_handshake(&c);
    /* Not connection_drop(), which clears the error queue. */
    SSL_free(c.server);
    SSL_free(c.client);
    SSL_CTX_free(client);
    return result;
}

static void generators(void)
{
    section("generators");
    TRY(SSL_CTX_set_generate_session_id(NULL, NULL));
    TRY(SSL_CTX_set_generate_session_id(NULL, odd_generator));
    TRY(SSL_CTX_set_generate_session_id(ctx, NULL));
    TRY(SSL_set_generate_session_id(NULL, NULL));
    TRY(SSL_set_generate_session_id(NULL, odd_generator));
    TRY(SSL_set_generate_session_id(ssl, NULL));
    TRY(handshake_with(0, 1));
    TRY(handshake_with(1, 1));
    TRY(handshake_with(SSL_MAX_SSL_SESSION_ID_LENGTH, 1));
    TRY(handshake_with(SSL_MAX_SSL_SESSION_ID_LENGTH + 1, 1));
    TRY(handshake_with(UINT_MAX, 1));
    TRY(handshake_with(1, 0));
    TRY(handshake_with(1, -1));
}

static long mode_after(long mode)
{
    SSL_CTX_set_session_cache_mode(ctx, mode);
    return SSL_CTX_get_session_cache_mode(ctx);
}

static long size_after(long size)
{
    SSL_CTX_sess_set_cache_size(ctx, size);
    return SSL_CTX_sess_get_cache_size(ctx);
}

static long added_with_size(long size)
{
    SSL_CTX_sess_set_cache_size(ctx, size);
    SSL_CTX_remove_session(ctx, session);
    SSL_CTX_add_session(ctx, session);
    return SSL_CTX_sess_number(ctx);
}

static long timeout_after(long timeout)
{
    SSL_SESSION_set_timeout(session, timeout);
    return SSL_SESSION_get_timeout(session);
}

static long flushed_with_timeout(long timeout)
{
    SSL_SESSION_set_timeout(session, timeout);
    return left_by_flush(SSL_SESSION_get_time(session) + 1);
}

static long flushed_with_time(long when)
{
    SSL_SESSION_set_time(session, when);
    return left_by_flush(now_and_then);
}

static long flushed_with_both(long value)
{
    SSL_SESSION_set_time(session, value);
    SSL_SESSION_set_timeout(session, value);
    return left_by_flush(LONG_MAX);
}

static void controls(void)
{
    static const int commands[] = { SSL_CTRL_SET_SESS_CACHE_MODE, SSL_CTRL_GET_SESS_CACHE_MODE,
        SSL_CTRL_SET_SESS_CACHE_SIZE, SSL_CTRL_GET_SESS_CACHE_SIZE, SSL_CTRL_SESS_NUMBER,
        SSL_CTRL_SESS_CONNECT, SSL_CTRL_SESS_HIT, SSL_CTRL_SESS_CB_HIT, SSL_CTRL_SESS_MISSES,
        SSL_CTRL_SESS_TIMEOUTS, SSL_CTRL_SESS_CACHE_FULL, -1, INT_MAX };
    static const long arguments[] = { 0, 1, -1, 0x10000, 0x300, LONG_MAX, LONG_MIN };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        int command = commands[i];

        section("command %d", command);
        TRY(SSL_CTX_ctrl(NULL, command, 1, NULL));
        TRY(SSL_CTX_ctrl(ctx, command, 1, NULL));
    }
    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        long argument = arguments[i];

        section("argument %ld", argument);
        TRY(SSL_CTX_set_session_cache_mode(ctx, argument));
        TRY(mode_after(argument));
        TRY(SSL_CTX_sess_set_cache_size(ctx, argument));
        TRY(size_after(argument));
        TRY(added_with_size(argument));
        TRY(SSL_SESSION_set_timeout(session, argument));
        TRY(timeout_after(argument));
        TRY(SSL_SESSION_set_time(session, argument));
        TRY(flushed_with_timeout(argument));
        TRY(flushed_with_time(argument));
        TRY(flushed_with_both(argument));
    }
}

static void our_own(void)
{
    section("our own");
    CHECK_INT(is_ours(NULL), 0);
    CHECK_INT(is_ours(ctx), overlaid());
}

int main(void)
{
    struct connection c;
    SSL_SESSION *made;
    SSL_CTX *client;

    if (!overlaid() && is_under_valgrind())
        skip("stock crashes, which valgrind would count");
    outcome = mmap(
        NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(outcome != MAP_FAILED);
    ctx = new_server(&protocols[0]);
    client = new_client(&protocols[0]);
    /* A connection that knows its version, and whose own session is not cached. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    c = connect_offering(ctx, client, NULL);
    ssl = c.server;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    made = session = make_session(ctx, TLS1_2_VERSION, 1);
    memcpy(id, made_id(1).bytes, SSL_MAX_SSL_SESSION_ID_LENGTH);
    CHECK_INT(SSL_CTX_add_session(ctx, session), 1);

    contexts();
    callbacks();
    other_callbacks();
    settings();
    rules();
    id_contexts();
    connections();
    sessions();
    later_functions();
    ids();
    generators();
    controls();
    our_own();

    SSL_SESSION_free(made);
    connection_close(&c);
    SSL_CTX_free(client);
    SSL_CTX_free(ctx);
    munmap(outcome, sizeof(*outcome));
    return test_end();
}
