#!/usr/bin/env bash
# Other processors than x86-64: the library is built for arm64 and C tests run on it, under QEMU; a build for 32 bits is
# refused. By hand, as root: an image of Debian forky, whose Rust knows them, takes minutes and 2 GB.
#
#   tests/processors/run.sh [NAME...]     C tests, if not those named below
#
#   PROCESSORS_CACHE   the folder of the image and of what is built (/var/cache/sesscache-processors)
#   MIRROR             where the packages come from (http://deb.debian.org/debian)
#
# The clone is of the last commit. While the tests run, this machine's kernel starts arm64 programs with QEMU.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
enter=$root/tests/systems/enter.sh
cache=${PROCESSORS_CACHE:-/var/cache/sesscache-processors}
image=$cache/forky
registry=${CARGO_HOME:-$HOME/.cargo}
packages="make,mount,util-linux,iproute2,procps,rustc,cargo,libstd-rust-dev:arm64,libstd-rust-dev:i386"
packages+=",gcc-aarch64-linux-gnu,libc6-dev:arm64,libssl-dev:arm64,openssl,qemu-user"
# What differs by processor: the table's other way to look, orders of memory, signals, forks, threads.
names="callbacks cancel fork refcount remove evict flush sessions_table null jumps reentry threads store_attach store_flushed
    store_ended store_removed store_hosts store_workers store_templates store_restart tickets"

if [ "${1:-}" = --inside ]; then
    shift
    export CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true
    export CC=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export OPENSSL_LIB_DIR=/usr/lib/aarch64-linux-gnu OPENSSL_INCLUDE_DIR=/usr/include
    export CARGO_TARGET_DIR=/built
    cd /src
    refused=$(cargo check --quiet --locked -p sesscache-core --target i686-unknown-linux-gnu 2>&1) || true
    expected="error: sesscache-core@*: needs a processor of 64 bits*error: build script logged errors"
    # shellcheck disable=SC2053  # a pattern
    if [[ $refused = $expected && $(wc -l <<<"$refused") = 2 ]]; then
        echo "PASS a build for 32 bits is refused in one line"
    else
        printf 'FAIL a build for 32 bits is refused in one line\n%s\n' "$refused"
    fi
    cargo build --quiet --locked --profile edit -p sesscache --target aarch64-unknown-linux-gnu
    echo "PASS the library is built for arm64"
    LIBDIR=/built/aarch64-unknown-linux-gnu/edit BUILD=/built/c-tests PATIENCE=10 c-tests/run.sh "$@"
    exit
fi

die() { echo "processors: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "only root can make the image and enter it"
command -v mmdebstrap >/dev/null || die "no mmdebstrap (Debian: apt-get install mmdebstrap)"

if [ ! -e "$cache/ready" ]; then
    echo "making $image"
    mkdir -p "$cache"
    rm -rf --one-file-system "$image"
    mmdebstrap --quiet --variant=apt --architectures=amd64,arm64,i386 "--include=$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        forky "$image" "${MIRROR:-http://deb.debian.org/debian}"
    touch "$cache/ready"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sesscache-processors.XXXXXX")
binfmt=$work/binfmt
mkdir "$binfmt"
is_ours=no
forget() {
    [ $is_ours = no ] || echo -1 >"$binfmt/sesscache-arm64"
    ! mountpoint -q "$binfmt" || umount "$binfmt"
    rm -rf --one-file-system "$work"
}
trap forget EXIT
mount -t binfmt_misc none "$binfmt"
[ ! -e "$binfmt/sesscache-arm64" ] || die "another run goes on, whose QEMU this one would take away"
# The head of an ELF file for arm64. F: the interpreter is opened now, outside of the system.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
echo ":sesscache-arm64:M::$magic:$mask:$image/usr/bin/qemu-aarch64:F" >"$binfmt/register"
is_ours=yes

git clone --quiet "$root" "$work/clone"
# shellcheck disable=SC2086  # a list of names
"$enter" "$image" "$cache/changes" --bind "$work/clone" /src --bind "$registry" /opt/cargo \
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    bash /src/tests/processors/run.sh --inside ${*:-$names}
