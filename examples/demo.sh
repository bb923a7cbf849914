#!/usr/bin/env bash
# Two servers share one folder of sessions, then a host store, then a Redis. The real `openssl s_client`
# takes sessions from one server to the other. Prints each connection as a row of a table, and fails if a
# session does not resume that should.
#
#   examples/demo.sh            with libsesscache from $LIBDIR (default target/release)
#   examples/demo.sh --stock    the same steps on OpenSSL alone
set -euo pipefail
export LC_ALL=C
unset LD_PRELOAD "${!SESSCACHE_@}" # the demo shows the defaults

root=$(cd "$(dirname "$0")/.." && pwd)
libdir=$(cd "$root" && realpath -m "${LIBDIR:-target/release}")
stock=no
[[ ${1:-} == --stock ]] && stock=yes

work=$(mktemp -d)
sessions=$work/sessions
declare -A pid=() port=() log=() # by the name of the server
client=
should_resume=0 did_resume=0 problems=()

cleanup() {
    local name
    for name in "${!pid[@]}"; do kill "${pid[$name]}" 2>/dev/null || true; done
    [[ -z $client ]] || kill -KILL "$client" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# --- building ----------------------------------------------------------------------------------

need() {
    local tool
    for tool; do command -v "$tool" >/dev/null || fail "needs $tool, which is not installed"; done
}

# build OUTPUT FLAGS...: the server, with the libraries in the order of the flags
build() {
    local output=$1
    shift
    "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -O2 -o "$output" \
        "$root"/examples/{server,connections,session_files}.c "$@" -lssl -lcrypto ||
        fail "cannot build examples/server.c, see above (it needs the headers of OpenSSL 3)"
}

build_servers() {
    build "$work/server-stock"
    [[ $stock == no ]] || return 0
    [[ -e $libdir/libsesscache.so ]] || fail "no libsesscache.so in $libdir: run make first"
    # The loader looks for the soname, which cargo does not make.
    mkdir "$work/lib"
    ln -s "$libdir/libsesscache.so" "$work/lib/libsesscache.so"
    ln -s "$libdir/libsesscache.so" "$work/lib/libsesscache.so.0"
    build "$work/server" -DHAVE_SESSCACHE_H -I"$root/include" \
        -L"$work/lib" -Wl,-rpath,"$work/lib" -lsesscache
}

make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/req.log" ||
        fail "cannot make a certificate: $(tail -n 1 "$work/req.log")"
}

# --- servers -----------------------------------------------------------------------------------

# await FILE LINE PATTERN WHAT: until FILE has PATTERN after its first LINE lines
await() {
    local file=$1 line=$2 pattern=$3 what=$4 tries
    for ((tries = 0; tries < 200; tries++)); do
        if tail -n +$((line + 1)) "$file" 2>/dev/null | grep -Eq "$pattern"; then return 0; fi
        sleep 0.05
    done
    cat "$file" >&2 || true
    fail "waited 10 s in vain for $what"
}

# start NAME PRELOAD PROGRAM OPTIONS...; keeps its sessions as files, unless $sessions is empty
start() {
    local name=$1 preload=$2 program=$3
    shift 3
    log[$name]=$work/log.$name
    : >"${log[$name]}"
    LD_PRELOAD=$preload "$program" ${sessions:+--sessions "$sessions"} --cert "$work/cert.pem" \
        --key "$work/key.pem" "$@" >"${log[$name]}" 2>&1 &
    pid[$name]=$!
    await "${log[$name]}" 0 '^listening on ' "server $name to listen"
    port[$name]=$(sed -n 's/^listening on 127\.0\.0\.1://p' "${log[$name]}")
}

stop() {
    local name=$1 status=0
    kill "${pid[$name]}"
    wait "${pid[$name]}" || status=$?
    unset "pid[$name]"
    [[ $status == 0 ]] || fail "server $name did not end cleanly (status $status)"
}

# No goodbye and no clean-up.
kill_at_once() {
    kill -KILL "${pid[$1]}"
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}

# --- connections -------------------------------------------------------------------------------

# The callbacks in lines $2 and on of log $1, in short: "get found, new->0 x2"
callbacks() {
    local short
    short=$(tail -n +$(($2 + 1)) "$1" |
        sed -nE 's/^(new)_cb id=[^ ]* -> ([01])$/\1->\2/p; s/^(new)_cb id=[^ ]* (not saved).*/\1 \2/p
            s/^(get)_cb id=[^ ]* -> (.*)/\1 \2/p; s/^(remove)_cb id=.*/\1/p' |
        uniq -c | sed -E 's/^ *([0-9]+) (.*)/\2 x\1/; s/ x1$//' | paste -sd, | sed 's/,/, /g')
    printf '%s' "${short:-none}"
}

row() { printf '%4s  %-32s %-6s %-4s %-7s %s\n' "$1" "$2" "$3" "${4#TLSv}" "$5" "$6"; }

step=0
# report EXPECTED(full|resumed) WHAT NAME PROTOCOL RESULT CALLBACKS: one row of the table
report() {
    local expected=$1 what=$2 name=$3 protocol=$4 result=$5 called=$6 note='' shown=$5
    step=$((step + 1))
    if [[ $result == resumed ]]; then shown=RESUMED; fi
    if [[ $expected == resumed ]]; then should_resume=$((should_resume + 1)); fi
    if [[ $expected == resumed && $result == resumed ]]; then did_resume=$((did_resume + 1)); fi
    if [[ $expected != "$result" ]]; then
        note='  <-- WRONG'
        problems+=("step $step ($what, $name, $protocol): should be $expected, was $result")
    fi
    row "$step" "$what" "$name" "$protocol" "$shown" "$called$note"
}

# visit EXPECTED WHAT NAME PROTOCOL TAKE KEEP: one connection that offers the session of file TAKE
# ('' for none) and leaves the newest session it got in file KEEP. The request is sent and its
# answer awaited, because the tickets of TLS 1.3 come after the handshake.
visit() {
    local expected=$1 what=$2 name=$3 protocol=$4 take=$5 keep=$6
    local flag=-tls1_2 output=$work/client.out line client_says server_says
    [[ $protocol == TLSv1.3 ]] && flag=-tls1_3
    line=$(wc -l <"${log[$name]}")
    printf 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n' |
        timeout 20 openssl s_client -connect "127.0.0.1:${port[$name]}" "$flag" -ign_eof \
            ${take:+-sess_in "$work/$take"} -sess_out "$work/$keep" >"$output" 2>&1 || {
        cat "$output" >&2
        fail "step $((step + 1)): openssl s_client could not talk to server $name"
    }
    await "${log[$name]}" "$line" '^connection [0-9]+: closed' "server $name to end a connection"
    client_says=$(sed -nE "s/^New, $protocol,.*/full/p; s/^Reused, $protocol,.*/resumed/p" "$output")
    server_says=$(sed -nE "s/^server .* pid ${pid[$name]} $protocol (full|resumed)\r?$/\1/p" "$output")
    [[ -n $client_says && $client_says == "$server_says" ]] ||
        fail "step $((step + 1)): client says '$client_says', server says '$server_says'"
    report "$expected" "$what" "$name" "$protocol" "$client_says" \
        "$(callbacks "${log[$name]}" "$line")"
}

# A TLS 1.2 client that is killed after the handshake: its connection has no goodbye.
visit_and_die() {
    local what=$1 name=$2 keep=$3 line
    line=$(wc -l <"${log[$name]}")
    mkfifo "$work/silence"
    exec 8<>"$work/silence" # a standard input that neither ends nor says anything
    openssl s_client -connect "127.0.0.1:${port[$name]}" -tls1_2 -sess_out "$work/$keep" \
        <&8 >"$work/client.out" 2>&1 &
    client=$!
    exec 8>&-
    await "${log[$name]}" "$line" '^connection [0-9]+: TLSv1.2 full' "a full handshake with $name"
    await "$work/$keep" 0 '^-----END' "the client to save its session"
    kill -KILL "$client"
    wait "$client" 2>/dev/null || true
    client=
    await "${log[$name]}" "$line" '^connection [0-9]+: (unexpected eof|connection lost)' \
        "server $name to notice that its client died"
    report full "$what" "$name" TLSv1.2 full "$(callbacks "${log[$name]}" "$line")"
}

# --- the demonstration -------------------------------------------------------------------------

show_sharing() {
    local program=$1 protocol
    start A '' "$program"
    start B '' "$program"
    printf 'A is 127.0.0.1:%s, B is 127.0.0.1:%s; %s\n\n' "${port[A]}" "${port[B]}" \
        "$(sed -n 's/^session cache: /their session cache: /p' "${log[A]}")"
    [[ $stock == yes ]] || grep -qx 'session cache: sesscache' "${log[A]}" ||
        fail 'libsesscache is linked but not active: is it before -lssl?'
    row step 'what the client does' server TLS result 'callbacks (_cb)'
    visit full 'first visit' A TLSv1.2 '' p
    visit resumed "offers A's session to B" B TLSv1.2 p p
    visit resumed 'and back to A' A TLSv1.2 p p
    visit resumed 'B again, from its own cache' B TLSv1.2 p p
    visit full 'first visit (two tickets)' B TLSv1.3 '' q
    visit resumed "offers B's session to A" A TLSv1.3 q q
    visit resumed "offers A's new session to B" B TLSv1.3 q q
    visit resumed 'and the next one to A' A TLSv1.3 q q
    stop A
    start A '' "$program"
    printf '      -- server A stopped and started again: new process, now port %s --\n' "${port[A]}"
    visit resumed 'offers the session of step 1' A TLSv1.2 p p
    visit resumed 'offers the session of step 8' A TLSv1.3 q q
    visit_and_die 'is killed without a goodbye' A dead
    visit full 'offers that: must not resume' B TLSv1.2 dead dead
    stop A
    stop B
}

# count NAME: the sessions in the internal cache of NAME after one full TLS 1.2 handshake
count() {
    local name=$1
    visit full 'one visit' "$name" TLSv1.2 '' z >"$work/row" # not for the table
    sed -nE 's/^connection 1: .* holds ([0-9]+) sessions?$/\1/p' "${log[$name]}"
}

# show_zero EXPECTED LABEL NAME PRELOAD PROGRAM OPTIONS...; EXPECTED may be `any`
show_zero() {
    local expected=$1 label=$2 name=$3 number
    shift 2
    start "$@"
    number=$(count "$name")
    stop "$name"
    printf '  %-58s %s\n' "$label" "$number"
    if [[ $expected != any && $number != "$expected" ]]; then
        problems+=("$label: the internal cache should hold $expected, holds $number")
    fi
}

show_removal() {
    printf '\nSessions in the internal cache after one handshake. By the manual page, one for\n'
    printf 'which new_cb returns 0 is removed at once. No OpenSSL does that, so a program\n'
    printf 'that was only preloaded gets the way of OpenSSL, on which it was built:\n\n'
    if [[ $stock == no ]]; then
        show_zero 0 'new_cb returns 0, linked with -lsesscache -lssl -lcrypto' C '' "$work/server"
    fi
    show_zero any 'new_cb returns 0, OpenSSL alone (it does not remove it)' D '' "$work/server-stock"
    [[ $stock == no ]] || return 0
    show_zero 1 'new_cb returns 0, the same program with LD_PRELOAD' E \
        "$work/lib/libsesscache.so.0" "$work/server-stock"
    SESSCACHE_NEW_CB_ZERO=remove show_zero 0 'and with SESSCACHE_NEW_CB_ZERO=remove' E \
        "$work/lib/libsesscache.so.0" "$work/server-stock"
    show_zero 1 'new_cb returns 1, linked: it stays' F '' "$work/server" --new-returns 1
}

# Two servers without a callback or a line about caching in them.
show_store() {
    local expected=resumed preload=$work/lib/libsesscache.so.0 protocol
    printf '\nThe same server with no callbacks: nothing in it shares a session.\n'
    if [[ $stock == yes ]]; then
        printf 'OpenSSL alone:\n\n'
        expected=full preload=
    else
        printf 'Preloaded, with a host store (sealed records in one mapped file):\n\n'
        "$libdir/sesscache" keygen "$work/store.key" >"$work/keygen.log"
        export SESSCACHE_STORE="file:$work/store?size=4MiB" SESSCACHE_KEY_FILE=$work/store.key
    fi
    sessions=
    start G "$preload" "$work/server-stock"
    start H "$preload" "$work/server-stock"
    row step 'what the client does' server TLS result 'callbacks (_cb)'
    visit full 'first visit' G TLSv1.2 '' u
    visit "$expected" "offers G's session to H" H TLSv1.2 u u
    visit full 'first visit (two tickets)' H TLSv1.3 '' v
    visit "$expected" "offers H's session to G" G TLSv1.3 v v
    kill_at_once G
    kill_at_once H
    start G "$preload" "$work/server-stock"
    printf '      -- both servers killed (kill -9); G started again --\n'
    visit "$expected" 'offers the first session' G TLSv1.2 u u
    visit "$expected" 'offers the newest session' G TLSv1.3 v v
    stop G
    unset SESSCACHE_STORE SESSCACHE_KEY_FILE
    [[ $stock == yes ]] || "$libdir/sesscache" stats "$work/store" >"$work/stats" ||
        fail "sesscache stats: $(<"$work/stats")"
    [[ $stock == yes ]] || sed -En '2,3s/^ +([^ ]+ ?[^ ]*)  +/      \1: /p' "$work/stats"
}

# Each server is a host of its own: its own store, its own agent, and one Redis between them.
show_fleet() {
    local host preload=$work/lib/libsesscache.so.0
    printf '\nTwo hosts: each has a store and an agent of its own, and the same key file; one\n'
    printf 'Redis between the agents. No server waits for it:\n\n'
    redis-server --port 0 --unixsocket "$work/redis.socket" --save '' --dir "$work" \
        >"$work/log.redis" 2>&1 &
    pid[redis]=$!
    await "$work/log.redis" 0 'ready to accept connections|Ready to accept connections' Redis
    export SESSCACHE_KEY_FILE=$work/store.key
    for host in K L; do
        export SESSCACHE_STORE="file:$work/store.$host?size=4MiB"
        start $host "$preload" "$work/server-stock"
        "$libdir/sesscache" agent --store "$work/store.$host" --name demo \
            --redis "unix://$work/redis.socket" >"$work/log.agent.$host" 2>&1 &
        pid[agent.$host]=$!
    done
    unset SESSCACHE_STORE SESSCACHE_KEY_FILE
    row step 'what the client does' server TLS result 'callbacks (_cb)'
    fleet_visit K L TLSv1.2 x
    fleet_visit L K TLSv1.3 y
    kill_at_once redis
    printf '      -- Redis killed --\n'
    visit resumed 'offers it to the same host' K TLSv1.3 y y
    visit full 'first visit: nobody waits' K TLSv1.2 '' z
    visit resumed 'offers it to the same host' K TLSv1.2 z z
    for host in K L; do
        kill "${pid[agent.$host]}"
        wait "${pid[agent.$host]}" || fail "agent $host did not end cleanly: $(<"$work/log.agent.$host")"
        unset "pid[agent.$host]"
        stop $host
    done
}

# fleet_visit FROM TO PROTOCOL FILE: a session of one host, offered to the other when it is there
fleet_visit() {
    local from=$1 to=$2 protocol=$3 file=$4 wanted=1
    [[ $protocol == TLSv1.2 ]] || wanted=2 # tickets
    wanted=$(($(stores "$to") + wanted))
    visit full 'first visit' "$from" "$protocol" '' "$file"
    until_stored "$to" "$wanted"
    visit resumed "offers $from's session to $to" "$to" "$protocol" "$file" "$file"
}

# The number of sessions that a host has stored.
stores() {
    "$libdir/sesscache" stats --json "$work/store.$1" | sed -nE 's/.*"stores": ?([0-9]+).*/\1/p' |
        head -n 1
}

until_stored() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        if (($(stores "$1") >= $2)); then return 0; fi
        sleep 0.01
    done
    cat "$work"/log.agent.* >&2
    fail "waited in vain for a session to reach host $1"
}

need "${CC:-cc}" openssl timeout realpath
build_servers
make_certificate
if [[ $stock == yes ]]; then show_sharing "$work/server-stock"; else show_sharing "$work/server"; fi
show_removal
show_store
if [[ $stock == no ]]; then
    if command -v redis-server >/dev/null; then
        show_fleet
    else
        printf '\n(no redis-server here: two hosts are not shown)\n'
    fi
fi

echo
if ((${#problems[@]})); then
    printf 'demo: %s\n' "${problems[@]}" >&2
    fail "FAILED, $did_resume of $should_resume connections that should resume did"
fi
echo "demo: ok, $did_resume of $should_resume connections that should resume did"
