# For agent.sh: what leaves the streams by age, and clocks that are wrong.
# shellcheck shell=bash disable=SC2154 # agent.sh has the variables

stream_lengths() {
    local number sum=0
    for number in 0 1 2 3; do sum=$((sum + $(cli xlen "sesscache:{web:$number}:log"))); done
    echo $sum
}
at_least() { (($1 >= $2)) || { echo "$1 < $2" && return 1; }; }

check_retention() {
    local brief=(--retention 10s) length before
    local rewinds='replication_rewinds_total{direction="send"}'
    end_agents
    cli flushall >/dev/null
    agent a "${brief[@]}" --metrics "127.0.0.1:$metrics_a"
    agent b "${brief[@]}" --metrics "127.0.0.1:$metrics_b"
    new_host c
    agent c "${brief[@]}"
    check 'c connects' connected c
    make_sessions a first 5
    check 'what is new arrives' soon 5 all_resume c first 5
    check 'c goes away' end agent-c
    before=$(figure "$metrics_a" "$rewinds")
    make_sessions a old 100
    check 'b has the oldest of it' soon 5 all_resume b old 10
    length=$(stream_lengths)
    check 'it is in the streams' at_least "$length" 80
    sleep 11
    make_sessions a young 20
    check 'b has what is new' soon 5 all_resume b young 20
    # Redis drops whole nodes of its own, here of 8 entries or so.
    check 'what is older than the retention has left' at_least $((length - 30)) "$(stream_lengths)"
    agent c "${brief[@]}" --metrics "127.0.0.1:$metrics_c"
    check 'who was away for longer has what there is' soon 5 all_resume c young 20
    check 'and not what was dropped' at_most 5 "$(resumed c old 10)"
    check 'which it says, once' same 1 "$(grep -cE 'were not read for [0-9]+ s, longer' \
        "$work/agent-c.log")"
    check 'and counts' at_least "$(figure "$metrics_c" replication_gaps_total)" 1
    check 'who listened all the time missed nothing' is "$metrics_b" replication_gaps_total 0
    check 'and nobody takes age for loss' is "$metrics_a" "$rewinds" "$before"
    agent b "${brief[@]}" --metrics "127.0.0.1:$metrics_b"
    check 'b connects' connected b
    make_sessions a last 1
    check 'who was away for a moment goes on' soon 5 all_resume b last 1
    check 'and missed nothing' is "$metrics_b" replication_gaps_total 0
    check 'c ends' end agent-c
    end_agents
}

# d_is OFFSET: what the clock of d shows from now on
d_is() { echo "$1" >"$work/clock.new" && mv "$work/clock.new" "$work/clock"; }
skew_is() {
    figure "$metrics_b" redis_clock_skew_seconds |
        awk -v x="$1" '{ print } $1 > x - 1 && $1 < x + 1 { found = 1 } END { exit !found }'
}
lines_about_clocks() { grep -c "$1" "$work/agent-d.log" || true; }

check_clocks() {
    local fake length expired='replication_unapplied_records_total{cause="expired"}'
    fake=$(dpkg -L libfaketime 2>/dev/null | grep -m 1 'libfaketime\.so\.1$') || {
        echo "skip clocks: no libfaketime (Debian: apt-get install libfaketime)"
        skipped=$((skipped + 1))
        return 0
    }
    local -x FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=$work/clock
    end_agents
    [[ ! ${pid[server-d]:-} ]] || end server-d || true
    rm -rf "${work:?}/d"
    d_is +0
    agent a --metrics "127.0.0.1:$metrics_a"
    host d "LD_PRELOAD=$library:$fake"
    LD_PRELOAD=$fake agent d --metrics "127.0.0.1:$metrics_b"
    check 'd connects' connected d
    make_sessions a right 60
    check 'with clocks that agree all resume' soon 10 all_resume d right 10
    check 'the difference is measured' skew_is 0
    length=$(stream_lengths)
    d_is +3h
    make_sessions d jump 10
    check 'a clock that jumps ahead drops nothing' soon 5 at_least "$(stream_lengths)" \
        $((length + 5))
    check 'what it makes resumes' soon 5 all_resume a jump 10
    check 'it comes from the future' soon 5 at_least \
        "$(figure "$metrics_a" replication_future_records_total)" 10
    check 'the difference is measured, ahead' soon 5 skew_is -10800
    cli client kill type normal >/dev/null
    check 'it reconnects' soon 5 eval "(( \$(figure $metrics_b redis_reconnects_total) == 5 ))"
    check 'and told, once' same 1 "$(lines_about_clocks 'is 10800\.[0-9] s ahead of that of Redis')"
    make_sessions a short 5
    check 'ends are absolute: by its clock they are over' soon 5 is "$metrics_b" "$expired" 5
    d_is +0
    check 'that it is right again is told' soon 5 says agent-d 'Redis agree again'
    d_is -3h
    check 'the difference is measured, behind' soon 5 skew_is 10800
    check 'and told' same 1 "$(lines_about_clocks 'is 10800\.[0-9] s behind that of Redis')"
    check 'twice in all' same 2 "$(lines_about_clocks 'set the clocks right')"
    make_sessions a long 5
    check 'by its clock all others have time' soon 5 all_resume d long 5
    make_sessions d late 5
    check 'what it makes is over elsewhere' soon 5 is "$metrics_a" "$expired" 5
    check 'd ends' end agent-d
    check 'its server ends' eval 'end server-d || true'
    end_agents
}
