# For agent.sh: checks and their count; hosts, each a server with a store and an agent; a Redis.
# shellcheck shell=bash disable=SC2154 # agent.sh has the variables

cleanup() {
    local process
    for process in $(jobs -p); do
        kill -CONT "$process" 2>/dev/null || true
        kill -KILL "$process" 2>/dev/null || true
    done
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# --- checking ------------------------------------------------------------------------------------

# check WHAT COMMAND...: counts whether the command succeeds, and shows what it said if not
check() {
    local what=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: %s\n' "$part" "$what"
        sed 's/^/     /' "$work/said"
    fi
}

same() {
    [[ $1 == "$2" ]] || {
        printf 'expected: %s\nfound:    %s\n' "$1" "$2"
        return 1
    }
}

# soon SECONDS COMMAND...: the command succeeds within that time
soon() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@" >"$work/soon" 2>&1; do
        ((SECONDS < end)) || {
            printf 'in vain: %s\n' "$*"
            cat "$work/soon"
            return 1
        }
        sleep 0.05
    done
}

# refuses CODE PATTERN ARGUMENT...: the agent ends with this code and one line like this on stderr
refuses() {
    local code=$1 pattern=$2 found=0
    shift 2
    timeout 20 "$command" agent "$@" >"$work/out" 2>"$work/err" </dev/null || found=$?
    cat "$work/out" "$work/err"
    same "$code" "$found" && same '' "$(cat "$work/out")" &&
        same 1 "$(grep -c '^sesscache: ' "$work/err")" &&
        grep -qx -- "sesscache: $pattern" "$work/err"
}

says() { grep -q -- "$2" "$work/$1.log"; }
not() { if "$@"; then return 1; fi; }

# --- hosts ---------------------------------------------------------------------------------------

# in_background NAME COMMAND...
in_background() {
    local name=$1
    shift
    "$@" >>"$work/$name.log" 2>&1 </dev/null &
    pid[$name]=$!
}

# end NAME [SIGNAL]: its status, and within a second
end() {
    local name=$1 status=0 start=${EPOCHREALTIME/./}
    kill "-${2:-TERM}" "${pid[$name]}"
    wait "${pid[$name]}" 2>/dev/null || status=$?
    unset "pid[$name]"
    ((${EPOCHREALTIME/./} - start < 1000000)) || {
        echo "$name took longer than a second"
        return 1
    }
    return $status
}

# host NAME [VARIABLE...]: a server with a new store
host() {
    local name=$1
    shift
    mkdir -p "$work/$name"
    in_background "server-$name" env SESSCACHE_LOG=stderr "SESSCACHE_KEY_FILE=$work/key" \
        "SESSCACHE_STORE=file:$work/$name/web?size=4MiB" "LD_PRELOAD=$library" "$@" \
        openssl s_server -accept "127.0.0.1:${port[$name]}" -cert "$work/cert.pem" \
        -key "$work/cert.key" -no_ticket -tls1_2 -www -quiet
    soon 10 listens "${port[$name]}"
}

# new_host NAME: as host, in place of the one there was
new_host() {
    [[ ! ${pid[server-$1]:-} ]] || end "server-$1" || true
    rm -rf "${work:?}/$1"
    host "$@"
}

listens() { exec 3<>"/dev/tcp/127.0.0.1/$1" && exec 3>&-; }

# agent NAME [OPTION...]: the host's agent, anew if there is one
agent() {
    local name=$1
    shift
    [[ ! ${pid[agent-$name]:-} ]] || end "agent-$name" || true
    : >"$work/agent-$name.log"
    in_background "agent-$name" "$command" agent --store "$work/$name/web" "${to[@]}" "$@"
}

# The agents of a and b, unless they run, with metrics.
both_agents() {
    [[ ${pid[agent-a]:-} ]] || agent a --metrics "127.0.0.1:$metrics_a"
    [[ ${pid[agent-b]:-} ]] || agent b --metrics "127.0.0.1:$metrics_b"
}

connected() { soon 10 says "agent-$1" 'connected to Redis'; }

# visit NAME SAVE [OFFER]: one connection, as s_client tells of it
visit() {
    timeout 10 openssl s_client -connect "127.0.0.1:${port[$1]}" -tls1_2 -sess_out "$work/$2" \
        ${3:+-sess_in "$work/$3"} </dev/null 2>&1 | sed -nE 's/^(New|Reused), TLSv1.2,.*/\1/p'
}

# make NAME SESSIONS COUNT: connections that keep their sessions
make_sessions() {
    local number
    for ((number = 0; number < $3; number++)); do visit "$1" "$2.$number" >/dev/null; done
    is_done "$1"
}

# A server may store a session when its client has left already. It serves one after the other: when
# it has answered this nonsense, it is done with those before.
is_done() {
    exec 3<>"/dev/tcp/127.0.0.1/${port[$1]}"
    printf 'GET / HTTP/1.0\r\n\r\n' >&3
    timeout 10 cat <&3 >/dev/null || true
    exec 3>&-
}

# resumed NAME SESSIONS COUNT: how many of them resume there
resumed() {
    local number
    for ((number = 0; number < $3; number++)); do visit "$1" spent "$2.$number"; done |
        grep -c Reused || true
}

all_resume() { same "$3" "$(resumed "$@")"; }

# --- Redis ---------------------------------------------------------------------------------------

redis() {
    in_background redis redis-server --bind 127.0.0.1 --port "$redis_port" --save '' \
        --appendonly no --dir "$work" --unixsocket "$work/redis.sock" \
        --tls-port "$tls_port" --tls-cert-file "$work/tls.pem" --tls-key-file "$work/tls.key" \
        --tls-ca-cert-file "$work/ca.pem" --tls-auth-clients no "$@"
    soon 10 listens "$redis_port"
}

cli() { redis-cli -p "$redis_port" "$@"; }

# fetch PORT PATH
fetch() {
    exec 4<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&4
    cat <&4
    exec 4>&-
}

# figure PORT NAME-AND-LABELS: its value
figure() { fetch "$1" /metrics | sed -n "s/^sesscache_$2 //p" | tr -d '\r'; }
is() { same "$3" "$(figure "$1" "$2")"; }
is_healthy() { fetch "$1" /healthz | head -n 1 | grep -q ' 200 '; }

make_certificates() {
    local new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
    "$command" keygen "$work/key" >/dev/null
    openssl req -x509 "${new[@]}" -subj /CN=localhost -keyout "$work/cert.key" \
        -out "$work/cert.pem" 2>/dev/null
    openssl req -x509 "${new[@]}" -subj /CN=ca -keyout "$work/ca.key" -out "$work/ca.pem" \
        2>/dev/null
    openssl req "${new[@]}" -subj /CN=redis -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
    openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 \
        -extfile <(echo 'subjectAltName=IP:127.0.0.1') -out "$work/tls.pem" 2>/dev/null
}
