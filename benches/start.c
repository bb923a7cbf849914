/*
 * What it costs a server to make its contexts.
 *
 *   start COUNT
 *
 * Makes so many SSL_CTX in measured_contexts, which valgrind --tool=callgrind can be told, and prints the
 * microseconds of one. The first of the process is made before: it finds libssl.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) void measured_contexts(SSL_CTX **contexts, int count)
{
    for (int i = 0; i < count; i++)
        contexts[i] = SSL_CTX_new(TLS_server_method());
}

int main(int argc, char **argv)
{
    int count = argc == 2 ? atoi(argv[1]) : 0;
    SSL_CTX *first = SSL_CTX_new(TLS_server_method()), **contexts;
    uint64_t before;

    if (count <= 0) {
        fprintf(stderr, "usage: start COUNT\n");
        return 2;
    }
    contexts = calloc((size_t)count, sizeof(SSL_CTX *));
    REQUIRE(first != NULL && contexts != NULL);
    before = now_ns();
    measured_contexts(contexts, count);
    printf("%.2f\n", (double)(now_ns() - before) / 1e3 / count);
    for (int i = 0; i < count; i++) {
        REQUIRE(contexts[i] != NULL);
        SSL_CTX_free(contexts[i]);
    }
    free(contexts);
    SSL_CTX_free(first);
    return 0;
}
