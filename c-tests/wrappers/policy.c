/*
 * A wrapper that changes what the program asks for: a cache of at most seven sessions, a callback of
 * its own before the program's, no remove_cb, and no mode but that of a server. The program is not to
 * see its callback.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <openssl/ssl.h>

static int (*program_new_cb)(SSL *, SSL_SESSION *);
static int seen;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int policy_seen(void);
int policy_seen(void)
{
    return seen;
}

static int see(SSL *ssl, SSL_SESSION *session)
{
    seen++;
    return program_new_cb(ssl, session);
}

void SSL_CTX_sess_set_new_cb(SSL_CTX *ctx, int (*cb)(SSL *, SSL_SESSION *))
{
    void (*set)(SSL_CTX *, int (*)(SSL *, SSL_SESSION *));

    *(void **)&set = next("SSL_CTX_sess_set_new_cb");
    program_new_cb = cb;
    set(ctx, cb == NULL ? NULL : see);
}

int (*SSL_CTX_sess_get_new_cb(SSL_CTX *ctx))(SSL *, SSL_SESSION *)
{
    (void)ctx;
    return program_new_cb;
}

void SSL_CTX_sess_set_remove_cb(SSL_CTX *ctx, void (*cb)(SSL_CTX *, SSL_SESSION *))
{
    (void)ctx, (void)cb;
}

long SSL_CTX_ctrl(SSL_CTX *ctx, int cmd, long larg, void *parg)
{
    long (*control)(SSL_CTX *, int, long, void *);

    *(void **)&control = next("SSL_CTX_ctrl");
    if (cmd == SSL_CTRL_SET_SESS_CACHE_SIZE && larg > 7)
        larg = 7;
    if (cmd == SSL_CTRL_SET_SESS_CACHE_MODE)
        larg = SSL_SESS_CACHE_SERVER;
    return control(ctx, cmd, larg, parg);
}
