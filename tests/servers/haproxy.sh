#!/usr/bin/env bash
# HAProxy from Debian's package: two threads, chroot, its own user, master and worker.
#
# What must come out on stock and preloaded:
# - Its cache is shared by its threads, and lost with the worker: a reload starts the program anew.
# - Two processes on one port (SO_REUSEPORT) have two caches: about half.
# - tune.ssl.cachesize 0 was asked for no resumption: none.
# With a store, what resumes at all resumes always.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "haproxy|threads|all all all|none none all"
    "haproxy, 2 processes|one port|some some all|none none all"
    "haproxy, cachesize 0|threads|none none none|none none none"
)

processes() { case $setup in *"2 processes") echo 2 ;; *) echo 1 ;; esac; }
workers_wanted() { processes; }

configure() {
    local config
    mkdir -p "$dir/empty"
    {
        cat <<END
global
    chroot $dir/empty
    user haproxy
    group haproxy
    nbthread 2
    hard-stop-after 5s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    $([[ $setup != *"cachesize 0" ]] || echo "tune.ssl.cachesize 0")
defaults
    mode http
    timeout client 5s
    timeout http-request 5s
END
        for config in "${configs[@]}"; do
            cat <<END
frontend ${config// /-}
    bind 127.0.0.1:${port[$config]} ssl crt $work/both.pem
    http-request return status 200 content-type text/plain string ok
END
        done
    } >"$dir/haproxy.cfg"
}

launch() {
    local i
    for ((i = 0; i < $(processes); i++)); do
        start_process haproxy -W -f "$dir/haproxy.cfg"
    done
}

# A master's children: after a reload for a moment the old worker too.
serving() {
    local pid
    for pid in "${mains[@]}"; do
        children "$pid"
    done
}

reload() {
    run_process haproxy -c -f "$dir/haproxy.cfg"
    replace_workers USR2
}

log_is_clean() { ! grep -m 5 -E 'ALERT.*(killed|crash|signal)|Segmentation|\(11\)' "$dir/output.log"; }

need haproxy haproxy haproxy
need_root
haproxy -v | sed -n 1p
run_ways
