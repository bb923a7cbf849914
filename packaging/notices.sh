#!/usr/bin/env bash
# The notices of all crates, as target/notices.txt, made once for a Cargo.lock. cargo-about collects the licences;
# it is built if it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
made=target/notices.txt tools=$PWD/target/tools

if [ -s "$made" ] && [ ! Cargo.lock -nt "$made" ] && [ ! packaging/about.toml -nt "$made" ]; then
    exit 0
fi
about=$(PATH=$PATH:$tools/bin command -v cargo-about || true)
if [ -z "$about" ]; then
    echo 'building cargo-about, some minutes' >&2
    cargo install cargo-about@0.9.3 --locked --quiet --features cli --root "$tools"
    about=$tools/bin/cargo-about
fi
echo 'collecting the licences of the crates' >&2
"$about" -L error generate --locked -c packaging/about.toml -m cli/Cargo.toml packaging/about.hbs -o "$PWD/$made.new"
mv "$made.new" "$made"
