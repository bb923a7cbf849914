#!/usr/bin/env bash
# Sees to the programs and headers that a make target needs: deps.sh build|demo|test|servers|fleet|bench.
# Installs Debian packages where that is possible (root, apt-get); else says what is missing.
set -euo pipefail

packages_for() {
    case $1 in
        build) echo gcc libc6-dev pkg-config libssl-dev ;;
        demo) echo openssl gcc libssl-dev redis-server ;;
        test) echo openssl gcc g++ libc6-dev libssl-dev pkg-config binutils valgrind perl python3 libnet-ssleay-perl ;;
        bench) echo gcc libc6-dev libssl-dev valgrind python3 ;;
        servers)
            echo nginx-light haproxy apache2 lighttpd lighttpd-mod-openssl stunnel4 hitch
            echo dovecot-imapd postgresql vsftpd python3 openssl gcc libssl-dev
            ;;
        fleet) echo nginx-light openssl gcc libssl-dev redis-server redis-tools iproute2 strace python3 libfaketime ;;
        *) echo "deps.sh: no such group: $1" >&2; exit 2 ;;
    esac
}

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok'; }

# Without dpkg: by what the packages bring.
is_usable() {
    case $1 in
        libssl-dev) printf '#include <openssl/ssl.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
        libc6-dev) printf '#include <stdio.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
        libnet-ssleay-perl) perl -MNet::SSLeay -e 1 2>/dev/null ;;
        binutils) command -v readelf >/dev/null ;;
        nginx-light) PATH=$PATH:/usr/sbin command -v nginx >/dev/null ;;
        haproxy | apache2 | lighttpd | hitch | vsftpd) PATH=$PATH:/usr/sbin command -v "$1" >/dev/null ;;
        lighttpd-mod-openssl) [ -e /usr/lib/lighttpd/mod_openssl.so ] ;;
        dovecot-imapd) PATH=$PATH:/usr/sbin command -v dovecot >/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

packages=$(packages_for "$1")
missing=()
for package in $packages; do
    is_usable "$package" || is_installed "$package" || missing+=("$package")
done
command -v cargo >/dev/null || { echo "missing: Rust (cargo), 1.88 or later" >&2; exit 1; }
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (as root on Debian: apt-get install ${missing[*]})" >&2
    exit 1
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# A server that is installed to be tested must not start by itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}
