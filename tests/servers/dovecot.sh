#!/usr/bin/env bash
# Dovecot from Debian's package, IMAP over TLS: two login processes, which the master starts by exec,
# and which go into their chroot and drop root before they make an SSL_CTX.
#
# What must come out on stock and preloaded:
# - service_count = 0, a login process serves many connections, each with its own cache, as OpenSSL
#   has it when nobody sets anything: about half.
# - service_count = 1, Dovecot's default, is a process a connection: none.
# - A reload starts new login processes: none.
# With a store, what resumes at all resumes always, and a process a connection resumes too.
#
# The master hands down only the variables that import_environment names.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "dovecot, service_count = 0|2 processes|some some all|none none all"
    "dovecot, service_count = 1|process a connection|none none all|none none all"
)

configure() {
    local names=${way_env[*]%%=*}
    cat >"$dir/dovecot.conf" <<END
import_environment = $(doveconf -d -h import_environment) $names
base_dir = $dir/run
state_dir = $dir/state
instance_name = ${dir##*/}
log_path = $dir/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <$work/certificate.pem
ssl_key = <$work/key.pem
ssl_min_protocol = TLSv1.2
ssl_options = no_ticket
passdb {
    driver = static
    args = nopassword=y
}
service imap-login {
    service_count = ${setup##* }
    process_min_avail = 2
    process_limit = $(process_limit)
    inet_listener imap {
        port = 0
    }
    inet_listener imaps {
        port = ${port[${configs[0]}]}
        ssl = yes
    }
}
END
}

workers_stay() { [[ $setup == *"= 0" ]]; }

# With a process a connection two wait, besides those that end.
process_limit() { case $setup in *"= 0") echo 2 ;; *) echo 50 ;; esac; }

launch() { start_process dovecot -F -c "$dir/dovecot.conf"; }

serving() {
    local pid
    for pid in $(children "${mains[0]}"); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) != imap-login ]] || printf '%s\n' "$pid"
    done
}

target() { echo "-a imap ${port[$1]}"; }
reload() { replace_workers HUP; }

# A login process that has only just started when the others end, or are replaced by a reload, loses
# what it talks to (the configuration, the authentication, the statistics), and says so, on stock too.
# From then on, until Dovecot is started again, only how a process ended counts as bad.
note_ending() { echo "ends" >>"$dir/dovecot.log"; }

log_is_clean() {
    local bad
    bad=$(awk '
        /^ends$|SIGHUP received/ { ending = 1 }
        / starting up for / { ending = 0 }
        /Panic|killed with signal/ || (!ending && /Error|Fatal/)' "$dir/dovecot.log")
    [[ -z $bad ]] || { head -n 5 <<<"$bad" && return 1; }
}

need dovecot dovecot-imapd dovecot
need_root
dovecot --version
run_ways
