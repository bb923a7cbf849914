/*
 * Code of the age of OpenSSL 0.9.8 to 1.0.2, whose manual pages show get_cb without const: it
 * builds with SESSCACHE_OLD_GET_CB, also as C++, and works. Built and run by signatures.sh.
 */
#define SESSCACHE_OLD_GET_CB
#include <openssl/ssl.h>
#include <sesscache.h>
/* Such code includes things twice. */
#include <sesscache.h>

SSL_SESSION *old_get_cb(SSL *ssl, unsigned char *data, int len, int *copy);
void set_old_get_cb(SSL_CTX *ctx);

static SSL_SESSION *(*got)(SSL *ssl, unsigned char *data, int len, int *copy);

void set_old_get_cb(SSL_CTX *ctx)
{
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, old_get_cb);
    got = SSL_CTX_sess_get_get_cb(ctx);
    if (got == old_get_cb)
        SSL_CTX_sess_set_get_cb(ctx, got);
}

#ifdef RUN
#include "harness.h"

static SSL_SESSION *provided;
static int calls;

SSL_SESSION *old_get_cb(SSL *ssl, unsigned char *data, int len, int *copy)
{
    struct session_id id = id_of(provided);

    (void)ssl;
    CHECK_INT(len, id.length);
    CHECK_INT(data[0], id.bytes[0]);
    CHECK_INT(*copy, 1);
    calls++;
    return provided;
}

int main(void)
{
    SSL_CTX *server = new_server(&protocols[0]), *client = new_client(&protocols[0]);
    SSL_SESSION *session = obtain_session(server, client);

    CHECK_INT(overlaid(), 1);
    set_old_get_cb(server);
    provided = cached_on_server(server, session);
    SSL_CTX_set_session_cache_mode(
        server, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    CHECK_INT(resumes(server, client, session), 1);
    CHECK_INT(calls, 1);
    CHECK_INT(sesscache_is_active(server), 1);
    report_text("version", sesscache_version());
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return test_end();
}
#endif
