#!/usr/bin/env bash
# An SSL_CTX takes at most 1.05 times the memory that it takes on stock, as glibc counts it: preloaded
# and linked, with a store and without, bare and set up as a server's.
source "$(dirname "$0")/script.bash"

# build NAME WORDS...
build() {
    "$CC" "$ROOT/c-tests/context_memory/contexts.c" "${harness[@]}" -o "$@" "${libraries[@]}" \
        -lssl -lcrypto
}
build plain
build linked -Wl,--no-as-needed "-L$LIBDIR" -lsesscache
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >key
chmod 600 key

# is_small WHAT STOCK OURS
is_small() {
    note "$1: $3 bytes, on stock $2"
    [ $(($3 * 100)) -le $(($2 * 105)) ] || fail "$1: $3 bytes, more than 1.05 times stock's $2"
}

measured=0
# measure SETTINGS CONTEXT: with these settings, of contexts that are set up so.
measure() {
    local settings context what stock
    read -ra settings <<<"$1"
    read -ra context <<<"$2"
    what="${2:-bare}${1:+, $1}"
    stock=$(./plain "${context[@]}")
    [ "$stock" -gt 0 ] || skip "this malloc does not count"
    is_small "$what, preloaded" "$stock" \
        "$(env "${settings[@]}" LD_PRELOAD="$overlay" ./plain "${context[@]}")"
    is_small "$what, linked" "$stock" "$(env "${settings[@]}" ./linked "${context[@]}")"
    measured=$((measured + 1))
}

key_file=SESSCACHE_KEY_FILE=$PWD/key
for context in "" sid certificate "certificate sid"; do
    measure "" "$context"
    measure SESSCACHE_STORE=shm: "$context"
    measure "$key_file" "$context"
    measure "SESSCACHE_STORE=file:$PWD/store $key_file" "$context"
done
expect "ways measured" 16 "$measured"
finish
