#!/usr/bin/env bash
# Somebody writes to Redis who should not. Whatever it is, no connection fails, nothing resumes but
# the session that was offered, and the agents go on: at worst sessions are missed.
#
# A connection that was resumed with another session's secret would fail, and be counted as such.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

row() { printf '%-32s %-14s %6s %6s %15s\n' "$@"; }

marks_are_everywhere() {
    [[ $("$load" compare "$(store_of a)" "$(store_of b)" "$work/marks") == "held $1 missing 0" ]]
}

# save_fresh KIND COUNT: sessions of a, and since when.
save_fresh() {
    since=$(redis time | awk 'NR == 1 { s = $1 } NR == 2 { printf "%d%03d", s, $1 / 1000 + 1 }')
    save a "$1" "$2"
}

# forge LEAST WHAT: of the fresh sessions as forge.py says, and waits until the agents have read it.
forge() {
    in_machine redis python3 "$here/forge.py" "$redis_address" 6379 "$since" "$1" "$2" \
        "$work/marks" || give_up "forge.py $2 ended with $?"
    wait_until 10 marks_are_everywhere $(($(stat -c %s "$work/marks") / 16)) ||
        give_up "$2: the agents do not read to the end"
}

# forged WHAT none|any "DESCRIPTION": sessions of a are forged before b has seen a client with them.
forged() {
    local what=$1 expected=$2 kind on_b before made
    for kind in "${by_id[@]}"; do
        made=$tries
        [[ $kind != 1.3* ]] || made=$((2 * tries)) # two tickets a handshake, of which one is kept
        save_fresh "$kind" "$tries"
        forge "$made" "$what"
        before=$(counted b undecryptable)
        on_b=$(offer a "$kind" b)
        check "$3, $kind: no connection fails" test "$on_b" != error
        check "$3, $kind: none resumes on b" test "$on_b" = 0 -o "$expected" = any
        check "$3, $kind: no connection fails on a" test "$(offer a "$kind" a)" != error
        row "$3" "$kind" "$tries" "$on_b" $(($(counted b undecryptable) - before))
    done
}

# A fatal alert removes a session on every host, and writing its record again does not bring it
# back. (In TLS 1.3 the alert removes the session that the connection has just made, not the one
# that it resumed.)
removed_stays_removed() {
    local kind="1.2 ids"
    save_fresh "$kind" 10
    check "10 sessions of a resume on b" come_to_resume a "$kind" b 10
    visit a "$kind" spoil "$(session_file a "$kind")" || give_up "spoil ended with $?"
    check "removed by an alert on a: none resumes on a" test "$(offer a "$kind" a 10)" = 0
    check "removed by an alert on a: none resumes on b" wait_until 10 none_resumes a "$kind" b 10
    forge 10 repeated
    check "removed, then written again: none resumes on b" none_resumes a "$kind" b 10
    reload_server b
    check "removed, then written again, b reloaded: none resumes on b" \
        none_resumes a "$kind" b 10
}
none_resumes() { [[ $(offer "$@") == 0 ]]; }

all_is_well() { # AFTER
    local kind
    for kind in "${by_id[@]}"; do
        save a "$kind" "$tries"
        check "$1, $kind: new sessions of a resume on b" come_to_resume a "$kind" b
    done
}

# A host that shares Redis and keys, but is another service.
other_namespace() {
    local kind
    server_environment=(SESSCACHE_NAMESPACE=other)
    add_hosts c
    for kind in "${kinds[@]}"; do
        save a "$kind" "$tries"
        save c "$kind" "$tries"
        case $kind in *tickets) ;; *) come_to_resume a "$kind" b || true ;; esac
        check "other namespace, $kind: a's sessions resume on b" all_resume a "$kind" b
        check "other namespace, $kind: a's sessions do not resume on c" none_resumes a "$kind" c
        check "other namespace, $kind: c's sessions do not resume on a" none_resumes c "$kind" a
        check "other namespace, $kind: c's sessions resume on c" all_resume c "$kind" c
    done
}

poison_keys() {
    local key
    for key in $(redis keys 'sesscache:*'); do
        redis del "$key"
        redis set "$key" "not a stream"
    done >>"$work/redis-cli.log"
}

# An entry of the year 5138: what comes after it has ids from there too.
poison_ids() {
    local key
    for key in $(redis keys 'sesscache:*'); do
        redis xadd "$key" 99999999999999-0 hello world
    done >>"$work/redis-cli.log"
}

# What the spoiled connections leave there is as it should be.
server_log_is_clean() {
    grep -vE 'SSL_read\(\) failed .*bad record mac' "$work/$1/error.log" >"$work/$1/other.log"
    ! grep -m 5 -E "$bad_lines" "$work/$1/other.log"
}

make_fleet
start_redis
add_hosts a b
row "sessions of a, forged in Redis" kind forged "on b" undecryptable
forged flipped none "a bit of the payload flipped"
forged extended none "deadline a day later"
forged moved none "another session's payload"
forged shortened none "payload shortened"
forged emptied none "no payload"
forged removed none "removed"
forged garbled any "a bit of the head flipped"
forged cut any "records cut off"
forged noise any "random bytes"
forged junk any "entries of other shapes"
check "agents count what makes no sense" \
    test "$(metric b sesscache_replication_poison_entries_total)" -gt 0
all_is_well "after the forgeries"
removed_stays_removed
poison_keys
save a "1.3 stateful" "$tries"
check "no streams where the streams were: a's sessions resume on a" all_resume a "1.3 stateful" a
redis flushall >>"$work/redis-cli.log"
check "no streams where the streams were, then FLUSHALL: what was made meanwhile resumes on b" \
    come_to_resume a "1.3 stateful" b
poison_ids
all_is_well "after ids of the far future"
redis flushall >>"$work/redis-cli.log"
all_is_well "after FLUSHALL, and ids of the present again"
other_namespace
check_health
