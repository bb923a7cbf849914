#!/usr/bin/env bash
# A callback that throws a C++ exception: it reaches the program through our frames, as through
# libssl's, and the cache goes on. What is printed is the same as on stock.
source "$(dirname "$0")/script.bash"

command -v g++ >/dev/null || skip "no g++"
g++ -std=c++11 "${includes[@]}" "$ROOT/c-tests/exceptions/throws.cc" -o throws "${libraries[@]}" -lssl -lcrypto
./throws >stock || fail "it does not end well on stock: $?"
expect "callbacks that throw on stock" 3 "$(grep -c 'callback\|_cb' stock)"
for settings in X= "SESSCACHE_STORE=shm:?size=1MiB"; do
    env SESSCACHE_LOG=off "$settings" LD_PRELOAD="$overlay" ./throws >ours || fail "$settings: ends with $?"
    diff stock ours || fail "$settings: it is not as on stock"
done
finish
