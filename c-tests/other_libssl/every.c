/* A module that calls every overlaid function that takes a context or a connection of its libssl. */
#include <stdio.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

int live(void);
/* In no header of OpenSSL before 3.4. */
void SSL_CTX_flush_sessions_ex(SSL_CTX *ctx, time_t tm);

int live(void)
{
    /* Never looked into. */
    static char a_session[4096];
    SSL_SESSION *session = (SSL_SESSION *)a_session;
    static unsigned char id[32];
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl;

    if (ctx == NULL || SSL_CTX_new_ex(NULL, NULL, TLS_method()) == NULL)
        return 1;
    SSL_CTX_add_session(ctx, session);
    SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, NULL);
    SSL_CTX_ctrl(ctx, SSL_CTRL_SESS_NUMBER, 0, NULL);
    SSL_CTX_flush_sessions(ctx, 0);
    SSL_CTX_flush_sessions_ex(ctx, 0);
    SSL_CTX_remove_session(ctx, session);
    SSL_CTX_sess_get_get_cb(ctx);
    SSL_CTX_sess_get_new_cb(ctx);
    SSL_CTX_sess_get_remove_cb(ctx);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_sessions(ctx);
    SSL_CTX_set_cert_cb(ctx, NULL, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, NULL, NULL);
    SSL_CTX_set_generate_session_id(ctx, NULL);
    SSL_CTX_set_psk_find_session_callback(ctx, NULL);
    SSL_CTX_set_psk_server_callback(ctx, NULL);
    (void)!SSL_CTX_set_session_id_context(ctx, id, sizeof(id));
    SSL_CTX_set_allow_early_data_cb(ctx, NULL, NULL);
    SSL_CTX_set_session_ticket_cb(ctx, NULL, NULL, NULL);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, NULL);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    ssl = SSL_new(ctx);
    (void)!SSL_set1_param(ssl, SSL_get0_param(ssl));
    SSL_has_matching_session_id(ssl, id, sizeof(id));
    SSL_set_SSL_CTX(ssl, ctx);
    SSL_set_cert_cb(ssl, NULL, NULL);
    SSL_set_generate_session_id(ssl, NULL);
    SSL_set_psk_find_session_callback(ssl, NULL);
    SSL_set_allow_early_data_cb(ssl, NULL, NULL);
    SSL_set_psk_server_callback(ssl, NULL);
    (void)!SSL_set_purpose(ssl, X509_PURPOSE_SSL_CLIENT);
    SSL_set_session(ssl, session);
    (void)!SSL_set_session_id_context(ssl, id, sizeof(id));
    (void)!SSL_set_session_secret_cb(ssl, NULL, NULL);
    (void)!SSL_set_trust(ssl, X509_TRUST_SSL_CLIENT);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_clear(ssl);
    SSL_free(ssl);
    return 0;
}
