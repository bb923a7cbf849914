#!/usr/bin/env bash
# Runs a command as a container would: the first process of a PID namespace, a user without a name, a root
# that cannot be written, no /run, no /dev/log, 64 MiB of /dev/shm. The network is the caller's, as in a pod.
#
#   inside.sh USER GROUPS [--memory GROUP] [--volume FROM TO[:ro]]... COMMAND...
#
# A volume is seen at TO, which is below /mnt. GROUPS: numbers, separated by commas. GROUP: the folder of a
# control group, in which the container is, and which it sees where runtimes show it.
set -euo pipefail

user=$1 groups=$2
shift 2
if [ "$user" != --inside ]; then
    exec unshare --mount --pid --ipc --fork --kill-child -- "$0" --inside "$user:$groups" "$@"
fi
user=${groups%%:*} groups=${groups#*:}

mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
memory=
if [ "$1" = --memory ]; then
    memory=$2
    shift 2
    echo 0 >"$memory/cgroup.procs"
fi
root=/mnt/root
mkdir $root
mount --bind / $root
mount -t tmpfs -o size=1m tmpfs "$root/dev"
for node in null zero full random urandom; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,size=1m tmpfs "$root/mnt"
if [ -n "$memory" ]; then
    shown=$root$(dirname "$memory")
    mount -t tmpfs -o mode=755,size=1m tmpfs "$root/sys"
    mkdir -p "$shown"
    mount --bind "$memory" "$shown"
    mount -o remount,bind,ro "$shown"
fi
while [ "$1" = --volume ]; do
    to=${3%:ro}
    mkdir -p "$root$to"
    mount --bind "$2" "$root$to"
    [ "$to" = "$3" ] || mount -o remount,bind,ro "$root$to"
    shift 3
done
mount -t tmpfs -o ro,mode=755 tmpfs "$root/run"
mkdir "$root/mnt/before"
mount -o remount,bind,ro "$root/mnt"
mount -o remount,bind,ro $root
cd $root
pivot_root . mnt/before
umount -l /mnt/before
cd /
exec setpriv --reuid="$user" --regid="$user" --groups="$groups" --no-new-privs --inh-caps=-all \
    --bounding-set=-all "$@"
