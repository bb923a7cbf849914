#!/usr/bin/env bash
# Runs a command in a system of its own, in an image that stays as it is.
#
#   enter.sh IMAGE CHANGES [--install|--network] [--bind FROM TO]... COMMAND...
#
# The system has namespaces for mounts, processes, IPC and the network (only a loopback). What it
# writes is in the folder CHANGES. A folder FROM is seen at TO, and what is written there is in CHANGES
# too. When the command has ended no process of the system is left. With --network it has this machine's
# network, and with --install it changes the image, too.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "enter.sh: only root can" >&2; exit 1; }
    spaces=(--mount --pid --ipc --uts)
    case $3 in --install | --network) ;; *) spaces+=(--net) ;; esac
    exec unshare "${spaces[@]}" --fork --kill-child -- "$0" --inside "$@"
fi
shift

image=$(realpath "$1") changes=$(realpath -m "$2")
shift 2
root=$changes/root
mkdir -p "$root"

# lay LOWER NAME TO: the folder LOWER at TO of the system, changes in CHANGES/NAME
lay() {
    mkdir -p "$changes/$2.new" "$changes/$2.work" "$3"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$changes/$2.new,workdir=$changes/$2.work" "$3"
}

mount --make-rprivate /
case $1 in
    --install) mount --bind "$image" "$root" ;;
    *) lay "$image" image "$root" ;;
esac
case $1 in
    --install | --network) shift; cp /etc/resolv.conf "$root/etc/resolv.conf" ;;
    *) ip link set lo up ;;
esac
while [ "$1" = --bind ]; do
    lay "$(realpath "$2")" "$(tr / _ <<<"$3")" "$root$3"
    shift 3
done
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
for folder in /dev/shm /run; do mount -t tmpfs -o mode=1777 tmpfs "$root$folder"; done
chmod 755 "$root/run"
mkdir -p "$root/run/netns" "$root/run/lock" "$root/.before"
cd "$root"
pivot_root . .before
umount -l /.before
cd /
"$@"
