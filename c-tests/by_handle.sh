#!/usr/bin/env bash
# Programs that call libssl past the overlay: they load it and ask its handle for each function (Qt,
# ctypes), or a module of theirs is loaded with RTLD_DEEPBIND. Preloaded, they are as on stock, and a line
# says so. A program that calls by name, beside them or alone, has our cache.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/by_handle

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 30 \
    -keyout key -out certificate -config /dev/stdin <<<$'[req]\ndistinguished_name=n\n[n]' \
    2>errors || { cat errors; exit 1; }
cat certificate key >server.pem

build() { "$CC" -O2 "${includes[@]}" "$@" "${libraries[@]}"; }
# stands NAME COMMAND...: as on stock, with one line in the log.
stands() {
    local name=$1
    shift
    "$@" >"$name.stock" 2>&1 || { fail "$name fails on stock:"; cat "$name.stock"; }
    rm -f log
    SESSCACHE_LOG=$PWD/log LD_PRELOAD=$overlay "$@" >"$name.ours" 2>&1 ||
        { fail "$name fails:"; tail -n 3 "$name.ours"; }
    diff "$name.stock" "$name.ours" || fail "$name is not as on stock"
    [ ! -e upstream ] || return 0
    expect "$name: lines in the log" 1 "$(grep -c "past this library" log)"
}
# Upstream's libssl calls itself without the linker: there is nothing to be seen, nor to be said.
build -w -o needs_ssl -x c - -Wl,--no-as-needed -lssl <<<'int main(void) { return 0; }'
libssl=$(ldd ./needs_ssl | awk '/libssl/ { print $3 }')
readelf -rW "$libssl" | grep -q ' SSL_CTX_new_ex' || touch upstream

build -o by_handle "$here/program.c"
stands program ./by_handle server.pem
expect "resumed in the program" 4 "$(grep -c '^again: 1' program.ours)"

# A module that is bound to libssl itself, beside a module that is not.
build -shared -fPIC -o module.so "$ROOT/c-tests/other_libssl/module.c" "${harness[@]}" -lssl -lcrypto
cp module.so bound.so
build -o load "$here/load.c" -Wl,--no-as-needed -lssl -lcrypto
stands bound ./load ./bound.so
SESSCACHE_LOG=off LD_PRELOAD=$overlay ./load ./bound.so ./module.so >mixed || fail "the two fail"
expect "active beside it" "$(grep -c '^active' bound.stock)" "$(grep -c '^active 1' mixed)"

# By name, in each of the ways.
for ways in "-fPIE -pie" "-no-pie" "-fno-plt" "-Wl,-z,lazy" "-Wl,-z,now"; do
    # shellcheck disable=SC2086  # a list of words
    build $ways -o by_name "$here/by_name.c" -lssl -lcrypto
    LD_PRELOAD=$overlay ./by_name >named || fail "by name, $ways: fails"
    expect "by name, $ways" 3 "$(grep -c ': 1$' named)"
done

if python3 -c 'import ctypes' 2>/dev/null; then
    stands ctypes python3 "$here/ctypes_server.py" server.pem "$libssl"
    expect "resumed by ctypes" 2 "$(grep -c 'resumed: 0 1' ctypes.ours)"
else
    note "no python3 with ctypes here"
fi
# Debian's Qt is linked with no libssl.
if /usr/bin/python3 -c 'import PyQt5.QtNetwork' 2>/dev/null && [ -z "$OPENSSL_LIBDIR" ]; then
    stands qt /usr/bin/python3 "$here/qt_server.py" certificate key
    expect "connections of Qt" 5 "$(grep -c '^encrypted' qt.ours)"
else
    note "Qt is not tried (Debian: python3-pyqt5)"
fi
finish
