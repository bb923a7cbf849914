#!/usr/bin/env bash
# Redis Cluster 7.0 and a client that comes by TLS: it is sent to the ports without TLS.
#
# A node may listen with and without TLS at once (tls-port and port). How the nodes talk to each other is
# another setting (tls-cluster, by default no). One expects that a client is sent to a port of the kind
# by which it came.
#
# Redis 7.0.15 (Debian 5:7.0.15-1~deb12u10), two nodes, each with both kinds of ports, tls-cluster no.
# A client that is connected by TLS gets:
#
#   CLUSTER SLOTS              the ports without TLS of both nodes
#   a key of the other node    MOVED 15495, and that node's port without TLS
#
# A client that follows speaks TLS to a port that knows none.
#
# With tls-cluster yes each client gets the ports of the kind by which it came.
# Redis 8.0.2 (Debian 13) does that with both settings.
#
# Fails if an answer is another one. Needs Debian 12, apt-get, openssl and some free ports from 21000.
set -euo pipefail

work=$(mktemp -d)
stop() { for pid in "$work"/*/pid; do [ ! -e "$pid" ] || kill "$(cat "$pid")"; done; }
trap 'stop; rm -rf "$work"' EXIT
cd "$work"

apt-get download -q redis-tools=5:7.0.15-1~deb12u10 libjemalloc2=5.3.0-1 liblzf1=3.6-3 2>&1 >/dev/null | grep -v unsandboxed || true
for package in ./*.deb; do dpkg -x "$package" installed; done
LD_LIBRARY_PATH=$(echo installed/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
# The same program: it goes by its name.
ln -s redis-check-rdb installed/usr/bin/redis-server
server=installed/usr/bin/redis-server
cli=installed/usr/bin/redis-cli
"$server" --version | cut -d ' ' -f 1-3

openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=localhost 2>/dev/null

plain=(21001 21002) tls=(21101 21102)
start() { # start TLS-CLUSTER
    local i node
    for i in 0 1; do
        node=$work/$1-$i
        mkdir "$node"
        "$server" --dir "$node" --pidfile "$node/pid" --daemonize yes --bind 127.0.0.1 --save '' \
            --port "${plain[i]}" --tls-port "${tls[i]}" --tls-cert-file "$work/cert" \
            --tls-key-file "$work/key" --tls-auth-clients no --tls-ca-cert-file "$work/cert" \
            --cluster-enabled yes --tls-cluster "$1" >/dev/null
    done
    ask() { "$cli" "$@" 2>&1; }
    for i in $(seq 50); do ask -p "${plain[1]}" ping | grep -q PONG && break; sleep 0.1; done
    local other=${plain[1]}
    [ "$1" = no ] || other=${tls[1]}
    ask -p "${plain[0]}" cluster meet 127.0.0.1 "$other" >/dev/null
    ask -p "${plain[0]}" cluster addslotsrange 0 8000 >/dev/null
    ask -p "${plain[1]}" cluster addslotsrange 8001 16383 >/dev/null
    for i in $(seq 100); do
        ask -p "${plain[0]}" cluster info | grep -q cluster_state:ok && break
        sleep 0.1
    done
}
end() { stop; rm -rf "$work/$1"-*; sleep 0.5; }

failed=0
expect() { # expect WHAT TEXT COMMAND...
    local what=$1 text=$2 found
    shift 2
    found=$("$@" 2>&1 | tr '\n' ' ') || true
    echo "$what: $found"
    [[ $found == *$text* ]] || { echo "  expected $text"; failed=1; }
}
ports() { timeout 10 "$cli" "$@" cluster slots | grep -E '^21[0-9]{3}$' | sort | tr '\n' ' '; }
by_tls=(--tls --insecure -p "${tls[0]}")

start no
expect 'tls-cluster no, by TLS, CLUSTER SLOTS' '21001 21002' ports "${by_tls[@]}"
expect 'tls-cluster no, by TLS, another node'"'"'s key' 'MOVED 15495 127.0.0.1:21002' \
    timeout 10 "$cli" "${by_tls[@]}" get a
end no
start yes
expect 'tls-cluster yes, by TLS, CLUSTER SLOTS' '21101 21102' ports "${by_tls[@]}"
expect 'tls-cluster yes, without TLS, CLUSTER SLOTS' '21001 21002' ports -p "${plain[0]}"
exit $failed
