#!/usr/bin/env bash
# Redis fails in every way it can, under load: handshakes do not notice, on the same host all goes
# on resuming, and when it is over the hosts have each other's sessions, also those made meanwhile.
#
# Host c has no agent. The load goes to a and c in turn, so that their figures are of the same
# moments; the agents take their share of the processors from both. The ratio is reported; asserted
# is that no connection fails, that all that can resume do, and that no handshake takes a second.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly brief=2 # seconds; the agents just wait
readonly long=5  # they give up, and come again

nothing() { true; }
start_agents() { start_agent a && start_agent b; }
stop_redis() { kill -STOP "$redis_pid"; }
continue_redis() { kill -CONT "$redis_pid"; }
restart_redis() { kill_redis && start_redis; }
cut_off_redis() { unplug redis; }
reach_redis() { plug_in redis; }
cut_off_a() { unplug a; }
reach_a() { plug_in a; }
flush_redis() { redis flushall >>"$work/redis-cli.log"; }
fill_redis() { redis config set maxmemory 1 >>"$work/redis-cli.log"; }
empty_redis() { redis config set maxmemory 0 >>"$work/redis-cli.log"; }
make_replica() { redis replicaof 10.80.1.8 6379 >>"$work/redis-cli.log"; } # of nobody: read-only
make_primary() { redis replicaof no one >>"$work/redis-cli.log"; }

row() { printf '%-28s %6s %7s  %8s %8s %6s  %8s %8s %6s  %6s %9s\n' "$@"; }

# suffer "WHAT" KIND BEGIN END SECONDS: load while BEGIN, and after so long END, are done.
suffer() {
    local what=$1 kind=$2 duration=$5 under_load
    [[ -z ${FLEET_FULL:-} ]] || duration=$((duration * 5))
    sessions=$work/${what// /-}.sessions
    visit a "$kind" load "$(place c "$kind")" $((duration + 2)) "$sessions" \
        >"$work/load.out" 2>>"$work/load.log" &
    under_load=$!
    sleep 0.5
    "$3"
    sleep "$duration"
    "$4"
    wait "$under_load" || give_up "$what: the load ended with $?"
    ended=$(date +%s%3N)
    judge "$what" "$kind"
}

# The line that visit.c prints: connections N failed N offered N resumed N p50 MS p99 MS most MS
judge() { # WHAT KIND
    local what=$1 kind=$2 a c made arrived=no
    { read -ra a && read -ra c; } <"$work/load.out"
    check "$what: no connection fails" test "${a[3]}" = 0
    check "$what: all resume on the same host" test "${a[5]}" = "${a[7]}"
    check "$what: without an agent neither" test "${c[3]}:${c[5]}" = "0:${c[7]}"
    check "$what: no handshake takes a second" at_most "${a[13]}" 1000
    made=$(grep -c BEGIN "$sessions")
    if wait_until 15 arrive "$kind" "$made"; then arrived="$(($(date +%s%3N) - ended)) ms"; fi
    check "$what: all $made sessions made meanwhile resume on the other host" \
        test "$arrived" != no
    row "$what" "$((a[1] + c[1]))" "$((a[7] * 100 / a[5]))%" "${a[9]}" "${a[11]}" "${a[13]}" \
        "${c[9]}" "${c[11]}" "$(ratio "${a[11]}" "${c[11]}")" "$made" "$arrived"
}

at_most() { awk -v x="$1" -v most="$2" 'BEGIN { exit !(x <= most) }'; }
ratio() { awk -v x="$1" -v y="$2" 'BEGIN { printf "%.2f", (y > 0 ? x / y : 0) }'; }
arrive() { # KIND COUNT
    local line
    line=$(visit b "$1" offer "$sessions" "$2") && [[ $line == "resumed $2 of $2" ]]
}

make_fleet
start_redis
for host in a b c; do
    make_host "$host"
    start_server "$host"
done
echo "handshakes in ms on a, which has an agent, and on c, which has none, at the same time; the"
echo "sessions made on a meanwhile, and how soon after the last of them all have resumed on b:"
row Redis conns resumed "a p50" "a p99" most "c p50" "c p99" ratio made "all on b"
suffer "has no agents yet" "1.2 ids" nothing start_agents $brief
suffer "is well" "1.3 stateful" nothing nothing $brief
suffer "killed, restarted empty" "1.3 stateful" kill_redis start_redis $brief
suffer "restarted empty at once" "1.2 ids" restart_redis restart_redis $brief
suffer "paused (SIGSTOP) briefly" "1.2 ids" stop_redis continue_redis $brief
suffer "paused (SIGSTOP) for long" "1.3 stateful" stop_redis continue_redis $long
suffer "cut off from all for long" "1.2 ids" cut_off_redis reach_redis $long
suffer "cut off from a" "1.3 stateful" cut_off_a reach_a $brief
suffer "flushed twice" "1.2 ids" flush_redis flush_redis $brief
suffer "full" "1.3 stateful" fill_redis empty_redis $brief
suffer "read-only" "1.2 ids" make_replica make_primary $brief
check_health
