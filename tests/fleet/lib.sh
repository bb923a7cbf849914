# What every case uses: the network, Redis, hosts with a server and an agent, and the client.
# Sourced by a case, which run.sh starts in namespaces of its own; the namespace that the case
# itself is in has the two switches, and is where clients are.
#
#   front 10.80.0.0/24   clients and servers: clients .254, hosts .1 to .3
#   back  10.80.1.0/24   agents and Redis: hosts .1 to .3, Redis .9
# shellcheck shell=bash

: "${command:?}" "${load:?}"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source-path=SCRIPTDIR source=../servers/lib.sh
source "$here/../servers/lib.sh"

# shellcheck disable=SC2034 # for the cases
readonly kinds=("1.2 ids" "1.3 stateful" "1.2 tickets" "1.3 tickets")
# shellcheck disable=SC2034 # for the cases
readonly by_id=("1.2 ids" "1.3 stateful") # what the store and the agents carry
readonly redis_address=10.80.1.9

declare -A number=([a]=1 [b]=2 [c]=3)
declare -A server=() agent=() # pids by host
way=fleet                     # or stock: how servers are started
engine=(redis-server)         # what start_redis starts
engine_options=()
server_environment=()         # for servers that are not stock
agent_options=()              # for all agents, beside those that each needs
redis_url=redis://$redis_address:6379

give_up() {
    local log
    printf '%s; the end of the logs:\n' "$1" >&2
    for log in "$work"/*.log "$work"/*/*.log; do
        [[ ! -s $log ]] || { printf -- '-- %s\n' "$log" && tail -n 5 "$log"; } >&2
    done
    exit 1
}

# --- network ------------------------------------------------------------------------------------

make_network() {
    local net
    # Only here: the names of namespaces, and stores in memory as on a real host.
    mount -t tmpfs tmpfs /run/netns
    mkdir -m 711 "$work/run"
    mount -t tmpfs -o mode=711 tmpfs "$work/run"
    ip link set lo up
    for net in front back; do
        ip link add "$net" type bridge
        ip link set "$net" up
    done
    ip address add 10.80.0.254/24 dev front
}

add_machine() {
    local name=$1 last=$2 net third=0
    ip netns add "$name"
    in_machine "$name" ip link set lo up
    for net in front back; do
        ip link add "$net-$name" type veth peer name "$net" netns "$name"
        ip link set "$net-$name" master "$net" up
        in_machine "$name" ip address add "10.80.$third.$last/24" dev "$net"
        in_machine "$name" ip link set "$net" up
        third=1
    done
}

# Its cables are gone when this returns, and nobody remembers its Ethernet addresses: the next machine
# at its place has others.
remove_machine() {
    local net
    for net in front back; do
        ip link delete "$net-$1"
    done
    ip netns delete "$1"
    ip neighbour flush dev front
    in_machine redis ip neighbour flush dev back
}

in_machine() { nsenter --net="/run/netns/$1" "${@:2}"; }

# unplug MACHINE, plug_in MACHINE: its cable to the back network, at the switch. Nobody is told:
# packets go nowhere, as behind a broken switch.
unplug() { ip link set "back-$1" down; }
plug_in() { ip link set "back-$1" up; }

# start_in MACHINE LOG COMMAND...: in the background; sets started to its pid.
start_in() {
    local machine=$1 log=$2
    # Through exec, so that $! is the program; in a session of its own, away from our signals.
    (exec setsid nsenter --net="/run/netns/$machine" "${@:3}") >>"$log" 2>&1 </dev/null &
    started=$!
    disown
}

listens() { # MACHINE PORT
    local port
    printf -v port %04X "$2"
    in_machine "$1" grep -qE "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:0000 0A " /proc/net/tcp
}

# --- Redis --------------------------------------------------------------------------------------

redis() { in_machine redis redis-cli -h "$redis_address" "$@"; }
redis_answers() { [[ $(redis ping 2>/dev/null) == PONG ]]; }

# With nothing in it, and nothing kept when it ends.
start_redis() {
    start_in redis "$work/redis.log" "${engine[@]}" --bind "$redis_address" --port 6379 \
        --protected-mode no --save '' --appendonly no --dir "$work" "${engine_options[@]}"
    redis_pid=$started
    wait_until 10 redis_answers || give_up "Redis does not answer"
}

kill_redis() {
    kill -KILL "$redis_pid"
    wait_until 5 dead "$redis_pid" || give_up "Redis does not die"
}

# --- hosts --------------------------------------------------------------------------------------

store_of() { printf '%s/run/%s/store' "$work" "$1"; }
key_file_of() { printf '%s/run/%s/key' "$work" "$1"; }

# What a fleet has in common: the network, a machine for Redis, a certificate and a key.
make_fleet() {
    make_network
    make_certificate
    openssl rand -hex 32 >"$work/first_key"
    add_machine redis 9
}

add_hosts() {
    local host
    for host in "$@"; do
        make_host "$host"
        start_server "$host"
        [[ $way == stock ]] || start_agent "$host"
    done
}

make_host() {
    add_machine "$1" "${number[$1]}"
    mkdir -m 711 "$work/$1" "$work/run/$1"
    set_keys "$1" "$work/first_key"
    configure "$1"
}

# set_keys HOST FILE...: the keys of the host, the first the newest.
set_keys() {
    (umask 077 && cat "${@:2}" >"$(key_file_of "$1").new")
    mv "$(key_file_of "$1").new" "$(key_file_of "$1")"
}

# One worker, a port for each way that sessions are carried: 8001 by id, 8002 in tickets.
configure() {
    local dir=$work/$1 temporary
    {
        cat <<END
daemon off;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log notice;
user www-data;
events { worker_connections 256; }
http {
    access_log off;
    ssl_certificate $work/certificate.pem;
    ssl_certificate_key $work/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache builtin;
    ssl_session_timeout 1h;
    server {
        listen 10.80.0.${number[$1]}:8001 ssl;
        ssl_session_tickets off;
        return 200 "ok\n";
    }
    server {
        listen 10.80.0.${number[$1]}:8002 ssl;
        ssl_session_tickets on;
        return 200 "ok\n";
    }
END
        for temporary in client_body proxy fastcgi uwsgi scgi; do
            echo "    ${temporary}_temp_path $dir/$temporary;"
        done
        echo "}"
    } >"$dir/nginx.conf"
}

start_server() {
    local host=$1 dir=$work/$1 environment=()
    if [[ $way != stock ]]; then
        environment=("${server_environment[@]}"
            "LD_PRELOAD=$library" "SESSCACHE_LOG=$dir/sesscache.log"
            "SESSCACHE_STORE=file:$(store_of "$host")?size=16MiB"
            "SESSCACHE_KEY_FILE=$(key_file_of "$host")")
    fi
    start_in "$host" "$dir/output.log" env "${environment[@]}" \
        nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
    server[$host]=$started
    wait_until 10 listens "$host" 8002 || give_up "no server on host $host"
    wait_until 10 has_worker "$host" || give_up "no worker on host $host"
}

workers_of() { children "${server[$1]}"; }
has_worker() { (($(workers_of "$1" | wc -l) == 1)); }

# The old worker is gone when this returns, with all it had in its own memory.
reload_server() {
    local host=$1 old
    old=$(workers_of "$host")
    kill -HUP "${server[$host]}"
    wait_until 10 dead "$old" || give_up "the worker of host $host did not end after the reload"
    wait_until 10 has_worker "$host" || give_up "no new worker on host $host after the reload"
}

start_agent() {
    local host=$1 dir=$work/$1
    start_in "$host" "$dir/agent.log" env RUST_BACKTRACE=1 "$command" agent \
        --store "file:$(store_of "$host")" --redis "$redis_url" \
        --metrics 127.0.0.1:9100 "${agent_options[@]}"
    agent[$host]=$started
    wait_until 10 agent_is_well "$host" || give_up "the agent of host $host does not get ready"
}

kill_agent() {
    kill -KILL "${agent[$1]}"
    wait_until 5 dead "${agent[$1]}" || give_up "the agent of host $1 does not die"
}

# http HOST PATH: the answer of its agent.
http() {
    # shellcheck disable=SC2016 # for the other shell
    in_machine "$1" timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9100 &&
        printf "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" "$1" >&3 &&
        cat <&3' - "$2" 2>/dev/null
}

agent_is_well() { http "$1" /healthz | head -n 1 | grep -q ' 200 '; }

# metric HOST NAME: the sum over its labels.
metric() {
    http "$1" /metrics | awk -v name="$2" '
        $1 == name || index($1, name "{") == 1 { sum += $2 } END { printf "%.0f\n", sum }'
}

# counted HOST COUNTER: of its store.
counted() {
    "$command" stats --json "$(store_of "$1")" | grep -oE "\"$2\": *[0-9]+" | grep -oE '[0-9]+$'
}

# Processor time of a process so far, in milliseconds (user and system).
processor_ms() {
    local fields ticks
    read_status "$1" || return
    ticks=$((fields[11] + fields[12]))
    echo $((ticks * 1000 / $(getconf CLK_TCK)))
}

# --- the client ---------------------------------------------------------------------------------

place() { # HOST KIND
    case $2 in
        *tickets) echo "10.80.0.${number[$1]}:8002" ;;
        *) echo "10.80.0.${number[$1]}:8001" ;;
    esac
}

# visit HOST KIND COMMAND...: as `visit PLACE COMMAND` of visit.c.
visit() {
    local options=(-p "${2% *}")
    case $2 in *tickets) options+=(-t) ;; esac
    timeout 60 "$client" "${options[@]}" "$(place "$1" "$2")" "${@:3}"
}

session_file() { printf '%s/%s-%s.session' "$work" "$1" "${2// /-}"; }

# save HOST KIND [COUNT]: sessions of the host, in its session_file.
save() { visit "$1" "$2" save "$(session_file "$1" "$2")" "${3:-1}"; }

# offer FROM KIND TO [COUNT]: how many connections resumed on TO that offered FROM's sessions, or
# "error".
offer() {
    local line
    if line=$(visit "$3" "$2" offer "$(session_file "$1" "$2")" "${4:-$tries}"); then
        line=${line#resumed }
        echo "${line% of *}"
    else
        echo error
    fi
}

# all_resume FROM KIND TO [COUNT]
all_resume() { [[ $(offer "$@") == "${4:-$tries}" ]]; }
come_to_resume() { wait_until 10 all_resume "$@"; }

# --- at the end ---------------------------------------------------------------------------------

# Nothing in the logs says that something went wrong, and every process lives.
check_health() {
    local host
    for host in "${!server[@]}"; do
        check "host $host: the server lives" alive "${server[$host]}"
        check "host $host: nothing bad in the server's log" server_log_is_clean "$host"
        check "host $host: the library complains of nothing" library_is_content "$host"
    done
    for host in "${!agent[@]}"; do
        check "host $host: the agent lives" alive "${agent[$host]}"
        check "host $host: the agent did not panic" no_panic "$host"
        check "host $host: the ring overwrote nothing before the agent had sent it" \
            test "$(metric "$host" sesscache_replication_lost_records_total)" = 0
    done
}

readonly bad_lines='\[(error|crit|alert|emerg)\]|exited on signal'
server_log_is_clean() { ! grep -m 5 -E "$bad_lines" "$work/$1/error.log"; }
library_is_content() {
    local log=$work/$1/sesscache.log
    [[ ! -s $log ]] || { cat "$log" && return 1; }
}
no_panic() { ! grep -m 5 -i panicked "$work/$1/agent.log"; }
