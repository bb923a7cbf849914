#!/usr/bin/env bash
# What a worker asks of the kernel while it resumes a session: with the library, where it comes from
# the store that an agent fills, against stock, where it comes from the worker's own memory. Nothing
# beyond the client's connection may touch the network; new may only be calls for memory and locks
# (futex: a new session wakes the agent).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly harmless="brk futex madvise mmap mprotect munmap" # memory and locks

attached() { grep -qs attached "$1"; }
traced_an_end() { grep -qs 'close(' "$1"; }

# trace HOST KIND FROM FILE: one connection that offers FROM's session, as the worker sees it.
trace() {
    local host=$1 kind=$2 from=$3 file=$4 count
    # On the host, where the kernel tells whose each socket is.
    start_in "$host" "$file.log" strace -f -yy -s 16 -o "$file" -p "$(workers_of "$host")"
    wait_until 10 attached "$file.log" || give_up "strace does not attach"
    count=$(offer "$from" "$kind" "$host" 1)
    wait_until 10 traced_an_end "$file" || give_up "strace saw no connection end"
    stop "$started"
    check "$host, $kind, $way: the traced connection resumed" test "$count" = 1
}

# The store has the session, the worker's memory has not; but it has had a connection.
ready_for_store() { # KIND
    save a "$1"
    come_to_resume a "$1" b 1 || fail "$1: a's session does not come to b"
    reload_server b
    save b "$1"
}

# "close,read 3": how often each is called.
summary() { names "$1" | sort | uniq -c | awk '{ print $2 ($1 > 1 ? " " $1 : "") }' | paste -sd,; }

names() { sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$1"; }

# Every socket that a line names is the server's on the front network.
only_clients() { # FILE
    local others
    grep -qF -- '->10.80.0.254:' "$1" || return # else strace does not tell
    others=$(grep -oE '<(TCP|UDP|UNIX|NETLINK|RAW|socket|TCPv6|UDPv6)[^ ,)]*' "$1" | sort -u |
        grep -vE '^<TCP:\[10\.80\.0\.[123]:800[12](->10\.80\.0\.254:[0-9]+)?\]>+$' || true)
    [[ -z $others ]] || { printf 'other sockets: %s\n' "$others" && return 1; }
}

no_new_connection() { ! names "$1" | grep -xE 'socket|socketpair|connect|bind'; }

beyond_stock() { # STOCK OURS
    comm -13 <(names "$1" | sort -u) <(names "$2" | sort -u) |
        grep -vxF "${harmless// /$'\n'}" || true
}

compare() { # KIND
    local kind=$1 stock=$work/stock-${1// /-}.trace ours=$work/fleet-${1// /-}.trace before new
    way=stock
    save c "$kind"
    trace c "$kind" c "$stock"
    way=fleet
    ready_for_store "$kind"
    before=$(counted b hits)
    trace b "$kind" a "$ours"
    if [[ $kind != *tickets ]]; then
        check "$kind: the session came from the store" test "$(counted b hits)" -gt "$before"
    fi
    new=$(beyond_stock "$stock" "$ours" | paste -sd ' ')
    check "$kind: no socket but the client's" only_clients "$ours"
    check "$kind: no new socket" no_new_connection "$ours"
    check "$kind: no system call that stock does not make: $new" test -z "$new"
    row "$kind" "$(names "$stock" | wc -l)" "$(names "$ours" | wc -l)" "$(summary "$ours")"
}

row() { printf '%-14s %6s %6s   %s\n' "$@"; }

make_fleet
start_redis
add_hosts a b
way=stock
make_host c
start_server c
way=fleet
echo "system calls of the worker during a resumed connection:"
row "" stock ours "ours by name"
for kind in "${kinds[@]}"; do
    compare "$kind"
done
check_health
