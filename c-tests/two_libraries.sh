#!/usr/bin/env bash
# Two lines of OpenSSL in one process: a module uses a libcrypto alone, another a libssl of another line
# or of another name, in each order, by link, RTLD_LOCAL and RTLD_GLOBAL. All that they see, data of
# their own on contexts, connections and sessions among it, is as on stock. With --valgrind each order of two
# lines also runs under valgrind, without an error or a lost block.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/two_libraries

command -v python3 >/dev/null || skip "no python3"
[ "$(uname -m)" = x86_64 ] || skip "the other line is made for x86-64"
printf 'int main(void) { return 0; }\n' | "$CC" -x c - -o needs_both "${libraries[@]}" \
    -Wl,--no-as-needed -lssl -lcrypto
ssl3=$(ldd ./needs_both | awk '/libssl/ { print $3 }')
crypto3=$(ldd ./needs_both | awk '/libcrypto/ { print $3 }')
# The next line is this one under another name, if the system has not both.
case $ssl3 in
    *.so.3) ssl4=$PWD/libssl.so.4 crypto4=$PWD/libcrypto.so.4 ;;
    *.so.4)
        ssl4=$ssl3 crypto4=$crypto3 ssl3=${ssl3%.4}.3 crypto3=${crypto3%.4}.3
        [ -e "$ssl3" ] && [ -e "$crypto3" ] || skip "there is no libssl.so.3 beside libssl.so.4"
        ;;
    *) skip "the lines are those of libssl.so.3 and libssl.so.4" ;;
esac
# As wheels bring one, and the next line.
for file in "$ssl3" "$crypto3"; do
    name=$(basename "$file" | sed 's/libssl/libssx/; s/libcrypto/libcrypta/')
    sed 's/libssl\.so/libssx.so/g; s/libcrypto\.so/libcrypta.so/g' "$file" >"$name"
    [ "${ssl4%/*}" != "$PWD" ] || python3 "$here/line.py" "$file" "$(basename "$file" .3).4"
done
files_of() {
    case $1 in
        3) echo "$ssl3 $crypto3" ;;
        4) echo "$ssl4 $crypto4" ;;
        x) echo "$PWD/libssx.so.3 $PWD/libcrypta.so.3" ;;
    esac
}
build() { "$CC" -O1 "${includes[@]}" -DOPENSSL_SUPPRESS_DEPRECATED "$@" "-Wl,-rpath,$PWD"; }
for line in 3 4 x; do
    read -r ssl crypto <<<"$(files_of $line)"
    build -shared -fPIC -o user$line.so "$here/user.c" "$ssl" "$crypto"
    build -shared -fPIC -o alone$line.so "$here/alone.c" "$crypto"
done
build -o load "$here/load.c"

# both WHAT ACTIVE COMMAND...: prints the same; so many of the contexts are ours.
both() {
    local what=$1 active=$2 status=0
    shift 2
    "$@" >stock 2>&1 || { fail "$what fails on stock:"; cat stock; }
    grep -q ': 0 1, data kept' stock || fail "$what: stock does not resume"
    LD_PRELOAD=$overlay SESSCACHE_LOG=off "$@" >ours 2>&1 || status=$?
    expect "$what: exit status" 0 $status
    diff <(grep -v ^active stock) <(grep -v ^active ours) || fail "$what: it is not as on stock"
    expect "$what: contexts of ours" "$active" "$(grep -c '^active 1' ours)"
    tried=$((tried + 1))
    [ "$MODE" = valgrind ] && [ "$a $b" = "3 4" ] || return 0
    checked=$((checked + 1))
    expect "$what: faults under valgrind" 0 "$(faults "$@")"
}

# faults COMMAND...: how many errors and lost blocks.
faults() {
    LD_PRELOAD=$overlay SESSCACHE_LOG=off valgrind --leak-check=full --errors-for-leak-kinds=definite \
        "$@" 2>&1 >/dev/null | sed -n 's/.*ERROR SUMMARY: \([0-9]*\) .*/\1/p'
}

tried=0 checked=0
for pair in "3 x" "x 3" "3 4" "4 3"; do
    read -r a b <<<"$pair"
    for how in local global; do
        for modules in "alone$a user$b" "user$b alone$a" "user$a user$b" "user$a" "alone$a user$a"; do
            # Of the two lines the first that is used is ours. A copy that a wheel has for itself is not.
            active=2
            case $how-$modules in
                local-*userx*user3 | local-*user3*userx) ;;
                local-*userx*) active=0 ;;
                # Of one line, and so of one library.
                global-user3*userx | global-userx*user3) active=4 ;;
            esac
            # shellcheck disable=SC2046,SC2086  # a list of words
            both "$how $modules" $active ./load $how $(printf './%s.so ' $modules)
        done
    done
    # A program that is linked with one libcrypto and a module of the other line, and the reverse.
    read -r ssl crypto <<<"$(files_of "$b")"
    read -r _ first <<<"$(files_of "$a")"
    for order in "$first ./user$b.so" "./user$b.so $first"; do
        # shellcheck disable=SC2086  # two words
        printf 'void use(void); int main(void) { use(); return 0; }\n' |
            build -x c - -x none -Wl,--no-as-needed -o linked $order 2>warnings || cat warnings
        both "linked with $order" 2 ./linked
    done
done
# Of two that are loaded, the one that makes contexts is ours.
both "a libssl that is not used" 2 ./load local -./user3.so ./user4.so
note "$tried orders, $checked of them under valgrind"
finish
