#!/usr/bin/env bash
# `sesscache agent` with a real Redis: several "hosts" on this machine, each an unmodified
# `openssl s_server` with a store and an agent of its own; `openssl s_client` takes sessions from one
# to the other. SESSCACHE_BIN and LIBDIR say where the command and the library are.
#
#   tests/agent.sh [PART...]    the parts whose names are given, else all
set -euo pipefail
export LC_ALL=C
unset LD_PRELOAD LD_LIBRARY_PATH NOTIFY_SOCKET "${!SESSCACHE_STORE@}" "${!SESSCACHE_KEY_FILE@}" \
    SESSCACHE_NAMESPACE SESSCACHE_LOG

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
command=$(realpath "${SESSCACHE_BIN:-target/release/sesscache}")
library=$(realpath "${LIBDIR:-target/release}")/libsesscache.so
peer=$root/tests/agent/peer.py
work=$(mktemp -d)
passed=0 failed=0 skipped=0 part=
declare -A pid=() # of everything that runs, by name
declare -A port=()
read -r redis_port tls_port 'port[a]' 'port[b]' 'port[c]' 'port[d]' 'port[primary]' \
    'port[replica]' metrics_a metrics_b metrics_c node_1 node_2 node_3 < <(python3 "$peer" ports 14)
to=(--redis "redis://127.0.0.1:$redis_port")
# shellcheck source=tests/agent/hosts.sh
. tests/agent/hosts.sh
# shellcheck source=tests/agent/hostile.sh
. tests/agent/hostile.sh
# shellcheck source=tests/agent/failover.sh
. tests/agent/failover.sh
# shellcheck source=tests/agent/time.sh
. tests/agent/time.sh

# --- the parts -----------------------------------------------------------------------------------

check_command_line() {
    local redis=(--redis "redis://127.0.0.1:$redis_port")
    check 'no store' refuses 2 '.*--store <STORE>.*' "${redis[@]}"
    check 'no Redis' refuses 2 '.*--redis <URL>.*' --store /x
    check 'not a URL' refuses 2 '--redis takes redis://.*' --store /x --redis 127.0.0.1:6379
    check 'a password is in no message' not grep -r secret \
        <(timeout 5 "$command" agent --store /x --redis 'http://u:secret@x' 2>&1)
    check 'memory' refuses 2 'a shm: store .*' --store shm: "${redis[@]}"
    check 'a wrong store' refuses 2 'file: needs a path.*' --store file:x "${redis[@]}"
    check 'several without --cluster' refuses 2 'several .*' --store /x --redis redis://a,redis://b
    check 'a cluster by unix socket' refuses 2 'a cluster .*' --store /x --redis unix:///x --cluster
    check 'no such time' refuses 2 '--retention 1w.*' --store /x "${redis[@]}" --retention 1w
    check 'a bad name' refuses 2 '--name "a{b}".*' --store /x "${redis[@]}" --name 'a{b}'
    check 'too many streams' refuses 2 '.*64.*' --store /x "${redis[@]}" --streams 64
    check 'no store with --once' refuses 1 "$work/none: .*" --store "$work/none" --once "${redis[@]}"
    check 'no password file' refuses 1 "$work/none: .*" --store "$work/a/web" "${redis[@]}" \
        --password-file "$work/none"
    check 'no Redis there, with --once' refuses 1 'Redis is unreachable: .*' \
        --store "$work/a/web" --once --redis "unix://$work/none"
    check 'metrics where somebody listens' refuses 1 "--metrics 127.0.0.1:$redis_port: .*" \
        --store "$work/a/web" "${redis[@]}" --metrics "127.0.0.1:$redis_port"
}

check_two_hosts() {
    agent a --metrics "127.0.0.1:$metrics_a"
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'a connects' connected a
    check 'b connects' connected b
    make_sessions a here 50
    check '50 of 50 of a resume at b' soon 2 all_resume b here 50
    make_sessions b there 20
    check '20 of 20 of b resume at a' soon 2 all_resume a there 20
    check 'and still where they were made' all_resume a here 20
    check 'a removal travels' python3 "$peer" removal "${port[a]}" "${port[b]}"
    check 'and the other way' python3 "$peer" removal "${port[b]}" "${port[a]}"
    check 'a second agent is refused' refuses 1 "$work/a/web has an agent already" \
        --store "$work/a/web" "${to[@]}"
    check 'nothing was lost' is "$metrics_a" replication_lost_records_total 0
    check 'the lag is measured' test "$(figure "$metrics_b" replication_lag_seconds_count)" -ge 50
    check 'both are healthy' eval 'is_healthy $metrics_a && is_healthy $metrics_b'
}

check_new_host() {
    new_host c
    agent c
    check 'a new host is filled' soon 10 says agent-c 'filled the store from the streams: .* in'
    check 'what was made before it was there resumes' all_resume c here 20
    check 'it ends with 0, soon' end agent-c
}

check_restarts() {
    [[ ${pid[agent-b]:-} ]] || agent b --metrics "127.0.0.1:$metrics_b"
    [[ ${pid[agent-a]:-} ]] || agent a
    end agent-a KILL || true
    make_sessions a killed 10
    agent a --metrics "127.0.0.1:$metrics_a"
    check 'a: an agent that was killed goes on where it was' soon 10 all_resume b killed 10
    end agent-b KILL || true
    make_sessions a deaf 10
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'b: so does one that only listened' soon 10 all_resume b deaf 10
    check 'it read nothing twice' test "$(figure "$metrics_b" replication_received_records_total)" \
        -le 12
    kill -STOP "${pid[agent-a]}"
    make_sessions a frozen 10
    check 'servers do not mind an agent that hangs' all_resume a frozen 10
    kill -CONT "${pid[agent-a]}"
    check 'which goes on' soon 10 all_resume b frozen 10
    check 'nothing was lost' is "$metrics_a" replication_lost_records_total 0
}

check_redis_restarted() {
    end redis KILL || true
    make_sessions a away 10
    check 'on the same host they resume meanwhile' all_resume a away 10
    check 'the state is told' soon 5 is "$metrics_a" 'redis_state{state="unreachable"}' 1
    redis
    check 'restarted empty: sessions of meanwhile arrive' soon 15 all_resume b away 10
    check 'and go the other way' soon 15 is "$metrics_b" 'redis_state{state="ok"}' 1
    check 'what it had lost is sent again' soon 5 is "$metrics_a" \
        'replication_rewinds_total{direction="send"}' 1
    check 'a line says so' says agent-a 'sending again what the store still holds'
    new_host c
    agent c
    check 'so that a new host gets sessions of before' soon 15 all_resume c here 10
    check 'the new host ends' end agent-c
}

check_flush() {
    sleep 5.5 # what is sent again is not sent again at once
    make_sessions a flush 5
    cli flushall >/dev/null
    make_sessions a flushed 5
    check 'after FLUSHALL: what was made since' soon 10 all_resume b flushed 5
    new_host c
    agent c
    check 'and before' soon 15 all_resume c flush 5
    check 'the new host ends' end agent-c
    # A Redis whose clock is behind, or that was restored, has lower ids than were read. (What a would
    # send again has higher ones.)
    check 'a ends' end agent-a
    cli flushall >/dev/null
    local number
    for number in 0 1 2 3; do
        cli xadd "sesscache:{web:$number}:log" 5-5 hello world >/dev/null
    done
    check 'a stream that ends earlier is read from its beginning' soon 10 \
        says agent-b 'the streams end before'
    cli flushall >/dev/null
    agent a --metrics "127.0.0.1:$metrics_a"
    make_sessions a shorter 5
    check 'and then it goes on' soon 10 all_resume b shorter 5
}

check_stopped() {
    kill -STOP "${pid[redis]}"
    make_sessions a stopped 10
    check 'healthz tells' soon 15 not is_healthy "$metrics_a"
    check 'with the reason' eval 'fetch $metrics_a /healthz | grep -q "does not do what it is asked"'
    agent c
    sleep 0.5
    check 'told to end while Redis hangs: within a second' end agent-c
    kill -CONT "${pid[redis]}"
    check 'what was made meanwhile arrives' soon 15 all_resume b stopped 10
    check 'healthz recovers' soon 15 is_healthy "$metrics_a"
}

check_unwilling() {
    cli replicaof 127.0.0.1 1 >/dev/null
    make_sessions a readonly 5
    check 'read-only is told' soon 5 is "$metrics_a" 'redis_state{state="read-only"}' 1
    check 'in one line' same 1 "$(grep -c 'is read-only' "$work/agent-a.log")"
    cli replicaof no one >/dev/null
    check 'and passes' soon 10 all_resume b readonly 5
    cli config set maxmemory 1 >/dev/null
    make_sessions a full 5
    check 'full is told' soon 5 is "$metrics_a" 'redis_state{state="full"}' 1
    cli config set maxmemory 0 >/dev/null
    check 'and passes' soon 10 all_resume b full 5
    cli del 'sesscache:{web:2}:log' >/dev/null
    cli set 'sesscache:{web:2}:log' x >/dev/null
    check 'a key of another type is told' soon 5 is "$metrics_b" 'redis_state{state="refused"}' 1
    cli del 'sesscache:{web:2}:log' >/dev/null
    check 'and passes' soon 15 is "$metrics_b" 'redis_state{state="ok"}' 1
}

check_namespaces() {
    host d SESSCACHE_NAMESPACE=other
    agent d
    check 'it connects' connected d
    make_sessions d other 5
    make_sessions a sign 1
    check 'both arrive' soon 5 all_resume b sign 1
    check 'sessions of another namespace do not resume' same 0 "$(resumed b other 5)"
    check 'they do where they belong' all_resume d other 5
    check 'it ends' end agent-d
    agent d --streams 3
    make_sessions d three 3
    check 'another number of streams is told' soon 5 says agent-b 'another host uses --streams 3'
    check 'it ends' end agent-d
}

end_agents() {
    local name
    for name in a b; do
        [[ ! ${pid[agent-$name]:-} ]] || check "agent $name ends" end "agent-$name"
    done
}

check_once() {
    local name
    end_agents
    make_sessions a once 5
    make_sessions b twice 5
    for name in a b a; do
        check "$name sends and takes over" timeout 10 "$command" agent --once \
            --store "file:$work/$name/web" --redis "unix://$work/redis.sock"
    done
    check 'of a at b' all_resume b once 5
    check 'of b at a' all_resume a twice 5
}

check_tls_and_users() {
    local secure=(--redis "rediss://127.0.0.1:$tls_port" --tls-ca "$work/ca.pem" --once)
    local allowed=(+xadd +xread +xrange +xlen '+xinfo|stream' +time)
    make_sessions a tls 3
    check 'TLS' timeout 10 "$command" agent --store "$work/a/web" "${secure[@]}"
    check 'TLS at b' timeout 10 "$command" agent --store "$work/b/web" "${secure[@]}"
    check 'they arrive' all_resume b tls 3
    check 'a certificate that is not trusted' refuses 1 'Redis is unreachable: .*certificate.*' \
        --store "$work/a/web" --redis "rediss://127.0.0.1:$tls_port" --tls-ca "$work/cert.pem" --once
    check "the system's certificates are not enough" refuses 1 'Redis is unreachable: .*certificate.*' \
        --store "$work/a/web" --redis "rediss://127.0.0.1:$tls_port" --once
    check 'unless they are the right ones' env "SSL_CERT_FILE=$work/ca.pem" "$command" agent \
        --store "$work/a/web" --redis "rediss://127.0.0.1:$tls_port" --once
    cli acl setuser porter on '>open sesame' '~sesscache:*' -@all "${allowed[@]}" >/dev/null
    cli acl setuser default off >/dev/null
    check 'nobody may do nothing' refuses 1 'Redis is denied: .*' --once "${to[@]}" \
        --store "$work/a/web"
    echo 'wrong' >"$work/password"
    chmod 600 "$work/password"
    agent a --user porter --password-file "$work/password" --metrics "127.0.0.1:$metrics_a"
    check 'a wrong password is told' soon 5 is "$metrics_a" 'redis_state{state="denied"}' 1
    echo 'open sesame' >"$work/password"
    check 'the right one is read again' soon 15 is "$metrics_a" 'redis_state{state="ok"}' 1
    local before=("${to[@]}")
    to=(--redis "redis://porter:open%20sesame@127.0.0.1:$redis_port")
    agent b
    to=("${before[@]}")
    check 'a password in the URL works' soon 5 says agent-b 'connected to Redis'
    check 'and is advised against' says agent-b 'the password in --redis'
    make_sessions a user 5
    check 'they arrive' soon 5 all_resume b user 5
    check 'no password is in a line' not grep -r sesame "$work"/agent-*.log
    check 'no command was refused' same '' \
        "$(redis-cli -p "$redis_port" --user porter --pass 'open sesame' --no-auth-warning \
            acl log 2>&1 | grep -v NOPERM || true)"
    end agent-a
    end agent-b
}

check_metrics() {
    agent a --metrics "127.0.0.1:$metrics_a"
    check 'it connects' connected a
    check 'they parse' python3 "$peer" metrics < <(fetch "$metrics_a" /metrics | sed '1,/^\r$/d')
    cp "$work/said" "$work/families"
    kill -STOP "${pid[redis]}"
    check 'an error shows' soon 10 eval "fetch $metrics_a /metrics | grep -q last_error_timestamp"
    kill -CONT "${pid[redis]}"
    echo sesscache_redis_last_error_timestamp_seconds >>"$work/families"
    sort -u "$work/families" >"$work/served"
    grep -oE '^\| `sesscache_[a-z_]+' docs/METRICS.md | tr -d '|` ' | sort -u >"$work/listed"
    check 'docs/METRICS.md lists them all, and no others' diff "$work/served" "$work/listed"
    python3 "$peer" dashboard packaging/grafana-dashboard.json >"$work/queried" || true
    check 'the dashboard asks for what there is' same '' "$(comm -23 "$work/queried" "$work/served")"
    check 'no other page' eval "fetch $metrics_a /x | grep -q ' 404 '"
    check 'it ends' end agent-a
}

check_store_replaced() {
    new_host c
    end server-c || true
    rm "$work/c/web"
    agent c --metrics "127.0.0.1:$metrics_a"
    check 'it waits for the store' soon 5 says agent-c "waiting for $work/c/web"
    check 'and is not healthy' not is_healthy "$metrics_a"
    host c
    check 'until it is there' soon 5 says agent-c "following $work/c/web"
    end server-c || true
    rm "$work/c/web"
    host c
    check 'a new file is followed' soon 5 eval "(( \$(grep -c 'following' $work/agent-c.log) == 2 ))"
    check 'it is well' soon 5 is_healthy "$metrics_a"
    check 'it ends' end agent-c
}

check_signals() {
    end_agents
    in_background systemd python3 "$peer" notify "$work/notify"
    soon 5 test -S "$work/notify"
    NOTIFY_SOCKET=$work/notify agent a
    check 'systemd is told that it runs' soon 5 says systemd READY=1
    check 'it connects' connected a
    check 'and how Redis is' soon 5 says systemd "STATUS=Redis at 127.0.0.1:$redis_port: ok"
    kill -HUP "${pid[agent-a]}"
    kill -PIPE "${pid[agent-a]}"
    sleep 0.2
    check 'HUP and PIPE do not end it' kill -0 "${pid[agent-a]}"
    check 'nor does a closed stderr' eval "! '$command' agent --store '$work/none/x' --once \
        --redis redis://x 2>&- && '$command' agent --store '$work/b/web' --once ${to[*]} 2> >(true)"
    make_sessions a last 1
    check 'INT does, with 0' end agent-a INT
    check 'systemd is told' soon 5 says systemd STOPPING=1
    agent b
    check 'what was made just before arrives' soon 10 all_resume b last 1
    check 'TERM does, with 0' end agent-b
}

check_cluster() {
    local nodes=("$node_1" "$node_2" "$node_3") node
    for node in "${nodes[@]}"; do node "$node" --cluster-node-timeout 2000; done
    make_cluster 0 "${nodes[@]}"
    local to=(--redis "redis://127.0.0.1:$node_1")
    check 'a node of a cluster without --cluster' refuses 1 'Redis is cluster: .*--cluster' --once \
        --store "$work/a/web" "${to[@]}"
    to=(--redis "redis://127.0.0.1:$node_1,redis://127.0.0.1:$node_2" --cluster)
    agent a --metrics "127.0.0.1:$metrics_a"
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'a connects' connected a
    check 'b connects' connected b
    make_sessions a cluster 20
    check '20 of 20 of a resume at b' soon 5 all_resume b cluster 20
    check 'the streams are on several nodes' test "$(for node in "${nodes[@]}"; do
        redis-cli -p "$node" dbsize; done | grep -cv '^0$')" -ge 2
    kill -STOP "${pid[node-$node_2]}"
    make_sessions a partly 10
    check 'a node that hangs is told' soon 15 eval "! is $metrics_a 'redis_state{state=\"ok\"}' 1"
    kill -CONT "${pid[node-$node_2]}"
    check 'all arrive when it is back' soon 20 all_resume b partly 10
    check 'a ends' end agent-a
    check 'b ends' end agent-b
}

make_certificates
redis
host a
host b
parts=(command_line two_hosts new_host restarts redis_restarted flush stopped unwilling junk flood
    large namespaces once metrics store_replaced signals retention clocks failover cluster_failover
    cluster tls_and_users)
for part in "${@:-${parts[@]}}"; do "check_$part"; done
printf 'agent: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[[ $failed == 0 ]]
