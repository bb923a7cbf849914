/*
 * A wrapper of somebody else's: passes on every function that is named in names.h, which wrappers.sh
 * makes, and notes each that was called. All arguments are words, six of them at most. It knows
 * nothing of OpenSSL, and so may be linked with libssl or not.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef long function(long, long, long, long, long, long);

/* Once a name, at the end of the program: descriptors are the program's until then. */
#define NAME(name) \
    static int called_##name; \
    function wrapper_##name __asm__(#name); \
    long wrapper_##name(long a, long b, long c, long d, long e, long f) \
    { \
        static function *next; \
        if (next == NULL) \
            *(void **)&next = dlsym(RTLD_NEXT, #name); \
        called_##name = 1; \
        return next(a, b, c, d, e, f); \
    } \
    __attribute__((destructor)) static void say_##name(void) \
    { \
        FILE *calls = fopen(getenv("WRAPPER_CALLS"), "a"); \
        if (called_##name) \
            fprintf(calls, "%s\n", #name); \
        fclose(calls); \
    }
#include "names.h"
