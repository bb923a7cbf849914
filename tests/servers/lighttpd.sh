#!/usr/bin/env bash
# lighttpd from Debian's package: two workers, with mod_openssl, which it loads as a module.
#
# What must come out on stock and preloaded:
# - The feature ssl.session-cache leaves OpenSSL's cache on, one in each worker: about half.
# - Without it the cache is off: none.
# - A reload (SIGUSR1) is a new start of the server in its process: none.
# With a store, what resumes at all resumes always.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "lighttpd, ssl.session-cache|2 workers|some some all|none none all"
    "lighttpd, default|2 workers|none none none|none none none"
)

configure() {
    local config=${configs[0]} feature=
    case $setup in *session-cache) feature='"ssl.session-cache" => "enable",' ;; esac
    mkdir -m 755 "$dir/pages"
    echo ok >"$dir/pages/index.html"
    # Read again after a reload, by the user that the server has become.
    install -m 600 -o www-data "$work/both.pem" "$dir/both.pem"
    cat >"$dir/lighttpd.conf" <<END
server.modules = ("mod_openssl")
server.bind = "127.0.0.1"
server.port = ${port[$config]}
server.document-root = "$dir/pages"
server.pid-file = "$dir/lighttpd.pid"
server.username = "www-data"
server.groupname = "www-data"
server.max-worker = 2
server.feature-flags = ($feature "server.graceful-shutdown-timeout" => 5)
index-file.names = ("index.html")
ssl.engine = "enable"
ssl.pemfile = "$dir/both.pem"
ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv1.2", "Options" => "-SessionTicket")
END
}

launch() { start_process lighttpd -D -f "$dir/lighttpd.conf"; }
serving() { children "${mains[0]}"; }

reload() {
    run_process lighttpd -tt -f "$dir/lighttpd.conf"
    replace_workers USR1
}

log_is_clean() { ! grep -m 5 -E 'SSL: .*error|died|segfault' "$dir/output.log"; }

need lighttpd lighttpd lighttpd
need /usr/lib/lighttpd/mod_openssl.so lighttpd-mod-openssl
need_root
lighttpd -v | sed -n 1p
run_ways
