#!/usr/bin/env bash
# vsftpd from Debian's package with require_ssl_reuse: a data connection must resume a session. The
# listener makes the context as root, and each connection is a process of its own, forked from it,
# in an empty chroot as nobody.
#
# What must come out on stock and preloaded: a data connection is let through with the session of
# its own control connection, and with no other and with none it is not.
#
# vsftpd must never be given a store, so there is no way with one here. All it asks of a data
# connection is whether some session was resumed (SSL_session_reused), not whose. The check rests on
# this: a process knows only the sessions that it made itself. With a store each knows all, and any
# client's session would pass on everyone's data connection. (OpenSSL's stateless tickets have the
# same fault on stock, since all processes inherit one key; here they are off.)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

readonly clients=10
readonly expected="own $clients, another's 0, none 0"

configure() {
    mkdir "$dir/empty" "$dir/files"
    cat >"$dir/vsftpd.conf" <<END
listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port=${port[${configs[0]}]}
background=NO
seccomp_sandbox=NO
secure_chroot_dir=$dir/empty
nopriv_user=nobody
vsftpd_log_file=$dir/vsftpd.log
anonymous_enable=YES
no_anon_password=YES
anon_root=$dir/files
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file=$work/both.pem
END
}

launch() { start_ticketless vsftpd "$dir/vsftpd.conf"; }
serving() { printf '%s\n' "${mains[@]}"; }
workers_wanted() { echo 1; }
log_is_clean() { [[ ! -s $dir/output.log ]]; }

data_connections() {
    local figures
    figures=$(python3 "$here/ftp_reuse.py" "${port[${configs[0]}]}" "$1" "$clients") || figures=error
    table_row "data connections" "$1" "$way" "$figures"
    [[ $figures == "$expected" ]]
}

run_vsftpd() {
    local protocol
    begin_way "$1"
    for protocol in "${protocols[@]}"; do
        check "vsftpd, $way, TLS $protocol: let through: $expected" data_connections "$protocol"
    done
    check_health
    end_way
}

need vsftpd vsftpd vsftpd
need python3 python3
need_root
vsftpd -v 0>&1 # it writes to its standard input
setup=vsftpd configs=(control) all_ways=(stock preload)
choose_ways
make_certificate
for wanted in "${ways[@]}"; do
    run_vsftpd "$wanted"
done
