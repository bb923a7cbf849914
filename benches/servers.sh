#!/usr/bin/env bash
# Resumed TLS 1.2 handshakes of real servers, unmodified: with the host store and with the shared
# cache they bring themselves, on stock. All servers of a group are up at once, and take the load
# in turn (A B C A B C ...).
#
#   benches/servers.sh nginx|apache ROUNDS SECONDS
#   benches/servers.sh nginx_instructions
#
# run.sh calls it, with library, client (the built load.c), store (the built store/), work and
# results in the environment. Prints raw lines as report.py reads them. Ends with 77 if the server
# is not there.
#
# What comes out is connections a second, and the processor time that the server takes for one,
# kernel included. With nginx_instructions: the instructions of a whole connection in a single
# process of nginx under callgrind, without the kernel's. They are the same each time.
#
# nginx, two workers:
#   shared    stock, ssl_session_cache shared
#   builtin   the store, ssl_session_cache builtin: a worker asks the store the first time that it
#             meets a session and has it from then on
#   fetched   the store, ssl_session_cache builtin:1: nearly every session comes from the store
# Apache, event, two processes:
#   shared    stock, SSLSessionCache shmcb
#   beside    the store and shmcb: Apache has its sessions from shmcb, which is asked first
#   fetched   the same, started again after the sessions were made: shmcb is then empty, and every
#             session comes from the store. (With no SSLSessionCache Apache asks for no resumption.)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${store:?}"
# shellcheck source-path=SCRIPTDIR source=../tests/servers/lib.sh
source "$here/../tests/servers/lib.sh"

kind=$1 rounds=${2:-} seconds=${3:-}
server=${kind%_instructions}
readonly sessions=1000 # that are made, and then offered in random order
declare -A port=() main=()
launch=() # a command that starts the server
trap 'for setup in "${!main[@]}"; do end "$setup"; done' EXIT

die() { echo "servers.sh: $server, $*" >&2; exit 1; }

# ---- nginx -------------------------------------------------------------------------------------

nginx_cache() {
    case $1 in
        shared) echo shared:all:10m ;;
        builtin) echo builtin ;;
        fetched) echo builtin:1 ;;
    esac
}

configure_nginx() {
    local dir=$work/$1 temporary
    {
        cat <<END
daemon off;
$([[ $kind == nginx ]] && echo "worker_processes 2;" || echo "master_process off;")
pid $dir/pid;
error_log $dir/error.log error;
$([[ $EUID != 0 || $kind != nginx ]] || echo "user www-data;")
events { worker_connections 256; }
http {
    access_log off;
    ssl_certificate $work/certificate.pem;
    ssl_certificate_key $work/key.pem;
    ssl_protocols TLSv1.2;
    ssl_session_tickets off;
    ssl_session_timeout 1h;
    ssl_session_cache $(nginx_cache "$1");
END
        for temporary in client_body proxy fastcgi uwsgi scgi; do
            echo "    ${temporary}_temp_path $dir/$temporary;"
        done
        echo "    server { listen 127.0.0.1:${port[$1]} ssl; return 204; }"
        echo "}"
    } >"$dir/configuration"
}

nginx_command() { echo "nginx -e $work/$1/error.log -p $work/$1 -c $work/$1/configuration"; }

# ---- Apache ------------------------------------------------------------------------------------

configure_apache() {
    local dir=$work/$1 modules=/usr/lib/apache2/modules
    mkdir -m 755 "$dir/empty"
    cat >"$dir/configuration" <<END
ServerRoot $dir
ServerName first.test
DefaultRuntimeDir $dir
PidFile $dir/pid
ErrorLog $dir/error.log
LogLevel error
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule socache_shmcb_module $modules/mod_socache_shmcb.so
LoadModule ssl_module $modules/mod_ssl.so
User www-data
Group www-data
DocumentRoot $dir/empty
StartServers 2
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32
MinSpareThreads 17
MaxSpareThreads 32
MaxConnectionsPerChild 0
SSLSessionCache shmcb:$dir/cache(4096000)
SSLSessionCacheTimeout 3600
SSLSessionTickets off
SSLProtocol -all +TLSv1.2
SSLCertificateFile $work/certificate.pem
SSLCertificateKeyFile $work/key.pem
Listen 127.0.0.1:${port[$1]}
<VirtualHost 127.0.0.1:${port[$1]}>
    SSLEngine on
</VirtualHost>
END
}

apache_command() { echo "apache2 -d $work/$1 -f $work/$1/configuration -DFOREGROUND"; }

# ---- each --------------------------------------------------------------------------------------

# The setups of this server.
ours() { case $server in nginx) echo builtin fetched ;; apache) echo beside fetched ;; esac; }

workers_are_there() {
    [[ $kind == *_instructions ]] || (($(children "${main[$1]}" | wc -l) == 2))
}

start() {
    local dir=$work/$1 command environment=()
    read -ra command <<<"$("${server}_command" "$1")"
    if [[ $1 != shared ]]; then
        environment=("LD_PRELOAD=$library" "SESSCACHE_LOG=$dir/sesscache.log"
            "SESSCACHE_STORE=file:$dir/store?size=64MiB" "SESSCACHE_KEY_FILE=$work/store.key")
    fi
    (exec setsid env "${environment[@]}" "${launch[@]}" "${command[@]}") \
        >>"$dir/output.log" 2>&1 </dev/null &
    main[$1]=$!
    wait_until 60 is_listening "${port[$1]}" || die "$1: nobody listens, see $dir"
    wait_until 10 workers_are_there "$1" || die "$1: not two workers, see $dir"
}

# Asked again and again: a single process of nginx misses a signal that comes just before it waits.
end() {
    local asked=0
    while kill -TERM "${main[$1]}" 2>/dev/null; do
        ((++asked < 100)) || kill -KILL "${main[$1]}" || true
        sleep 0.1
    done
    wait "${main[$1]}" || true
    unset "main[$1]"
}

configure() {
    mkdir -m 711 "$work/$1"
    free_port "port[$1]"
    "configure_$server" "$1"
}

set_up() {
    configure "$1"
    start "$1"
    "$client" "${port[$1]}" save "$work/$1/sessions" $sessions
    if [[ $server-$1 == apache-fetched ]]; then
        end "$1"
        start "$1"
    fi
}

hits() {
    local counted
    [[ $1 != shared ]] || { echo 0 && return; }
    counted=$("$store" counters "$work/$1/store")
    echo "${counted% *}"
}

# record ROUND WAY SETUP NAME VALUE UNIT CONNECTIONS
record() { printf '%s\t%s\t%s_%s\t%s\t%s\t%s\t0\t0\t%s\n' "$1" "$2" "$server" "$4" "$3" "${@:5}"; }

# load ROUND SETUP
load() {
    local round=$1 setup=$2 before pids line rate resumed connections used other
    before=$(hits "$setup")
    mapfile -t pids < <(children "${main[$setup]}")
    line=$("$client" -s "$seconds" "${port[$setup]}" offer "$work/$setup/sessions" "${pids[@]}") ||
        die "$setup: the load failed, see $work/$setup"
    read -r rate resumed connections used <<<"$line"
    ((resumed == connections)) || die "$setup: $resumed of $connections resumed"
    if [[ $setup == shared ]]; then
        # Beside each of ours.
        for other in $(ours); do
            record "$round" stock "$other" rate "$rate" /s "$connections"
            record "$round" stock "$other" processor "$used" us "$connections"
        done
        return
    fi
    record "$round" ours "$setup" rate "$rate" /s "$connections"
    record "$round" ours "$setup" processor "$used" us "$connections"
    check_hits "$setup" $(($(hits "$setup") - before)) "$connections"
}

# That the sessions come from where the setup says.
check_hits() {
    local setup=$1 hits=$2 connections=$3
    case $setup in
        fetched) ((hits * 100 >= connections * 95)) ;;
        builtin) ((hits <= 3 * sessions)) ;;
        beside) ((hits == 0)) ;;
    esac || die "$setup: $hits of $connections came from the store"
}

need_server() {
    case $server in
        nginx) need nginx nginx nginx ;;
        apache) need apache2 apache2 apache2 && need_root ;;
    esac
}

measure_load() {
    local setup round
    for setup in shared $(ours); do set_up "$setup"; done
    for setup in shared $(ours); do load 0 "$setup" >/dev/null; done # warm
    for round in $(seq "$rounds"); do
        for setup in shared $(ours); do load "$round" "$setup"; done
    done
    for setup in $(ours); do
        [[ ! -s $work/$setup/sesscache.log ]] || die "$setup: $(cat "$work/$setup/sesscache.log")"
    done
}

# ---- instructions ------------------------------------------------------------------------------

# total SETUP COUNT: the instructions of a run in which so many connections are resumed.
total() {
    local setup=$1 line resumed
    rm -f "$work/$setup/store"
    start "$setup"
    "$client" "${port[$setup]}" save "$work/$setup/sessions" 20
    line=$("$client" -c 1 -n "$2" "${port[$setup]}" offer "$work/$setup/sessions" \
        "${main[$setup]}") || die "$setup: the load failed, see $work/$setup"
    read -r _ resumed _ <<<"$line"
    ((resumed == $2)) || die "$setup: $resumed of $2 resumed"
    end "$setup"
    awk '$1 == "totals:" { print $2 }' "$work/callgrind"
}

measure_instructions() {
    local setup other few=50 many=250 more
    local -A each=()
    launch=(valgrind -q --tool=callgrind "--callgrind-out-file=$work/callgrind")
    for setup in shared $(ours); do
        configure "$setup"
        # Not in a subshell: it knows the process.
        total "$setup" $few >"$work/few"
        total "$setup" $many >"$work/many"
        more=$(($(<"$work/many") - $(<"$work/few")))
        each[$setup]=$((more / (many - few)))
    done
    for other in $(ours); do
        record 1 stock "$other" instructions "${each[shared]}" instructions $((many - few))
        record 1 ours "$other" instructions "${each[$other]}" instructions $((many - few))
    done
}

need_server >&2
make_certificate
(umask 077 && openssl rand -hex 32 >"$work/store.key")
case $kind in
    *_instructions) measure_instructions ;;
    *) measure_load ;;
esac
