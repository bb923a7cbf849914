#!/usr/bin/env bash
# The `sesscache` command as a user has it: key files, starting programs, counters of stores.
# SESSCACHE_BIN and LIBDIR say where the command and the library are.
# shellcheck source=tests/shell.sh
. "$(dirname "$0")/shell.sh"
unset LD_PRELOAD LD_LIBRARY_PATH "${!SESSCACHE_STORE@}" "${!SESSCACHE_KEY_FILE@}" \
    SESSCACHE_NAMESPACE SESSCACHE_LOG SESSCACHE_ID_CONTEXT SESSCACHE_TICKETS SESSCACHE_NEW_CB_ZERO \
    SESSCACHE_EX_DATA

command=$(realpath "${SESSCACHE_BIN:-target/release/sesscache}")
library=$(realpath "${LIBDIR:-target/release}")/libsesscache.so
# The tests' own, which are no settings.
unset SESSCACHE_BIN SESSCACHE_LIB SESSCACHE_COMMAND
made_host_folder=
# The program that default stores are named after: nobody else's.
own=cli-test-$$

clean_up() {
    wait # for what would make them anew
    rm -rf /run/sesscache/"$own"*
    if [[ $made_host_folder ]]; then rmdir /run/sesscache 2>/dev/null || true; fi
}

# refuses CODE PATTERN ARGUMENT...: sesscache ends with this code, says one line like this on
# stderr, and nothing on stdout
refuses() {
    local code=$1 pattern=$2 found=0
    shift 2
    "$command" "$@" >"$work/out" 2>"$work/err" </dev/null || found=$?
    cat "$work/out" "$work/err" | tee -a "$work/everything_said"
    same "$code" "$found" && same 1 "$(wc -l <"$work/err")" && same '' "$(cat "$work/out")" &&
        grep -qx -- "sesscache: $pattern" "$work/err"
}

# says PATTERN ARGUMENT...: sesscache succeeds and says one line like this on stdout
says() {
    local pattern=$1
    shift
    "$command" "$@" >"$work/out" 2>"$work/err" </dev/null || return
    cat "$work/out" "$work/err" | tee -a "$work/everything_said"
    same 1 "$(wc -l <"$work/out")" && grep -qx -- "$pattern" "$work/out"
}

fails() { ! "$@"; }
mode() { stat -c %a "$1"; }
keys() { grep -cE '^[0-9]+:[0-9a-f]{64} ' "$1"; }
run() { "$command" run --library "$library" "$@"; }

# sees NAME VALUE RUN-ARGUMENT...: a program started so has this in its environment
sees() {
    local name=$1 value=$2
    shift 2
    same "$value" "$(run "$@" -- "$work/$own" 2>/dev/null | sed -n "s/^$name=//p")"
}

check_help() {
    local words
    check 'the loop below has every command' same "$(sed -n '/^Commands:/,/^$/s/^  //p' \
        <("$command" --help) | sed 's/ .*//' | grep -vx help | sort | xargs)" 'agent completions disable doctor enable keygen probe ratchet run stats'
    for words in --help {keygen,ratchet,run,enable,disable,stats,doctor,probe,agent,completions}' --help'; do
        # shellcheck disable=SC2086 # words are wanted
        check "$words shows examples" grep -q '^  sesscache ' <("$command" $words)
        # shellcheck disable=SC2086
        check "$words fits a terminal" same '' "$("$command" $words | grep -E '.{111}')"
    done
    check 'version' same "sesscache $(sed -nE 's/^version = "([^"]+)".*/\1/p' cli/Cargo.toml)" \
        "$("$command" --version)"
    check 'no command' refuses 2 'which command: .*'
    check 'an unknown command' refuses 2 "unrecognized subcommand 'stat' .*" stat
    check 'keygen without a file' refuses 2 '.*not provided: <FILE>.*' keygen
    check 'run without a program' refuses 2 '.*not provided: <CMD>.*' run
    check 'an unknown option of run' refuses 2 ".*'--bogus'.*" run --bogus true
    check 'a full stdout is an error' bash -c "! '$command' --help >/dev/full"
}

check_keygen() {
    local file=$work/keys/k before
    mkdir "$work/keys"
    check 'keygen says what to do next' \
        says "wrote $file; next: sesscache run --key-file $file .*" keygen "$file"
    check 'the key file is closed to others' same 600 "$(mode "$file")"
    check 'it has one key' same 1 "$(keys "$file")"
    check 'it says what it is' grep -q '^# Keys of sesscache' "$file"
    check 'nothing else is left' same k "$(ls -A "$work/keys")"
    before=$(cat "$file")
    check 'no overwriting' refuses 1 "$file exists .*" keygen "$file"
    check 'it is as it was' same "$before" "$(cat "$file")"
    ln -s nowhere "$work/keys/link"
    check 'no writing through a link' refuses 1 '.*/link exists .*' keygen "$work/keys/link"
    check 'no folder' refuses 1 "$work/none: No such file.*" keygen "$work/none/k"
    check 'not a name' refuses 1 '/: .*' keygen /
    check 'relative paths are shown whole' bash -c "cd $work/keys && '$command' keygen r |
        grep -q '^wrote $work/keys/r; '"
    for mask in 000 777; do
        (umask $mask && "$command" keygen "$work/keys/m$mask" >/dev/null)
        check "umask $mask does not matter" same 600 "$(mode "$work/keys/m$mask")"
    done
    "$command" keygen "$work/keys/closed" >&- 2>&- <&- || true
    check 'closed descriptors get no message' same '' \
        "$(grep -vE '^#|^[0-9]+:[0-9a-f]{64} [0-9-]{10}$' "$work/keys/closed")"
}

check_rotate() {
    local file=$work/keys/k old new n
    old=$(grep -v '^#' "$file")
    printf '# by hand\n' >>"$file"
    chmod 400 "$file"
    check 'rotate says how many keys' says "$file has a new key, the first of 2; .*" \
        keygen --rotate "$file"
    new=$(grep -v '^#' "$file")
    check 'the old key stays, behind the new' same "$old" "$(tail -n 1 <<<"$new")"
    check 'the new one is another' test "$(head -n 1 <<<"$new")" != "$old"
    check 'the mode stays' same 400 "$(mode "$file")"
    check 'comments stay' grep -q '^# by hand$' "$file"
    if ((EUID == 0)); then
        chown 12:34 "$file"
        check 'a file of another user is not used' refuses 1 "$file belongs to user 12; .*" \
            keygen --rotate "$file"
        chown 0:34 "$file"
        check 'rotation by root' says '.* the first of 3; .*' keygen --rotate "$file"
        check 'the owner stays' same '0:34' "$(stat -c %u:%g "$file")"
    fi
    chmod 604 "$file"
    check 'a file that others can read' refuses 1 "$file is open to other users .*" \
        keygen --rotate "$file"
    chmod 600 "$file"
    check 'no file to rotate' refuses 1 '.*/none does not exist; .*' keygen --rotate "$work/none"
    if ((EUID == 0)); then
        chmod 640 "$file"
        check 'a file that another group can read' refuses 1 "$file may be read by group 34 .*" \
            keygen --rotate "$file"
        chown 0:0 "$file"
        check 'a file that the own group can read' says '.* the first of 4; .*' \
            keygen --rotate "$file"
        check 'its mode stays' same 640 "$(mode "$file")"
        chmod 600 "$file"
    fi
    ln -sf k "$work/keys/link"
    check 'a link is followed' says '.*/link has a new key, .*' keygen --rotate "$work/keys/link"
    check 'it stays a link' test -L "$work/keys/link" -a ! -L "$work/keys/k"
    mkdir -m 777 "$work/keys/open"
    chmod 777 "$work/keys/open"
    ln -s ../k "$work/keys/open/link"
    check 'a link in a folder of all' refuses 1 \
        '.*/open/link can be replaced by other users, through .*/keys/open; .* chmod go-w' \
        keygen --rotate "$work/keys/open/link"
    printf 'secret123\n' >"$work/keys/bad" && chmod 600 "$work/keys/bad"
    check 'what is no key is not shown' refuses 1 '.*/bad line 1 is not a key of 64 hex digits' \
        keygen --rotate "$work/keys/bad"

    "$command" keygen "$work/keys/many" >/dev/null
    for ((n = 0; n < 15; n++)); do "$command" keygen --rotate "$work/keys/many" >/dev/null & done
    wait
    check 'rotations at the same time all count' same 16 "$(keys "$work/keys/many")"
    old=$(grep -v '^#' "$work/keys/many")
    "$command" keygen --rotate "$work/keys/many" >/dev/null 2>"$work/err"
    check 'the oldest key is dropped' same "$(head -n 15 <<<"$old")" \
        "$(grep -v '^#' "$work/keys/many" | tail -n +2)"
    check 'which is said' grep -qx 'sesscache: dropped the oldest .*' "$work/err"
    check 'no temporary file is left' same '' "$(find "$work/keys" -name '.*.new')"
}

# The lines of a key file with keys, in words: what is behind each key without the day, and a
# letter for each key in the order it was first seen in
order() {
    local line out=
    while read -r line; do
        line=${line#*:}
        [[ ${names[${line:0:64}]:-} ]] || names[${line:0:64}]=${letters:${#names[@]}:1}
        out+=" ${names[${line:0:64}]}${line:75}"
    done < <(grep -v '^#' "$1")
    printf '%s\n' "${out# }" >"$work/order"
}

# has ORDER FILE: the keys of a key file, as `order` calls them
has() {
    order "$2"
    check "the keys of ${2##*/} are $1" same "$1" "$(<"$work/order")"
}

# The steps of a fleet, as docs/STORE.md has them: on each of two hosts a file, in all its states
check_steps() {
    local file=$work/steps/k before n
    local -A names=()
    local letters=abcdefghijklmnopqrstuvwxyz
    mkdir "$work/steps"
    "$command" keygen "$file" >/dev/null
    printf '# by hand\n' >>"$file"
    has a "$file"
    check 'no next key, none to promote' refuses 1 "$file has no key that is marked .next.; .*" \
        keygen --promote "$file"
    check 'next says where the key is, and what to do' \
        says "$file has a new key, the second of 2: it opens, .*; next: copy .* reload .*" \
        keygen --next "$file"
    has 'a b next' "$file"
    cp "$file" "$work/steps/before"
    check 'one next key at a time' refuses 1 "$file has a next key already; .*" \
        keygen --next "$file"
    check 'no rotation meanwhile' refuses 1 "$file has a next key already; .*" \
        keygen --rotate "$file"
    check 'the next key is not dropped' refuses 1 "$file would lose its next key; .*" \
        keygen --keep 1 "$file"
    check 'what is refused changes nothing' cmp "$work/steps/before" "$file"
    check 'promote says that it seals' \
        says "$file has its next key as the first of 2: it seals; next: copy .*" \
        keygen --promote "$file"
    has 'b a' "$file"
    check 'a second time does not turn the keys back' refuses 1 "$file has no key .*" \
        keygen --promote "$file"
    has 'b a' "$file"
    cp "$work/steps/before" "$work/steps/other"
    ln "$work/steps/other" "$work/steps/opened"
    "$command" keygen --promote "$work/steps/other" >/dev/null
    check 'the old file is not written to' cmp "$work/steps/before" "$work/steps/opened"
    check 'promoted on another host it is the same file' cmp "$work/steps/other" "$file"
    check 'the next round' "$command" keygen --next "$file"
    has 'b c next a' "$file"
    check 'the oldest go, and not the next' says "$file keeps 2, without the oldest 1; .*" \
        keygen --keep 2 "$file"
    has 'b c next' "$file"
    "$command" keygen --promote "$file" >/dev/null
    check 'keep 1' says "$file keeps 1, without the oldest 1; next: copy .*" keygen --keep 1 "$file"
    has c "$file"
    before=$(stat -c '%i %Y' "$file")
    check 'again does nothing' says "$file is as it was: of 1 there is none to drop" \
        keygen --keep 1 "$file"
    check 'not even replace the file' same "$before" "$(stat -c '%i %Y' "$file")"
    check 'comments outlive all steps' same 4 "$(grep -c '^#' "$file")"
    check 'by hand is the last of them' same '# by hand' "$(tail -n 1 "$file")"
    for ((n = 0; n < 15; n++)); do "$command" keygen --rotate "$file" >/dev/null; done
    check 'no 17th key' refuses 1 "$file holds 16 keys, as many as it may; --keep .*" \
        keygen --next "$file"
    check 'the 16 stay' same 16 "$(keys "$file")"
    for ((n = 0; n < 16; n++)); do
        "$command" keygen --next "$work/steps/other" >>"$work/done" 2>/dev/null &
    done
    wait
    check 'of steps at the same time one is made' same 1 "$(wc -l <"$work/done")"
    check 'and one key' same 3 "$(keys "$work/steps/other")"
    check_steps_on_bad_files "$work/steps/other"
    check 'no key is shown' same '' "$(grep -E '[0-9a-f]{16}' "$work/everything_said")"
    check 'no temporary file is left' same '' "$(find "$work/steps" -name '.*.new')"
}

# A file that is not to be used is changed by no step; each says why
check_steps_on_bad_files() {
    local file=$1 step bad
    for step in --next --promote '--keep 1'; do
        # shellcheck disable=SC2086 # words are wanted
        step() { refuses 1 "$1" keygen $step "$2"; }
        check "$step without a file" step '.*/none does not exist; .*' "$work/none"
        ln -sfn link "$work/steps/link"
        check "$step through a link to itself" step '.*/link is a circle of links; .*' \
            "$work/steps/link"
        check "$step of a folder" step '.*/steps is not a regular file; .*' "$work/steps"
        check "$step of a pipe" step '/dev/null is not a regular file; .*' /dev/null
        bad=$work/steps/bad
        sed '$a secret123 next' "$file" >"$bad" && chmod 600 "$bad"
        check "$step of what is no key" step '.*/bad line [0-9]* is not a key of .*' "$bad"
        printf '# empty\n' >"$bad"
        check "$step of no key" step '.*/bad holds no key; .*' "$bad"
        { cat "$file" && for _ in {1..16}; do printf '%064d\n' 1; done; } >"$bad"
        check "$step of more than 16 keys" step '.*/bad holds more than 16 keys; .*' "$bad"
        cp "$file" "$bad"
        for mode in 660 602; do
            chmod $mode "$bad"
            check "$step of a file with mode $mode" step '.*/bad is open to other users .*' "$bad"
            check "it is as it was" cmp "$file" "$bad"
        done
        if ((EUID == 0)); then
            chmod 600 "$bad" && chown 12 "$bad"
            check "$step of another user's file" step '.*/bad belongs to user 12; .*' "$bad"
            rm "$bad"
        fi
    done
    check_steps_keep_owner "$file"
    printf '%064d\n#%65469s\n' 1 ' ' >"$bad" && chmod 600 "$bad"
    check 'next to a file without room' refuses 1 '.*/bad is longer than 65536 bytes; .*' \
        keygen --next "$bad"
    check 'it is one that servers take still' says '.* is as it was: .*' keygen --keep 1 "$bad"
    check 'two steps at once' refuses 2 ".*'--next' cannot be used with '--promote' .*" \
        keygen --next --promote "$file"
    check 'keep nothing' refuses 2 ".*'0' for '--keep <N>': .*" keygen --keep 0 "$file"
    check 'keep what is no number' refuses 2 ".*'x' for '--keep <N>': .*" keygen --keep x "$file"
    check 'keep without a file' refuses 2 '.*not provided: <FILE>.*' keygen --keep 1
}

# The owner and mode of a key file stay, in every step
check_steps_keep_owner() {
    local file=$work/steps/mine owner step
    owner=$(id -u):$(id -g)
    ((EUID != 0)) || owner=0:34
    cp "$1" "$file"
    chown "$owner" "$file"
    chmod 400 "$file"
    for step in --promote --next --promote '--keep 1'; do
        # shellcheck disable=SC2086 # words are wanted
        "$command" keygen $step "$file" >/dev/null
        check "$step: owner and mode stay" same "$owner 400" "$(stat -c '%u:%g %a' "$file")"
    done
}

# An epoch, so many after that of the clock
epoch() { echo $(($(date +%s) / 21600 + $1)); }

# A key file of a ratchet in such an epoch, whose state is a digit 64 times
ratchet_file() {
    printf '# by hand\n%s:%s 2026-11-28 next\n' "$(epoch "$2")" \
        "$(printf '%064d' 0 | tr 0 "$3")" >"$1"
    chmod 600 "$1"
}

# The number of epochs by which the first key of a file is behind the clock
behind() { echo $(($(epoch 0) - $(sed -n 's/:.*//p' "$1" | sed -n '/^[0-9]/{p;q}'))); }

check_ratchet() {
    local file=$work/ratchet/k before
    mkdir "$work/ratchet"
    ratchet_file "$file" -10 1
    check 'ratchet says what is open' \
        says "$file was stepped on by [67] times six hours; it opens nothing from before .* UTC" \
        ratchet "$file"
    check 'a day is kept' test "$(behind "$file")" -le 5
    check 'the state is another' fails grep -q 1111 "$file"
    check 'what is behind the key stays' grep -qE '^[0-9]+:[0-9a-f]{64} 2026-11-28 next$' "$file"
    check 'comments stay' grep -q '^# by hand$' "$file"
    ratchet_file "$file" -3 1
    before=$(stat -c '%i %Y' "$file")
    check 'there is nothing to step over' says "$file is as it was; it opens nothing .*" \
        ratchet "$file"
    check 'then the file is not replaced' same "$before" "$(stat -c '%i %Y' "$file")"
    check 'a shorter life steps further' says "$file was stepped on by .*" \
        ratchet --max-lifetime 6h "$file"
    ratchet_file "$file" -10 1
    check 'a longer one does not' says "$file is as it was; .*" ratchet --max-lifetime 7d "$file"
    SESSCACHE_MAX_LIFETIME=604800 check 'the environment says it, too' \
        says "$file is as it was; .*" ratchet "$file"
    SESSCACHE_MAX_LIFETIME=x check 'or nothing' \
        refuses 1 'SESSCACHE_MAX_LIFETIME=x is not a number of seconds' ratchet "$file"
    check 'a time that is none' refuses 2 ".*'1w' for '--max-lifetime <TIME>': a time like .*" \
        ratchet --max-lifetime 1w "$file"
    check_ratchet_clocks "$file"
    check_ratchet_files "$file"
}

check_ratchet_clocks() {
    local file=$1
    ratchet_file "$file" 40 1
    check 'a clock before the file' \
        says "$file is as it was; .* which is to come: is the clock right?" ratchet "$file"
    ratchet_file "$file" -124 1
    check 'thirty days at once' says "$file was stepped on by 120 times .*" ratchet "$file"
    ratchet_file "$file" -400 1
    cp "$file" "$work/ratchet/before"
    check 'and no more' refuses 1 "$file is 99 days behind the clock; .* use --force" \
        ratchet "$file"
    check 'the key is as it was' cmp "$work/ratchet/before" "$file"
    check 'but a new one comes' says "$file has its next key .*" keygen --promote "$file"
    check 'beside it' grep -q 1111 "$file"
    check 'unless it is said' says "$file was stepped on by .*" ratchet --force "$file"
    check 'a week without a step' ratchet_agrees 28
}

# ratchet_agrees EPOCHS: step by step and all at once is the same
ratchet_agrees() {
    local often=$work/ratchet/often once=$work/ratchet/once left
    ratchet_file "$once" "-$1" 2
    cp "$once" "$often"
    "$command" ratchet --max-lifetime 1s "$once" >/dev/null
    for ((left = $1; left > 0; left--)); do
        "$command" ratchet --max-lifetime $((left * 21600)) "$often" >/dev/null
    done
    cmp "$once" "$often"
}

check_ratchet_files() {
    local file=$1 bad=$work/ratchet/bad
    printf '%064d\n' 1 >"$bad" && chmod 600 "$bad"
    check 'a plain file' says "$bad has plain keys only, .*keygen --next. adds a ratchet" \
        ratchet "$bad"
    ratchet_file "$file" -10 1
    printf '%064d\n' 1 >>"$file"
    check 'a plain key among others' says "$file was stepped on .*; 1 of its keys .* plain .*" \
        ratchet "$file"
    check 'stays as it is' grep -qx "$(printf '%064d' 1)" "$file"
    head -c 40 "$file" >"$bad"
    check 'half of a file' refuses 1 "$bad line 2 is not a key of 64 hex digits" ratchet "$bad"
    ln -sf link "$work/ratchet/link"
    check 'a link to itself' refuses 1 '.*/link is a circle of links; .*' ratchet "$work/ratchet/link"
    check 'a missing file' refuses 1 '.*/none does not exist; .*' ratchet "$work/none"
    check 'no file' refuses 2 '.*not provided: <FILE>...*' ratchet
    # Whoever may read the folder can hold its lock.
    exec 9<"$work/ratchet"
    flock -x 9
    check 'a folder that stays locked' \
        refuses 1 '.*/ratchet: another process has locked the folder; .*' ratchet "$file"
    exec 9<&-
    ratchet_file "$file" -10 1
    check 'one bad file of several' fails "$command" ratchet "$bad" "$file" "$work/none"
    check 'the good one is stepped on' test "$(behind "$file")" -le 5
    ratchet_file "$file" -10 1
    for _ in 1 2 3 4; do "$command" ratchet "$file" >>"$work/ratchet/said" & done
    wait
    check 'of several at once one steps' same 1 "$(grep -c stepped "$work/ratchet/said")"
    if ((EUID == 0)); then
        ratchet_file "$file" -10 1
        chown 12 "$file"
        check "another user's file" refuses 1 "$file belongs to user 12; .*" ratchet "$file"
        chown 0:34 "$file"
        chmod 400 "$file"
        "$command" ratchet "$file" >/dev/null
        check 'owner and mode stay' same '0:34 400' "$(stat -c '%u:%g %a' "$file")"
        ratchet_file "$file" -10 1
        cp "$file" "$work/ratchet/before"
        check 'a file that cannot be written' \
            unshare -m bash -c "mount --bind '$work/ratchet' '$work/ratchet' &&
                mount -o remount,ro,bind '$work/ratchet' && ! '$command' ratchet '$file' 2>&1"
        check 'is as it was' cmp "$work/ratchet/before" "$file"
    fi
    check 'no temporary file is left' same '' "$(find "$work/ratchet" -name '.*.new')"
}

check_environment() {
    local key=$work/keys/k store=file:$work/store
    cp "$(command -v env)" "$work/$own"
    check 'the library is preloaded' sees LD_PRELOAD "$library" --store shm:
    LD_PRELOAD=libm.so.6 check 'before others' sees LD_PRELOAD "$library:libm.so.6" --store shm:
    check 'the store' sees SESSCACHE_STORE "$store?size=2MiB" --store "$store?size=2MiB"
    check 'the namespace' sees SESSCACHE_NAMESPACE 'a b' --store shm: --namespace 'a b'
    check "new_cb's 0 is the library's to decide" sees SESSCACHE_NEW_CB_ZERO '' --store shm:
    check 'or the option decides' sees SESSCACHE_NEW_CB_ZERO remove --store shm: \
        --new-cb-zero remove
    SESSCACHE_NEW_CB_ZERO=remove check 'also against the environment' \
        sees SESSCACHE_NEW_CB_ZERO keep --store shm: --new-cb-zero keep
    check 'with a value that it has' refuses 2 '.*maybe.*' run --new-cb-zero maybe -- true
    check 'the key file' sees SESSCACHE_KEY_FILE "$key" --store "$store" --key-file "$key"
    check 'a key file beside the store' sees SESSCACHE_KEY_FILE "$work/store.key" --store "$store"
    check 'it is made' same '600 1' "$(mode "$work/store.key") $(keys "$work/store.key")"
    check 'and named by its whole path' bash -c "cd $work/keys && '$command' run --force \
        --store shm: --key-file k -- env | grep -qx 'SESSCACHE_KEY_FILE=$key'"
    check 'the key file of the URL' sees SESSCACHE_KEY_FILE "$key" --store "$store?key=$key"
    check 'no key file for shm:' sees SESSCACHE_KEY_FILE '' --store shm:
    SESSCACHE_STORE='shm:?size=3MiB' check 'the environment before the default' \
        sees SESSCACHE_STORE 'shm:?size=3MiB'
    SESSCACHE_STORE='' check 'no store' sees SESSCACHE_STORE ''
    SESSCACHE_STORE=shm: check 'an option before the environment' \
        sees SESSCACHE_STORE "$store" --store "$store"
    check 'no log to what is not a terminal, unless there is no other' \
        sees SESSCACHE_LOG "$([ -S /dev/log ] || echo stderr)" --store shm:
    SESSCACHE_LOG=off check 'or what is said' sees SESSCACHE_LOG off --store shm:
    check_id_context
    check_ticket_keys
    check_side_data
    check 'arguments as they are' same "-x|a b|--store" \
        "$(run --store shm: --force -- printf '%s|%s|%s' -x 'a b' --store)"
    check 'the exit status is the program'"'"'s' bash -c "'$command' run --store shm: --force \
        --library '$library' -- sh -c 'exit 7'; [ \$? = 7 ]"
    for action in '""' -; do
        check "SIGPIPE as it was ($action)" bash -c "trap $action PIPE
            [ \"\$(grep SigIgn /proc/self/status)\" = \"\$('$command' run --store shm: --force \
                --library '$library' -- grep SigIgn /proc/self/status)\" ]"
    done
}

# Programs that draw a session id context at random get SESSCACHE_ID_CONTEXT=ours
check_id_context() {
    local name folder=$work/random
    # what PROGRAM: what the variable is in this program, and the lines that tell of it
    what() {
        run --force --store shm: -- "$@" 2>"$work/err" | sed -n 's/^SESSCACHE_ID_CONTEXT=//p'
        sed -n 's/^sesscache: SESSCACHE_ID_CONTEXT=ours, because/said:/p' "$work/err"
    }
    ours() { printf 'ours\nsaid: %s draws its session id context at random\n' "$1"; }
    mkdir "$folder"
    for name in named ruby puma pgbouncer mariadbd mysqld; do
        cp "$work/$own" "$folder/$name"
        check "$name has a random id context" same "$(ours $name)" "$(what "$folder/$name")"
    done
    check 'other programs have none' same '' "$(what "$work/$own")"
    cp "$(command -v bash)" "$folder/ruby3.3"
    printf '#!%s/ruby3.3\nenv\n' "$folder" >"$folder/rails" && chmod +x "$folder/rails"
    check 'its interpreter has one' same "$(ours ruby)" "$(what "$folder/rails" 2>&1)"
    ln -s named "$folder/dns"
    check 'the file behind a link has one' same "$(ours named)" "$(what "$folder/dns")"
    check 'found in PATH' same "$(ours puma)" "$(PATH=$folder:$PATH what puma)"
    check 'the environment decides' same theirs \
        "$(SESSCACHE_ID_CONTEXT=theirs what "$folder/named")"
    check 'an empty one too' same '' "$(SESSCACHE_ID_CONTEXT='' what "$folder/named")"
    check 'nothing to share, nothing to set' same '' "$(SESSCACHE_STORE='' "$command" run --force \
        --library "$library" -- "$folder/named" 2>&1 | grep SESSCACHE_ID_CONTEXT)"
}

# Servers whose own ticket keys end with them get SESSCACHE_TICKETS=override
check_ticket_keys() {
    local folder=$work/keyed why='ticket keys end with its process' server
    # how RUN-ARGUMENT...: what the variable is in this program, and the lines that tell of it
    how() {
        run --force "$@" 2>"$work/err" | sed -n 's/^SESSCACHE_TICKETS=//p'
        sed -n 's/^sesscache: SESSCACHE_TICKETS\(=override,\| is not set,\) because/said\1:/p' "$work/err"
    }
    mkdir "$folder"
    cp "$work/$own" "$folder/node"
    for server in postfix nghttpx; do
        printf '#!/bin/sh\nexec env\n' >"$folder/$server" && chmod +x "$folder/$server"
    done
    check 'a program that draws ticket keys' same "override
said=override,: node's own $why" "$(how --store shm: --key-file "$key" -- "$folder/node")"
    check 'the key file of the URL' same "override
said=override,: node's own $why" "$(how --store "$store?key=$key" -- "$folder/node")"
    check 'the key file beside the store' same "override
said=override,: node's own $why" "$(how --store "$store" -- "$folder/node")"
    check 'keys of the environment' same "override
said=override,: node's own $why" \
        "$(SESSCACHE_STORE='' SESSCACHE_KEY_FILE=$key how "$folder/node")"
    check 'no key file, nothing to put first' same '' "$(how --store shm: -- "$folder/node")"
    check 'other programs have none' same '' "$(how --store "$store" -- "$work/$own")"
    for server in application '' shared; do
        check "the environment decides: '$server'" same "$server" \
            "$(SESSCACHE_TICKETS=$server how --store "$store" -- "$folder/node")"
    done
    check 'Postfix has no setting for them' same "override
said=override,: postfix's own ticket keys end at each reload" \
        "$(how --store "$store" -- "$folder/postfix" start-fg)"
    check_given_keys
}

# stunnel keeps data with its sessions, and asks for it only where it redirects
check_side_data() {
    local folder=$work/side
    # kept RUN-ARGUMENT...: what the variable is in stunnel, and the line that tells of it
    kept() {
        run --force "$@" 2>"$work/err" | sed -n 's/^SESSCACHE_EX_DATA=//p'
        sed -n 's/^sesscache: SESSCACHE_EX_DATA\(=share,\| is not set,\) because.*/said\1/p' "$work/err"
    }
    mkdir "$folder"
    # It prints its environment, whatever file it is to read.
    printf '#include <stdio.h>\nextern char **environ;\nint main(void) { while (*environ) puts(*environ++); }\n' |
        gcc -x c - -o "$folder/stunnel4"
    printf '[a]\naccept = 1\n' >"$folder/plain"
    printf '[a]\nredirect = 1\n' >"$folder/redirects"
    check 'stunnel shares' same "share
said=share," "$(kept --store shm: -- "$folder/stunnel4" "$folder/plain")"
    check 'not where it redirects' same "said is not set," \
        "$(kept --store shm: -- "$folder/stunnel4" "$folder/redirects")"
    check 'nor if nobody knows' same "said is not set," \
        "$(kept --store shm: -- "$folder/stunnel4" "$folder/gone")"
    check 'the environment decides that, too' same refuse \
        "$(SESSCACHE_EX_DATA=refuse kept --store shm: -- "$folder/stunnel4" "$folder/plain")"
    check 'and no store needs none' same '' \
        "$(SESSCACHE_STORE='' kept "$folder/stunnel4" "$folder/plain")"
}

# The same servers, with keys that somebody gave them
check_given_keys() {
    local given='said is not set,:' conf=$folder/nghttpx.conf
    printf 'workers=2\n' >"$conf"
    check 'nghttpx draws them' same "override
said=override,: nghttpx's own ticket keys end at each reload" "$(how --store "$store" -- "$folder/nghttpx" --conf="$conf")"
    check 'nghttpx was given some' same "$given nghttpx was given keys by --tls-ticket-key-file" \
        "$(how --store "$store" -- "$folder/nghttpx" --tls-ticket-key-file "$key")"
    printf 'tls-ticket-key-file=%s\n' "$key" >>"$conf"
    check 'its configuration tells' same "$given nghttpx was given keys by tls-ticket-key-file" \
        "$(how --store "$store" -- "$folder/nghttpx" --conf "$conf")"
    check_nginx_keys 1.22.1 ''
    check_nginx_keys 1.23.2 "override
said=override,: nginx's own ticket keys end with its zone of sessions"
    printf 'ssl_session_ticket_key k;\n' >"$folder/sites/one.conf"
    check_nginx_keys 1.26.3 \
        "$given nginx was given keys by ssl_session_ticket_key in $folder/sites/one.conf"
    rm "$folder/nginx.conf"
    check_nginx_keys 1.26.3 "$given it is not known whether nginx was given keys: \
$folder/nginx.conf: No such file or directory"
    check 'a script may start anything' same \
        "$given it is not known whether nginx was given keys: it is started by a script" \
        "$(printf '#!/bin/sh\nenv\n' >"$folder/nginx" && how --store "$store" -- "$folder/nginx")"
}

# check_nginx_keys VERSION EXPECTED: an nginx that says that it is of this version. Compiled, because
# the words of a script are not asked for.
check_nginx_keys() {
    if [[ ! -d $folder/sites ]]; then
        mkdir "$folder/sites"
        printf 'http { include sites/*.conf; } # ssl_session_ticket_key\n' >"$folder/nginx.conf"
    fi
    if ! cc -x c -o "$folder/nginx" - 2>"$work/err" <<END; then
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words)
{
    if (count == 2 && strcmp(words[1], "-V") == 0)
        return fprintf(stderr, "nginx version: nginx/$1\n"
                               "configure arguments: --prefix=/nowhere --conf-path=/nowhere/c\n") < 0;
    return execlp("env", "env", NULL);
}
END
        skip "nginx $1" 'no C compiler'
        return
    fi
    check "nginx $1" same "$2" "$(how --store "$store" -- "$folder/nginx" -p "$folder" -c nginx.conf)"
}

check_default_store() {
    local folder=$work/runtime/sesscache
    if ((EUID == 0)); then
        folder=/run/sesscache
        [[ -d $folder ]] || made_host_folder=yes
    fi
    mkdir -m 700 "$work/runtime"
    export XDG_RUNTIME_DIR=$work/runtime
    check 'a store named after the program' sees SESSCACHE_STORE "file:$folder/$own"
    check 'its key file' same 600 "$(mode "$folder/$own.key")"
    check 'its folder is closed to writers' same "$( ((EUID == 0)) && echo 755 || echo 700)" \
        "$(mode "$folder")"
    check 'the key file stays' sees SESSCACHE_KEY_FILE "$folder/$own.key"
    if ((EUID != 0)); then
        chmod 777 "$folder"
        check 'not in a folder that others write to' refuses 1 "$folder is not a folder .*" \
            run --library "$library" --force -- "$work/$own"
        chmod 700 "$folder"
        XDG_RUNTIME_DIR='' check 'memory without a runtime folder' sees SESSCACHE_STORE shm:
    fi
}

compile() { "${CC:-cc}" -x c -o "$@" - 2>/dev/null; }

check_refusals() {
    local given=(--library "$library" --store shm:)
    check 'no such program' refuses 127 'nosuch: not found' run -- nosuch
    check 'not executable' refuses 126 '/etc/passwd: permission denied' run -- /etc/passwd
    check 'a folder' refuses 126 '/etc: is a folder' run -- /etc
    check 'a wrong URL' refuses 2 'a store is shm: or file:.*' run --store x -- true
    check 'two key files' refuses 2 'two key files: .*' \
        run --store "shm:?key=$work/keys/k" --key-file "$work/keys/k" -- true
    check 'no key file' refuses 1 '.*/none does not exist; .*' \
        run "${given[@]}" --key-file "$work/none" --force -- true
    check 'no library' refuses 1 '.*/none.so: no such library' \
        run --store shm: --library "$work/none.so" -- true
    echo text >"$work/not.so"
    check 'a library that cannot be loaded' refuses 1 '.* the loader does not take .*' \
        run --store shm: --library "$work/not.so" -- true
    mkdir "$work/a b" && cp "$library" "$work/a b/"
    check 'a library that LD_PRELOAD cannot name' refuses 1 '.* a space or a colon' \
        run --store shm: --library "$work/a b/libsesscache.so" -- true

    check_set_id "${given[@]}"
    if compile "$work/static" -static <<<'int main(void) { return 0; }'; then
        check 'static' refuses 1 '.*/static cannot be overlaid: it is static .*' \
            run "${given[@]}" -- "$work/static"
        check '--force starts it' "$command" run "${given[@]}" --force -- "$work/static"
    else
        skip 'a static program' 'cannot build one'
    fi
    compile "$work/own" <<<'void *SSL_CTX_new(void) { return 0; } int main(void) { return 0; }'
    check 'an OpenSSL of its own' refuses 1 '.* has an OpenSSL of its own built in .*' \
        run "${given[@]}" -- "$work/own"
    compile "$work/libssl.so.1.1" -shared -fPIC -Wl,-soname,libssl.so.1.1 <<<'int old;'
    compile "$work/old" -Wl,--no-as-needed,-rpath,"$work" -L"$work" -l:libssl.so.1.1 \
        <<<'int main(void) { return 0; }'
    check 'another libssl' refuses 1 '.* it uses libssl.so.1.1, .*' run "${given[@]}" -- "$work/old"
    check_foreign "${given[@]}"
    printf '#!%s/own\n' "$work" >"$work/script" && chmod +x "$work/script"
    check 'a script is judged by its interpreter' refuses 1 '.*/own cannot be overlaid: .*' \
        run "${given[@]}" -- "$work/script"
    cp "$(command -v env)" "$work/vsftpd"
    check 'vsftpd' refuses 1 '.*/vsftpd must not share sessions: its require_ssl_reuse .*' \
        run "${given[@]}" -- "$work/vsftpd"
    SESSCACHE_STORE='' check 'vsftpd without a store is fine' run -- "$work/vsftpd"
    check 'a doubt is said, in one line' bash -c "'$command' run ${given[*]} -- true 2>&1 |
        grep -qx 'sesscache: .*/true does not use libssl itself; .*'"
    printf '#!/bin/sh\nexec true\n' >"$work/start" && chmod +x "$work/start"
    check "a shell's script is named, and not the shell" bash -c "'$command' run ${given[*]} -- '$work/start' 2>&1 |
        grep -qx 'sesscache: $work/start is a script of /bin/sh: the program that it starts was not checked'"
    printf '#!/usr/bin/env true\n' >"$work/odd" && chmod +x "$work/odd"
    check 'an interpreter is named with its script' bash -c "'$command' run ${given[*]} -- '$work/odd' 2>&1 |
        grep -qx 'sesscache: $work/odd: its interpreter .*/true does not use libssl itself; .*'"
    SESSCACHE_STROE=x check 'a misspelt setting is named' bash -c "'$command' run ${given[*]} -- openssl version 2>&1 |
        grep -qx 'sesscache: SESSCACHE_STROE is no setting; is SESSCACHE_STORE meant?'"
    check 'none with libssl' same '' "$(run --store shm: -- openssl version 2>&1 >/dev/null)"
    check 'no line on a client'"'"'s connection' python3 - "$command" <<'PYTHON'
import socket, subprocess, sys
ours, client = socket.socketpair()
code = subprocess.call([sys.argv[1], "run", "--", "nosuch"], stdin=ours, stdout=ours, stderr=ours)
ours.close()
said = client.recv(1000)
assert (code, said) == (127, b""), (code, said)
PYTHON
}

# Programs on a TLS library that is not OpenSSL's, on another C library, or on none of the two
check_foreign() {
    local name
    for name in libssl.so libssl.so.59 libssl-other.so libgnutls-openssl.so.27; do
        mkdir -p "$work/on"
        compile "$work/on/$name" -shared -fPIC "-Wl,-soname,$name" \
            <<<'void *SSL_CTX_new(void *m) { return m; }'
        compile "$work/on/program" -Wl,--no-as-needed,-rpath,"$work/on" -L"$work/on" "-l:$name" \
            <<<'void *SSL_CTX_new(void *); int main(void) { return SSL_CTX_new("") == 0; }'
        check "$name is not OpenSSL's" refuses 1 ".* uses $name, and not OpenSSL 3 or 4 .*" \
            run "$@" -- "$work/on/program"
        LD_PRELOAD=$work/on/$name check "$name as a wrapper of libssl's is no reason" \
            "$command" run "$@" -- openssl version
    done
    LD_PRELOAD=$work/on/libssl-other.so check 'nor is a wrapper without libssl' \
        "$command" run "$@" -- true
    compile "$work/musl" -Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1 <<<'int main(void) { return 0; }'
    ln -s musl "$work/musl-link"
    printf '#!%s/musl\n' "$work" >"$work/musl-script" && chmod +x "$work/musl-script"
    for name in musl musl-link musl-script; do
        check "$name" refuses 1 ".* its loader is musl's, and the library is made for glibc .*" \
            run "$@" -- "$work/$name"
    done
    compile "$work/go" <<<'__attribute__((section(".go.buildinfo"))) char go[16] = "x";
        int main(void) { return 0; }'
    check 'Go has a TLS of its own' refuses 1 '.*/go cannot be overlaid: it is written in Go, .*' \
        run "$@" -- "$work/go"
    compile "$work/go-libssl" -Wl,--no-as-needed -lssl <<<'__attribute__((section(".go.buildinfo")))
        char go[16] = "x"; int main(void) { return 0; }'
    check 'unless it uses libssl' "$command" run "$@" -- "$work/go-libssl"
    compile "$work/on/libnear.so" -shared -fPIC -Wl,-soname,libnear.so <<<'int near;'
    compile "$work/on/near" -Wl,--no-as-needed,-rpath,'$ORIGIN' -L"$work/on" -l:libnear.so \
        <<<'int main(void) { return 0; }'
    ln -s on/near "$work/near"
    check 'libraries are beside the file behind a link' "$command" run "$@" -- "$work/near"
}

# Neither `stats` nor `run` gives advice that harms somebody else's file, and nothing is made beside it.
check_no_stores() {
    local folder=$work/no-stores name before
    mkdir -m 755 "$folder"
    echo '127.0.0.1 localhost' >"$folder/hosts"
    : >"$folder/empty"
    head -c 2097152 /dev/urandom >"$folder/noise"
    mkdir "$folder/folder"
    ln -s hosts "$folder/link"
    before=$(find "$folder" -printf '%p %s %m\n' | sort)
    for name in hosts:'not a store of .*' empty:'not a store of .*' noise:'not a store of .*' \
        folder:'not a regular file.*' link:'a symbolic link.*'; do
        check "stats of a file: $name" refuses 1 ".*/${name%%:*}: it is ${name#*:}" \
            stats "$folder/${name%%:*}"
        check "run with a file: $name" refuses 1 ".*/${name%%:*}: it is ${name#*:}" \
            run --library "$library" --store "file:$folder/${name%%:*}" -- openssl version
    done
    check 'a mistyped folder' refuses 1 '.*/none/store: its folder does not exist; make it.*' \
        run --library "$library" --store "file:$folder/none/store" -- openssl version
    check 'nothing was made or changed' same "$before" \
        "$(find "$folder" -printf '%p %s %m\n' | sort)"
    mkdir "$folder/none"
    check 'until the folder is there' "$command" run --library "$library" \
        --store "file:$folder/none/store?size=1MiB" -- openssl version
}

# A store that cannot work until its path, owner or mode is mended: refused, and nothing is made
check_bad_stores() {
    local folder=$work/bad-stores before
    mkdir -m 700 "$folder" "$folder/open"
    run --store "file:$folder/store?size=1MiB" -- openssl ciphers >/dev/null 2>&1
    chmod 777 "$folder/open"
    cp "$folder/store" "$folder/readable" && chmod 644 "$folder/readable"
    cp "$folder/store" "$folder/damaged"
    truncate -s 2M "$folder/damaged"
    with() { refuses 1 "$1" run --library "$library" --store "file:$folder/$2" -- openssl version; }
    before=$(find "$folder" -printf '%p %s %m\n' | sort)
    check 'a store that others can read' with '.*/readable: others may read or write it; chmod 600, .*' readable
    check 'a folder that others can write to' with '.*: others may write to its folder; .*' open/store
    check 'another size than it has' with '.*/store: it has 1048576 bytes and size=2097152 .*' 'store?size=2MiB'
    if ((EUID == 0)); then
        cp "$folder/store" "$folder/theirs" && chmod 600 "$folder/theirs" && chown 12 "$folder/theirs"
        check "another user's store" with '.*/theirs: it belongs to another user; .*' theirs
        rm "$folder/theirs"
    else
        mkdir "$folder/closed" && chmod 500 "$folder/closed"
        check 'a folder that we cannot write to' with '.*: cannot be made in its folder: .*' closed/store
        rmdir "$folder/closed"
    fi
    check 'nothing was made or changed' same "$before" \
        "$(find "$folder" -printf '%p %s %m\n' | sort)"
    check 'a damaged one does not keep the server from its start' bash -c \
        "'$command' run --library '$library' --store 'file:$folder/damaged' -- openssl version 2>&1 |
            grep -x 'sesscache: .*/damaged: it is damaged, .*; no session is shared until then'"
}

# A program that gets rights its caller lacks
check_set_id() {
    local program
    if ((EUID == 0)); then
        for bit in u g; do
            cp "$(command -v env)" "$work/set-$bit"
            chown 12:34 "$work/set-$bit"
            chmod $bit+s "$work/set-$bit"
            check "set-$bit-id" refuses 1 ".*/set-$bit cannot be overlaid: it is set-.*-ID, .*" \
                run "$@" -- "$work/set-$bit"
        done
        chown 0 "$work/set-u" && chmod u+s "$work/set-u"
        check 'set-user-ID of the same user is fine' "$command" run "$@" -- "$work/set-u"
        return
    fi
    program=$(find /usr/bin /bin -perm -4005 -user root 2>/dev/null | head -n 1)
    if [[ $program ]]; then
        check 'set-user-ID' refuses 1 '.* it is set-user-ID, .*' run "$@" -- "$program"
    else
        skip 'a set-user-ID program' 'none is installed'
    fi
}

# A server says of what kind its keys are. `openssl ciphers` makes an SSL_CTX.
check_stats_of_keys() {
    local store=$work/of_keys key=$work/of_keys.key kind
    for kind in yes no yes; do
        rm -f "$key"
        case $kind in
            no) printf '%064d\n' 7 >"$key" && chmod 600 "$key" ;;
            yes) "$command" keygen "$key" >/dev/null ;;
        esac
        run --store "file:$store?size=1MiB" --key-file "$key" -- openssl ciphers >/dev/null 2>&1
        check "stats says whether there is forward secrecy: $kind" bash -c \
            "'$command' stats '$store' | grep -q '^  forward secrecy  *$kind  '"
    done
    check 'and in JSON' bash -c "'$command' stats --json '$store' |
        grep -q '\"forward_secrecy\":true'"
}

check_stats() {
    local store=$work/counted
    run --store "file:$store?size=1MiB" -- openssl version >/dev/null 2>&1
    check 'the program made the store' same 600 "$(mode "$store")"
    check 'a table' bash -c "'$command' stats '$store' | grep -q '^    hits  *0  '"
    check 'a session id context has its mend' bash -c "'$command' stats '$store' |
        grep -q '^    declined_id_context  *0  .*SESSCACHE_ID_CONTEXT=ours'"
    check 'by its URL' bash -c "'$command' stats 'file:$store' | grep -qx '$store'"
    check 'JSON' python3 - "$store" "$("$command" stats --json "$store")" <<'PYTHON'
import json, sys
stats = json.loads(sys.argv[2])
assert stats["store"] == sys.argv[1]
assert (stats["hits"], stats["hit_rate"], stats["fill"]) == (0, None, 0.0), stats
assert 1 << 19 < stats["capacity"] < 1 << 20, stats
assert len(stats) == 41 and stats["hosts"] is None, stats
PYTHON
    check 'no server has said what keys it has' fails bash -c \
        "'$command' stats '$store' | grep 'forward secrecy'"
    check_stats_of_keys
    check 'no store' refuses 1 '.*/none: .*' stats "$work/none"
    check 'a file of another kind' refuses 1 '/etc/passwd: .*' stats /etc/passwd
    check_no_stores
    check_bad_stores
    check 'memory' refuses 2 'a shm: store is seen only by its server' stats shm:
    check 'a wrong URL' refuses 2 'file: needs a path .*' stats file:x
    "$command" run --library "$library" -- "$work/$own" >/dev/null 2>&1
    check 'all stores' bash -c "'$command' stats | grep -q '/$own\$'"
    check 'key files are no stores' same '' "$("$command" stats 2>&1 >/dev/null | grep "$own.key")"
    check 'all stores as JSON' python3 - "$own" "$("$command" stats --json)" <<'PYTHON'
import json, sys
stores = json.loads(sys.argv[2])["stores"]
assert [s for s in stores if s["store"].endswith("/" + sys.argv[1])], stores
assert not [s for s in stores if s["store"].endswith(".key")], stores
PYTHON
}

for tool in realpath python3 openssl "${CC:-cc}" "$command"; do
    command -v "$tool" >/dev/null || {
        echo "cli: needs $tool, which is not there" >&2
        exit 1
    }
done

check_help
check_keygen
check_rotate
check_steps
check_ratchet
check_environment
check_default_store
check_refusals
check_stats
finish cli
