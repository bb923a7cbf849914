#!/usr/bin/env bash
# One session of a host, offered on others: on stock none of 50 connections resumes, with agents all
# of them do. Two hosts first; the third comes later, and is warmed by what Redis has.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pairs=("a b" "b a" "a c" "b c" "c a" "c b")
declare -A resumed=() # by "pair/kind/way"

measure() { # PAIR
    local from=${1% *} to=${1#* } kind
    for kind in "${kinds[@]}"; do
        [[ $way == stock ]] || come_to_resume "$from" "$kind" "$to" 1 || true
        resumed["$1/$kind/$way"]=$(offer "$from" "$kind" "$to")
    done
}

save_all() { # HOST
    local kind
    for kind in "${kinds[@]}"; do
        save "$1" "$kind"
    done
}

measure_two_and_three() {
    save_all a
    save_all b
    measure "a b"
    measure "b a"
    # What was made before there was a third host.
    add_hosts c
    measure "a c"
    measure "b c"
    save_all c
    measure "c a"
    measure "c b"
}

# The session is in the process by then; afterwards it is not.
measure_own_after_reload() {
    local kind
    for kind in "${kinds[@]}"; do
        reload_server a
        check "$kind: after a reload a's session resumes on a" all_resume a "$kind" a
    done
}

print_table() {
    local pair kind cells
    printf 'of %d connections on another host, resumed on stock/with agents:\n' "$tries"
    printf '%-10s' ""
    printf '%-14s' "${kinds[@]}"
    echo
    for pair in "${pairs[@]}"; do
        cells=()
        for kind in "${kinds[@]}"; do
            cells+=("${resumed[$pair/$kind/stock]}/${resumed[$pair/$kind/fleet]}")
            check "$kind, $pair: none resumes on stock" \
                test "${resumed[$pair/$kind/stock]}" = 0
            check "$kind, $pair: all resume with agents" \
                test "${resumed[$pair/$kind/fleet]}" = "$tries"
        done
        printf '%-10s' "${pair/ / to }"
        printf '%-14s' "${cells[@]}"
        echo
    done
}

print_reach() {
    local kind line
    echo "from the end of the first handshake on a until its session resumes on b, in ms (of 20):"
    for kind in "${kinds[@]}"; do
        line=$(visit a "$kind" reach "$(place b "$kind")" 20) || line="did not work"
        check "$kind: sessions reach b" test "$line" != "did not work"
        printf '%-14s%s\n' "$kind" "$line"
    done
}

stop_all() {
    local host
    for host in "${!server[@]}"; do
        stop "${server[$host]}"
        remove_machine "$host"
    done
    server=()
}

way=stock
make_fleet
add_hosts a b
measure_two_and_three
stop_all
rm -rf "${work:?}"/[abc] "$work"/run/*

way=fleet
start_redis
add_hosts a b
measure_two_and_three
print_table
print_reach
measure_own_after_reload
check_health
