/*
 * Our own two functions: sesscache_version() and sesscache_is_active(), by the header where the
 * program is linked with the library, by dlsym where it is preloaded, absent on stock. Active is
 * what is ours: not what stock's functions, reached past the overlay, made or took away.
 */
#include "harness.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sesscache.h>

/* The same program is linked without the library, too. */
#pragma weak sesscache_version
#pragma weak sesscache_is_active

static const char *(*version)(void);
static int (*is_active)(const SSL_CTX *ctx);

/* 0 if the library is not here. */
static int find_functions(void)
{
    const char *way = getenv("SESSCACHE_TEST_WAY");

    *(void **)&version = dlsym(RTLD_DEFAULT, "sesscache_version");
    *(void **)&is_active = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    CHECK_INT(version != NULL, overlaid());
    CHECK_INT(is_active != NULL, overlaid());
    if (way != NULL && strcmp(way, "link") == 0) {
        CHECK(sesscache_version == version);
        CHECK(sesscache_is_active == is_active);
    }
    return version != NULL && is_active != NULL;
}

/* Stock's function behind the overlaid one. */
static void *stock(const char *name)
{
    void *function = stock_function(name);

    CHECK(function != dlsym(RTLD_DEFAULT, name));
    return function;
}

static void version_is_a_version(void)
{
    const char *rest = version();

    section("version");
    note("%s", version());
    for (int part = 0; part < 3; part++) {
        CHECK(isdigit((unsigned char)*rest));
        rest += strspn(rest, "0123456789");
        CHECK(*rest == (part < 2 ? '.' : '\0'));
        rest += *rest == '.';
    }
    CHECK_PTR(version(), version());
}

static void contexts_are_active(void)
{
    const SSL_METHOD *methods[] = { TLS_method(), TLS_client_method(), TLS_server_method(),
        DTLS_method(), TLS_method() };
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    SSL_CTX *ctx;

    section("made by the overlay");
    CHECK_INT(is_active(NULL), 0);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        ctx = SSL_CTX_new(methods[i]);
        REQUIRE(ctx != NULL);
        CHECK_INT(is_active(ctx), 1);
        SSL_CTX_free(ctx);
        ctx = SSL_CTX_new_ex(i % 2 ? library : NULL, i % 2 ? "" : NULL, methods[i]);
        REQUIRE(ctx != NULL);
        CHECK_INT(is_active(ctx), 1);
        SSL_CTX_free(ctx);
    }
    OSSL_LIB_CTX_free(library);
}

/* It stays active whatever the program sets. */
static void settings_do_not_matter(void)
{
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx = new_server(&protocols[0]);

    section("settings");
    record(ctx, &recorder);
    CHECK_INT(is_active(ctx), 1);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    CHECK_INT(is_active(ctx), 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_sess_set_cache_size(ctx, 1);
    CHECK_INT(is_active(ctx), 1);
    SSL_CTX_free(ctx);
}

/* Handshakes go on in a context that is stock's: a full one and a resumption. */
static void works_as_stock(SSL_CTX *server)
{
    SSL_CTX *client = new_client(&protocols[0]);
    SSL_SESSION *session;

    use_certificate(server);
    SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
    CHECK_INT(SSL_CTX_set_session_id_context(server, (const unsigned char *)"test", 4), 1);
    session = obtain_session(server, client);
    CHECK_INT(SSL_CTX_sess_number(server), 1);
    CHECK_INT(resumes(server, client, session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
}

static void made_by_stock(void)
{
    SSL_CTX *(*stock_new)(OSSL_LIB_CTX *, const char *, const SSL_METHOD *);
    struct recorder recorder = { .get_copy = -1 };
    SSL_CTX *ctx;

    section("made by stock");
    *(void **)&stock_new = stock("SSL_CTX_new_ex");
    ctx = stock_new(NULL, NULL, TLS_server_method());
    REQUIRE(ctx != NULL);
    CHECK_INT(is_active(ctx), 0);
    works_as_stock(ctx);
    /* The overlay's functions pass such a context on. */
    record(ctx, &recorder);
    CHECK(SSL_CTX_sess_get_new_cb(ctx) == recording_new_cb);
    CHECK_INT(SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH), SSL_SESS_CACHE_SERVER);
    CHECK_INT(SSL_CTX_get_session_cache_mode(ctx), SSL_SESS_CACHE_BOTH);
    CHECK_INT(SSL_CTX_sess_set_cache_size(ctx, 7), SSL_SESSION_CACHE_MAX_SIZE_DEFAULT);
    SSL_CTX_flush_sessions(ctx, 0);
    CHECK_INT(recorder.remove_calls, 1);
    CHECK_INT(SSL_CTX_sess_number(ctx), 0);
    CHECK_INT(is_active(ctx), 0);
    SSL_CTX_free(ctx);
}

/* One of our hooks was replaced behind our back: the cache is not ours any more. */
static void taken_away(const char *setter, const char *getter)
{
    void (*stock_set)(SSL_CTX *, void (*)(void));
    void (*(*stock_get)(SSL_CTX *))(void);
    SSL_CTX *ctx = new_server(&protocols[0]);
    void (*hook)(void);

    section("taken away by %s", setter);
    *(void **)&stock_set = stock(setter);
    *(void **)&stock_get = stock(getter);
    hook = stock_get(ctx);
    CHECK(hook != NULL);
    CHECK_INT(is_active(ctx), 1);
    stock_set(ctx, NULL);
    CHECK_INT(is_active(ctx), 0);
    stock_set(ctx, hook);
    CHECK_INT(is_active(ctx), 1);
    stock_set(ctx, NULL);
    SSL_CTX_free(ctx);
}

int main(void)
{
    if (find_functions()) {
        version_is_a_version();
        contexts_are_active();
        settings_do_not_matter();
        made_by_stock();
        taken_away("SSL_CTX_sess_set_get_cb", "SSL_CTX_sess_get_get_cb");
        taken_away("SSL_CTX_sess_set_new_cb", "SSL_CTX_sess_get_new_cb");
        taken_away("SSL_CTX_sess_set_remove_cb", "SSL_CTX_sess_get_remove_cb");
    }
    return test_end();
}
