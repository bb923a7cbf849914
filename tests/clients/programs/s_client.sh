#!/usr/bin/env bash
# s_client.sh URL COUNT CA: each command writes its last session, which the next one offers.
set -euo pipefail
place=${1#https://} path=/${1#https://*/}
sessions=$(mktemp)
trap 'rm -f "$sessions"' EXIT
offer=()
for ((n = 0; n < $2; n++)); do
    printf 'GET %s HTTP/1.0\r\n\r\n' "$path" |
        openssl s_client -connect "${place%%/*}" -servername localhost -CAfile "$3" -ign_eof \
            -verify_return_error -sess_out "$sessions" "${offer[@]}" >/dev/null 2>&1
    offer=(-sess_in "$sessions")
done
