#!/usr/bin/env bash
# Fact 3: linked after libssl the library is out of use; it says so, once, in the log, and nothing
# when the order is right. Fact 2: a program that brings an OpenSSL of its own is left alone.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/link_order

# build NAME LIBRARIES...
build() {
    local name=$1
    shift
    "$CC" "$here/program.c" "${harness[@]}" -o "$name" "-L$LIBDIR" "${libraries[@]}" "$@"
}

# run NAME COMMAND...: leaves NAME.out, and NAME.log if something was logged.
run() {
    local name=$1
    shift
    env "SESSCACHE_LOG=$PWD/$name.log" "$@" >"$name.out" 2>"$name.err" ||
        fail "$name ended with $?: $(<"$name.err")"
    [ ! -s "$name.err" ] || fail "$name writes to stderr: $(<"$name.err")"
}

# log_lines NAME
log_lines() { if [ -e "$1.log" ]; then wc -l <"$1.log"; else echo 0; fi; }

# ---- the order of libraries ----------------------------------------------------------------------

for right in "-lsesscache -lssl -lcrypto" "-lcrypto -lsesscache -lssl"; do
    # shellcheck disable=SC2086  # a list of words
    build right $right
    run right ./right
    expect "linked in the right order ($right)" "active: 1 overlaid: 1" "$(xargs <right.out)"
    expect "lines in the log" 0 "$(log_lines right)"
done
for wrong in "-lssl -lsesscache -lcrypto" "-lssl -lcrypto -lsesscache"; do
    rm -f wrong.log
    # shellcheck disable=SC2086
    build wrong $wrong
    run wrong ./wrong
    expect "linked in the wrong order ($wrong)" "active: 0 overlaid: 0" "$(xargs <wrong.out)"
    expect "lines in the log" 1 "$(log_lines wrong)"
    grep -q 'libssl comes before libsesscache' wrong.log || fail "the log says: $(<wrong.log)"
done
# Preloading mends it.
rm -f wrong.log
run wrong "LD_PRELOAD=$overlay" ./wrong
expect "mended" "active: 1 overlaid: 1" "$(xargs <wrong.out)"
expect "lines in the log" 0 "$(log_lines wrong)"

# ---- another OpenSSL -----------------------------------------------------------------------------

cc=("$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror)
wanted="answer 42, active 0, calls 3"

# In the program itself, exported as node does.
"${cc[@]}" -rdynamic "$here/user.c" "$here/own.c" -o inside
run stock ./inside
expect "inside, on stock" "answer 42, active -1, calls 3" "$(<stock.out)"
run inside "LD_PRELOAD=$overlay" ./inside
expect "inside" "$wanted" "$(<inside.out)"
expect "lines in the log" 0 "$(log_lines inside)"

# And with the system's libssl in the process, too, for somebody else's use.
"${cc[@]}" -rdynamic "$here/user.c" "$here/own.c" -o beside "${libraries[@]}" \
    -Wl,--no-as-needed -lssl
run beside "LD_PRELOAD=$overlay" ./beside
expect "beside" "$wanted" "$(<beside.out)"
expect "lines in the log" 0 "$(log_lines beside)"

# In a library of another name, whose functions our own come before: they are passed on to.
"${cc[@]}" -shared -fPIC "$here/own.c" -o libown.so
"${cc[@]}" "$here/user.c" -o library "-Wl,-rpath,$PWD" -L. -lown
"${cc[@]}" "$here/user.c" -o library_beside "-Wl,-rpath,$PWD" -L. -Wl,--no-as-needed -lown \
    "${libraries[@]}" -lssl
for name in library library_beside; do
    run $name "LD_PRELOAD=$overlay" ./$name
    expect "in a $name" "$wanted" "$(<$name.out)"
    expect "lines in the log" 0 "$(log_lines $name)"
done
finish
