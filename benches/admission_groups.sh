# The groups of `benches/run.sh --admission`, which sources this and has the functions it calls.
#
# There is a *before* and an *after* instead of stock and ours; what these are is each group's affair.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # run.sh sets and uses them

all_groups="admission_clients admission_first admission_hosts admission_siblings tickets"
results=admission
program=admission

# Key files with one key and with as many as there can be.
make_keys() {
    local count number
    for count in 1 16; do
        (umask 077 && for number in $(seq $count); do
            printf '%064x\n' $((number * 2654435761))
        done >"$work/keys$count")
    done
}

# admission_program FOLDER KEYS CLIENT_CERTS COMMAND...: with the library of the folder, or on stock.
admission_program() {
    local folder=$1 keys=$2 client_certs=$3 environment=()
    shift 3
    [ -f "$work/keys1" ] || make_keys
    [ "$folder" = stock ] || environment=("LD_PRELOAD=$folder/libsesscache.so"
        "SESSCACHE_STORE=shm:?size=4MiB" "SESSCACHE_KEY_FILE=$work/keys$keys"
        "SESSCACHE_CLIENT_CERTS=$client_certs" SESSCACHE_LOG=stderr)
    timeout -k 5 600 env "${environment[@]}" "$@"
}

# count_admission WAY COUNT FOLDER KEYS CLIENT_CERTS ARGUMENTS...: instructions of the server's side.
count_admission() {
    local way=$1 count=$2 counted
    shift 2
    admission_program "$1" "$2" "$3" valgrind -q --tool=callgrind \
        "--callgrind-out-file=$work/callgrind" --toggle-collect=measured_server \
        "$work/$program" --once "$count" "${@:4}" >&2
    counted=$(awk -v count="$count" '$1 == "totals:" { print $2 / count }' "$work/callgrind")
    printf '1\t%s\t%s_instructions\t%s\t%s\tinstructions\t0\t0\t%s\n' "$way" "$group" "$words" \
        "$counted" "$count" >>"$work/part"
}

# time_admission WAY NUMBER FOLDER KEYS CLIENT_CERTS ARGUMENTS...: the same in time.
time_admission() {
    local way=$1 number=$2
    shift 2
    admission_program "$1" "$2" "$3" "$work/$program" -s "$seconds" "${@:4}" >"$work/lines"
    # Of two lines the first is the server's side.
    awk -v FS='\t' -v OFS='\t' -v way="$way" -v words="$words" -v name="${group}_time" \
        -v number="$number" 'NR == 1 { $1 = number OFS way; $2 = name; $3 = words; print }' \
        "$work/lines" >>"$work/part"
}

# compare_admission WORDS COUNT BEFORE AFTER: both are arguments as count_admission takes them from
# FOLDER on.
compare_admission() {
    local words=$1 count=$2 number
    step "$group" "$words"
    # shellcheck disable=SC2086  # arguments are words
    {
        count_admission stock "$count" $3
        count_admission ours "$count" $4
        for number in $(seq "$repeat"); do
            time_admission stock "$number" $3
            time_admission ours "$number" $4
        done
    }
    finish_step
}

ways="fetched cached ticket"

# An RSA key takes callgrind minutes to make.
keys() { [ "$mode" = full ] && echo "ec rsa" || echo ec; }

# How many handshakes are counted: all of them before the result of a verification is forgotten.
counted() { [ "$1" = tls12 ] && echo 80 || echo 20; }

# A client's certificate that was verified a moment ago, beside none verified.
admission_clients() {
    local protocol how key arguments
    for key in $(keys); do
        for protocol in tls12 tls13; do
            for how in $ways; do
                arguments="$protocol $key $how another same"
                compare_admission "$protocol $key $how" "$(counted "$protocol")" "$work 1 share $arguments" \
                    "$work 1 verify $arguments"
            done
        done
    done
}

# Each client comes for the first time.
admission_first() {
    local protocol how key arguments
    for key in $(keys); do
        for protocol in tls12 tls13; do
            for how in fetched ticket; do
                arguments="$protocol $key $how another other"
                compare_admission "$protocol $key $how" "$(counted "$protocol")" "$work 1 share $arguments" \
                    "$work 1 verify $arguments"
            done
        done
    done
}

# Full handshakes with tickets: one virtual host and one key, and many of both.
admission_hosts() {
    local protocol
    for protocol in tls12 tls13; do
        compare_admission "$protocol ec" 80 "$work 1 verify $protocol ec hosts 1" \
            "$work 16 verify $protocol ec hosts 40"
    done
}

# Sessions of a process that was forked later, with an earlier library (BEFORE=folder) and this one.
admission_siblings() {
    local protocol how client arguments
    if [ ! -f "${BEFORE:-}/libsesscache.so" ]; then
        step "admission_siblings: left out, BEFORE is no folder with an earlier library"
        return
    fi
    mkdir "$work/before"
    cp "$BEFORE/libsesscache.so" "$work/before"
    for client in none same; do
        for protocol in tls12 tls13; do
            for how in $ways; do
                arguments="$protocol ec $how sibling $client"
                compare_admission "$protocol $how client=$client" "$(counted "$protocol")" \
                    "$work/before 1 verify $arguments" "$work 1 verify $arguments"
            done
        done
    done
}

# Stateless tickets on stock, which has a key of its own, and with a key file and a store.
tickets() {
    local program=handshake protocol kind key arguments
    for key in $(keys); do
        for protocol in tls12 tls13; do
            for kind in full resumed; do
                arguments="-n 1000 $protocol $key $kind tickets"
                compare_admission "$protocol $key $kind" 80 "stock 1 verify $arguments" \
                    "$work 1 verify $arguments"
            done
        done
    done
}
