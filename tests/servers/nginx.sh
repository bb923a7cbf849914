#!/usr/bin/env bash
# nginx from Debian's package, with each kind of ssl_session_cache, one worker and two, before and
# after a reload. Run by run.sh.
#
# What must come out, of 50 connections that offer one session:
# - builtin is a cache in each worker: all with one worker. With two, those that meet the worker that
#   has the session: about half, 20 to 32 as seen. An idle kernel wakes the same worker each time,
#   and nginx stands back after 16 accepts (ngx_reorder_accept_events), so 50 in a row meet both:
#   neither none nor all.
# - shared is nginx's own zone, behind the three callbacks: all.
# - builtin shared has both: all, in one world by the builtin copy, in the other by the zone.
# - none and off were asked for no resumption: none.
# - After a reload builtin is empty and shared is not. builtin shared on stock loses everything: the
#   old worker's SSL_CTX_free calls remove_cb for each builtin session, and that deletes it from the
#   zone. nginx's new_cb returns 0, so by the contract (DESIGN section 3, clause 3) our cache holds
#   no session of its own making, and a new session survives. One that has been looked up since is
#   cached by clause 8 and goes with the context as on stock: never fewer than stock.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# config:expected with one worker:with two. "second name" is the second virtual host of its port,
# reached through SNI: the session must go to the cache of the context the connection began with.
readonly configs=(
    "builtin:all:some"
    "shared:all:all"
    "builtin shared:all:all"
    "builtin, second name:all:some"
    "none:none:none"
    "off:none:none"
)
# config and age of the session:expected of stock after a reload:of sesscache
readonly reloads=(
    "builtin, new:none:none"
    "shared, new:all:all"
    "shared, used:all:all"
    "builtin shared, new:none:all"
    "builtin shared, used:any:any"
)
readonly protocols=(1.2 1.3)

declare -A port=()    # of a config
declare -A resumed=() # by "way/workers/protocol/config"

# The nginx running now.
master=
workers=()
trap '[[ -z $master ]] || stop "$master"' EXIT

# --- configuration ------------------------------------------------------------------------------

cache_of() {
    case $1 in
        builtin | "builtin, second name") echo builtin ;;
        shared) echo "shared:alone:1m" ;;
        "builtin shared") echo "builtin shared:both:1m" ;;
        *) echo "$1" ;;
    esac
}

virtual_host() {
    local config=$1 name=$2
    cat <<END
    server {
        listen 127.0.0.1:${port[$config]} ssl;
        server_name $name;
        ssl_session_cache $(cache_of "$config");
        return 200 "ok\n";
    }
END
}

write_config() {
    local count=$1 entry temporary
    cat <<END
worker_processes $count;
pid $dir/nginx.pid;
error_log $dir/error.log notice;
$([[ $EUID != 0 ]] || echo "user www-data;")
events { worker_connections 256; }
http {
    access_log off;
    ssl_certificate $work/certificate.pem;
    ssl_certificate_key $work/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
END
    for temporary in client_body proxy fastcgi uwsgi scgi; do
        echo "    ${temporary}_temp_path $dir/$temporary;"
    done
    for entry in "${configs[@]}"; do
        virtual_host "${entry%%:*}" first.test
    done
    virtual_host "builtin, second name" second.test
    echo "}"
}

# The server name a client of this config asks for.
name_of() { case $1 in *"second name") echo second.test ;; *) echo first.test ;; esac; }

# --- the process --------------------------------------------------------------------------------

give_up() {
    printf '%s; the end of its log:\n' "$1" >&2
    tail -n 5 "$dir/error.log" >&2
    exit 1
}

workers_are() { mapfile -t workers < <(children "$master") && ((${#workers[@]} == $1)); }

start_nginx() {
    local way=$1 count=$2 entry
    dir=$work/$way-$count
    mkdir -m 711 "$dir"
    for entry in "${configs[@]}"; do
        free_port "port[${entry%%:*}]"
    done
    write_config "$count" >"$dir/nginx.conf"
    run_server "$way" nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
    wait_until 5 test -s "$dir/nginx.pid" || give_up "nginx wrote no pid file"
    master=$(<"$dir/nginx.pid")
    wait_until 5 workers_are "$count" || give_up "nginx did not start $count worker(s)"
}

# Reloads, and waits until the old workers are gone and the new ones are there.
reload_nginx() {
    local old=("${workers[@]}") pid
    kill -HUP "$master"
    for pid in "${old[@]}"; do
        wait_until 10 dead "$pid" || give_up "worker $pid did not end after the reload"
    done
    wait_until 5 workers_are "${#old[@]}" || give_up "no new workers after the reload"
}

stop_nginx() {
    stop "$master"
    check "nginx, $1: it ends when asked" dead "$master"
    master=
}

same_workers() {
    local before="${workers[*]}"
    workers_are "${#workers[@]}" && [[ "${workers[*]}" == "$before" ]]
}

# A worker that crashed shows as an alert, and nginx starts another.
log_is_clean() { ! grep -E '\[(error|crit|alert|emerg)\]|exited on signal' "$dir/error.log"; }

check_health() {
    check "nginx, $1: the library is mapped with sesscache and only then" \
        library_as_way_says "$way" "$master" "${workers[@]}"
    check "nginx, $1: every worker lives" same_workers
}

# --- measuring ----------------------------------------------------------------------------------

session_file() { printf '%s/%s-%s.session' "$dir" "${1//[, ]/_}" "$2"; }

# measure CONFIG AGE PROTOCOL: offers the kept session, notes the figure.
measure() {
    local config=$1 age=$2 protocol=$3
    resumed["$way/$count/$protocol/$config$age"]=$(offer_session \
        "$(session_file "$config$age" "$protocol")" "${port[$config]}" "$protocol" \
        "$(name_of "$config")")
}

save_for() {
    local config=$1 age=$2 protocol=$3
    save_session "$(session_file "$config$age" "$protocol")" "${port[$config]}" "$protocol" \
        "$(name_of "$config")"
}

measure_all() {
    local entry config protocol
    for protocol in "${protocols[@]}"; do
        for entry in "${configs[@]}"; do
            config=${entry%%:*}
            save_for "$config" "" "$protocol"
            measure "$config" "" "$protocol"
        done
    done
}

# Runs a function for every session of the reload test: function CONFIG AGE PROTOCOL.
each_reload() {
    local entry key protocol
    for protocol in "${protocols[@]}"; do
        for entry in "${reloads[@]}"; do
            key=${entry%%:*}
            "$1" "${key%,*}" ",${key##*,}" "$protocol"
        done
    done
}

prepare_reload() {
    save_for "$@"
    if [[ $2 == ", used" ]]; then measure "$@"; fi
}

measure_reload() {
    each_reload prepare_reload
    reload_nginx
    each_reload measure
}

measure_way() {
    local way=$1 count=$2 what
    what="$way, $count worker(s)"
    start_nginx "$way" "$count"
    measure_all
    check_health "$what"
    if [[ $count == 1 ]]; then
        measure_reload
        check_health "$what, after a reload"
    fi
    check "nginx, $what: nothing bad in the error log" log_is_clean
    stop_nginx "$what"
}

# --- the table ----------------------------------------------------------------------------------

row() {
    local label=$1 key=$2 protocol=$3 count=$4
    compare "$label" "$protocol" "$count" "$5" "$6" \
        "${resumed[stock/$count/$protocol/$key]}" "${resumed[sesscache/$count/$protocol/$key]}"
}

print_table() {
    local entry config one two key stock ours protocol
    table_head
    for protocol in "${protocols[@]}"; do
        for entry in "${configs[@]}"; do
            IFS=: read -r config one two <<<"$entry"
            row "$config" "$config" "$protocol" 1 "$one" "$one"
            row "$config" "$config" "$protocol" 2 "$two" "$two"
        done
        for entry in "${reloads[@]}"; do
            IFS=: read -r key stock ours <<<"$entry"
            row "$key session, after reload" "$key" "$protocol" 1 "$stock" "$ours"
        done
    done
}

need nginx nginx nginx
make_certificate
nginx -v 2>&1
for way in stock sesscache; do
    for count in 1 2; do
        measure_way "$way" "$count"
    done
done
print_table
