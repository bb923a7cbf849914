#!/usr/bin/env bash
# Runs real servers, unmodified: on stock libssl, with libsesscache preloaded, and with its host store
# too. Says how many connections resume, across workers, reloads and restarts.
# Usage: run.sh [SERVER...] (default: all; a server is a file NAME.sh here).
# SESSCACHE_LIB names the library to preload if it is not target/release/libsesscache.so; WAYS names
# the ways to run, if not all (see ways.sh).
# Ends with 1 if anything failed, 77 if nothing could be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly servers=(nginx haproxy apache2 lighttpd stunnel4 hitch dovecot postgresql vsftpd)

die() { printf 'test-servers: %s\n' "$*" >&2; exit 2; }

# The servers get the library from their test alone, and the client never.
unset LD_PRELOAD LD_LIBRARY_PATH
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps servers, and users who are not root do not look

build_client() {
    command -v "${CC:-cc}" >/dev/null || die "no C compiler (Debian: apt-get install gcc libc6-dev)"
    command -v openssl >/dev/null || die "no openssl command (Debian: apt-get install openssl)"
    "${CC:-cc}" -O1 -Wall -Wextra -Werror "$here/resume.c" -o "$client" -lssl -lcrypto ||
        die "the client did not build (headers: apt-get install libssl-dev)"
}

run_one() {
    local name=$1
    [[ -e $here/$name.sh ]] || die "no such server: $name"
    printf '== %s\n' "$name"
    export work=$temp/$name
    mkdir -m 711 "$work"
    local before status=0
    before=$(count fail)
    bash "$here/$name.sh" || status=$?
    if [[ $status != 0 && $status != 77 ]]; then
        echo fail >>"$results"
        printf 'FAIL  %s: the test script ended with %d\n' "$name" "$status"
    fi
    if (($(count fail) > before)); then
        printf 'run again: tests/servers/run.sh %s; configuration and logs: %s\n' "$name" "$work"
        keep=1
    fi
}

count() { grep -cx "$1" "$results" || true; }

built=$(realpath -m "${SESSCACHE_LIB:-$here/../../target/release/libsesscache.so}")
[[ -e $built ]] || die "there is no $built; build it first: make"
temp=$(mktemp -d "${TMPDIR:-/tmp}/sesscache-servers.XXXXXX")
chmod 711 "$temp" # workers that are not root pass through
# A copy: any user may read it, and a build meanwhile does not change it under running servers.
library=$temp/libsesscache.so
install -m 755 "$built" "$library"
client=$temp/resume
results=$temp/results
keep=0
export library client results
: >"$results"
remove_unless_kept() { ((keep)) || rm -rf "$temp"; }
trap remove_unless_kept EXIT

build_client
for name in "${@:-${servers[@]}}"; do
    run_one "$name"
done

passed=$(count pass) failed=$(count fail) skipped=$(count skip)
printf 'test-servers: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0)) || exit 1
((passed > 0)) || exit 77
