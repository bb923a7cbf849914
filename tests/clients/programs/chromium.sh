#!/usr/bin/env bash
# chromium.sh URL COUNT CA: loads a page that then asks for the URL COUNT times.
set -euo pipefail
HOME=$(mktemp -d)
export HOME
trap 'rm -rf "$HOME"' EXIT
mkdir -p "$HOME/.pki/nssdb"
certutil -N -d "sql:$HOME/.pki/nssdb" --empty-password
certutil -A -d "sql:$HOME/.pki/nssdb" -t C,, -n authority -i "$3"
options=(--headless --no-sandbox --disable-gpu --disable-dev-shm-usage
    --disable-background-networking --user-data-dir="$HOME/profile" --dump-dom)
chromium "${options[@]}" "$1?$2" 2>"$HOME/log" | grep -q '<pre\|<script' || {
    cat "$HOME/log" >&2
    exit 1
}
