#!/usr/bin/env bash
# A new key comes to three hosts, one by one: first behind the old one everywhere, then before it,
# then alone. After each step all sessions resume on all hosts, old ones and new ones, by id and in
# tickets; and when the old key goes, what was made under the new one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly hosts=(a b c)
readonly few=4
offered=0 lost=0

# The key file before, and after each step, made on one host and copied to the others.
first=$work/first_key
added=$work/added_key
promoted=$work/promoted_key
alone=$work/alone_key

# change FROM TO OPTION...: a key file like another, changed by the command.
change() {
    install -m 600 "$1" "$2"
    "$command" keygen "${@:3}" "$2" >>"$work/keygen.log"
}

# keys HOST FILE...: as an operator would: write the file, reload the server.
keys() {
    set_keys "$@"
    reload_server "$1"
}

file_of() { printf '%s/%s-%s-%s.session' "$work" "$1" "$2" "${3// /-}"; } # AGE HOST KIND

make_sessions() { # AGE
    local host kind
    for host in "${hosts[@]}"; do
        for kind in "${kinds[@]}"; do
            visit "$host" "$kind" save "$(file_of "$1" "$host" "$kind")" 1
        done
    done
}

resumes() { # AGE FROM KIND TO
    [[ $(visit "$4" "$3" offer "$(file_of "$1" "$2" "$3")" $few) == "resumed $few of $few" ]]
}

# all_of AGE STEP: the sessions of that age, from each host on each. Only new ones may take a
# moment.
all_of() {
    local from to kind patience=0
    [[ $1 != new ]] || patience=5
    for from in "${hosts[@]}"; do
        for to in "${hosts[@]}"; do
            for kind in "${kinds[@]}"; do
                ((offered += few))
                wait_until "$patience" resumes "$1" "$from" "$kind" "$to" && continue
                ((lost += few))
                fail "$2: the $1 session of $from, $kind, does not resume on $to"
            done
        done
    done
}

# step "WHAT" AGE...: makes new sessions, and offers those of the ages and the new ones.
step() {
    local age before=$lost
    make_sessions new
    for age in "${@:2}" new; do
        all_of "$age" "$1"
    done
    check "$1: nothing is lost" test "$before" = "$lost"
}

# In the wrong order sessions are lost, or this test would not see it if they were.
turn_in_wrong_order() {
    local kind
    keys a "$promoted"
    for kind in "${kinds[@]}"; do
        visit a "$kind" save "$(file_of wrong a "$kind")" 1
        visit b "$kind" save "$(file_of wrong b "$kind")" 1
    done
    for kind in "${kinds[@]}"; do
        check "new key first on a alone, $kind: b's session resumes on a" \
            wait_until 5 resumes wrong b "$kind" a
        check "new key first on a alone, $kind: a's session does not resume on b, which misses" \
            test "$(visit b "$kind" offer "$(file_of wrong a "$kind")" $few)" = "resumed 0 of $few"
    done
    keys a "$first"
}

make_fleet
change "$first" "$added" --next
change "$added" "$promoted" --promote
change "$promoted" "$alone" --keep 1
start_redis
add_hosts "${hosts[@]}"
turn_in_wrong_order
make_sessions old
step "before" old
for host in "${hosts[@]}"; do
    keys "$host" "$added"
    step "new key second on $host" old
done
for host in "${hosts[@]}"; do
    keys "$host" "$promoted"
    step "new key first on $host" old
done
make_sessions young
for host in "${hosts[@]}"; do
    keys "$host" "$alone"
    step "old key gone from $host" young
done
printf 'key rotation on three hosts: %d of %d connections resumed\n' $((offered - lost)) "$offered"
check_health
