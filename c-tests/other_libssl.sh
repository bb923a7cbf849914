#!/usr/bin/env bash
# A module has a libssl of its own, of another name, as Python's binary wheels do. With the overlay
# in front its users get what they get without: beside the libssl whose caches are replaced, before
# it, and alone.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/other_libssl

# The system's, as it is and under other names of the same length.
printf 'int main(void) { return 0; }\n' | "$CC" -x c - -o needs_both "${libraries[@]}" \
    -Wl,--no-as-needed -lssl -lcrypto
ldd ./needs_both | awk '/libssl|libcrypto/ { print $3 }' >files
expect "libraries found" 2 "$(wc -l <files)"
while read -r file; do
    name=$(basename "$file" | sed 's/libssl/libssx/; s/libcrypto/libcrypta/')
    sed 's/libssl\.so/libssx.so/g; s/libcrypto\.so/libcrypta.so/g' "$file" >"$name"
done <files

build_module() { "$CC" -shared -fPIC "${@:2}" -o "$1"; }
"$CC" "$here/program.c" -o program
build_module system.so "$here/module.c" "${harness[@]}" "${libraries[@]}" -lssl -lcrypto
build_module renamed.so "$here/module.c" "${harness[@]}" libssx.so.* libcrypta.so.* "-Wl,-rpath,$PWD"

# both WHAT ACTIVE MODULE...: prints the same; of its contexts so many are ours.
both() {
    local what=$1 active=$2
    shift 2
    ./program "$@" >stock 2>&1 || { fail "$what fails on stock:"; cat stock; }
    SESSCACHE_LOG=$PWD/log LD_PRELOAD=$overlay ./program "$@" >ours 2>&1 ||
        { fail "$what fails:"; tail -n 3 ours; }
    diff <(grep -v ^active stock) <(grep -v ^active ours) || fail "$what: it is not as on stock"
    expect "$what: contexts of ours" "$active" "$(grep -c '^active 1' ours)"
}

each=$(./program ./system.so | grep -c ^active)
[ "$each" -gt 0 ] || fail "nothing is tried"
both "the system's" "$each" ./system.so
[ ! -e log ] || fail "the log speaks of the one libssl: $(<log)"
both "another beside it" "$each" ./system.so ./renamed.so
grep -q "libssl of its own, .*/libssx.so" log || fail "nothing in the log"
both "another before it" "$each" ./renamed.so ./system.so ./renamed.so
both "another alone" 0 ./renamed.so
expect "lines in the log, one a process" 3 "$(wc -l <log)"
grep -q '^tls12 sessions: 1' ours || fail "nothing is cached there"
grep -q '^tls13 ends freed: 2' ours || fail "nothing is freed there"

# Of another make: every function gets there, or the one that takes its place.
names() { grep '^SSL_' | grep -v '^SSL_SESSION_' | sed 's/sessions_ex$/sessions/' | LC_ALL=C sort; }
names <"$ROOT/tests/exports.txt" >overlaid
for words in 0 1 2 3; do
    mkdir "$words"
    build_module "$words/libstandin.so" "$here/stand_in.c" "-DFIRST=$words" \
        "${includes[@]}" -Wl,-soname,libstandin.so
    build_module "$words/every.so" "$here/every.c" "${includes[@]}" -DOPENSSL_SUPPRESS_DEPRECATED \
        "$words/libstandin.so" "-Wl,-rpath,$PWD/$words"
    for first in "" ./system.so; do
        what="$words words before the method, after ${first:-nothing}"
        # shellcheck disable=SC2086  # no argument or one
        LD_PRELOAD=$overlay ./program $first "$words/every.so" >called || fail "$what: fails"
        diff overlaid <(names <called) || fail "$what: not all got there"
    done
done
finish
