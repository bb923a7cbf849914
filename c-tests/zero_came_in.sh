#!/usr/bin/env bash
# Clause 3, for each way in which the library can come into a program: 0 from new_cb removes the
# session where the program was linked with us, and keeps it, as stock does, where nobody told the
# program of us. SESSCACHE_NEW_CB_ZERO decides in all of them.
source "$(dirname "$0")/script.bash"
program=$ROOT/c-tests/guest/cleared.c

# build NAME WORDS...
build() {
    local name=$1
    shift
    "$CC" "$program" "${harness[@]}" -o "$name" "$@" "${libraries[@]}" -Wl,--no-as-needed -lssl \
        -lcrypto
}

# A module that needs ours.
printf 'int nothing_of_openssl;\n' | "$CC" -shared -fPIC -x c - -o module.so -Wl,--no-as-needed \
    "-L$LIBDIR" -lsesscache
# A program that leaves TLS to a library of its own, and that library.
printf 'int serve(int, char **);\nint main(int argc, char **argv) { return serve(argc, argv); }\n' \
    >front.c
build plain
build linked -Wl,--no-as-needed "-L$LIBDIR" -lsesscache
build by_path "$LIBDIR/libsesscache.so"
build libserve.so -shared -fPIC -Dmain=serve -Wl,--no-as-needed "-L$LIBDIR" -lsesscache
"$CC" front.c -o through -L. -lserve "-Wl,-rpath,$PWD" "-Wl,-rpath-link,$LIBDIR" "${libraries[@]}"
ln -s "$(realpath "$overlay")" another_name.so

# cached WHAT WANTED COMMAND...: how many sessions are cached after one that new_cb declined; then
# the same where the operator has decided.
cached() {
    local what=$1 wanted=$2
    shift 2
    expect "$what" "cached: $wanted" "$(env "$@" 2>&1)"
    expect "$what, keep" "cached: 1" "$(env SESSCACHE_NEW_CB_ZERO=keep "$@" 2>&1)"
    expect "$what, set to nothing" "cached: $wanted" "$(env SESSCACHE_NEW_CB_ZERO= "$@" 2>&1)"
    expect "$what, not understood" "cached: $wanted" \
        "$(env SESSCACHE_LOG=off SESSCACHE_NEW_CB_ZERO=both "$@" 2>&1)"
    expect "$what, remove" "cached: 0" "$(env SESSCACHE_NEW_CB_ZERO=remove "$@" 2>&1)"
}

expect "stock" "cached: 1" "$(./plain)"
cached "preloaded" 1 "LD_PRELOAD=$overlay" ./plain
cached "preloaded by another name" 1 "LD_PRELOAD=$PWD/another_name.so" ./plain
cached "linked" 0 ./linked
cached "linked by its path" 0 ./by_path
cached "linked through a library" 0 ./through
cached "linked and preloaded" 0 "LD_PRELOAD=$overlay" ./linked
cached "linked and preloaded by another name" 0 "LD_PRELOAD=$PWD/another_name.so" ./linked
cached "linked through a library and preloaded" 0 "LD_PRELOAD=$overlay" ./through

# A program that brings us in later by a module, before it brings in libssl.
cat >later.c <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    int (*program)(int, char **);
    void *part;

    if (argc != 3 || dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL ||
        (part = dlopen(argv[2], RTLD_NOW)) == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&program = dlsym(part, "main");
    return program(1, argv);
}
C
"$CC" later.c -o later -ldl
build part.so -shared -fPIC
cached "brought in by a module" 1 ./later ./module.so ./part.so
cached "loaded by the program" 1 ./later "$overlay" ./part.so
finish
