#!/usr/bin/env bash
# hitch from Debian's package: two workers, chroot, its own user.
#
# What must come out on stock and preloaded:
# - OpenSSL's own cache in each worker, as it is when nobody sets anything: about half.
# - A reload starts new workers: none.
# With a store, what resumes at all resumes always.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "hitch|2 workers|some some all|none none all"
)

configure() {
    mkdir "$dir/empty"
    cat >"$dir/hitch.conf" <<END
frontend = "[127.0.0.1]:${port[${configs[0]}]}"
backend = "[127.0.0.1]:$backend_port"
pem-file = "$work/both.pem"
workers = 2
daemon = off
user = "_hitch"
group = "_hitch"
chroot = "$dir/empty"
ocsp-dir = ""
tls-protos = TLSv1.2 TLSv1.3
END
}

launch() { start_ticketless hitch --config="$dir/hitch.conf"; }
serving() { children "${mains[0]}"; }

reload() {
    run_process hitch --test --config="$dir/hitch.conf"
    replace_workers HUP
}

log_is_clean() { ! grep -m 5 -iE 'SSL error|died|core:' "$dir/output.log"; }

need hitch hitch hitch
need python3 python3
need_root
hitch --version
start_backend
run_ways
