# What every server test uses: verdicts, packages, ports, processes, and the resuming client.
# Sourced by ways.sh, which a server's script sources. run.sh sets: library (path of
# libsesscache.so), client (path of the built resume.c), results (file that counts verdicts), work
# (this server's own folder).
# shellcheck shell=bash

: "${library:?}" "${client:?}" "${results:?}" "${work:?}"

readonly tries=50 # connections that offer one saved session

# --- verdicts -----------------------------------------------------------------------------------

pass() { echo pass >>"$results"; }
fail() { echo fail >>"$results"; printf 'FAIL  %s\n' "$*"; }

# Something was not run, and why.
note_skip() { echo skip >>"$results"; printf 'SKIP  %s\n' "$*"; }

# Ends this server's test as not run, with the reason.
skip() { note_skip "$@"; exit 77; }

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

# need PROGRAM PACKAGE [SERVICE]: the program (or, with a slash, the file; a pattern may stand for
# it) is there, or is installed when root may, or the test is skipped. A service that came with the
# package does not start, now or at the next boot.
need() {
    local program=$1 package=$2 service=${3:-}
    is_there "$program" && return
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

is_there() {
    case $1 in
        */*) compgen -G "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# Most servers drop to a user of their own, in a chroot: only root sees that.
need_root() {
    [[ $EUID == 0 ]] || skip "$(basename "$0" .sh): only root can start it as Debian does, with users and a chroot"
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

# By the kernel's table, since a connection to find out would show in the server's log.
is_listening() {
    local port
    printf -v port %04X "$1"
    grep -qE "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:0000 0A " /proc/net/tcp
}

# Sets fields to what follows the name in /proc/PID/stat: state, parent, ... (The name ends at the
# last parenthesis.)
read_status() {
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${line##*) }"
}

# A zombie, for whose end nobody has asked yet, is dead.
alive() {
    local fields
    read_status "$1" && [[ ${fields[0]} != Z ]]
}
dead() { ! alive "$1"; }

# The pids whose parent is $1, in ascending order.
children() {
    local process fields
    for process in /proc/[0-9]*; do
        read_status "${process#/proc/}" || continue
        [[ ${fields[0]} == Z || ${fields[1]} != "$1" ]] || printf '%s\n' "${process#/proc/}"
    done | sort -n
}

descendants() {
    local child
    for child in $(children "$1"); do
        printf '%s\n' "$child"
        descendants "$child"
    done
}

# stop PID: asks it to end, then makes it.
stop() {
    alive "$1" || return 0
    kill -TERM "$1"
    wait_until 10 dead "$1" || kill -KILL "$1" 2>/dev/null || true
}

# --- the client ---------------------------------------------------------------------------------

# A self-signed certificate: certificate.pem and key.pem in $work, and both.pem of the two.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=first.test -addext subjectAltName=DNS:first.test,DNS:second.test \
        -keyout "$work/key.pem" -out "$work/certificate.pem" 2>"$work/certificate.log"
    cat "$work/key.pem" "$work/certificate.pem" >"$work/both.pem"
    chmod 600 "$work/both.pem"
}

# save_session FILE PROTOCOL TARGET...: one full connection, whose session is kept. If it fails the
# file has none, and offering it is the error that counts. TARGET is the client's options and port.
save_session() {
    "$client" -p "$2" "${@:3}" save "$1" || true
}

# offer_session FILE PROTOCOL TARGET...: prints how many of $tries connections resumed, or "error"
# if one of them failed.
offer_session() {
    local line
    if line=$("$client" -p "$2" "${@:3}" offer "$1" "$tries"); then
        line=${line#resumed }
        echo "${line% of *}"
    else
        echo error
    fi
}
