#!/usr/bin/env bash
# How long after its handshake a session can be read on another host, by the rate of new sessions;
# and what the agents cost. Sessions are put straight into a's store, as the library puts them,
# because handshakes cannot be made that fast here. Reported; asserted is that all arrive.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A seconds=([10]=5 [1000]=5 [10000]=4)
[[ -z ${FLEET_FULL:-} ]] || seconds=([10]=60 [1000]=60 [10000]=30)

row() { printf '%-26s %8s %8s %8s %6s   %6s %6s %6s\n' "$@"; }

# share BEFORE AFTER SECONDS: of one processor.
share() { echo "$((($2 - $1) / ($3 * 10)))%"; }

measure() { # RATE
    local rate=$1 duration=${seconds[$1]} line what before=() after=() pids
    pids=("${agent[a]}" "${agent[b]}" "$redis_pid")
    mapfile -t before < <(for pid in "${pids[@]}"; do processor_ms "$pid"; done)
    line=$(timeout 120 "$load" delay "$(store_of a)" "$(store_of b)" "$rate" "$duration") ||
        give_up "fleet-load ended with $?"
    mapfile -t after < <(for pid in "${pids[@]}"; do processor_ms "$pid"; done)
    read -ra what <<<"$line" # sent N rate N median MS p99 MS most MS never N
    row "$rate/s (came to ${what[3]}/s)" "${what[5]}" "${what[7]}" "${what[9]}" "${what[11]}" \
        "$(share "${before[0]}" "${after[0]}" "$duration")" \
        "$(share "${before[1]}" "${after[1]}" "$duration")" \
        "$(share "${before[2]}" "${after[2]}" "$duration")"
    check "$rate sessions/s: all reach the other host" test "${what[11]}" = 0
}

# What the measurement itself adds: from a store to the same one.
measure_floor() {
    local what
    read -ra what <<<"$("$load" delay "$(store_of a)" "$(store_of a)" 1000 1)"
    row "(from a to a, 1000/s)" "${what[5]}" "${what[7]}" "${what[9]}" "${what[11]}" "" "" ""
}

make_fleet
start_redis
add_hosts a b
echo "from the put on a until it can be read on b, in ms; processor time of agents and Redis:"
row "new sessions" median p99 most never a b Redis
for rate in 10 1000 10000; do
    measure "$rate"
done
measure_floor
check_health
