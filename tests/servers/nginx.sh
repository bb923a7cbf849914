#!/usr/bin/env bash
# nginx from Debian's package, with each kind of ssl_session_cache, one worker and two.
#
# What must come out on stock and preloaded:
# - builtin is a cache in each worker: all with one worker. With two, those that meet the worker that
#   has the session: about half, 20 to 32 as seen. An idle kernel wakes the same worker each time,
#   and nginx stands back after 16 accepts (ngx_reorder_accept_events), so 50 in a row meet both:
#   neither none nor all.
# - shared is nginx's own zone, behind the three callbacks: all.
# - builtin shared has both: all, in one world by the builtin copy, in the other by the zone.
# - none and off were asked for no resumption: none.
# - After a reload builtin is empty and shared is not. builtin shared on stock loses everything: the
#   old worker's SSL_CTX_free calls remove_cb for each builtin session, and that deletes it from the
#   zone. nginx's new_cb returns 0, so by the contract (DESIGN section 3, clause 3) our cache holds
#   no session of its own making, and a new session survives. One that has been looked up since is
#   cached by clause 8 and goes with the context as on stock: never fewer than stock. Two workers
#   may both have looked it up, or one; with one worker the figure is the same each time.
# With a store, what resumes at all resumes always. But not at a virtual host that was made to ask for
# client certificates meanwhile; and where one asks, a worker learns by a full handshake under each
# name whom that leads to.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=ways.sh
source "$(dirname "${BASH_SOURCE[0]}")/ways.sh"

# "second name" is the second virtual host of its port, reached through SNI: the session must go to
# the cache of the context the connection began with. "other name" offers at the second virtual host
# what was made at the first: OpenSSL lets it through (RFC 6066 section 3 does not); a store must not.
rows=(
    "nginx, 1 worker|builtin|all all all|none none all"
    "nginx, 1 worker|shared|all all all|all all all"
    "nginx, 1 worker|shared, used|all all all|all all all"
    "nginx, 1 worker|builtin shared|all all all|none all all"
    "nginx, 1 worker|builtin shared, used|all all all|any any all"
    "nginx, 1 worker|none|none none none|none none none"
    "nginx, 1 worker|off|none none none|none none none"
    "nginx, 2 workers|builtin|some some all|none none all"
    "nginx, 2 workers|builtin, second name|some some all|none none all"
    "nginx, 2 workers|builtin, other name|some some none|none none none"
    "nginx, 2 workers|shared|all all all|all all all"
    "nginx, 2 workers|builtin shared|all all all|none all all"
    "nginx, 2 workers|none|none none none|none none none"
    "nginx, 2 workers|off|none none none|none none none"
)

workers_wanted() { case $setup in *"1 worker") echo 1 ;; *) echo 2 ;; esac; }

cache_of() {
    case $1 in
        "builtin shared"*) echo "builtin shared:both${port[$1]}:1m" ;;
        shared*) echo "shared:alone${port[$1]}:1m" ;;
        builtin*) echo builtin ;;
        *) echo "$1" ;;
    esac
}

second_asks=no

virtual_hosts() {
    local config=$1 name asking
    for name in first.test second.test; do
        asking=
        if [[ $second_asks == yes && $name == second.test ]]; then
            asking="ssl_verify_client optional; ssl_client_certificate $work/certificate.pem;"
        fi
        cat <<END
    server {
        listen 127.0.0.1:${port[$config]} ssl;
        server_name $name;
        ssl_session_cache $(cache_of "$config");
        $asking
        return 200 "ok\n";
    }
END
    done
}

configure() {
    local config temporary
    {
        cat <<END
daemon off;
worker_processes $(workers_wanted);
pid $dir/nginx.pid;
error_log $dir/error.log notice;
$([[ $EUID != 0 ]] || echo "user www-data;")
events { worker_connections 256; }
http {
    access_log off;
    ssl_certificate $work/certificate.pem;
    ssl_certificate_key $work/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
END
        for temporary in client_body proxy fastcgi uwsgi scgi; do
            echo "    ${temporary}_temp_path $dir/$temporary;"
        done
        for config in "${configs[@]}"; do
            virtual_hosts "$config"
        done
        echo "}"
    } >"$dir/nginx.conf"
}

launch() { start_process nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"; }
serving() { children "${mains[0]}"; }

# The test of the configuration makes and frees every context: it must not cost a session.
reload() {
    run_process nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf" -t
    replace_workers HUP
}

# A worker that crashed shows as an alert, and nginx starts another.
log_is_clean() { ! grep -m 5 -E '\[(error|crit|alert|emerg)\]|exited on signal' "$dir/error.log"; }

resumed_at_least() {
    local protocol
    for protocol in "${protocols[@]}"; do
        ((resumed["${configs[0]}/$protocol/$stage/$way"] >= $1)) || return 1
    done
}
resumed_none() {
    local protocol
    for protocol in "${protocols[@]}"; do
        [[ ${resumed["${configs[0]}/$protocol/$stage/$way"]} == 0 ]] || return 1
    done
}

start_again() { bring_down && configure && bring_up; }

# The second host begins to ask, goes on asking, and asks no more.
asking_changes() {
    setup="nginx, a host begins to ask" configs=("builtin, second name") resumed=()
    begin_way store
    run_stage before true
    check "$setup: all resume before it does" resumed_at_least "$tries"
    second_asks=yes
    run_stage asks start_again
    check "$setup: none resume there then" resumed_none
    run_stage "goes on" start_again
    check "$setup: all but the first of each worker resume when it goes on" \
        resumed_at_least $((tries - $(workers_wanted)))
    second_asks=no
    run_stage "asks no more" start_again
    check "$setup: none resume when it asks no more" resumed_none
    end_way
    local protocol
    for protocol in "${protocols[@]}"; do
        printf '%s, TLS %s: of %d, resumed' "$setup" "$protocol" "$tries"
        for stage in before asks "goes on" "asks no more"; do
            printf ', %s %s' "$stage" "${resumed["${configs[0]}/$protocol/$stage/$way"]}"
        done
        echo
    done
}

need nginx nginx nginx
nginx -v 2>&1
run_ways
[[ " ${ways[*]} " != *" store "* ]] || asking_changes
