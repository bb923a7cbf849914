#!/usr/bin/env bash
# Measures libsesscache against stock OpenSSL: one binary, run in turn without and with the library
# preloaded (A B A B ...), and compares run by run.
#
#   benches/run.sh [--store|--before|--admission] [--quick|--full] [--repeat N] [GROUP...]
#
#   GROUP     lookup prefix add_full timeouts flush memory handshake instructions (default: all)
#   --store   the host store instead: under 6 minutes. Its GROUPs are store_operations store_bytes
#             store_seal store_handshake store_instructions store_nginx store_crowd store_apache
#   --before  the store alone beside that of another commit (BEFORE): under 5 minutes after two builds. Its
#             GROUPs are before_operations before_bytes
#   --admission
#             who is let in, instead: under 10 minutes. Its GROUPs are admission_clients
#             admission_first admission_hosts admission_siblings tickets
#   --quick   fewer sizes, shorter: under 3 minutes; for a look while working
#   --full    longer, more sizes (4,000,000 sessions too), more repetitions: about an hour
#   --repeat  so many pairs of runs (5; with --full 9)
#
#   LIBDIR    where libsesscache.so is (target/release)
#   BEFORE    where an earlier one is, for admission_siblings: of the same cargo profile; for --before a
#             commit, or a folder that has one
#   BUILD     where programs and results go (target/bench)
#
# Writes BUILD/results.tsv, or store.tsv, before.tsv or admission.tsv. A run of all groups that is not --quick also
# rewrites the tables of docs/PERFORMANCE.md and docs/performance.svg. Measure on an idle machine.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
all_groups="lookup prefix add_full timeouts flush memory handshake instructions"
results=results

die() { echo "run.sh: $*" >&2; exit 1; }

mode=default repeat='' groups=()
if [ "${1:-}" = --store ]; then
    # shellcheck source-path=SCRIPTDIR source=store_groups.sh
    source "$here/store_groups.sh"
    shift
elif [ "${1:-}" = --before ]; then
    # shellcheck source-path=SCRIPTDIR source=before_groups.sh
    source "$here/before_groups.sh"
    shift
elif [ "${1:-}" = --admission ]; then
    # shellcheck source-path=SCRIPTDIR source=admission_groups.sh
    source "$here/admission_groups.sh"
    shift
fi
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --full) mode=${1#--} ;;
        --repeat) shift; repeat=${1:?} ;;
        -*) die "no such option: $1" ;;
        *)
            case " $all_groups " in *" $1 "*) ;; *) die "no such group: $1" ;; esac
            groups+=("$1") ;;
    esac
    shift
done
is_complete=$([ ${#groups[@]} = 0 ] && [ "$mode" != quick ] && echo yes || echo no)
[ ${#groups[@]} -gt 0 ] || read -ra groups <<<"$all_groups"
repeat=${repeat:-$([ "$mode" = full ] && echo 9 || echo 5)}

# What the developer has set must not change a figure.
for variable in ${!SESSCACHE_@}; do unset "$variable"; done
unset LD_PRELOAD MALLOC_PERTURB_ MALLOC_ARENA_MAX GLIBC_TUNABLES
export OPENSSL_CONF=/dev/null LC_ALL=C

for tool in "${CC:-gcc}" python3; do
    command -v "$tool" >/dev/null || die "missing: $tool"
done
library=$(realpath -m "${LIBDIR:-$root/target/release}")/libsesscache.so
[ -f "$library" ] || die "no $library: run make first"
build=$(realpath -m "${BUILD:-$root/target/bench}")
mkdir -p "$build"
work=$(mktemp -d "$build/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
# A copy, so that a build meanwhile does not change what is measured.
cp "$library" "$work/libsesscache.so"

# ---- building ------------------------------------------------------------------------------------

cflags=(-std=c11 -D_GNU_SOURCE -DOPENSSL_SUPPRESS_DEPRECATED -Wall -Wextra -Werror -O2 -g)
compile() {
    local output=$1
    shift
    "${CC:-gcc}" "${cflags[@]}" "${@/#/$here/}" -o "$work/$output" -lssl -lcrypto -lpthread
}
compile cache cache.c cache_mix.c cache_add.c cache_whole.c bench.c
compile handshake handshake.c handshake_ends.c bench.c
compile admission admission.c handshake_ends.c bench.c

# ---- running -------------------------------------------------------------------------------------

# as_way WAY COMMAND...: stock, ours, or store, which is ours with a host store. A small one: else
# what is measured is the first touch of its pages, for which the kernel has to make them.
as_way() {
    local way=$1 environment=()
    shift
    [ "$way" = stock ] || environment=("LD_PRELOAD=$work/libsesscache.so")
    [ "$way" != store ] || environment+=("SESSCACHE_STORE=shm:?size=1MiB" "SESSCACHE_LOG=stderr")
    timeout -k 5 600 env "${environment[@]}" "$@"
}

steps=0
step() {
    steps=$((steps + 1))
    printf '[%s, %d] %s\n' "$(date +%T)" "$steps" "$*"
}

# Says what came out of a step, and adds it to raw.tsv.
finish_step() {
    python3 "$here/report.py" show "$work/part"
    cat "$work/part" >>"$work/raw.tsv"
    rm "$work/part"
}

# callgrind_totals FUNCTION COUNT WAY ARGUMENTS...: instructions in a function of handshake, for
# each of COUNT handshakes.
callgrind_totals() {
    local function=$1 count=$2 way=$3
    shift 3
    as_way "$way" valgrind -q --tool=callgrind "--callgrind-out-file=$work/callgrind" \
        "--toggle-collect=$function" "$work/handshake" --once "$count" "$@" >&2
    awk -v count="$count" '$1 == "totals:" { print $2 / count }' "$work/callgrind"
}

# pair PROGRAM ARGUMENTS...: stock and ours in turn.
pair() {
    local program=$1 number way
    step "$@"
    shift
    for number in $(seq "$repeat"); do
        for way in stock ours; do
            as_way $way "$work/$program" "$@" >"$work/lines" || die "failed on $way: $program $*"
            # The process says itself which cache it ran on.
            ! grep -qv "^$way	" "$work/lines" || die "not $way: $program $*"
            sed "s/^/$number\t/" "$work/lines" >>"$work/part"
        done
    done
    finish_step
}

sizes="1000 20000 100000 1000000" seconds=0.2
case $mode in
    quick) sizes="20000 100000" seconds=0.05 ;;
    full) sizes="1000 5000 20000 100000 300000 1000000" seconds=0.5 ;;
esac

lookup() {
    local n cases="lookup_hit lookup_miss mix_90_10 mix_50_50 add flush_nothing"
    # shellcheck disable=SC2086  # cases are words
    for n in $sizes; do
        pair cache -n "$n" -s $seconds -t "$([ "$n" = 20000 ] && echo 1,2,4 || echo 1,2)" $cases
    done
    [ "$mode" != quick ] || pair cache -n 1000000 -s $seconds -t 1 lookup_hit lookup_miss
    [ "$mode" != full ] ||
        repeat=3 pair cache -n 4000000 -s $seconds -t 1 lookup_hit lookup_miss add
}

# Stock walks one chain: more sessions than these take hours to add.
prefix() {
    local n
    for n in 1000 20000; do
        pair cache -n $n -s $seconds prefix_hit
    done
}

add_full() {
    local n
    for n in $sizes; do pair cache -n "$n" -s $seconds -t 1,2 add_full; done
}

timeouts() {
    local n
    for n in $sizes; do
        pair cache -n "$n" -s $seconds add_random_timeouts add_lowered_timeout
    done
}

flush() {
    local n
    for n in $sizes; do pair cache -n "$n" flush_tenth flush_tenth_changed; done
}

memory() {
    local n
    for n in $sizes; do pair cache -n "$n" ctx_free bytes; done
}

# handshakes VARIANT CACHED PROTOCOLS KEYS
handshakes() {
    local protocol key kind
    for protocol in $3; do
        for key in $4; do
            for kind in full resumed; do
                pair handshake -n "$2" -s $seconds "$protocol" "$key" $kind "$1"
            done
        done
    done
}

handshake() {
    local n
    handshakes plain 20000 "tls12 tls13" "$([ "$mode" = quick ] && echo ec || echo "ec rsa")"
    handshakes external 0 tls12 ec
    [ "$mode" != quick ] || return 0
    handshakes client_cert 20000 "tls12 tls13" ec
    handshakes external_client_cert 0 "tls12 tls13" ec
    handshakes external 0 tls13 ec
    for n in 1000 100000 1000000; do handshakes plain $n "tls12 tls13" ec; done
}

# Instructions a handshake. Nothing varies but the library, so one run of each is enough.
instructions() {
    local protocol kind part way counted count=100
    command -v valgrind >/dev/null || die "missing: valgrind"
    for protocol in tls12 tls13; do
        for kind in full resumed; do
            for part in server both; do
                [ $part = server ] || [ "$mode" != quick ] || continue
                step instructions $protocol $kind $part
                for way in stock ours; do
                    counted=$(callgrind_totals measured_${part/both/handshakes} $count $way \
                        -n 1000 $protocol ec $kind plain)
                    printf '1\t%s\tinstructions_%s\t%s\t%s\tinstructions\t0\t0\t%s\n' $way $part \
                        "$protocol ec $kind plain n=1000" "$counted" $count >>"$work/part"
                done
                finish_step
            done
        done
    done
}

# ---- everything ----------------------------------------------------------------------------------

load=$(cut -d' ' -f1 /proc/loadavg)
machine="$(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores, $(as_way stock "$work/cache" -V)"
machine="$machine; commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
machine="$machine; $repeat pairs of runs ($mode), load average before them $load"
echo "# $machine"
awk "BEGIN { exit !($load > 0.5) }" &&
    echo "# The machine is busy: two-thread figures and stalls mean little (load average $load)."
SECONDS=0
for group in "${groups[@]}"; do $group; done

mv "$work/raw.tsv" "$build/raw-$results.tsv"
python3 "$here/report.py" results "$build/raw-$results.tsv" >"$build/$results.tsv"
if [ "$is_complete" = yes ] && [ "$results" != results ]; then
    python3 "$here/report.py" $results "$build/$results.tsv" "$machine" "$root/docs/PERFORMANCE.md"
    echo "# docs/PERFORMANCE.md is rewritten"
elif [ "$is_complete" = yes ]; then
    python3 "$here/report.py" document "$build/results.tsv" "$machine" "$root/docs/PERFORMANCE.md"
    python3 "$here/chart.py" "$build/results.tsv" >"$work/chart"
    mv "$work/chart" "$root/docs/performance.svg"
    echo "# docs/PERFORMANCE.md and docs/performance.svg are rewritten"
fi
python3 "$here/report.py" verdicts "$build/$results.tsv"
echo "bench: $steps steps in $((SECONDS / 60)) min $((SECONDS % 60)) s, see $build/$results.tsv"
