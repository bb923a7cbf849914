#!/usr/bin/env bash
# A program that took an index on SSL_SESSION before the library came, so that the library never saw
# it, shares nothing either. One that took no index, or one of another class, shares.
source "$(dirname "$0")/script.bash"

cat >later.c <<'C'
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    int (*program)(int, char **), class = -1;
    void *part;

    if (argc != 4)
        return 2;
    if (strcmp(argv[1], "session") == 0)
        class = CRYPTO_EX_INDEX_SSL_SESSION;
    else if (strcmp(argv[1], "connection") == 0)
        class = CRYPTO_EX_INDEX_SSL;
    if (class >= 0 && CRYPTO_get_ex_new_index(class, 0, NULL, NULL, NULL, NULL) < 0)
        return 2;
    if (dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL) == NULL ||
        (part = dlopen(argv[3], RTLD_NOW)) == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&program = dlsym(part, "main");
    return program(1, argv);
}
C
"$CC" later.c "${includes[@]}" -o later "${libraries[@]}" -lcrypto -ldl
"$CC" "$ROOT/c-tests/guest/two_contexts.c" "${harness[@]}" -o part.so -shared -fPIC "${libraries[@]}" \
    -Wl,--no-as-needed -lssl -lcrypto

for class in none connection session; do
    wanted=$([ $class = session ] && echo 0 || echo 1)
    expect "an index of $class" "resumed: $wanted" \
        "$(SESSCACHE_STORE='shm:?size=1MiB' ./later $class "$overlay" ./part.so 2>&1)"
    expect "an index of $class, share" "resumed: 1" "$(SESSCACHE_EX_DATA=share \
        SESSCACHE_STORE='shm:?size=1MiB' ./later $class "$overlay" ./part.so 2>&1)"
    expect "an index of $class, no store" "resumed: 0" "$(./later $class "$overlay" ./part.so 2>&1)"
done
finish
