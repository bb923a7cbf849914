#!/usr/bin/env bash
# Sees to the programs and headers that make targets need, before anything is built.
#
#   packaging/deps.sh build|check|demo|test|servers|fleet|bench...
#
# Installs Debian packages where that is possible (root, apt-get); else says what is missing. A
# service that comes with a package does not start, neither now nor at the next boot.
set -euo pipefail
cd "$(dirname "$0")/.."

packages_for() {
    case $1 in
        build) echo gcc libc6-dev pkg-config libssl-dev ;;
        check) echo binutils mandoc ;;
        demo) echo openssl gcc libssl-dev redis-server nginx-light python3 ;;
        test) echo openssl gcc g++ libc6-dev libssl-dev pkg-config binutils valgrind perl python3 libnet-ssleay-perl cmake meson ;;
        deb) echo gcc libc6-dev pkg-config libssl-dev dpkg-dev debhelper lintian ;;
        rpm) echo gcc libc6-dev pkg-config libssl-dev binutils rpm ;;
        bench) echo gcc libc6-dev libssl-dev valgrind strace python3 ;;
        servers)
            echo nginx-light haproxy apache2 lighttpd lighttpd-mod-openssl stunnel4 hitch
            echo dovecot-imapd postgresql vsftpd mosquitto nodejs postfix python3 openssl gcc libssl-dev
            echo uwsgi-core dnsdist bind9 puma ruby cyrus-pop3d hostapd eapoltest freeradius memcached
            echo kamailio kamailio-tls-modules
            ;;
        fleet) echo nginx-light openssl gcc libssl-dev redis-server redis-tools iproute2 strace python3 libfaketime ;;
        monitoring) echo prometheus redis-server openssl gcc libssl-dev python3 ;;
        operators) echo systemd-container mmdebstrap util-linux iproute2 redis-server python3 gcc libssl-dev ;;
        containers)
            echo nginx-light openssl gcc libc6-dev libssl-dev redis-server util-linux iproute2 python3
            echo musl-tools busybox-static
            ;;
        systems) echo mmdebstrap util-linux iproute2 git python3 ;;
        clients)
            echo nginx-light openssl redis-server python3 gcc libc6-dev curl python3-pycurl ruby nodejs
            echo golang-go default-jdk-headless gnutls-bin libgnutls28-dev
            ;;
        *) echo "deps.sh: no such group: $1" >&2; exit 2 ;;
    esac
}

# ---- Rust ----------------------------------------------------------------------------------------

# Says what is wrong with the toolchain; nothing if nothing is.
wrong_with_rust() {
    local needed found tool
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    if ! found=$(cargo --version 2>/dev/null); then
        echo "missing: Rust $needed or later, with cargo (https://rustup.rs)"
        return
    fi
    found=$(cut -d ' ' -f 2 <<<"$found")
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        echo "too old: Rust $found; $needed or later is needed" \
            "(https://rustup.rs; with rustup already here: rustup update)"
        return
    fi
    case " $* " in *" check "*) ;; *) return ;; esac
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 ||
            echo "missing: cargo $tool (rustup component add rustfmt clippy)"
    done
}

# ---- packages ------------------------------------------------------------------------------------

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok'; }

# Without dpkg: by what the packages bring.
is_usable() {
    case $1 in
        libssl-dev) printf '#include <openssl/ssl.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
        libc6-dev) printf '#include <stdio.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
        libnet-ssleay-perl) perl -MNet::SSLeay -e 1 2>/dev/null ;;
        binutils) command -v readelf >/dev/null ;;
        nginx-light) PATH=$PATH:/usr/sbin command -v nginx >/dev/null ;;
        nodejs) command -v node >/dev/null ;;
        haproxy | apache2 | lighttpd | hitch | vsftpd | mosquitto | memcached | postfix | hostapd | freeradius) PATH=$PATH:/usr/sbin command -v "$1" >/dev/null ;;
        lighttpd-mod-openssl) [ -e /usr/lib/lighttpd/mod_openssl.so ] ;;
        python3-pycurl) /usr/bin/python3 -c 'import pycurl' 2>/dev/null ;;
        uwsgi-core) command -v uwsgi >/dev/null ;;
        systemd-container) command -v systemd-nspawn >/dev/null ;;
        util-linux) command -v nsenter >/dev/null ;;
        musl-tools) command -v musl-gcc >/dev/null ;;
        busybox-static) command -v busybox >/dev/null ;;
        iproute2) command -v ip >/dev/null ;;
        bind9) PATH=$PATH:/usr/sbin command -v named >/dev/null ;;
        eapoltest) command -v eapol_test >/dev/null ;;
        cyrus-pop3d) [ -e /usr/lib/cyrus/bin/pop3d ] ;;
        golang-go) command -v go >/dev/null ;;
        default-jdk-headless) command -v javac >/dev/null ;;
        gnutls-bin) command -v gnutls-cli >/dev/null ;;
        libgnutls28-dev) printf '#include <gnutls/gnutls.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
        dovecot-imapd) PATH=$PATH:/usr/sbin command -v dovecot >/dev/null ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# The units that start at boot, by name: systemd's, and what SysV's links start.
enabled_units() {
    local link
    for link in /etc/systemd/system/*.wants/*; do
        if [ -L "$link" ]; then basename "$link"; fi
    done
    for link in /etc/rc[2-5].d/S*; do
        if [ -L "$link" ]; then echo "$(basename "$link" | cut -c 4-).service"; fi
    done
}

# disable_units UNIT...: systemctl sees to SysV's links, too.
disable_units() {
    local unit
    for unit; do
        if command -v systemctl >/dev/null; then
            systemctl disable --quiet "$unit"
        else
            update-rc.d "${unit%.service}" disable
        fi >/dev/null 2>&1 || echo "deps.sh: $unit could not be disabled: it starts at boot" >&2
    done
}

# install PACKAGE...
install() {
    local before policy=/usr/sbin/policy-rc.d
    local options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=120)
    export DEBIAN_FRONTEND=noninteractive
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        # shellcheck disable=SC2064  # as it is now
        trap "rm -f $policy" EXIT
    fi
    before=$(enabled_units | sort -u)
    apt-get install "${options[@]}" "$@" >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install "${options[@]}" "$@" >/dev/null
    }
    # shellcheck disable=SC2046  # names of units have no spaces
    disable_units $(enabled_units | sort -u | comm -13 <(printf '%s\n' "$before") -)
}

# ---- everything ----------------------------------------------------------------------------------

packages=$(for group; do packages_for "$group"; done)
missing=()
for package in $(tr ' ' '\n' <<<"$packages" | sort -u); do
    is_usable "$package" || is_installed "$package" || missing+=("$package")
done
wrong=$(wrong_with_rust "$@")
if [ ${#missing[@]} -gt 0 ] && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; }; then
    wrong+=${wrong:+$'\n'}"missing: ${missing[*]} (as root on Debian: apt-get install ${missing[*]})"
fi
if [ -n "$wrong" ]; then
    printf '%s\n' "$wrong" >&2
    exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing ${missing[*]}; no service of theirs is started, now or at the next boot" >&2
install "${missing[@]}"
