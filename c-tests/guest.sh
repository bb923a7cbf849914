#!/usr/bin/env bash
# Fact 2: a preloaded library gets into programs that have nothing to do with it. It brings nothing
# in, changes nothing and says nothing there. Facts 2 and 3: what it exports and asks for. Fact 15:
# its settings are those of the start, whatever becomes of the environment.
source "$(dirname "$0")/script.bash"

# ---- programs without libssl ---------------------------------------------------------------------

# same WHAT COMMAND...: its output, complaints and exit status do not change.
same() {
    local what=$1 plain=0 ours=0
    shift
    "$@" >plain.out 2>plain.err || plain=$?
    LD_PRELOAD=$overlay "$@" >ours.out 2>ours.err || ours=$?
    expect "$what: exit status" $plain $ours
    diff plain.out ours.out || fail "$what: the output changes"
    diff plain.err ours.err || fail "$what: the complaints change"
}

echo text >file
same "true" true
same "false" false
same "cat" cat file
same "cat of a missing file" cat missing
same "sh" sh -c 'cat file; (exit 5); echo $?; exit 7'
same "a pipe" sh -c 'cat file | tr t T | sed s/T/U/ >out; cat out'
same "descriptors" sh -c 'ls /proc/self/fd'
same "signals and threads" grep -E '^(Sig(Pnd|Blk|Ign|Cgt)|ShdPnd|Threads):' /proc/self/status
# shellcheck disable=SC2016  # for the inner shell
same "bash" bash -c 'RANDOM=1; echo $RANDOM; trap "echo bye" EXIT'
same "a clean environment" env -i PATH="$PATH" "LD_LIBRARY_PATH=$LD_LIBRARY_PATH" env

read_maps='while read -r line; do echo "$line"; done </proc/self/maps'
for command in "cat /proc/self/maps" "sh -c '$read_maps'"; do
    LD_PRELOAD=$overlay sh -c "exec $command" >maps
    grep -q libsesscache maps || fail "not loaded at all: $command"
    ! grep -E 'libssl|libcrypto' maps || fail "OpenSSL is brought in: $command"
done

# For information: what the load costs. The best of ten rounds of 20.
best() {
    local least=999999999 start now
    for _ in {1..10}; do
        start=${EPOCHREALTIME/./}
        for _ in {1..20}; do "$@"; done
        now=${EPOCHREALTIME/./}
        ((now - start >= least)) || least=$((now - start))
    done
    echo $((least / 20))
}
plain=$(best env true) ours=$(best env "LD_PRELOAD=$overlay" true)
note "a start costs $plain us, with the library $ours us"

# ---- the file ------------------------------------------------------------------------------------

nm -D --defined-only "$overlay" | awk '{ print $3 }' | LC_ALL=C sort >exports
diff "$ROOT/tests/exports.txt" exports || fail "its exports are not those of tests/exports.txt"
nm -D --defined-only "$overlay" | grep -q @ && fail "its symbols have versions"

readelf -d "$overlay" >dynamic
grep -q 'SONAME.*\[libsesscache.so.0\]' dynamic || fail "SONAME: $(grep SONAME dynamic)"
! grep -E 'NEEDED.*(libssl|libcrypto)' dynamic || fail "it needs OpenSSL"
! grep -E 'TEXTREL|RPATH|RUNPATH' dynamic || fail "it has what a system library must not have"

# Undefined symbols, against all that the two libraries define.
printf 'int main(void) { return 0; }\n' | "$CC" -x c - -o needs_both "${libraries[@]}" \
    -Wl,--no-as-needed -lssl -lcrypto
ldd ./needs_both | awk '/libssl|libcrypto/ { print $3 }' >files
expect "libraries found" 2 "$(wc -l <files)"
while read -r file; do nm -D --defined-only "$file"; done <files |
    awk '{ sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort -u >openssl
[ "$(wc -l <openssl)" -gt 1000 ] || fail "OpenSSL's symbols are not seen"
nm -D --undefined-only "$overlay" | awk '{ sub(/@.*/, "", $NF); print $NF }' |
    LC_ALL=C sort -u >undefined
grep -qx dlsym undefined || fail "its undefined symbols are not seen"
expect "undefined symbols of OpenSSL's" "" "$(LC_ALL=C comm -12 openssl undefined)"

# ---- the environment -----------------------------------------------------------------------------

"$CC" "$ROOT/c-tests/guest/cleared.c" "${harness[@]}" -o preloaded "${libraries[@]}" -lssl -lcrypto
"$CC" "$ROOT/c-tests/guest/cleared.c" "${harness[@]}" -o linked "-L$LIBDIR" -lsesscache \
    "${libraries[@]}" -lssl -lcrypto
for how in "" overwritten; do
    for value in keep remove; do
        wanted=$([ $value = keep ] && echo 1 || echo 0)
        # shellcheck disable=SC2086  # no argument or one
        expect "preloaded, $value, environment ${how:-cleared}" "cached: $wanted" \
            "$(SESSCACHE_NEW_CB_ZERO=$value LD_PRELOAD=$overlay ./preloaded $how)"
        # shellcheck disable=SC2086
        expect "linked, $value, environment ${how:-cleared}" "cached: $wanted" \
            "$(SESSCACHE_NEW_CB_ZERO=$value ./linked $how)"
    done
done
finish
