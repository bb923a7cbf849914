#!/usr/bin/env bash
# Fact 4: wrappers of others (a tracer, a key logger, a policy) that are preloaded after the overlay
# are called as they would be without it, and what they change counts. Fact 5: of two copies of the
# overlay one works, and the other stands aside.
source "$(dirname "$0")/script.bash"
here=$ROOT/c-tests/wrappers
# The overlay is only preloaded: new_cb's 0 means what it means on stock.
"$CC" "$here/program.c" "${harness[@]}" -o program "${libraries[@]}" -lssl -lcrypto

# wrapper OUTPUT SOURCE WORDS...
wrapper() {
    "$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -DOPENSSL_SUPPRESS_DEPRECATED \
        "${includes[@]}" -I. -shared -fPIC "$here/$2.c" -o "$1" "${@:3}"
}

# both WHAT PRELOADED...: the program prints the same with the overlay before these.
both() {
    local what=$1 IFS=:
    shift
    rm -f stock_calls our_calls
    touch stock_calls our_calls
    WRAPPER_CALLS=stock_calls LD_PRELOAD=$* ./program >stock 2>&1 ||
        { fail "$what: it fails without the overlay"; tail -n 3 stock; }
    SESSCACHE_LOG=$PWD/log WRAPPER_CALLS=our_calls LD_PRELOAD=$overlay:$* ./program >ours 2>&1 ||
        { fail "$what: it fails"; tail -n 3 ours; }
    diff stock ours || fail "$what: the program sees otherwise"
}

grep -E '^(SSL|CRYPTO)_' "$ROOT/tests/exports.txt" | sed 's/.*/NAME(&)/' >all.h
# One function, and all of them; linked with libssl, and not.
for linked in "" "-Wl,--no-as-needed -lssl"; do
    for names in SSL_CTX_new SSL_CTX_ctrl SSL_free SSL_CTX_sess_set_new_cb SSL_CTX_set_verify \
        SSL_SESSION_set_timeout CRYPTO_get_ex_new_index SSL_CTX_remove_session all; do
        what="a wrapper of $names${linked:+, linked with libssl}"
        if [ "$names" = all ]; then cp all.h names.h; else echo "NAME($names)" >names.h; fi
        # shellcheck disable=SC2086  # words, or none
        wrapper wrapper.so every "${libraries[@]}" $linked
        both "$what" "$PWD/wrapper.so"
        [ -s stock_calls ] || fail "$what: nothing is called on stock"
        # Sessions are added to our cache and flushed out of it, and to no other.
        missing=$(comm -23 <(sort -u stock_calls) <(sort -u our_calls) |
            grep -vE '^SSL_CTX_(add_session|flush_sessions(_ex)?|sessions)$' || true)
        expect "$what: called on stock alone" "" "$missing"
    done
done

wrapper policy.so policy
both "a policy" "$PWD/policy.so"
grep -q 'cache size: 7' ours || fail "the policy on sizes does not count"
grep -q 'seen before: [1-9]' ours || fail "the policy's callback is not called"
both "a policy, and a wrapper of all" "$PWD/policy.so" "$PWD/wrapper.so"
[ ! -e log ] || fail "the log speaks of wrappers: $(<log)"

# Two copies.
cp -L "$overlay" copy.so
for order in "$overlay:$PWD/copy.so" "$PWD/copy.so:$overlay"; do
    rm -f log store store.key
    printf '%064d\n' 1 >store.key && chmod 600 store.key
    SESSCACHE_STORE="file:$PWD/store?size=1MiB" SESSCACHE_KEY_FILE=$PWD/store.key \
        SESSCACHE_LOG=$PWD/log LD_PRELOAD=$order ./program >ours 2>&1 || fail "$order: it fails"
    LD_PRELOAD=$overlay ./program >one 2>&1
    diff one ours || fail "$order: the program sees otherwise"
    expect "$order: lines in the log" 1 "$(wc -l <log)"
    grep -q "two copies of this library: ${order%%:*} works, and ${order#*:} stands aside" log ||
        fail "the log says: $(<log)"
done
finish
