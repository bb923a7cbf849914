#!/usr/bin/env bash
# The variables of a server are inherited by what it starts. A program that is a client, or has no TLS,
# logs nothing, whatever is wrong with the settings, and works as without us. A server logs what is
# wrong, each line once however many contexts it makes.
source "$(dirname "$0")/script.bash"

"$CC" -std=c11 "${includes[@]}" "$ROOT/c-tests/noise/side.c" -o side "${libraries[@]}" -lssl -lcrypto

head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >key
chmod 600 key
cp key open_key
chmod 644 open_key
echo 'this is no key' >no_key
chmod 600 no_key
mkdir -m 777 open_folder

# with SETTING COMMAND...: lines in the log of a process with these settings.
with() {
    local settings
    read -ra settings <<<"$1"
    shift
    rm -f log
    env SESSCACHE_LOG="$PWD/log" "${settings[@]}" LD_PRELOAD="$overlay" "$@" >out 2>err ||
        fail "$*: ends with $?"
    [ ! -s err ] || fail "$*: complains: $(<err)"
    if [ -e log ]; then wc -l <log; else echo 0; fi
}

tried=0
while read -r lines settings; do
    settings=${settings//DIR/$PWD}
    for side in client both; do
        expect "$side, $settings" 0 "$(with "$settings" ./side "$side")"
        expect "it says" "$side" "$(<out)"
    done
    for command in "cat key" "sh -c :" "true"; do
        # shellcheck disable=SC2086  # a command of several words
        expect "$command, $settings" 0 "$(with "$settings" $command)"
    done
    for side in server datagram-server told; do
        expect "$side, $settings" "$lines" "$(with "$settings" ./side $side)"
    done
    tried=$((tried + 1))
done <<'SETTINGS'
1 SESSCACHE_STORE=redis://host
1 SESSCACHE_NEW_CB_ZERO=sometimes
2 SESSCACHE_NEW_CB_ZERO=sometimes SESSCACHE_CLIENT_CERTS=perhaps
1 SESSCACHE_STORE=file:DIR/store
2 SESSCACHE_STORE=file:DIR/store SESSCACHE_KEY_FILE=DIR/none
2 SESSCACHE_STORE=file:DIR/store SESSCACHE_KEY_FILE=DIR/open_key
2 SESSCACHE_STORE=file:DIR/store SESSCACHE_KEY_FILE=DIR/no_key
2 SESSCACHE_STORE=shm: SESSCACHE_KEY_FILE=key
1 SESSCACHE_STORE=file:DIR/open_folder/store SESSCACHE_KEY_FILE=DIR/key
0 SESSCACHE_STORE=shm:?size=1MiB SESSCACHE_KEY_FILE=DIR/key
SETTINGS
expect "settings tried" 10 "$tried"

# A server with a limit on the size of its files (LimitFSIZE= of systemd) goes on, too: where the store
# is too large, and where not even a line of the log fits.
mkdir -m 700 own
while read -r blocks lines; do
    rm -f log
    said=$(
        ulimit -S -f "$blocks"
        SESSCACHE_LOG=$PWD/log SESSCACHE_STORE=file:$PWD/own/store SESSCACHE_KEY_FILE=$PWD/key \
            LD_PRELOAD=$overlay ./side server 2>&1 || echo "ends with $?"
    )
    expect "with files of $blocks blocks" server "$said"
    expect "lines with files of $blocks blocks" "$lines" "$(wc -l <log)"
    expect "left with files of $blocks blocks" "" "$(ls own)"
done <<'LIMITS'
1 1
0 0
LIMITS
finish
