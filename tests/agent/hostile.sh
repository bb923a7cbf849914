# For agent.sh: somebody writes to the streams who should not.
# shellcheck shell=bash disable=SC2154 # agent.sh has the variables

received() { (($(figure "$metrics_b" replication_received_records_total) >= $1)); }

check_junk() {
    local before count forged
    before=$(figure "$metrics_b" replication_poison_entries_total)
    count=$(python3 "$peer" junk "$redis_port" web)
    check 'junk is skipped and counted' soon 5 is "$metrics_b" replication_poison_entries_total \
        $((before + count))
    make_sessions a wheat 10
    check 'what comes behind it arrives' soon 5 all_resume b wheat 10
    # What b has looked up is in its process, where nobody forges it.
    for forged in flip redate replay; do
        before=$(figure "$metrics_b" replication_received_records_total)
        make_sessions a target 6
        check 'they arrive' soon 5 received $((before + 6))
        count=$(python3 "$peer" forge "$redis_port" web $forged)
        check "forged by $forged: taken over" soon 5 received $((before + 6 + count))
        check "forged by $forged: none resumes, all connect" same '6 New' \
            "$(for n in 0 1 2 3 4 5; do visit b spent target.$n; done | sort | uniq -c | xargs)"
        make_sessions a target 6
        check "forged by $forged: new ones resume" soon 5 all_resume b target 6
    done
    check 'they did not open' test "$(figure "$metrics_b" \
        'store_lookups_total{result="undecryptable"}')" -ge 18
}

check_flood() {
    local before
    both_agents
    make_sessions a flood 1
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'b connects' connected b
    before=$(figure "$metrics_b" replication_received_records_total)
    python3 "$peer" numbers "$redis_port" web 300
    check 'what others say of their number of streams is read' soon 5 received $((before + 300))
    check 'and told in one line' same 1 "$(grep -c 'another host uses' "$work/agent-b.log")"
    check 'which is all there is' at_most 10 "$(wc -l <"$work/agent-b.log")"
}

at_most() { (($2 <= $1)) || { echo "$2 > $1" && return 1; }; }
most_memory() { sed -nE 's/^VmHWM:\s*([0-9]+) kB/\1/p' "/proc/${pid[agent-$1]}/status"; }

check_large() {
    local count id
    both_agents
    check 'b connects' connected b
    check 'b ends' end agent-b
    cli flushall >/dev/null
    make_sessions a small 1
    soon 5 eval '(($(stream_lengths) > 0))'
    # Redis ends a connection whose answer is larger.
    cli config set client-output-buffer-limit 'normal 300kb 0 0' >/dev/null
    count=$(python3 "$peer" large "$redis_port" web 10)
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'what does not come at once comes bit by bit' soon 10 received "$count"
    check 'its memory' at_most $((32 << 10)) "$(most_memory b)"
    id=$(head -c 400000 /dev/zero | cli -x xadd 'sesscache:{web:0}:log' '*' x)
    check 'one that does not come at all is told' soon 10 \
        is "$metrics_b" 'redis_state{state="unreachable"}' 1
    cli xdel 'sesscache:{web:0}:log' "$id" >/dev/null
    check 'without it all is well' soon 15 is "$metrics_b" 'redis_state{state="ok"}' 1
    make_sessions a behind 10
    check 'and goes on' soon 5 all_resume b behind 10
    cli config set client-output-buffer-limit 'normal 0 0 0' >/dev/null
    check 'b ends' end agent-b
    count=$(python3 "$peer" huge "$redis_port" web 64 1)
    agent b --metrics "127.0.0.1:$metrics_b"
    check 'what is too large is skipped' soon 20 is "$metrics_b" \
        replication_poison_entries_total "$count"
    check 'its memory, of answers of 16 MiB' at_most $((192 << 10)) "$(most_memory b)"
    cli flushall >/dev/null
}
