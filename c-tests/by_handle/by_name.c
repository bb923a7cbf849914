/*
 * A program that calls SSL_CTX_new_ex() by its name, in the ways that a compiler and a linker have:
 * its contexts are ours. Its arguments are those with which libssl's own SSL_CTX_new() calls it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <openssl/ssl.h>

SSL_CTX *(*by_address)(OSSL_LIB_CTX *, const char *, const SSL_METHOD *) = SSL_CTX_new_ex;

static void report(const char *way, SSL_CTX *ctx)
{
    int (*function)(const SSL_CTX *);

    *(void **)&function = dlsym(RTLD_DEFAULT, "sesscache_is_active");
    printf("%s: %d\n", way, function(ctx));
    SSL_CTX_free(ctx);
}

int main(void)
{
    report("by address", by_address(NULL, NULL, TLS_server_method()));
    report("by name", SSL_CTX_new_ex(NULL, NULL, TLS_server_method()));
    report("by name again", SSL_CTX_new_ex(NULL, NULL, TLS_server_method()));
    return 0;
}
