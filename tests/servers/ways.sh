# The three ways a server is run, the stages it is taken through, and the table of what resumed.
#
# Ways: stock; preload, the library without a store; store, the library with a store of its own.
# Stages: now; reload; restart, the server stopped and started; kill, all its processes killed with
# SIGKILL at once and started. Before each stage a session is made, and after it offered.
#
# A server's script sources this, fills `rows`, defines these, and calls run_ways:
#   configure   writes the configuration of $setup below $dir, with ${port[CONFIG]} to listen on
#   launch      starts the server: start_process for each process that is to have the library
#   serving     prints the pids that make handshakes
#   reload      makes it read its configuration again, and waits until it has
# It may define again what has a default here: workers_wanted, workers_stay, target, log_is_clean,
# note_ending.
#
# A row is "setup|config|now|reload". A setup is one run of the server, a config one port of it.
# now and reload say how many of the tries must resume in the three ways: all, none, some (neither
# all nor none) or any. After restart and kill the memory of the processes is gone: none, none, and
# with the store what it was.
#
# A config named "..., used" offers its session before the stage too, not only after it. One named
# "..., second name" asks for second.test instead of first.test, and "..., other name" for first.test
# when the session is made and for second.test when it is offered.
# WAYS names the ways to run, if not all: WAYS="stock store".
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$here/lib.sh"

readonly protocols=(1.2 1.3)

all_ways=(stock preload store) # that this server may be run

rows=()
ways=()               # to run
declare -A port=()    # of a config
declare -A resumed=() # by "config/protocol/stage/way", in the present setup

# What is running now.
setup='' way='' stage=''
dir=       # the run's own folder
configs=() # of the setup
mains=()   # pids that start_process started
workers=() # pids that make handshakes
way_env=() # what the way adds to the environment
run_as=()  # a command that start_process starts the server through, to give it another user
backend='' backend_port='' # pid and port of the server behind a proxy
trap 'kill_everything; [[ -z $backend ]] || kill "$backend"' EXIT

# --- defaults -----------------------------------------------------------------------------------

workers_wanted() { echo 2; }

# A worker serves connections until it is told to end.
workers_stay() { true; }

# target CONFIG save|offer: the client's options, and the port.
target() {
    local name=first.test
    case $1:$2 in *"second name":* | *"other name":offer) name=second.test ;; esac
    echo "-s $name ${port[$1]}"
}

# Nothing in the server's log says that something went wrong.
log_is_clean() { true; }

# Called right before the server is stopped or killed.
note_ending() { true; }

# --- processes ----------------------------------------------------------------------------------

# start_process COMMAND...: in the background, with what the way adds to its environment.
start_process() {
    # Through exec, so that $! is the server; in a group of its own, because Apache signals its group.
    (exec setsid "${run_as[@]}" env "${way_env[@]}" "$@") >>"$dir/output.log" 2>&1 </dev/null &
    mains+=($!)
    disown # or bash reports how it ended
}

# start_ticketless COMMAND...: for servers that have no setting for tickets. A configuration of
# OpenSSL turns them off in every context, so that TLS 1.3 asks the cache.
start_ticketless() {
    cat >"$dir/openssl.cnf" <<END
openssl_conf = settings
[settings]
ssl_conf = contexts
[contexts]
system_default = every_context
[every_context]
Options = -SessionTicket
END
    start_process env OPENSSL_CONF="$dir/openssl.cnf" "$@"
}

times_logged() { grep -cs "$1" "$dir/output.log" || true; }
logged() { (($(times_logged "$2") >= $1)); }

# until_logged COUNT PATTERN COMMAND...: waits until the output has that many more such lines.
until_logged() {
    local wanted
    wanted=$(($(times_logged "$2") + $1))
    "${@:3}"
    wait_until 10 logged "$wanted" "$2" || give_up "its output does not say: $2"
}

# A command that reads the configuration and ends, in the environment of the server.
run_process() {
    env "${way_env[@]}" "$@" >>"$dir/output.log" 2>&1 || give_up "$1 ended with $?"
}

everything() {
    local pid
    for pid in "${mains[@]}"; do
        printf '%s\n' "$pid"
        descendants "$pid"
    done
}

kill_everything() {
    local pids
    # Stopped, they start no more processes while we look for those they have.
    ((${#mains[@]} == 0)) || kill -STOP "${mains[@]}" 2>/dev/null || true
    mapfile -t pids < <(everything)
    mains=()
    kill_all "${pids[@]}"
}

kill_all() {
    local pid
    (($#)) || return 0
    kill -KILL "$@" 2>/dev/null || true # some may have ended meanwhile
    for pid in "$@"; do
        wait_until 5 dead "$pid"
    done
}

all_dead() {
    local pid
    for pid in "$@"; do
        dead "$pid" || return 1
    done
}

give_up() {
    printf '%s, %s, %s: %s; the end of its logs:\n' "$setup" "$way" "$stage" "$1" >&2
    tail -n 5 "$dir"/*.log >&2
    exit 1
}

# start_backend: what a proxy passes requests on to, on backend_port of 127.0.0.1, for all ways.
start_backend() {
    free_port backend_port
    mkdir "$work/pages"
    echo ok >"$work/pages/index.html"
    python3 -m http.server --bind 127.0.0.1 --directory "$work/pages" "$backend_port" \
        >"$work/backend.log" 2>&1 </dev/null &
    backend=$!
    wait_until 10 is_listening "$backend_port" || skip "python3 serves no pages to pass on"
}

find_workers() { mapfile -t workers < <(serving); }
workers_are_there() { find_workers && ((${#workers[@]} == $(workers_wanted))); }
same_workers() { [[ "$(serving)" == "$(printf '%s\n' "${workers[@]}")" ]]; }

bring_up() {
    local config
    launch
    for config in "${!port[@]}"; do
        wait_until 10 is_listening "${port[$config]}" || give_up "nobody listens for $config"
    done
    wait_until 10 workers_are_there || give_up "not $(workers_wanted) worker(s)"
}

# What the main processes leave behind when they end may end by itself.
bring_down() {
    local pids pid
    mapfile -t pids < <(everything)
    note_ending
    for pid in "${mains[@]}"; do
        stop "$pid"
        check "$setup, $way: process $pid ends when asked" dead "$pid"
    done
    mains=()
    wait_until 5 all_dead "${pids[@]}" || kill_all "${pids[@]}"
}

# replace_workers SIGNAL: what a reload is for most servers. Waits until the old workers are gone
# and the new ones there.
replace_workers() {
    local old=("${workers[@]}") pid
    kill -"$1" "${mains[@]}"
    for pid in "${old[@]}"; do
        wait_until 10 dead "$pid" || give_up "worker $pid did not end after the reload"
    done
    wait_until 10 workers_are_there || give_up "no new workers after the reload"
}

# --- one run ------------------------------------------------------------------------------------

set_way_env() {
    way_env=()
    [[ $way != stock ]] || return 0
    way_env=("LD_PRELOAD=$library" "SESSCACHE_LOG=$dir/sesscache.log")
    if [[ $way == store ]]; then
        (umask 077 && openssl rand -hex 32 >"$dir/store.key")
        way_env+=("SESSCACHE_STORE=file:$dir/store?size=8MiB" "SESSCACHE_KEY_FILE=$dir/store.key")
    fi
}

is_mapped() { grep -qsF "$2" "/proc/$1/maps"; }

# Each process maps the library unless the way is stock, and the store only if the way is store.
mapped_as_way_says() {
    local pid has
    for pid in "${mains[@]}" "${workers[@]}"; do
        has=stock
        if is_mapped "$pid" libsesscache; then has=preload; fi
        if is_mapped "$pid" "$dir/store"; then has=store; fi
        [[ $has == "$way" ]] || return 1
    done
}

library_is_content() { [[ ! -s $dir/sesscache.log ]] || { cat "$dir/sesscache.log" && return 1; }; }

check_health() {
    local what="$setup, $way, $stage" pid
    for pid in "${mains[@]}"; do
        alive "$pid" || give_up "process $pid has died"
    done
    if workers_stay; then
        check "$what: every worker lives" same_workers
    else
        check "$what: there are $(workers_wanted) workers" wait_until 5 workers_are_there
    fi
    # A worker that is only just starting has mapped nothing yet.
    check "$what: every process maps what the way says" wait_until 5 mapped_as_way_says
}

session_file() { printf '%s/%s-%s.session' "$dir" "${1//[, ]/_}" "$2"; }

prepare() {
    local config=$1 protocol=$2 to
    read -ra to <<<"$(target "$config" save)"
    save_session "$(session_file "$config" "$protocol")" "$protocol" "${to[@]}"
    case $config in *", used") measure "$config" "$protocol" ;; esac
}

measure() {
    local config=$1 protocol=$2 to
    read -ra to <<<"$(target "$config" offer)"
    resumed["$config/$protocol/$stage/$way"]=$(offer_session \
        "$(session_file "$config" "$protocol")" "$protocol" "${to[@]}")
}

each_config() {
    local protocol config
    for protocol in "${protocols[@]}"; do
        for config in "${configs[@]}"; do
            "$1" "$config" "$protocol"
        done
    done
}

restart() { bring_down && bring_up; }
kill_and_start() { note_ending && kill_everything && bring_up; }

# run_stage NAME COMMAND
run_stage() {
    stage=$1
    each_config prepare
    "$2"
    each_config measure
    check_health
}

begin_way() {
    local config
    way=$1 stage=start
    dir=$work/${setup//[, ]/_}-$way
    mkdir -m 711 "$dir"
    set_way_env
    port=()
    for config in "${configs[@]}"; do
        free_port "port[$config]"
    done
    configure
    bring_up
}

end_way() {
    bring_down
    check "$setup, $way: nothing bad in the server's log" log_is_clean
    check "$setup, $way: the library complains of nothing" library_is_content
}

run_way() {
    begin_way "$1"
    run_stage now true
    run_stage reload reload
    run_stage restart restart
    run_stage kill kill_and_start
    end_way
}

# --- the table ----------------------------------------------------------------------------------

# The rows of the present setup, without its name.
rows_of_setup() {
    local row
    for row in "${rows[@]}"; do
        [[ ${row%%|*} != "$setup" ]] || printf '%s\n' "${row#*|}"
    done
}

# as_expected EXPECTATION RESUMED
as_expected() {
    case $1:$2 in
        *:error) false ;;
        all:*) (($2 == tries)) ;;
        none:*) (($2 == 0)) ;;
        some:*) (($2 > 0 && $2 < tries)) ;;
        any:*) true ;;
        *) false ;;
    esac
}

# stage_cell CONFIG PROTOCOL STAGE STOCK PRELOAD STORE: checks the figures against what the three
# ways must do, and appends them to cells. Where any number may resume, it is no fewer than on stock.
stage_cell() {
    local key="$1/$2/$3" stock=${resumed[$1/$2/$3/stock]:-} figure expected i
    local expectations=("${@:4}") cell=
    for i in "${!all_ways[@]}"; do
        figure=${resumed[$key/${all_ways[i]}]:-} expected=${expectations[i]}
        cell+=${cell:+/}${figure:--}
        [[ -n $figure ]] || continue # this way was not run
        if ! as_expected "$expected" "$figure"; then
            wrong+=("$setup, $1, TLS $2, $3: ${all_ways[i]} resumed $figure, not $expected")
        elif [[ $expected == any && -n $stock ]] && ((figure < stock)); then
            wrong+=("$setup, $1, TLS $2, $3: ${all_ways[i]} resumed $figure, stock $stock")
        else
            pass
        fi
    done
    cells+=("$cell")
}

table_row() { printf '%-26s %-4s  %-9s  %-9s  %-9s  %-9s\n' "$@"; }

print_row() {
    local protocol=$1 config=$2 now reload store cells=()
    read -ra now <<<"$3"
    read -ra reload <<<"$4"
    store=${now[2]}
    stage_cell "$config" "$protocol" now "${now[@]}"
    stage_cell "$config" "$protocol" reload "${reload[@]}"
    stage_cell "$config" "$protocol" restart none none "$store"
    stage_cell "$config" "$protocol" kill none none "$store"
    table_row "$config" "$protocol" "${cells[@]}"
}

print_table() {
    local protocol config now reload message wrong=()
    printf '%s: of %d, resumed on stock/preloaded/with a store\n' "$setup" "$tries"
    table_row config TLS now reload restart "kill -9"
    while IFS='|' read -r config now reload; do
        for protocol in "${protocols[@]}"; do
            print_row "$protocol" "$config" "$now" "$reload"
        done
    done < <(rows_of_setup)
    for message in "${wrong[@]}"; do
        fail "$message"
    done
}

# --- all of it ----------------------------------------------------------------------------------

library_has_store() { nm -D --defined-only "$library" | grep -w sesscache_store_attach >/dev/null; }

choose_ways() {
    local wanted
    for wanted in "${all_ways[@]}"; do
        [[ " ${WAYS:-${all_ways[*]}} " == *" $wanted "* ]] || continue
        if [[ $wanted == store ]] && ! library_has_store; then
            note_skip "${0##*/} with a store: $library has none"
        else
            ways+=("$wanted")
        fi
    done
    ((${#ways[@]})) || exit 77
}

run_setup() {
    setup=$1
    resumed=()
    mapfile -t configs < <(rows_of_setup | cut -d '|' -f 1)
    local wanted
    for wanted in "${ways[@]}"; do
        run_way "$wanted"
    done
    print_table
}

run_ways() {
    local name setups
    choose_ways
    make_certificate
    mapfile -t setups < <(printf '%s\n' "${rows[@]%%|*}" | uniq)
    for name in "${setups[@]}"; do
        run_setup "$name"
    done
}
