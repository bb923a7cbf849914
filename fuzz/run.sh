#!/usr/bin/env bash
# Fuzzes: each target for FUZZ_SECONDS (40). run.sh [TARGET…]
# An input that fails is kept in target/fuzz and is run again by: target/fuzz/bin/TARGET FILE
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-40}
triple=$(uname -m)-unknown-linux-gnu
out=$PWD/../target/fuzz
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(bucket cache opened_file record session stream text)

# The flags of `cargo fuzz`, which is not needed: coverage that libFuzzer reads, and AddressSanitizer.
flags=(--cfg fuzzing -Cpasses=sancov-module -Zsanitizer=address -Ccodegen-units=1
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares)
mkdir -p "$out"
RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$out} \
    cargo build --release --locked --quiet --target "$triple"
ln -sfn "${CARGO_TARGET_DIR:-$out}/$triple/release" "$out/bin"

memory=/dev/shm
[ -d $memory ] || memory=${TMPDIR:-/tmp}
work=$(mktemp -d -p $memory sesscache-fuzz.XXXXXX)
trap 'rm -rf "$work"' EXIT

# Inputs that mutation alone would not find soon.
seed() {
    mkdir -p "$work/$1"
    if [ "$1" = record ]; then
        # One session, one removal; both until 2033, of "0123456789abcdef".
        local until='\x00\x00\x36\x77\x00\x00\x00\x00' name=0123456789abcdef
        printf '\x06\x00\x01\x04'"$until$until$name"'payload!\0\0\0\0' >"$work/$1/put"
        printf '\x05\x00\x02\x04'"$until$until$name"'\0\0\0\0' >"$work/$1/removal"
    fi
    if [ "$1" = session ]; then
        # A TLS 1.2 session with a server name and a group, whole and shortened.
        local fields='\xa1\x06\x02\x04\x69\x24\x81\x00\xa2\x04\x02\x02\x01\x2c'
        fields+='\xa6\x11\x04\x0fwww.example.org\xb3\x03\x02\x01\x1d'
        printf '\x04\x30\x5d\x02\x01\x01\x02\x02\x03\x03\x04\x02\xc0\x2f\x04\x20'`
            `'0123456789abcdef0123456789abcdef\x04\x08password'"$fields" >"$work/$1/whole"
        printf '\x04\x08\xc0\x2fpassword\x0e\x16\x36\x99\x1d' >"$work/$1/short"
    fi
    if [ "$1" = stream ]; then
        local record="\x05\x00\x02\x04\x00\x00\x36\x77\x00\x00\x00\x00\x00\x00\x36\x77"
        record+='\x00\x00\x00\x000123456789abcdef\0\0\0\0'
        printf '*1\r\n*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*8\r\n$1\r\nv\r\n$1\r\n1\r\n'`
            `'$1\r\nh\r\n$4\r\nhost\r\n$1\r\nk\r\n$1\r\n3\r\n$1\r\nr\r\n$80\r\n'"$record$record"'\r\n' \
            >"$work/$1/entry"
        printf '*4\r\n$17\r\nlast-generated-id\r\n$3\r\n7-1\r\n$11\r\nfirst-entry\r\n'`
            `'*2\r\n$3\r\n6-2\r\n*0\r\n' >"$work/$1/info"
    fi
    [ "$1" = text ] || return 0
    printf '%064d 2026-11-25\n# older\n%064x\n' 0 255 >"$work/$1/keys"
    printf '83143:%064d 2026-11-28 next\n' 0 >"$work/$1/ratchet"
    printf 'file:/run/sesscache/nginx?size=64MiB&key=/etc/keys' >"$work/$1/file"
    printf 'shm:?size=1048576' >"$work/$1/shm"
}

passed=0 failed=0
for target in "${targets[@]}"; do
    seed "$target"
    log=$work/$target.log
    if TMPDIR=$work "$out/bin/$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$out/$target-" "$work/$target" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        grep -a -A 1 'panicked at' "$log" || true
        tail -n 40 "$log"
    fi
    awk -v target="$target" '
        /cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
        /number_of_executed_units/ { runs = $2 }
        END { printf "%s: %d executions, %d edges\n", target, runs, edges }' "$log"
done
printf 'fuzz: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" = 0 ]
