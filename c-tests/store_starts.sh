#!/usr/bin/env bash
# Servers that start, on a file system or in memory that is short of room. Each starts, none is
# killed, and those that start together have one store between them. A store is smaller where there is
# no room for more, and one line says so. No other process takes the store's room. A file of another
# version is replaced, and a process that has it mapped keeps it. No core dump has the store.
source "$(dirname "$0")/script.bash"

if [ -z "${INSIDE:-}" ]; then
    if [ "$(id -u)" = 0 ]; then way=(unshare -m); else way=(unshare -rm); fi
    "${way[@]}" true 2>/dev/null || skip "no mount namespace can be made"
    INSIDE=1 exec "${way[@]}" bash "$0"
fi
mount --make-rprivate / && mkdir t
"$CC" -O1 -Wall -Wextra -Werror -D_GNU_SOURCE "${includes[@]}" "$ROOT/c-tests/store_starts/process.c" \
    -o process "${libraries[@]}" -lssl -lcrypto
for i in {0..31}; do printf '%02x' $((i * 37 % 251)); done >keys
chmod 600 keys

# file_system SIZE: an empty one of so much room, and an empty log.
file_system() {
    ! mountpoint -q t || umount -l t
    mount -t tmpfs -o "size=$1,mode=0755" none t || skip "no tmpfs can be mounted"
    rm -f log
}
# start PARAMETERS ARGUMENT...: a process with the store.
start() {
    local url="file:$PWD/t/store$1"
    shift
    env "LD_PRELOAD=$overlay" "SESSCACHE_LOG=$PWD/log" "SESSCACHE_STORE=$url" \
        "SESSCACHE_KEY_FILE=$PWD/keys" ./process "$@"
}
store_inode() { stat -c %i t/store; }
size() { stat -c %s t/store; }
lines() { if [ -e log ]; then grep -c "${1:-}" log || true; else echo 0; fi; }
taken() { du -s --block-size=1 t | cut -f1; }
only_the_store() { expect "$1: files" store "$(ls t)"; }

# ---- many at once --------------------------------------------------------------------------------

file_system 90m
for i in {1..24}; do start "" server >out.$i 2>&1 & done
wait
expect "24 at once: all have the one store" "$(store_inode) not-dumped" "$(sort -u out.*)"
expect "24 at once: lines" 1 "$(lines)"
only_the_store "24 at once"

# ---- no room -------------------------------------------------------------------------------------

file_system 50m
expect "a small file system" "$(start "" server)" "$(store_inode) not-dumped"
expect "a small file system: bytes" $((25 << 20)) "$(size)"
expect "a small file system: lines" 1 "$(lines 'has 25 MiB and not 64')"
expect "a small file system: another one" "$(start "" server)" "$(store_inode) not-dumped"
expect "a small file system: lines of both" 1 "$(lines)"

file_system 50m
expect "more than there is" "$(start '?size=60MiB' server)" "$(store_inode) not-dumped"
expect "more than there is: lines" 1 "$(lines 'has 25 MiB and not 60')"
expect "more than there is: another one" "$(start '?size=60MiB' server)" "$(store_inode) not-dumped"
expect "of another size" none "$(start '?size=61MiB' server)"

file_system 50m
head -c 50m /dev/zero >t/other 2>head.err || true
expect "a full file system" none "$(start "" server)"
expect "a full file system: lines" 1 "$(lines 'there is no room for a store')"
expect "a full file system: files" other "$(ls t)"

file_system 50m
start "" none >out
head -c 50m /dev/zero >t/other 2>head.err || true
expect "the rest was taken by others" "none" "$(start "" server)"
expect "the rest was taken by others: lines" 1 "$(lines 'there is no room for a store')"

file_system 90m
expect "a small limit of files" "$( (ulimit -f 4096; start "" server) )" "$(store_inode) not-dumped"
expect "a small limit of files: bytes" $((4 << 20)) "$(size)"
only_the_store "a small limit of files"
file_system 90m
expect "a smaller limit of files" none "$( (ulimit -f 512; start "" server) )"
expect "a smaller limit of files: lines" 1 "$(lines 'there is no room for a store')"
expect "a smaller limit of files: files" "" "$(ls t)"

# group LIMIT: a control group of so much memory, if one can be made.
group() {
    local folder file
    for folder in /sys/fs/cgroup/memory /sys/fs/cgroup; do
        group=$folder/sesscache-test-$$
        mkdir "$group" 2>/dev/null || continue
        for file in memory.limit_in_bytes memory.max; do
            if [ -e "$group/$file" ] && echo "$1" >"$group/$file" 2>/dev/null; then return; fi
        done
        rmdir "$group"
    done
    return 1
}
# inside COMMAND...: in the group, and its status.
inside() {
    local status=0
    (echo "$BASHPID" >"$group/cgroup.procs" && "$@") | tr '\n' ' ' || status=$?
    echo "$status"
}
if group 32M; then
    trap 'rmdir "$group"' EXIT
    file_system 90m
    inside start "" server >out
    expect "a small control group" "$(store_inode) not-dumped 0" "$(cat out)"
    expect "a small control group: bytes" $((8 << 20)) "$(size)"
    file_system 90m
    inside start '?size=64MiB' server >out
    expect "more than its memory" "$(store_inode) not-dumped 0" "$(cat out)"
    expect "more than its memory: bytes" $((8 << 20)) "$(size)"
    file_system 90m
    inside start '?size=16MiB' server >out
    expect "half of its memory" "$(store_inode) not-dumped 0" "$(cat out)"
    expect "half of its memory: bytes" $((16 << 20)) "$(size)"
    expect "half of its memory: lines" 0 "$(lines)"
    # One that was made outside, and whose room nobody has taken.
    file_system 90m
    start "" none >out
    expect "made outside: has no room here" "none 0" "$(inside start "" server)"
    start "" server >out
    expect "made outside, with its room" "$(store_inode) not-dumped 0" \
        "$(inside start "" server)"
    rm log
    SESSCACHE_STORE=shm: LD_PRELOAD=$overlay SESSCACHE_LOG=$PWD/log inside ./process server >out
    expect "memory of its own" "none 0" "$(cat out)"
    expect "memory of its own: lines" 1 "$(lines 'shm: has 8 MiB and not 64')"
else
    note "no control group of memory can be made: not tried"
fi

# ---- who takes it --------------------------------------------------------------------------------

for kind in none client; do
    file_system 90m
    expect "$kind: has it mapped" "$(start "" $kind)" "$(store_inode) not-dumped"
    [ "$(taken)" -lt $((1 << 20)) ] || fail "$kind takes $(taken) bytes"
    expect "$kind: lines" 0 "$(lines)"
    start "" server >out
    [ "$(taken)" -ge "$(size)" ] || fail "a server after $kind takes $(taken) bytes"
    expect "a server after $kind: lines" 1 "$(lines 'has 45 MiB and not 64')"
done

# ---- a file of another version -------------------------------------------------------------------

# version NUMBER: writes it into the file, as the version of the layout.
version() { printf "%b\\0\\0\\0" "\\0$1" | dd of=t/store bs=1 seek=8 conv=notrunc status=none; }
file_system 90m
touch gate
start '?size=1MiB' server gate >running &
running=$!
until [ -s running ]; do sleep 0.01; done
before=$(store_inode)
version 77
expect "another version: the new one has a store" "$(start '?size=1MiB' server)" "$(store_inode) not-dumped"
[ "$(store_inode)" != "$before" ] || fail "another version: the file is the same"
expect "another version: lines" 1 "$(lines 'was a store of another version of sesscache')"
expect "another version: the next one" "$(start '?size=1MiB' server)" "$(store_inode) not-dumped"
expect "another version: lines of both" 1 "$(lines)"
only_the_store "another version"
# The running one is of another version now: it keeps what it has, and does not take turns.
version 77
new=$(store_inode)
rm gate
wait $running || fail "another version: the running one ended badly"
expect "another version: the running one keeps its own" "$before not-dumped" "$(sort -u running)"
expect "another version: the file stays" "$new" "$(store_inode)"
expect "another version: it says so" 1 "$(lines 'its old memory stays in use')"

# Many at once find it.
version 77
for i in {1..24}; do start '?size=1MiB' server >out.$i 2>&1 & done
wait
expect "another version, 24 at once" "$(store_inode) not-dumped" "$(sort -u out.*)"
only_the_store "another version, 24 at once"

# Neither is it one of another user, nor one that others may write to.
version 77
chmod 644 t/store
expect "another version, not ours to replace" none "$(start '?size=1MiB' server)"
umount -l t
finish
