#!/usr/bin/env bash
# What carries the streams: a Redis Cluster of three nodes, over which they are spread, while a slot
# moves and a node dies; and Valkey.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly ports=(7001 7002 7003)
declare -A node=() # pids by port

all_come_to_b() { # WHAT
    local kind
    for kind in "${by_id[@]}"; do
        save a "$kind" "$tries"
        check "$1, $kind: $tries sessions of a resume on b" come_to_resume a "$kind" b
    done
}

# --- cluster ------------------------------------------------------------------------------------

at_node() { redis -p "$1" "${@:2}"; }

start_node() {
    mkdir -p "$work/node$1"
    start_in redis "$work/node$1/redis.log" redis-server --bind "$redis_address" --port "$1" \
        --protected-mode no --save '' --appendonly no --dir "$work/node$1" \
        --cluster-enabled yes --cluster-node-timeout 1000
    node[$1]=$started
    wait_until 10 node_answers "$1" || give_up "node $1 does not answer"
}

node_answers() { [[ $(at_node "$1" ping 2>/dev/null) == PONG ]]; }
cluster_is_whole() {
    local port
    for port in "${ports[@]}"; do
        at_node "$port" cluster info | grep -q '^cluster_state:ok' || return 1
    done
}

make_cluster() {
    local port
    for port in "${ports[@]}"; do
        start_node "$port"
    done
    redis --cluster create "${ports[@]/#/$redis_address:}" --cluster-yes \
        >"$work/cluster.log" 2>&1 || give_up "no cluster"
    wait_until 10 cluster_is_whole || give_up "the cluster does not get whole"
}

nodes_with_streams() {
    local port used=0
    for port in "${ports[@]}"; do
        (($(at_node "$port" dbsize) == 0)) || ((++used))
    done
    echo "$used"
}

# The slot of one stream goes to another node, as when a cluster is resharded.
move_a_stream() {
    local from to key slot id moved
    for from in "${ports[@]}"; do
        key=$(at_node "$from" --scan | head -n 1)
        [[ -z $key ]] || break
    done
    to=${ports[0]}
    [[ $from != "$to" ]] || to=${ports[1]}
    slot=$(at_node "$from" cluster keyslot "$key")
    id=$(at_node "$to" cluster myid)
    at_node "$to" cluster setslot "$slot" importing "$(at_node "$from" cluster myid)"
    at_node "$from" cluster setslot "$slot" migrating "$id"
    moved=$(at_node "$from" migrate "$redis_address" "$to" "$key" 0 5000)
    at_node "$to" cluster setslot "$slot" node "$id"
    at_node "$from" cluster setslot "$slot" node "$id"
    check "cluster: a stream moves to another node" \
        test "$moved:$(at_node "$to" exists "$key")" = OK:1
}

lose_a_node() {
    local port=${ports[2]}
    kill -KILL "${node[$port]}"
    wait_until 5 dead "${node[$port]}"
    save a "1.3 stateful" "$tries"
    check "cluster, a node is down: a's sessions resume on a" all_resume a "1.3 stateful" a
    start_node "$port"
    wait_until 10 cluster_is_whole || give_up "the cluster does not get whole again"
    check "cluster: what was made while a node was down resumes on b" \
        wait_until 20 all_resume a "1.3 stateful" b
}

test_cluster() {
    redis_url=redis://$redis_address:${ports[0]}
    agent_options=(--cluster --streams 6)
    make_cluster
    add_hosts a b
    all_come_to_b "cluster of three"
    check "cluster: the streams are spread over nodes" test "$(nodes_with_streams)" -ge 2
    move_a_stream >"$work/move.log"
    all_come_to_b "cluster, a stream has moved"
    lose_a_node
    all_come_to_b "cluster, a node was lost and came back empty"
    printf 'Redis Cluster %s: three nodes, streams on %d of them\n' \
        "$(at_node "${ports[0]}" info server | sed -n 's/^redis_version:\([^\r]*\).*/\1/p')" \
        "$(nodes_with_streams)"
    check_health
}

# --- Valkey -------------------------------------------------------------------------------------

remove_hosts() {
    local host
    for host in "${!server[@]}"; do
        stop "${agent[$host]}"
        stop "${server[$host]}"
        remove_machine "$host"
        mv "$work/$host" "$work/$host-of-cluster"
        rm -r "$work/run/$host"
    done
    server=() agent=()
}

test_valkey() {
    if [[ -z ${valkey:-} ]]; then
        note_skip "Valkey: neither Debian nor Python's packages gave a valkey-server"
        return
    fi
    redis_url=redis://$redis_address:6379
    agent_options=()
    # As nobody: it needs no more than a port.
    engine=(setpriv --reuid 65534 --regid 65534 --clear-groups "$valkey")
    start_redis
    add_hosts a b
    all_come_to_b Valkey
    redis flushall >"$work/flush.log"
    all_come_to_b "Valkey, flushed"
    kill_redis
    start_redis
    all_come_to_b "Valkey, restarted"
    printf 'Valkey %s: a and b\n' \
        "$(redis info server | sed -n 's/^valkey_version:\([^\r]*\).*/\1/p')"
    check_health
}

make_fleet
test_cluster
remove_hosts
test_valkey
