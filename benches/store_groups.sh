# The groups of `benches/run.sh --store`, which sources this and has the functions it calls.
#
# stock's figures are what a server without the store has: its own cache in the process, behind a
# shared cache of the server's, or external callbacks.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh sets and uses them

all_groups="store_operations store_bytes store_seal store_handshake store_instructions store_nginx"
all_groups+=" store_crowd store_apache"
results=store

# Programs that only these groups need.
build_store_programs() {
    [ ! -x "$work/store" ] || return 0
    compile codec codec.c handshake_ends.c bench.c
    compile load load.c bench.c
    (cd "$root" &&
        "${CARGO:-cargo}" build --release --locked --quiet -p sesscache-bench --bin store)
    cp "${CARGO_TARGET_DIR:-$root/target}/release/store" "$work/store"
}

# part NUMBER: adds the lines that come in, of that pair of runs, to the step's.
part() { sed "s/^/$1\t/" >>"$work/part"; }

# Puts, lookups that hit and miss, and the question whether a session of the process may be resumed,
# from so many processes; of stock the cache in the process, from so many threads. A put makes a
# full store forget a record, and stock's full cache a session.
store_operations() {
    local n number store_sizes="1000 10000 100000 1000000"
    [ "$mode" != quick ] || store_sizes="1000 100000"
    build_store_programs
    for n in $store_sizes; do
        step store_operations "$n"
        for number in $(seq "$repeat"); do
            as_way stock "$work/cache" -n "$n" -s "$seconds" -t 1,2,4 \
                lookup_hit lookup_miss add_full |
                sed 's/lookup_/store_get_/; s/add_full/store_put/; s/threads=/processes=/' |
                part "$number"
            as_way stock "$work/store" operations "$n" "$seconds" 1 2 4 | part "$number"
        done
        finish_step
    done
}

# Of a whole store, for sessions of TLS 1.2 and 1.3 without certificates, with one, with a chain.
store_bytes() {
    local size
    build_store_programs
    for size in 1MiB 64MiB; do
        step store_bytes $size
        "$work/store" bytes $size 131 180 538 5800 | part 1
        finish_step
    done
}

# What a put and a hit cost besides: sealing and opening, ours; i2d and d2i, OpenSSL's own.
store_seal() {
    local number variant
    build_store_programs
    step store_seal
    for number in $(seq "$repeat"); do
        as_way stock "$work/store" seal "$seconds" 131 538 5800 | part "$number"
        for variant in plain client_cert; do
            as_way stock "$work/codec" -s "$seconds" tls12 $variant | part "$number"
        done
    done
    finish_step
}

# What is compared: the figure's words, then stock's kind of handshake and cache, and ours.
#   fetched   from the store, or by stock's external callbacks, which seal nothing
#   cached    the process has the session itself; ours asks the store whether it was removed
#   full      ours stores the session
with_certificate="tls12 ec resumed external_client_cert|tls12 ec resumed store_client_cert"
comparisons=(
    "tls12 resumed fetched|tls12 ec resumed external|tls12 ec resumed store"
    "tls12 resumed fetched client_cert|$with_certificate"
    "tls12 resumed cached|tls12 ec resumed plain|tls12 ec resumed plain"
    "tls12 resumed fetched (stock: cached)|tls12 ec resumed plain|tls12 ec resumed store"
    "tls12 full|tls12 ec full plain|tls12 ec full plain"
    "tls13 full|tls13 ec full plain|tls13 ec full plain"
    "tls13 resumed fetched|tls13 ec resumed external|tls13 ec resumed store"
    "tls13 resumed cached|tls13 ec resumed plain|tls13 ec resumed plain"
)

# each_comparison FUNCTION: calls it with the figure's words and stock's and our arguments.
each_comparison() {
    local comparison words stock ours
    for comparison in "${comparisons[@]}"; do
        IFS='|' read -r words stock ours <<<"$comparison"
        "$1" "$words" "$stock" "$ours"
        finish_step
    done
}

store_handshake() { each_comparison compare_times; }

compare_times() {
    local number words=$1
    step store_handshake "$words"
    for number in $(seq "$repeat"); do
        time_handshakes stock "$2"
        time_handshakes store "$3"
    done
}

# time_handshakes WAY ARGUMENTS: the server's side, named as the comparison is.
time_handshakes() {
    # shellcheck disable=SC2086  # arguments are words
    as_way "$1" "$work/handshake" -n 1000 -s "$seconds" $2 >"$work/lines"
    awk -v FS='\t' -v OFS='\t' -v words="$words" '$2 == "handshake_server" {
        $2 = "store_handshake"; $3 = words; print }' "$work/lines" | part "$number"
}

store_instructions() {
    command -v valgrind >/dev/null || die "missing: valgrind"
    each_comparison compare_instructions
}

compare_instructions() {
    local words=$1
    step store_instructions "$words"
    count_instructions stock stock "$2"
    count_instructions store ours "$3"
}

# count_instructions WAY NAME ARGUMENTS
count_instructions() {
    local counted count=50
    # shellcheck disable=SC2086  # arguments are words
    counted=$(callgrind_totals measured_server $count "$1" -n 1000 $3)
    printf '%s\tstore_instructions\t%s\t%s\tinstructions\t0\t0\t%s\n' "$2" "$words" "$counted" \
        $count | part 1
}

store_nginx() { real_servers nginx && real_servers nginx_instructions; }
# More processes than cores.
store_crowd() { real_servers nginx_crowd; }
store_apache() { real_servers apache; }

# The servers run as they do in tests/servers; one that is not there is left out.
real_servers() {
    local status=0 server_seconds=1.5
    [ "$mode" != quick ] || server_seconds=0.5
    build_store_programs
    step servers.py "$1"
    mkdir -m 711 "$work/$1"
    # The workers' users pass through, and nobody else's.
    chmod 711 "$work"
    env "library=$work/libsesscache.so" "client=$work/load" "store=$work/store" "work=$work/$1" \
        python3 "$here/servers.py" "$1" "$repeat" $server_seconds >"$work/part" || status=$?
    case $status in
        0) finish_step ;;
        77) cat "$work/part" && rm "$work/part" ;;
        *) cat "$work/part" && die "servers.py $1 failed" ;;
    esac
}
