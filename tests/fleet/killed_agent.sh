#!/usr/bin/env bash
# Agents are killed with SIGKILL and started again: nothing is lost that the ring still holds. Asked
# to end, they first send what there is.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The agent of this host is dead while sessions are made on a.
while_dead() { # HOST
    local kind
    kill_agent "$1"
    for kind in "${by_id[@]}"; do
        save a "$kind" 100
        check "agent of $1 dead, $kind: a's sessions resume on a" all_resume a "$kind" a 100
    done
    start_agent "$1"
    for kind in "${by_id[@]}"; do
        check "agent of $1 was dead, $kind: all sessions resume on b" come_to_resume a "$kind" b 100
    done
}

nothing_missing() { # FROM TO
    figures=$("$load" compare "$(store_of "$1")" "$(store_of "$2")" "$work/ledger-$1")
    [[ $figures == *" missing 0" ]]
}

fill() { # HOST RATE COUNT
    timeout 60 "$load" fill "$(store_of "$1")" "$2" "$3" "$work/ledger-$1"
}

# Both agents, in turn, at moments of no particular kind, while both stores grow.
kill_often() {
    local fillers=() filler host kills=0 figures
    fill a 1500 6000 & fillers+=($!)
    fill b 500 2000 & fillers+=($!)
    while kill -0 "${fillers[@]}" 2>/dev/null; do
        for host in a b; do
            sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
            kill_agent "$host"
            ((++kills))
            start_agent "$host"
        done
    done
    for filler in "${fillers[@]}"; do
        wait "$filler" || give_up "fleet-load ended with $?"
    done
    check "agents killed $kills times: b has all that a's ring holds" \
        wait_until 10 nothing_missing a b
    printf 'agents killed %d times: of 6000 records a %s on b\n' "$kills" "$figures"
    check "agents killed $kills times: a has all that b's ring holds" \
        wait_until 10 nothing_missing b a
    printf 'agents killed %d times: of 2000 records b %s on a\n' "$kills" "$figures"
}

# end_agent HOST: by SIGTERM; how it ended goes to status, and how long that took to elapsed.
end_agent() {
    local began
    began=$(date +%s%3N)
    kill -TERM "${agent[$1]}"
    wait_until 10 dead "${agent[$1]}" || give_up "the agent of $1 does not end"
    elapsed=$(($(date +%s%3N) - began))
    status=$(<"$work/$1/agent.status")
}

# An agent whose status is kept; bash passes no signal on, so the agent's own pid is looked up.
start_watched_agent() {
    local host=$1
    # shellcheck disable=SC2016 # for the other shell
    start_in "$host" "$work/$host/agent.log" bash -c '"$@"; echo $? >"$0"' \
        "$work/$host/agent.status" "$command" agent --store "file:$(store_of "$host")" \
        --redis "$redis_url" --metrics 127.0.0.1:9100
    wait_until 10 agent_is_well "$host" || give_up "the agent of host $host does not get ready"
    agent[$host]=$(children "$started")
}

ended_well() { [[ $status == 0 ]] && ((elapsed < 1500)); }

end_politely() {
    kill_agent a
    start_watched_agent a
    fill a 100000 500
    end_agent a
    printf 'SIGTERM with 500 records just written: ended with %s after %d ms\n' "$status" "$elapsed"
    check "SIGTERM: the agent ends with 0, in about a second at most" ended_well
    check "SIGTERM: what was there was sent first" wait_until 5 nothing_missing a b
    start_watched_agent a
    kill -STOP "$redis_pid"
    fill a 100000 500
    end_agent a
    kill -CONT "$redis_pid"
    printf 'SIGTERM while Redis is paused: ended with %s after %d ms\n' "$status" "$elapsed"
    check "SIGTERM while Redis is paused: the agent ends in about a second at most" \
        test "$elapsed" -lt 1500
    start_agent a
    check "after that: what it could not send comes with the next agent" \
        wait_until 10 nothing_missing a b
}

make_fleet
start_redis
add_hosts a b
while_dead a
while_dead b
kill_often
end_politely
check_health
