#!/usr/bin/env bash
# stunnel from Debian's package: threads, chroot, its own user. Two processes with one service each.
#
# What must come out on stock and preloaded:
# - The cache is that of the process, and stunnel adds to it itself (SSL_CTX_add_session) although
#   it told OpenSSL not to store: all.
# - The session of one process is offered to the other: none.
# - sessionResume = no: none.
# - A reload makes new contexts in the same process: none.
# With a store, what resumes at all resumes always, and at the other process too.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "stunnel4|threads|all all all|none none all"
    "stunnel4|2 processes|none none all|none none all"
    "stunnel4, sessionResume = no|threads|none none none|none none none"
    "stunnel4, sessionResume = no|2 processes|none none none|none none none"
)

configure() {
    local config jail=$dir/jail resume=yes
    case $setup in *"= no") resume=no ;; esac
    mkdir "$jail"
    cp "$work/both.pem" "$dir"
    for config in "${configs[@]}"; do
        cat >"$dir/$config.conf" <<END
foreground = yes
pid =
syslog = no
debug = notice
chroot = $jail
setuid = $(id -u stunnel4)
setgid = $(id -g stunnel4)
sessionResume = $resume
options = NO_TICKET
sslVersionMin = TLSv1.2

[https]
accept = 127.0.0.1:${port[$config]}
connect = 127.0.0.1:$backend_port
cert = $dir/both.pem
END
    done
    # A reload happens in the chroot and as stunnel4, where the same paths must lead to the same.
    (cd / && cp --parents "${dir#/}"/*.{conf,pem} "$jail")
    chown -R stunnel4 "$jail"
}

launch() {
    local config
    for config in "${configs[@]}"; do
        start_process stunnel4 "$dir/$config.conf"
    done
}

serving() { printf '%s\n' "${mains[@]}"; }

target() {
    local at=$1
    [[ $2 == offer ]] || at=${configs[0]}
    echo "${port[$at]}"
}

reload() { until_logged "${#mains[@]}" 'Configuration successful' kill -HUP "${mains[@]}"; }

log_is_clean() { ! grep -m 5 -E 'INTERNAL ERROR|Reloading.*failed|SSL_accept:' "$dir/output.log"; }

need stunnel4 stunnel4 stunnel4
need python3 python3
need_root
stunnel4 -version 2>&1 | grep platform
start_backend
run_ways
