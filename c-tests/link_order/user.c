/* Uses an OpenSSL that is not the system's (own.c). Built by link_order.sh. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

int own_calls(void);
void *SSL_CTX_new(const void *method);
void SSL_CTX_free(void *ctx);
long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg);

int main(void)
{
    void *ctx = SSL_CTX_new(NULL);
    long answer = SSL_CTX_ctrl(ctx, 40, 2, NULL);
    int (*is_active)(const void *);

    *(void **)&is_active = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    printf("answer %ld, active %d", answer, is_active != NULL ? is_active(ctx) : -1);
    SSL_CTX_free(ctx);
    printf(", calls %d\n", own_calls());
    return 0;
}
