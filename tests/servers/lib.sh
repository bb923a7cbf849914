# What every server test uses: verdicts, packages, ports, processes, and the resuming client.
# Sourced by NAME.sh, which run.sh starts with these set: library (path of libsesscache.so), client
# (path of the built resume.c), results (file that counts verdicts), work (this server's own folder).
# shellcheck shell=bash

: "${library:?}" "${client:?}" "${results:?}" "${work:?}"

readonly tries=50 # connections that offer one saved session

# --- verdicts -----------------------------------------------------------------------------------

pass() { echo pass >>"$results"; }
fail() { echo fail >>"$results"; printf 'FAIL  %s\n' "$*"; }

# Ends this server's test as not run, with the reason.
skip() {
    echo skip >>"$results"
    printf 'SKIP  %s\n' "$*"
    exit 77
}

# check "what must hold" command...: one verdict.
check() {
    local what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}

# --- packages -----------------------------------------------------------------------------------

# Runs a command while no package may start a service. An own policy-rc.d of the machine is left
# alone; it then has to deny too.
with_services_denied() (
    policy=/usr/sbin/policy-rc.d
    if [[ -e $policy ]]; then
        denied=0
        "$policy" any start >/dev/null 2>&1 || denied=$?
        [[ $denied == 101 ]] || { echo "$policy would let the package start its service"; exit 1; }
    else
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@"
)

apt_install() {
    local install=(apt-get install -y --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" || { apt-get update && "${install[@]}"; }
}

# need PROGRAM PACKAGE [SERVICE]: the program is there, or is installed when root may, or the test
# is skipped. A service that came with the package does not start, now or at the next boot.
need() {
    local program=$1 package=$2 service=${3:-}
    command -v "$program" >/dev/null && return
    if [[ $EUID != 0 ]] || ! command -v apt-get >/dev/null; then
        skip "$program is missing; as root: apt-get install $package"
    fi
    echo "installing $package"
    with_services_denied apt_install "$package" >"$work/install.log" 2>&1 ||
        skip "$program is missing, and installing $package failed: $(tail -n 1 "$work/install.log")"
    if [[ -n $service ]] && command -v systemctl >/dev/null; then
        systemctl disable --quiet "$service" || true
    fi
}

# --- ports and processes ------------------------------------------------------------------------

# Sets the variable named $1 to a port of 127.0.0.1 that nobody listens on, below the range from
# which the kernel gives ports to clients; never the same one twice.
declare -A ports_given=()
free_port() {
    local candidate
    while true; do
        candidate=$((20000 + RANDOM % 10000))
        [[ -z ${ports_given[$candidate]:-} ]] || continue
        (: <>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || break
    done
    ports_given[$candidate]=1
    printf -v "$1" %s "$candidate"
}

# wait_until SECONDS command...
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# The way is stock or sesscache: only the latter preloads, and only the server.
run_server() {
    local way=$1
    shift
    if [[ $way == sesscache ]]; then
        env LD_PRELOAD="$library" "$@"
    else
        "$@"
    fi
}

alive() { kill -0 "$1" 2>/dev/null; }
dead() { ! alive "$1"; }

# The pids whose parent is $1, in ascending order. (In /proc/PID/stat the parent is the second
# field after the command's name, which ends at the last parenthesis.)
children() {
    local stat line fields
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        read -ra fields <<<"${line##*) }"
        [[ ${fields[1]} != "$1" ]] || printf '%s\n' "${line%% *}"
    done | sort -n
}

# stop PID: asks it to end, then makes it.
stop() {
    alive "$1" || return 0
    kill -TERM "$1"
    wait_until 5 dead "$1" || kill -KILL "$1" 2>/dev/null || true
}

maps_library() { grep -qs libsesscache "/proc/$1/maps"; }

# Each of the pids maps the library if the way is sesscache, and none does on stock.
library_as_way_says() {
    local way=$1 pid
    shift
    for pid in "$@"; do
        alive "$pid" || return 1
        if [[ $way == sesscache ]]; then
            maps_library "$pid" || return 1
        elif maps_library "$pid"; then
            return 1
        fi
    done
}

# --- the client ---------------------------------------------------------------------------------

# A self-signed certificate: certificate.pem and key.pem in $work.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=first.test -addext subjectAltName=DNS:first.test,DNS:second.test \
        -keyout "$work/key.pem" -out "$work/certificate.pem" 2>"$work/certificate.log"
}

# save_session FILE PORT PROTOCOL [SERVERNAME]: one full connection, whose session is kept. If it
# fails the file has none, and offering it is the error that counts.
save_session() {
    "$client" -p "$3" ${4:+-s "$4"} "$2" save "$1" || true
}

# offer_session FILE PORT PROTOCOL [SERVERNAME]: prints how many of $tries connections resumed, or
# "error" if one of them failed.
offer_session() {
    local line
    if line=$("$client" -p "$3" ${4:+-s "$4"} "$2" offer "$1" "$tries"); then
        line=${line#resumed }
        echo "${line% of *}"
    else
        echo error
    fi
}

# --- the table ----------------------------------------------------------------------------------

table_row() { printf '%-42s  %-8s  %7s  %6s  %9s  %s\n' "$@"; }
table_head() { table_row config protocol workers stock sesscache verdict; }

# as_expected EXPECTATION RESUMED: all, none, some (neither all nor none) or any of the tries.
as_expected() {
    case $1:$2 in
        *:error) false ;;
        all:*) (($2 == tries)) ;;
        none:*) (($2 == 0)) ;;
        some:*) (($2 > 0 && $2 < tries)) ;;
        any:*) true ;;
    esac
}

# compare CONFIG PROTOCOL WORKERS EXPECT_STOCK EXPECT_OURS STOCK OURS: prints the row, counts it.
# Where any number may resume, ours must be no fewer than stock's.
compare() {
    local verdict=ok
    as_expected "$4" "$6" || verdict="FAIL: stock should resume $4"
    as_expected "$5" "$7" || verdict="FAIL: sesscache should resume $5"
    if [[ $5 == any && $verdict == ok ]] && (($7 < $6)); then verdict="FAIL: less than stock"; fi
    table_row "$1" "TLS $2" "$3" "$6" "$7" "$verdict"
    if [[ $verdict == ok ]]; then pass; else echo fail >>"$results"; fi
}
