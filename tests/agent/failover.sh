# For agent.sh: the Redis that the agents use dies, and a replica of it goes on. The replica lags:
# it lacks entries that were acknowledged, and that only the host has which wrote them.
# shellcheck shell=bash disable=SC2154,SC2034 # agent.sh has the variables, hosts.sh uses them

has_sent() { (($(figure "$1" replication_sent_records_total) >= $2)); }

# make_unreplicated MASTER-PORT REPLICA WHAT COUNT: sessions of a that Redis has acknowledged, while
# its replica does not listen and b's agent is away
make_unreplicated() {
    local before
    before=$(figure "$metrics_a" replication_sent_records_total)
    check 'b ends' end agent-b
    kill -STOP "${pid[$2]}"
    # Else the kernel would keep for it what it does not read now.
    redis-cli -p "$1" client kill type replica >/dev/null
    make_sessions a "$3" "$4"
    check 'they are acknowledged' soon 5 has_sent "$metrics_a" $((before + $4))
}

# --- one Redis and a replica ---------------------------------------------------------------------

at() { redis-cli -p "${port[$1]}" "${@:2}"; }
lead_to() { ln -sfn "$1.sock" "$work/live.sock"; }

# instance NAME [OPTION...]: one more Redis
instance() {
    in_background "$1" redis-server --bind 127.0.0.1 --port "${port[$1]}" --save '' --dir "$work" \
        --unixsocket "$work/$1.sock" --repl-diskless-sync-delay 0 "${@:2}"
    soon 10 listens "${port[$1]}"
}

check_failover() {
    local to=(--redis "unix://$work/live.sock")
    instance primary
    instance replica --replicaof 127.0.0.1 "${port[primary]}"
    check 'the replica follows' soon 10 eval 'at replica role | grep -q connected'
    lead_to primary
    agent a --metrics "127.0.0.1:$metrics_a"
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'a connects' connected a
    make_sessions a before 5
    check 'all is well' soon 10 all_resume b before 5
    make_unreplicated "${port[primary]}" replica unreplicated 10
    end primary KILL || true
    kill -CONT "${pid[replica]}"
    lead_to replica
    agent b --metrics "127.0.0.1:$metrics_b"
    make_sessions a meanwhile 5
    check 'before it is promoted, read-only is told' soon 10 \
        is "$metrics_a" 'redis_state{state="read-only"}' 1
    make_sessions b meantime 5
    check 'on the same host all resume meanwhile' all_resume a unreplicated 10
    check 'b lacks what the replica lacks' same 0 "$(resumed b unreplicated 10)"
    at replica replicaof no one >/dev/null
    check 'promoted: a is well again' soon 15 is "$metrics_a" 'redis_state{state="ok"}' 1
    check 'what was made before it was promoted arrives' soon 15 all_resume b meanwhile 5
    check 'and goes the other way' soon 15 all_resume a meantime 5
    check 'what the replica lacked arrives' soon 15 all_resume b unreplicated 10
    check 'as a sent everything again, once' is "$metrics_a" \
        'replication_rewinds_total{direction="send"}' 1
    check 'nothing was lost' is "$metrics_a" replication_lost_records_total 0
    end_agents
    end replica || true
}

# --- a cluster -----------------------------------------------------------------------------------

node() {
    mkdir -p "$work/$1"
    in_background "node-$1" redis-server --bind 127.0.0.1 --port "$1" --save '' --dir "$work/$1" \
        --cluster-enabled yes --cluster-port $(($1 < 50000 ? $1 + 10000 : $1 - 10000)) "${@:2}"
    soon 10 listens "$1"
}

# make_cluster REPLICAS NODE...
make_cluster() {
    local replicas=$1
    shift
    redis-cli --cluster create "${@/#/127.0.0.1:}" --cluster-replicas "$replicas" --cluster-yes \
        >"$work/create.log" 2>&1 || cat "$work/create.log"
    soon 10 eval "redis-cli -p ${!#} cluster info | grep -q cluster_state:ok"
}

role_of() { redis-cli -p "$1" role | head -n 1; }
is_role() { same "$2" "$(role_of "$1")"; }
# Each has a replica that is connected to it, or is one.
has_replicas() {
    local node
    for node in "${nodes[@]}"; do redis-cli -p "$node" role | grep -qE 'connected|online|^127'; done
}

# The master with the most streams.
busiest_master() {
    local node
    for node in "${nodes[@]}"; do
        [[ $(role_of "$node") != master ]] || echo "$(redis-cli -p "$node" dbsize) $node"
    done | sort -n | tail -n 1 | cut -d ' ' -f 2
}

check_cluster_failover() {
    local options=(--cluster-node-timeout 1000 --cluster-replica-validity-factor 0
        --repl-diskless-sync-delay 0) nodes=() node master replica
    read -ra nodes < <(python3 "$peer" ports 6)
    for node in "${nodes[@]}"; do node "$node" "${options[@]}"; done
    make_cluster 1 "${nodes[@]}"
    check 'every master has a replica' soon 15 has_replicas
    local to=(--redis "redis://127.0.0.1:${nodes[0]},redis://127.0.0.1:${nodes[1]}" --cluster)
    agent a --metrics "127.0.0.1:$metrics_a"
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'a connects' connected a
    make_sessions a before 10
    check 'all is well' soon 10 all_resume b before 10
    master=$(busiest_master)
    replica=$(redis-cli -p "$master" role | sed -n 4p)
    make_unreplicated "$master" "node-$replica" unreplicated 20
    end "node-$master" KILL || true
    kill -CONT "${pid[node-$replica]}"
    agent b --metrics "127.0.0.1:$metrics_b"
    make_sessions a meanwhile 10
    check 'on the same host all resume meanwhile' all_resume a unreplicated 20
    check 'the replica is promoted' soon 20 is_role "$replica" master
    check 'what was made meanwhile arrives' soon 20 all_resume b meanwhile 10
    check 'what the replica lacked arrives' soon 20 all_resume b unreplicated 20
    check 'as a sent everything again' is "$metrics_a" \
        'replication_rewinds_total{direction="send"}' 1
    check 'nothing was lost' is "$metrics_a" replication_lost_records_total 0
    node "$master" "${options[@]}"
    check 'the old master comes back as a replica' soon 15 is_role "$master" slave
    make_sessions b back 10
    check 'and all is well' soon 10 all_resume a back 10
    end_agents
    for node in "${nodes[@]}"; do end "node-$node" || true; done
}
