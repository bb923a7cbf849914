#!/usr/bin/env bash
# PostgreSQL from Debian's package, which turns resumption off on purpose: no cache, no tickets. It
# must stay off in all three ways. A process a connection, forked from the postmaster, which makes
# the context.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "postgresql|process a connection|none none none|none none none"
)

run_as=(setpriv --reuid=postgres --regid=postgres --init-groups)

# One cluster serves all ways.
make_cluster() {
    mkdir "$work/data"
    chown postgres "$work/data"
    "${run_as[@]}" "$programs/initdb" --no-sync --auth=trust --no-locale "$work/data" \
        >"$work/initdb.log" 2>&1 ||
        skip "initdb failed: $(tail -n 1 "$work/initdb.log")"
    install -m 600 -o postgres "$work/key.pem" "$work/certificate.pem" "$work/data"
    echo "hostssl all all 127.0.0.1/32 trust" >"$work/data/pg_hba.conf"
    cat >"$work/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
ssl = on
ssl_cert_file = 'certificate.pem'
ssl_key_file = 'key.pem'
END
}

# The postmaster opens the store, with no more rights than postgres has.
configure() {
    [[ -d $work/data ]] || make_cluster
    chown -R postgres "$dir"
}

launch() {
    until_logged 1 'ready to accept connections' \
        start_process "$programs/postgres" -D "$work/data" -p "${port[${configs[0]}]}"
}

serving() { printf '%s\n' "${mains[@]}"; }
workers_wanted() { echo 1; }
target() { echo "-a postgres ${port[$1]}"; }

reload() { until_logged 1 'received SIGHUP' kill -HUP "${mains[@]}"; }

log_is_clean() { ! grep -m 5 -E 'FATAL|PANIC|ERROR|terminated by signal' "$dir/output.log"; }

need "/usr/lib/postgresql/*/bin/postgres" postgresql postgresql
need_root
programs=$(compgen -G "/usr/lib/postgresql/*/bin" | sort -V | tail -n 1)
"$programs/postgres" --version
run_ways
