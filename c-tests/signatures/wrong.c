/*
 * The six functions with a callback of a wrong type. Compiled by signatures.sh with WRONG=0, which
 * must pass, and with each other number, which must not.
 */
#include <sesscache.h>

int new_cb(SSL *ssl, SSL_SESSION *sess);
void remove_cb(SSL_CTX *ctx, SSL_SESSION *sess);
SSL_SESSION *get_cb(SSL *ssl, const unsigned char *data, int len, int *copy);

void wrong_new_cb(SSL *ssl, SSL_SESSION *sess);
void wrong_remove_cb(SSL *ssl, SSL_SESSION *sess);
SSL_SESSION *wrong_get_cb(SSL *ssl, unsigned char *data, int len, int *copy);

void use(SSL_CTX *ctx);

void use(SSL_CTX *ctx)
{
#if WRONG == 0
    int (*new_got)(SSL *, SSL_SESSION *) = SSL_CTX_sess_get_new_cb(ctx);
    void (*remove_got)(SSL_CTX *, SSL_SESSION *) = SSL_CTX_sess_get_remove_cb(ctx);
    SSL_SESSION *(*get_got)(SSL *, const unsigned char *, int, int *) =
        SSL_CTX_sess_get_get_cb(ctx);

    SSL_CTX_sess_set_new_cb(ctx, new_cb);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    SSL_CTX_sess_set_get_cb(ctx, get_cb);
    SSL_CTX_sess_set_new_cb(ctx, new_got);
    SSL_CTX_sess_set_remove_cb(ctx, remove_got);
    SSL_CTX_sess_set_get_cb(ctx, get_got);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
#elif WRONG == 1
    SSL_CTX_sess_set_new_cb(ctx, wrong_new_cb);
#elif WRONG == 2
    SSL_CTX_sess_set_remove_cb(ctx, wrong_remove_cb);
#elif WRONG == 3
    SSL_CTX_sess_set_get_cb(ctx, wrong_get_cb);
#elif WRONG == 4
    void (*got)(SSL *, SSL_SESSION *) = SSL_CTX_sess_get_new_cb(ctx);
    (void)got;
#elif WRONG == 5
    void (*got)(SSL *, SSL_SESSION *) = SSL_CTX_sess_get_remove_cb(ctx);
    (void)got;
#elif WRONG == 6
    SSL_SESSION *(*got)(SSL *, unsigned char *, int, int *) = SSL_CTX_sess_get_get_cb(ctx);
    (void)got;
#endif
}
