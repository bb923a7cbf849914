/*
 * Stands for a program or a library (node, a plugin with OpenSSL inside) that has an OpenSSL of its
 * own and exports it: a few functions that count their calls, with contexts that are no contexts to
 * anybody else. Built several ways by link_order.sh.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int own_calls(void);
void *SSL_CTX_new(const void *method);
void SSL_CTX_free(void *ctx);
long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg);
void *SSL_CTX_get_ex_data(const void *ctx, int index);

static char object[16];
static int calls;

int own_calls(void) { return calls; }

void *SSL_CTX_new(const void *method)
{
    calls++;
    return (void)method, object;
}

void SSL_CTX_free(void *ctx)
{
    calls++;
    if (ctx != object)
        abort();
}

long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)
{
    (void)parg;
    calls++;
    return ctx == object ? cmd + larg : -1;
}

/* Nobody but the overlay would ask, and it has no business here. */
void *SSL_CTX_get_ex_data(const void *ctx, int index)
{
    (void)ctx, (void)index;
    fprintf(stderr, "asked for ex_data\n");
    abort();
}
