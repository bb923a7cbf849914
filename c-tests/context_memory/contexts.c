/*
 * Prints how many bytes a server's SSL_CTX takes, on average over many that live at once:
 * contexts [certificate] [sid]. Built and run by context_memory.sh.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "harness.h"

enum { FIRST = 3, COUNT = 1000 };

static SSL_CTX *make(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    REQUIRE(ctx != NULL);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "certificate") == 0)
            use_certificate(ctx);
        else
            REQUIRE(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)argv[i], 3));
    return ctx;
}

int main(int argc, char **argv)
{
    static SSL_CTX *contexts[FIRST + COUNT];
    size_t before = 0;

    for (int i = 0; i < FIRST + COUNT; i++) {
        /* The first ones make what all share. */
        if (i == FIRST)
            before = mallinfo2().uordblks;
        contexts[i] = make(argc, argv);
    }
    printf("%zu\n", (mallinfo2().uordblks - before) / COUNT);
    for (int i = 0; i < FIRST + COUNT; i++)
        SSL_CTX_free(contexts[i]);
    return 0;
}
