#!/usr/bin/env bash
# Apache's mod_ssl from Debian's package: two processes of the event and the prefork module, which
# the root process starts and which run as www-data, and each kind of SSLSessionCache.
#
# What must come out on stock and preloaded:
# - shmcb is the processes' common cache, behind the three callbacks: all. A graceful restart makes
#   a new one: none.
# - none, and nonenotnull, which gives ids that it does not keep, were asked for no resumption: none.
# - A session of one virtual host is offered to another: the host's name and port are mod_ssl's
#   session id context, so none.
# With a store, what resumes at all resumes always.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

rows=(
    "apache2, event|shmcb|all all all|none none all"
    "apache2, event|shmcb, second name|all all all|none none all"
    "apache2, event|shmcb, other name|none none none|none none none"
    "apache2, prefork|shmcb|all all all|none none all"
    "apache2, no cache|none|none none none|none none none"
    "apache2, ids alone|nonenotnull|none none none|none none none"
)

readonly modules=/usr/lib/apache2/modules

mpm() { case $setup in *prefork) echo prefork ;; *) echo event ;; esac; }

# SSLSessionCache is one for the whole server.
cache_of_setup() {
    case ${configs[0]} in
        shmcb*) echo "shmcb:$dir/cache(512000)" ;;
        *) echo "${configs[0]}" ;;
    esac
}

virtual_hosts() {
    local config=$1 name
    echo "Listen 127.0.0.1:${port[$config]}"
    for name in first.test second.test; do
        cat <<END
<VirtualHost 127.0.0.1:${port[$config]}>
    ServerName $name
    SSLEngine on
</VirtualHost>
END
    done
}

configure() {
    local config
    mkdir -m 755 "$dir/empty"
    echo ok >"$dir/empty/index.html"
    {
        cat <<END
ServerRoot $dir
ServerName first.test
DefaultRuntimeDir $dir
PidFile $dir/apache2.pid
ErrorLog $dir/error.log
LoadModule mpm_$(mpm)_module $modules/mod_mpm_$(mpm).so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule socache_shmcb_module $modules/mod_socache_shmcb.so
LoadModule ssl_module $modules/mod_ssl.so
User www-data
Group www-data
DocumentRoot $dir/empty
StartServers 2
ServerLimit 2
MaxConnectionsPerChild 0
<IfModule mpm_event_module>
    ThreadsPerChild 4
    MaxRequestWorkers 8
    MinSpareThreads 5
    MaxSpareThreads 16
</IfModule>
<IfModule mpm_prefork_module>
    MaxRequestWorkers 2
    MinSpareServers 2
    MaxSpareServers 3
</IfModule>
SSLSessionCache $(cache_of_setup)
SSLSessionTickets off
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile $work/certificate.pem
SSLCertificateKeyFile $work/key.pem
END
        for config in "${configs[@]}"; do
            virtual_hosts "$config"
        done
    } >"$dir/apache2.conf"
}


launch() { start_process apache2 -d "$dir" -f "$dir/apache2.conf" -DFOREGROUND; }
serving() { children "${mains[0]}"; }

reload() {
    run_process apache2 -d "$dir" -f "$dir/apache2.conf" -t
    replace_workers USR1
}

log_is_clean() { ! grep -m 5 -E ':(error|crit|alert|emerg)\]|exit signal' "$dir/error.log"; }

need apache2 apache2 apache2
need_root
apache2 -v | sed -n 1p
run_ways
