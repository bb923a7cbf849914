#!/usr/bin/env bash
# Seconds from a clone to the first connection that resumes, by `make demo` in an empty build folder. Packages and
# crates are there already: their download depends on the network.
#
#   benches/adopt.sh
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

began=$SECONDS
git clone --quiet "$root" "$work/clone"
make --no-print-directory -C "$work/clone" demo >"$work/log" 2>&1 &
demo=$!
until grep -q RESUMED "$work/log"; do
    kill -0 "$demo" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.2
done
echo "from a clone to the first connection that resumes: $((SECONDS - began)) s, at load $(cut -d ' ' -f 1 /proc/loadavg)"
wait "$demo"
echo "to the end of the demo: $((SECONDS - began)) s"
