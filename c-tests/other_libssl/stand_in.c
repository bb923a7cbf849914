/*
 * Stands for a libssl of another make: its objects are laid out otherwise, and each of its functions
 * says that it was called. FIRST is how many words come before the method of an object: 0 in a
 * context of OpenSSL 1.1.1, 1 in one of 3.0 and in their connections, 3 in a connection of 3.2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <openssl/ssl.h>

struct ssl_method_st {
    int version;
};
struct ssl_ctx_st {
    void *first[FIRST];
    const SSL_METHOD *method;
    void *rest[100];
};
struct ssl_st {
    void *first[FIRST];
    const SSL_METHOD *method;
    void *rest[100];
};

static const SSL_METHOD method = { 1 };

const SSL_METHOD *TLS_method(void)
{
    return &method;
}

SSL *SSL_new(SSL_CTX *ctx)
{
    SSL *ssl = calloc(1, sizeof(*ssl));

    ssl->method = ctx->method;
    return ssl;
}

static SSL_CTX *made(const SSL_METHOD *chosen)
{
    SSL_CTX *ctx = calloc(1, sizeof(*ctx));

    ctx->method = chosen;
    return ctx;
}

SSL_CTX *SSL_CTX_new(const SSL_METHOD *meth)
{
    puts("SSL_CTX_new");
    return made(meth);
}

SSL_CTX *SSL_CTX_new_ex(OSSL_LIB_CTX *libctx, const char *propq, const SSL_METHOD *meth)
{
    (void)libctx, (void)propq;
    puts("SSL_CTX_new_ex");
    return made(meth);
}

/* The others: their arguments do not matter. */
#define STAND_IN(name) \
    long stand_in_##name(void) __asm__(#name); \
    long stand_in_##name(void) \
    { \
        puts(#name); \
        return 1; \
    }
STAND_IN(SSL_CTX_add_session)
STAND_IN(SSL_CTX_callback_ctrl)
STAND_IN(SSL_CTX_ctrl)
STAND_IN(SSL_CTX_flush_sessions)
STAND_IN(SSL_CTX_flush_sessions_ex)
STAND_IN(SSL_CTX_remove_session)
STAND_IN(SSL_CTX_sess_get_get_cb)
STAND_IN(SSL_CTX_sess_get_new_cb)
STAND_IN(SSL_CTX_sess_get_remove_cb)
STAND_IN(SSL_CTX_sess_set_get_cb)
STAND_IN(SSL_CTX_sess_set_new_cb)
STAND_IN(SSL_CTX_sess_set_remove_cb)
STAND_IN(SSL_CTX_sessions)
STAND_IN(SSL_CTX_set_cert_cb)
STAND_IN(SSL_CTX_set_cert_verify_callback)
STAND_IN(SSL_CTX_set_generate_session_id)
STAND_IN(SSL_CTX_set_psk_find_session_callback)
STAND_IN(SSL_CTX_set_allow_early_data_cb)
STAND_IN(SSL_CTX_set_psk_server_callback)
STAND_IN(SSL_CTX_set_session_id_context)
STAND_IN(SSL_CTX_set_session_ticket_cb)
STAND_IN(SSL_CTX_set_tlsext_ticket_key_evp_cb)
STAND_IN(SSL_CTX_set_verify)
STAND_IN(SSL_clear)
STAND_IN(SSL_free)
STAND_IN(SSL_get0_param)
STAND_IN(SSL_has_matching_session_id)
STAND_IN(SSL_set1_param)
STAND_IN(SSL_set_SSL_CTX)
STAND_IN(SSL_set_cert_cb)
STAND_IN(SSL_set_generate_session_id)
STAND_IN(SSL_set_psk_find_session_callback)
STAND_IN(SSL_set_allow_early_data_cb)
STAND_IN(SSL_set_psk_server_callback)
STAND_IN(SSL_set_purpose)
STAND_IN(SSL_set_session)
STAND_IN(SSL_set_session_id_context)
STAND_IN(SSL_set_session_secret_cb)
STAND_IN(SSL_set_trust)
STAND_IN(SSL_set_verify)
STAND_IN(SSL_SESSION_set_ex_data)
STAND_IN(SSL_SESSION_set_time)
STAND_IN(SSL_SESSION_set_time_ex)
STAND_IN(SSL_SESSION_set_timeout)
